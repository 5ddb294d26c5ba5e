"""Many runs on a Ray cluster of this machine while its parts are killed: is any lost, or made twice?

1. ``kills``: 20 runs on two CPUs. The worker of every second one is killed with -9 after its third step, the program
   that submitted them once a quarter are done, the cluster's coordinator once half are.
2. ``nodes``: 20 runs on two nodes of one CPU; one node is removed once a quarter are done.

Each run is held against one that nobody disturbed: the bits of the student, the rows of the log, and no damage.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
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
from dfkd_core.engine.ray import RayEngine
from dfkd_core.runs.spec import read_spec
from dfkd_core.store import EventReader, Queue, RunFolder, runs_in, verify

PARTS = ("kills", "nodes")
SEEDS = 4
PATIENCE = 900.0
DRIVER = """
import sys, time
from pathlib import Path
from benchmarks.throughput import short_spec
from dfkd_core.engine.ray import RayEngine
engine = RayEngine(Path(sys.argv[1]), sys.argv[2])
for number in range(int(sys.argv[3])):
    engine.submit(short_spec(number % int(sys.argv[4])))
time.sleep(3600)
"""


def measure(
    *, parts: Annotated[list[str] | None, Parameter(help=f"Of: {', '.join(PARTS)}.")] = None, quick: Quick = False
) -> Iterator[Report]:
    count = 4 if quick else 20
    with folder_of_runs() as runs:
        whole = {seed: outcome(carried_out(runs, short_spec(seed))) for seed in range(SEEDS)}
    for part in parts or PARTS:
        with folder_of_runs() as runs, small_cluster(2 if part == "kills" else 1) as address:
            began, said = time.monotonic(), {"kills": killing, "nodes": removing}[part](runs, address, count)
            folders = runs_in(runs)
            attempts = {folder.id: folder.attempts()[-1] for folder in folders}
            same = sum(outcome(folder) == whole[read_spec(folder).seed] for folder in folders)
            twice = sum(_times_done(folder) != 1 for folder in folders)
            damaged = sum(bool(verify(folder)) for folder in folders)
            took = time.monotonic() - began
        text = f"{len(folders)} of {count} done, {twice} twice, {same} as undisturbed, {damaged} damaged, {took:.0f} s"
        met = (len(folders), twice, same, damaged) == (count, 0, count, 0)
        yield Report([Row(said, text, f"all {count}, none twice", met)], {"attempts": attempts}, part)


def killing(runs: Path, address: str, count: int) -> str:
    driver = _driver(runs, address, count)
    killed, queue, events = set[str](), Queue(runs), []
    victims: dict[str, Callable[[], None]] = {"program": driver.kill, "coordinator": lambda: _kill_coordinator(queue)}
    until = time.monotonic() + PATIENCE
    while (done := _done(runs)) < count and time.monotonic() < until:
        for index, folder in enumerate(sorted(runs_in(runs), key=lambda one: one.id)):
            if index % 2 and folder.id not in killed and _kill_worker(folder):
                killed.add(folder.id)
        for name, share in (("program", 0.25), ("coordinator", 0.5)):
            if name in victims and done >= share * count:
                victims.pop(name)()
                events.append(f"{name} at {done}")
                say(f"{done} done: the {name} is killed")
        time.sleep(0.05)
    driver.kill()
    driver.wait()
    return f"Killed with -9: {len(killed)} workers, the {', the '.join(events)} done"


def removing(runs: Path, address: str, count: int) -> str:
    node = begin_node(address, 1)
    driver, removed, until = _driver(runs, address, count), "no", time.monotonic() + PATIENCE
    while (done := _done(runs)) < count and time.monotonic() < until:
        if done >= count / 4 and removed == "no":
            node.kill()
            removed = f"one removed at {done} done"
            say(removed)
        time.sleep(0.05)
    driver.kill()
    driver.wait()
    return f"Two nodes, {removed}"


def _driver(runs: Path, address: str, count: int) -> subprocess.Popen[bytes]:
    RayEngine(runs, address).close()
    return subprocess.Popen([sys.executable, "-c", DRIVER, str(runs), address, str(count), str(SEEDS)])


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


def _done(runs: Path) -> int:
    return sum(folder.status_seen().state == "done" for folder in runs_in(runs))


def _times_done(folder: RunFolder) -> int:
    return sum(row["type"] == "status" and row["state"] == "done" for row in EventReader(folder).read())


if __name__ == "__main__":
    command(measure)
