"""What goes on within a Ray cluster: a coordinator hands runs out as tasks, each with the CPUs and GPUs it asks for.

All that the coordinator knows is in the cluster's queue, on disk: where it dies, Ray starts it again, and it goes on.
A run whose worker died is handed out again, as the next attempt, from its last checkpoint; whatever wakes up late finds
a later attempt, and writes nothing (``store.lease``).
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayTaskError, TaskCancelledError

from dfkd_core.errors import StoreError
from dfkd_core.store import ACTIVE, ClusterState, Node, Queue, RunFolder, Ticket

logger = logging.getLogger(__name__)

TICK_SECONDS = 0.1
LOOK_SECONDS = 2.0  # between two looks at what changes slowly
LEFT = "the cluster's coordinator died"
MOST_DEATHS = 4  # of a run's workers in a row, without a checkpoint in between
NICENESS = 10


def carry_out(path: str, attempt: int, insist: bool, folders: dict[str, str]) -> None:
    """One attempt, in a worker of the cluster. Does nothing where another worker has begun it, or a later one."""
    os.environ.update(folders)
    if os.nice(0) < NICENESS:
        os.nice(NICENESS)
    folder = RunFolder(Path(path))
    try:
        lease = folder.leases.enter(attempt)
    except StoreError as error:
        logger.warning("%s", error)
        return
    from dfkd_core.runs.loop import WORKER_LOG, run  # imports torch

    with folder.files.append(folder.attempt_file(attempt, WORKER_LOG)) as log, _printing_into(log.fileno()):
        run(folder, lease, insist=insist)


@contextmanager
def _printing_into(log: int) -> Iterator[None]:
    """What this process prints; it carries out other runs afterwards."""
    before = {number: os.dup(number) for number in (1, 2)}
    try:
        for number in before:
            os.dup2(log, number)
        yield
    finally:
        for number, copy in before.items():
            (sys.stdout if number == 1 else sys.stderr).flush()
            os.dup2(copy, number)
            os.close(copy)


_ON_CPU = ray.remote(max_retries=0)(carry_out)
_ON_GPU = ray.remote(num_gpus=1, max_calls=1, max_retries=0)(carry_out)  # a process gives its GPU back when it ends


@dataclass
class _Handed:
    """A run in Ray's hands; ``task`` is None of one that an earlier coordinator handed out, and which goes on."""

    ticket: Ticket
    task: Any
    begun: bool = False
    deadline: float | None = None  # to be killed then


class Coordinator:
    """The one of the folder ``runs``, in the cluster at ``address``."""

    def __init__(self, runs: str, address: str) -> None:
        self.runs, self.address = Path(runs), address
        self.queue = Queue(self.runs)
        self.lease = self.queue.leases.take(beats=True)
        self.handed: dict[str, _Handed] = {}
        self.looked = 0.0
        self.state: ClusterState | None = None
        self._complaints = set[str]()
        self._look()
        threading.Thread(target=self._loop, name="dfkd-coordinator", daemon=True).start()

    def is_at_work(self) -> bool:
        self._check()
        return True

    def _check(self) -> None:
        """End where another one is at work, or the queue was deleted: Ray starts a new one."""
        if self.queue.leases.newest() != self.lease.number:
            logger.warning("%s is no longer this coordinator's", self.queue.files.title)
            os._exit(1)

    # --- the thread ---

    def _loop(self) -> None:
        while True:
            time.sleep(TICK_SECONDS)
            self._tick()

    def _tick(self) -> None:
        self._for_each((self._hear, self._obey, self._take_in, self._look), lambda action: action())

    def _complain(self, error: Exception) -> None:
        if repr(error) not in self._complaints:
            logger.error("the coordinator could not go on: %r", error, exc_info=error)
        self._complaints.add(repr(error))

    def _for_each(self, things: Iterable[Any], action: Callable[[Any], None]) -> None:
        """What is wrong with one run, or task, holds no other up."""
        for thing in things:
            try:
                action(thing)
            except Exception as error:  # a full disk, a damaged ticket: the next tick tries again
                self._complain(error)

    def _take_in(self) -> None:
        """Hand out what is new in the queue."""
        self._for_each([run for run in self.queue.runs_waiting() if run not in self.handed], self._take)

    def _take(self, run: str) -> None:
        ticket, leases = self.queue.ticket(run), self._folder(run).leases
        if ticket is None:
            return
        if not leases.files.path.is_dir():  # deleted while it waited
            self.queue.drop(run, ticket.attempt)
            return
        if leases.newest() == ticket.attempt - 1:  # an earlier coordinator died before it had made it
            leases.queue(is_over=lambda number: True)
        if leases.process(ticket.attempt) is not None:
            self.handed[run] = _Handed(ticket, None, begun=True)
        elif leases.owner(ticket.attempt).evidence == "queue" and leases.newest() == ticket.attempt:
            self._hand_out(ticket)
        else:
            self._settle(ticket, LEFT)

    def _hand_out(self, ticket: Ticket) -> None:
        if ticket.gpus:
            task = _ON_GPU.options(num_cpus=ticket.cpus, num_gpus=ticket.gpus)
        else:
            task = _ON_CPU.options(num_cpus=ticket.cpus)
        path = str(self._folder(ticket.run).path.resolve())
        reference = task.remote(path, ticket.attempt, ticket.insist, ticket.folders)
        self.handed[ticket.run] = _Handed(ticket, reference)

    # --- what has ended ---

    def _hear(self) -> None:
        tasks = {entry.task: entry for entry in self.handed.values() if entry.task is not None}
        ended = ray.wait(list(tasks), num_returns=len(tasks), timeout=0)[0] if tasks else []
        self._for_each(ended, lambda task: self._has_ended(tasks[task]))

    def _has_ended(self, entry: _Handed) -> None:
        self._settle(entry.ticket, _problem(entry.task), killed=entry.deadline is not None)

    def _settle(self, ticket: Ticket, problem: str, killed: bool = False) -> None:
        """Its task is over: the run has ended, or goes on in another worker."""
        folder = self._folder(ticket.run)
        with suppress(StoreError, OSError):
            if self._is_unfinished(folder, ticket):
                if folder.leases.process(ticket.attempt) is not None:  # a lock may outlive its task by a moment
                    self.handed[ticket.run] = _Handed(ticket, None, begun=True)
                    return
                if not killed and self._again(folder, ticket, problem):
                    return
                words = f"Its worker was ended: {problem or 'it was told to stop'}. Resume goes on from there."
                folder.set_status(replace(folder.status(), state="interrupted", message=words, owner=None))
        self.handed.pop(ticket.run, None)
        self.queue.drop(ticket.run, ticket.attempt)  # and no later one: it may be resumed at this moment

    def _is_unfinished(self, folder: RunFolder, ticket: Ticket) -> bool:
        """And nobody else has taken it over."""
        here = folder.path.is_dir() and folder.leases.newest() == ticket.attempt
        return here and folder.status().state in ACTIVE

    def _again(self, folder: RunFolder, ticket: Ticket, problem: str) -> bool:
        """Hand out its next attempt; False if too many have died. The ticket comes first: somebody answers for the run
        all the time."""
        step = folder.status().step
        deaths = 1 if step > ticket.step else ticket.deaths + 1
        if deaths > MOST_DEATHS:
            return False
        after = replace(ticket, attempt=ticket.attempt + 1, deaths=deaths, step=max(step, ticket.step))
        self.queue.keep(after)
        folder.leases.queue(is_over=lambda number: True)
        words = f"Waiting: its worker was ended ({problem or 'no reason was given'}); it goes on from step {step}"
        folder.set_status(replace(folder.status(), state="queued", message=words, attempt=after.attempt, owner=None))
        self._hand_out(after)
        return True

    # --- stopping ---

    def _obey(self) -> None:
        self._for_each(self.queue.stops(), self._ask)
        for entry in list(self.handed.values()):
            if entry.deadline is not None and time.monotonic() > entry.deadline and entry.task is not None:
                ray.cancel(entry.task, force=True)
                entry.deadline = time.monotonic() + LOOK_SECONDS

    def _ask(self, run: str) -> None:
        if run in self.handed:
            grace = self.queue.grace(run)
            self.queue.forget_stop(run)
            self._stop(self.handed[run], grace or 0.0)
        elif self.queue.ticket(run) is None:
            self.queue.forget_stop(run)

    def _stop(self, entry: _Handed, grace: float) -> None:
        folder = self._folder(entry.ticket.run)
        if entry.deadline is None:
            entry.deadline = time.monotonic() + grace
        if entry.task is None or folder.leases.owner(entry.ticket.attempt).evidence != "queue":
            if not _told_to_stop(folder, entry.ticket.attempt):  # but the attempt before, which has died since
                folder.command("stop")
            return
        with suppress(StoreError):
            lease = folder.leases.enter(entry.ticket.attempt)  # so that no worker does
            with lease:
                folder.set_status(replace(folder.status(), state="stopped", message="", owner=None))
            ray.cancel(entry.task)

    # --- looking, and saying ---

    def _look(self) -> None:
        if time.monotonic() - self.looked < LOOK_SECONDS:
            return
        self.looked = time.monotonic()
        self._check()
        found = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        state = ClusterState(self.address, tuple(Node(one.get("CPU", 0.0), one.get("GPU", 0.0)) for one in found))
        if state != self.state:
            self.queue.tell(state)
            self.state = state
        self._for_each(list(self.handed), self._look_after)

    def _look_after(self, run: str) -> None:
        entry = self.handed[run]
        ticket, leases = entry.ticket, self._folder(run).leases
        if entry.task is None and leases.process(ticket.attempt) is None:
            self._settle(ticket, LEFT, killed=entry.deadline is not None)
        elif not entry.begun:
            entry.begun = leases.owner(ticket.attempt).evidence != "queue"
            if not entry.begun and _told_to_stop(self._folder(run), ticket.attempt):  # by another lab, a command line
                self._stop(entry, 0.0)

    def _folder(self, run: str) -> RunFolder:
        return RunFolder(self.runs / run)


def _told_to_stop(folder: RunFolder, attempt: int) -> bool:
    there = folder.files.exists(folder.attempt_file(attempt, "control.jsonl"))
    return there and any(command.name == "stop" for command in next(folder.commands(attempt)))


def _problem(task: Any) -> str:
    """Why a task did not come to its end; empty if it did."""
    try:
        ray.get(task)
    except TaskCancelledError:
        return "it was told to stop"
    except RayTaskError as error:
        return _lines(error.cause or error)[-1]
    except Exception as error:  # of Ray; also one of the task's that cannot be made here
        return _lines(error)[0].partition(". ")[0].rstrip(".")
    return ""


def _lines(error: BaseException) -> list[str]:
    """What it says, or of one without a word what it is."""
    return str(error).strip().splitlines() or [type(error).__name__]
