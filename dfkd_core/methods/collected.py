"""Collected images only: the student learns from the few real images at hand. The baseline that HiDFD has to beat.

No generator and no labels: one step is ``updates`` times

1. B of the collected images, drawn with replacement and augmented;
2. the teacher's answers to them, one query each (the metric ``queries``);
3. an update of the student by the ``objective``: SGD with HiDFD's schedule.

Objective, schedule, optimizer, augmentation and presets are those of HiDFD's student stage, so that the two differ in
the images and in nothing else. The other objectives are the rivals of HiDFD's Table 2 (Tang, Chen & Gong, AAAI 2025,
arXiv 2412.13525), which the paper runs on its hybrid set.

In ``Samples`` every image is clean, and there is neither a posterior nor a mixture.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor

from dfkd_core.events import Event
from dfkd_core.kit.config import MethodConfig, knob
from dfkd_core.kit.contract import PhaseInfo, Problem, Requirements
from dfkd_core.kit.objectives import ObjectiveName
from dfkd_core.kit.student_stage import STUDENT_PHASES, StudentConfig, StudentStage, choose, collected_images, draw


class CollectedConfig(StudentConfig):
    """Defaults are those of HiDFD's student."""

    objective: ObjectiveName = knob("classifier-sharing", "What the student matches of its teacher.", group="Student")
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "demo": {"distill_steps": 320, "updates": 5, "student_lr": 0.1, "schedule": "cosine", "augmentation": "crop"},
        "cpu": {"distill_steps": 600, "updates": 5, "schedule": "cosine"},
        "paper": {},
    }


class Collected:
    """See the module's docstring."""

    name: ClassVar[str] = "collected"
    title: ClassVar[str] = "Collected images only"
    Config: ClassVar[type[MethodConfig]] = CollectedConfig
    requires: ClassVar[Requirements] = Requirements(collected=True)
    student_learns = True
    phases: ClassVar[tuple[PhaseInfo, ...]] = STUDENT_PHASES

    def __init__(self, problem: Problem, config: CollectedConfig) -> None:
        self.config, self.image = config, problem.image
        self.images = collected_images(problem)
        self.stage = StudentStage(problem, config, config.objective)
        self.student = self.stage.student
        self.step = 0
        self.slow = False
        self.total_steps = config.distill_steps

    def train(self) -> Iterator[Event]:
        """Updates on collected images."""
        while self.step < self.total_steps:
            self.step += 1
            progress = (self.step - 1) / self.total_steps
            learned = self.stage.learn(progress, lambda: draw(self.images, self.config.batch_size))
            queries = float(self.step * self.config.updates * self.config.batch_size)
            yield from self.stage.report(self.step, learned, self.slow, {"queries": queries})

    def synthesize(self, count: int, generator: torch.Generator) -> Tensor:
        """Nothing is made here: ``count`` collected images, normalised, in an order that ``generator`` determines."""
        return choose(self.images, count, self.image, generator)

    def reconfigure(self, config: CollectedConfig) -> None:
        """The learning rate from the next step on."""
        self.config = config
        self.stage.reconfigure(config)

    def state_dict(self) -> dict[str, Any]:
        return {"step": self.step, "stage": self.stage.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.step = state["step"]
        self.stage.load_state_dict(state["stage"])
