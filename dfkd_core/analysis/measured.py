"""What ``measure`` and ``distance`` are asked for, and leave in a run's folder. Does not import torch."""

from __future__ import annotations

from typing import Any

from dfkd_core.errors import StoreError
from dfkd_core.quality.score import number
from dfkd_core.store import RunFolder

SAMPLES, MOST_SAMPLES = 2000, 50_000  # of a generator, and as many test images
GENERATIVE_SAMPLES, MOST_GENERATIVE_SAMPLES = 1024, 5000  # the slides'; transport takes memory by their square
MEASURED, GENERATED = "analysis/measured.json", "analysis/generated"  # the second is a stem: PNG and NPZ
NEAREST = "analysis/nearest"  # a stem too: synthetic images, then the real one that is nearest to each
DISTANCE = "analysis/distance.json"
GENERATIVE_ROWS = (
    ("FID, the Fréchet distance", "fid", ".3f"),
    ("FID as the slides', its root", "root_fid", ".3f"),
    ("EMD", "emd", ".3f"),
    ("MMD², unbiased", "mmd_squared", ".4f"),
    ("MMD as the slides', root of the biased MMD²", "root_mmd", ".4f"),
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


def read_figures(folder: RunFolder) -> dict[str, Any]:
    """What was measured of the run last. Raises ``StoreError`` if nothing readable is there."""
    figures = folder.files.read_json(MEASURED)
    if not isinstance(figures, dict):
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
        f"Inference on {teacher['device']}: mean ± standard deviation of {teacher['repeats']} repeats.",
    ]
    if student["encoder"] == "teacher":
        notes.append("The student's encoder was not trained: it reconstructs from its teacher's latents.")
    return notes
