"""The folder of all runs: which lie there, and what starts that were killed have left."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Collection
from pathlib import Path

from dfkd_core.errors import RequestError
from dfkd_core.store.folder import FOLDERS, RESERVE, SPECS, RunFolder
from dfkd_core.store.place import is_plain

MOMENT_SECONDS = 60
_ID = re.compile(r"\d{8}-\d{6}-[0-9a-f]{6}")
_BEGUN = re.compile(rf"{re.escape(RESERVE)}|\.(spec|spec\.copy|study)\.json\.\w+\.part")
STUDIES, CELLS = "studies", "cells"
CACHE = "analysis-cache"  # below the runs: what is known of real images


def _is_run(path: str | Path) -> bool:
    return any(os.path.lexists(f"{path}/{name}") for name in SPECS)


def runs_folder() -> Path:
    """Where runs are kept: ``DFKD_RUNS``, else ``runs`` in the current folder."""
    return Path(os.environ.get("DFKD_RUNS") or "runs").expanduser()


def run_in(runs: Path, run_id: str) -> RunFolder | None:
    """The run of that id below ``runs``; None if there is none, and for what is no id but a path."""
    path = Path(runs) / run_id if is_plain(run_id) else None
    return RunFolder(path) if path is not None and _is_run(path) else None


def runs_in(runs: Path) -> list[RunFolder]:
    """All runs below ``runs``, newest first."""
    if not Path(runs).is_dir():
        return []
    found = [RunFolder(path) for path in Path(runs).iterdir() if is_plain(path.name) and _is_run(path)]
    return sorted(found, key=lambda folder: folder.id, reverse=True)


def orphans_in(runs: Path, known: Collection[str] = ()) -> list[Path]:
    """Folders of runs and studies that never came to be: a start that was killed before anything was written down.
    ``known``: ids of runs, which need not be looked at."""
    places = (Path(runs), known), (Path(runs) / STUDIES, ())
    found = [
        place / name
        for place, others in places
        if place.is_dir() and not (place.is_symlink() and place.name == STUDIES)
        for name in sorted(set(os.listdir(place)).difference(others))
    ]
    return [path for path in found if is_unborn(path) and not _is_young(path)]


def remove_orphans(runs: Path) -> None:
    for path in orphans_in(runs):
        RunFolder(path).discard()


def _is_young(path: Path) -> bool:
    try:
        return time.time() - path.lstat().st_mtime < MOMENT_SECONDS  # perhaps just being made
    except OSError:
        return True


def is_unborn(path: Path) -> bool:
    """Whether nothing lies in the folder of a run, or a study, but what its making begins with."""
    try:
        return (
            _ID.fullmatch(path.name) is not None
            and not path.is_symlink()
            and all(
                entry.name in (*FOLDERS, CELLS) and entry.is_dir(follow_symlinks=False) and not os.listdir(entry)
                if not _BEGUN.fullmatch(entry.name)
                else entry.is_file(follow_symlinks=False)
                for entry in os.scandir(path)
            )
        )
    except OSError:
        return False


def find_run(runs: Path, run_id: str) -> RunFolder:
    """The run ``run_id`` below ``runs``; a unique beginning or end of the id will do.

    Raises ``RequestError`` if there is none or more than one.
    """
    names = [path.name for path in runs.iterdir() if is_plain(path.name)] if runs.is_dir() else []
    exact = [name for name in names if name == run_id]
    fitting = exact or [name for name in names if run_id and (name.startswith(run_id) or name.endswith(run_id))]
    if len(fitting) != 1:
        problem = "fits several runs" if fitting else "is not the id of a run"
        raise RequestError("run", run_id, f"{problem} in {runs}; `python -m dfkd_core runs` lists them.")
    return RunFolder(runs / fitting[0])
