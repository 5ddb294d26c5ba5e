"""Looking that takes longer than a page can wait: one command of the lab in a process of its own.

Each start of the job ``NAME`` is a lease in ``analysis/NAME.job`` of the run's folder, and ``state.json`` beside its
lock says how far it is; any page and any server can read it, and a job outlives both. The process is a plain
``python -m dfkd_core …``, so that everything a page computes can be had on the command line.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter

import dfkd_core
from dfkd_core.errors import DamagedError, HeldError, StoreError
from dfkd_core.store import Leases, Place, RunFolder

ENDED = ("done", "failed", "stopped")
DIED = "Its process ended without a word; start it again."
VARIABLE = "DFKD_JOB"  # in the environment of a job's process: what it was started as
WAY_OUT = "Stop it here first, and start it again."


@dataclass(frozen=True)
class JobState:
    """``state``: ``none``, ``running``, ``done``, ``failed`` or ``stopped``; ``share`` of the work done, 0 to 1;
    ``message`` for people; ``began`` in seconds since 1970."""

    state: Annotated[str, Field(pattern="^(none|running|done|failed|stopped)$")] = "none"
    share: Annotated[float, Field(ge=0, le=1)] = 0.0
    message: str = ""
    began: Annotated[float, Field(allow_inf_nan=False)] = 0.0

    def seconds_left(self) -> float | None:
        """At the pace so far; None before there is one."""
        if self.state != "running" or self.share < 0.02:
            return None
        return (time.time() - self.began) * (1 - self.share) / self.share


_STATE = TypeAdapter(JobState)


class Job:
    """The job ``name`` of a run, or of another folder."""

    def __init__(self, folder: RunFolder | Place, name: str) -> None:
        self.files, self.name = folder.files if isinstance(folder, RunFolder) else folder, name
        self.leases = Leases(self.files, f"analysis/{name}.job", WAY_OUT)

    def state(self) -> JobState:
        """As a watcher should see it: a job whose process died has failed."""
        try:
            number = self.leases.newest()
            state = self._read(number)
            if state.state == "running" and self.leases.holder() is None:
                state = self._read(number)  # its last words may have come in between
                if state.state == "running":
                    return replace(state, state="failed", message=DIED)
        except (OSError, StoreError) as error:
            return JobState("failed", message=str(error))
        return state

    def start(self, arguments: list[str]) -> int | None:
        """Start ``python -m dfkd_core ARGUMENTS``; the number of its lease. None, and nothing is started, while the job
        goes on, whatever its arguments are. Raises ``StoreError`` where the run's folder cannot be written to."""
        try:
            lease = self.leases.take(is_over=lambda number: self._read(number).state in ENDED)
        except HeldError:
            return None
        _children[:] = [child for child in _children if child.poll() is None]
        root = str(Path(dfkd_core.__file__).parent.parent)
        path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
        with lease:
            self._write(lease.number, JobState("running", 0.0, "Starting", time.time()))
            ours = f"{lease.descriptor}:{lease.number}:{self.name}:{self.files.path.resolve()}"
            process = subprocess.Popen(
                ["nice", "-n", "10", sys.executable, "-m", "dfkd_core", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                pass_fds=[lease.descriptor],
                env={**os.environ, "PYTHONPATH": path, VARIABLE: ours},
            )
            _children.append(process)
            lease.give_to(process.pid)
        return lease.number

    def stop(self) -> None:
        """End its process, with all that it started."""
        state = self.state()
        if state.state == "running":
            self.leases.kill_holder()
            self._write(self.leases.newest(), replace(state, state="stopped", message=""))

    def _read(self, number: int) -> JobState:
        if not number:
            return JobState()
        try:
            stored = self.files.read_json(self.leases.file(number, "state.json"), _STATE)
        except DamagedError:
            stored = None
        return stored or JobState("running", message="Starting")  # as long as somebody holds it

    def _write(self, number: int, state: JobState) -> None:
        try:
            self.files.write_json(self.leases.file(number, "state.json"), asdict(state), durable=False)
        except OSError as error:
            reason = f"its folder cannot be written to ({error.strerror})"
            raise StoreError(f"{self.files.title}: {reason}") from None


_children: list[subprocess.Popen[bytes]] = []  # that were not yet seen to have ended


class OwnJob:
    """The job that this process was started as, which holds its lease until it ends."""

    def __init__(self, started_as: str) -> None:
        descriptor, number, name, folder = started_as.split(":", 3)
        self.job, self.number = Job(Place(Path(folder)), name), int(number)
        self.lease = self.job.leases.received(self.number, int(descriptor))

    def say(self, state: str, share: float, message: str) -> None:
        """How far it is."""
        self.job._write(self.number, replace(self.job._read(self.number), state=state, share=share, message=message))

    def end(self, error: str = "") -> None:
        """Say that it is done, or in one sentence why it failed."""
        self.say("failed" if error else "done", 0.0 if error else 1.0, error)


@cache
def own_job() -> OwnJob | None:
    """None on the command line."""
    started_as = os.environ.get(VARIABLE)
    return OwnJob(started_as) if started_as else None


def report(share: float, message: str) -> None:
    """From within a command: say how far it is, to whoever started it as a job."""
    if (job := own_job()) is not None:
        job.say("running", share, message)
