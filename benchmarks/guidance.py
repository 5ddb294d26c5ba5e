"""What the teacher's guidance of a diffusion model does: to the images themselves, and to a student of them.

``images``: the same noise and classes at several strengths, by UKD's knobs, on digits and MNIST; the guidance's loss at
the end, and the Fréchet distance of the synthetic images from test images. ``student``: DiffDFKD on digits (preset
``demo``) with guidance and without, paired by seed. The data-free table (``benchmarks.generative``) has UKD's students.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import torch
from torch import Tensor

from benchmarks.common import Row, options, report, say
from dfkd_core.data.catalogue import find_benchmark
from dfkd_core.engine import InlineEngine
from dfkd_core.kit.samples import to_bytes
from dfkd_core.losses import latent as generative_losses
from dfkd_core.quality import measures as quality
from dfkd_core.runs.request import make_spec
from dfkd_core.store import RunFolder
from dfkd_core.study.tables import interval
from dfkd_core.synthesis.guided import DiffusionSource
from dfkd_core.teachers.load import load_diffusion, load_latent_model

STRENGTHS = (0.0, 0.3, 1.0, 3.0, 10.0)
BATCH = 100


def images_of(benchmark: str, count: int) -> list[Row]:
    """A row for each strength."""
    spec = make_spec({"source": "diffusion"}, method="ukd", benchmark=benchmark)
    knobs = spec.config
    (teacher, card), (diffusion, _) = load_latent_model(spec.teacher), load_diffusion(spec.diffusion)
    image, source = card.image.spec(), DiffusionSource(diffusion)
    extractor = quality.find_extractor("", card)
    with tempfile.TemporaryDirectory() as cache:
        real = quality.reference(find_benchmark(benchmark, image).load(train=False), extractor, count, Path(cache))

    def loss(images: Tensor) -> Tensor:
        weights = knobs["mse_weight"], knobs["kl_weight"]
        return generative_losses.guidance(images, teacher.infer(images), *weights)

    rows = []
    for strength in STRENGTHS:
        torch.manual_seed(0)
        parts, losses = [], []
        for labels in (torch.arange(count) % len(source.names)).split(BATCH):
            images, _ = source.guided(loss, labels, knobs["denoising_steps"], strength, knobs["class_guidance"], image)
            with torch.no_grad():
                losses.append(loss(images))
            parts.append(to_bytes(image.to_pixels(images)).permute(0, 3, 1, 2))
        made = torch.cat(parts)
        fid, mean = quality.frechet_distance(real, extractor.features(made)), made.float().mean() / 255
        text = f"loss {torch.cat(losses).mean():.4f}; {extractor.describe(len(real.features), count)}: {fid:.2f}"
        default = " (default)" if strength == knobs["strength"] else ""
        text += f"; brightness {mean:.3f}, real images {_brightness(benchmark, image):.3f}"
        rows.append(Row(f"{benchmark}, images at strength {strength:g}{default}", text, value=fid))
        say(f"{rows[-1].what}: {text}")
    return rows


def _brightness(benchmark: str, image: Any) -> float:
    return float(find_benchmark(benchmark, image).load(train=False).images.float().mean() / 255)


def students(seeds: int, quick: bool) -> list[Row]:
    """DiffDFKD's final accuracies, and their paired difference."""
    tried = {"synthesis_batches": 2, "synthesis_size": 20, "denoising_steps": 2, "distill_steps": 5} if quick else {}
    finals: dict[str, list[dict[str, float]]] = {"with guidance": [], "without": []}
    with tempfile.TemporaryDirectory() as runs:
        for seed in range(seeds):
            for name, knobs in zip(finals, ({}, {"strength": 0.0}), strict=True):
                spec = make_spec(tried | knobs, method="diffdfkd", preset="demo", seed=seed, threads=1, device="cpu")
                status = RunFolder(Path(runs) / InlineEngine(Path(runs)).submit(spec)).status()
                if status.state != "done":
                    raise SystemExit(status.message)
                finals[name].append(status.result)
                say(f"DiffDFKD {name}, seed {seed}: {status.result}")
    rows = []
    for name, results in finals.items():
        final, best = ([result[key] for result in results] for key in ("final", "best"))
        spread = f" ± {stdev(final):.2%}" if seeds > 1 else ""
        seconds = fmean(result["seconds"] for result in results)
        text = f"final {fmean(final):.2%}{spread}, best {fmean(best):.2%}, teacher {results[0]['teacher']:.2%}"
        rows.append(Row(f"digits, DiffDFKD {name}: accuracy of the student", f"{text}, {seconds:.0f} s a run"))
    pairs = zip(*finals.values(), strict=True)
    differences = [one["final"] - other["final"] for one, other in pairs]
    if seeds > 1:
        mean, low, high = interval(differences)
        text = f"{mean:+.2%} [{low:+.2%}, {high:+.2%}] (n = {seeds}, paired)"
        rows.append(Row("digits, DiffDFKD: what guidance adds to the final accuracy", text, value=mean))
    return rows


def main() -> None:
    def add(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--parts", nargs="*", default=["images", "student"], choices=["images", "student"])
        parser.add_argument("--benchmarks", nargs="*", default=["digits", "mnist"])
        parser.add_argument("--images", type=int, default=300, help="of each strength (default 300)")
        parser.add_argument("--seeds", type=int, default=3, help="of the students (default 3)")

    asked = options("guidance", __doc__, add)
    rows = []
    if "images" in asked.parts:
        for benchmark in asked.benchmarks:
            rows += images_of(benchmark, 20 if asked.quick else asked.images)
    if "student" in asked.parts:
        rows += students(2 if asked.quick else asked.seeds, asked.quick)
    whole = len(asked.parts) == 2 and len(asked.benchmarks) == 2
    report("guidance", asked.quick, rows, {}, "" if whole else "-".join([*asked.parts, *asked.benchmarks]))


if __name__ == "__main__":
    main()
