"""What a run takes up when it goes on: what it depends on, which has to be the same, and what was changed live.

Each attempt writes it into its ``environment.json``. A resume with another teacher or diffusion model of the same name,
other images, another extractor of features or an edited specification is refused in one sentence; who insists goes on,
and it is written down.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic import ValidationError

from dfkd_core.errors import StoreError
from dfkd_core.kit.contract import GenerativeProblem, Problem
from dfkd_core.runs.evaluation import Evaluator
from dfkd_core.runs.spec import ELSEWHERE, RunSpec, read_spec
from dfkd_core.runs.survey import fingerprint, other_images
from dfkd_core.store import EventReader, RunFolder
from dfkd_core.synthesis.guided import DiffusionSource
from dfkd_core.teachers.cards import TeacherCard, find_card

DEPENDS_ON, ACCEPTED = "depends_on", "accepted"  # in environment.json
Change = tuple[int, dict[str, Any]]  # after which step, new values of knobs
FOLLOWING = {*ELSEWHERE, "stages", "task"}  # fields of a specification that nobody edits for themselves


def depends_on(
    spec: RunSpec, card: TeacherCard, problem: Problem | GenerativeProblem, evaluation: Evaluator[Any]
) -> dict[str, Any]:
    """What the run goes on with: of images, networks and features what tells them apart, empty where there are none."""
    collected = problem.collected if isinstance(problem, Problem) else None
    ours = isinstance(problem.source, DiffusionSource)
    extractor, features = evaluation.judged_in()
    return {
        "spec": _values(spec),
        "teacher": card.identity,
        "data": evaluation.fingerprint(),
        "collected": "" if collected is None else fingerprint(collected),
        "diffusion": find_card(spec.diffusion)[0].identity if ours else "",
        "extractor": extractor,
        "features": features,
    }


def held_extractor(folder: RunFolder) -> str | None:
    """The name of the extractor of features that the run goes on with, empty where it has none; None if it begins."""
    name = _before(folder).get("extractor")
    return name if isinstance(name, str) else None


def check_held(folder: RunFolder, now: dict[str, Any], insist: bool) -> list[str]:
    """What has changed since the last attempt that got so far, in words. Raises ``StoreError`` with it, unless
    ``insist``."""
    found = _changes(folder, now)
    if found and not insist:
        raise StoreError(f"run {folder.id}: {'; '.join(found)}. {_way_out(folder)}")
    return found


def read_held_spec(folder: RunFolder, insist: bool) -> RunSpec:
    """The specification. Raises ``StoreError`` where somebody has edited it, unless ``insist``: then it is theirs."""
    spec = read_spec(folder)
    edited = _edited(folder)
    if edited is None or edited == spec:
        return spec
    if not insist:
        said = f"spec.json was edited ({_differences(_values(spec), _values(edited))})"
        raise StoreError(f"run {folder.id}: {said}. {_way_out(folder)}")
    folder.write_spec(edited.model_dump())
    return edited


def _way_out(folder: RunFolder) -> str:
    return f"Put it back, or begin a new run; or insist: `python -m dfkd_core resume {folder.id} --insist`"


def _values(spec: RunSpec) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(spec.model_dump_json(exclude=FOLLOWING))
    return values


def _edited(folder: RunFolder) -> RunSpec | None:
    """A whole specification in spec.json, whose checksum does not fit; None where there is none."""
    try:
        values = json.loads(folder.files.read("spec.json"))
        return RunSpec.model_validate({name: value for name, value in values.items() if name != "crc32"})
    except (OSError, StoreError, ValueError, ValidationError, AttributeError):
        return None


def _changes(folder: RunFolder, now: dict[str, Any]) -> list[str]:
    before, spec = _before(folder), now["spec"]
    found = []
    if differences := _differences(before.get("spec", spec), spec):
        found.append(f"its specification was edited ({differences})")
    if before.get("teacher", now["teacher"]) != now["teacher"]:
        found.append(f"its teacher {spec['teacher']} is not the one that it began with")
    if before.get("diffusion", now["diffusion"]) != now["diffusion"]:
        found.append(f"its diffusion model {spec['diffusion']} is not the one that it began with")
    if before.get("data", now["data"]) != now["data"]:
        gone = "are no longer there" if now["data"] == "none" else "are not those that it began with"
        found.append(f"the test images of {spec['benchmark']} {gone}")
    elif before.get("features", now["features"]) != now["features"]:
        judge = before.get("extractor")
        found.append(f"{judge}, in whose features its images are compared, is not there any more or has other weights")
    if now["collected"] and (said := other_images(folder, now["collected"])):
        found.append(said)
    return found


def _before(folder: RunFolder) -> dict[str, Any]:
    """What the last attempt that got so far depended on; empty where none did."""
    for number in reversed(folder.attempts()):
        held = folder.environment_of(number).get(DEPENDS_ON)
        if isinstance(held, dict) and isinstance(held.get("spec"), dict):
            return held
    return {}


def _differences(before: dict[str, Any], now: dict[str, Any]) -> str:
    """Fields and knobs that differ, with both values."""
    one, other = ({**spec, **(spec.get("config") or {}), "config": None} for spec in (before, now))
    names = [name for name in {**one, **other} if one.get(name) != other.get(name)]
    return ", ".join(f"{name} {one.get(name)} → {other.get(name)}" for name in names)


def live_changes(folder: RunFolder, kept: list[Change]) -> tuple[list[Change], list[str]]:
    """Step and new values of every change made while the run went on, by step, those of one step as they were made; and
    which lines of the log are damaged. A checkpoint ``kept`` some of them."""
    reader = EventReader(folder)
    logged = [
        (row["step"], row["knobs"]) for row in reader.read() if row["type"] == "applied" and row["command"] == "set"
    ]
    for change in kept:
        if change in logged:
            logged.remove(change)
    return sorted([*kept, *logged], key=lambda change: change[0]), reader.damaged


def note(accepted: list[str], damaged: list[str], step: int) -> str:
    """What is to be said when the run goes on after ``step``: what was insisted on, and what is damaged."""
    said = f"Goes on although {'; '.join(accepted)}." if accepted else ""
    if not damaged:
        return said
    more = f", and {len(damaged) - 1} more" if len(damaged) > 1 else ""
    return f"{said} Damaged: {damaged[0]}{more}. It goes on from step {step}.".strip()
