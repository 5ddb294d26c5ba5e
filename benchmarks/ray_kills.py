"""A study on a Ray cluster of this machine while its parts are killed: is any run lost, or made twice?

1. ``kills``: 20 runs on two CPUs. The worker of every second one is killed with -9 after its third step, the program
   whose conductor carries the study out once a quarter are done (another one goes on), the cluster's coordinator once
   half are.
2. ``nodes``: 20 runs on two nodes of one CPU; one node is removed once a quarter are done.

Each run is held against one that nobody disturbed: the bits of the student, the rows of the log, and no damage.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import psutil
from cyclopts import Parameter

from benchmarks.clusters import begin_node, small_cluster
from benchmarks.command import Quick, command
from benchmarks.report import Report, Row, say
from benchmarks.soak import outcome
from benchmarks.throughput import short_spec
from benchmarks.training import carried_out, folder_of_runs
from dfkd_core.runs.spec import read_spec
from dfkd_core.store import EventReader, Queue, RunFolder, runs_in, verify
from dfkd_core.study import Cell, Study

PARTS = ("kills", "nodes")
SEEDS = 4
PATIENCE = 900.0
DRIVER = """
import sys
from pathlib import Path
from dfkd_core.engine.ray import RayEngine
from dfkd_core.study import Conductor, Study
study = Study(Path(sys.argv[1]))
Conductor(study, RayEngine(study.runs, sys.argv[2])).conduct()
"""


def measure(
    *, parts: Annotated[list[str] | None, Parameter(help=f"Of: {', '.join(PARTS)}.")] = None, quick: Quick = False
) -> Iterator[Report]:
    count = 4 if quick else 20
    with folder_of_runs() as runs:
        whole = {seed: outcome(carried_out(runs, short_spec(seed))) for seed in range(SEEDS)}
    for part in parts or PARTS:
        with folder_of_runs() as runs, small_cluster(2 if part == "kills" else 1) as address:
            began, study = time.monotonic(), _study(runs, count)
            said, progress = {"kills": killing, "nodes": removing}[part](study, address), study.progress()
            folders = runs_in(runs)
            attempts = {folder.id: folder.attempts()[-1] for folder in folders}
            same = sum(outcome(folder) == whole[read_spec(folder).seed] for folder in folders)
            twice = sum(_times_done(folder) != 1 for folder in folders)
            damaged = sum(bool(verify(folder)) for folder in folders)
            took = time.monotonic() - began
        found = (
            f"{progress.state}: {progress.done} of {count} runs, {len(folders)} folders, {twice} done twice or never"
        )
        text = f"{found}, {same} as undisturbed, {damaged} damaged, {took:.0f} s"
        met = (progress.done, len(folders), twice, same, damaged) == (count, count, 0, count, 0)
        yield Report([Row(said, text, f"all {count}, none twice", met)], {"attempts": attempts}, part)


def _study(runs: Path, count: int) -> Study:
    cells = [Cell(f"cell-{number}", {"number": number}, short_spec(number % SEEDS)) for number in range(count)]
    return Study.create(runs, "plain", "Runs that are killed", {"samples": 0}, cells)


def killing(study: Study, address: str) -> str:
    runs, driver = study.runs, _driver(study, address)
    killed, queue, events = set[str](), Queue(runs), list[str]()
    left, until = {"program": 0.25, "coordinator": 0.5}, time.monotonic() + PATIENCE
    while (progress := study.progress()).state != "done" and driver.poll() is None and time.monotonic() < until:
        for index, folder in enumerate(sorted(runs_in(runs), key=lambda one: one.id)):
            if index % 2 and folder.id not in killed and _kill_worker(folder):
                killed.add(folder.id)
        for name in [name for name, share in left.items() if progress.done >= share * progress.total]:
            left.pop(name)
            if name == "coordinator":
                _kill_coordinator(queue)
            else:
                _end(driver)
                driver = _driver(study, address)
            events.append(f"{name} at {progress.done}")
            say(f"{progress.done} done: the {name} is killed")
        time.sleep(0.05)
    _end(driver)
    return f"A study, killed with -9: {len(killed)} workers, the {', the '.join(events)} done"


def removing(study: Study, address: str) -> str:
    node = begin_node(address, 1)
    driver, removed, until = _driver(study, address), "no", time.monotonic() + PATIENCE
    while (progress := study.progress()).state != "done" and driver.poll() is None and time.monotonic() < until:
        if progress.done >= progress.total / 4 and removed == "no":
            node.kill()
            removed = f"one removed at {progress.done} done"
            say(removed)
        time.sleep(0.05)
    _end(driver)
    return f"A study on two nodes, {removed}"


def _driver(study: Study, address: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", DRIVER, str(study.path), address])


def _end(driver: subprocess.Popen[bytes]) -> None:
    driver.kill()
    driver.wait()


def _kill_worker(folder: RunFolder) -> bool:
    """Once it has come to its third step."""
    if sum(row["type"] == "step" for row in EventReader(folder).read()) < 3:
        return False
    owner = folder.leases.process(folder.leases.newest())
    if owner is None or owner.pid == os.getpid() or folder.status().state != "running":
        return False
    try:
        os.kill(owner.pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def _kill_coordinator(queue: Queue) -> None:
    owner = queue.leases.process(queue.leases.newest())
    if owner is not None:
        psutil.Process(owner.pid).kill()


def _times_done(folder: RunFolder) -> int:
    return sum(row["type"] == "status" and row["state"] == "done" for row in EventReader(folder).read())


if __name__ == "__main__":
    command(measure)
