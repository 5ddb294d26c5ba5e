"""One study's folder, RUNS/studies/ID: what is asked, and how far it is.

study.json           kind, title, settings, cells (key, labels, specification of the run), what was asked: written once
cells/KEY.json       a cell's run, and its figures when they are there
conductors/N/        lock and owner.json say who carries it out
conductor.json       that it was begun, or how it ended
stop                 is there when it shall stop
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, field, replace
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Annotated, Any, ClassVar, NotRequired

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from dfkd_core.errors import RequestError, StoreError, explain, in_words
from dfkd_core.runs.spec import RunSpec
from dfkd_core.store import Lease, Leases, Place, RunFolder, is_plain, new_id
from dfkd_core.store.listing import STUDIES as FOLDER
from dfkd_core.store.listing import is_unborn
from dfkd_core.store.rows import Scalar

STOP, CONDUCTOR = "stop", "conductor.json"
OVER = ("done", "failed")  # states of a cell
NAMED = 6  # runs of a study in one sentence


@dataclass(frozen=True)
class Kept:
    """What a kind of study keeps in its folder, as types that pydantic knows: its ``settings``, the ``labels`` of a
    cell, and the ``figures`` of one that is done."""

    settings: Any = dict[str, Any]
    labels: Any = dict[str, Scalar]
    figures: Any = dict[str, Any]


def _file_name(key: str) -> str:
    if not is_plain(key):
        raise ValueError("should be the name of a file")
    return key


@dataclass(frozen=True)
class Cell:
    """One run of a study. ``labels`` say what sets it apart."""

    key: Annotated[str, AfterValidator(_file_name)]
    labels: dict[str, Scalar]
    spec: RunSpec


def _plain(cell: Cell) -> dict[str, Any]:
    return vars(cell) | {"spec": cell.spec.model_dump(mode="json")}


@dataclass(frozen=True)
class Record:
    """What there is of a cell: the ``run``'s id, its ``figures`` when it is done, or the ``problem`` it ended with."""

    run: str = ""
    figures: dict[str, Any] = field(default_factory=dict)
    problem: str = ""


class Asked(TypedDict):
    """What a study was begun with; ``asked`` is what its kind's ``Request`` was made from."""

    kind: str
    title: str
    settings: dict[str, Any]
    cells: Annotated[list[Cell], Field(min_length=1)]
    asked: NotRequired[dict[str, Any]]


_ENDED = TypeAdapter(dict[str, str])


@cache
def _model(kept: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kept)


def _fitting(kept: Any, name: str, value: dict[str, Any]) -> dict[str, Any]:
    """``value`` as the kind keeps it. Raises ``RequestError``, which names the field below ``name``."""
    try:
        return dict(_model(kept).validate_python(value))
    except ValidationError as error:
        raise explain(error, name) from None


def _of_its_kind(stored: Asked) -> Asked:
    kept = Study.kept(stored["kind"])
    for cell in stored["cells"]:
        _fitting(kept.labels, f"cells.{cell.key}.labels", cell.labels)
    return {**stored, "settings": _fitting(kept.settings, "settings", stored["settings"])}


def _with_figures(kind: str, record: Record) -> Record:
    if not record.figures:
        return record
    return replace(record, figures=_fitting(Study.kept(kind).figures, "figures", record.figures))


def _run_beside(record: Record) -> Record:
    if record.run != "":
        _file_name(record.run)
    return record


_STUDY = TypeAdapter(Annotated[Asked, AfterValidator(_of_its_kind)])


@cache
def _record_model(kind: str) -> TypeAdapter[Record]:
    return TypeAdapter(Annotated[Record, AfterValidator(_run_beside), AfterValidator(partial(_with_figures, kind))])


@dataclass(frozen=True)
class CellState:
    """A cell as a watcher should see it.

    ``state``: ``waiting``, ``done``, ``failed``, ``measuring``, or that of its run; ``share`` of its steps done.
    """

    cell: Cell
    record: Record
    state: str
    share: float = 0.0
    message: str = ""


@dataclass(frozen=True)
class Progress:
    """``state``: ``running``, ``stopping``, ``stopped`` or ``done``; ``share`` of all work, 0 to 1; ``message`` is
    for people; ``seconds_left`` at the pace so far, None before there is one."""

    state: str
    done: int
    failed: int
    total: int
    share: float
    message: str
    seconds_left: float | None
    cells: list[CellState]


class Study:
    """The study in the folder ``path``. ``kept(kind)`` is what that kind keeps there: this package knows the kinds."""

    kept: ClassVar[Callable[[str], Kept]] = staticmethod(lambda kind: Kept())

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.id = self.path.name
        self.runs = self.path.parent.parent
        self.files = Place(self.path, f"study {self.id}")
        way_out = f"If that machine is gone for good: `python -m dfkd_core study continue {self.id} --take-over`"
        self.leases = Leases(self.files, "conductors", way_out)

    @classmethod
    def create(
        cls,
        runs: Path,
        kind: str,
        title: str,
        settings: dict[str, Any],
        cells: list[Cell],
        asked: dict[str, Any] | None = None,
    ) -> Study:
        """A new study below ``runs``; nothing is started. Raises ``RequestError`` if it cannot be written."""
        study = cls(Path(runs) / FOLDER / new_id())
        stored = {"kind": kind, "title": title, "settings": settings, "cells": list(map(_plain, cells))}
        stored |= {"asked": asked} if asked is not None else {}
        try:
            (study.path / "cells").mkdir(parents=True)
            study.files.write_json("study.json", stored)
        except OSError as error:
            raise RequestError("runs", str(runs), f"cannot be written to ({error.strerror}).") from None
        return study

    # --- what is asked ---

    @cached_property
    def _stored(self) -> Asked:
        stored = self.files.read_json("study.json", _STUDY)
        if stored is None:
            raise StoreError(f"study {self.id}: no readable study.json in its folder")
        return stored

    @cached_property
    def unreadable(self) -> str:
        """Why ``study.json`` cannot be read; empty where it can."""
        try:
            _ = self._stored
            return ""
        except StoreError as error:
            return str(error).removeprefix(f"{self.files.title}: ")

    @property
    def kind(self) -> str:
        return str(self._stored["kind"])

    @property
    def title(self) -> str:
        return str(self._stored["title"])

    @property
    def settings(self) -> dict[str, Any]:
        return dict(self._stored["settings"])

    @property
    def asked(self) -> dict[str, Any]:
        """What its kind's ``Request`` was made from; empty where that was not kept."""
        return dict(self._stored.get("asked", {}))

    @property
    def cells(self) -> list[Cell]:
        """In the order in which they are carried out. Raises ``StoreError`` like all of these if it is damaged."""
        return list(self._stored["cells"])

    # --- how far it is ---

    def record(self, cell: Cell) -> Record:
        """What is known of ``cell``; of a damaged record that, as its problem: the cell can be carried out anew."""
        try:
            return self.files.read_json(f"cells/{cell.key}.json", _record_model(self.kind)) or Record()
        except StoreError as error:
            return Record(problem=str(error).removeprefix(f"{self.files.title}: "))

    def damage(self) -> list[str]:
        """What of its files is damaged, in words."""
        found = [self._damage_of("study.json", _STUDY), self._damage_of(CONDUCTOR, _ENDED)]
        kind = self.kind if not found[0] and self.files.exists("study.json") else ""
        found += [self._damage_of(f"cells/{name}", _record_model(kind)) for name in self.files.names("cells")]
        found += [f"{name} is no regular file" for name in self.files.strange()]
        return list(filter(None, found if self.files.exists("study.json") else ["study.json is gone", *found]))

    def _damage_of(self, name: str, model: TypeAdapter[Any]) -> str:
        try:
            self.files.read_json(name, model)
        except (OSError, StoreError) as error:
            return in_words(error).removeprefix(f"{self.files.title}: ")
        return ""

    def keep(self, cell: Cell, record: Record) -> None:
        self.files.write_json(f"cells/{cell.key}.json", asdict(record))

    def run(self, record: Record) -> RunFolder:
        """The folder of a cell's run."""
        return RunFolder(self.runs / record.run)

    def folders(self) -> list[RunFolder]:
        """Those of its cells' runs that are there, each once."""
        ids = dict.fromkeys(self.record(cell).run for cell in self.cells)
        return [RunFolder(self.runs / run) for run in ids if run and self.runs.joinpath(run).is_dir()]

    def progress(self, step_of: Callable[[RunFolder], int] | None = None) -> Progress:
        """As a watcher should see it: a study whose conductor died has stopped.

        ``step_of`` knows better than a run's status, which is written at checkpoints, how far a live run is.
        """
        conducted = self.is_conducted()
        cells = [self._cell_state(cell, conducted, step_of) for cell in self.cells]
        done, failed = (sum(cell.state == state for cell in cells) for state in ("done", "failed"))
        shares = [1.0 if cell.state in (*OVER, "measuring") else cell.share for cell in cells]
        if conducted:
            state = "stopping" if self.shall_stop() else "running"
        else:
            state = "done" if done + failed == len(cells) else "stopped"
        message = self._said("begun" if conducted else "message") if state != "done" else ""
        left = _seconds_left(cells, shares) if state == "running" else None
        share = sum(shares) / max(1, len(shares))
        return Progress(state, done, failed, len(cells), share, message, left, cells)

    def _cell_state(self, cell: Cell, conducted: bool, step_of: Callable[[RunFolder], int] | None) -> CellState:
        record = self.record(cell)
        if record.figures:
            return CellState(cell, record, "done", 1.0)
        if record.problem:
            return CellState(cell, record, "failed", message=record.problem)
        if not record.run or not self.run(record).path.is_dir():
            return CellState(cell, record, "waiting")
        folder = self.run(record)
        status = folder.status_seen()
        step = step_of(folder) if step_of is not None and status.is_live else status.step
        share = step / status.total_steps if status.total_steps else 0.0
        if status.state == "done":
            return CellState(cell, record, "measuring" if conducted else "stopped", 1.0, "trained, not yet measured")
        if status.state in ("failed", "interrupted") and conducted:
            return CellState(cell, record, "waiting", share)  # about to be taken up, or to be written down
        return CellState(cell, record, status.state, share, status.message)

    # --- who carries it out ---

    def is_conducted(self) -> bool:
        """Whether a conductor that still lives carries it out."""
        try:
            return self.leases.holder() is not None
        except (OSError, StoreError):
            return False

    def was_left(self) -> bool:
        """Whether its conductor, in this folder and on this machine, died while it carried the study out, and nobody
        has stopped the study or paused one of its runs: a folder that was brought here begins nothing by itself. What
        is quickly seen comes first, of most studies nothing else is read."""
        try:
            begun = "begun" in (self.files.read_json(CONDUCTOR, _ENDED) or {})
            owner = self.leases.owner(self.leases.newest())
            ours = begun and owner.host and owner.is_here
            if not ours or self.shall_stop() or self.is_conducted() or self.unreadable:
                return False
            records = [self.record(cell) for cell in self.cells]
            left = [record for record in records if not record.figures and not record.problem]
            halted = any(self.run(record).status().state in ("paused", "stopped") for record in left if record.run)
        except (OSError, StoreError):
            return False
        return bool(left) and not halted

    def claim(self, take_over: bool = False, said: str = "") -> Lease:
        """Carry it out from now on, until ``release``. Raises ``HeldError`` if another conductor does; ``take_over``:
        unless nothing can be seen of that one. ``said``: to who watches it, meanwhile."""
        lease = self.leases.take(take_over)
        try:
            self.files.remove(STOP)
            self._say("begun", said)
        except (OSError, StoreError):
            lease.close()
            raise
        return lease

    def release(self, lease: Lease, message: str = "") -> None:
        """Carry it out no longer; ``message`` is why if it is not done."""
        with lease:
            if lease.number == self.leases.newest():  # else another one has the last word
                self._say("message", message)

    def _say(self, what: str, words: str) -> None:
        self.files.write_json(CONDUCTOR, {what: words}, durable=False)

    def _said(self, what: str) -> str:
        try:
            return (self.files.read_json(CONDUCTOR, _ENDED) or {}).get(what, "")
        except StoreError:
            return ""

    def ask_to_stop(self) -> None:
        """Its conductor, in whatever process, stops at the end of the step; the run keeps a checkpoint."""
        self.files.write(STOP, b"", durable=False)
        for cell in self.cells:
            record = self.record(cell)
            if record.run and not record.figures and self.run(record).status().is_live:
                self.run(record).command("stop")

    def shall_stop(self) -> bool:
        return self.files.exists(STOP)


def _seconds_left(cells: list[CellState], shares: list[float]) -> float | None:
    """At the mean pace of the cells that are done, as many at a time as there are now."""
    took = [cell.record.figures["seconds"] for cell in cells if cell.state == "done"]
    at_once = max(1, sum(cell.state in ("running", "measuring") for cell in cells))
    return (len(shares) - sum(shares)) * sum(took) / len(took) / at_once if took else None


def studies_in(runs: Path, kind: str = "") -> list[Study]:
    """The readable studies below ``runs``, newest first; only those of ``kind`` if one is given."""
    return [study for study in _all_in(runs) if not study.unreadable and kind in ("", study.kind)]


def unreadable_in(runs: Path) -> list[Study]:
    """The others, newest first."""
    return [study for study in _all_in(runs) if study.unreadable and not is_unborn(study.path)]


def _all_in(runs: Path) -> list[Study]:
    folder = Path(runs) / FOLDER
    paths = [path for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []
    return [Study(path) for path in sorted(paths, reverse=True) if is_plain(path.name) and path.name[0] != "."]


def left_in(runs: Path) -> list[Study]:
    """Those that somebody should take up, the oldest first."""
    return [study for study in reversed(_all_in(runs)) if study.was_left()]


def studies_with(runs: Path, run_ids: Collection[str]) -> list[Study]:
    """The studies below ``runs`` of which a cell is one of these runs, newest first."""
    return [study for study in studies_in(runs) if any(study.record(cell).run in run_ids for cell in study.cells)]


def find_cell(study: Study, key: str) -> Cell:
    """The cell of ``study`` with this ``key``; a unique part of it will do. Raises ``RequestError``."""
    keys = [cell.key for cell in study.cells]
    fitting = [key] if key in keys else [one for one in keys if key in one]
    if len(fitting) != 1:
        problem = "fits several runs" if fitting else "is part of the name of no run"
        near = ", ".join((fitting or keys)[:NAMED])
        raise RequestError("only", key, f"{problem} of study {study.id}; of it are {near}.")
    return study.cells[keys.index(fitting[0])]


def find_study(runs: Path, study_id: str) -> Study:
    """The study ``study_id``; a unique beginning or end of the id will do. Raises ``RequestError``."""
    studies = studies_in(runs)
    exact = [study for study in studies if study.id == study_id]
    fitting = exact or [s for s in studies if study_id and (s.id.startswith(study_id) or s.id.endswith(study_id))]
    if len(fitting) != 1:
        problem = "fits several studies" if fitting else "is not the id of a study"
        raise RequestError("study", study_id, f"{problem} in {runs}; `python -m dfkd_core study list` lists them.")
    return fitting[0]
