"""How time is measured: what is compared runs in turn, and each round gives one ratio.

Time depends on who else uses the machine, so it is never stated alone: the report is the median ratio of the rounds
with a 95 % bootstrap interval.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.report import Row, at_most, say

Times = dict[str, list[float]]  # by what was timed, one value a round


@dataclass(frozen=True)
class Interval:
    """A median with its 95 % bootstrap interval over ``count`` values."""

    median: float
    low: float
    high: float
    count: int

    def __str__(self) -> str:
        return f"{self.median:.3g} [{self.low:.3g}, {self.high:.3g}] (n = {self.count})"

    def percent(self) -> str:
        """The same as percentages."""
        return f"{self.median:.2%} [{self.low:.2%}, {self.high:.2%}] (n = {self.count})"

    def row(self, what: str, limit: float | None = None, unit: str = "") -> Row:
        """It as a line of a report, in ``unit``; the median should not be above ``limit``."""
        text, unit = f"{self} {unit}".rstrip(), f" {unit}" * bool(unit)
        if limit is None:
            return Row(what, text, value=self.median)
        return at_most(limit, what, text, self.median, f"≤ {limit:g}{unit}")

    def share_row(self, what: str, limit: float) -> Row:
        """It as a share that should not be above ``limit``."""
        return at_most(limit, what, self.percent(), self.median, f"≤ {limit:.0%}")


def bootstrap(values: Sequence[float], draws: int = 10_000) -> Interval:
    """The median of ``values`` and the percentile interval of the medians of resamples (fixed seed)."""
    array = np.asarray(values, dtype=float)
    resampled = np.random.default_rng(0).choice(array, (draws, len(array)))
    low, high = np.quantile(np.median(resampled, axis=1), [0.025, 0.975])
    return Interval(float(np.median(array)), float(low), float(high), len(array))


def ratios(numerator: Sequence[float], denominator: Sequence[float]) -> Interval:
    """Median of the ratios round by round; both lists come from ``interleave``."""
    return bootstrap([one / other for one, other in zip(numerator, denominator, strict=True)])


def interleave(arms: dict[str, Callable[[int], float]], rounds: int) -> Times:
    """Call every arm once a round, with the round's number, in an order that rotates; collect what they return."""
    names = list(arms)
    measured: Times = {name: [] for name in names}
    for index in range(rounds):
        shift = index % len(names)
        for name in names[shift:] + names[:shift]:
            gc.collect()
            measured[name].append(arms[name](index))
        latest = ", ".join(f"{name} {values[-1]:.4g}" for name, values in measured.items())
        say(f"round {index + 1} of {rounds}: {latest}")
    return measured


class Stopwatch:
    """``wall`` and ``cpu`` seconds of this process, of all blocks so far that it was entered for."""

    def __init__(self) -> None:
        self.wall = self.cpu = 0.0

    def __enter__(self) -> Stopwatch:
        self.wall -= time.perf_counter()
        self.cpu -= time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.wall += time.perf_counter()
        self.cpu += time.process_time()


def repeated(action: Callable[[], object], times: int) -> list[Stopwatch]:
    """Do ``action`` that often, each time under a watch of its own."""
    watches = [Stopwatch() for _ in range(times)]
    for watch in watches:
        with watch:
            action()
    return watches
