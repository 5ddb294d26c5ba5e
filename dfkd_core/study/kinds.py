"""The questions that the lab has studies for, and which runs each of them takes.

- ``prior``: FID against the intensity of the class prior (Fig. 2 of TA-DFKD), and the images beside it (Fig. 3).
- ``fig1a``: well-trained teachers × families of methods, as training curves (Fig. 1a of TA-DFKD).
- ``experiment``: those of ``study.experiments`` (Tables 1 and 2, Figs. 2 and A-3 of HiDFD): methods × x × seeds.
- ``generative``: the slides' table of a generative teacher and its students: arms of ``study.generative`` × widths ×
  seeds.

A request is checked whole before anything is started: every cell's specification, the extractor, the data.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from dfkd_core import methods
from dfkd_core.analysis import measure_latent as measuring_generative
from dfkd_core.analysis.measure import MOST_SAMPLES, SAMPLES
from dfkd_core.data.catalogue import find_benchmark
from dfkd_core.errors import RequestError
from dfkd_core.quality.measures import LEAST, find_extractor
from dfkd_core.runs.request import make_spec, usual_teacher
from dfkd_core.runs.spec import RunSpec
from dfkd_core.study.experiments import SHARED, Experiment, find_experiment
from dfkd_core.study.folder import Cell, Study
from dfkd_core.study.generative import ARMS, VARIED, WIDTHS
from dfkd_core.study.outcome import plural
from dfkd_core.teachers.cards import find_card

PRIOR, FIG1A, EXPERIMENT, GENERATIVE = "prior", "fig1a", "experiment", "generative"
KNOB = "class_prior_weight"

_NO_IMAGE_TERMS = {"bn_weight": 0.0, "l2_weight": 0.0, "tv_weight": 0.0, "selection": False}
_DAFL = {"class_prior_weight": 1.0, "class_balance_weight": 5.0, "activation_weight": 0.1}
_NO_DAFL = dict.fromkeys(_DAFL, 0.0)
VARIANTS: dict[str, dict[str, Any]] = {
    "class prior": {**_NO_IMAGE_TERMS, **_DAFL, "adversarial_weight": 0.0},
    "adversarial": {**_NO_IMAGE_TERMS, **_NO_DAFL, "adversarial": "l1", "adversarial_weight": 1.0},
    "both": {**_NO_IMAGE_TERMS, **_DAFL, "adversarial": "l1", "adversarial_weight": 1.0},
    "TA-DFKD": {},
}
"""What each curve of Fig. 1a changes of the preset. The first has DAFL's terms with its weights for MNIST, the second
DFAD's, the third both; the last is the preset as it is. All four share the preset's networks and schedule, so that
they differ in what the generator is told and in nothing else: they are not those papers' own programs."""


# --- the class prior -------------------------------------------------------------------------------------------


def prior(
    runs: Path,
    intensities: Sequence[float],
    seeds: Sequence[int],
    changes: dict[str, Any] | None = None,
    samples: int = SAMPLES,
    extractor: str = "",
    **fields: Any,
) -> Study:
    """A study of λ = ``intensities`` × ``seeds``; ``changes`` and ``fields`` as in ``make_spec``.

    Raises ``RequestError`` with the first thing that is wrong; then nothing is written.
    """
    specs = prior_specs(intensities, seeds, changes, **fields)
    first = specs[0][1]
    extractor = _check_measuring(first, samples, extractor)
    cells = [
        Cell(f"prior-{intensity:g}-seed-{spec.seed}", {"intensity": intensity, "seed": spec.seed}, spec.model_dump())
        for intensity, spec in specs
    ]
    settings = {
        "benchmark": first.benchmark,
        "method": first.method,
        "teacher": first.teacher,
        "student": first.student,
        "preset": first.preset,
        "intensities": sorted(intensities),
        "seeds": sorted(seeds),
        "samples": samples,
        "extractor": extractor,
    }
    title = f"{first.teacher} → {first.student}, {len(intensities)} intensities × {plural(len(seeds), 'seed')}"
    return Study.create(runs, PRIOR, title, settings, cells)


def prior_specs(
    intensities: Sequence[float], seeds: Sequence[int], changes: dict[str, Any] | None = None, **fields: Any
) -> list[tuple[float, RunSpec]]:
    """Intensity and specification of each run, seed by seed, so that a first whole curve is there early."""
    method = fields.get("method", "ta-dfkd")
    if KNOB not in methods.find(method).Config.model_fields:
        raise RequestError("method", method, "has no class prior to vary; take ta-dfkd.")
    if KNOB in (changes or {}):
        raise RequestError(KNOB, (changes or {})[KNOB], "is what the study varies; give its intensities.")
    if "seed" in fields:
        raise RequestError("seed", fields["seed"], "is what the study varies; give its seeds.")
    _check_list("intensities", intensities, 2, 51)
    _check_list("seeds", seeds, 1, 20)
    return [
        (intensity, make_spec({**(changes or {}), KNOB: intensity}, seed=seed, **fields))
        for seed in sorted(seeds)
        for intensity in sorted(intensities)
    ]


def _check_list(name: str, values: Sequence[Any], least: int, most: int) -> None:
    if not least <= len(values) <= most or len(set(values)) < len(values):
        raise RequestError(name, list(values), f"should be {least} to {most}, each once.")


def _check_measuring(spec: RunSpec, samples: int, extractor: str, most: int = MOST_SAMPLES) -> str:
    """The extractor's full name, if what ``spec`` trains can be measured, on ``most`` images at most."""
    if not LEAST <= samples <= most:
        raise RequestError("samples", samples, f"should be from {LEAST} to {most}.")
    card, _ = find_card(spec.teacher)
    benchmark = find_benchmark(spec.benchmark, card.image.spec())
    if not benchmark.is_there():
        benchmark.load(train=False)  # says what is missing, and where it was looked for
    return find_extractor(extractor, card).name


# --- Fig. 1a ---------------------------------------------------------------------------------------------------


def fig1a(runs: Path, teachers: Sequence[str], changes: dict[str, Any] | None = None, **fields: Any) -> Study:
    """A study of ``teachers`` × ``VARIANTS``, variant by variant, so that the teachers' curves grow side by side.

    Nothing is measured but the student's score. Raises ``RequestError`` with the first thing that is wrong.
    """
    specs = fig1a_specs(teachers, changes, **fields)
    cells = [
        Cell(
            f"{list(teachers).index(spec.teacher)}-{name.lower().replace(' ', '-')}",
            {"teacher": spec.teacher, "variant": name},
            spec.model_dump(),
        )
        for name, spec in specs
    ]
    first = specs[0][1]
    settings = {
        "benchmark": first.benchmark,
        "teachers": list(teachers),
        "variants": list(VARIANTS),
        "student": first.student,
        "preset": first.preset,
        "seed": first.seed,
        "samples": 0,
    }
    title = f"{' and '.join(teachers)} → {first.student}, {first.config['epochs']} epochs, seed {first.seed}"
    return Study.create(runs, FIG1A, title, settings, cells)


def fig1a_specs(
    teachers: Sequence[str], changes: dict[str, Any] | None = None, **fields: Any
) -> list[tuple[str, RunSpec]]:
    """Variant and specification of each run."""
    _check_list("teachers", teachers, 1, 4)
    return [
        (name, make_spec({**(changes or {}), **variant}, teacher=teacher, **fields))
        for name, variant in VARIANTS.items()
        for teacher in teachers
    ]


# --- HiDFD's experiments ---------------------------------------------------------------------------------------


def experiment(
    runs: Path,
    name: str,
    seeds: Sequence[int],
    changes: dict[str, Any] | None = None,
    values: Sequence[Any] | None = None,
    series: Sequence[str] | None = None,
    samples: int = SAMPLES,
    extractor: str = "",
    **fields: Any,
) -> Study:
    """A study of the experiment ``name``, of ``series`` × ``values`` × ``seeds`` (None: the usual ones).

    ``changes`` and ``fields`` as in ``make_spec``; ``samples`` and ``extractor`` matter where images are measured.
    Raises ``RequestError`` with the first thing that is wrong; then nothing is written.
    """
    asked = find_experiment(name)
    labelled = experiment_specs(name, seeds, changes, values, series, **fields)
    cells = [Cell(_key(labels), labels, spec.model_dump()) for labels, spec in labelled]
    first = labelled[0][1]
    used = list(dict.fromkeys(labels["series"] for labels, _ in labelled))
    xs = list(dict.fromkeys(labels["x"] for labels, _ in labelled))
    settings = {
        "experiment": name,
        **{field: getattr(first, field) for field in ("benchmark", "teacher", "student", "preset", "collected")},
        **({} if asked.varies == "ratio" else {"ratio": first.ratio}),
        "series": used,
        "values": xs,
        "seeds": sorted(seeds),
        "titles": {method: methods.find(method).title for method in asked.compared()},
        "question": asked.question,
        "finding": asked.finding,
        "axis": asked.axis,
        "scale": asked.scale,
        "against_seconds": asked.against_seconds,
        "reference": _reference(asked, used, xs),
        "published": [
            {"series": method, "x": x, "value": value}
            for (method, x), value in asked.published.items()
            if method in used and (asked.scale != "category" or x in xs)
        ],
        "setting": asked.setting,
        "samples": samples if asked.measured else 0,
        "extractor": _check_measuring(first, samples, extractor) if asked.measured else "",
    }
    return Study.create(
        runs, EXPERIMENT, f"{asked.title}, {first.benchmark}: {_size(used, xs, seeds)}", settings, cells
    )


def experiment_specs(
    name: str,
    seeds: Sequence[int],
    changes: dict[str, Any] | None = None,
    values: Sequence[Any] | None = None,
    series: Sequence[str] | None = None,
    **fields: Any,
) -> list[tuple[dict[str, Any], RunSpec]]:
    """Labels (series, x, seed) and specification of each run, seed by seed, so that a first whole curve is there
    early. All methods get ``changes`` as far as they have such knobs, and HiDFD's ``SHARED`` ones."""
    asked, changes = find_experiment(name), changes or {}
    compared = asked.compared()
    chosen = list(asked.methods if series is None else series)
    _check_list("seeds", seeds, 1, 20)
    _check_list("series", chosen, 1, len(asked.methods))
    for method in chosen:
        if method not in asked.methods:
            raise RequestError("series", method, f"should be one of {', '.join(asked.methods)}.")
    _check_free(asked, changes, fields, compared)
    xs = _values(asked, values, _benchmark(fields))
    common = _common_knobs(compared, changes, fields.get("preset", RunSpec.model_fields["preset"].default))
    specs = []
    for seed in sorted(seeds):
        for x in xs:
            for method in chosen:
                knobs, own = asked.change(x)
                given = {"method": method, **fields, **own, "seed": seed}
                spec = make_spec({**common[given["method"]], **knobs}, **given)
                specs.append(({"series": method, "x": x, "seed": seed}, spec))
    return specs


def _check_free(asked: Experiment, changes: dict[str, Any], fields: dict[str, Any], compared: Sequence[str]) -> None:
    """What the experiment itself sets cannot be asked for, nor knobs that none of its methods has."""
    for name, value in {**fields, **changes}.items():
        if name in asked.varied():
            raise RequestError(name, value, "is what the experiment varies; give its values.")
    if "seed" in fields:
        raise RequestError("seed", fields["seed"], "is what the study varies; give its seeds.")
    if "method" in fields:
        raise RequestError("method", fields["method"], "is set by the experiment; leave it out.")
    known = {knob for method in compared for knob in methods.find(method).Config.model_fields}
    for name, value in changes.items():
        if name not in known:
            raise RequestError(name, value, f"is no knob of {' or '.join(compared)}.")


def _common_knobs(compared: Sequence[str], changes: dict[str, Any], preset: str) -> dict[str, dict[str, Any]]:
    """For each method ``changes`` as far as it has such knobs, and the first one's ``SHARED`` knobs."""

    def own(method: str, knobs: dict[str, Any]) -> dict[str, Any]:
        known = methods.find(method).Config.model_fields
        return {name: value for name, value in knobs.items() if name in known}

    led = methods.find(compared[0]).Config.build(preset, own(compared[0], changes)).model_dump()
    shared = {name: led[name] for name in SHARED if name in led}
    return {
        method: {**(own(method, shared) if method != compared[0] else {}), **own(method, changes)}
        for method in compared
    }


def _values(asked: Experiment, given: Sequence[Any] | None, benchmark: str) -> list[Any]:
    """The values of x: checked, numbers in order, categories in the order given."""
    usual = asked.usual_values(benchmark) or _allowed(asked)
    chosen = list(usual if given is None else given)
    if asked.scale != "category":
        chosen = sorted(_number(value, asked.scale) for value in chosen)
    _check_list("values", chosen, 1 if len(asked.compared()) > 1 else 2, 51)
    for value in chosen:
        if asked.scale == "category" and value not in usual:
            raise RequestError("values", value, f"should be among {', '.join(usual)}.")
    return chosen


def _allowed(asked: Experiment) -> tuple[Any, ...]:
    """All that the knob allows."""
    return get_args(methods.find(asked.methods[0]).Config.model_fields[asked.varies].annotation)


def _number(value: Any, scale: str) -> float:
    try:
        number = float(value)
    except ValueError:
        raise RequestError("values", value, "should be a number.") from None
    if scale == "log" and not number > 0:
        raise RequestError("values", value, "should be above 0; the axis is logarithmic.")
    return number


def _reference(asked: Experiment, series: Sequence[str], xs: Sequence[Any]) -> dict[str, Any]:
    """Labels of what the others are compared with; a label that is missing is the same as theirs."""
    if len(series) > 1:
        return {"series": series[0]}
    return {"x": asked.reference if asked.reference in xs else xs[0]}


def _size(series: Sequence[str], xs: Sequence[Any], seeds: Sequence[int]) -> str:
    parts = [plural(len(series), "method")] if len(series) > 1 else []
    return " × ".join([*parts, plural(len(xs), "setting"), plural(len(seeds), "seed")])


def _key(labels: dict[str, Any]) -> str:
    """A file name for a cell."""
    return "-".join([labels["series"], re.sub(r"[^a-z0-9.]+", "-", str(labels["x"]).lower()), f"seed-{labels['seed']}"])


# --- the table of generative students --------------------------------------------------------------------------


def generative(
    runs: Path,
    seeds: Sequence[int],
    widths: Sequence[int] = WIDTHS,
    arms: Sequence[str] | None = None,
    changes: dict[str, Any] | None = None,
    samples: int = measuring_generative.SAMPLES,
    extractor: str = "",
    **fields: Any,
) -> Study:
    """A study of ``arms`` (None: all) × ``widths`` H × ``seeds``; ``changes`` and ``fields`` as in ``make_spec``.

    Raises ``RequestError`` with the first thing that is wrong; then nothing is written.
    """
    labelled = generative_specs(seeds, widths, arms, changes, **fields)
    cells = [Cell(_key(labels), labels, spec.model_dump()) for labels, spec in labelled]
    first = labelled[0][1]
    used = list(dict.fromkeys(labels["series"] for labels, _ in labelled))
    settings = {
        **{field: getattr(first, field) for field in ("benchmark", "teacher", "preset")},
        "diffusion": next((spec.diffusion for _, spec in labelled if spec.diffusion), ""),
        "series": used,
        "values": list(dict.fromkeys(labels["x"] for labels, _ in labelled)),
        "seeds": sorted(seeds),
        "samples": samples,
        "extractor": _check_measuring(first, samples, extractor, measuring_generative.MOST_SAMPLES),
    }
    size = " × ".join([plural(len(used), "arm"), plural(len(widths), "width"), plural(len(seeds), "seed")])
    return Study.create(runs, GENERATIVE, f"{first.teacher} and its students: {size}", settings, cells)


def generative_specs(
    seeds: Sequence[int],
    widths: Sequence[int] = WIDTHS,
    arms: Sequence[str] | None = None,
    changes: dict[str, Any] | None = None,
    **fields: Any,
) -> list[tuple[dict[str, Any], RunSpec]]:
    """Labels (series: the arm, x: H, seed) and specification of each run, seed by seed, so that a first whole table is
    there early. Every arm gets ``changes`` as far as its method has such knobs."""
    chosen, changes = list(ARMS) if arms is None else list(arms), changes or {}
    widths = sorted(_whole("widths", width) for width in widths)
    for name, values, most in (("seeds", seeds, 20), ("widths", widths, 10), ("arms", chosen, len(ARMS))):
        _check_list(name, values, 1, most)
    for name in chosen:
        if name not in ARMS:
            raise RequestError("arms", name, f"should be one of {', '.join(ARMS)}.")
    _check_free_of_arms(changes, fields)
    teacher = fields.get("teacher") or usual_teacher(_benchmark(fields), "generative")
    kind = find_card(teacher)[0].network.rpartition("-")[0]
    specs = []
    for seed in sorted(seeds):
        for width in widths:
            for name in chosen:
                arm = ARMS[name]
                known = methods.find(arm.method).Config.model_fields
                knobs = {knob: value for knob, value in changes.items() if knob in known} | arm.knobs
                given = {**fields, "teacher": teacher, "student": f"{kind}-{width}", "method": arm.method, "seed": seed}
                specs.append(({"series": name, "x": width, "seed": seed}, make_spec(knobs, **given)))
    return specs


def _whole(name: str, value: Any) -> int:
    try:
        return int(value)
    except ValueError:
        raise RequestError(name, value, "should be a whole number.") from None


def _check_free_of_arms(changes: dict[str, Any], fields: dict[str, Any]) -> None:
    """What tells the students apart cannot be asked for, nor knobs that no arm has."""
    instead = {"student": "widths", "seed": "seeds", "method": "arms", **dict.fromkeys(VARIED, "arms")}
    for name, value in {**fields, **changes}.items():
        if name in instead:
            raise RequestError(name, value, f"is what the table varies; give its {instead[name]}.")
    known = {knob for arm in ARMS.values() for knob in methods.find(arm.method).Config.model_fields}
    for name, value in changes.items():
        if name not in known:
            raise RequestError(name, value, "is no knob of ukd or with-data.")


def _benchmark(fields: dict[str, Any]) -> str:
    return str(fields.get("benchmark", RunSpec.model_fields["benchmark"].default))
