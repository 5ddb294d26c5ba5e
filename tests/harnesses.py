"""The engines, each in a harness that says how it is started, and how its workers are reached, for the contract."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
import pytest
from conftest import eventually, execute, new_run, rows, tiny_spec

from benchmarks.clusters import AUTHORISED, begin_cluster, end_cluster
from dfkd_core import engine as engines
from dfkd_core.engine import Engine, InlineEngine, LocalEngine
from dfkd_core.errors import StoreError
from dfkd_core.runs.spec import RunSpec
from dfkd_core.store import ACTIVE, RunFolder, runs_in

KINDS = ("inline", "local", pytest.param("ray", marks=pytest.mark.slow))
LONG = {"iterations": 100_000}
SOME = {"iterations": 30}
OFTEN = {"checkpoint_seconds": 0.2, "probes_every": 0, "phases_every": 0, "samples_every": 10, "evaluate_every": 10}
OFTEN |= {"teacher": "digits-lenet5-bn-mixup"}  # which answers fast
"""A run of a second or two, with a checkpoint every few steps."""


class Harness:
    """An engine of one kind over ``runs``. ``goes_on``: whether what it runs outlives the program that asked for it;
    ``again``: whether a run whose worker died goes on by itself."""

    goes_on = again = False
    title = "inline"

    def __init__(self, runs: Path) -> None:
        self.runs = runs
        self.engine = self.make()

    def make(self) -> Engine:
        return InlineEngine(self.runs)

    def begin(self, spec: RunSpec) -> RunFolder:
        """Submit it, without waiting for its end."""
        return RunFolder(self.runs / self.engine.submit(spec))

    def go_on(self, folder: RunFolder) -> None:
        self.engine.resume(folder.id)

    def end(self) -> None:
        """Nothing that it started is left."""
        for folder in runs_in(self.runs):
            if folder.status().state in ACTIVE:
                with suppress(StoreError):
                    self.engine.stop(folder.id)
        eventually(lambda: not any(folder.status().is_live for folder in runs_in(self.runs)), 120)
        self.engine.close()

    # --- what tests see ---

    def training(self, knobs: dict[str, Any] | None = None, **fields: Any) -> RunFolder:
        """A run that has come to its third step."""
        folder = self.begin(tiny_spec(LONG if knobs is None else knobs, **{**OFTEN, **fields}))
        eventually(lambda: len(rows(folder, "step")) >= 3, 120)
        return folder

    def state(self, folder: RunFolder) -> str:
        return self.engine.poll()[folder.id].state

    def ended(self, folder: RunFolder) -> str:
        """The state that it ends in."""
        return eventually(lambda: (state := self.state(folder)) not in ACTIVE and state, 120)


class Inline(Harness):
    """Its calls return when the run has ended, so they stand in threads."""

    def begin(self, spec: RunSpec) -> RunFolder:
        before = {folder.id for folder in runs_in(self.runs)}
        self._in_thread(lambda: self.engine.submit(spec))

        def begun() -> RunFolder | None:  # before it has a status, a run counts as interrupted
            new = (one for one in runs_in(self.runs) if one.id not in before and one.status().state != "interrupted")
            return next(new, None)

        return eventually(begun)

    def go_on(self, folder: RunFolder) -> None:
        if folder.status().is_live:
            return self.engine.resume(folder.id)
        attempt = folder.status().attempt
        self._in_thread(lambda: self.engine.resume(folder.id))
        eventually(lambda: folder.status().attempt > attempt)  # until then it is what it was

    def _in_thread(self, action: Callable[[], Any]) -> None:
        threading.Thread(target=action, daemon=True).start()


class Local(Harness):
    title, goes_on = "local", True

    def make(self) -> Engine:
        return LocalEngine(self.runs, keep_warm=False)


class OnRay(Harness):
    title, goes_on, again = "ray", True, True

    def make(self) -> Engine:
        return engines.find(name_of("ray"), self.runs)

    def end(self) -> None:
        super().end()
        shutil.rmtree(self.runs / "cluster")  # without which its coordinator goes, too


HARNESSES = {"inline": Inline, "local": Local, "ray": OnRay}
DRIVER = """
import sys, time
from pathlib import Path
from dfkd_core import engine as engines
from dfkd_core.runs.spec import read_spec
from dfkd_core.store import RunFolder
if __name__ == "__main__":
    engine = engines.find(sys.argv[1], Path(sys.argv[2]))
    print("ready", flush=True)
    engine.submit(read_spec(RunFolder(Path(sys.argv[3]))))
    time.sleep(600)
"""


def made(kind: str, runs: Path) -> Harness:
    """Skips the test where it cannot be had."""
    if kind == "ray" and find_spec("ray") is None:
        pytest.skip("ray is not installed (pip install 'dfkd-lab[ray]')")
    return HARNESSES[kind](runs)


def name_of(kind: str) -> str:
    """What ``engines.find`` calls it."""
    return f"ray:{cluster()}" if kind == "ray" else kind


def kill_worker(folder: RunFolder) -> None:
    """The process that trains it."""
    owner = folder.leases.process(folder.leases.newest())
    assert owner is not None and owner.pid != os.getpid()
    os.kill(owner.pid, signal.SIGKILL)
    eventually(lambda: not psutil.pid_exists(owner.pid) or psutil.Process(owner.pid).status() == psutil.STATUS_ZOMBIE)


# --- fixtures: a module that imports them says of which ``kind`` ---


@pytest.fixture
def harness(kind: str, runs: Path) -> Iterator[Harness]:
    """An engine, of which nothing is left at the end."""
    harness = made(kind, runs)
    yield harness
    harness.end()


@pytest.fixture(scope="module", autouse=True)
def ends_clusters() -> Iterator[None]:
    yield
    while _CLUSTERS:
        end_cluster(_CLUSTERS.pop()[1])


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """The run of ``SOME``, made here in one go: the oracle."""
    folder = new_run(tmp_path_factory.mktemp("undisturbed"), SOME, **OFTEN)
    assert execute(folder).state == "done"
    return folder


# --- clusters ---

_CLUSTERS: list[tuple[str, Path]] = []


def cluster() -> str:
    """The address of a cluster with two CPUs, which is started once and ends with the tests."""
    if not _CLUSTERS:
        os.environ |= AUTHORISED
        folder = Path(tempfile.mkdtemp(prefix="dfkd-ray-"))
        _CLUSTERS.append((begin_cluster(folder), folder))
    return _CLUSTERS[0][0]
