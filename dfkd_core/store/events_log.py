"""The append-only event log, its writer, and readers that follow it with a cursor.

A row is one JSON line. ``seq`` counts rows over all attempts. Some rows (``REPLAYED``) come again when a run is
resumed from a checkpoint: the writer of the resumed attempt skips as many of them as the log already
holds past its checkpoint, so no reader sees a row twice and none that was seen is lost.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from dfkd_core.errors import StoreError
from dfkd_core.events import REPLAYED, Event, Phase, Phases, Samples, to_row
from dfkd_core.store.folder import RunFolder
from dfkd_core.store.sheets import SPRITE_COLUMNS, in_rows, png, sheet

LOG = "events.jsonl"
REAL = "real/real"  # the stem of the real images that a run keeps beside its samples
COLLECTED = "collected/collected"  # the same of the collected ones, with a JSON of facts beside it
_REPLAYED_TYPES = {event.__name__.lower() for event in REPLAYED}


@dataclass(frozen=True)
class Cursor:
    """How far a reader has read: bytes ``offset`` of ``attempt``'s log."""

    attempt: int = 1
    offset: int = 0


class EventReader:
    """Follows one run's log. Each row once, in order, while the writer goes on."""

    def __init__(self, folder: RunFolder, cursor: Cursor | None = None) -> None:
        self.folder = folder
        self.cursor = cursor or Cursor()

    def read(self) -> list[dict[str, Any]]:
        """The rows since the cursor; moves it. A torn last line waits, or is passed over if a later attempt began."""
        rows: list[dict[str, Any]] = []
        for attempt in self.folder.attempts():
            if attempt < self.cursor.attempt:
                continue
            if attempt > self.cursor.attempt:
                self.cursor = Cursor(attempt, 0)
            data = self.folder.files.tail(self.folder.attempt_file(attempt, LOG), self.cursor.offset)
            complete = data[: data.rfind(b"\n") + 1]
            rows += [json.loads(line) for line in complete.splitlines()]
            self.cursor = Cursor(attempt, self.cursor.offset + len(complete))
        return rows


class EventWriter:
    """Appends one attempt's rows, a whole batch per write.

    ``replay_from`` is the number of replayed rows that the checkpoint stands behind (0 for a fresh start).
    """

    def __init__(self, folder: RunFolder, attempt: int, replay_from: int = 0) -> None:
        self.folder = folder
        earlier = EventReader(folder).read()
        self._seq = len(earlier)
        self.replayed = replay_from
        self._known = sum(row["type"] in _REPLAYED_TYPES for row in earlier)
        self._slow = {row["step"] for row in earlier if row["type"] == "phases"}
        self._pending: list[bytes] = []
        self._file = folder.files.append(folder.attempt_file(attempt, LOG))
        self._good = self._file.tell()

    def add(self, event: Event, elapsed: float) -> bool:
        """Queue a row; ``elapsed`` are seconds of training. False if the log has it already."""
        replayed = isinstance(event, REPLAYED)
        known = self.replayed < self._known if replayed else isinstance(event, Phases) and event.step in self._slow
        if not known:
            row = {"seq": self._seq + 1, "elapsed": round(elapsed, 3), **to_row(event)}
            if isinstance(event, Samples):
                row["file"] = f"{row['type']}/{event.step:08d}"
                store_samples(self.folder, row["file"], event.images, event.columns)
            if isinstance(event, Phases):
                row["file"] = f"phases/{event.step:08d}.npz"
                _store_phases(self.folder, row["file"], event)
                self._slow.add(event.step)
            self._pending.append(json.dumps(row, allow_nan=False).encode() + b"\n")
            self._seq += 1
        self.replayed += replayed  # last, so that a full disk above leaves the writer as it was
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
    folder.files.write(f"{stem}.png", png(in_rows(images), compress_level=1), durable=False)
    named: dict[str, Any] = dict(columns)
    store_arrays(folder, f"{stem}.npz", shape=np.array(images.shape), **named)


def _store_phases(folder: RunFolder, file: str, event: Phases) -> None:
    arrays: dict[str, Any] = {}
    for phase in event.phases:
        given = {"images": phase.images} if phase.images is not None else {}
        arrays |= {f"{phase.name}/{name}": array for name, array in {**given, **phase.arrays}.items()}
    store_arrays(folder, file, **arrays)


def store_arrays(folder: RunFolder, name: str, **arrays: Any) -> None:
    """One NPZ file of the run's folder."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    folder.files.write(name, buffer.getvalue(), durable=False)


# --- reading them: each raises ``StoreError`` where a file is missing or damaged ----------------------------------


@contextmanager
def _readable(folder: RunFolder, name: str) -> Iterator[None]:
    try:
        yield
    except StoreError:
        raise
    except Exception:  # a damaged file can fail in any way of zipfile, zlib, numpy or Pillow
        raise StoreError(f"run {folder.id}: {name} is missing or damaged") from None


def read_arrays(folder: RunFolder, name: str, wanted: Iterable[str] | None = None) -> dict[str, np.ndarray]:
    """The arrays of one NPZ file; only those ``wanted`` that it has, if any are named."""
    with _readable(folder, name), folder.files.open(name) as file, np.load(file, allow_pickle=False) as stored:
        return {key: stored[key] for key in (stored.files if wanted is None else wanted) if key in stored.files}


def read_phases(folder: RunFolder, row: dict[str, Any]) -> tuple[Phase, ...]:
    """The phases of one ``phases`` row, in order."""
    arrays = read_arrays(folder, row["file"])
    with _readable(folder, row["file"]):
        found: dict[str, dict[str, np.ndarray]] = {name: {} for name in row["values"]}
        for key, values in arrays.items():
            name, _, array = key.partition("/")
            found[name][array] = values
    return tuple(Phase(name, row["values"][name], arrays.pop("images", None), arrays) for name, arrays in found.items())


def read_samples(folder: RunFolder, stem: str) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Images (N, H, W, C) uint8 and columns of one ``samples`` row (its ``file``), or of ``REAL``."""
    (count, height, width, channels), columns = read_columns(folder, stem)
    with _readable(folder, f"{stem}.png"), folder.files.open(f"{stem}.png") as file:
        picture = np.asarray(Image.open(file)).reshape(-1, height, SPRITE_COLUMNS, width, channels)
        return picture.swapaxes(1, 2).reshape(-1, height, width, channels)[:count], columns


def read_columns(folder: RunFolder, stem: str) -> tuple[tuple[int, ...], dict[str, np.ndarray]]:
    """The shape of the images that ``read_samples`` gives, and their columns."""
    columns = read_arrays(folder, f"{stem}.npz")
    with _readable(folder, f"{stem}.npz"):
        count, height, width, channels = columns.pop("shape").tolist()
        return (count, height, width, channels), columns


def read_sheet(folder: RunFolder, stem: str, **about: Any) -> dict[str, Any] | None:
    """The same as pages take it, without decoding an image; None where files are missing or damaged.

    ``about``: what else is known of the sheet.
    """
    try:
        shape, columns = read_columns(folder, stem)
        picture = folder.files.read(f"{stem}.png")
    except (OSError, StoreError):
        return None
    whole = all(len(values) == shape[0] for values in columns.values())
    return sheet(picture, shape, columns, **about) if whole else None
