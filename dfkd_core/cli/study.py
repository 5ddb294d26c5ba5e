"""``study``: one command for each kind of study, and to continue, list and show them."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number
from tqdm import tqdm

from dfkd_core import engine as engines
from dfkd_core.cli.flags import (
    EngineName,
    Json,
    Runs,
    TakeOver,
    asked,
    dispatched,
    flag,
    group,
    runs_of,
    training,
    with_flags,
)
from dfkd_core.engine import Engine
from dfkd_core.errors import RequestError
from dfkd_core.runs.spec import NOT_DATA_FREE, RunSpec
from dfkd_core.store import runs_in
from dfkd_core.study import (
    Cell,
    Conductor,
    Kind,
    Progress,
    Record,
    Study,
    available,
    find,
    find_cell,
    find_study,
    studies_in,
    unreadable_in,
)
from dfkd_core.study import file as files
from dfkd_core.study.estimate import Pace, known_paces
from dfkd_core.study.folder import OVER
from dfkd_core.study.reuse import Reuse

StudyId = Annotated[str, Parameter(help="A study's id, or the unique beginning or end of one.")]
File = Annotated[str, Parameter(help="A YAML file, or the name of one that comes with the lab.")]
Slots = Annotated[
    int | None,
    Parameter(help="Runs at a time on each device.", validator=Number(gte=1, lte=1024), show_default="as many as fit"),
]
ReuseFlag = Annotated[
    Reuse, Parameter(help="Take over the results of equal runs that are done already, of the same code or of any.")
]

study = group("study", "Carry out a study of many runs, continue, list or show one.")


# --- beginning one ---------------------------------------------------------------------------------------------


def _command(kind: Kind[Any], method: str) -> Callable[..., int]:
    def begin(
        *, slots: Slots = None, engine: EngineName = "", runs: Runs = None, as_json: Json = False, **given: Any
    ) -> int:
        own = {name: given.pop(name) for name in kind.Request.own() if given.get(name) is not None}
        knobs, run = asked(method, given)
        if "method" not in kind.varies:
            run["method"] = method
        folder = runs_of(runs)
        return _conduct(lambda: kind.begin(folder, knobs=knobs, run=run, **own), folder, engine, as_json, slots)

    own = (flag(name, kind.Request.model_fields[name], kind.Request.about(name)) for name in kind.Request.own())
    return with_flags(begin, *own, *training(method, kind.varies))


for _kind in available().values():
    study.command(dispatched(f"study {_kind.name}", _kind.title, _kind.method, partial(_command, _kind)))


@study.command
def run(
    file: File,
    /,
    *,
    slots: Slots = None,
    reuse: ReuseFlag = "same-code",
    engine: EngineName = "",
    runs: Runs = None,
    as_json: Json = False,
) -> int:
    """Carry out the study that a file describes."""
    (kind, given), folder = _filed(file), runs_of(runs)
    return _conduct(lambda: kind.begin(folder, reuse, **given), folder, engine, as_json, slots)


study.default(run)


def _filed(file: str) -> tuple[Kind[Any], dict[str, Any]]:
    """The kind and the fields that a file says, checked. Raises ``RequestError``."""
    filed = files.read_file(files.find_file(file))
    kind = find(filed.kind)
    files.request_of(kind, filed.given)
    return kind, filed.given


@study.command(name="plan")
def foretell(
    file: File,
    /,
    *,
    slots: Slots = None,
    reuse: ReuseFlag = "same-code",
    calibrate: Annotated[bool, Parameter(help="First try a few steps of what was never run here.")] = False,
    runs: Runs = None,
    as_json: Json = False,
) -> int:
    """Say what the study that a file describes will take: runs, time, disk. Nothing is started."""
    from dfkd_core.study import plan as plans

    kind, given = _filed(file)
    specs = [spec for _, spec in kind.specs(kind.Request.build(given))]
    at_once = min(_at_once(specs, slots), len(specs))
    paces: list[Pace] = []
    if calibrate:
        known = known_paces(runs_in(runs_of(runs)))
        paces = plans.calibrate(specs, known, lambda words: print(f"calibrating: {words}", file=sys.stderr))
    found = plans.plan(kind, given, runs_of(runs), at_once, reuse, paces)
    if as_json:
        print(json.dumps({**asdict(found), "paces": [asdict(pace) for pace in paces]}))
        return 0
    for refused in found.refused:
        print(f"cannot: {', '.join(f'{name} {value}' for name, value in refused.labels.items())}. {refused.why}")
    for said in found.notes:
        print(said)
    print(plans.in_words(found))
    return 0


@study.command(name="file")
def as_file(id: StudyId, /, *, runs: Runs = None) -> int:
    """Print the file of a study: what it was begun with, to be changed and run again."""
    found = find_study(runs_of(runs), id)
    print(files.text_of(found, find(found.kind)), end="")
    return 0


@study.command(name="files")
def all_files(*, as_json: Json = False) -> int:
    """List the files that come with the lab."""
    for name, path in files.shipped().items():
        kind = files.read_file(path).kind
        about = path.read_text("utf-8").splitlines()[0].removeprefix("# ")
        print(json.dumps({"name": name, "kind": kind, "about": about}) if as_json else f"{name:<26}{kind:<12}{about}")
    return 0


# --- carrying one out ------------------------------------------------------------------------------------------


@study.command(name="continue")
def go_on(
    id: StudyId,
    /,
    *,
    slots: Slots = None,
    only: Annotated[str, Parameter(help="One of its runs, by a part of its name: that one alone.")] = "",
    take_over: TakeOver = False,
    engine: EngineName = "",
    runs: Runs = None,
    as_json: Json = False,
) -> int:
    """Go on with a study; what failed is tried again."""
    found = find_study(runs_of(runs), id)
    key = find_cell(found, only).key if only else ""
    return _conduct(lambda: found, found.runs, engine, as_json, slots, take_over, key)


def _conduct(
    begin: Callable[[], Study],
    runs: Path,
    engine: str,
    as_json: bool,
    slots: int | None = None,
    take_over: bool = False,
    only: str = "",
) -> int:
    """With a line for each run that has ended. An engine that was asked for is there before ``begin`` makes the study:
    it may not be to be had, or have other devices. Exit status 1 if a run failed, or the study could not go on."""
    carries_out = engines.find(engine, runs) if engine or os.environ.get(engines.VARIABLE) else None
    try:
        study = begin()
        kind, ended = find(study.kind), study.progress()
        carries_out = carries_out or _usual_engine(study, slots, ended.total - ended.done)
        with tqdm(
            total=ended.total, initial=ended.done, unit="run", disable=as_json, dynamic_ncols=True, file=sys.stderr
        ) as bar:

            def after(cell: Cell, record: Record) -> None:
                bar.write(kind.ended(cell, record), file=sys.stderr)
                bar.update()

            as_jobs = not carries_out.in_this_thread
            conductor = Conductor(study, carries_out, as_jobs, None if as_json else after, slots, only)
            with suppress(KeyboardInterrupt):  # while it measured; a run hears it by itself and keeps a checkpoint
                conductor.conduct(take_over)
    finally:
        if carries_out is not None:
            carries_out.close()
    progress = study.progress()
    if as_json:
        print(json.dumps(_summary(study, progress)))
    else:
        print("\n".join(_found(study, progress)))
        print(f"{progress.state}: {progress.done} / {progress.total} runs, {progress.failed} failed, study {study.id}")
    if progress.message:
        print(f"dfkd_core: study {study.id}: {progress.message}", file=sys.stderr)
    failed = any(state.state == "failed" for state in progress.cells if only in ("", state.cell.key))
    return 1 if failed or progress.message else 0


def _usual_engine(study: Study, slots: int | None, left: int) -> Engine:
    """Runs in this process where there is room for one at a time, else in workers."""
    at_once = min(_at_once([cell.spec for cell in study.cells], slots), left)
    return engines.LocalEngine(study.runs) if at_once > 1 else engines.InlineEngine(study.runs)


def _at_once(specs: Sequence[RunSpec], slots: int | None) -> int:
    """Runs that train at the same time, on all devices."""
    return (slots or engines.usual_slots(specs)) * len({spec.device for spec in specs})


# --- looking ---------------------------------------------------------------------------------------------------


@study.command(name="list")
def shown(*, runs: Runs = None, as_json: Json = False) -> int:
    """List the studies."""
    for study in studies_in(runs_of(runs)):
        progress = study.progress()
        try:
            line = f"{study.id}  {study.kind:<10} {progress.state:<8} {progress.done}/{progress.total}  {study.title}"
            print(json.dumps(_summary(study, progress)) if as_json else line)
        except RequestError as error:  # of a kind that is not here
            print(f"{study.id}  {error}", file=sys.stderr)
    for study in unreadable_in(runs_of(runs)):
        print(f"{study.id}  damaged: {study.unreadable}", file=sys.stderr)
    return 0


@study.command
def show(id: StudyId, /, *, runs: Runs = None, as_json: Json = False) -> int:
    """Show one study."""
    study = find_study(runs_of(runs), id)
    progress = study.progress()
    if as_json:
        print(json.dumps(_summary(study, progress)))
        return 0
    kind, found = find(study.kind), _found(study, progress)
    where = f"{progress.state}, {progress.done} / {progress.total}  {progress.message}"
    print(f"{study.kind}, {study.title}: {where}".strip())
    for state in progress.cells:
        said = state.state if state.state not in OVER else kind.ended(state.cell, state.record)
        print(said if state.state == "done" else f"{state.cell.key}: {said}")
    print("\n".join(found))
    return 0


def _found(study: Study, progress: Progress) -> list[str]:
    """The table and what it says."""
    kind, settings = find(study.kind), study.settings
    said = kind.verdict(settings, progress.cells)
    marked = [f"These runs are {NOT_DATA_FREE}."] if any(cell.spec.not_data_free for cell in study.cells) else []
    return [*marked, *kind.lines_of(study, progress), *filter(None, [said])]


def _summary(study: Study, progress: Progress) -> dict[str, Any]:
    kind, settings = find(study.kind), study.settings
    table = kind.table(settings, progress.cells)
    return {
        "id": study.id,
        "kind": study.kind,
        "title": study.title,
        "settings": settings,
        **{name: value for name, value in asdict(progress).items() if name != "cells"},
        "cells": [
            {"key": state.cell.key, "labels": state.cell.labels, "state": state.state, **asdict(state.record)}
            for state in progress.cells
        ],
        "table": table,
        "reading": kind.verdict(settings, progress.cells, table),
    }
