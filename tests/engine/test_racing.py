"""Two who start one run at the same moment: one of them runs it, the other is told who does."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, eventually, new_run, rows

from dfkd_core.engine import LocalEngine, local
from dfkd_core.errors import HeldError
from dfkd_core.store import RunFolder

Start = Callable[..., subprocess.Popen[str]]
ROUNDS = pytest.mark.parametrize("rounds", [3, pytest.param(200, marks=pytest.mark.slow)])
RACER = """
import sys, time
from pathlib import Path
from dfkd_core.engine import InlineEngine
from dfkd_core.errors import StoreError
engine = InlineEngine(Path(sys.argv[1]))
print("ready", flush=True)
for line in sys.stdin:
    run_id, moment = line.split()
    while time.monotonic() < float(moment):
        pass
    try:
        engine.resume(run_id)
        print("ran", flush=True)
    except StoreError as error:
        print(error, flush=True)
"""
WORKER = """
import json, os, socket
from dataclasses import replace
from pathlib import Path
from dfkd_core.events import Step
from dfkd_core.store import EventWriter, RunFolder
with socket.socket(fileno=os.dup(0)) as lab:
    line, descriptors, *_ = socket.recv_fds(lab, 65536, 1)
if line:
    job = json.loads(line)
    folder = RunFolder(Path(job["folder"]))
    with folder.leases.received(job["attempt"], descriptors[0]) as lease:
        writer = EventWriter(folder, lease.number)
        for step in range(1, 20):
            writer.add(Step(step), 0.0)
            writer.flush()
        folder.set_status(replace(folder.status(), state="done", message=""))
"""


def begun_before(runs: Path) -> RunFolder:
    """A run whose first attempt died."""
    quiet = {"probes_every": 0, "phases_every": 0, "samples_every": 0, "evaluate_every": 1000}
    folder = new_run(runs, {"iterations": 3}, method="noise", **quiet)
    folder.begin_attempt().close()
    return folder


def assert_ran_once(folder: RunFolder, said: list[str]) -> None:
    """``said`` is what the two heard: one ran it, the other knows which process did."""
    told = next(words for words in said if words != "ran")
    assert said.count("ran") == 1 and re.search(rf"in process \d+ on {socket.gethostname()}$|is done", told), said
    assert folder.attempts() == [1, 2] and folder.status().state == "done"
    numbers = [row["seq"] for row in rows(folder)]
    assert numbers == list(range(1, len(numbers) + 1)) and len(rows(folder, "step")) >= 3


@ROUNDS
@pytest.mark.timeout(3000)
def test_two_processes_resume_one_run(runs: Path, start: Start, rounds: int) -> None:
    racers = [start("-u", "-c", RACER, str(runs)) for _ in range(2)]
    for racer in racers:
        assert racer.stdout.readline() == "ready\n"
    for _ in range(rounds):
        folder = begun_before(runs)
        moment = time.monotonic() + 0.05
        for racer in racers:
            racer.stdin.write(f"{folder.id} {moment}\n")
            racer.stdin.flush()
        assert_ran_once(folder, [racer.stdout.readline().strip() for racer in racers])


@pytest.fixture
def labs(runs: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[LocalEngine]]:
    """Two labs on the same runs, whose workers write rows without training."""

    def spawn() -> Any:
        channel, its_end = socket.socketpair()
        with its_end:
            command = [sys.executable, "-c", WORKER]
            return local._Worker(subprocess.Popen(command, stdin=its_end.fileno(), cwd=ROOT), channel)

    monkeypatch.setattr(local, "_spawn", spawn)
    made = [LocalEngine(runs), LocalEngine(runs)]
    yield made
    for engine in made:
        engine.close()


@ROUNDS
@pytest.mark.timeout(3000)
def test_two_labs_resume_one_run(runs: Path, labs: list[LocalEngine], rounds: int) -> None:
    for _ in range(rounds):
        folder, said, together = begun_before(runs), list[str](), threading.Barrier(2)

        def resume(engine: LocalEngine, folder: RunFolder, said: list[str], together: threading.Barrier) -> None:
            together.wait()
            try:
                engine.resume(folder.id)
                said.append("ran")
            except HeldError as error:
                said.append(str(error))

        threads = [threading.Thread(target=resume, args=(engine, folder, said, together)) for engine in labs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        eventually(lambda folder=folder: folder.status().state == "done")
        assert_ran_once(folder, said)
