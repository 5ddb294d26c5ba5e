"""Any grid: teachers × students × methods × values of any knob × seeds (Fig. 1b of TA-DFKD is one)."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Annotated, Any, NotRequired

from pydantic import AfterValidator, BeforeValidator
from typing_extensions import TypedDict

from dfkd_core.errors import UNSAID, RequestError
from dfkd_core.quality.score import number
from dfkd_core.runs.spec import RunSpec
from dfkd_core.store.rows import Count, Scalar
from dfkd_core.study.contract import (
    SCORES,
    Composed,
    Kind,
    Labels,
    Refused,
    Rows,
    Seeded,
    among,
    asked,
    miscounted,
    own_knobs,
    several,
    usual,
)
from dfkd_core.study.folder import CellState, Kept, Progress, Study
from dfkd_core.study.robustness import COSTS, Place, Spent, compared, places, robustness
from dfkd_core.study.tables import COST_TITLES, aligned, counted_in_words, plural, told_apart
from dfkd_core.study.traces import of_study, spent

AXES = {"teacher": "teachers", "student": "students", "method": "methods", "seed": "seeds"}
FIELDS = ("ratio", "collected", "collecting", "diffusion", "preset", "precision", "compile", "threads")
"""Of a run, that can be varied as knobs can."""
MOST_RUNS = 10_000
PLACE = ("teacher", "student", "method")  # the labels that every run has beside its seed


def _methods() -> list[str]:
    from dfkd_core import methods

    return list(methods.available())


def _as_axes(given: Any) -> Any:
    """``KNOB=0,0.5;KNOB=1,2`` as text; single values as lists."""
    if isinstance(given, str):
        parts = [part.partition("=") for part in given.split(";") if part.strip()]
        given = {name.strip(): [one.strip() for one in values.split(",") if one.strip()] for name, _, values in parts}
    if not isinstance(given, dict):
        return given
    found = {name: values if isinstance(values, list | tuple) else [values] for name, values in given.items()}
    for name, values in found.items():
        if wrong := miscounted([_alike(value) for value in values], 1, 51):
            raise ValueError(f"the values of {name} {wrong}")
    return found


def _alike(value: Any) -> str:
    """The same of values that are the same number, as whatever they are given."""
    try:
        return "true" if value is True else "false" if value is False else repr(float(value))
    except (TypeError, ValueError):
        return json.dumps(value, default=str)


class GridRequest(Seeded):
    teachers: Annotated[tuple[str, ...], *several(0, 50)] = asked((), "Teachers, or paths of cards; none: the usual.")
    students: Annotated[tuple[str, ...], *several(0, 20)] = asked((), "Student networks; none: the usual one.")
    methods: Annotated[tuple[str, ...], *several(1, 40), among(_methods)] = asked(("ta-dfkd",), "Methods to compare.")
    vary: Annotated[dict[str, tuple[Any, ...]], BeforeValidator(_as_axes)] = asked(
        {}, "Knobs and their values: KNOB=VALUE,VALUE;KNOB=VALUE,VALUE. A method without the knob is run once."
    )
    devices: Annotated[tuple[str, ...], *several(0, 64)] = asked(
        (), "Devices of one kind that take turns, such as cuda:0,cuda:1; none: the one device of all runs."
    )
    each: dict[str, dict[str, Any]] = asked({}, "Knobs of single methods, by their names.", only_in_files=True)


def _placed(labels: dict[str, Any]) -> dict[str, Any]:
    if not all(isinstance(labels.get(name), str) for name in PLACE):
        raise ValueError(f"should have a text for each of {', '.join(PLACE)}")
    return labels


def _seeded(labels: dict[str, Any]) -> dict[str, Any]:
    if type(labels.get("seed")) is not int:
        raise ValueError("should have a seed, a whole number")
    return labels


Setting = Annotated[dict[str, Scalar], AfterValidator(_placed)]


class Told(TypedDict):
    labels: Setting
    why: str


class Settings(TypedDict):
    benchmark: str
    preset: str
    teachers: list[str]
    students: list[str]
    methods: list[str]
    vary: dict[str, list[Scalar]]
    titles: dict[str, str]
    seeds: list[Count]
    samples: Count
    refused: NotRequired[list[Told]]


class Grid(Kind[GridRequest]):
    name = "grid"
    title = "Any grid: teachers × students × methods × knobs × seeds (Fig. 1b of TA-DFKD)."
    varies = AXES
    kept = Kept(Settings, Annotated[Setting, AfterValidator(_seeded)], SCORES)
    Request = GridRequest

    # --- which runs ---

    def varied(self, asked: Mapping[str, Any]) -> dict[str, str]:
        more = {"device": "devices"} if asked.get("devices") else {}
        return super().varied(asked) | more | dict.fromkeys(asked.get("vary") or {}, "vary")

    def labelled(self, request: GridRequest) -> list[tuple[Labels, RunSpec]]:
        return self.compose(request).labelled

    def compose(self, request: GridRequest) -> Composed:
        """Seed by seed, there teacher by teacher, so that a first whole map is there early. Where a method refuses a
        setting, that is told, and the others are run."""
        _check_count(request)
        settings, refused = _settings(request)
        seeds, labelled = sorted(request.seeds), []
        for index, (seed, (labels, spec)) in enumerate(product(seeds, settings)):
            change: dict[str, Any] = {"seed": seed}
            if request.devices:
                change["device"] = request.devices[index % len(request.devices)]
            labelled.append(({**labels, "seed": seed}, spec.model_copy(update=change)))
        return Composed(labelled, refused)

    def settings(self, request: GridRequest, labelled: list[tuple[Labels, RunSpec]]) -> dict[str, Any]:
        from dfkd_core import methods

        first = labelled[0][1]
        values = {axis: list(dict.fromkeys(labels[axis] for labels, _ in labelled)) for axis in PLACE}
        return {
            "benchmark": first.benchmark,
            "preset": first.preset,
            **{AXES[axis]: found for axis, found in values.items()},
            "vary": {name: list(found) for name, found in request.vary.items()},
            "titles": {name: methods.find(name).title for name in request.methods},
        }

    def headline(self, request: GridRequest, labelled: list[tuple[Labels, RunSpec]]) -> str:
        settings = self.settings(request, labelled)
        counts = [(len(settings[AXES[axis]]), axis) for axis in PLACE]
        counts += [(len(values), f"{name.replace('_', ' ')} value") for name, values in settings["vary"].items()]
        counts += [(len(request.seeds), "seed")]
        size = " × ".join(plural(count, name) for count, name in counts if count > 1) or "one run"
        return f"{settings['benchmark']}: {size}"

    def key(self, request: GridRequest, labels: Labels) -> str:
        """Legible, and told apart by a hash where names are alike when they are cut."""
        words = [labels["method"], Path(labels["teacher"]).stem, f"seed-{labels['seed']}"]
        legible = re.sub(r"[^A-Za-z0-9.]+", "-", "-".join(map(str, words)))[:120].strip("-.")
        return f"{legible}-{hashlib.sha256(json.dumps(labels, sort_keys=True).encode()).hexdigest()[:8]}"

    # --- what they say ---

    def table(self, settings: dict[str, Any], cells: list[CellState]) -> Rows:
        """One row for each run: its labels, its ``series`` (what is compared: the method, with student and knobs where
        they vary), ``state``, and of what is done ``final`` and ``best`` score, that ``of_teacher``, ``seconds`` and
        ``measure``; the ``problem`` of what failed; its ``run``. Settings that cannot be run have a row each, without a
        seed."""
        rows = [_row(settings, state) for state in cells]
        for refused in settings.get("refused", []):
            series = series_of(settings, refused["labels"])
            rows.append(
                {**refused["labels"], "seed": None, "series": series, "state": "cannot"} | _nothing(refused["why"])
            )
        return rows

    def reading(self, settings: dict[str, Any], rows: Rows) -> str:
        """Whether the best series, by its mean over teachers, is clearly apart from the next, those first that have a
        result with as many teachers as any; empty before there are two."""
        found = [row for row in robustness(rows) if row["mean"] is not None]
        if len(found) < 2:
            return ""
        sign = -1 if found[0]["lower_is_better"] else 1
        most = max(row["teachers"] for row in found)  # a mean that leaves out the hard teacher is no better
        first, second = sorted(found, key=lambda row: (row["teachers"] < most, -sign * row["mean"]))[:2]
        return compared(rows, first["series"], second["series"]).sentence

    def lines(self, settings: dict[str, Any], cells: list[CellState], costs: Spent | None = None) -> list[str]:
        """Teachers × series, mean over seeds ± standard deviation (SD); below it what holds across teachers, and what
        it took."""
        rows = self.table(settings, cells)
        found = {(place.teacher, place.series): place for place in places(rows)}
        series = list(dict.fromkeys(row["series"] for row in rows))
        teachers = list(dict.fromkeys(row["teacher"] for row in rows))
        matrix = [
            [Path(teacher).stem, *(_in_short(found.get((teacher, one))) for one in series)] for teacher in teachers
        ]
        head, counted = ["mean", "minimum", "spread"], ["n", "failed", "cannot"]
        across = [
            [row["series"], *(_score(row, name) for name in head), *(str(row[name]) for name in counted)]
            + [counted_in_words(row[name]) for name in COSTS]
            for row in robustness(rows, spent=costs)
        ]
        head = ["", *head, "runs", "failed", "cannot", *COST_TITLES]
        unit = " in %" if all(place.is_share for place in found.values()) else ""
        about = f"final score{unit}, mean over seeds ± SD (runs)"
        return [about, *aligned([["teacher", *series], *matrix]), "", *aligned([head, *across])]

    def lines_of(self, study: Study, progress: Progress) -> list[str]:
        rows = self.table(study.settings, progress.cells)
        return self.lines(study.settings, progress.cells, spent(of_study(study, rows)))


# --- which runs ------------------------------------------------------------------------------------------------


def _settings(request: GridRequest) -> tuple[list[tuple[Labels, RunSpec]], list[Refused]]:
    """All but the seeds: labels with the specification for the first seed, and what is refused. Raises
    ``RequestError`` where no setting is left, and for a teacher or student that cannot be taken at all."""
    from dfkd_core import methods
    from dfkd_core.runs.request import make_spec

    found, refused, errors = list[tuple[Labels, RunSpec]](), list[Refused](), list[RequestError]()
    knobs = _own_knobs(request)
    fields = {**request.run, "seed": min(request.seeds)} | ({"device": request.devices[0]} if request.devices else {})
    for teacher, student in product(request.teachers or ("",), request.students or ("",)):
        for method, varied in _series(request, knobs):
            own = {name: value for name, value in varied.items() if name not in FIELDS and value is not None}
            more = {name: value for name, value in varied.items() if name in FIELDS}
            labels = {"teacher": teacher, "student": student, "method": method, **varied}
            try:
                given = {**fields, "method": method, "teacher": teacher, "student": student, **more}
                if not methods.find(method).Config.presets:  # one that all are asked for is nothing to refuse it for
                    given.pop("preset", None)
                spec = make_spec({**knobs[method], **own}, **given)
            except RequestError as error:
                refused.append(Refused(labels, str(error)))
                errors.append(error)
                continue
            labels |= {"teacher": spec.teacher, "student": spec.student}
            labels |= {name: spec.config.get(name) for name in own} | {name: getattr(spec, name) for name in more}
            if why := _refusal(spec.model_copy(update={"seed": 0}).model_dump_json()):
                refused.append(Refused(labels, why))
            else:
                found.append((labels, spec))
    _check_axes(found, refused, errors)
    _check_devices(request)
    return found, refused


def _check_count(request: GridRequest) -> None:
    """Raises ``RequestError`` for more than anybody runs, before the first of them is made: values multiply."""
    from dfkd_core import methods

    series = 0
    for method in request.methods:
        known = (*methods.find(method).Config.model_fields, *FIELDS)
        series += math.prod(len(values) for name, values in request.vary.items() if name in known)
    total = series * max(1, len(request.teachers)) * max(1, len(request.students)) * len(request.seeds)
    if total > MOST_RUNS:
        raise RequestError("vary", UNSAID, f"makes {total:,} runs; take fewer values, for at most {MOST_RUNS:,}.")


def _own_knobs(request: GridRequest) -> dict[str, dict[str, Any]]:
    """For each method those of the knobs that it has, on top of them its own ones; all in bounds. Raises
    ``RequestError``."""
    from dfkd_core import methods

    for method in request.each:
        if method not in request.methods:
            raise RequestError("each", method, f"should be one of {', '.join(request.methods)}.")
    varied = {name: values[0] for name, values in request.vary.items() if name not in FIELDS}
    own_knobs(request.methods, varied)  # says which knob none of them has
    common = own_knobs(request.methods, request.knobs)
    found = {method: common[method] | request.each.get(method, {}) for method in request.methods}
    for method, varied in _series(request, found):
        config, preset = methods.find(method).Config, varied.get("preset") or usual("preset", request.run)
        own = {name: value for name, value in varied.items() if name not in FIELDS and value is not None}
        config.build(preset if preset in config.presets else "", {**found[method], **own})
    return found


def _series(request: GridRequest, knobs: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each method with each combination of values of what varies; None for a knob that it has not."""
    from dfkd_core import methods

    for method in knobs:
        known = methods.find(method).Config.model_fields
        axes = {name: values if name in known or name in FIELDS else (None,) for name, values in request.vary.items()}
        for combination in product(*axes.values()):
            yield method, dict(zip(axes, combination, strict=True))


@lru_cache(maxsize=4096)
def _refusal(spec: str) -> str:
    """What the method says of a specification, as JSON, when it is given its networks."""
    from dfkd_core.runs.assemble import refusal
    from dfkd_core.runs.loop import borrowed

    read = RunSpec.model_validate_json(spec)
    with borrowed(read):
        return refusal(read)


def _check_axes(found: list[tuple[Labels, RunSpec]], refused: list[Refused], errors: list[RequestError]) -> None:
    for error in errors:
        if error.field in ("teacher", "student") and not any(error.value == labels[error.field] for labels, _ in found):
            raise error
    if not found:
        if errors:
            raise errors[0]
        raise RequestError("methods", refused[0].labels["method"], refused[0].why)


def _check_devices(request: GridRequest) -> None:
    from dfkd_core.runs.request import check_device

    names = [check_device(name) for name in request.devices]
    if len({name.partition(":")[0] for name in names}) > 1:
        raise RequestError("devices", list(request.devices), "should be of one kind: their results are compared.")


# --- what they say ---------------------------------------------------------------------------------------------


def series_of(settings: dict[str, Any], labels: Labels) -> str:
    """What a run is compared as: its method's title, and what else varies beside teacher and seed."""
    words = [str(settings["titles"].get(labels["method"], labels["method"]))]
    words += [str(labels["student"])] if len(settings["students"]) > 1 else []
    for name in settings["vary"]:
        if (value := labels.get(name)) is not None:
            shown = told_apart(value) if isinstance(value, float) else str(value)
            words.append(f"{name.replace('_', ' ')} {shown}")
    return " · ".join(words)


def _row(settings: dict[str, Any], state: CellState) -> dict[str, Any]:
    figures = state.record.figures if state.state == "done" else {}
    return {
        **state.cell.labels,
        "series": series_of(settings, state.cell.labels),
        "state": state.state,
        **_nothing(state.message if state.state == "failed" else ""),
        **{name: figures.get(name) for name in ("final", "best", "seconds", "measure")},
        "of_teacher": figures.get("teacher"),
        "run": state.record.run,
    }


def _nothing(problem: str) -> dict[str, Any]:
    names = ("final", "best", "of_teacher", "seconds", "measure")
    return {**dict.fromkeys(names), "problem": problem, "run": ""}


def _in_short(place: Place | None) -> str:
    """``95.2 ± 1.1 (3)``; what failed and what cannot be run is said."""
    if place is None:
        return "–"
    if place.cannot:
        return "cannot"
    words = [] if place.mean is None else [_share(place.mean, place.is_share)]
    if place.deviation is not None:
        words.append(f"± {_share(place.deviation, place.is_share)}")
    words += [f"({place.n})"] if place.n else []
    words += [f"{place.failed} failed"] if place.failed else []
    return " ".join(words) or "–"


def _score(row: dict[str, Any], name: str) -> str:
    return "–" if row[name] is None else _share(row[name], row["is_share"])


def _share(value: float, is_share: bool) -> str:
    return f"{100 * value:.1f}" if is_share else number(value, ".3g")
