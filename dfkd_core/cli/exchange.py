"""Runs and studies for elsewhere: as one file for another lab, or in the formats of other programs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from dfkd_core.analysis import formats, student
from dfkd_core.cli.flags import Runs, run_of, runs_of
from dfkd_core.errors import RequestError
from dfkd_core.store import find_run
from dfkd_core.study.exchange import pack, unpack
from dfkd_core.study.folder import find_study, studies_in

Id = Annotated[str, Parameter(help="Of a run or a study, or the unique beginning or end of one.")]
Target = Annotated[Path | None, Parameter(help="The file to write; one that is named after the run unless given.")]
Kind = Annotated[
    Literal["zip", "html", "csv", "parquet", "safetensors", "torch", "onnx", "tensorboard"],
    Parameter(
        name="--as", help="zip: all of it, for another lab. html: a report. Then logged numbers, and the student."
    ),
]


def export(id: Id, file: Target = None, /, *, kind: Kind = "zip", runs: Runs = None) -> int:
    """Write a run, or a study with all its runs, as one file."""
    if kind == "zip":
        return _pack(id, file, runs_of(runs))
    folder = run_of(runs, id)
    target = file or Path(formats.FORMATS[kind].name([folder]))
    _check_free(target)
    made = formats.make(kind, [folder])
    with target.open("xb") as opened:
        opened.write(made)
    _said(target)
    if loads := formats.FORMATS[kind].loads:
        print(f"It is loaded so, as student{target.suffix}:\n\n{student.snippet(folder, loads)}", file=sys.stderr)
    return 0


def _pack(id: str, file: Path | None, place: Path) -> int:
    is_study = any(study.id.startswith(id) or study.id.endswith(id) for study in studies_in(place))
    what: Any = find_study(place, id) if is_study else find_run(place, id)
    target = file or Path(f"{what.id}.zip")
    _check_free(target)
    with target.open("xb") as opened:
        pack(what, opened)
    _said(target)
    return 0


def _check_free(target: Path) -> None:
    if target.exists():
        raise RequestError("file", str(target), "is there already; name another one.")


def _said(target: Path) -> None:
    print(f"{target}: {target.stat().st_size / 1e6:.1f} MB")


def take_in(file: Annotated[Path, Parameter(help="A ZIP file that a lab exported.")], /, *, runs: Runs = None) -> int:
    """Put the runs and studies of a ZIP file into the folder of runs."""
    with file.open("rb") as opened:
        for found in unpack(opened, runs_of(runs)):
            print(found)
    return 0
