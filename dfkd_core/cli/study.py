"""``python -m dfkd_core study``: begin, continue, list and show studies."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

from dfkd_core.engine import InlineEngine
from dfkd_core.errors import RequestError
from dfkd_core.study import (
    Cell,
    Conductor,
    Kind,
    Progress,
    Record,
    Study,
    available,
    find,
    find_study,
    studies_in,
)

Asked = Callable[[argparse.Namespace], tuple[dict[str, Any], dict[str, Any]]]


def add_actions(
    parser: argparse.ArgumentParser,
    runs_and_json: Callable[[argparse.ArgumentParser], None],
    training_flags: Callable[[argparse.ArgumentParser, Collection[str]], None],
    asked: Asked,
) -> None:
    """The actions and their flags. ``training_flags`` adds those of ``train`` except one, ``asked`` reads them."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION", parser_class=type(parser))

    def action(name: str, help: str, carry_out: Any) -> argparse.ArgumentParser:
        # Without abbreviations: --seed would be --seeds.
        added = actions.add_parser(name, help=help, description=help, allow_abbrev=False)
        added.set_defaults(carry_out=carry_out)
        runs_and_json(added)
        return added

    for kind in available().values():
        _flags(action(kind.name, kind.title, _begin), kind, training_flags, asked)
    continued = action("continue", "Go on with a study; what failed is tried again.", _continue)
    continued.add_argument("id", help="a study's id, or the unique beginning or end of one")
    action("list", "List the studies.", _list)
    shown = action("show", "Show one study.", _show)
    shown.add_argument("id", help="a study's id, or the unique beginning or end of one")


def _flags(added: argparse.ArgumentParser, kind: Kind[Any], training_flags: Any, asked: Asked) -> None:
    for name in kind.Request.own():
        field, about = kind.Request.model_fields[name], kind.Request.about(name)
        if about["positional"]:
            added.add_argument(name, choices=list(about["choices"]), help=field.description)
        else:
            added.add_argument(f"--{name}", required=field.is_required(), metavar="X", help=field.description)
    training_flags(added, kind.varies)
    added.set_defaults(asked=asked, kind=kind, method=kind.method)


# --- carrying out ----------------------------------------------------------------------------------------------


def _begin(options: argparse.Namespace) -> int:
    kind, (knobs, run) = options.kind, options.asked(options)
    given = {name: value for name in kind.Request.own() if (value := getattr(options, name)) is not None}
    run = {name: value for name, value in run.items() if name not in kind.varies}
    return _conduct(kind.begin(options.runs, knobs=knobs, run=run, **given), options)


def _continue(options: argparse.Namespace) -> int:
    return _conduct(find_study(options.runs, options.id), options)


def _conduct(study: Study, options: argparse.Namespace) -> int:
    """In this process, with a line for each run that has ended. Exit status 1 if one of them failed."""
    kind, ended = find(study.kind), study.progress()
    with tqdm(
        total=ended.total, initial=ended.done, unit="run", disable=options.json, dynamic_ncols=True, file=sys.stderr
    ) as bar:

        def after(cell: Cell, record: Record) -> None:
            bar.write(kind.ended(cell, record), file=sys.stderr)
            bar.update()

        engine = InlineEngine(Path(options.runs))
        with suppress(KeyboardInterrupt):  # while it measured; a run hears it by itself and keeps a checkpoint
            Conductor(study, engine, after=None if options.json else after).conduct()
    progress = study.progress()
    if options.json:
        print(json.dumps(_summary(study, progress)))
    else:
        print("\n".join(_found(study, progress)))
        print(f"{progress.state}: {progress.done} / {progress.total} runs, {progress.failed} failed, study {study.id}")
    return 1 if progress.failed else 0


# --- looking ---------------------------------------------------------------------------------------------------


def _list(options: argparse.Namespace) -> int:
    for study in studies_in(options.runs):
        progress = study.progress()
        if options.json:
            try:
                print(json.dumps(_summary(study, progress)))
            except RequestError as error:
                print(f"{study.id}  {error}", file=sys.stderr)
        else:
            print(f"{study.id}  {study.kind:<10} {progress.state:<8} {progress.done}/{progress.total}  {study.title}")
    return 0


def _show(options: argparse.Namespace) -> int:
    study = find_study(options.runs, options.id)
    progress = study.progress()
    if options.json:
        print(json.dumps(_summary(study, progress)))
        return 0
    kind, found = find(study.kind), _found(study, progress)
    print(
        f"{study.kind}, {study.title}: {progress.state}, {progress.done} / {progress.total}  {progress.message}".strip()
    )
    for state in progress.cells:
        over = state.state in ("done", "failed")
        print(kind.ended(state.cell, state.record) if over else f"{state.cell.key}: {state.state}")
    print("\n".join(found))
    return 0


def _found(study: Study, progress: Progress) -> list[str]:
    """The table and what it says."""
    kind, settings = find(study.kind), study.settings
    said = kind.reading(settings, kind.table(settings, progress.cells))
    return [*kind.lines(settings, progress.cells), *filter(None, [said])]


def _summary(study: Study, progress: Progress) -> dict[str, Any]:
    summary: dict[str, Any] = {"id": study.id, "kind": study.kind, "title": study.title, "settings": study.settings}
    summary |= {name: value for name, value in asdict(progress).items() if name != "cells"}
    summary["cells"] = [
        {"key": state.cell.key, "labels": state.cell.labels, "state": state.state, **asdict(state.record)}
        for state in progress.cells
    ]
    kind = find(study.kind)
    summary["table"] = kind.table(study.settings, progress.cells)
    summary["reading"] = kind.reading(study.settings, summary["table"])
    return summary
