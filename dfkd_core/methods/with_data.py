"""Distilling a generative model with its data: the baseline that the data-free students are held against.

It is not data-free. One step is

1. B images of the teacher's training set, drawn with replacement, their labels unknown;
2. ``ukd``: the teacher's posterior on them, drawn once, is the noise that teacher and student share, and the student
   learns by UKD (Chen et al., CVPR 2023), as the slides' row "Student (with CIFAR-10)"; ``elbo``: the student learns
   the images as a VAE does, without the teacher;
3. an update of the student by Adam.

Everything but where the images come from is as in ``ukd``, so that the two differ in nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor

from dfkd_core.errors import RequestError
from dfkd_core.events import Event
from dfkd_core.kit import generative_stage
from dfkd_core.kit.contract import GenerativeProblem, Requirements, Summary
from dfkd_core.kit.generative_stage import DistillConfig, GenerativeStage, sampled
from dfkd_core.kit.method import Method
from dfkd_core.kit.student_stage import draw


class WithDataConfig(DistillConfig):
    """Knobs of the student only."""

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "demo": {"distill_steps": 600, "batch_size": 64, "student_lr": 5e-3, "schedule": "cosine"},
        "cpu": {"distill_steps": 3000, "batch_size": 64, "student_lr": 5e-3, "schedule": "cosine"},
        "paper": {},
    }


class WithData(Method[GenerativeProblem, WithDataConfig]):
    """See the module's docstring."""

    name, title, Config = "with-data", "With data (baseline)", WithDataConfig
    requires = Requirements(original=True, task="generative")
    summary = Summary(
        images="the teacher's training images",
        student="output and every level of latents",
    )
    terms = generative_stage.TERMS
    phases = generative_stage.PHASES
    saved = ("stage",)

    def __init__(self, problem: GenerativeProblem, config: WithDataConfig) -> None:
        super().__init__(problem, config)
        if problem.original is None or not len(problem.original):
            raise RequestError("original", 0, "there is no image to learn from.")
        self.images = problem.original.to(self.device)
        self.stage = GenerativeStage(self)

    def train(self) -> Iterator[Event]:
        """Updates on original images."""
        for seen in self.steps():
            images = self.image.normalise(draw(self.images, self.config.batch_size))
            self.stage.learn(seen, self.stage.infer(images), images)
            yield from seen.events()

    def synthesize(self, count: int, generator: torch.Generator) -> Tensor:
        """``count`` images of the student, normalised."""
        return sampled(self.problem.student, count, generator, self.device)
