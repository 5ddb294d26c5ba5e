"""How good a generative student is beside its teacher, on data that no method sees.

Of 500 images from the same noise at every evaluation: ``fid`` in a classifier's features against as many test images,
and ``mismatch``, the mean squared difference between the teacher's and the student's pixels. Of test images:
``mse`` of pixels in [0, 1], how well they are reconstructed, and ``elbo`` in nats an image. A student whose encoder
is not trained reconstructs from its teacher's latents, and has no ELBO.
"""

from __future__ import annotations

import math
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dfkd_core.data.labelled import evenly_by_class
from dfkd_core.errors import RequestError
from dfkd_core.events import Probes, Quality
from dfkd_core.kit.contract import GenerativeProblem
from dfkd_core.kit.method import Method
from dfkd_core.kit.samples import to_bytes
from dfkd_core.losses.latent import level_kl, negative_elbo
from dfkd_core.networks.classifiers import evaluating
from dfkd_core.networks.latent import Gaussian, LatentNetwork, draw_noise
from dfkd_core.quality import measures as quality
from dfkd_core.runs.evaluation import Evaluator
from dfkd_core.teachers.cards import TeacherCard

SAMPLES, RECONSTRUCTED = 500, 256  # images that are generated, and that are reconstructed
SEED = 2_211_06385  # of the noise; any number will do, as long as it never changes
SHOWN, BETWEEN, PATHS = 10, 10, 4  # reconstructions, images of one interpolation, interpolations
PANELS = (
    "real", "teacher reconstruction", "student reconstruction", "teacher interpolation", "student interpolation",
    "teacher sample", "student sample", "synthetic",
)  # fmt: skip
"""What the number in the column ``panel`` of a generative run's ``Samples`` and ``Probes`` says."""


class LatentEvaluator(Evaluator[Quality]):
    """Without evaluation data, or without a classifier of it, there is ``mismatch`` only.

    ``extractor``: the name of the one that the run goes on with, empty where it has none; None if it begins. Where that
    one cannot be had any more it is the usual one.
    """

    def __init__(
        self, benchmark: str, card: TeacherCard, problem: GenerativeProblem, cache: Path, extractor: str | None = None
    ) -> None:
        super().__init__(benchmark, problem.image, problem.device)
        self.teacher, self.student = problem.teacher, problem.student
        self.extractor, self.reference = self._judge(card, extractor, cache)
        self.noise = self._noise(SAMPLES)
        self.teacher_images = self._generate(self.teacher)
        self.teacher_figures = self._figures(self.teacher, self.teacher_images, True, problem.beta)

    def judged_in(self) -> tuple[str, str]:
        return ("", "") if self.extractor is None else (self.extractor.name, self.extractor.identity)

    @property
    def score(self) -> str:
        """The figure that tells how good the student is; the lower the better."""
        return "fid" if self.extractor is not None else "mismatch"

    @property
    def label(self) -> str:
        """What the FID is; empty where there is none."""
        if self.extractor is None or self.reference is None:
            return ""
        return self.extractor.describe(len(self.reference.features), SAMPLES)

    def measure(self, method: Method[Any, Any], seed: int) -> Quality:
        images = self._generate(self.student)
        values = self._figures(self.student, images, method.encoder_trained, method.beta)
        values["mismatch"] = float((self._pixels(images) - self._pixels(self.teacher_images)).square().mean())
        finite = {name: value for name, value in values.items() if math.isfinite(value)}
        return Quality(method.step, finite, self.teacher_figures, self._levels(), self.label)

    def score_of(self, event: Quality) -> float:
        return event.values.get(self.score, math.nan)

    def result(self, scores: list[float]) -> dict[str, Any]:
        known = [score for score in scores if math.isfinite(score)]
        final = scores[-1] if math.isfinite(scores[-1]) else None
        return {
            "measure": self.score,
            "final": final,
            "best": min(known, default=None),
            "teacher": self.teacher_figures.get(self.score),
        }

    def real(self, count: int) -> None:
        """No images are kept beside such a run: ``Probes`` have some."""

    @torch.no_grad()
    def probe(self, method: Method[Any, Any], count: int, features: bool) -> Probes:
        """What both make of the same: reconstructions, interpolations between fixed latents, ``count`` samples."""
        own_encoder = method.encoder_trained
        parts = [*self._reconstructions(own_encoder), *self._interpolations()]
        parts += [images[:count] for images in (self.teacher_images, self._generate(self.student))]
        panel = np.concatenate([np.full(len(part), number, np.int16) for number, part in enumerate(parts)])
        pixels = self._pixels(torch.cat(parts))
        return Probes(method.step, to_bytes(pixels).cpu().numpy(), {"panel": panel})

    # --- parts ---

    def _judge(
        self, card: TeacherCard, name: str | None, cache: Path
    ) -> tuple[quality.Extractor | None, quality.Reference | None]:
        """Extractor and real images; neither where there is no such."""
        if self.data is not None and name != "":
            for one in dict.fromkeys((name or "", "")):
                with suppress(RequestError):
                    extractor = quality.find_extractor(one, card)
                    return extractor, quality.reference(self.data, extractor, SAMPLES, cache)
        return None, None

    def _noise(self, count: int) -> tuple[Tensor, ...]:
        return draw_noise(self.teacher, count, self.device, torch.Generator().manual_seed(SEED))

    def _pixels(self, images: Tensor) -> Tensor:
        return self.image.to_pixels(images).clamp(0, 1)

    @torch.no_grad()
    def _generate(self, model: LatentNetwork) -> Tensor:
        with evaluating(model):
            parts = zip(*(level.split(quality.BATCH) for level in self.noise), strict=True)
            return torch.cat([model.generate(part).images for part in parts])

    def _real(self, count: int) -> Tensor:
        """The first test images of each class, normalised; without data what the teacher makes stands in."""
        if self.data is None:
            return self.teacher_images[:count]
        chosen = self.data.images[evenly_by_class(self.data.labels, count)]
        return self.image.from_bytes(chosen.to(self.device))

    @torch.no_grad()
    def _figures(self, model: LatentNetwork, images: Tensor, own_encoder: bool, beta: float) -> dict[str, float]:
        figures = {}
        if self.extractor is not None and self.reference is not None:
            pixels = to_bytes(self._pixels(images)).permute(0, 3, 1, 2).cpu()
            if images.isfinite().all():
                figures["fid"] = quality.frechet_distance(self.reference, self.extractor.features(pixels))
        real = self._real(RECONSTRUCTED)
        with evaluating(model):
            again = model.infer(real).images if own_encoder else self._by_teacher(real)
            figures["mse"] = float((self._pixels(again) - self._pixels(real)).square().mean())
            if own_encoder:
                drawn = model.infer(real, self._noise(len(real)))
                figures["elbo"] = -float(torch.stack(list(negative_elbo(real, drawn, beta=beta).values())).sum())
        return figures

    def _by_teacher(self, images: Tensor) -> Tensor:
        """The student's reconstruction from the teacher's latents."""
        return self.student.generate(self.teacher.infer(images).noise).images

    @torch.no_grad()
    def _levels(self) -> dict[str, list[float]]:
        """Of test images, means over each level: std and root mean square of the mean of the teacher's posterior and
        prior and of the student's prior for the same noise, and the teacher's KL in nats an image. What is not finite
        is left out."""
        real = self._real(RECONSTRUCTED)
        with evaluating(self.student):
            inferred = self.teacher.infer(real, self._noise(len(real)))
            student = self.student.generate(inferred.noise)
        found = {"kl": level_kl(inferred).mean(dim=1).tolist()}
        kinds = (("posterior", inferred.posterior), ("prior", inferred.prior), ("student_prior", student.prior))
        for name, levels in kinds:
            found[f"{name}_std"] = [float(level.std.mean()) for level in levels]
            found[f"{name}_mean"] = [_root_mean_square(level) for level in levels]
        return {name: [round(value, 5) for value in row] for name, row in found.items() if all(map(math.isfinite, row))}

    def _reconstructions(self, own_encoder: bool) -> list[Tensor]:
        real = self._real(SHOWN)
        with evaluating(self.student):
            again = self.student.infer(real).images if own_encoder else self._by_teacher(real)
            return [real, self.teacher.infer(real).images, again]

    def _interpolations(self) -> list[Tensor]:
        """Along the great circle between two latents, PATHS times BETWEEN images of each network."""
        share = torch.linspace(0, 0.5 * math.pi, BETWEEN, device=self.device)
        noise = []
        for level in self.noise:
            begin, end = level[:PATHS, None], level[PATHS : 2 * PATHS, None]
            across = share.view(1, -1, *[1] * (level.dim() - 1))
            noise.append((begin * across.cos() + end * across.sin()).flatten(0, 1))
        with evaluating(self.student):
            return [model.generate(noise).images for model in (self.teacher, self.student)]


def _root_mean_square(level: Gaussian) -> float:
    return float(level.mean.square().mean().sqrt())
