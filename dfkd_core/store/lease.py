"""Who carries something out: numbered leases, each taken by one process only, which holds its lock as long as it lives.

N/lock          locked from before the folder N has its name until its process has ended, in whatever way
N/owner.json    whose lock that is: for people, and for whoever may have to end it
N/heartbeat     a counter that goes on, where the file system has no locks, or other machines may not see them

Neither a clock nor a process id says who lives: clocks are set, ids are used again.
"""

from __future__ import annotations

import errno
import fcntl
import math
import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from io import FileIO
from pathlib import Path
from typing import Annotated, Literal

import psutil
from pydantic import Field, TypeAdapter

from dfkd_core.errors import DamagedError, HeldError, StoreError, SupersededError
from dfkd_core.store.memory import oom_kills
from dfkd_core.store.place import Place

BEAT_SECONDS = 3.0
PATIENCE_SECONDS = 10.0  # for a heartbeat, before its owner is taken for dead
NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
BEATING = ("heartbeat", "both")
NOT_OURS = (errno.EACCES, errno.EPERM)


@cache
def _boot() -> str:
    """Which start of which machine this is; its containers agree. Empty where the system does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


Evidence = Literal["lock", "heartbeat", "both", "queue"]


@dataclass(frozen=True)
class Owner:
    """A process and the machine that it runs on. ``evidence``: how it shows that it lives; "both" where its lock may
    not be seen from every machine, "queue" of a lease that no process has entered yet. ``oom_kills``: how often the
    kernel had killed there for want of memory. ``seen`` is False where it cannot be seen from here: it may have died.
    """

    pid: Annotated[int, Field(ge=0)]
    host: str
    boot: str = ""
    started: str = ""
    evidence: Evidence = "lock"
    oom_kills: int = 0
    seen: bool = True

    @classmethod
    def current(cls, evidence: Evidence = "lock") -> Owner:
        """This process."""
        started = time.strftime("%Y-%m-%d %H:%M:%S")
        return cls(os.getpid(), socket.gethostname(), _boot(), started, evidence, oom_kills())

    @property
    def is_here(self) -> bool:
        """Whether its machine is this one, or was before it was started again. True of an owner that is not named."""
        return self.host in ("", socket.gethostname()) or (self.boot != "" and self.boot == _boot())

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}" if self.host else "a process that is not named"


OWNER = TypeAdapter(Owner)
_UNKNOWN = Owner(0, "")


class Lease:
    """What this process holds, until ``close`` or its end."""

    def __init__(self, leases: Leases, number: int, lock: FileIO, owner: Owner) -> None:
        self.leases, self.number, self._lock, self._owner = leases, number, lock, owner
        self._next = leases.files.path / leases.folder / str(number + 1)
        self._over = threading.Event()
        if owner.evidence in BEATING:
            threading.Thread(target=self._beat, name="dfkd-heartbeat", daemon=True).start()

    def __enter__(self) -> Lease:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of it, also for whoever was given a copy of the descriptor."""
        if not self._lock.closed:
            with suppress(OSError):
                fcntl.flock(self._lock, fcntl.LOCK_UN)
        self._let_go()

    @property
    def descriptor(self) -> int:
        """Of the lock: whoever has a copy of it holds the lease as well."""
        return self._lock.fileno()

    def give_to(self, pid: int) -> None:
        """The process ``pid``, which has a copy of the descriptor, holds it from now on, without a gap."""
        with suppress(OSError):  # on a full disk the lock says enough
            self.leases.write_owner(self.number, replace(self._owner, pid=pid))
        self._let_go()

    def check(self) -> None:
        """Raises ``SupersededError`` if a later lease was taken, which happens when its owner was taken for dead."""
        if os.path.lexists(self._next):  # by its path, since that takes one call and opens nothing
            title, owner = self.leases.files.title, self.leases.holder() or "a process that has ended"
            raise SupersededError(f"{title}: attempt {self.leases.newest()}, {owner}, has taken over from this one")

    def _let_go(self) -> None:
        self._over.set()
        self._lock.close()

    def _beat(self) -> None:
        count = 0
        while not self._over.wait(BEAT_SECONDS):
            count += 1
            with suppress(OSError, StoreError):
                self.leases.write_beat(self.number, count)


class Leases:
    """The leases in ``folder`` of ``files``, one after the other; whoever holds the newest carries it out.

    ``way_out`` says what to do about an owner on a machine that is gone for good. ``keeper(number)`` is asked for who
    sees to it that a lease is carried out while no process holds it.
    """

    def __init__(
        self, files: Place, folder: str, way_out: str, keeper: Callable[[int], Owner | None] = lambda number: None
    ) -> None:
        self.files, self.folder, self.way_out, self.keeper = files, folder, way_out, keeper

    def numbers(self) -> list[int]:
        """Ascending."""
        found = self.files.names(self.folder)
        return sorted(int(name) for name in found if name.isascii() and name.isdecimal() and name[0] != "0")

    def newest(self) -> int:
        """0 if there is none."""
        return max(self.numbers(), default=0)

    def file(self, number: int, name: str) -> str:
        """What the file ``name`` of a lease is called within ``files``."""
        return f"{self.folder}/{number}/{name}"

    # --- taking one ---

    def take(
        self, take_over: bool = False, is_over: Callable[[int], bool] = lambda number: False, beats: bool = False
    ) -> Lease:
        """The next lease. Raises ``HeldError``, which names the owner, while the newest is held, and ``StoreError``
        where the folder cannot be written to.

        ``is_over(number)``: whether what that lease was for has ended, though its process may not be gone yet.
        ``take_over``: also from an owner of whom nothing can be seen. ``beats``: with a heartbeat beside its lock.
        """
        number = self._free(take_over, is_over)
        lock, owner = self._made(number, lambda lock: _evidence(lock, beats))
        return Lease(self, number, lock, owner)

    def queue(self, take_over: bool = False, is_over: Callable[[int], bool] = lambda number: False) -> int:
        """The number of the next lease, which a process is to ``enter``, on any machine; else as ``take``."""
        number = self._free(take_over, is_over)
        lock, _ = self._made(number, lambda lock: "queue")
        lock.close()
        return number

    def enter(self, number: int) -> Lease:
        """The lease of that number, made by ``queue``. Raises ``HeldError`` if another process has entered it, and
        ``SupersededError`` if there is a later one."""
        lock = self.files.append(self.file(number, "lock"))
        try:
            owner = Owner.current(_evidence(lock, beats=True))
            before = self.owner(number)
            if before.evidence != "queue":
                raise HeldError(f"{self.files.title}: attempt {number} was begun already, in {before}")
            if self.newest() != number:
                raise SupersededError(f"{self.files.title}: attempt {self.newest()} has taken over from {number}")
            with self.files.create(self.file(number, "heartbeat")) as beat:  # which one can, also without locks
                beat.write(b"0")
            self.write_owner(number, owner)
            return Lease(self, number, lock, owner)
        except BlockingIOError:
            lock.close()
            raise HeldError(f"{self.files.title} goes on already, in {self.owner(number)}") from None
        except FileExistsError:
            lock.close()
            raise HeldError(f"{self.files.title}: attempt {number} was begun at the same moment") from None
        except BaseException:
            lock.close()
            raise

    def _free(self, take_over: bool, is_over: Callable[[int], bool]) -> int:
        """The number of the next, which may be taken."""
        # In this order no gap is left. A lease that is taken after the newest was looked up is the very one that is
        # made below, which only one can; one that was taken before is seen to be held. And what has ended was written
        # down before its lock was free, so that is read last.
        newest = self.newest()
        owner = self._holder(newest, patient=True)
        if not is_over(newest) and owner is not None and (owner.seen or not take_over):
            raise HeldError(f"{self.files.title} goes on already, in {owner}" if owner.seen else self.unseen(owner))
        return newest + 1

    def unseen(self, owner: Owner) -> str:
        """What is to be said of an owner of whom nothing can be seen."""
        title = self.files.title
        return f"{title} goes on in {owner}, as far as can be seen from this machine. {self.way_out}"

    def _made(self, number: int, evidence: Callable[[FileIO], Evidence]) -> tuple[FileIO, Owner]:
        try:
            return self._make(number, evidence)
        except OSError as error:
            raise StoreError(f"{self.files.title}: its folder cannot be written to ({error.strerror})") from None

    def _make(self, number: int, evidence: Callable[[FileIO], Evidence]) -> tuple[FileIO, Owner]:
        """Locked before it has its name: a folder takes the place of another only if that one is empty."""
        new = f".new-{secrets.token_hex(4)}"
        made = f"{self.folder}/{new}"
        lock = self.files.create(f"{made}/lock")
        try:
            owner = Owner.current(evidence(lock))
            self.files.write_json(f"{made}/owner.json", OWNER.dump_python(owner, exclude={"seen"}), durable=False)
            if owner.evidence in BEATING:
                self.files.write(f"{made}/heartbeat", b"0", durable=False)
            with self.files.folder(self.folder) as folder:
                os.rename(new, str(number), src_dir_fd=folder, dst_dir_fd=folder)
        except OSError as error:
            lock.close()
            self._discard(new)
            if error.errno in (errno.EEXIST, errno.ENOTEMPTY):
                owner = self._holder(number) or _UNKNOWN
                raise HeldError(f"{self.files.title} was begun at the same moment, in {owner}") from None
            raise
        return lock, owner

    def _discard(self, new: str) -> None:
        with suppress(OSError):
            for name in ("lock", "owner.json", "heartbeat"):
                self.files.remove(f"{self.folder}/{new}/{name}")
            with self.files.folder(self.folder) as folder:
                os.rmdir(new, dir_fd=folder)

    def received(self, number: int, descriptor: int) -> Lease:
        """The lease of another process that has handed over the lock's descriptor."""
        os.set_inheritable(descriptor, False)
        return Lease(self, number, FileIO(descriptor, "rb+"), self.owner(number))

    # --- who holds the newest ---

    def holder(self, patient: bool = False) -> Owner | None:
        """Who carries it out; None if nobody does. ``patient``: for a decision, wait for the next heartbeat where there
        are no locks."""
        return self._holder(self.newest(), patient)

    def _holder(self, number: int, patient: bool = False) -> Owner | None:
        return (self.process(number, patient) or self.keeper(number)) if number else None

    def process(self, number: int, patient: bool = False) -> Owner | None:
        """The process that holds that lease; None if there is none."""
        owner = self.owner(number)
        if owner.evidence == "queue":
            return None
        if owner.evidence == "heartbeat":
            return owner if self._beats(number, patient) else None
        held = self._is_locked(number)
        if held:
            return owner
        if held is not None and owner.is_here:
            return None
        if owner.evidence == "both":
            return owner if self._beats(number, patient) else None
        return replace(owner, seen=False)

    def _is_locked(self, number: int) -> bool | None:
        """None where that cannot be seen: there are no locks here, though its owner has one, or it is not for us."""
        try:
            with self.files.open(self.file(number, "lock")) as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)  # those who look do not disturb each other
                return False
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        except OSError as error:
            if error.errno in (*NO_LOCKS, *NOT_OURS):
                return None
            raise

    def silent_seconds(self, number: int) -> float:
        """Since the last heartbeat of that lease; infinite where it has none. Both moments are by the clock of whoever
        keeps the files, which need not agree with that of this machine."""
        try:
            with self.files.folder(f"{self.folder}/{number}") as folder:
                beat = os.stat("heartbeat", dir_fd=folder, follow_symlinks=False).st_mtime
                try:
                    os.utime(folder)
                except OSError:  # not ours to write to: it is only shown, so our own clock will do
                    return time.time() - beat
                return os.fstat(folder).st_mtime - beat
        except FileNotFoundError:
            return math.inf

    def _beats(self, number: int, patient: bool) -> bool:
        if not patient:
            return self.silent_seconds(number) < PATIENCE_SECONDS
        name = self.file(number, "heartbeat")
        before, until = self.files.tail(name, 0), time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < until:
            if self.files.tail(name, 0) != before:
                return True
            time.sleep(BEAT_SECONDS / 10)
        return False

    def kill_holder(self) -> None:
        """Kill the process that holds the newest: only one of this machine that has this very lock open, and its group
        only where it leads a session, as our workers do. Neither this process nor a stranger's."""
        number = self.newest()
        owner = self._holder(number)
        if owner is None or owner.pid in (0, os.getpid()) or not self._has_open(number, owner.pid):
            return
        with suppress(ProcessLookupError):
            if os.getsid(owner.pid) == owner.pid:
                os.killpg(owner.pid, signal.SIGKILL)
            else:
                os.kill(owner.pid, signal.SIGKILL)

    def _has_open(self, number: int, pid: int) -> bool:
        try:
            with self.files.open(self.file(number, "lock")) as file:
                lock = os.fstat(file.fileno())
            opened = psutil.Process(pid).open_files()
        except (OSError, psutil.Error):
            return False
        return lock.st_nlink == 1 and any(_is_same(lock, Path(file.path)) for file in opened)

    def died_of_memory(self) -> bool:
        """Whether the kernel has killed here for want of memory since the newest was taken."""
        owner = self.owner(self.newest())
        return owner.boot != "" and owner.boot == _boot() and oom_kills() > owner.oom_kills

    # --- what an owner leaves ---

    def owner(self, number: int) -> Owner:
        """Who is written down, alive or not."""
        try:
            return replace(self.files.read_json(self.file(number, "owner.json"), OWNER) or _UNKNOWN, seen=True)
        except DamagedError:
            return _UNKNOWN

    def write_owner(self, number: int, owner: Owner) -> None:
        stored = OWNER.dump_python(owner, exclude={"seen"})
        self.files.write_json(self.file(number, "owner.json"), stored, durable=False)

    def write_beat(self, number: int, count: int) -> None:
        self.files.write(self.file(number, "heartbeat"), str(count).encode(), durable=False)


def _evidence(lock: FileIO, beats: bool) -> Evidence:
    """Lock a file of our own; how that shows that we live."""
    if not _locked(lock):
        return "heartbeat"
    return "both" if beats else "lock"


def _locked(lock: FileIO) -> bool:
    """Lock a file of our own; False where the file system has no locks."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except OSError as error:
        if error.errno in NO_LOCKS:
            return False
        raise


def _is_same(file: os.stat_result, path: Path) -> bool:
    try:
        return os.path.samestat(file, path.stat())
    except OSError:
        return False
