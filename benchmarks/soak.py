"""Runs of every method, killed with -9 at any moment and resumed until they are done: is anything lost?

``make soak`` goes on until ``--kills`` processes were killed; begun again it goes on from where it was. A run counts
once it is done, and is held against one that nobody disturbed: the same bits of the student, the same rows of the log,
no damage found by ``verify``. Each attempt is a fork, since importing torch a thousand times would take an hour.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import random
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import torch
from cyclopts import Parameter

from benchmarks.command import Quick, command
from benchmarks.gpu import brief_spec
from benchmarks.gpu_step import Bench
from benchmarks.report import RESULTS, Report, Row, say
from dfkd_core import methods
from dfkd_core.data.catalogue import find_benchmark
from dfkd_core.events import REPLAYED
from dfkd_core.runs.loop import run
from dfkd_core.runs.spec import RunSpec
from dfkd_core.store import EventReader, RunFolder, verify

LONGEST = 1.0  # seconds that an attempt is let live
LATE = ("torch._dynamo", "torchvision.models.resnet", "scipy.stats", "scipy.linalg", "torchmetrics")
TYPES = {event.__name__.lower() for event in REPLAYED}


def measure(
    *,
    kills: Annotated[int, Parameter(help="How many, earlier runs of this command counted in.")] = 1000,
    quick: Quick = False,
) -> Iterator[Report]:
    for module in LATE:  # else every attempt would import them anew
        importlib.import_module(module)
    find_benchmark("digits").load(train=False)
    kills = 12 if quick else kills
    state = RESULTS / ("soak-state-quick.json" if quick else "soak-state.json")
    found: dict[str, dict[str, int]] = json.loads(state.read_text()) if state.is_file() and not quick else {}
    names = list(methods.available())
    with tempfile.TemporaryDirectory() as folder:
        whole = dict[str, tuple[str, list[Any]]]()
        while sum(one["kills"] for one in found.values()) < kills:
            name = min(names, key=lambda name: found.get(name, {}).get("kills", 0))
            so_far = found.setdefault(name, {"kills": 0, "runs": 0, "lost": 0})
            spec = spec_of(name)
            if name not in whole:
                whole[name] = undisturbed(Path(folder) / name, spec)
            one, killed = disturbed(Path(folder) / "disturbed", spec, random.Random(f"{name}{so_far['runs']}"))
            so_far["kills"] += killed
            so_far["runs"] += 1
            so_far["lost"] += outcome(one) != whole[name] or bool(verify(one))
            state.write_text(json.dumps(found, indent=1))
            say(f"{name}: {so_far}; {sum(each['kills'] for each in found.values())} kills in all")
    total = {key: sum(one[key] for one in found.values()) for key in ("kills", "runs", "lost")}
    text = f"{total['lost']} of {total['runs']} runs, {total['kills']} kills, {len(found)} methods"
    yield Report(
        [Row("Runs that ended otherwise than undisturbed ones, or damaged", text, "0", not total["lost"])], found
    )


def spec_of(name: str) -> RunSpec:
    """Some tens of steps, each with a checkpoint, and everything recorded."""
    bench = Bench("cpu", True, None, "")
    often = {"checkpoint_seconds": 0.0, "evaluate_every": 5, "probes_every": 5, "probes": 8, "samples": 16, "real": 16}
    return brief_spec(name, bench, **often)


def undisturbed(runs: Path, spec: RunSpec) -> tuple[str, list[Any]]:
    folder = RunFolder.create(runs, spec.model_dump())
    child = os.fork()  # as those that are killed are
    if child == 0:
        attempt(folder)
    os.waitpid(child, 0)
    return outcome(folder)


def disturbed(runs: Path, spec: RunSpec, draw: random.Random) -> tuple[RunFolder, int]:
    """A run that is done in the end, and how often it was killed on its way."""
    folder, killed = RunFolder.create(runs, spec.model_dump()), 0
    while folder.status().state != "done":
        child, until = os.fork(), time.monotonic() + draw.uniform(0.02, LONGEST)
        if child == 0:
            attempt(folder)
        while time.monotonic() < until and not (ended := os.waitpid(child, os.WNOHANG)[0]):
            time.sleep(0.005)
        if not ended:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            killed += 1
    return folder, killed


def attempt(folder: RunFolder) -> None:
    """In a process of its own, which ends with it."""
    try:
        torch.set_num_threads(1)
        run(folder, folder.begin_attempt())
    finally:
        os._exit(0)


def outcome(folder: RunFolder) -> tuple[str, list[Any]]:
    """What has to be the same: the student's bits, and every row that a resumed attempt repeats."""
    rows = [
        {key: value for key, value in row.items() if key not in ("seq", "elapsed")}
        for row in EventReader(folder).read()
        if row["type"] in TYPES
    ]
    student = folder.path / "student.safetensors"
    return hashlib.sha256(student.read_bytes()).hexdigest() if student.is_file() else "none", rows


if __name__ == "__main__":
    command(measure)
