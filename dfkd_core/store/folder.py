"""One run's folder and its status.

spec.json            what determines the run
status.json          state, owner, progress, result (replaced whole)
environment.json     versions, device, threads, code revision, fingerprints
attempts/N/          events.jsonl (append-only), control.jsonl (commands), worker.log
samples/             STEP.png (images, lossless), STEP.npz (columns): batches that the training used
probes/              the same, of latents that stay the same
real/                the same, of real images, for comparison only
phases/              STEP.npz: one step in slow motion
checkpoints/         step-STEP.safetensors + .json, the last two
manifest.json        SHA-256 of each artefact, when the run has ended
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil

from dfkd_core.errors import RequestError, StoreError
from dfkd_core.store.atomic import read_json, write_json

STATES = ("queued", "running", "paused", "done", "stopped", "failed", "interrupted")
ACTIVE = ("queued", "running", "paused")
DIED = "Its process ended without a word. Resume goes on from the last checkpoint."


@dataclass(frozen=True)
class Owner:
    """A process, by id and start time, since ids are reused."""

    pid: int
    started: float

    @classmethod
    def current(cls) -> Owner:
        """This process."""
        return cls.of(os.getpid())

    @classmethod
    def of(cls, pid: int) -> Owner:
        """The process that has the id ``pid`` now."""
        return cls(pid, psutil.Process(pid).create_time())

    def is_alive(self) -> bool:
        """Whether that very process still runs."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started) < 1.0
            return same and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False


@dataclass(frozen=True)
class RunStatus:
    """Where a run stands. ``result`` is filled at the end; ``updated`` is seconds since 1970."""

    state: str
    message: str = ""
    step: int = 0
    total_steps: int = 0
    attempt: int = 1
    owner: Owner | None = None
    result: dict[str, Any] = field(default_factory=dict)
    updated: float = 0.0

    @property
    def is_live(self) -> bool:
        """Active, and its owner still runs."""
        return self.state in ACTIVE and self.owner is not None and self.owner.is_alive()


@dataclass(frozen=True)
class Command:
    """What a watcher wants of a run; ``knobs`` are new values, for ``set``."""

    name: str
    knobs: dict[str, Any] = field(default_factory=dict)


class RunFolder:
    """Paths and small files of one run; ``path`` need not exist yet."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.id = self.path.name

    @classmethod
    def create(cls, runs: Path, spec: dict[str, Any]) -> RunFolder:
        """A new folder below ``runs`` with a random id, holding ``spec``."""
        identity = f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"
        folder = cls(Path(runs) / identity)
        folder.path.mkdir(parents=True)
        for name in ("samples", "checkpoints", "attempts"):
            (folder.path / name).mkdir()
        write_json(folder.path / "spec.json", spec)
        return folder

    def spec(self) -> dict[str, Any]:
        """What determines the run. Raises ``StoreError`` when there is no such run."""
        spec = read_json(self.path / "spec.json")
        if not isinstance(spec, dict):
            raise StoreError(f"run {self.id}: no readable spec.json in its folder")
        return spec

    # --- status ---

    def status(self) -> RunStatus:
        """The last status written. A run without one is interrupted."""
        stored = read_json(self.path / "status.json")
        try:
            owner = Owner(**stored["owner"]) if stored["owner"] else None
            return RunStatus(**{**stored, "owner": owner})
        except (TypeError, KeyError):
            return RunStatus("interrupted", "no readable status.json in its folder")

    def status_seen(self) -> RunStatus:
        """The status as a watcher should see it: an active run whose owner died is interrupted."""
        status = self.status()
        if status.state in ACTIVE and not status.is_live:
            status = self.status()  # read after the owner was found dead: its last words may have come in between
            if status.state in ACTIVE and not status.is_live:
                return replace(status, state="interrupted", message=DIED, owner=None)
        return status

    def set_status(self, status: RunStatus) -> None:
        """Replace the status."""
        write_json(self.path / "status.json", asdict(replace(status, updated=time.time())), durable=False)

    def mark_interrupted(self, message: str = DIED) -> None:
        """Write down that an active run whose owner died is interrupted, with how far it came."""
        seen = self.status_seen()
        if seen.state == "interrupted" and self.status().state in ACTIVE:
            self.set_status(replace(seen, message=message))

    # --- attempts and their commands ---

    def attempts(self) -> list[int]:
        """Numbers of the attempts, ascending."""
        folder = self.path / "attempts"
        return sorted(int(path.name) for path in folder.iterdir() if path.name.isdigit()) if folder.is_dir() else []

    def attempt_path(self, attempt: int) -> Path:
        return self.path / "attempts" / str(attempt)

    def begin_attempt(self) -> int:
        """Make the next attempt's folder. Commands given from now on go to it."""
        attempt = (self.attempts() or [0])[-1] + 1
        try:
            self.attempt_path(attempt).mkdir(parents=True)
        except FileExistsError:
            raise StoreError(f"run {self.id}: someone else is starting it at this moment") from None
        return attempt

    def command(self, name: str, **knobs: Any) -> None:
        """Give the latest attempt a command: pause, resume, step, stop, or set with new values of ``knobs``."""
        attempts = self.attempts()
        if not attempts:
            raise StoreError(f"run {self.id}: it has not been started yet")
        line = json.dumps({"command": name, "knobs": knobs, "time": time.time()})
        with open(self.attempt_path(attempts[-1]) / "control.jsonl", "ab", buffering=0) as file:
            file.write(f"\n{line}\n".encode())  # the first newline ends a line that a full disk tore

    def commands(self, attempt: int) -> Iterator[list[Command]]:
        """An endless iterator: each ``next`` gives the commands that came since the last."""
        path, offset = self.attempt_path(attempt) / "control.jsonl", 0
        while True:
            fresh = b""
            if path.exists() and path.stat().st_size > offset:
                with open(path, "rb") as file:
                    file.seek(offset)
                    fresh = file.read()
                fresh = fresh[: fresh.rfind(b"\n") + 1]
                offset += len(fresh)
            lines = [line for line in map(_parsed, fresh.splitlines()) if isinstance(line, dict)]
            yield [Command(line["command"], line.get("knobs", {})) for line in lines if "command" in line]

    def write_manifest(self) -> None:
        """SHA-256 of every file of the folder except status, control files, what looking at it leaves behind in
        ``analysis/``, and the manifest itself."""
        skipped = {"manifest.json", "status.json", "control.jsonl", "worker.log"}
        looks = self.path / "analysis"
        found = (path for path in self.path.rglob("[!.]*") if path.is_file() and looks not in path.parents)
        files = sorted(path for path in found if path.name not in skipped)
        hashes = {str(path.relative_to(self.path)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
        write_json(self.path / "manifest.json", hashes, durable=False)


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None


def runs_folder() -> Path:
    """Where runs are kept: ``DFKD_RUNS``, else ``runs`` in the current folder."""
    return Path(os.environ.get("DFKD_RUNS") or "runs").expanduser()


def runs_in(runs: Path) -> list[RunFolder]:
    """All runs below ``runs``, newest first."""
    if not Path(runs).is_dir():
        return []
    found = [RunFolder(path) for path in Path(runs).iterdir() if (path / "spec.json").is_file()]
    return sorted(found, key=lambda folder: folder.id, reverse=True)


def find_run(runs: Path, run_id: str) -> RunFolder:
    """The run ``run_id`` below ``runs``; a unique beginning or end of the id will do.

    Raises ``RequestError`` if there is none or more than one.
    """
    names = [path.name for path in runs.iterdir()] if runs.is_dir() else []
    exact = [name for name in names if name == run_id]
    fitting = exact or [name for name in names if run_id and (name.startswith(run_id) or name.endswith(run_id))]
    if len(fitting) != 1:
        problem = "fits several runs" if fitting else "is not the id of a run"
        raise RequestError("run", run_id, f"{problem} in {runs}; `python -m dfkd_core runs` lists them.")
    return RunFolder(runs / fitting[0])
