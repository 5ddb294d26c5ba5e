"""Looking that takes longer than a page can wait: one command of the lab in a process of its own.

The job's file, ``NAME.job.json``, says how far it is; any page and any server can read it, and a job outlives both.
The process is a plain ``python -m dfkd_core …``, so that everything a page computes can be had on the command line.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import dfkd_core
from dfkd_core.store import Owner
from dfkd_core.store.atomic import read_json, write_json

ENDED = ("done", "failed", "stopped")
DIED = "Its process ended without a word; start it again."


@dataclass(frozen=True)
class JobState:
    """``state``: ``none``, ``running``, ``done``, ``failed`` or ``stopped``; ``share`` of the work done, 0 to 1;
    ``message`` for people; ``began`` in seconds since 1970."""

    state: str = "none"
    share: float = 0.0
    message: str = ""
    began: float = 0.0
    owner: Owner | None = None

    def seconds_left(self) -> float | None:
        """At the pace so far; None before there is one."""
        if self.state != "running" or self.share < 0.02:
            return None
        return (time.time() - self.began) * (1 - self.share) / self.share


class Job:
    """The job ``name`` that keeps its file in ``folder``."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name, self.path = Path(folder), name, Path(folder) / f"{name}.job.json"

    def state(self) -> JobState:
        """As a watcher should see it: a job whose process died has failed."""
        state = self._read()
        if state.state == "running" and (state.owner is None or not state.owner.is_alive()):
            state = self._read()  # its last words may have come in between
            if state.state == "running" and (state.owner is None or not state.owner.is_alive()):
                return replace(state, state="failed", message=DIED)
        return state

    def start(self, arguments: list[str]) -> None:
        """Start ``python -m dfkd_core ARGUMENTS``, unless it is running."""
        if self.state().state == "running":
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        root = str(Path(dfkd_core.__file__).parent.parent)
        path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
        environment = {**os.environ, "PYTHONPATH": path, "DFKD_JOB": str(self.path)}
        process = subprocess.Popen(
            ["nice", "-n", "10", sys.executable, "-m", "dfkd_core", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env=environment,
        )
        _children.append(process)
        with suppress(OSError):
            self._write(JobState("running", 0.0, "Starting", time.time(), Owner.of(process.pid)))

    def stop(self) -> None:
        """End its process, with all that it started."""
        state = self.state()
        if state.state == "running" and state.owner is not None:
            with suppress(ProcessLookupError):
                os.killpg(state.owner.pid, signal.SIGKILL)
            self._write(replace(state, state="stopped", message="", owner=None))

    # --- the job's own side ---

    @classmethod
    def current(cls) -> Job | None:
        """The job that this process was started as; None on the command line."""
        path = os.environ.get("DFKD_JOB")
        return cls(Path(path).parent, Path(path).name.removesuffix(".job.json")) if path else None

    def report(self, share: float, message: str) -> None:
        """Say how far it is."""
        self._write(replace(self._read(), state="running", share=share, message=message, owner=Owner.current()))

    def end(self, error: str = "") -> None:
        """Say that it is done, or in one sentence why it failed."""
        state = "failed" if error else "done"
        self._write(replace(self._read(), state=state, share=0.0 if error else 1.0, message=error, owner=None))

    def _read(self) -> JobState:
        stored = read_json(self.path)
        try:
            return JobState(**{**stored, "owner": Owner(**stored["owner"]) if stored["owner"] else None})
        except (TypeError, KeyError):
            return JobState()

    def _write(self, state: JobState) -> None:
        write_json(self.path, asdict(state), durable=False)


_children: list[subprocess.Popen[bytes]] = []  # kept so that they are reaped


def report(share: float, message: str) -> None:
    """From within a command: say how far it is, to whoever started it as a job."""
    job = Job.current()
    if job is not None:
        job.report(share, message)
