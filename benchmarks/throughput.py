"""Many short runs through an engine: what a second worker gains, and what the engine takes of each run.

Forty runs on digits, one torch thread each: in one process one after the other, then by the local engine and on a Ray
cluster of this machine with one worker and with two. Seconds from the first being submitted to the last being done; the
CPU seconds that all its processes took stand beside it, since a machine that others use gives no second core.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import psutil
from cyclopts import Parameter

from benchmarks.clusters import small_cluster
from benchmarks.command import Quick, command
from benchmarks.report import Report, Row, at_most, say
from benchmarks.training import carried_out, folder_of_runs, result_of
from dfkd_core.engine import Engine, LocalEngine
from dfkd_core.runs.request import make_spec
from dfkd_core.runs.spec import RunSpec
from dfkd_core.store import RunFolder

GAIN, OVERHEAD = 0.9, {"local": 0.5, "ray": 2.0}  # of a second worker, at least; seconds a run, at most
STEPS = {"epochs": 1, "iterations": 20, "student_steps": 2, "batch_size": 64}


def measure(
    *, engines: Annotated[list[str] | None, Parameter(help="Of: local, ray.")] = None, quick: Quick = False
) -> Iterator[Report]:
    kinds = engines or ["local", *(["ray"] if find_spec("ray") else [])]
    specs = [short_spec(seed) for seed in range(4 if quick else 40)]
    with folder_of_runs() as runs:
        alone = _timed(os.getpid(), lambda: [carried_out(runs, spec) for spec in specs])
    say(f"in one process: {alone}")
    for kind in kinds:
        found = {workers: through(kind, workers, specs) for workers in (1, 2)}
        say(f"{kind}: {found}")
        gain = found[1]["seconds"] / found[2]["seconds"] / 2
        each = (found[1]["seconds"] - alone["seconds"]) / len(specs)
        words = f"{found[1]['seconds']:.0f} s → {found[2]['seconds']:.0f} s: {gain:.2f} × 2"
        yield Report(
            [
                Row(f"{kind}: {len(specs)} runs, 1 worker → 2", words, f"≥ {GAIN} × 2", gain >= GAIN, gain),
                at_most(OVERHEAD[kind], f"{kind}: seconds a run beyond those in one process", f"{each:.2f} s", each),
            ],
            {"alone": alone, **{str(workers): one for workers, one in found.items()}, "load": os.getloadavg()},
            kind,
        )


def short_spec(seed: int, **fields: Any) -> RunSpec:
    """A second or two of TA-DFKD."""
    return make_spec(STEPS, seed=seed, checkpoint_seconds=0.5, **fields)


def through(kind: str, workers: int, specs: list[RunSpec]) -> dict[str, float]:
    """Wall and CPU seconds of all of them, the engine warm: a first run has been made."""
    with folder_of_runs() as runs, _engine(kind, workers, runs) as (engine, root):
        _all_done(engine, specs[:workers])
        return _timed(root, lambda: _all_done(engine, specs))


@contextmanager
def _engine(kind: str, workers: int, runs: Path) -> Iterator[tuple[Engine, int]]:
    """With the process that its workers descend from."""
    if kind == "local":
        engine = LocalEngine(runs, slots=workers)
        yield engine, os.getpid()
        engine.close()
        return
    from dfkd_core.engine.ray import RayEngine

    with small_cluster(workers) as address:
        raylet = next(one.pid for one in psutil.process_iter(["name"]) if one.info["name"] == "raylet")
        yield RayEngine(runs, address), raylet


def _all_done(engine: Engine, specs: list[RunSpec]) -> None:
    folders = [RunFolder(engine.runs / engine.submit(spec)) for spec in specs]
    for folder in folders:
        while folder.status_seen().is_live:
            time.sleep(0.02)
        result_of(folder)


def _timed(root: int, action: Any) -> dict[str, float]:
    """Wall seconds, and CPU seconds of a process with all that it started."""
    began, used = time.perf_counter(), _cpu_seconds(root)
    action()
    return {"seconds": time.perf_counter() - began, "cpu": _cpu_seconds(root) - used}


def _cpu_seconds(root: int) -> float:
    process = psutil.Process(root)
    times = [process.cpu_times(), *(one.cpu_times() for one in process.children())]
    return sum(one.user + one.system + one.children_user + one.children_system for one in times)


if __name__ == "__main__":
    command(measure)
