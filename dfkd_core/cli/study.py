"""``python -m dfkd_core study``: begin, continue, list and show studies."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

from dfkd_core.analysis import measure_latent as measuring_generative
from dfkd_core.analysis.measure import SAMPLES
from dfkd_core.engine import InlineEngine
from dfkd_core.study import generative, kinds, outcome
from dfkd_core.study.conductor import Conductor
from dfkd_core.study.experiments import EXPERIMENTS, METHODS
from dfkd_core.study.folder import Cell, Progress, Record, Study, find_study, studies_in

INTENSITIES = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
SEEDS = [0, 1, 2]
TABLE_METHOD = "ukd"  # whose knobs are the flags of the table of generative students


Asked = Callable[[argparse.Namespace], tuple[dict[str, Any], dict[str, Any]]]


def add_actions(
    parser: argparse.ArgumentParser,
    runs_and_json: Callable[[argparse.ArgumentParser], None],
    training_flags: Callable[[argparse.ArgumentParser, str], None],
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

    prior = action(kinds.PRIOR, "FID against the intensity of the class prior (Fig. 2 of TA-DFKD).", _begin_prior)
    prior.add_argument("--intensities", type=_numbers(float), default=INTENSITIES, metavar="λ,λ,…", help="0 to 10")
    prior.add_argument("--seeds", type=_numbers(int), default=SEEDS, metavar="N,N,…", help="default 0,1,2")
    prior.add_argument("--measured", type=int, default=SAMPLES, metavar="N", help="images to synthesise and measure")
    prior.add_argument("--extractor", default="", metavar="NAME", help="as in measure")
    training_flags(prior, "seed")
    prior.set_defaults(asked=asked)
    fig1a = action(kinds.FIG1A, "Two teachers × families of methods (Fig. 1a of TA-DFKD).", _begin_fig1a)
    fig1a.add_argument("--teachers", type=_words, required=True, metavar="NAME,NAME")
    training_flags(fig1a, "teacher")
    fig1a.set_defaults(asked=asked)
    experiment = action(
        kinds.EXPERIMENT, "One of HiDFD's experiments: ablation, comparison and more.", _begin_experiment
    )
    experiment.add_argument("name", choices=list(EXPERIMENTS), help="; ".join(map(_described, EXPERIMENTS)))
    experiment.add_argument("--seeds", type=_numbers(int), default=SEEDS, metavar="N,N,…", help="default 0,1,2")
    experiment.add_argument("--values", type=_words, metavar="X,X,…", help="instead of the usual ones")
    experiment.add_argument("--series", type=_words, metavar="NAME,NAME", help="methods to compare, instead of all")
    experiment.add_argument("--measured", type=int, default=SAMPLES, metavar="N", help="images to measure (generators)")
    experiment.add_argument("--extractor", default="", metavar="NAME", help="as in measure")
    training_flags(experiment, "seed")
    experiment.set_defaults(asked=asked, method=METHODS[0])
    table = action(
        kinds.GENERATIVE, "The table of a generative teacher and its students, data-free and with data.", _begin_table
    )
    widths = ",".join(map(str, generative.WIDTHS))
    table.add_argument(
        "--widths", type=_numbers(int), default=generative.WIDTHS, metavar="H,H,…", help=f"students' (default {widths})"
    )
    table.add_argument(
        "--arms", type=_words, metavar="NAME,NAME", help=f"of {', '.join(generative.ARMS)} (default: all)"
    )
    table.add_argument("--seeds", type=_numbers(int), default=SEEDS, metavar="N,N,…", help="default 0,1,2")
    table.add_argument(
        "--measured", type=int, default=measuring_generative.SAMPLES, metavar="N", help="images to generate and measure"
    )
    table.add_argument("--extractor", default="", metavar="NAME", help="as in measure")
    training_flags(table, "seed")
    table.set_defaults(asked=asked, method=TABLE_METHOD)
    continued = action("continue", "Go on with a study; what failed is tried again.", _continue)
    continued.add_argument("id", help="a study's id, or the unique beginning or end of one")
    action("list", "List the studies.", _list)
    shown = action("show", "Show one study.", _show)
    shown.add_argument("id", help="a study's id, or the unique beginning or end of one")


def _described(name: str) -> str:
    return f"{name}: {EXPERIMENTS[name].title}"


def _words(text: str) -> list[str]:
    return text.split(",")


def _numbers(kind: type) -> Callable[[str], list[Any]]:
    def numbers(text: str) -> list[Any]:
        try:
            return [kind(part) for part in text.split(",")]
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} should be numbers with commas between") from None

    return numbers


# --- carrying out ----------------------------------------------------------------------------------------------


def _begin_prior(options: argparse.Namespace) -> int:
    changes, fields = options.asked(options)
    measuring = {"samples": options.measured, "extractor": options.extractor}
    study = kinds.prior(options.runs, options.intensities, options.seeds, changes, **measuring, **fields)
    return _conduct(study, options)


def _begin_fig1a(options: argparse.Namespace) -> int:
    changes, fields = options.asked(options)
    return _conduct(kinds.fig1a(options.runs, options.teachers, changes, **fields), options)


def _begin_experiment(options: argparse.Namespace) -> int:
    changes, fields = options.asked(options)
    if fields["method"] == METHODS[0]:  # not asked for: its knobs are this command's flags
        del fields["method"]
    return _conduct(
        kinds.experiment(
            options.runs,
            options.name,
            options.seeds,
            changes,
            options.values,
            options.series,
            options.measured,
            options.extractor,
            **fields,
        ),
        options,
    )


def _begin_table(options: argparse.Namespace) -> int:
    changes, fields = options.asked(options)
    if fields["method"] == TABLE_METHOD:  # not asked for: its knobs are this command's flags
        del fields["method"]
    measuring = {"samples": options.measured, "extractor": options.extractor}
    study = kinds.generative(options.runs, options.seeds, options.widths, options.arms, changes, **measuring, **fields)
    return _conduct(study, options)


def _continue(options: argparse.Namespace) -> int:
    return _conduct(find_study(options.runs, options.id), options)


def _conduct(study: Study, options: argparse.Namespace) -> int:
    """In this process, with a line for each run that has ended. Exit status 1 if one of them failed."""
    ended = study.progress()
    with tqdm(
        total=ended.total, initial=ended.done, unit="run", disable=options.json, dynamic_ncols=True, file=sys.stderr
    ) as bar:

        def after(cell: Cell, record: Record) -> None:
            bar.write(describe(cell, record), file=sys.stderr)
            bar.update()

        engine = InlineEngine(Path(options.runs))
        with suppress(KeyboardInterrupt):  # while it measured; a run hears it by itself and keeps a checkpoint
            Conductor(study, engine, after=None if options.json else after).conduct()
    progress = study.progress()
    if options.json:
        print(json.dumps(_summary(study, progress)))
    else:
        for line in _found(study, progress):
            print(line)
        print(f"{progress.state}: {progress.done} / {progress.total} runs, {progress.failed} failed, study {study.id}")
    return 1 if progress.failed else 0


def describe(cell: Cell, record: Record) -> str:
    """How a cell ended, in one line."""
    labels = ", ".join(f"{name} {value}" for name, value in cell.labels.items())
    if record.problem:
        return f"{labels}: failed. {record.problem}"
    if "student" in record.figures:
        student, teacher = record.figures["student"], record.figures["teacher"]
        return f"{labels}: FID {student['fid']:.3f}, the teacher's {teacher['fid']:.3f}"
    fid = f", FID {record.figures['fid']:.3f}" if "fid" in record.figures else ""
    return f"{labels}: {record.figures['measure']} final {record.figures['final']:.2%}{fid}"


# --- looking ---------------------------------------------------------------------------------------------------


def _list(options: argparse.Namespace) -> int:
    for study in studies_in(options.runs):
        progress = study.progress()
        if options.json:
            print(json.dumps(_summary(study, progress)))
        else:
            print(f"{study.id}  {study.kind:<10} {progress.state:<8} {progress.done}/{progress.total}  {study.title}")
    return 0


def _show(options: argparse.Namespace) -> int:
    study = find_study(options.runs, options.id)
    progress = study.progress()
    if options.json:
        print(json.dumps(_summary(study, progress)))
        return 0
    print(
        f"{study.kind}, {study.title}: {progress.state}, {progress.done} / {progress.total}  {progress.message}".strip()
    )
    for state in progress.cells:
        over = state.state in ("done", "failed")
        print(describe(state.cell, state.record) if over else f"{state.cell.key}: {state.state}")
    for line in _found(study, progress):
        print(line)
    if study.kind == kinds.PRIOR:
        print(outcome.reading(outcome.points(progress.cells)))
    return 0


def _found(study: Study, progress: Progress) -> list[str]:
    """The table of an experiment or of generative students and what it says; nothing for other studies."""
    if study.kind == kinds.GENERATIVE:
        rows = generative.table(progress.cells)
        lines = outcome.aligned(generative.text_table(rows, study.settings["benchmark"]))
        return [*lines, *generative.notes(progress.cells), *filter(None, [generative.reading(rows)])]
    if study.kind != kinds.EXPERIMENT:
        return []
    settings, rows = study.settings, outcome.table(progress.cells, study.settings["reference"])
    return [*outcome.table_lines(settings, rows), *filter(None, [outcome.experiment_reading(settings, rows)])]


def _summary(study: Study, progress: Progress) -> dict[str, Any]:
    summary: dict[str, Any] = {"id": study.id, "kind": study.kind, "title": study.title, "settings": study.settings}
    summary |= {name: value for name, value in asdict(progress).items() if name != "cells"}
    summary["cells"] = [
        {"key": state.cell.key, "labels": state.cell.labels, "state": state.state, **asdict(state.record)}
        for state in progress.cells
    ]
    if study.kind == kinds.PRIOR:
        summary["reading"] = outcome.reading(outcome.points(progress.cells))
    if study.kind == kinds.EXPERIMENT:
        summary["table"] = outcome.table(progress.cells, study.settings["reference"])
        summary["reading"] = outcome.experiment_reading(study.settings, summary["table"])
    if study.kind == kinds.GENERATIVE:
        summary["table"] = generative.table(progress.cells)
        summary["reading"] = generative.reading(summary["table"])
    return summary
