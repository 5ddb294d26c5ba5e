"""``collected``: where images can be collected, what a teacher sees in them, and adding some."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from dfkd_core.cli.flags import Json, flag, group, opened_file, tell, with_flags
from dfkd_core.errors import RequestError
from dfkd_core.runs.spec import RunSpec

if TYPE_CHECKING:
    from dfkd_core.data.sources import Source

LOOK = ("collected", "benchmark", "teacher", "ratio", "collecting", "seed", "device")  # of a run; the first has no flag

collected = group("collected", "List where images can be collected, look at them, or add some.")


# --- which there are -------------------------------------------------------------------------------------------


@collected.default
@collected.command(name="list")
def shown(*, as_json: Json = False) -> int:
    """List the sources (the default)."""
    from dfkd_core.data.sources import available_sources

    for source in available_sources():
        line = f"{source.name:<18} {source.title}; {_how_many(source)}"
        tell(line, as_json, name=source.name, title=source.title, here=source.is_there(), where=str(source.where or ""))
    return 0


def _how_many(source: Source) -> str:
    if not source.is_there():
        return f"not in {source.where}"
    try:
        return f"{source.count():,} images" + (f" in {source.where}" if source.where else "")
    except RequestError as error:  # a part of it is missing
        return str(error)


# --- what a teacher sees in them -------------------------------------------------------------------------------


def _look(*, as_json: Json = False, **given: Any) -> int:
    """Count the classes that a teacher sees in what a run would collect."""
    from dfkd_core.data.catalogue import find_benchmark
    from dfkd_core.data.sources import source_facts
    from dfkd_core.runs.assemble import assemble_classifier
    from dfkd_core.runs.loop import borrowed
    from dfkd_core.runs.request import make_spec
    from dfkd_core.runs.survey import survey
    from dfkd_core.selection.collected import Predictor

    asked = {name: value for name, value in given.items() if value is not None}
    spec = make_spec(method="collected", **asked)
    with borrowed(spec):
        _, problem, _ = assemble_classifier(spec)
        assert problem.collected is not None
        teacher = Predictor(problem.teacher, problem.image, problem.device)
        found = survey(problem.collected, problem.unseen, teacher, features=False).facts
    benchmark = find_benchmark(spec.benchmark, problem.image)
    facts = {**source_facts(spec.collected, benchmark, spec.ratio, spec.collecting), **found}
    print(json.dumps(facts) if as_json else _histogram(facts, problem.image.classes))
    return 0


_flags = (flag(name, RunSpec.model_fields[name], {"positional": name == LOOK[0]}) for name in LOOK)
collected.command(with_flags(_look, *_flags), name="look")


def _histogram(facts: dict[str, Any], classes: Sequence[str]) -> str:
    """One line a class, after one that says what was collected."""
    counts = facts["histogram"]
    width, most = max(map(len, classes)), max(counts)
    lines = [
        f"{facts['title']}: {facts['count']:,} images, {facts['ratio']:g} of {facts['original']:,}, chosen by "
        f"{facts['collecting']}; the teacher's mean confidence {facts['mean_confidence']:.2%}"
    ]
    for name, count in zip(classes, counts, strict=True):
        bar = "█" * round(30 * count / most)
        lines.append(f"{name:<{width}} {count:>7,} {count / facts['count']:>7.2%} {bar}".rstrip())
    return "\n".join(lines)


# --- more of them ----------------------------------------------------------------------------------------------


@collected.command
def add(
    file: Annotated[str, Parameter(help="The ZIP file.")],
    /,
    *,
    name: Annotated[str, Parameter(help="How to call it: --collected upload:NAME.")],
) -> int:
    """Unpack a ZIP file of images."""
    from dfkd_core.data.uploads import unpack, uploads

    with opened_file(Path(file)) as archive:
        count = unpack(archive, name, uploads())
    print(f"upload:{name}: {count:,} images in {uploads() / name}")
    return 0
