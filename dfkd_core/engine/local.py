"""The default engine: a background thread that queues runs per device and drives one worker process for each.

A thread of the server that trains makes every page slow (the interpreter's lock), and a crash in native code takes
the page down with it; a process does neither. One idle worker is kept warm, since importing torch takes seconds; one
whose run on a CPU is done or was stopped takes the next that waits. Workers live in sessions of their own: they outlive
the server, and the next one adopts them.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import dfkd_core
from dfkd_core.engine.base import Engine, take_up
from dfkd_core.errors import StoreError
from dfkd_core.runs.spec import RunSpec, read_spec
from dfkd_core.store import (
    ACTIVE,
    LEFT_WAITING,
    OUT_OF_MEMORY,
    Commands,
    Lease,
    RunFolder,
    RunStatus,
    find_run,
    runs_in,
)

logger = logging.getLogger(__name__)

TICK_SECONDS = 0.1
GRACE_SECONDS = 30.0
MOST_SLOTS = 16
USED_SECONDS = 10.0  # that a worker waits for another run; what it keeps in memory nobody knows


def usual_slots(specs: Sequence[RunSpec]) -> int:
    """How many of these runs train at once on a device: one on a GPU, on a CPU as many as its cores have room for."""
    if any(spec.device != "cpu" for spec in specs):
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(MOST_SLOTS, cores // max([spec.threads for spec in specs], default=1)))


@dataclass
class _Worker:
    """A process, idle until it is told over ``channel`` what to do; ``used``: when it had done a run, if ever."""

    process: subprocess.Popen[bytes]
    channel: socket.socket
    used: float | None = None

    def is_alive(self) -> bool:
        return self.process.poll() is None

    def has_done(self) -> bool:
        """Whether it says that its run has ended, and could do another."""
        try:
            return self.channel.recv(1, socket.MSG_DONTWAIT) != b""
        except OSError:
            return False

    def end(self) -> None:
        self.channel.close()
        self.process.kill()
        self.process.wait()


@dataclass
class _Waiting:
    """A run in the queue, held by this process."""

    folder: RunFolder
    lease: Lease
    commands: Commands
    insist: bool = False


@dataclass
class _Going:
    """An attempt that trains; ``worker`` is None of an adopted one, which is no child of ours."""

    attempt: int
    worker: _Worker | None

    def is_alive(self, folder: RunFolder) -> bool:
        if self.worker is not None:
            return self.worker.is_alive()
        status = folder.status()
        return _trains(status) and status.attempt == self.attempt


class LocalEngine(Engine):
    """``slots`` runs train at once on each device; more wait their turn and say so."""

    def __init__(self, runs: Path, slots: int = 1, keep_warm: bool = True, grace: float = GRACE_SECONDS) -> None:
        super().__init__(runs)
        self.slots, self.keep_warm, self.grace = slots, keep_warm, grace
        self.runs.mkdir(parents=True, exist_ok=True)
        self._lock = threading.RLock()
        self._queue: list[_Waiting] = []
        self._live: dict[str, _Going] = {}
        self._deadlines: dict[str, float] = {}
        self._idle: list[_Worker] = []
        self._complaints = set[str]()
        self._closing = threading.Event()
        self._adopt()
        self._thread = threading.Thread(target=self._loop, name="dfkd-engine", daemon=True)
        self._thread.start()

    # --- what callers ask for ---

    def room(self, specs: Sequence[RunSpec]) -> int:
        return max(self.slots, usual_slots(specs))

    def make_room(self, slots: int) -> None:
        self.slots = max(self.slots, slots)

    @property
    def title(self) -> str:
        runs = "one run" if self.slots == 1 else f"{self.slots} runs"
        return f"this machine, {runs} at a time on each device"

    def submit(self, spec: RunSpec) -> str:
        """Queue a run; it starts as soon as its device has a free slot."""
        folder, lease = RunFolder.begin(self.runs, spec.model_dump())
        try:
            self._enqueue(folder, lease)
        except OSError:
            folder.discard()
            raise
        return folder.id

    def resume(self, run_id: str, insist: bool = False) -> None:
        """A paused run goes on; one that has ended, but is not done, goes on from its newest checkpoint. ``insist``:
        even where what it depends on has changed."""
        folder = find_run(self.runs, run_id)
        with self._lock:
            self._reap()  # it may have ended since the last tick
            if (lease := take_up(folder)) is not None:
                self._enqueue(folder, lease, insist)

    def stop(self, run_id: str) -> None:
        """Ask the run to stop at the end of its step; after ``grace`` seconds its processes are killed."""
        folder = find_run(self.runs, run_id)
        with self._lock:
            waiting = next((entry for entry in self._queue if entry.folder.id == folder.id), None)
            if waiting is not None:
                self._give_up(waiting, "stopped")
                return
            folder.command("stop")
            if _trains(folder.status()):  # maybe for another lab, or a command line
                self._live.setdefault(folder.id, _Going(folder.leases.newest(), None))
            self._deadlines.setdefault(folder.id, time.monotonic() + self.grace)

    def close(self) -> None:
        """End the thread and the idle worker. Runs that train go on, and the next engine adopts them."""
        self._closing.set()
        self._thread.join(timeout=10)
        with self._lock:
            for waiting in list(self._queue):
                with suppress(OSError):
                    self._give_up(waiting, "interrupted", LEFT_WAITING)
            while self._idle:
                self._idle.pop().end()
            for going in self._live.values():
                if going.worker is not None:
                    going.worker.channel.close()  # so that it ends with its run

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
        if repr(error) not in self._complaints:
            logger.error("the engine could not go on: %r", error, exc_info=error)
        self._complaints.add(repr(error))

    def _keep_warm(self) -> None:
        now = time.monotonic()
        for worker in list(self._idle):
            if not worker.is_alive() or (worker.used is not None and now - worker.used > USED_SECONDS):
                self._idle.remove(worker)
                worker.end()
        if self.keep_warm and not self._idle:
            self._idle.append(_spawn())

    def _ready_worker(self) -> _Worker:
        """An idle one, those first that have done a run already."""
        for worker in sorted(self._idle, key=lambda worker: worker.used is None):
            self._idle.remove(worker)
            if worker.is_alive():
                return worker
            worker.end()
        return _spawn()

    def _adopt(self) -> None:
        """Runs of this machine that go on count as busy; nothing is written of what is not ours."""
        for folder in runs_in(self.runs):
            if _trains(folder.status()):
                self._live[folder.id] = _Going(folder.leases.newest(), None)

    def _enqueue(self, folder: RunFolder, lease: Lease, insist: bool = False) -> None:
        before = folder.status()
        queued = replace(before, state="queued", message="Starting", attempt=lease.number)
        try:
            folder.set_status(queued)
        except OSError:
            lease.close()
            raise
        with self._lock:
            self._queue.append(_Waiting(folder, lease, folder.commands(lease.number), insist))

    def _give_up(self, waiting: _Waiting, state: str, message: str = "") -> None:
        """What waits is not going to be started."""
        self._queue.remove(waiting)
        with waiting.lease:
            waiting.folder.set_status(replace(waiting.folder.status(), state=state, message=message))

    def _start_next(self) -> None:
        busy: dict[str, list[str]] = {}
        for run_id in self._live:
            busy.setdefault(_device(RunFolder(self.runs / run_id)), []).append(run_id)
        for waiting in list(self._queue):
            try:
                device = _device(waiting.folder)
                self._start(waiting, device, busy.setdefault(device, []))
            except (OSError, StoreError) as error:  # what is wrong with one run holds no other up
                self._complain(error)

    def _start(self, waiting: _Waiting, device: str, others: list[str]) -> None:
        """Unless ``others`` take up its device, or it is not wanted any more."""
        folder = waiting.folder
        if not folder.path.is_dir():  # deleted while it waited
            self._queue.remove(waiting)
            waiting.lease.close()
        elif any(command.name == "stop" for command in next(waiting.commands)):  # by another lab, or a command line
            self._give_up(waiting, "stopped")
        elif len(others) >= self.slots:
            _say_waiting(folder, self._why_waiting(device, others))
        else:
            self._hand_over(waiting)
            others.append(folder.id)

    def _why_waiting(self, device: str, others: list[str]) -> str:
        if self.slots == 1:
            return f"Waiting: one run at a time trains on {device}, now {others[0]}"
        return f"Waiting: {self.slots} runs at a time train on {device}"

    def _hand_over(self, waiting: _Waiting) -> None:
        folder, lease, worker = waiting.folder, waiting.lease, self._ready_worker()
        try:
            folder.set_status(replace(folder.status(), state="running", message="Starting"))
        except OSError:  # on a full disk; the next tick tries again, with the same worker
            self._idle.append(worker)
            raise
        job = {"folder": str(folder.path.resolve()), "attempt": lease.number, "insist": waiting.insist}
        self._queue.remove(waiting)
        self._live[folder.id] = _Going(lease.number, worker)
        self._deadlines.pop(folder.id, None)  # of the attempt before, whose worker may not have gone yet
        with suppress(OSError):  # it died just now; the next tick says so
            socket.send_fds(worker.channel, [json.dumps(job).encode() + b"\n"], [lease.descriptor])
        lease.give_to(worker.process.pid)

    def _reap(self) -> None:
        """Forget runs that have ended, and write down of a worker of ours that died how it did."""
        for run_id, going in list(self._live.items()):
            folder, worker = RunFolder(self.runs / run_id), going.worker
            done = worker is not None and worker.has_done()
            if not done and going.is_alive(folder):
                continue
            del self._live[run_id]
            self._deadlines.pop(run_id, None)
            if worker is not None and done:
                worker.used = time.monotonic()
                self._idle.append(worker)
            elif worker is not None:
                worker.channel.close()
                with suppress(OSError, StoreError):  # on a full disk: watchers see that its lock is free
                    self._write_down(folder, going.attempt, worker.process.returncode)

    def _write_down(self, folder: RunFolder, attempt: int, code: int) -> None:
        status = folder.status()
        if status.state in ACTIVE and status.attempt == attempt == folder.leases.newest():
            memory = code == -signal.SIGKILL and folder.leases.died_of_memory()
            words = OUT_OF_MEMORY if memory else _last_words(code)
            folder.set_status(replace(status, state="interrupted", message=words))

    def _kill_overdue(self) -> None:
        for run_id, deadline in list(self._deadlines.items()):
            folder, going = RunFolder(self.runs / run_id), self._live.get(run_id)
            if going is None or not folder.status().is_live:
                self._deadlines.pop(run_id)
            elif time.monotonic() > deadline:
                self._deadlines.pop(run_id)
                if going.worker is not None:
                    _kill(going.worker.process)
                elif going.is_alive(folder):
                    folder.leases.kill_holder()


def _trains(status: RunStatus) -> bool:
    """In a process of this machine, and not only waiting in another lab."""
    return status.is_live and status.state != "queued" and status.owner is not None and status.owner.is_here


def _device(folder: RunFolder) -> str:
    try:
        return read_spec(folder).device
    except StoreError:
        return "cpu"


def _say_waiting(folder: RunFolder, message: str) -> None:
    status = folder.status()
    if status.message != message:
        folder.set_status(replace(status, message=message))


def _spawn() -> _Worker:
    """An idle worker, waiting on its standard input. Started as a module: never forked, never importing the app."""
    root = str(Path(dfkd_core.__file__).parent.parent)
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    channel, its_end = socket.socketpair()
    with its_end, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "dfkd_core.runs.worker"],
            stdin=its_end.fileno(),
            stdout=errors,
            stderr=errors,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": path},
        )
    return _Worker(process, channel)


def _kill(child: subprocess.Popen[bytes]) -> None:
    """A worker of ours that has not been waited for, with its whole group, which it leads."""
    if child.poll() is None:
        os.killpg(child.pid, signal.SIGKILL)


def _last_words(code: int) -> str:
    cause = f" (killed by signal {-code})" if code < 0 else ""
    return f"Its process died{cause}. Resume goes on from the last checkpoint."
