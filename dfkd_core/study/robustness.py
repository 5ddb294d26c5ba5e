"""How runs of several teachers, series and seeds compare: pure functions over the rows of a grid's table.

A series is what is compared: a method, or a method with other knobs. What failed is counted wherever a figure stands.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev, variance
from typing import Any, NamedTuple

from dfkd_core.quality.score import DISTANCES
from dfkd_core.study.folder import OVER
from dfkd_core.study.tables import ROUNDING, Interval, interval, plural, t_interval, unfinished

Row = dict[str, Any]
COSTS = ("seconds", "images", "queries")
Spent = dict[str, dict[str, float]]  # images and queries by the id of a run
ENOUGH_TEACHERS = 3  # to tell how much teachers differ; fewer are taken as they are


@dataclass(frozen=True)
class Place:
    """One teacher and one series over seeds. ``mean``, ``deviation`` (over seeds) and ``peak`` of ``n`` runs that are
    done; ``values`` are their final scores by seed, ``peaks`` their best ones. ``waiting``: not over yet."""

    teacher: str
    series: str
    n: int
    failed: int
    cannot: bool
    waiting: int
    mean: float | None
    deviation: float | None
    peak: float | None
    of_teacher: float | None
    values: dict[int, float]
    peaks: dict[int, float]
    is_share: bool
    lower_is_better: bool
    why: str


def places(rows: Sequence[Row]) -> list[Place]:
    """Every teacher with every series, in the order of the rows."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["teacher"], row["series"]), []).append(row)
    return [_place(teacher, series, group) for (teacher, series), group in groups.items()]


def _place(teacher: str, series: str, rows: list[Row]) -> Place:
    done = [row for row in rows if row["final"] is not None]
    distance = any(row["measure"] in DISTANCES for row in done)
    finals = {row["seed"]: row["final"] for row in done}
    return Place(
        teacher,
        series,
        len(done),
        sum(row["state"] == "failed" for row in rows),
        any(row["state"] == "cannot" for row in rows),
        sum(row["state"] not in ("done", "failed", "cannot") for row in rows),
        fmean(finals.values()) if done else None,
        stdev(finals.values()) if len(done) > 1 else None,
        fmean(row["best"] for row in done) if done else None,
        next((row["of_teacher"] for row in done if row["of_teacher"] is not None), None),
        finals,
        {row["seed"]: row["best"] for row in done},
        not distance,
        distance,
        next((row["problem"] for row in rows if row["problem"]), ""),
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def robustness(rows: Sequence[Row], stability: dict[str, float] | None = None, spent: Spent | None = None) -> list[Row]:
    """One row for each series, across teachers.

    ``mean``, ``minimum`` (the worst; where lower is better, the highest) with the ``worst`` teacher, and ``spread``
    (between the best and the worst) are of the teachers' means over seeds. ``stability`` is the mean over runs of what
    is given for each run's id (see ``stability_of``), and so are ``images`` and ``queries`` of what they have ``spent``
    (see ``traces.spent``); ``seconds`` are those of the rows. ``n`` runs are done, ``failed`` ones failed, ``cannot``
    counts teachers that the method refuses, and ``teachers`` those with a result.
    """
    by_series: dict[str, list[Place]] = {}
    for place in places(rows):
        by_series.setdefault(place.series, []).append(place)
    return [
        _across(found, [row for row in rows if row["series"] == series], stability or {}, spent or {})
        for series, found in by_series.items()
    ]


def _across(found: list[Place], rows: Sequence[Row], stability: dict[str, float], spent: Spent) -> Row:
    known = [(place.mean, place.teacher) for place in found if place.mean is not None]
    lower = any(place.lower_is_better for place in found)
    worst = (max if lower else min)(known, default=(None, ""))
    means = [mean for mean, _ in known]
    stable = [stability[row["run"]] for row in rows if row["run"] in stability]
    costs = [{"seconds": row.get("seconds"), **spent.get(row["run"], {})} for row in rows if row["final"] is not None]
    return {
        "series": found[0].series,
        "mean": fmean(means) if means else None,
        "minimum": worst[0],
        "worst": worst[1],
        "spread": max(means) - min(means) if len(means) > 1 else None,
        "stability": fmean(stable) if stable else None,
        **{name: _mean([cost.get(name) for cost in costs]) for name in COSTS},
        "n": sum(place.n for place in found),
        "failed": sum(place.failed for place in found),
        "cannot": sum(place.cannot for place in found),
        "teachers": len(means),
        "is_share": all(place.is_share for place in found),
        "lower_is_better": lower,
    }


def stability_of(scores: Sequence[float], last: int, lower_is_better: bool = False) -> float | None:
    """How far the mean of the ``last`` scores lies below the best (above, where lower is better): 0 only where all of
    them equal the best, so a student that is still rising has a value too. None without scores."""
    if not scores:
        return None
    ends = fmean(scores[-max(1, last) :])
    return ends - min(scores) if lower_is_better else max(scores) - ends


# --- two series against each other -----------------------------------------------------------------------------


class Comparison(NamedTuple):
    """``difference`` of the first to the second, mean over teachers, with its interval, from ``pairs`` of runs of the
    same teacher and seed, of so many ``teachers``; each pair as [teacher, seed, difference] in ``points``. ``clear``:
    the interval lies on one side of 0, and no run of the two is outstanding."""

    difference: float | None
    low: float | None
    high: float | None
    pairs: int
    teachers: int
    left_out: int
    clear: bool
    sentence: str
    points: list[tuple[str, int, float]]


def compared(rows: Sequence[Row], first: str, second: str) -> Comparison:
    """``first`` against ``second`` by their final scores, as a sentence too."""
    found = {(place.teacher, place.series): place for place in places(rows)}
    points, left_out, places_of_one = [], 0, [place for place in found.values() if place.series == first]
    for own in places_of_one:
        other = found.get((own.teacher, second))
        theirs = other.values if other is not None else {}
        points += [(own.teacher, seed, own.values[seed] - theirs[seed]) for seed in own.values if seed in theirs]
        left_out += len(own.values.keys() ^ theirs.keys())
    distance = any(place.lower_is_better for place in found.values())
    by_teacher: dict[str, list[float]] = {}
    for teacher, _, value in points:
        by_teacher.setdefault(teacher, []).append(value)
    mean, low, high = paired_interval(list(by_teacher.values()))
    clear = low is not None and high is not None and (low > 0 or high < 0)
    sentence = _sentence(first, second, (mean, low, high), by_teacher, left_out, distance)
    states = [row["state"] for row in rows if row["series"] in (first, second) and row["state"] != "cannot"]
    over = sum(state in (*OVER, "short") for state in states)
    if over < len(states):
        clear, sentence = False, unfinished(over, len(states), f" of {first} and {second}")
    return Comparison(mean, low, high, len(points), len(by_teacher), left_out, clear, sentence, points)


def paired_interval(differences: Sequence[Sequence[float]]) -> Interval:
    """Mean over teachers of the mean over seeds of paired ``differences`` (one sequence for each teacher), and its
    95 % interval; None for what so few values, or ones that are all alike, do not tell.

    Of three teachers or more the unit is the teacher: Student's t of their means, which hold the noise of the seeds.
    Of fewer it is the seed, and the interval is of these teachers alone: t by the standard error √(Σ s²/n) / T with
    Satterthwaite's (1946) degrees of freedom, which of one teacher are n − 1.
    """
    means = [fmean(values) for values in differences]
    if not means or len(means) >= ENOUGH_TEACHERS:
        return interval(means)
    if min(map(len, differences)) < 2:
        return fmean(means), None, None
    parts = [variance(values) / len(values) for values in differences]
    squares = sum(part**2 / (len(values) - 1) for part, values in zip(parts, differences, strict=True))
    degrees = sum(parts) ** 2 / squares if squares else 1
    return t_interval(fmean(means), math.sqrt(sum(parts)) / len(means), degrees)


def _sentence(
    first: str,
    second: str,
    around: Interval,
    by_teacher: dict[str, list[float]],
    left_out: int,
    distance: bool,
) -> str:
    mean, low, high = around
    if mean is None:
        return f"{first} and {second} have no run of the same teacher and seed yet."
    pairs = plural(sum(map(len, by_teacher.values())), "pair")
    over = f"{pairs} of runs, {plural(len(by_teacher), 'teacher')}"
    over += f"; {plural(left_out, 'run')} without a partner left out" if left_out else ""
    scale, unit = (1, "") if distance else (100, " points")
    if low is None or high is None:
        values = sum(by_teacher.values(), [])
        alike = "all pairs alike, " if len(values) > 1 and max(values) - min(values) <= ROUNDING else ""
        by = f"{scale * abs(mean):.3g}{unit} ({over})"
        return f"{first} and {second} differ by {by}: {alike}too few to tell from noise."
    between = f"[{scale * low:.3g}, {scale * high:.3g}]"
    if low <= 0 <= high:
        return (
            f"{first} is not clearly apart from {second}: {scale * mean:+.3g}{unit} {between}, which holds 0 ({over})."
        )
    side = "above" if mean > 0 else "below"
    return f"{first} lies {side} {second} by {scale * abs(mean):.3g}{unit}, interval {between} ({over})."
