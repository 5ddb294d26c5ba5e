"""What a study found, in numbers and in one sentence. Does not import torch."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from statistics import fmean, stdev
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


# --- experiments -----------------------------------------------------------------------------------------------

CONFIDENCE = 0.95


def table(cells: list[CellState], reference: dict[str, Any]) -> list[dict[str, Any]]:
    """One row for each series and x, in the order of the cells.

    ``series``, ``x``, ``n`` (runs that are done), and over those: ``mean`` of the final score with its interval
    ``low`` to ``high``, means of ``best``, ``seconds`` and, where measured, ``fid`` with ``fid_low`` and ``fid_high``.
    ``difference`` to the reference, from ``difference_low`` to ``difference_high``, over the ``pairs`` of runs with
    the same seed. Intervals are Student's t, 95 %, not corrected for how many there are. None where nothing is known;
    no interval from a single run. ``reference`` holds the labels that its row has instead, {"x": "full"} for example.
    """
    done: dict[tuple[Any, Any], dict[int, dict[str, Any]]] = {}
    for state in cells:
        labels = state.cell.labels
        seeds = done.setdefault((labels["series"], labels["x"]), {})
        if state.state == "done":
            seeds[labels["seed"]] = state.record.figures
    return [
        _row(series, x, seeds, done.get((reference.get("series", series), reference.get("x", x)), {}))
        for (series, x), seeds in done.items()
    ]


def _row(series: str, x: Any, seeds: dict[int, dict[str, Any]], others: dict[int, dict[str, Any]]) -> dict[str, Any]:
    runs = list(seeds.values())
    row: dict[str, Any] = {"series": series, "x": x, "n": len(runs)}
    row["mean"], row["low"], row["high"] = interval([figures["final"] for figures in runs])
    for name in ("best", "seconds"):
        row[name] = interval([figures[name] for figures in runs])[0]
    row["fid"], row["fid_low"], row["fid_high"] = interval([run["fid"] for run in runs if "fid" in run])
    paired = [] if others is seeds else [seeds[n]["final"] - others[n]["final"] for n in seeds.keys() & others.keys()]
    row["difference"], row["difference_low"], row["difference_high"] = interval(paired)
    return row | {"pairs": len(paired)}


def table_lines(settings: dict[str, Any], rows: list[dict[str, Any]]) -> list[str]:
    """The table as aligned text, in per cent and points: final ± half its interval, best, runs, and the rest."""
    compared = name_of(settings, settings["reference"])
    several, measured = len(settings["series"]) > 1, any(row["fid"] is not None for row in rows)
    head = ["method"] * several + [
        settings["axis"] if settings["scale"] == "category" else symbol(settings),
        "final %",
        "best %",
        "runs",
    ]
    head += ["FID"] * measured + ["seconds", f"against {compared}, points"]
    lines = [head]
    for row in rows:
        x = f"{row['x']:g}" if settings["scale"] != "category" else name_of({**settings, "series": []}, row)
        cells = [name_of(settings, row)] * several + [x, plus_minus(row["mean"], row["high"])]
        cells += ["–" if row["best"] is None else f"{100 * row['best']:.1f}", str(row["n"])]
        cells += [_rounded(row["fid"], 2)] * measured + [_rounded(row["seconds"], 0)]
        lines.append([*cells, in_points(row["difference"], row["difference_low"], row["difference_high"])])
    return aligned(lines)


def aligned(lines: list[list[str]]) -> list[str]:
    """Cells of a table under each other, for a terminal."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]


def plus_minus(mean: float | None, high: float | None) -> str:
    """``95.2 ± 1.1``, in per cent."""
    return "–" if mean is None else f"{100 * mean:.1f}" + (f" ± {100 * (high - mean):.1f}" if high is not None else "")


def _rounded(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def interval(values: Sequence[float]) -> tuple[float | None, float | None, float | None]:
    """Mean, and Student's 95 % interval around it; None for what so few values do not tell."""
    if not values:
        return None, None, None
    mean = fmean(values)
    if len(values) == 1:
        return mean, None, None
    from scipy.special import stdtrit  # when somebody asks, not when a page opens

    half = float(stdtrit(len(values) - 1, 0.5 + CONFIDENCE / 2)) * stdev(values) / math.sqrt(len(values))
    return mean, mean - half, mean + half


def experiment_reading(settings: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    """What the differences to the reference say, in one sentence; empty before there is one.

    Where methods are compared over x, at the first x that all of them have reached, or else most.
    """
    paired = [row for row in rows if row["pairs"]]
    if not paired:
        return ""
    place = ""
    if "series" in settings["reference"]:
        counts = Counter(row["x"] for row in paired)
        x = max(counts, key=lambda value: (counts[value], -list(counts).index(value)))
        paired = [row for row in paired if row["x"] == x]
        place = f"At {symbol(settings)} = {x:g} "
    subject = name_of(settings, settings["reference"])
    clear = [_clear(settings, row) for row in paired if not _holds_zero(row)]
    unclear = [_unclear(settings, row) for row in paired if _holds_zero(row)]
    parts = [f"{place}{subject} is {_listed(clear)}"] if clear else []
    if unclear:
        start = "it is not clearly apart from" if clear else f"{place}{subject} is not clearly apart from"
        parts.append(f"{start} {_listed(unclear)}")
    pairs = sorted({row["pairs"] for row in paired})
    seeds = plural(pairs[0], "seed") if len(pairs) == 1 else f"{pairs[0]} to {pairs[-1]} seeds"
    return f"{'; '.join(parts)} ({seeds}, paired{'' if clear else '; an interval needs two' * (pairs == [1])})."


def name_of(settings: dict[str, Any], labels: dict[str, Any]) -> str:
    """A row, or the reference, in words: its method where methods are compared, else its place on the axis."""
    if len(settings["series"]) > 1:
        return str(settings["titles"].get(labels["series"], labels["series"]))
    x = labels["x"]
    return f"{symbol(settings)} = {x:g}" if settings["scale"] != "category" else str(settings["titles"].get(x, x))


def symbol(settings: dict[str, Any]) -> str:
    """The letter of a numeric axis, the last word of what it is called."""
    return str(settings["axis"]).split()[-1]


def _holds_zero(row: dict[str, Any]) -> bool:
    return row["difference_low"] is None or row["difference_low"] <= 0 <= row["difference_high"]


def _clear(settings: dict[str, Any], row: dict[str, Any]) -> str:
    """The reference against the row, so with the sign turned."""
    low, high = sorted((abs(row["difference_low"]), abs(row["difference_high"])))
    side = "above" if row["difference"] < 0 else "below"
    by = f"{100 * abs(row['difference']):.1f} points [{100 * low:.1f}, {100 * high:.1f}]"
    return f"{side} {name_of(settings, row)} by {by}"


def _unclear(settings: dict[str, Any], row: dict[str, Any]) -> str:
    turned = [None if row[name] is None else -row[name] for name in ("difference", "difference_high", "difference_low")]
    return f"{name_of(settings, row)} ({in_points(*turned)})"


def in_points(difference: float | None, low: float | None, high: float | None) -> str:
    """``+1.2 [0.3, 2.1]``: percentage points, and the interval where there is one."""
    if difference is None:
        return "–"
    interval = "" if low is None or high is None else f" [{100 * low:.1f}, {100 * high:.1f}]"
    return f"{100 * difference:+.1f}{interval}"


def _listed(parts: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))


def plural(count: int, name: str) -> str:
    """``1 seed``, ``2 seeds``."""
    return f"{count} {name}{'s' * (count != 1)}"
