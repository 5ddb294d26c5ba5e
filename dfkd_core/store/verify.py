"""What is damaged in a run's folder, in words. Does not import torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from dfkd_core.errors import DamagedError, StoreError
from dfkd_core.store.events_log import COLLECTED, REAL, EventReader, read_arrays, read_facts, read_phases, read_picture
from dfkd_core.store.folder import CHECKPOINTS, MARK, SPECS, RunFolder
from dfkd_core.store.sealed import unsealed


def damage(folder: RunFolder, reader: EventReader | None = None) -> list[str]:
    """Of the files that say what the run is and did, quickly enough for a list of many runs: ``FILE is damaged: why``,
    and for the log ``FILE, line N: why``. ``reader``: one that has read the log already."""
    small = [_check(folder, partial(folder.files.read_json, *file)) for file in folder.small_files().items()]
    small += [f"{name} is gone" for name in SPECS if not folder.files.exists(name)]
    log = []
    if reader is None:
        reader = EventReader(folder)
        log = [_check(folder, reader.read)]
    return [*filter(None, [*small, *log]), *reader.damaged]


def verify(folder: RunFolder) -> list[str]:
    """Of all its files: those of ``damage``, samples, checkpoints, and what the manifest has a hash of."""
    found: list[str] = []
    try:
        found += damage(folder)
        found += [f"{name} is no regular file" for name in folder.files.strange()]
        for check in _artefacts(folder):
            said = _check(folder, check)
            if said and not any(said.split(" is ")[0] in known for known in found):  # once a file
                found.append(said)
    except (OSError, StoreError) as error:
        found.append(_words(folder, error))
    return found


def _check(folder: RunFolder, read: Callable[[], Any]) -> str:
    try:
        read()
    except (OSError, StoreError) as error:
        return _words(folder, error)
    return ""


def _words(folder: RunFolder, error: Exception) -> str:
    said = getattr(error, "strerror", None) or str(error)
    return said.removeprefix(f"{folder.files.title}: ")


def _artefacts(folder: RunFolder) -> Iterator[Callable[[], Any]]:
    """Each reads one, and raises where it is not as it was written."""
    files = folder.files
    for row in EventReader(folder).read():
        if row["type"] in ("samples", "probes"):
            yield partial(read_picture, folder, row["file"])
        elif row["type"] == "phases":
            yield partial(read_phases, folder, row)
    pictures = [name for name in files.names("analysis") if name.endswith(".png")]
    for stem in (REAL, COLLECTED, *(f"analysis/{name}".removesuffix(".png") for name in pictures)):
        if files.exists(f"{stem}.npz") or files.exists(f"{stem}.png"):
            yield partial(read_picture, folder, stem)
    yield partial(read_facts, folder)
    for name in files.names(CHECKPOINTS):
        if name.endswith(".json"):
            yield partial(_check_listed, folder, f"{CHECKPOINTS}/{name}", _check_checkpoint)
    for name in files.walk():
        if name.startswith("analysis/") and name.endswith(".npz"):
            yield partial(_check_listed, folder, name, read_arrays)
        elif (name.startswith("analysis/") and name.endswith(".json")) or name.endswith("/control.jsonl"):
            yield partial(_check_listed, folder, name, _check_seals)
    for name, sha256 in _manifest(folder).items():
        yield partial(files.read, name, sha256)


def _check_listed(folder: RunFolder, name: str, check: Callable[[RunFolder, str], Any]) -> None:
    """Of a file that was there when its folder was listed. One that is gone since is no damage: a run that goes on
    keeps its last checkpoints only."""
    try:
        check(folder, name)
    except (OSError, StoreError):
        if folder.files.exists(name):
            raise


def _check_checkpoint(folder: RunFolder, name: str) -> None:
    mark = folder.files.read_json(name, MARK)
    if mark is not None:
        folder.files.read(f"{name.removesuffix('.json')}.safetensors", mark["sha256"])


def _check_seals(folder: RunFolder, name: str) -> None:
    data = folder.files.read(name)
    for text in filter(None, data.split(b"\n") if name.endswith(".jsonl") else [data]):
        try:
            unsealed(text)
        except ValueError as error:
            raise DamagedError(f"{folder.files.title}: {name} is damaged: {error}") from None


def _manifest(folder: RunFolder) -> dict[str, str]:
    """Of a run that is done; ``damage`` says so where it is not readable."""
    try:
        return folder.manifest()
    except StoreError:
        return {}
