"""What the teacher's guidance of a diffusion model does: to the images themselves, and to a student of them.

``images``: the same noise and classes at several strengths, by UKD's knobs, on digits and MNIST; the guidance's loss at
the end, and the Fréchet distance of the synthetic images from test images. ``student``: DiffDFKD on digits (preset
``demo``) with guidance and without, paired by seed. The data-free table (``benchmarks.generative``) has UKD's students.
"""

from __future__ import annotations

from collections.abc import Iterator
from statistics import fmean
from typing import Annotated, Any, Literal

import torch
from cyclopts import Parameter
from torch import Tensor

from benchmarks.command import Quick, Seeds, command
from benchmarks.report import Report, Row
from benchmarks.training import carried_out, folder_of_runs, spread
from dfkd_core.data.catalogue import find_benchmark
from dfkd_core.kit.samples import to_bytes
from dfkd_core.losses.latent import guidance
from dfkd_core.quality import measures as quality
from dfkd_core.runs.request import make_spec
from dfkd_core.study.tables import interval
from dfkd_core.synthesis.guided import DiffusionSource
from dfkd_core.teachers.load import load_diffusion, load_latent_model

STRENGTHS = (0.0, 0.3, 1.0, 3.0, 10.0)
BATCH = 100


def images(benchmark: str, count: int) -> Iterator[Row]:
    """A row for each strength."""
    spec = make_spec({"source": "diffusion"}, method="ukd", benchmark=benchmark)
    c, (teacher, card), (diffusion, _) = spec.config, load_latent_model(spec.teacher), load_diffusion(spec.diffusion)
    image, source, extractor = card.image.spec(), DiffusionSource(diffusion), quality.find_extractor("", card)
    tested = find_benchmark(benchmark, image).load(train=False)
    with folder_of_runs() as cache:
        real = quality.reference(tested, extractor, count, cache)

    def loss(images: Tensor) -> Tensor:
        return guidance(images, teacher.infer(images), image, c["mse_weight"], c["kl_weight"])

    for strength in STRENGTHS:
        torch.manual_seed(0)
        parts, losses = [], []
        for labels in (torch.arange(count) % len(source.names)).split(BATCH):
            batch, _ = source.guided(loss, labels, c["denoising_steps"], strength, c["class_guidance"], image)
            with torch.no_grad():
                losses.append(loss(batch))
            parts.append(to_bytes(image.to_pixels(batch)).permute(0, 3, 1, 2))
        made = torch.cat(parts)
        fid = quality.frechet_distance(real, extractor.features(made))
        bright, usual = (float(pixels.float().mean() / 255) for pixels in (made, tested.images))
        text = f"loss {torch.cat(losses).mean():.4f}; {extractor.describe(len(real.features), count)}: {fid:.2f}"
        default = " (default)" if strength == c["strength"] else ""
        what = f"{benchmark}, images at strength {strength:g}{default}"
        yield Row(what, f"{text}; brightness {bright:.3f}, real images {usual:.3f}", value=fid)


def students(seeds: int, knobs: dict[str, Any]) -> Iterator[Row]:
    """DiffDFKD's final accuracies, and their paired difference."""
    finals = []
    for name, changes in (("with guidance", {}), ("without", {"strength": 0.0})):
        with folder_of_runs() as runs:
            asked = (make_spec(knobs | changes, method="diffdfkd", seed=seed) for seed in range(seeds))
            results = [carried_out(runs, spec).status().result for spec in asked]
        finals.append([result["final"] for result in results])
        best, seconds = (fmean(result[key] for result in results) for key in ("best", "seconds"))
        text = (
            f"final {spread(finals[-1])}, best {best:.2%}, teacher {results[0]['teacher']:.2%}, {seconds:.0f} s a run"
        )
        yield Row(f"digits, DiffDFKD {name}: accuracy of the student", text)
    mean, low, high = interval([own - other for own, other in zip(*finals, strict=True)])
    if mean is not None and low is not None:
        text = f"{mean:+.2%} [{low:+.2%}, {high:+.2%}] (n = {seeds}, paired)"
        yield Row("digits, DiffDFKD: what guidance adds to the final accuracy", text, value=mean)


Part = Literal["images", "student"]


def measure(
    *,
    parts: tuple[Part, ...] = ("images", "student"),
    benchmarks: tuple[str, ...] = ("digits", "mnist"),
    count: Annotated[int, Parameter("--images", help="Of each strength.")] = 300,
    seeds: Seeds = 3,
    quick: Quick = False,
) -> Iterator[Report]:
    count, seeds = (20, 2) if quick else (count, seeds)
    knobs = {"synthesis_batches": 2, "synthesis_size": 20, "denoising_steps": 2, "distill_steps": 5} if quick else {}
    rows = [row for name in benchmarks for row in images(name, count)] if "images" in parts else []
    rows += students(seeds, knobs) if "student" in parts else []
    whole = len(parts) == 2 and len(benchmarks) == 2
    yield Report(rows, part="" if whole else "-".join([*parts, *benchmarks]))


if __name__ == "__main__":
    command(measure)
