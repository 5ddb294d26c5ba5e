"""Deleting with undo: a run that is thrown away lies in ``.trash`` beside the others until that is emptied."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

from dfkd_core.errors import StoreError, in_words
from dfkd_core.store.folder import ACTIVE, RunFolder
from dfkd_core.store.listing import runs_in

TRASH = ".trash"


def throw_away(folder: RunFolder) -> None:
    """Put a run into the trash. Raises ``StoreError`` for one that goes on, and where that is not possible. Waits for
    the next heartbeat where there are no locks."""
    status = folder.status()
    if status.is_live or (status.state in ACTIVE and folder.leases.holder(patient=True) is not None):
        raise StoreError(f"run {folder.id} is {status.state}; stop it before it is deleted")
    _move(folder.path, _trash(folder.path.parent) / folder.id)


def thrown_away(runs: Path) -> list[RunFolder]:
    """The runs in the trash, newest first; none where that is a link to elsewhere."""
    with suppress(StoreError):
        return runs_in(_trash(runs))
    return []


def _trash(runs: Path) -> Path:
    path = Path(runs) / TRASH
    if path.is_symlink():
        raise StoreError(f"{path} is a link, and what is deleted stays beside the runs")
    return path


def restore(runs: Path, run_id: str) -> RunFolder:
    """Take a run out of the trash. Raises ``StoreError`` where it is not there, or another one has its place."""
    if run_id not in {folder.id for folder in thrown_away(runs)}:
        raise StoreError(f"run {run_id} is not in the trash of {runs}")
    _move(Path(runs) / TRASH / run_id, Path(runs) / run_id)
    return RunFolder(Path(runs) / run_id)


def empty_trash(runs: Path) -> None:
    """Delete for good what lies there."""
    for folder in thrown_away(runs):
        folder.discard()
    shutil.rmtree(Path(runs) / TRASH, ignore_errors=True)


def _move(source: Path, target: Path) -> None:
    """At once, or not at all."""
    if os.path.lexists(target):
        raise StoreError(f"run {source.name}: {target.parent} has one of that name already")
    try:
        target.parent.mkdir(exist_ok=True)
        source.rename(target)
    except OSError as error:
        raise StoreError(f"run {source.name} could not be moved to {target.parent} ({in_words(error)})") from None
