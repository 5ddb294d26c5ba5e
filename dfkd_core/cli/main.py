"""The command line: ``python -m dfkd_core``. Exit 0 done, 1 the run failed, 2 the request was wrong."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Collection, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

from tqdm import tqdm

from dfkd_core import methods
from dfkd_core.analysis.jobs import Job, report
from dfkd_core.analysis.layout import EMBEDDINGS, fit_embedding
from dfkd_core.analysis.measure_latent import measure_run
from dfkd_core.analysis.measured import generative_notes, generative_table
from dfkd_core.analysis.two_sample import distance
from dfkd_core.cli import study as study_command
from dfkd_core.data.catalogue import BENCHMARKS, data_folder, find_benchmark
from dfkd_core.data.sources import Source, available_sources, source_facts
from dfkd_core.data.uploads import unpack, uploads
from dfkd_core.engine.base import begin_again
from dfkd_core.errors import RequestError, StoreError
from dfkd_core.events import Evaluated, Event, Quality, Step
from dfkd_core.networks.classifiers import CLASSIFIERS
from dfkd_core.quality.score import score_text
from dfkd_core.runs.assemble import assemble_classifier
from dfkd_core.runs.loop import CACHE, borrowed, run
from dfkd_core.runs.request import check_change, make_spec
from dfkd_core.runs.spec import RunSpec, read_spec
from dfkd_core.runs.survey import survey
from dfkd_core.selection.collected import Predictor
from dfkd_core.store import EventReader, RunFolder, RunStatus, find_run, runs_folder, runs_in
from dfkd_core.study import available as studies
from dfkd_core.teachers.bring import import_weights
from dfkd_core.teachers.cards import TeacherCard, available_teachers, find_card, user_folder
from dfkd_core.teachers.make import train_teacher

RUN_FLAGS = RunSpec.asked_fields()


LOOK_FLAGS = ("collected", "benchmark", "teacher", "ratio", "collecting", "seed", "device")


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line and exits with 2, as every other bad request does."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out one command; returns the exit status. As a page's job it also writes down how it ended."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    job, problem = Job.current(), ""
    try:
        options = _parser(arguments).parse_args(arguments)
        status = options.carry_out(options)
        sys.stdout.flush()
        return status
    except (RequestError, StoreError) as error:
        problem = str(error)
        print(f"dfkd_core: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the reader, `head` say, has seen enough
        return 0
    except Exception as error:
        problem = f"{type(error).__name__}: {error}"
        raise
    finally:
        if job is not None:
            job.end(problem)


# --- train and resume ------------------------------------------------------------------------------------------


def _train(options: argparse.Namespace) -> int:
    changes, fields = _asked(options)
    spec = make_spec(changes, **fields)
    try:
        folder = RunFolder.create(options.runs, spec.model_dump())
    except OSError as error:
        raise RequestError("runs", str(options.runs), f"cannot be written to ({error.strerror}).") from None
    return _follow(folder, folder.begin_attempt(), options.json)


def _asked(options: argparse.Namespace) -> tuple[dict[str, Any], dict[str, Any]]:
    """The knobs and the fields of a run that were given, as ``make_spec`` takes them."""
    given = vars(options)
    fields = {name: given[name] for name in RUN_FLAGS if given.get(name) is not None}
    knobs = methods.find(options.method).Config.model_fields
    changes = {name: given[f"knob_{name}"] for name in knobs if given.get(f"knob_{name}") is not None}
    return changes, {"method": options.method, **fields}


def _resume(options: argparse.Namespace) -> int:
    folder = find_run(options.runs, options.id)
    if folder.status().is_live:
        folder.command("resume")
        print(f"run {folder.id}: told to go on")
        return 0
    return _follow(folder, begin_again(folder), options.json)


def _follow(folder: RunFolder, attempt: int, as_json: bool) -> int:
    """Train in this process with a progress bar, and close with one line."""
    spec = read_spec(folder)
    with tqdm(unit="step", disable=as_json, dynamic_ncols=True, file=sys.stderr) as bar:

        def show(event: Event) -> None:
            if isinstance(event, Step):
                if bar.total is None:
                    bar.reset(total=folder.status().total_steps or None)
                    bar.initial = bar.last_print_n = event.step - 1
                bar.n = event.step
                bar.update(0)
            elif isinstance(event, Evaluated):
                bar.set_postfix_str(_percent("student", event.accuracy, "agreement", event.agreement))
            elif isinstance(event, Quality):
                measure = "fid" if "fid" in event.teacher else "mismatch"
                bar.set_postfix_str(f"{measure} {score_text(measure, event.values.get(measure))}")

        status = run(folder, attempt, show)
    if as_json:
        print(json.dumps(_summary(folder, status)))
    elif status.state == "failed":
        print(f"dfkd_core: run {folder.id} failed: {status.message}", file=sys.stderr)
    else:
        print(_closing_line(folder.id, spec, status))
    return 1 if status.state == "failed" else 0


def _percent(name: str, accuracy: float | None, other: str, agreement: float) -> str:
    return f"{name} {accuracy:.2%}" if accuracy is not None else f"{other} {agreement:.2%}"


def _closing_line(run_id: str, spec: RunSpec, status: RunStatus) -> str:
    result = status.result
    final, best, of_teacher = (score_text(result["measure"], result[name]) for name in ("final", "best", "teacher"))
    teacher = f", teacher {of_teacher}" if result["teacher"] is not None else ""
    return (
        f"{status.state}: {spec.method} on {spec.benchmark}: {result['measure']} final {final}, "
        f"best {best}{teacher}, {result['seconds']:.1f} s, run {run_id}"
    )


# --- steering --------------------------------------------------------------------------------------------------


def _steer(options: argparse.Namespace) -> int:
    folder = find_run(options.runs, options.id)
    status = folder.status_seen()
    if not status.is_live:
        raise StoreError(f"run {folder.id} is {status.state}; only a live run can be told to {options.command}")
    folder.command(options.command)
    return 0


def _set(options: argparse.Namespace) -> int:
    folder = find_run(options.runs, options.id)
    changes = {}
    for text in options.changes:
        name, given, value = text.partition("=")
        if not given:
            raise RequestError("change", text, "should read KNOB=VALUE, student_lr=0.05 for example.")
        changes[name.replace("-", "_")] = value
    knobs = check_change(read_spec(folder), changes)
    status = folder.status_seen()
    if not status.is_live:
        raise StoreError(f"run {folder.id} is {status.state}; only a live run can be changed")
    folder.command("set", **knobs)
    return 0


# --- looking ---------------------------------------------------------------------------------------------------


def _summary(folder: RunFolder, status: RunStatus) -> dict[str, Any]:
    return {"id": folder.id, **asdict(status), "spec": read_spec(folder).model_dump()}


def _list_runs(options: argparse.Namespace) -> int:
    for folder in runs_in(options.runs):
        try:
            shown = _summary(folder, folder.status_seen())
        except StoreError as error:
            print(f"{folder.id}  damaged: {error}", file=sys.stderr)
            continue
        if options.json:
            print(json.dumps(shown))
            continue
        spec = shown["spec"]
        result = shown["result"]
        score = ""
        if result:
            final, best = (score_text(result["measure"], result[name]) for name in ("final", "best"))
            score = f"{result['measure']} {final} (best {best})"
        progress = f"{shown['step']}/{shown['total_steps']}"
        print(f"{folder.id}  {shown['state']:<11} {progress:>11}  {spec['method']} {spec['teacher']}  {score}".rstrip())
    return 0


def _show(options: argparse.Namespace) -> int:
    folder = find_run(options.runs, options.id)
    summary = _summary(folder, folder.status_seen())
    if options.events:
        summary["events"] = EventReader(folder).read()
    if options.json:
        print(json.dumps(summary))
        return 0
    for key, value in summary.items():
        print(f"{key}: {json.dumps(value) if isinstance(value, dict | list) else value}")
    return 0


def _measure(options: argparse.Namespace) -> int:
    folder = find_run(options.runs, options.id)
    figures = measure_run(folder, options.runs / CACHE, options.samples, options.extractor, options.force)
    lines = _generative_lines if "student" in figures else _measured_lines
    print(json.dumps(figures) if options.json else lines(figures))
    return 0


def _generative_lines(figures: dict[str, Any]) -> str:
    """The table of teacher and student, after what it is a table of."""
    rows = [("", "teacher", "student"), *generative_table(figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    table = [f"{title:<{widths[0]}}  {one:>{widths[1]}}  {other:>{widths[2]}}" for title, one, other in rows]
    return "\n".join([*generative_notes(figures), *table])


def _measured_lines(figures: dict[str, Any]) -> str:
    names = ("density", "coverage", "precision", "recall", "class_balance", "diversity", "real_diversity")
    rest = ", ".join(f"{name.replace('_', ' ')} {figures[name]:.3f}" for name in names if figures[name] is not None)
    return f"{figures['fid']:.3f}: {figures['label']}, step {figures['step']}\n{rest}"


def _distance(options: argparse.Namespace) -> int:
    figures = distance(find_run(options.runs, options.id))
    if options.json:
        print(json.dumps(figures))
        return 0
    interval = f"[{figures['low']:.3f}, {figures['high']:.3f}]"
    chance = "above" if figures["above_chance"] else "not above"
    print(f"TVD at least {figures['tvd']:.3f} {interval}, {chance} chance: {figures['images']} collected images")
    return 0


def _layout(options: argparse.Namespace) -> int:
    folder = find_run(options.runs, options.id)
    with tqdm(total=100, bar_format="{l_bar}{bar}| {elapsed}", dynamic_ncols=True, file=sys.stderr) as bar:

        def show(share: float, message: str) -> None:
            report(share, message)
            bar.n = round(100 * share)
            bar.set_description(message)

        layout = fit_embedding(folder, options.kind, show)
        bar.set_description("Done")
        bar.update(100 - bar.n)
    print(f"{options.kind} of run {folder.id}: fitted to the samples up to step {layout.fitted_to}")
    return 0


def _list_methods(options: argparse.Namespace) -> int:
    for name, method in methods.available().items():
        presets = ", ".join(method.Config.presets) or "none"
        knobs = len(method.Config.model_fields)
        print(f"{name:<12} {method.title}; needs {method.requires.words()}; presets: {presets}; {knobs} knobs")
    return 0


def _list_benchmarks(options: argparse.Namespace) -> int:
    if options.action == "download":
        benchmark = find_benchmark(options.name)
        if benchmark.download is None:
            raise RequestError("name", options.name, f"cannot be fetched; put it below {data_folder()} yourself.")
        try:
            benchmark.download(data_folder())
        except Exception as error:
            raise RequestError("name", options.name, f"could not be fetched: {error}") from None
        return 0
    for name, benchmark in BENCHMARKS.items():
        image = benchmark.image
        state = "here" if benchmark.is_there() else f"not in {data_folder() / benchmark.where}"
        print(f"{name:<14} {image.channels}×{image.size}×{image.size}, {len(image.classes)} classes; {state}")
    return 0


def _list_teachers(options: argparse.Namespace) -> int:
    for task in ("classifier", "generative", "diffusion"):
        for name, card in available_teachers(None, task).items():
            kind = card.recipe.kind if card.recipe else "imported"
            print(f"{name:<28} {task:<10} {card.network:<10} {kind}{_quality(card)}")
    return 0


def _quality(card: TeacherCard) -> str:
    """What a card says of how good its network is."""
    if card.task == "diffusion":
        return f"; trained on {card.benchmark}"
    if card.task == "generative":
        return "; ELBO unknown" if card.elbo is None else f"; ELBO {card.elbo:.2f} nats"
    return "; accuracy unknown" if card.accuracy is None else f"; accuracy {card.accuracy:.2%}"


def _teacher(options: argparse.Namespace) -> int:
    if options.action == "train":
        card = train_teacher(find_card(options.card)[0], Path(options.to))
    else:
        card = import_weights(Path(options.weights), options.network, options.benchmark, options.name, Path(options.to))
    print(f"{card.name}: {card.network}{_quality(card)}, written to {options.to}")
    return 0


# --- collected images ------------------------------------------------------------------------------------------


def _list_sources(options: argparse.Namespace) -> int:
    for source in available_sources():
        print(f"{source.name:<18} {source.title}; {_how_many(source)}")
    return 0


def _how_many(source: Source) -> str:
    if not source.is_there():
        return f"not in {source.where}"
    try:
        return f"{source.count():,} images" + (f" in {source.where}" if source.where else "")
    except RequestError as error:  # a part of it is missing
        return str(error)


def _look_at_collected(options: argparse.Namespace) -> int:
    """The classes that a teacher sees in the images that a run would collect."""
    asked = {name: value for name in LOOK_FLAGS if (value := getattr(options, name)) is not None}
    spec = make_spec(method="collected", **asked)
    with borrowed(spec):
        _, problem, _ = assemble_classifier(spec)
        assert problem.collected is not None
        teacher = Predictor(problem.teacher, problem.image, problem.device)
        found = survey(problem.collected, problem.unseen, teacher, features=False).facts
    benchmark = find_benchmark(spec.benchmark, problem.image)
    facts = {**source_facts(spec.collected, benchmark, spec.ratio, spec.collecting), **found}
    print(json.dumps(facts) if options.json else _histogram_lines(facts, problem.image.classes))
    return 0


def _histogram_lines(facts: dict[str, Any], classes: Sequence[str]) -> str:
    """One line a class, after one that says what was collected."""
    counts = facts["histogram"]
    width, most = max(map(len, classes)), max(counts)
    lines = [
        f"{facts['title']}: {facts['count']:,} images, {facts['ratio']:g} of {facts['original']:,}, chosen by "
        f"{facts['collecting']}; the teacher's mean confidence {facts['mean_confidence']:.2%}"
    ]
    for name, count in zip(classes, counts, strict=True):
        lines.append(
            f"{name:<{width}} {count:>7,} {count / facts['count']:>7.2%} {'█' * round(30 * count / most)}".rstrip()
        )
    return "\n".join(lines)


def _add_collected(options: argparse.Namespace) -> int:
    try:
        with open(options.file, "rb") as archive:
            count = unpack(archive, options.name, uploads())
    except OSError as error:
        raise RequestError("file", options.file, f"cannot be read ({error.strerror}).") from None
    print(f"upload:{options.name}: {count:,} images in {uploads() / options.name}")
    return 0


# --- the parser ------------------------------------------------------------------------------------------------


def _parser(arguments: list[str]) -> argparse.ArgumentParser:
    parser = _Parser(prog="dfkd_core", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Parser)

    def command(name: str, help: str, carry_out: Any, run_id: bool = False) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=help, description=help)
        added.set_defaults(carry_out=carry_out)
        if run_id:
            added.add_argument("id", help="a run's id, or the unique beginning or end of one")
        return added

    def runs_and_json(added: argparse.ArgumentParser, json_too: bool = True) -> None:
        added.add_argument("--runs", type=Path, default=runs_folder(), help="folder of the runs (DFKD_RUNS)")
        if json_too:
            added.add_argument("--json", action="store_true", help="print JSON instead, one object a run")

    train = command("train", "Distil a teacher in this process.", _train)
    runs_and_json(train)
    _training_flags(train, _wanted_method(arguments))
    resumed = command("resume", "Go on with a run.", _resume, run_id=True)
    runs_and_json(resumed)
    for name, verb in (("pause", "Pause"), ("step", "Do one step of"), ("stop", "Stop")):
        runs_and_json(command(name, f"{verb} a live run.", _steer, run_id=True), json_too=False)
    changed = command("set", "Change knobs of a live run from its next step on.", _set, run_id=True)
    changed.add_argument("changes", nargs="+", metavar="KNOB=VALUE", help="learning rates, term weights, the threshold")
    runs_and_json(changed, json_too=False)
    runs_and_json(command("runs", "List the runs.", _list_runs))
    show = command("show", "Show one run.", _show, run_id=True)
    runs_and_json(show)
    show.add_argument("--events", action="store_true", help="with all rows of its log")
    measured = command("measure", "Measure what a run's generator or generative student makes.", _measure, run_id=True)
    runs_and_json(measured)
    measured.add_argument(
        "--samples", type=int, metavar="N", help="images to synthesise (2000, of a generative student 1024)"
    )
    measured.add_argument(
        "--extractor", default="", metavar="NAME", help="inception, or teacher:NAME; default: another kind of network"
    )
    measured.add_argument("--force", action="store_true", help="even if the same was measured before")
    apart = command("distance", "Tell a run's synthetic images from its collected ones.", _distance, run_id=True)
    runs_and_json(apart)
    layout = command("layout", "Lay out a run's samples in the plane, for Inspect.", _layout, run_id=True)
    runs_and_json(layout, json_too=False)
    layout.add_argument("--kind", choices=EMBEDDINGS, default=EMBEDDINGS[0], help="of layout (default: umap)")
    study = command("study", "Carry out a study of many runs, continue, list or show one.", None)
    wanted = _wanted_method(arguments)
    study_command.add_actions(study, runs_and_json, lambda added, less: _training_flags(added, wanted, less), _asked)
    command("methods", "List the methods.", _list_methods)
    listed = command("benchmarks", "List the benchmarks, or download one.", _list_benchmarks)
    listed.add_argument("action", nargs="?", choices=["list", "download"], default="list")
    listed.add_argument("name", nargs="?", default="")
    _collected_flags(command("collected", "List where images can be collected, look at them, or add some.", None))
    command("teachers", "List the teachers.", _list_teachers)
    _teacher_flags(command("teacher", "Train a teacher again from its card, or import one.", _teacher))
    return parser


def _wanted_method(arguments: list[str]) -> str:
    """The method decides which knobs there are, so it is looked for before the real parsing."""
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    kind = studies().get("".join(arguments[1:2])) if arguments[:1] == ["study"] else None
    early.add_argument("--method", default=kind.method if kind else "ta-dfkd")
    return early.parse_known_args(arguments)[0].method if arguments[:1] in (["train"], ["study"]) else "ta-dfkd"


def _training_flags(parser: argparse.ArgumentParser, method: str, without: Collection[str] = ()) -> None:
    if "method" not in without:
        parser.add_argument("--method", default="ta-dfkd", help=f"one of {', '.join(methods.available())}")
    task = methods.find(method).requires.task
    networks = ", ".join(CLASSIFIERS) if task == "classifier" else "of its teacher's kind, lvae-H or conv-vae-H"
    hints = {"student": f": {networks}"}
    for name in RUN_FLAGS:
        if name in without:
            continue
        described = (RunSpec.model_fields[name].description or "") + hints.get(name, "")
        parser.add_argument("--" + name.replace("_", "-"), dest=name, metavar="X", help=described.replace("%", "%%"))
    knobs = parser.add_argument_group(f"knobs of {method}")
    config = methods.find(method).Config
    for name, field in config.model_fields.items():
        if name in without:
            continue
        about = config.about(name)
        described = " ".join(filter(None, [field.description, about["symbol"], f"default {field.default}"]))
        knobs.add_argument(
            "--" + name.replace("_", "-"), dest=f"knob_{name}", metavar="X", help=described.replace("%", "%%")
        )


def _collected_flags(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(carry_out=_list_sources)
    actions = parser.add_subparsers(metavar="ACTION", parser_class=_Parser)
    actions.add_parser("list", help="list the sources (the default)")
    look = actions.add_parser("look", help="count the classes that a teacher sees in what would be collected")
    look.add_argument("collected", metavar="SOURCE", help="a source's name, folder:PATH or upload:NAME")
    for name in LOOK_FLAGS[1:]:
        look.add_argument("--" + name, metavar="X", help=(RunSpec.model_fields[name].description or ""))
    look.add_argument("--json", action="store_true", help="print JSON instead")
    look.set_defaults(carry_out=_look_at_collected)
    add = actions.add_parser("add", help="unpack a ZIP file of images")
    add.add_argument("file", help="the ZIP file")
    add.add_argument("--name", required=True, help="how to call it: --collected upload:NAME")
    add.set_defaults(carry_out=_add_collected)


def _teacher_flags(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION", parser_class=_Parser)
    train = actions.add_parser("train", help="train a teacher again from its card")
    train.add_argument("card", help="a teacher's name, or the path of a card")
    imported = actions.add_parser("import", help="bring your own weights (.safetensors, or a .pt state dict)")
    imported.add_argument("weights", help="file of the weights")
    imported.add_argument("--network", required=True, help=f"one of {', '.join(CLASSIFIERS)}")
    imported.add_argument("--benchmark", required=True, help=f"one of {', '.join(BENCHMARKS)}")
    imported.add_argument("--name", required=True, help="how to call the teacher")
    for action in (train, imported):
        action.add_argument("--to", default=str(user_folder()), help="folder to write into (DFKD_TEACHERS)")
