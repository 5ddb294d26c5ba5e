"""What a run came to on its way: its score over steps, seconds, images and teacher queries, and signals that need no
data. Does not import torch.

A trace is made of a run's log and sheets once, and kept in the run's ``analysis/trace.json``.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, TypeAdapter
from typing_extensions import TypedDict

from dfkd_core.errors import StoreError
from dfkd_core.quality.score import DISTANCES
from dfkd_core.runs.spec import RunSpec, read_spec
from dfkd_core.store import EventReader, RunFolder, read_arrays, turned
from dfkd_core.store.rows import FINITE
from dfkd_core.study.folder import Study
from dfkd_core.study.robustness import Spent, stability_of

FILE = "analysis/trace.json"
Axis = Literal["step", "seconds", "images", "queries"]
LAST_EPOCHS = 3  # whose mean stability is told by
AXES: dict[Axis, str] = {
    "step": "steps",
    "seconds": "seconds",
    "images": "images that the student learned from",
    "queries": "images that the teacher judged",
}
LOGGED = ("queries", "coverage", "diversity", "kept", "student_loss")
COLUMNS = ("step", "seconds", "images", "score", "sampled_agreement", *LOGGED)
POINTS = 120  # of a band


def _even(columns: dict[str, Any]) -> dict[str, Any]:
    if set(columns) != set(COLUMNS) or len({len(values) for values in columns.values()}) != 1:
        raise ValueError(f"should have the columns {', '.join(COLUMNS)}, all of one length")
    return columns


class Trace(TypedDict):
    """One entry of each of ``columns`` for each evaluation of the student, None where nothing was logged.

    ``score``: what ``measure`` says. ``sampled_agreement``: the share of the newest sheet of generated samples on which
    student and teacher name the same class. ``images``: that the student learned from, by its batches and updates.
    """

    __pydantic_config__ = FINITE  # type: ignore[misc]
    measure: str
    columns: Annotated[dict[str, list[float | None]], AfterValidator(_even)]


_TRACE = TypeAdapter(Trace)


def trace_of(folder: RunFolder, keep: bool = False) -> Trace:
    """The trace that is kept, or else one of the log as it is now; ``keep``: for the next time, of a run that
    has ended.
    Raises ``StoreError`` for a run whose specification or log cannot be read."""
    with suppress(OSError, StoreError):
        if (known := folder.files.read_json(FILE, _TRACE)) is not None:
            return known
    made = Growing(folder).update()
    if keep:
        with suppress(OSError, StoreError):  # a full disk, a recording: it is made again
            folder.files.write_json(FILE, dict(made), durable=False)
    return made


class Growing:
    """The trace of a run that may go on; any number of pages may share it."""

    def __init__(self, folder: RunFolder) -> None:
        """Raises ``StoreError`` for a run whose specification cannot be read."""
        self._folder, self._spec, self._reader = folder, read_spec(folder), EventReader(folder)
        self._step = 0
        self._last: dict[str, float] = {}
        self._agreement: float | None = None
        self._measure, self._columns = "accuracy", {name: list[float | None]() for name in COLUMNS}
        self._lock = threading.Lock()

    def update(self) -> Trace:
        """As it is now; reads what is new of the log."""
        with self._lock:
            for row in self._reader.read():
                if turned(row, self._step):
                    self._forget(row["step"])
                self._step = max(self._step, row["step"])
                self._take(row)
            return _TRACE.validate_python({"measure": self._measure, "columns": self._columns})

    def _forget(self, after: int) -> None:
        """What was read of later steps, which are trained otherwise now."""
        self._step = after
        kept = [index for index, step in enumerate(self._columns["step"]) if (step or 0) <= after]
        self._columns = {name: [values[index] for index in kept] for name, values in self._columns.items()}

    def _take(self, row: dict[str, Any]) -> None:
        kind = row["type"]
        if kind == "step":
            self._last |= row["values"]
        elif kind == "samples":
            self._agreement = _agreement(self._folder, row["file"], self._agreement)
        elif kind in ("evaluated", "quality") and (scored := _score(row)) is not None:
            self._measure, score = scored
            step = row["step"]
            point = {"step": step, "seconds": row["elapsed"], "images": float(self._spec.learned_by(step))}
            point |= {"score": score, "sampled_agreement": self._agreement}
            point |= {name: self._last.get(name) for name in LOGGED}
            for name in COLUMNS:
                self._columns[name].append(point[name])


def _score(row: dict[str, Any]) -> tuple[str, float] | None:
    if row["type"] == "quality":
        return next(((name, row["values"][name]) for name in DISTANCES if name in row["values"]), None)
    return ("agreement", row["agreement"]) if row["accuracy"] is None else ("accuracy", row["accuracy"])


def _agreement(folder: RunFolder, stem: str, before: float | None) -> float | None:
    try:
        found = read_arrays(folder, f"{stem}.npz", ("label", "student_label"))
    except (OSError, StoreError):
        return before
    if len(found) < 2 or found["label"].size == 0 or found["label"].shape != found["student_label"].shape:
        return before
    return float((found["label"] == found["student_label"]).mean())


def of_study(study: Study, rows: Sequence[dict[str, Any]]) -> dict[str, Trace]:
    """Of the runs of a table's rows that are done and can be read, by their ids."""
    found = {}
    for row in rows:
        if row["state"] == "done" and row["run"]:
            with suppress(OSError, StoreError):
                found[row["run"]] = trace_of(RunFolder(study.runs / row["run"]), keep=True)
    return found


def stabilities(study: Study, known: dict[str, Trace]) -> dict[str, float]:
    """``stability`` of each of these runs that has one."""
    found = {}
    for run, trace in known.items():
        spec = None
        with suppress(StoreError):
            spec = read_spec(RunFolder(study.runs / run))
        if (value := stability(trace, spec, LAST_EPOCHS)) is not None:
            found[run] = value
    return found


def spent(known: dict[str, Trace]) -> Spent:
    """Of each of these runs the images that its student learned from and those that its teacher judged, where they were
    logged."""
    axes: tuple[Axis, ...] = ("images", "queries")
    return {run: {str(axis): far for axis in axes if (far := reached(trace, axis))} for run, trace in known.items()}


# --- at an equal budget ----------------------------------------------------------------------------------------


def reached(trace: Trace, axis: Axis) -> float:
    """How far the run came along ``axis``; 0 where that was not logged."""
    return max((value for value in trace["columns"][axis] if value is not None), default=0.0)


def common_budget(traces: Iterable[Trace], axis: Axis) -> float:
    """As far as all of them came; 0 where one has nothing there."""
    return min((reached(trace, axis) for trace in traces), default=0.0)


def score_at(trace: Trace, axis: Axis, budget: float) -> float | None:
    """The newest score that cost no more than ``budget``; None where there is none, or the run did not come so far."""
    within = _within(trace, axis, budget)
    return within[-1] if within and reached(trace, axis) >= budget else None


def at_budget(rows: Sequence[dict[str, Any]], traces: dict[str, Trace], axis: Axis, budget: float) -> list[Any]:
    """Rows of a table as if each run had ended when it had used up ``budget``; one that did not come so far, or that
    has no trace, is ``short``, without a score, and counted among those that are not over."""
    found = []
    for row in rows:
        if row["final"] is None:
            found.append(row)
            continue
        trace = traces.get(row["run"])
        score = score_at(trace, axis, budget) if trace else None
        best = better(trace["measure"])(_within(trace, axis, budget), default=None) if trace else None
        found.append({**row, "final": score, "best": best, "state": "short" if score is None else row["state"]})
    return found


def _within(trace: Trace, axis: Axis, budget: float) -> list[float]:
    """The scores that cost no more than ``budget``, in order."""
    pairs = zip(trace["columns"][axis], trace["columns"]["score"], strict=True)
    return [score for place, score in pairs if score is not None and (place or 0) <= budget]


def better(measure: str) -> Callable[..., float]:
    """``min`` or ``max``: which of several scores is the best."""
    return min if measure in DISTANCES else max


class Band(NamedTuple):
    """Mean of ``n`` curves at each of ``x``, and a standard deviation to each side; ends where the first of them
    ends."""

    x: list[float]
    mean: list[float]
    low: list[float]
    high: list[float]
    n: int


def band(traces: Sequence[Trace], axis: Axis, column: str = "score") -> Band | None:
    """Several runs as one band over ``axis``; None where they have no stretch in common."""
    import numpy as np

    curves = [np.array(points, float).T for trace in traces if len(points := points_of(trace, axis, column)) > 1]
    if not curves:
        return None
    start, end = max(x[0] for x, _ in curves), min(x[-1] for x, _ in curves)
    if end <= start:
        return None
    grid = np.linspace(start, end, POINTS)
    values = np.stack([np.interp(grid, x, y) for x, y in curves])
    mean, deviation = values.mean(axis=0), values.std(axis=0, ddof=1) if len(curves) > 1 else 0 * grid
    parts = (grid, mean, mean - deviation, mean + deviation)
    x, middle, low, high = (np.round(part, 5).tolist() for part in parts)
    return Band(x, middle, low, high, len(curves))


def points_of(trace: Trace, axis: Axis, column: str = "score") -> list[tuple[float, float]]:
    """One run's curve over ``axis``."""
    pairs = zip(trace["columns"][axis], trace["columns"][column], strict=True)
    return [(place or 0.0, value) for place, value in pairs if value is not None]


def bands(
    rows: Sequence[dict[str, Any]], known: dict[str, Trace], axis: Axis, column: str = "score"
) -> dict[str, Band]:
    """A band for each series of a table's rows that has traces, by the runs' ids."""
    found = {}
    for series in dict.fromkeys(row["series"] for row in rows):
        own = [known[row["run"]] for row in rows if row["series"] == series and row["run"] in known]
        if own and (one := band(own, axis, column)) is not None:
            found[series] = one
    return found


# --- without validation data -----------------------------------------------------------------------------------

SIGNALS = {
    "sampled_agreement": "agreement with the teacher on generated samples",
    "stability": "stability of that agreement",
    "coverage": "coverage of the classes",
    "last": "the last step",
}
WINDOW = 3  # evaluations that a signal is averaged over


class Picked(NamedTuple):
    """The step of the evaluation that a signal picks, the score there, the best score, and how far it lies below that
    (above, where lower is better)."""

    step: int
    score: float
    best: float
    regret: float


def picked(trace: Trace, signal: str) -> Picked | None:
    """Where ``signal`` is the highest, as a mean over ``WINDOW`` evaluations, the latest of equals; None where it was
    not logged. No score of test images is looked at to pick; they only tell the regret."""
    values = _signal(trace, signal)
    known = [(value, index) for index, value in enumerate(values) if value is not None]
    scores = trace["columns"]["score"]
    if not known or any(score is None for score in scores):
        return None
    _, index = max(known)
    best = better(trace["measure"])(score for score in scores if score is not None)
    score = scores[index] or 0.0
    return Picked(int(trace["columns"]["step"][index] or 0), score, best, abs(best - score))


def _signal(trace: Trace, signal: str) -> list[float | None]:
    columns = trace["columns"]
    if signal == "last":
        return [float(index) for index in range(len(columns["step"]))]
    if signal == "stability":  # how little the newest values differ, of those that lie near the highest
        values = columns["sampled_agreement"]
        means, spreads = _means(values), _spreads(values)
        pairs = zip(means, spreads, strict=True)
        return [None if mean is None or spread is None else mean - spread for mean, spread in pairs]
    return _means(columns[signal])


def _windows(values: Sequence[float | None]) -> list[list[float]]:
    """The newest ``WINDOW`` values at each place; empty where one of them is missing, or the run has just begun."""
    found = []
    for end in range(1, len(values) + 1):
        window = [value for value in values[max(0, end - WINDOW) : end] if value is not None]
        found.append(window if len(window) == WINDOW else [])
    return found


def _means(values: Sequence[float | None]) -> list[float | None]:
    return [sum(window) / len(window) if window else None for window in _windows(values)]


def _spreads(values: Sequence[float | None]) -> list[float | None]:
    return [max(window) - min(window) if window else None for window in _windows(values)]


def stability(trace: Trace, spec: RunSpec | None, epochs: int) -> float | None:
    """How far the mean of the last ``epochs`` lies below the best score (see ``stability_of``); what the student was
    before its first step does not count."""
    pairs = zip(trace["columns"]["step"], trace["columns"]["score"], strict=True)
    scores = [score for step, score in pairs if step and score is not None]
    last = epochs if spec is None else in_last(trace, spec, epochs)
    return stability_of(scores, last, trace["measure"] in DISTANCES)


def in_last(trace: Trace, spec: RunSpec, epochs: int) -> int:
    """How many evaluations fall into the last ``epochs``; of a method without epochs, that many evaluations."""
    steps = [step or 0 for step in trace["columns"]["step"]]
    length = spec.knob("iterations")  # of a run from elsewhere a knob may be anything
    if not isinstance(length, int) or not 0 <= length < 2**53 or not steps:
        return min(epochs, len(steps))
    return len(steps) - bisect_right(steps, steps[-1] - epochs * length)
