"""What the measurements share: alternating arms, ratios with bootstrap intervals, training through the engine, reports.

Time depends on who else uses the machine, so it is never stated alone: what is compared runs alternately in one
process, each round gives one ratio, and the report is the median ratio with a 95 % bootstrap interval.
"""

from __future__ import annotations

import argparse
import gc
import importlib.metadata
import json
import os
import platform
import shlex
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

from dfkd_core.engine import LocalEngine
from dfkd_core.provenance import code_version, processor
from dfkd_core.runs.assemble import assemble
from dfkd_core.runs.spec import RunSpec
from dfkd_core.store import EventReader, RunFolder
from dfkd_core.store.checkpoints import save_checkpoint

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("torch", "torchvision", "numpy", "scikit-learn", "streamlit", "playwright")

# --- statistics ------------------------------------------------------------------------------------------------


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


def bootstrap(values: Sequence[float], draws: int = 10_000) -> Interval:
    """The median of ``values`` and the percentile interval of the medians of resamples (fixed seed)."""
    array = np.asarray(values, dtype=float)
    resampled = np.random.default_rng(0).choice(array, (draws, len(array)))
    low, high = np.quantile(np.median(resampled, axis=1), [0.025, 0.975])
    return Interval(float(np.median(array)), float(low), float(high), len(array))


def ratios(numerator: Sequence[float], denominator: Sequence[float]) -> Interval:
    """Median of the ratios round by round; both lists come from ``interleave``."""
    return bootstrap([one / other for one, other in zip(numerator, denominator, strict=True)])


def interleave(arms: dict[str, Callable[[int], float]], rounds: int) -> dict[str, list[float]]:
    """Call every arm once a round, with the round's number, in an order that rotates; collect what they return."""
    names = list(arms)
    measured: dict[str, list[float]] = {name: [] for name in names}
    for index in range(rounds):
        shift = index % len(names)
        for name in names[shift:] + names[:shift]:
            gc.collect()
            measured[name].append(arms[name](index))
        latest = ", ".join(f"{name} {values[-1]:.4g}" for name, values in measured.items())
        say(f"round {index + 1} of {rounds}: {latest}")
    return measured


def spread(values: Sequence[float]) -> str:
    """Mean ± standard deviation of shares, in percent; one seed has no spread, and says so."""
    if len(values) == 1:
        return f"{values[0]:.2%} (1 seed)"
    return f"{statistics.fmean(values):.2%} ± {statistics.stdev(values):.2%}"


# --- training through the engine -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Trained:
    """How a run went. ``curve``: (step, seconds of training, accuracy); ``reached``: seconds from submit to the first
    row, as a reader of the folder sees it, at ``goal`` times the teacher's accuracy or above; ``queries``: images
    that the teacher judged."""

    seed: int
    final: float
    best: float
    teacher: float
    seconds: float
    reached: float | None
    reached_elapsed: float | None
    queries: int
    curve: list[tuple[int, float, float]]

    @property
    def final_share(self) -> float:
        return self.final / self.teacher

    @property
    def best_share(self) -> float:
        return self.best / self.teacher


@contextmanager
def local_engine() -> Iterator[LocalEngine]:
    """A local engine on a temporary folder of runs."""
    with tempfile.TemporaryDirectory() as folder:
        engine = LocalEngine(Path(folder))
        try:
            yield engine
        finally:
            engine.close()


def wait_until_warm(engine: LocalEngine, timeout: float = 60.0) -> None:
    """Return when the engine's idle worker has imported torch: it has used CPU, and uses none any more."""
    deadline, used, quiet = time.monotonic() + timeout, -1.0, 0
    while time.monotonic() < deadline and quiet < 4:
        time.sleep(0.25)
        worker = engine._warm
        if worker is None or not worker.is_alive():
            continue
        times = psutil.Process(worker.process.pid).cpu_times()
        now = times.user + times.system
        quiet = quiet + 1 if now == used and now > 1.0 else 0
        used = now


def train(engine: LocalEngine, spec: RunSpec, goal: float = 0.95) -> Trained:
    """Run ``spec`` to its end in a worker and read its folder meanwhile, as a page does, every 50 ms."""
    wait_until_warm(engine)
    started = time.perf_counter()
    folder = RunFolder(engine.runs / engine.submit(spec))
    reader, rows, reached = EventReader(folder), list[dict[str, Any]](), None
    while True:
        over = not folder.status().is_live  # asked before reading, so that no row is missed
        fresh = reader.read()
        rows += fresh
        if reached is None and any(_at_goal(row, goal) for row in fresh):
            reached = time.perf_counter() - started
        if over:
            break
        time.sleep(0.05)
    status = folder.status()
    if status.state != "done":
        raise SystemExit(f"{spec.method}, seed {spec.seed}: {status.state}. {status.message}")
    result, evaluated = status.result, [row for row in rows if row["type"] == "evaluated"]
    first = next((row["elapsed"] for row in evaluated if _at_goal(row, goal)), None)
    curve = [(row["step"], row["elapsed"], row["accuracy"]) for row in evaluated]
    final, best, teacher, seconds = (float(result[name]) for name in ("final", "best", "teacher", "seconds"))
    return Trained(spec.seed, final, best, teacher, seconds, reached, first, queries_of(spec, rows), curve)


def checkpoint_seconds(spec: RunSpec) -> float:
    """CPU seconds of one checkpoint of what ``spec`` trains, median of nine."""
    method, times = assemble(spec)[2], []
    next(iter(method.train()))
    with tempfile.TemporaryDirectory() as runs:
        folder = RunFolder.create(Path(runs), spec.model_dump())
        for step in range(9):
            started = time.process_time()
            save_checkpoint(folder, step, {"method": method.state_dict()})
            times.append(time.process_time() - started)
    return bootstrap(times).median


def _at_goal(row: dict[str, Any], goal: float) -> bool:
    return row["type"] == "evaluated" and row["accuracy"] >= goal * row["teacher_accuracy"]


def queries_of(spec: RunSpec, rows: list[dict[str, Any]]) -> int:
    """Images that the teacher has judged by the last row: the metric ``queries``, or TA-DFKD's draws added up."""
    values = [row["values"] for row in rows if row["type"] == "step" and row["values"]]
    if values and "queries" in values[-1]:
        return round(values[-1]["queries"])
    steps, batch = spec.config["student_steps"], spec.config["batch_size"]
    drawn = round(sum(value["draws"] for value in values) * steps)
    again = 0 if spec.config["augmentation"] == "none" else len(values) * (steps + 1)  # the augmented view
    return (drawn + len(values) + again) * batch


# --- reports ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """One line of a report: what was measured, how it came out, what it should be, and whether it is."""

    what: str
    measured: str
    target: str = ""
    met: bool | None = None
    value: float | None = None

    def markdown(self) -> str:
        mark = {True: " ✓", False: " ✗", None: ""}[self.met]
        return f"| {self.what} | {self.measured} | {self.target}{mark} |"


def options(name: str, doc: str | None, add: Callable[[argparse.ArgumentParser], Any] | None = None) -> Any:
    """Parse the command line of a measurement; sets one torch thread and a friendly priority."""
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks.{name}", description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="only try the command; the figures mean nothing")
    if add is not None:
        add(parser)
    parsed = parser.parse_args()
    torch.set_num_threads(1)
    return parsed


def report(name: str, quick: bool, rows: list[Row], details: dict[str, Any], part: str = "") -> None:
    """Print ``rows`` as a markdown table and keep them, with ``details`` and the machine, as results/NAME.json, or
    results/NAME-PART.json; trials end in -quick and git ignores them."""
    print(f"\n{'QUICK TRIAL, figures mean nothing. ' if quick else ''}{_command(name)}\n")
    print("| what | measured | target |\n|---|---|---|")
    for row in rows:
        print(row.markdown())
    stored = {
        "command": _command(name),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "quick": quick,
        "rows": [asdict(row) for row in rows],
        "machine": machine(),
        "details": details,
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / ("-".join(filter(None, [name, part, "quick" * quick])) + ".json")
    path.write_text(json.dumps(stored, indent=1, default=_plain, allow_nan=False) + "\n")
    say(f"written to {path.relative_to(RESULTS.parent.parent)}")


def _plain(value: Any) -> Any:
    return asdict(value)


def _command(name: str) -> str:
    """The command line; values that are paths are left out, they say something about one machine only."""
    shown = ["PATH" if os.sep in argument else argument for argument in sys.argv[1:]]
    return shlex.join(["python", "-m", f"benchmarks.{name}", *shown])


def machine() -> dict[str, Any]:
    """Facts that bear on the figures; nothing that names the machine."""
    return {
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "load_1_min": round(os.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        "torch_threads": torch.get_num_threads(),
        "code": code_version(),
    }


def say(message: str) -> None:
    """Progress, on standard error, so that standard output holds the table alone."""
    print(message, file=sys.stderr, flush=True)
