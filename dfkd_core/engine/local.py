"""The default engine: a background thread that queues runs per device and drives one worker process for each.

A thread of the server that trains makes every page slow (the interpreter's lock), and a crash in native code takes
the page down with it; a process does neither. One idle worker is kept warm, since importing torch takes seconds.
Workers live in sessions of their own: they outlive the server, and the next one adopts them.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import dfkd_core
from dfkd_core.engine.base import begin_again
from dfkd_core.errors import StoreError
from dfkd_core.store import ACTIVE, Owner, RunFolder, RunStatus, find_run, runs_in

logger = logging.getLogger(__name__)

TICK_SECONDS = 0.1
GRACE_SECONDS = 30.0
LEFT_WAITING = "It was still waiting when the lab was closed. Resume starts it."


class LocalEngine:
    """``slots`` runs train at once on each device; more wait their turn and say so."""

    def __init__(self, runs: Path, slots: int = 1, keep_warm: bool = True, grace: float = GRACE_SECONDS) -> None:
        self.runs, self.slots, self.keep_warm, self.grace = Path(runs), slots, keep_warm, grace
        self.runs.mkdir(parents=True, exist_ok=True)
        self._lock = threading.RLock()
        self._queue: deque[tuple[str, int]] = deque()
        self._live: dict[str, subprocess.Popen[bytes] | None] = {}  # None: adopted, not a child of ours
        self._deadlines: dict[str, float] = {}
        self._warm: subprocess.Popen[bytes] | None = None
        self._complaint = ""
        self._closing = threading.Event()
        self._adopt()
        self._thread = threading.Thread(target=self._loop, name="dfkd-engine", daemon=True)
        self._thread.start()

    # --- what callers ask for ---

    def submit(self, spec: dict[str, Any]) -> str:
        """Queue a run; it starts as soon as its device has a free slot."""
        folder = RunFolder.create(self.runs, spec)
        self._enqueue(folder, folder.begin_attempt())
        return folder.id

    def resume(self, run_id: str) -> None:
        """A paused run goes on; one that has ended, but is not done, goes on from its newest checkpoint."""
        folder = find_run(self.runs, run_id)
        with self._lock:
            self._reap()  # it may have ended since the last tick
            if folder.status().is_live:
                folder.command("resume")
            else:
                self._enqueue(folder, begin_again(folder))

    def pause(self, run_id: str) -> None:
        find_run(self.runs, run_id).command("pause")

    def one_step(self, run_id: str) -> None:
        find_run(self.runs, run_id).command("step")

    def change(self, run_id: str, knobs: dict[str, Any]) -> None:
        find_run(self.runs, run_id).command("set", **knobs)

    def stop(self, run_id: str) -> None:
        """Ask the run to stop at the end of its step; after ``grace`` seconds its processes are killed."""
        folder = find_run(self.runs, run_id)
        with self._lock:
            waiting = [entry for entry in self._queue if entry[0] == folder.id]
            if waiting:
                self._queue.remove(waiting[0])
                folder.set_status(replace(folder.status(), state="stopped", message="", owner=None))
                return
            folder.command("stop")
            self._deadlines.setdefault(folder.id, time.monotonic() + self.grace)

    def poll(self) -> dict[str, RunStatus]:
        """The status of every run in the folder."""
        return {folder.id: folder.status_seen() for folder in runs_in(self.runs)}

    def close(self) -> None:
        """End the thread and the idle worker. Runs that train go on, and the next engine adopts them."""
        self._closing.set()
        self._thread.join(timeout=10)
        with self._lock:
            while self._queue:
                folder = RunFolder(self.runs / self._queue.popleft()[0])
                with suppress(OSError):
                    folder.set_status(replace(folder.status(), state="interrupted", message=LEFT_WAITING, owner=None))
            if self._warm is not None:
                assert self._warm.stdin is not None
                with suppress(OSError):
                    self._warm.stdin.close()
                self._warm.kill()
                self._warm.wait()
                self._warm = None

    # --- the thread ---

    def _loop(self) -> None:
        while not self._closing.wait(TICK_SECONDS):
            for action in (self._reap, self._kill_overdue, self._start_next, self._keep_warm):
                try:
                    with self._lock:
                        action()
                except Exception as error:  # a full disk, a folder that was deleted: the next tick tries again
                    self._complain(error)

    def _complain(self, error: Exception) -> None:
        if repr(error) != self._complaint:
            logger.error("the engine could not go on: %r", error, exc_info=error)
        self._complaint = repr(error)

    def _keep_warm(self) -> None:
        if self.keep_warm and (self._warm is None or self._warm.poll() is not None):
            self._warm = _spawn()

    def _adopt(self) -> None:
        for folder in runs_in(self.runs):
            status = folder.status()
            if status.is_live and status.state != "queued":
                self._live[folder.id] = None
                continue
            with suppress(OSError):  # on a full disk: watchers see that its owner is dead
                folder.mark_interrupted(*[LEFT_WAITING] * (status.state == "queued"))

    def _enqueue(self, folder: RunFolder, attempt: int) -> None:
        status = folder.status()
        queued = RunStatus(
            "queued", "Starting", status.step, status.total_steps, attempt, Owner.current(), status.result
        )
        folder.set_status(queued)
        with self._lock:
            self._queue.append((folder.id, attempt))

    def _start_next(self) -> None:
        busy: dict[str, list[str]] = {}
        for run_id in self._live:
            busy.setdefault(self._device(run_id), []).append(run_id)
        for entry in list(self._queue):
            run_id, attempt = entry
            device = self._device(run_id)
            others = busy.setdefault(device, [])
            folder = RunFolder(self.runs / run_id)
            if not folder.path.is_dir():  # deleted while it waited
                self._queue.remove(entry)
            elif len(others) >= self.slots:
                self._say_waiting(folder, f"Waiting for {others[0]} to end on {device}")
            else:
                self._hand_over(folder, attempt)
                self._queue.remove(entry)
                others.append(run_id)

    def _say_waiting(self, folder: RunFolder, message: str) -> None:
        status = folder.status()
        if status.message != message:
            folder.set_status(replace(status, message=message))

    def _hand_over(self, folder: RunFolder, attempt: int) -> None:
        if self._warm is None or self._warm.poll() is not None:
            self._warm = _spawn()
        worker, status = self._warm, folder.status()
        folder.set_status(replace(status, state="running", message="Starting", owner=Owner.of(worker.pid)))
        self._warm, self._live[folder.id] = None, worker
        assert worker.stdin is not None
        job = {"folder": str(folder.path.resolve()), "attempt": attempt, "data": os.environ.get("DFKD_DATA", "")}
        with suppress(BrokenPipeError):  # it died just now; the next tick says so
            worker.stdin.write(json.dumps(job).encode() + b"\n")
            worker.stdin.close()

    def _reap(self) -> None:
        """Forget runs that have ended; a worker that died is told by process id and start time, not by a clock."""
        for run_id, worker in list(self._live.items()):
            folder = RunFolder(self.runs / run_id)
            if worker is not None and worker.poll() is None:
                continue
            status = folder.status()
            if worker is None and status.is_live:
                continue
            if status.state in ACTIVE:
                with suppress(OSError):  # on a full disk: watchers see that its owner is dead
                    folder.mark_interrupted(_last_words(worker))
            del self._live[run_id]
            self._deadlines.pop(run_id, None)

    def _kill_overdue(self) -> None:
        for run_id, deadline in list(self._deadlines.items()):
            status = RunFolder(self.runs / run_id).status()
            if run_id not in self._live or not status.is_live or status.owner is None:
                self._deadlines.pop(run_id)
            elif time.monotonic() > deadline:
                self._deadlines.pop(run_id)
                _kill(status.owner)

    def _device(self, run_id: str) -> str:
        try:
            return str(RunFolder(self.runs / run_id).spec().get("device", "cpu"))
        except StoreError:
            return "cpu"


def _spawn() -> subprocess.Popen[bytes]:
    """An idle worker, waiting on its standard input. Started as a module: never forked, never importing the app."""
    root = str(Path(dfkd_core.__file__).parent.parent)
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    with tempfile.TemporaryFile() as errors:
        return subprocess.Popen(
            [sys.executable, "-m", "dfkd_core.runs.worker"],
            stdin=subprocess.PIPE,
            stdout=errors,
            stderr=errors,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": path},
        )


def _kill(owner: Owner) -> None:
    """With its whole group where it leads one, as our workers do; a run of the command line may share the shell's."""
    if owner == Owner.current():
        return  # an inline run of this very process
    with suppress(ProcessLookupError):
        if os.getpgid(owner.pid) == owner.pid:
            os.killpg(owner.pid, signal.SIGKILL)
        else:
            os.kill(owner.pid, signal.SIGKILL)


def _last_words(worker: subprocess.Popen[bytes] | None) -> str:
    code = worker.returncode if worker is not None else None
    cause = f" (killed by signal {-code})" if code is not None and code < 0 else ""
    return f"Its process died{cause}. Resume goes on from the last checkpoint."
