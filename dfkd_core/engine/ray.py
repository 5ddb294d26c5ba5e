"""Runs on a Ray cluster: several GPUs, or several machines that see one folder of runs.

This side only writes into the cluster's queue (``store.queue``), and so does not even load ray: a program that is
connected to a cluster dies with it, and its tasks with the program. Handing out is done by a coordinator within the
cluster (``engine.coordinator``), which a short-lived process finds or starts (``engine.cluster``).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import dfkd_core
from dfkd_core.engine.base import Engine, go_on
from dfkd_core.errors import RequestError, StoreError
from dfkd_core.runs.spec import CLUSTER_DEVICES, RunSpec, read_spec
from dfkd_core.store import Queue, RunFolder, Ticket, find_run

GRACE_SECONDS = 30.0
GPU = "cuda:0"  # what a worker calls the GPU that it was given
REACH_SECONDS = 120.0
INSTALL = "needs the package ray: pip install 'dfkd-lab[ray]'."
FOLDERS = ("DFKD_DATA", "DFKD_TEACHERS", "DFKD_COLLECTED")


def need(spec: RunSpec) -> tuple[float, float]:
    """The CPUs, and the GPUs, that a run asks for."""
    return float(spec.threads), 0.0 if spec.device == "cpu" else spec.gpu_share


class RayEngine(Engine):
    """``address``: HOST:PORT of the cluster; empty: one that runs on this machine, which is started if there is none.

    Raises ``RequestError`` where there is no ray, no cluster at that address, or one that takes orders from anybody.
    """

    def __init__(self, runs: Path, address: str = "", grace: float = GRACE_SECONDS) -> None:
        super().__init__(runs)
        self.address, self.grace = address, grace
        self.queue = Queue(self.runs)
        if find_spec("ray") is None:
            raise RequestError("engine", "ray", INSTALL)
        self.queue.files.path.mkdir(parents=True, exist_ok=True)
        self._reach()

    @property
    def slots(self) -> int:  # type: ignore[override]
        """One run a CPU: what that of most runs is."""
        state = self.queue.state()
        return max(1, int(state.cpus)) if state is not None else 1

    def room(self, specs: Sequence[RunSpec]) -> int:
        """As many as the largest of them has room for, machine by machine."""
        state = self.queue.state()
        cpus, gpus = (max(amounts) for amounts in zip(*map(need, specs), strict=True)) if specs else (1.0, 0.0)
        return max(1, state.room(cpus, gpus)) if state is not None else 1

    @property
    def title(self) -> str:
        state = self.queue.state() if self.queue.coordinator() is not None else None
        return f"a Ray cluster: {state}" if state is not None else "a Ray cluster, which does not answer"

    def submit(self, spec: RunSpec) -> str:
        """Queue a run; it starts as soon as a machine of the cluster has room for it."""
        self._reach_again()
        if spec.device != "cpu":
            spec = spec.model_copy(update={"device": GPU})
        folder = RunFolder.create(self.runs, spec.model_dump())
        try:
            self._entrust(folder, spec, folder.queue_attempt())
        except (OSError, StoreError):
            folder.discard()
            raise
        return folder.id

    def resume(self, run_id: str, insist: bool = False) -> None:
        """A paused run goes on; one that has ended, but is not done, goes on from its newest checkpoint."""
        self._reach_again()
        folder = find_run(self.runs, run_id)
        if go_on(folder):
            return
        spec = read_spec(folder)
        if spec.device not in ("cpu", GPU):
            said = f"it trains on {spec.device}; on a cluster each run sees one GPU, {GPU}. Resume it by another engine"
            raise StoreError(f"run {folder.id}: {said}")
        self.queue.forget_stop(folder.id)  # which was meant for the attempt before, and may not have been read yet
        self._entrust(folder, spec, folder.queue_attempt(), insist)

    def stop(self, run_id: str) -> None:
        """Ask the run to stop at the end of its step, or at once while it waits; after ``grace`` seconds its process
        is killed."""
        folder = find_run(self.runs, run_id)
        folder.command("stop")
        if self.queue.ticket(folder.id) is not None:
            self.queue.ask_to_stop(folder.id, self.grace)

    def close(self) -> None:
        """Nothing to let go of: what was entrusted to the cluster goes on there."""

    def _entrust(self, folder: RunFolder, spec: RunSpec, attempt: int, insist: bool = False) -> None:
        folders = {name: str(Path(os.environ[name]).expanduser().absolute()) for name in FOLDERS if name in os.environ}
        self.queue.keep(Ticket(folder.id, attempt, insist, *need(spec), folders))

    def _reach_again(self) -> None:
        """The cluster may have gone since."""
        if self.queue.coordinator() is None:
            self._reach()

    def _reach(self) -> None:
        """Find, or start, the cluster and its coordinator."""
        root = str(Path(dfkd_core.__file__).parent.parent)
        path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
        command = [sys.executable, "-m", "dfkd_core.engine.cluster", str(self.runs.resolve()), self.address]
        environment = {**os.environ, "PYTHONPATH": path}
        try:
            said = subprocess.run(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=REACH_SECONDS,
                check=False,
            )
            problem = json.loads(said.stdout.splitlines()[-1])["problem"]
        except subprocess.TimeoutExpired:
            problem = f"the cluster did not answer within {REACH_SECONDS:g} seconds."
        except (IndexError, ValueError):
            problem = f"could not be reached ({' '.join(said.stderr.split())[-300:]})."
        if problem:
            raise RequestError("engine", f"ray:{self.address}".rstrip(":"), problem)
        state = self.queue.state()
        if state is not None and state.gpus:
            CLUSTER_DEVICES.add(GPU)
