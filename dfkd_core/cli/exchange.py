"""Runs and studies as one file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from dfkd_core.cli.flags import Runs, runs_of
from dfkd_core.errors import RequestError
from dfkd_core.store import find_run
from dfkd_core.study.exchange import pack, unpack
from dfkd_core.study.folder import find_study, studies_in

Id = Annotated[str, Parameter(help="Of a run or a study, or the unique beginning or end of one.")]
Archive = Annotated[Path | None, Parameter(help="The file to write; ID.zip here unless given.")]


def export(id: Id, file: Archive = None, /, *, runs: Runs = None) -> int:
    """Write a run, or a study with all its runs, as one ZIP file."""
    place = runs_of(runs)
    is_study = any(study.id.startswith(id) or study.id.endswith(id) for study in studies_in(place))
    what = find_study(place, id) if is_study else find_run(place, id)
    target = file or Path(f"{what.id}.zip")
    if target.exists():
        raise RequestError("file", str(target), "is there already; name another one.")
    with target.open("xb") as opened:
        pack(what, opened)
    print(f"{target}: {target.stat().st_size / 1e6:.1f} MB")
    return 0


def take_in(file: Annotated[Path, Parameter(help="A ZIP file that a lab exported.")], /, *, runs: Runs = None) -> int:
    """Put the runs and studies of a ZIP file into the folder of runs."""
    with file.open("rb") as opened:
        for found in unpack(opened, runs_of(runs)):
            print(found)
    return 0
