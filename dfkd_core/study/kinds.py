"""The questions that the lab has studies for, and which runs each of them takes.

- ``prior``: FID against the intensity of the class prior (Fig. 2 of TA-DFKD), and the images beside it (Fig. 3).
- ``fig1a``: well-trained teachers × families of methods, as training curves (Fig. 1a of TA-DFKD).

A request is checked whole before anything is started: every cell's specification, the extractor, the data.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dfkd_core import methods
from dfkd_core.analysis.measure import MOST_SAMPLES, SAMPLES
from dfkd_core.analysis.quality import LEAST, find_extractor
from dfkd_core.benchmarks import find_benchmark
from dfkd_core.errors import RequestError
from dfkd_core.spec import RunSpec, make_spec
from dfkd_core.study.folder import Cell, Study
from dfkd_core.study.outcome import plural
from dfkd_core.teachers import find_card

PRIOR, FIG1A = "prior", "fig1a"
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
    judge = _check_measuring(first, samples, extractor)
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
        "extractor": judge,
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


def _check_measuring(spec: RunSpec, samples: int, extractor: str) -> str:
    """The extractor's full name, if what ``spec`` trains can be measured."""
    if not LEAST <= samples <= MOST_SAMPLES:
        raise RequestError("samples", samples, f"should be from {LEAST} to {MOST_SAMPLES}.")
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
