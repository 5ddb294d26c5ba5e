"""What a study of the class prior found. Does not import torch."""

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


def plural(count: int, name: str) -> str:
    """``1 seed``, ``2 seeds``."""
    return f"{count} {name}{'s' * (count != 1)}"
