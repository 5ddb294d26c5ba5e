"""Runs and studies for elsewhere: as one file for another lab, or in the formats of other programs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from dfkd_core.analysis import formats, student
from dfkd_core.cli.flags import Runs, opened_file, run_of, runs_of
from dfkd_core.errors import RequestError
from dfkd_core.store import RunFolder
from dfkd_core.study.exchange import pack, unpack
from dfkd_core.study.folder import Study, find_study, studies_in

Id = Annotated[str, Parameter(help="Of a run or a study, or the unique beginning or end of one.")]
Target = Annotated[Path | None, Parameter(help="The file to write; one that is named after the run unless given.")]
Kind = Annotated[
    Literal["zip", "html", "csv", "parquet", "safetensors", "torch", "onnx", "tensorboard"],
    Parameter(
        name="--as", help="zip: all of it, for another lab. html: a report. Then logged numbers, and a run's student."
    ),
]


def export(id: Id, file: Target = None, /, *, kind: Kind = "zip", runs: Runs = None) -> int:
    """Write a run, or a study with all its runs, as one file."""
    place = runs_of(runs)
    is_study = any(study.id.startswith(id) or study.id.endswith(id) for study in studies_in(place))
    what = find_study(place, id) if is_study else run_of(runs, id)
    target = file or Path(f"{what.id}.zip" if kind == "zip" else f"{what.id}{formats.FORMATS[kind].ending}")
    if target.exists():
        raise RequestError("file", str(target), "is there already; name another one.")
    beside = target.with_name(f".{target.name}.part")
    try:
        with beside.open("wb") as opened:
            if kind == "zip":
                pack(what, opened)
            else:
                opened.write(_made(kind, what))
        beside.rename(target)
    finally:
        beside.unlink(missing_ok=True)
    print(f"{target}: {target.stat().st_size / 1e6:.1f} MB")
    if isinstance(what, RunFolder) and kind != "zip" and (loads := formats.FORMATS[kind].loads):
        print(f"It is loaded so, as student{target.suffix}:\n\n{student.snippet(what, loads)}", file=sys.stderr)
    return 0


def _made(kind: str, what: RunFolder | Study) -> bytes:
    if isinstance(what, RunFolder):
        return formats.make(kind, [what])
    if kind == "html":
        from dfkd_core.study.report import report

        return report(what).encode()
    return formats.make(kind, what.folders())


def take_in(file: Annotated[Path, Parameter(help="A ZIP file that a lab exported.")], /, *, runs: Runs = None) -> int:
    """Put the runs and studies of a ZIP file into the folder of runs."""
    with opened_file(file) as opened:
        for found in unpack(opened, runs_of(runs)):
            print(found)
    return 0
