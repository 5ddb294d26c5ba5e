"""What a study found, in numbers and in one sentence. Does not import torch."""

from __future__ import annotations

from typing import Any

from dfkd_core.study.folder import CellState

POINT = ("fid", "density", "coverage", "precision", "recall", "class_balance", "diversity", "real_diversity", "kept")
SCORES = ("final", "best", "teacher")


def points(cells: list[CellState]) -> list[dict[str, Any]]:
    """One row for each cell that was measured: its labels, run, figures, and how FID was measured."""
    return [
        {
            **state.cell.labels,
            **{name: state.record.figures[name] for name in (*POINT, *SCORES)},
            "real": state.record.figures["real"],
            "generated": state.record.figures["samples"],
            "extractor": state.record.figures["extractor"],
            "run": state.record.run,
        }
        for state in cells
        if state.state == "done"
    ]


def reading(measured: list[dict[str, Any]]) -> str:
    """What the points say, in one sentence; empty before there are three intensities.

    Spearman's correlation is that of the ranks, ties sharing theirs.
    """
    import pandas as pd

    table = pd.DataFrame(measured)
    if table.empty or table["intensity"].nunique() < 3:
        return ""
    means = table.groupby("intensity")["fid"].mean()
    lowest, best = means.index[0], means.idxmin()
    numbers = f"{len(table)} runs, {len(means)} intensities, {plural(table['seed'].nunique(), 'seed')}"
    correlation = table["intensity"].rank().corr(table["fid"].rank())
    if pd.isna(correlation):
        return f"FID is the same at every intensity ({numbers})."
    trend = "rises" if correlation > 0 else "falls"
    strength = "hardly depends on" if abs(correlation) < 0.3 else f"{trend} with"
    where = "which is the lowest" if best == lowest else f"lowest {means[best]:.3g} at λ = {best:g}"
    return (
        f"Here FID {strength} the prior's intensity: Spearman correlation {correlation:+.2f} ({numbers}); "
        f"mean FID {means.iloc[0]:.3g} at λ = {lowest:g}, {where}."
    )


def fig1a_reading(cells: list[CellState]) -> str:
    """Where the teachers differ most and which student fell furthest, in one sentence; empty while a run is missing."""
    if not cells or any(state.state != "done" for state in cells):
        return ""
    ends: dict[str, list[tuple[float, str]]] = {}
    for state in cells:
        ends.setdefault(state.cell.labels["variant"], []).append(
            (state.record.figures["final"], state.cell.labels["teacher"])
        )
    name, finals = max(ends.items(), key=lambda entry: max(entry[1])[0] - min(entry[1])[0])
    (high, better), (low, worse) = max(finals), min(finals)
    fallen = max(cells, key=lambda state: state.record.figures["best"] - state.record.figures["final"])
    best, final = fallen.record.figures["best"], fallen.record.figures["final"]
    apart = f"The teachers lie furthest apart with {name}: {high:.1%} ({better}) against {low:.1%} ({worse})"
    if best - final < 0.01:
        return f"{apart}; no student ended more than a point below its best."
    who = f"{fallen.cell.labels['variant']} with {fallen.cell.labels['teacher']}"
    return f"{apart}; furthest below its best ended {who}: {best:.1%}, then {final:.1%}."


def plural(count: int, name: str) -> str:
    """``1 seed``, ``2 seeds``."""
    return f"{count} {name}{'s' * (count != 1)}"
