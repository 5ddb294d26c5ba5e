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
from dfkd_core.kit.config import MethodConfig
from dfkd_core.kit.contract import GenerativeProblem, PhaseInfo, Requirements
from dfkd_core.kit.generative_stage import DISTILL_PHASES, DistillConfig, GenerativeStage, synthesize
from dfkd_core.kit.student_stage import draw


class WithDataConfig(DistillConfig):
    """Knobs of the student only."""

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "demo": {"distill_steps": 600, "batch_size": 64, "student_lr": 5e-3, "schedule": "cosine"},
        "cpu": {"distill_steps": 3000, "batch_size": 64, "student_lr": 5e-3, "schedule": "cosine"},
        "paper": {},
    }


class WithData:
    """See the module's docstring."""

    name: ClassVar[str] = "with-data"
    title: ClassVar[str] = "With data (baseline)"
    Config: ClassVar[type[MethodConfig]] = WithDataConfig
    requires: ClassVar[Requirements] = Requirements(original=True, task="generative")
    phases: ClassVar[tuple[PhaseInfo, ...]] = DISTILL_PHASES
    student_learns = True
    synthesized: Tensor | None = None

    def __init__(self, problem: GenerativeProblem, config: WithDataConfig) -> None:
        if problem.original is None or not len(problem.original):
            raise RequestError("original", 0, "there is no image to learn from.")
        self.config, self.problem, self.image = config, problem, problem.image
        self.images = problem.original.to(problem.device)
        self.stage = GenerativeStage(problem, config)
        self.student = self.stage.student
        self.encoder_trained = self.stage.encoder_trained
        self.step = 0
        self.slow = False
        self.total_steps = config.distill_steps

    def train(self) -> Iterator[Event]:
        """Updates on original images."""
        while self.step < self.total_steps:
            self.step += 1
            images = self.image.normalise(draw(self.images, self.config.batch_size))
            learned = self.stage.learn((self.step - 1) / self.total_steps, self.stage.infer(images), images)
            yield from self.stage.report(self.step, learned, self.slow, {})

    def synthesize(self, count: int, generator: torch.Generator) -> Tensor:
        """``count`` images of the student, normalised."""
        return synthesize(self.student, count, generator, self.problem.device)

    def reconfigure(self, config: WithDataConfig) -> None:
        """Live knobs from the next step on."""
        self.config = config
        self.stage.reconfigure(config)

    def state_dict(self) -> dict[str, Any]:
        return {"step": self.step, "stage": self.stage.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.step = state["step"]
        self.stage.load_state_dict(state["stage"])
