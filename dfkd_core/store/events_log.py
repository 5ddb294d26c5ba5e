"""The append-only event log, its writer, and readers that follow it with a cursor.

A row is one JSON line with its checksum. ``seq`` counts rows over all attempts. Some rows (``REPLAYED``) come again
when a run is resumed from a checkpoint: the writer of the resumed attempt skips those that the log holds already, so no
reader sees a row twice, none that was seen is lost, and one that was damaged is written anew. Once a run turns, since a
knob was changed before it had caught up with its log (``TURNS``), rows of later steps are written anew as well, in
place of those before.
"""

from __future__ import annotations

import io
import os
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from typing import Annotated, Any

import numpy as np
from PIL import Image
from pydantic import Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from dfkd_core.errors import DamagedError, StoreError, explain
from dfkd_core.events import REPLAYED, TURNS, Event, Phase, Phases, Samples, to_row
from dfkd_core.store.folder import RunFolder
from dfkd_core.store.rows import FINITE, ROW, Count
from dfkd_core.store.sealed import sealed, unsealed
from dfkd_core.store.sheets import SPRITE_COLUMNS, in_rows, is_regular, png, sheet

LOG = "events.jsonl"
REAL = "real/real"  # the stem of the real images that a run keeps beside its samples
COLLECTED = "collected/collected"  # the same of the collected ones, with a JSON of facts beside it
_KNOWN_TYPES = {event.__name__.lower() for event in (*REPLAYED, Phases)}


class Facts(TypedDict):
    """What is known of the collected images of a run (see ``runs.survey``)."""

    __pydantic_config__ = FINITE  # type: ignore[misc]
    source: str
    title: str
    ratio: float
    original: Count
    collecting: str
    count: Annotated[int, Field(gt=0, lt=2**53)]
    unseen: Count
    histogram: list[Count]
    mean_confidence: float
    sha256: str


_FACTS = TypeAdapter(Facts)


@dataclass(frozen=True)
class Cursor:
    """How far a reader has read: bytes ``offset`` of ``attempt``'s log, in which ``line`` lines end."""

    attempt: int = 1
    offset: int = 0
    line: int = 0


class EventReader:
    """Follows one run's log. Each row once, in order, while the writer goes on, but for those that were turned away
    from: who has read them sees it by ``turned``.

    ``damaged``: the lines that were passed over, as ``FILE, line N: why``.
    """

    def __init__(self, folder: RunFolder, cursor: Cursor | None = None) -> None:
        self.folder = folder
        self.cursor = cursor or Cursor()
        self.damaged: list[str] = []

    def read(self) -> list[dict[str, Any]]:
        """The rows since the cursor; moves it. A torn last line waits, or is passed over if a later attempt began."""
        rows: list[dict[str, Any]] = []
        for attempt in self.folder.attempts():
            if attempt < self.cursor.attempt:
                continue
            if attempt > self.cursor.attempt:
                self.cursor = Cursor(attempt, 0)
            name, (_, offset, passed) = self.folder.attempt_file(attempt, LOG), astuple(self.cursor)
            *lines, torn = self.folder.files.tail(name, offset).split(b"\n")
            if _is_whole(torn[:-1]):  # not torn, its newline was damaged
                lines.append(torn)
            for line, text in enumerate(lines, passed + 1):
                try:
                    rows.append(ROW.validate_json(unsealed(text)))
                except ValidationError as error:
                    self.damaged.append(f"{name}, line {line}: {explain(error)}")
                except ValueError as error:
                    self.damaged.append(f"{name}, line {line}: {error}")
            self.cursor = Cursor(attempt, offset + sum(map(len, lines)) + len(lines), passed + len(lines))
        return _standing(rows)


def turned(row: dict[str, Any], furthest: int) -> bool:
    """Whether with this row a run that had come to the step ``furthest`` turned away from what it had logged."""
    return row["type"] == "applied" and row["command"] in TURNS and row["step"] < furthest


def _standing(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    kept, furthest = list[dict[str, Any]](), 0
    for row in rows:
        if turned(row, furthest):
            kept = [one for one in kept if one["step"] <= row["step"] or one["type"] not in _KNOWN_TYPES]
            furthest = row["step"]
        kept.append(row)
        furthest = max(furthest, row["step"])
    return kept


def _is_whole(text: bytes) -> bool:
    try:
        return bool(unsealed(text))
    except ValueError:
        return False


class EventWriter:
    """Appends one attempt's rows, a whole batch per write."""

    def __init__(self, folder: RunFolder, attempt: int) -> None:
        self.folder = folder
        earlier = EventReader(folder).read()
        self._seq = max((row["seq"] for row in earlier), default=0)
        self._known = Counter((row["type"], row["step"]) for row in earlier if row["type"] in _KNOWN_TYPES)
        self._furthest = max((step for _, step in self._known), default=0)
        self._pending: list[bytes] = []
        self._file = folder.files.append(folder.attempt_file(attempt, LOG))
        self._good = self._file.tell()

    def add(self, event: Event, elapsed: float) -> bool:
        """Queue a row; ``elapsed`` are seconds of training. False if the log has it already."""
        row = {"seq": self._seq + 1, "elapsed": round(elapsed, 3), **to_row(event)}
        if turned(row, self._furthest):
            self._known = Counter({known: count for known, count in self._known.items() if known[1] <= event.step})
        known = self._known[row["type"], event.step] > 0
        if not known:
            if isinstance(event, Samples):
                row["file"] = f"{row['type']}/{event.step:08d}"
                store_samples(self.folder, row["file"], event.images, event.columns)
            if isinstance(event, Phases):
                row["file"] = f"phases/{event.step:08d}.npz"
                _store_phases(self.folder, row["file"], event)
            self._pending.append(sealed(row) + b"\n")
            self._seq += 1
        else:
            self._known[row["type"], event.step] -= 1
        return not known

    def flush(self, durable: bool = False) -> None:
        """Write what is queued. After an ``OSError`` (disk full) the log ends in a whole row and the others wait."""
        batch = rest = b"".join(self._pending)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError:
            # Rows that went out whole stay, a reader may have seen them; a torn one would spoil the next.
            self._pending = self._pending[-rest.count(b"\n") :]
            self._good += len(batch) - sum(map(len, self._pending))
            os.truncate(self._file.fileno(), self._good)
            raise
        self._good += len(batch)
        self._pending.clear()
        if durable:
            os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


def store_samples(folder: RunFolder, stem: str, images: np.ndarray, columns: dict[str, np.ndarray]) -> None:
    """(N, H, W, C) uint8 as one lossless PNG sheet, columns as NPZ; ``stem`` is relative to the run's folder."""
    picture, named = png(in_rows(images), compress_level=1), dict[str, Any](columns)
    folder.files.write(f"{stem}.png", picture, durable=False)
    store_arrays(folder, f"{stem}.npz", shape=np.array(images.shape), crc32=np.array(zlib.crc32(picture)), **named)


def _store_phases(folder: RunFolder, file: str, event: Phases) -> None:
    arrays: dict[str, Any] = {}
    for phase in event.phases:
        given = {"images": phase.images} if phase.images is not None else {}
        arrays |= {f"{phase.name}/{name}": array for name, array in {**given, **phase.arrays}.items()}
    store_arrays(folder, file, **arrays)


def store_arrays(folder: RunFolder, name: str, **arrays: Any) -> None:
    """One NPZ file of the run's folder. Its archive's comment is a checksum of all the rest: those of its entries do
    not cover the directory."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    data = buffer.getvalue()[:-2] + b"\x08\x00"  # where the length of the comment stands
    folder.files.write(name, b"%s%08x" % (data, zlib.crc32(data)), durable=False)


# --- reading them: each raises ``StoreError`` where a file is missing or damaged ----------------------------------


@contextmanager
def _readable(folder: RunFolder, name: str) -> Iterator[None]:
    try:
        yield
    except StoreError:
        raise
    except Exception:  # a damaged file can fail in any way of zipfile, zlib, numpy or Pillow
        raise DamagedError(f"run {folder.id}: {name} is missing or damaged") from None


def read_arrays(folder: RunFolder, name: str, wanted: Iterable[str] | None = None) -> dict[str, np.ndarray]:
    """The arrays of one NPZ file; only those ``wanted`` that it has, if any are named."""
    with _readable(folder, name):
        data = folder.files.read(name)
        if data[-8:] != b"%08x" % zlib.crc32(data[:-8]):
            raise ValueError("its checksum does not fit")
        with np.load(io.BytesIO(data), allow_pickle=False) as stored:
            return {key: stored[key] for key in (stored.files if wanted is None else wanted) if key in stored.files}


def read_facts(folder: RunFolder) -> Facts | None:
    """Of the collected images; None where the run kept none."""
    return folder.files.read_json(f"{COLLECTED}.json", _FACTS)


def read_phases(folder: RunFolder, row: dict[str, Any]) -> tuple[Phase, ...]:
    """The phases of one ``phases`` row, in order."""
    arrays = read_arrays(folder, row["file"])
    with _readable(folder, row["file"]):
        found: dict[str, dict[str, np.ndarray]] = {name: {} for name in row["values"]}
        for key, values in arrays.items():
            name, _, array = key.partition("/")
            found[name][array] = values
    return tuple(Phase(name, row["values"][name], arrays.pop("images", None), arrays) for name, arrays in found.items())


def read_picture(folder: RunFolder, stem: str) -> tuple[bytes, tuple[int, ...], dict[str, np.ndarray]]:
    """The PNG of a sheet, the (N, H, W, C) of its images, and their columns of N rows, which all fit each other."""
    columns = read_arrays(folder, f"{stem}.npz")
    with _readable(folder, f"{stem}.npz"):
        count, height, width, channels = shape = tuple(columns.pop("shape").tolist())
        checksum = columns.pop("crc32")
        if not is_regular(columns, count):
            raise ValueError("not the columns of its images")
    with _readable(folder, f"{stem}.png"):
        picture = folder.files.read(f"{stem}.png")
        size, bands = (SPRITE_COLUMNS * width, -(-count // SPRITE_COLUMNS) * height), "RGB" if channels == 3 else "L"
        opened = Image.open(io.BytesIO(picture), formats=["PNG"])
        if zlib.crc32(picture) != checksum or (opened.size, opened.mode) != (size, bands):
            raise ValueError("not the picture that these columns belong to")
    return picture, shape, columns


def read_samples(folder: RunFolder, stem: str) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Images (N, H, W, C) uint8 and columns of one ``samples`` row (its ``file``), or of ``REAL``."""
    data, (count, height, width, channels), columns = read_picture(folder, stem)
    with _readable(folder, f"{stem}.png"):
        picture = np.asarray(Image.open(io.BytesIO(data))).reshape(-1, height, SPRITE_COLUMNS, width, channels)
        return picture.swapaxes(1, 2).reshape(-1, height, width, channels)[:count], columns


def read_sheet(folder: RunFolder, stem: str, **about: Any) -> dict[str, Any] | None:
    """The same as pages take it, without decoding an image; None where files are missing or damaged.

    ``about``: what else is known of the sheet.
    """
    try:
        picture, shape, columns = read_picture(folder, stem)
    except (OSError, StoreError):
        return None
    return sheet(picture, shape, columns, **about)
