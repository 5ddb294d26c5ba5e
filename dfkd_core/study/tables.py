"""What the tables of studies are made of: means, intervals and paired differences, and cells as text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, stdev
from typing import Any

from dfkd_core.study.folder import CellState

CONFIDENCE = 0.95
ROUNDING = 1e-6  # of float32 scores: a spread of less is none
Figures = dict[str, Any]  # of one run
Interval = tuple[float | None, float | None, float | None]


# --- numbers ---------------------------------------------------------------------------------------------------


def by_place(cells: Sequence[CellState]) -> dict[tuple[Any, Any], dict[int, Figures]]:
    """Figures of the runs that are done by series and x, and there by seed, in the order of the cells."""
    done: dict[tuple[Any, Any], dict[Any, Figures]] = {}
    for state in cells:
        labels = state.cell.labels
        seeds = done.setdefault((labels["series"], labels["x"]), {})
        if state.state == "done":
            seeds[labels["seed"]] = state.record.figures
    return done


def paired(runs: dict[int, Figures], others: dict[int, Figures]) -> list[tuple[Figures, Figures]]:
    """Those of the same seed; none if both are the same."""
    return [] if runs is others else [(runs[seed], others[seed]) for seed in runs.keys() & others.keys()]


def interval(values: Sequence[float]) -> Interval:
    """Mean, and Student's 95 % interval around it; None for what so few values, or ones that are all alike, do not
    tell."""
    if not values:
        return None, None, None
    error = stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0
    return t_interval(fmean(values), error, len(values) - 1)


def t_interval(mean: float, error: float, degrees: float) -> Interval:
    """Student's 95 % interval around a ``mean`` with that standard ``error`` and so many ``degrees`` of freedom; None
    without an error: values that are all alike tell nothing of the noise."""
    if error <= ROUNDING:
        return mean, None, None
    from scipy.special import stdtrit  # when somebody asks, not when a page opens

    half = float(stdtrit(degrees, 0.5 + CONFIDENCE / 2)) * error
    return mean, mean - half, mean + half


# --- words -----------------------------------------------------------------------------------------------------


def told_apart(value: float) -> str:
    """A number in short, with all its digits where that would be another number."""
    short = f"{value:g}"
    return short if float(short) == value else str(value)


def plus_minus(mean: float | None, deviation: float | None) -> str:
    """``95.2 ± 1.1``, in per cent: the mean and the standard deviation over seeds, where there are several."""
    return "–" if mean is None else f"{100 * mean:.1f}" + ("" if deviation is None else f" ± {100 * deviation:.1f}")


def in_points(difference: float | None, low: float | None, high: float | None) -> str:
    """``+1.2 [0.3, 2.1]``: percentage points, and the interval where there is one."""
    if difference is None:
        return "–"
    interval = "" if low is None or high is None else f" [{100 * low:.1f}, {100 * high:.1f}]"
    return f"{100 * difference:+.1f}{interval}"


def plural(count: int, name: str) -> str:
    """``1 seed``, ``2 seeds``."""
    return f"{count} {name}{'s' * (count != 1)}"


def unfinished(over: int, total: int, whose: str = "") -> str:
    """What stands for a verdict while one of the runs that it compares is outstanding."""
    have = "has" if total == 1 else "have"
    return f"{over} of {plural(total, 'run')}{whose} {have} ended; the verdict waits for all."


COST_TITLES = ("seconds", "images learned from", "teacher queries")
"""Of ``robustness.COSTS``: means over the runs that are done."""


def counted_in_words(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


def aligned(lines: list[list[str]]) -> list[str]:
    """Cells of a table under each other, for a terminal."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]


def markdown(lines: list[list[str]]) -> list[str]:
    """Cells of a table, its head first, for a README."""
    rule = ["---", *["--:"] * (len(lines[0]) - 1)]
    return ["| " + " | ".join(line) + " |" for line in (lines[0], rule, *lines[1:])]
