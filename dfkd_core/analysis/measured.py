"""What ``measure`` and ``distance`` are asked for, and leave in a run's folder. Does not import torch."""

from __future__ import annotations

from typing import Annotated, Any, NotRequired

from pydantic import AfterValidator, ConfigDict, TypeAdapter, with_config
from typing_extensions import TypedDict

from dfkd_core.errors import DamagedError, StoreError
from dfkd_core.quality.score import number
from dfkd_core.store import RunFolder
from dfkd_core.store.rows import Count

SAMPLES, MOST_SAMPLES = 2000, 50_000  # of a generator, and as many test images
GENERATIVE_SAMPLES, MOST_GENERATIVE_SAMPLES = 1024, 5000  # the slides'; transport takes memory by their square
MEASURED, GENERATED = "analysis/measured.json", "analysis/generated"  # the second is a stem: PNG and NPZ
NEAREST = "analysis/nearest"  # a stem too: synthetic images, then the real one that is nearest to each
DISTANCE = "analysis/distance.json"
GENERATIVE_ROWS = (
    ("FID, the Fréchet distance", "fid", ".3f"),
    ("root of the FID, as in IIT Mandi 2025", "root_fid", ".3f"),
    ("EMD", "emd", ".3f"),
    ("MMD², unbiased", "mmd_squared", ".4f"),
    ("root of the biased MMD², as in IIT Mandi 2025", "root_mmd", ".4f"),
    ("1NN, 0.5 is ideal", "one_nn", ".3f"),
    ("reconstruction, MSE of a pixel in [0, 1]", "mse", ".5f"),
    ("reconstruction, PSNR in dB", "psnr", ".2f"),
    ("ELBO, nats an image", "elbo", ".2f"),
    ("parameters", "parameters", ",d"),
    ("parameters that generate", "decoder_parameters", ",d"),
    ("weights, MB", "megabytes", ".3f"),
    ("weights, MiB", "mebibytes", ".3f"),
)
"""The table of a generative teacher and student: title, name and format of a figure."""


FREE = ConfigDict(extra="allow", allow_inf_nan=False)


class Distance(TypedDict):
    """What ``distance`` found (see ``two_sample``)."""

    __pydantic_config__ = FREE  # type: ignore[misc]
    step: int
    images: int
    tvd: float
    low: float
    high: float
    above_chance: bool


_FIGURES_OF: dict[str, Any] = {name: int | float | None for _, name, _ in GENERATIVE_ROWS}
_FIGURES_OF |= {"milliseconds": float, "spread": float, "batch": int, "device": str, "repeats": int, "encoder": str}
_SIDE: Any = with_config(FREE)(TypedDict("_SIDE", _FIGURES_OF))  # type: ignore[operator]


class Figures(TypedDict):
    """What ``measure`` found of a run that distils a classifier; ``teacher`` is its score."""

    __pydantic_config__ = FREE  # type: ignore[misc]
    step: int
    samples: int
    real: int
    label: str
    extractor: str
    reference: str
    seconds: float
    fid: float
    density: float | None
    coverage: float | None
    precision: float | None
    recall: float | None
    class_balance: float | None
    diversity: float | None
    real_diversity: float | None
    counts: list[Count]
    measure: str
    final: float | None
    best: float | None
    teacher: float | None
    kept: float | None
    student: NotRequired[None]


class GenerativeFigures(TypedDict):
    """The same of one that distils a generative model."""

    __pydantic_config__ = FREE  # type: ignore[misc]
    step: int
    samples: int
    label: str
    extractor: str
    reference: str
    seconds: float
    teacher: _SIDE
    student: _SIDE


def both_or_neither(figures: Any) -> Any:
    """A best score is one of those of which the final one is the last."""
    if (figures["final"] is None) != (figures["best"] is None):
        raise ValueError("should have a final and a best score, or neither")
    return figures


FIGURES = Annotated[Figures, AfterValidator(both_or_neither)]
_DISTANCE, _FIGURES = TypeAdapter(Distance), TypeAdapter[Any](FIGURES | GenerativeFigures)


def read_distance(folder: RunFolder) -> dict[str, Any] | None:
    """What was found out last; None where nothing readable is there."""
    return _read(folder, DISTANCE, _DISTANCE)


def known_figures(folder: RunFolder) -> dict[str, Any] | None:
    """What was measured of the run last; None where nothing readable is there: it can be measured again."""
    return _read(folder, MEASURED, _FIGURES)


def _read(folder: RunFolder, name: str, model: TypeAdapter[Any]) -> dict[str, Any] | None:
    try:
        return folder.files.read_json(name, model)
    except DamagedError:
        return None


def read_figures(folder: RunFolder) -> dict[str, Any]:
    """What was measured of the run last. Raises ``StoreError`` if nothing readable is there."""
    figures = known_figures(folder)
    if figures is None:
        raise StoreError(f"run {folder.id} was not measured yet")
    return figures


def generative_table(figures: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Title, the teacher's figure and the student's, as text, of a generative run; a dash where there is none."""
    teacher, student = figures["teacher"], figures["student"]
    rows = [(title, number(teacher[name], form), number(student[name], form)) for title, name, form in GENERATIVE_ROWS]
    times = [f"{side['milliseconds']:.2f} ± {side['spread']:.2f}" for side in (teacher, student)]
    return [*rows, (f"inference of {teacher['batch']} images, ms", times[0], times[1])]


def generative_notes(figures: dict[str, Any]) -> list[str]:
    """What the table has to say about itself, in sentences."""
    teacher, student = figures["teacher"], figures["student"]
    notes = [
        f"{figures['label']}, step {figures['step']}.",
        f"Inference on {teacher['device']}: the least ± standard deviation of {teacher['repeats']} repeats.",
    ]
    if student["encoder"] == "teacher":
        notes.append("The student's encoder was not trained: it reconstructs from its teacher's latents.")
    return notes
