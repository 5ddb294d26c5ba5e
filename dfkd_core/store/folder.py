"""One run's folder and its status.

spec.json            what determines the run; spec.copy.json is the same, for the case that one of them is damaged
status.json          state, progress, result (replaced whole)
attempts/N/          events.jsonl (append-only), control.jsonl (commands), environment.json (versions, device, threads,
                     code revision, fingerprints), worker.log; lock and owner.json say who carries it out
samples/             STEP.png (images, lossless), STEP.npz (columns): batches that the training used
probes/              the same, of latents that stay the same
real/                the same, of real images, for comparison only
phases/              STEP.npz: one step in slow motion
checkpoints/         step-STEP.safetensors + .json, the last two
manifest.json        SHA-256 of each artefact, when the run has ended
.reserve             room for status and commands on a full disk, until the run has ended
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter
from typing_extensions import TypedDict

from dfkd_core.errors import NO_ROOM, StoreError, capitalised
from dfkd_core.store.lease import OWNER, Lease, Leases, Owner
from dfkd_core.store.place import Place, T
from dfkd_core.store.queue import Queue
from dfkd_core.store.rows import FINITE, Count, Knobs
from dfkd_core.store.sealed import sealed, unsealed

STATES = ("queued", "running", "paused", "done", "stopped", "failed", "interrupted")
ACTIVE = ("queued", "running", "paused")
CHECKPOINTS = "checkpoints"
KEPT_CHECKPOINTS = 2  # the last ones
RESERVE, RESERVED_BYTES = ".reserve", (65_536, 16_384, 4096)  # the most that there is room for
FOLDERS = ("samples", CHECKPOINTS, "attempts")  # which every run has
CONTROL = "control.jsonl"
SPECS = ("spec.json", "spec.copy.json")
DIED = "Its process on this machine ended without a word. Resume goes on from the last checkpoint."
OUT_OF_MEMORY = (
    "The kernel ended its process: the memory of this machine, or of its container, was used up. Give it more, then "
    "Resume goes on from the last checkpoint; or start one with a smaller batch or student."
)
NOT_STARTED = "It has no status: it was never started. Resume starts it."
STARTING = "Starting"
LEFT_WAITING = "It was still waiting when the lab was closed. Resume starts it."
NOT_MADE = ("manifest.json", "status.json", CONTROL, "worker.log", "lock", "owner.json", "heartbeat")
"""What the manifest leaves out."""


class Result(TypedDict):
    """How a run ended (see ``Evaluator.result``)."""

    __pydantic_config__ = FINITE  # type: ignore[misc]
    measure: str
    final: float | None
    best: float | None
    teacher: float | None
    seconds: float


class Term(TypedDict):
    """A term of the loss, as its method declares it."""

    name: str
    title: str
    knob: str
    of: str


class Environment(TypedDict, total=False):
    """What an attempt says about itself, beside versions and the like."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]
    classes: list[str]
    image: dict[str, Any]
    phases: list[str]
    terms: list[Term]
    depends_on: dict[str, Any]
    accepted: list[str]


class Order(TypedDict):
    """A line of ``control.jsonl``."""

    command: Literal["pause", "resume", "step", "stop", "set"]
    knobs: Knobs


class Mark(TypedDict):
    """The JSON of a checkpoint: the structure of its state, and the hash of its tensors' file."""

    step: Count
    state: dict[str, Any]
    sha256: str


_RESULT, _ORDER, _ENVIRONMENT = TypeAdapter(Result), TypeAdapter(Order), TypeAdapter[Any](Environment)
MARK, ANY_SPEC, MANIFEST = TypeAdapter(Mark), TypeAdapter(dict[str, Any]), TypeAdapter(dict[str, str])


def _complete(result: dict[str, Any]) -> dict[str, Any]:
    """Either nothing yet, or all of it."""
    return dict(_RESULT.validate_python(result)) if result else result


@dataclass(frozen=True)
class RunStatus:
    """Where a run stands. ``result`` is filled at the end; ``updated`` is seconds since 1970.

    ``owner`` is who carries it out, as the lock of its newest attempt tells; it is not stored with the rest.
    """

    state: Annotated[str, Field(pattern=f"^({'|'.join(STATES)})$")]
    message: str = ""
    step: Count = 0
    total_steps: Count = 0
    attempt: Count = 1
    owner: Owner | None = None
    result: Annotated[dict[str, Any], AfterValidator(_complete)] = field(default_factory=dict)
    updated: Annotated[float, Field(allow_inf_nan=False)] = 0.0

    @property
    def is_live(self) -> bool:
        """Active, and its owner still runs."""
        return self.state in ACTIVE and self.owner is not None


_STATUS = TypeAdapter(RunStatus)


@dataclass(frozen=True)
class Command:
    """What a watcher wants of a run; ``knobs`` are new values, for ``set``."""

    name: str
    knobs: dict[str, Any] = field(default_factory=dict)


class RunFolder:
    """The files of one run; ``path`` need not exist yet."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.id = self.path.name
        self.files = Place(self.path, f"run {self.id}")
        way_out = f"If that machine is gone for good: `python -m dfkd_core resume {self.id} --take-over`"
        self.queue = Queue(self.path.parent)
        self.leases = Leases(self.files, "attempts", way_out, lambda attempt: self.queue.keeper(self.id, attempt))

    @classmethod
    def create(cls, runs: Path, spec: dict[str, Any], run_id: str = "") -> RunFolder:
        """A new folder below ``runs``, holding ``spec``. ``run_id``: one that was given already, by ``new_id``. Raises
        ``OSError``, and leaves nothing."""
        folder = cls(Path(runs) / (run_id or new_id()))
        folder.path.mkdir(parents=True)
        try:
            for name in FOLDERS:
                (folder.path / name).mkdir()
            folder._reserve(RESERVED_BYTES[:1])
            folder.write_spec(spec)
        except OSError:
            folder.discard()
            raise
        return folder

    @classmethod
    def begin(cls, runs: Path, spec: dict[str, Any]) -> tuple[RunFolder, Lease]:
        """The same with its first attempt; nothing is left where that is not possible."""
        folder = cls.create(runs, spec)
        try:
            return folder, folder.begin_attempt()
        except (OSError, StoreError):
            folder.discard()
            raise

    def discard(self) -> None:
        """Remove the folder of a run that never began."""
        shutil.rmtree(self.path, ignore_errors=True)

    def spec(self, model: TypeAdapter[T] = ANY_SPEC) -> T:  # type: ignore[assignment]
        """What determines the run, as ``model`` has it, from whichever file is whole. Raises ``StoreError`` where none
        is."""
        problems: list[StoreError] = []
        for name in SPECS:
            try:
                if (spec := self.files.read_json(name, model)) is not None:
                    return spec
            except StoreError as error:
                problems.append(error)
        raise problems[0] if problems else StoreError(f"run {self.id}: no spec.json in its folder")

    def write_spec(self, spec: dict[str, Any]) -> None:
        """What determines the run, twice."""
        for name in reversed(SPECS):
            self.files.write_json(name, spec)

    def has_checkpoint(self) -> bool:
        """Whether there is one; it need not be whole."""
        return any(name.endswith(".json") for name in self.files.names(CHECKPOINTS))

    # --- status ---

    def status(self) -> RunStatus:
        """The last status written, with who carries the run out. A run without one is interrupted."""
        status = self._stored_status()
        if status.state not in ACTIVE:
            return status
        try:
            return replace(status, owner=self.leases.holder())
        except (OSError, StoreError) as error:
            return replace(status, state="interrupted", message=str(error))

    def _stored_status(self) -> RunStatus:
        try:
            stored = self.files.read_json("status.json", _STATUS)
        except StoreError as error:
            return RunStatus("interrupted", str(error), attempt=0)
        return stored or RunStatus("interrupted", NOT_STARTED, attempt=0)

    def status_seen(self) -> RunStatus:
        """The status as a watcher should see it: an active run whose owner died is interrupted."""
        status = self.status()
        if status.state in ACTIVE and not status.is_live:
            status = self.status()  # read after its lock was found free: its last words may have come in between
            if status.state in ACTIVE and not status.is_live:
                return replace(status, state="interrupted", message=self._last_words(status))
        if status.owner is not None and not status.owner.seen:
            said = self.leases.unseen(status.owner)
            return replace(status, message=capitalised(said))
        if status.state == "queued" and status.message == STARTING:
            return replace(status, message=self.queue.why_waiting(self.id) or STARTING)
        return status

    def _last_words(self, status: RunStatus) -> str:
        """Of a run whose owner died."""
        if status.state == "queued":
            return LEFT_WAITING
        return OUT_OF_MEMORY if self.leases.died_of_memory() else DIED

    def set_status(self, status: RunStatus) -> None:
        """Replace the status."""
        stored = _STATUS.dump_python(replace(status, updated=time.time()), exclude={"owner"})
        self._urgently(lambda: self.files.write_json("status.json", stored, durable=False))
        if status.state not in ACTIVE:
            self.files.remove(RESERVE)

    def _urgently(self, write: Callable[[], None]) -> None:
        """A small write that has to be possible on a full disk as well: what is reserved makes room for it."""
        try:
            return write()
        except OSError as error:
            if error.errno not in NO_ROOM or not self.files.exists(RESERVE):
                raise
        self.files.remove(RESERVE)
        try:
            write()
        finally:
            with suppress(OSError):
                self._reserve()

    def _reserve(self, sizes: tuple[int, ...] = RESERVED_BYTES) -> None:
        with self.files.create(RESERVE) as file:  # whose inode is reserved, too
            for size in sizes:
                try:
                    return os.posix_fallocate(file.fileno(), 0, size)
                except OSError as error:
                    problem = error
        raise problem

    def small_files(self) -> dict[str, TypeAdapter[Any]]:
        """Those that say what the run is and how it stands, which all runs have, with what they hold."""
        of_attempts: dict[str, TypeAdapter[Any]] = {"owner.json": OWNER, "environment.json": _ENVIRONMENT}
        found: dict[str, Any] = {"status.json": _STATUS, "manifest.json": MANIFEST} | dict.fromkeys(SPECS, ANY_SPEC)
        for number in self.attempts():
            found |= {self.attempt_file(number, name): model for name, model in of_attempts.items()}
        return found

    # --- attempts and their commands ---

    def attempts(self) -> list[int]:
        """Numbers of the attempts, ascending."""
        return self.leases.numbers()

    def attempt_file(self, attempt: int, name: str) -> str:
        """What ``files`` calls the file ``name`` of an attempt."""
        return self.leases.file(attempt, name)

    def begin_attempt(self, take_over: bool = False) -> Lease:
        """Begin the next attempt; commands given from now on go to it. Raises ``HeldError`` while one goes on, and
        ``StoreError`` when the run is done. ``take_over``: also from an owner of whom nothing can be seen."""
        lease = self.leases.take(take_over, self._has_ended)
        self._make_room(lease.number)
        return lease

    def queue_attempt(self, take_over: bool = False) -> int:
        """The number of the next attempt, which a process on some machine is to enter (``leases.enter``); it waits, in
        the queue. Else as ``begin_attempt``."""
        before = self._stored_status()
        number = self.leases.queue(take_over, self._has_ended)
        self._make_room(number)
        self.set_status(replace(before, state="queued", message=STARTING, attempt=number))
        return number

    def _make_room(self, attempt: int) -> None:
        """So that it can be steered on a full disk, too."""
        with suppress(OSError, StoreError):
            self.files.append(self.attempt_file(attempt, CONTROL)).close()
        with suppress(OSError, StoreError):
            self._reserve()

    def _has_ended(self, attempt: int) -> bool:
        status = self._stored_status()
        if status.state == "done":
            raise StoreError(f"run {self.id} is done; there is nothing left to resume")
        return status.attempt == attempt and status.state not in ACTIVE

    def write_environment(self, attempt: int, facts: dict[str, Any]) -> None:
        """What an attempt says about itself: versions, class names, the phases of its method."""
        self.files.write_json(self.attempt_file(attempt, "environment.json"), facts, durable=False)

    def environment(self) -> dict[str, Any]:
        """What the newest attempt that got so far wrote down about itself; empty where nothing readable is."""
        return next(filter(None, map(self.environment_of, reversed(self.attempts()))), {})

    def environment_of(self, attempt: int) -> dict[str, Any]:
        """The same of one attempt."""
        try:
            return self.files.read_json(self.attempt_file(attempt, "environment.json"), _ENVIRONMENT) or {}
        except StoreError:
            return {}

    def command(self, name: str, **knobs: Any) -> None:
        """Give the latest attempt a command: pause, resume, step, stop, or set with new values of ``knobs``."""
        attempt = self.leases.newest()
        if not attempt:
            raise StoreError(f"run {self.id}: it has not been started yet")
        line = sealed({"command": name, "knobs": knobs, "time": time.time()})
        text, control = b"\n%s\n" % line, self.attempt_file(attempt, CONTROL)

        def write() -> None:
            with self.files.append(control) as file:
                if file.write(text) < len(text):  # its first newline ends a line that a full disk tore
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), control)

        self._urgently(write)

    def commands(self, attempt: int) -> Commands:
        """Those that are given to an attempt, as they come."""
        return Commands(self.files, self.attempt_file(attempt, CONTROL))

    def manifest(self) -> dict[str, str]:
        """SHA-256 of each artefact, by its name; empty until the run has ended."""
        return self.files.read_json("manifest.json", MANIFEST) or {}

    def write_manifest(self) -> None:
        """SHA-256 of every file of the folder except ``NOT_MADE``, hidden ones, and what looking at it leaves behind in
        ``analysis/``."""
        found = (name for name in self.files.walk() if not name.startswith("analysis/"))
        made = [name for name in found if (last := name.rpartition("/")[2]) not in NOT_MADE and last[0] != "."]
        hashes = {name: hashlib.sha256(self.files.read(name)).hexdigest() for name in made}
        self.files.write_json("manifest.json", hashes, durable=False)


class Commands:
    """Each ``next`` gives the commands that came since the last. One that raised ``OSError`` may be tried again."""

    def __init__(self, files: Place, name: str) -> None:
        self._files, self._name = files, name
        self._file: BinaryIO | None = None  # kept open: a look at each step's end should cost one call
        self._torn = b""

    def __next__(self) -> list[Command]:
        if self._file is None:
            try:
                self._file = self._files.open(self._name)
            except FileNotFoundError:
                return []
        *whole, self._torn = (self._torn + self._file.read()).split(b"\n")
        return [command for line in whole if (command := _parsed(line)) is not None]


def _parsed(line: bytes) -> Command | None:
    """None for a line that was torn or damaged."""
    try:
        order = _ORDER.validate_json(unsealed(line))
    except ValueError:
        return None
    return Command(order["command"], order["knobs"])


def new_id() -> str:
    """The local time, the fraction of the second, and chance: names sort by when they were given, also those of one
    second, since an order by name is what "newest first" means wherever runs are listed."""
    now = time.time()
    day = time.strftime("%Y%m%d-%H%M%S", time.localtime(now))
    return f"{day}-{int(now % 1 * 0x1000):03x}{secrets.randbits(12):03x}"
