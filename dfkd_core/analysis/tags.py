"""Words that people attach to samples, kept in the run's folder as the list of changes, so that each can be undone."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from dfkd_core.analysis.recorded import KINDS
from dfkd_core.errors import DamagedError, RequestError, StoreError
from dfkd_core.store import RunFolder

FILE, PUT_ASIDE = "analysis/tags.json", "analysis/tags.damaged.json"
LONGEST = 40  # characters of a tag
DAMAGED = "The tags of this run could not be read; their file is kept as tags.damaged.json and tags begin anew."
_lock = threading.RLock()  # of all pages of this server


class Change(BaseModel):
    """One change: ``tag`` added to, or removed from, the samples ``indices`` of a sheet."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    add: bool
    kind: str
    step: int = Field(ge=0)
    indices: list[int]
    tag: str


class Changes(BaseModel):
    """The file."""

    changes: list[Change]


_CHANGES = TypeAdapter(Changes)


class Tags:
    """The tags of one run. Every call reads the file, since other pages may write it too.

    ``problem`` is one sentence while the file is damaged, else empty; the next change puts it aside.
    """

    def __init__(self, folder: RunFolder) -> None:
        self.folder, self.problem = folder, ""

    def version(self) -> int:
        """Changes with the tags; 0 while there are none."""
        return self.folder.files.changed(FILE) or 0

    def add(self, kind: str, step: int, indices: Sequence[int], tag: str) -> None:
        """Tag samples of the sheet ``kind`` of ``step``. Raises ``RequestError`` for a tag that is empty or too long,
        for an unknown kind or index, and where the folder cannot be written to; ``StoreError`` for a link there."""
        self._change(True, kind, step, indices, tag)

    def remove(self, kind: str, step: int, indices: Sequence[int], tag: str) -> None:
        """Take a tag off samples; raises as ``add`` does."""
        self._change(False, kind, step, indices, tag)

    def undo(self) -> str:
        """Take back the last change. Returns its tag; empty if there is nothing to take back."""
        with _lock:
            changes = self._read()
            if changes:
                self._write(changes[:-1])
            return changes[-1].tag if changes else ""

    def of(self, kind: str, step: int) -> dict[int, list[str]]:
        """Index -> tags in alphabetical order, of the tagged samples of one sheet."""
        found: dict[int, list[str]] = {}
        for _, _, index, tag in sorted(item for item in _tagged(self._read()) if item[:2] == (kind, step)):
            found.setdefault(index, []).append(tag)
        return found

    def counts(self) -> dict[str, int]:
        """Tag -> number of samples that have it, over all sheets, in alphabetical order."""
        return dict(sorted(Counter(tag for *_, tag in _tagged(self._read())).items()))

    def _change(self, add: bool, kind: str, step: int, indices: Sequence[int], tag: str) -> None:
        tag = _checked(kind, indices, tag)
        with _lock:
            changes = self._read()
            asked = {int(index) for index in indices}
            tagged = {index for *sheet, index, known in _tagged(changes) if (*sheet, known) == (kind, step, tag)}
            affected = asked - tagged if add else asked & tagged
            if affected:  # nothing done is nothing to undo
                change = Change(add=add, kind=kind, step=int(step), indices=sorted(affected), tag=tag)
                self._write([*changes, change])

    def _read(self) -> list[Change]:
        with _lock:
            self.problem = ""
            try:
                stored = self.folder.files.read_json(FILE, _CHANGES)
                return stored.changes if stored is not None else []
            except DamagedError:
                self.problem = DAMAGED
            except StoreError as error:  # a link, for one: nothing to put aside
                self.problem = f"The tags of this run cannot be read: {error}."
            return []

    def _write(self, changes: list[Change]) -> None:
        files = self.folder.files
        try:
            if self.problem:
                files.write(PUT_ASIDE, files.read(FILE))
            files.write_json(FILE, Changes(changes=changes).model_dump())
        except OSError as error:
            raise RequestError("run", self.folder.id, f"its tags cannot be written ({error.strerror}).") from None


def _checked(kind: str, indices: Sequence[int], tag: str) -> str:
    tag = tag.strip()
    if not 1 <= len(tag) <= LONGEST or not tag.isprintable():
        raise RequestError("tag", tag, f"should have 1 to {LONGEST} printable characters.")
    if kind not in KINDS:
        raise RequestError("kind", kind, f"should be one of {', '.join(KINDS)}.")
    if len(indices) == 0 or min(indices) < 0:
        raise RequestError("indices", list(indices), "should name at least one sample, counted from 0.")
    return tag


def _tagged(changes: list[Change]) -> set[tuple[str, int, int, str]]:
    """(kind, step, index, tag) as it stands after all changes."""
    standing: set[tuple[str, int, int, str]] = set()
    for change in changes:
        items = {(change.kind, change.step, index, change.tag) for index in change.indices}
        standing = standing | items if change.add else standing - items
    return standing
