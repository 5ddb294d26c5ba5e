"""The default run on digits over seeds: how soon and how well, beside the same teacher queries spent otherwise.

For each seed, one after the other: TA-DFKD's default preset through the local engine with a warm worker, then
TA-DFKD without selection and the noise baseline with as many epochs as it takes to ask the teacher as often. The
seconds run from submitting (what the Start button does) to the row that a reader of the run's folder sees.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any

import psutil

from benchmarks.command import Quick, Seeds, Teacher, command
from benchmarks.report import Report, Row, say
from benchmarks.training import local_engine, result_of, spread
from dfkd_core.engine import LocalEngine
from dfkd_core.runs.request import make_spec
from dfkd_core.runs.spec import RunSpec
from dfkd_core.store import EventReader, RunFolder
from dfkd_core.study.tables import in_points, interval

GOAL, SECONDS, FINAL = 0.95, 60.0, 0.98  # shares are of the teacher's accuracy
DEFAULT = "default"
RIVALS: dict[str, tuple[str, dict[str, Any]]] = {
    "selection off": ("ta-dfkd", {"selection": False}),
    "noise, gaussian": ("noise", {"kind": "gaussian"}),
    "noise, uniform": ("noise", {"kind": "uniform"}),
}


@dataclass(frozen=True)
class Trained:
    """How a run went. ``final`` and ``best`` are shares of the teacher's accuracy; ``reached``: seconds from submit to
    the first row, as a reader of the folder sees it, at ``GOAL`` or above, ``elapsed`` those of training; ``queries``:
    images that the teacher judged; ``curve``: (step, seconds of training, accuracy)."""

    final: float
    best: float
    reached: float | None
    elapsed: float | None
    queries: int
    curve: list[tuple[int, float, float]]


def train(engine: LocalEngine, spec: RunSpec) -> Trained:
    """Run ``spec`` to its end in a worker that is warm, and read its folder meanwhile, as a page does, every 50 ms."""
    wait_until_warm(engine)
    started = time.perf_counter()
    folder = RunFolder(engine.runs / engine.submit(spec))
    reader, curve, queries = EventReader(folder), list[tuple[int, float, float]](), 0
    reached, elapsed, over = None, None, False
    while not over:
        time.sleep(0.05)
        over = not folder.status().is_live  # asked before reading, so that no row is missed
        for row in reader.read():
            if row["type"] == "step":
                queries = max(queries, round(row["values"].get("queries", 0)))
            if row["type"] == "evaluated":
                curve.append((row["step"], row["elapsed"], row["accuracy"]))
                if reached is None and row["accuracy"] >= GOAL * row["teacher_accuracy"]:
                    reached, elapsed = time.perf_counter() - started, row["elapsed"]
    result = result_of(folder)
    say(f"{spec.method}, seed {spec.seed}: final {result['final']:.2%}, best {result['best']:.2%}, {queries} queries")
    final, best = (result[name] / result["teacher"] for name in ("final", "best"))
    return Trained(final, best, reached, elapsed, queries, curve)


def wait_until_warm(engine: LocalEngine) -> None:
    """Return when the engine's idle worker has imported torch: it has used CPU, and uses none any more."""
    deadline, used, quiet = time.monotonic() + 60, -1.0, 0
    while time.monotonic() < deadline and quiet < 4:
        time.sleep(0.25)
        worker = next(iter(engine._idle), None)
        if worker is not None and worker.is_alive():
            times = psutil.Process(worker.process.pid).cpu_times()
            now = times.user + times.system
            quiet = quiet + 1 if now == used and now > 1.0 else 0
            used = now


def with_budget(method: str, changes: dict[str, Any], queries: int, **fields: Any) -> RunSpec:
    """The demo preset of ``method``, as many epochs as come nearest to ``queries`` images judged by the teacher."""
    c = make_spec(changes, method=method, **fields).config
    epoch = (c["student_steps"] + (method == "ta-dfkd")) * c["batch_size"] * c["iterations"]  # one for the generator
    return make_spec({**changes, "epochs": max(1, round(queries / epoch))}, method=method, **fields)


def rows_of(runs: dict[str, list[Trained]]) -> Iterator[Row]:
    default = runs[DEFAULT]
    reached = [run.reached for run in default if run.reached is not None]
    inside = [run.elapsed for run in default if run.elapsed is not None]
    never, least = len(default) - len(reached), min(run.final for run in default)
    middle = median(reached) if reached else None  # of the seeds that got there
    each = ", ".join(f"{value:.1f}" for value in reached)
    took = [f"{middle:.1f} s (each: {each}; {median(inside):.1f} s of it in the run)"] if reached else []
    took += [f"{never} of {len(default)} seeds never"] if never else []
    soon = not never and middle is not None and middle <= SECONDS
    what = f"Start to {GOAL:.0%} of the teacher's accuracy, median of {len(default)} seeds"
    yield Row(what, " ".join(took), f"≤ {SECONDS:.0f} s", soon, middle)
    what = "Share of the teacher's accuracy at the end, least of the seeds"
    yield Row(what, f"{least:.2%}", f"≥ {FINAL:.0%}", least >= FINAL, least)
    for name, done in runs.items():
        finals, best = [run.final for run in done], [run.best for run in done]
        text = f"final {spread(finals)}, best {spread(best)}, {fmean(run.queries for run in done):,.0f} queries"
        if name != DEFAULT:
            gain = interval([run.final - own.final for run, own in zip(done, default, strict=True)])
            text += f"; against the default {in_points(*gain)} points (n = {len(done)})"
        yield Row(f"{name}: share of the teacher's accuracy", text, value=fmean(finals))


def measure(*, seeds: Seeds = 5, teacher: Teacher = "", quick: Quick = False) -> Iterator[Report]:
    runs: dict[str, list[Trained]] = {DEFAULT: [], **{name: [] for name in RIVALS}}
    with local_engine() as engine:
        for seed in range(1 if quick else seeds):
            fields = {"seed": seed, "teacher": teacher}
            default = train(engine, make_spec({"epochs": 2} if quick else {}, **fields))
            runs[DEFAULT].append(default)
            for name, (method, changes) in RIVALS.items():
                runs[name].append(train(engine, with_budget(method, changes, default.queries, **fields)))
    yield Report(list(rows_of(runs)), {"runs": runs})


if __name__ == "__main__":
    command(measure)
