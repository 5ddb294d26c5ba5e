"""All runs of a folder at a glance. Does not import torch.

What the small files of a run say is kept in an index beside the runs; a listing looks at each folder and reads anew
only what has changed. The folders are the truth: an index that is gone, damaged or of another version of the lab is
made again without a word, and where none can be written the listing is slower, and right.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import TypeAdapter
from typing_extensions import TypedDict

from dfkd_core.analysis.about import FILE as ABOUT
from dfkd_core.analysis.about import NOTHING, About, about
from dfkd_core.errors import StoreError, in_words
from dfkd_core.runs.spec import RunSpec, read_spec
from dfkd_core.store import ACTIVE, LOG, SPECS, EventReader, RunFolder, RunStatus, damage, is_plain
from dfkd_core.store.rows import Count
from dfkd_core.store.sealed import sealed, unsealed

FILE = ".index.sqlite"
FORMAT = zlib.crc32(" ".join(["3", *RunSpec.model_fields, *About.model_fields]).encode()) >> 1
"""An index with another number holds something else."""
LOOKED_AT = ("/spec.json", "/spec.copy.json", "", "/status.json", "/attempts", f"/{ABOUT}")  # of a run's folder
OF_AN_ATTEMPT = ("environment.json", LOG)  # of the newest one
PATIENCE_SECONDS = 1.0  # for another process that writes the index

Progress = Callable[[int, int], None]
"""Called with how many of how many changed folders were read."""


@dataclass(frozen=True)
class Entry:
    """What the small files of the run ``id`` in ``runs`` say. ``spec`` is None where no specification can be read,
    ``problem`` says why; ``damaged``: what is damaged of its small files, and, once it has ended, of its log."""

    id: str
    runs: str
    status: RunStatus
    spec: RunSpec | None
    problem: str
    damaged: tuple[str, ...]
    about: About

    @cached_property
    def folder(self) -> RunFolder:
        return RunFolder(Path(self.runs, self.id))

    @property
    def title(self) -> str:
        """What a run is called: its name, or else its id."""
        return self.about.name or self.id

    @property
    def fields(self) -> dict[str, Any]:
        """Those of the specification, by name; none where there is no readable one."""
        return vars(self.spec) if self.spec else {}

    @cached_property
    def values(self) -> dict[str, Any]:
        """All that runs can be sought and sorted by, by name: results, fields of the specification, knobs, words."""
        result, status = self.status.result, self.status
        return {
            "run": self.id,
            "name": self.about.name,
            "group": self.about.group,
            "tags": ", ".join(self.about.tags),
            "note": self.about.note,
            "state": status.state,
            "damaged": "; ".join(self.damaged) or self.problem,
            "measure": result.get("measure"),
            "final": result.get("final"),
            "best": result.get("best"),
            "teacher_score": result.get("teacher"),
            "seconds": result.get("seconds"),
            "step": status.step,
            "total_steps": status.total_steps,
            **self.fields.get("config", {}),
            **{name: value for name, value in self.fields.items() if name not in ("config", "stages")},
        }

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Of ``values``; the same object for all runs that have the same ones, which are most of many."""
        found = tuple(self.values)
        return _names.setdefault(found, found)


_names: dict[tuple[str, ...], tuple[str, ...]] = {}


class RunIndex:
    """The runs in the folder ``runs``; one object may serve all pages of a server."""

    def __init__(self, runs: Path) -> None:
        self.runs = Path(runs)
        self._known: dict[str, _Seen] | None = None
        self._lock = threading.Lock()

    def entries(self, progress: Progress | None = None) -> list[Entry]:
        """All of them, newest first. Raises ``OSError`` where the folder of the runs cannot be read."""
        with self._lock:
            known = self._known = dict(self._stored()) if self._known is None else self._known
            found = dict(self._found(known))
            changed = [name for name, stamp in found.items() if name not in known or known[name].stamp != stamp]
            gone = known.keys() - found.keys()
            for done, name in enumerate(changed):
                if progress is not None:
                    progress(done, len(changed))
                known[name] = _look(RunFolder(self.runs / name))
            for name in gone:
                del known[name]
            if changed or gone:
                self._store({name: known[name] for name in changed}, gone)
            return [_as_seen(known[name].entry) for name in sorted(found, reverse=True)]

    def _found(self, known: dict[str, _Seen]) -> Iterator[tuple[str, int]]:
        """The runs that are there, each with the stamp of its folder."""
        if not self.runs.is_dir():
            return
        base = str(self.runs)
        with os.scandir(base) as found:
            names = [one.name for one in found if one.name[0] != "." and is_plain(one.name)]
        for name in names:
            if stamp := _stamp(f"{base}/{name}", known[name].attempt if name in known else 0):
                yield name, stamp

    # --- the file ---

    def _open(self) -> sqlite3.Connection:
        if os.path.lexists(self.runs / FILE) and not stat.S_ISREG(os.lstat(self.runs / FILE).st_mode):
            raise sqlite3.OperationalError("is not a regular file")  # somebody else's, perhaps, through a link
        connection = sqlite3.connect(self.runs / FILE, timeout=PATIENCE_SECONDS)
        if connection.execute("PRAGMA user_version").fetchone()[0] != FORMAT:
            connection.executescript(
                f"DROP TABLE IF EXISTS runs; PRAGMA user_version = {FORMAT};"
                "CREATE TABLE runs (id TEXT PRIMARY KEY, stamp INTEGER NOT NULL, said BLOB NOT NULL) WITHOUT ROWID;"
            )
        return connection

    def _stored(self) -> Iterator[tuple[str, _Seen]]:
        if not (self.runs / FILE).exists():
            return
        try:
            with closing(self._open()) as connection:
                rows = connection.execute("SELECT id, stamp, said FROM runs").fetchall()
        except sqlite3.Error as error:
            self._forget(error)
            return
        for name, stamp, said in rows:
            with suppress(ValueError, AttributeError, TypeError):  # a damaged row is a run that was not seen yet
                facts = _FACTS.validate_json(unsealed(said))
                yield name, _Seen(facts["attempt"], stamp, _entry(name, str(self.runs), facts))

    def _store(self, changed: dict[str, _Seen], gone: Iterable[str]) -> None:
        rows = [(name, seen.stamp, sealed(_facts(seen))) for name, seen in changed.items()]
        try:
            with closing(self._open()) as connection, connection:
                connection.executemany("DELETE FROM runs WHERE id = ?", [(name,) for name in gone])
                connection.executemany("INSERT OR REPLACE INTO runs VALUES (?, ?, ?)", rows)
        except sqlite3.Error as error:
            self._forget(error)

    def _forget(self, error: sqlite3.Error) -> None:
        """What is no index, or a damaged one, is deleted; one that is busy, or cannot be written, is left alone."""
        if not isinstance(error, sqlite3.OperationalError):
            with suppress(OSError):
                (self.runs / FILE).unlink()


class _Facts(TypedDict):
    """What a row says, which need not have been written by this lab."""

    attempt: Count
    status: RunStatus
    spec: RunSpec | None
    problem: str
    damaged: tuple[str, ...]
    about: About


_FACTS = TypeAdapter(_Facts)


def _entry(name: str, runs: str, facts: _Facts) -> Entry:
    said = facts["about"] if facts["about"] != NOTHING else NOTHING  # one object for all that say nothing
    return Entry(name, runs, facts["status"], facts["spec"], facts["problem"], facts["damaged"], said)


class _Seen(NamedTuple):
    """A run as it was looked at: its newest attempt and the stamp of its folder then, and what it said."""

    attempt: int
    stamp: int
    entry: Entry


def _stamp(path: str, attempt: int) -> int:
    """Of what lies in a run's folder: another one after each change. 0 where there is no run.

    What is replaced whole changes its folder, too; what may be edited, or grows, is looked at itself.
    """
    stamps: list[int] = []
    for name in (*LOOKED_AT, *(f"/attempts/{attempt}/{name}" for name in OF_AN_ATTEMPT if attempt)):
        try:
            seen = os.lstat(path + name)
            stamps += (seen.st_mtime_ns, seen.st_size)
        except OSError:
            stamps += (0, 0)
    return hash(tuple(stamps)) if any(stamps[: 2 * len(SPECS)]) else 0  # of numbers, so the same in every process


def _look(folder: RunFolder) -> _Seen:
    """The stamp is taken first, so that a change meanwhile is seen the next time."""
    place, attempt, stamp = (folder.id, str(folder.path.parent)), 0, 0
    try:
        attempt = folder.leases.newest()
        stamp = _stamp(str(folder.path), attempt)
        status = replace(folder.status(), owner=None)
        log = EventReader(folder) if status.state in ACTIVE else None  # which grows, and would be read each time
        spec, problem, damaged = None, "", tuple(damage(folder, log))
        try:
            spec = read_spec(folder)
        except StoreError as error:
            problem = str(error)
        return _Seen(attempt, stamp, Entry(*place, status, spec, problem, damaged, about(folder)))
    except (OSError, StoreError) as error:
        return _Seen(attempt, stamp, Entry(*place, RunStatus("interrupted"), None, in_words(error), (), NOTHING))


def _facts(seen: _Seen) -> dict[str, Any]:
    entry = seen.entry
    status = {name: value for name, value in vars(entry.status).items() if name != "owner"}
    said = {} if entry.about == NOTHING else entry.about.model_dump()
    return {
        "attempt": seen.attempt,
        "status": status,
        "spec": entry.spec and entry.spec.model_dump(mode="json"),
        "problem": entry.problem,
        "damaged": entry.damaged,
        "about": said,
    }


def _as_seen(entry: Entry) -> Entry:
    """Whether a run that is active goes on is not in a file."""
    return replace(entry, status=entry.folder.status_seen()) if entry.status.state in ACTIVE else entry
