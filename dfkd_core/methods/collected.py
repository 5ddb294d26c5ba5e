"""Collected images only: the student learns from the few real images at hand. The baseline that HiDFD has to beat.

No generator and no labels: one step is ``updates`` times

1. B of the collected images, drawn with replacement and augmented;
2. the teacher's answers to them, one query each (the metric ``queries``);
3. an update of the student by the ``objective``: SGD with HiDFD's schedule.

Objective, schedule, optimizer, augmentation and presets are those of HiDFD's student stage, so that the two differ in
the images and in nothing else. The other objectives are the rivals of HiDFD's Table 2 (Tang, Chen & Gong, AAAI 2025,
arXiv 2412.13525), which the paper runs on its hybrid set.

With ``objective`` = kd this is the "KD" of the papers' tables: on the original data where those are what is collected
(``--collected digits --ratio 1 --not-data-free true``, and the run is marked), on unrelated data where those are.

In ``Samples`` every image is clean, and there is neither a posterior nor a mixture.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor

from dfkd_core.events import Event
from dfkd_core.kit.config import knob
from dfkd_core.kit.contract import Problem, Requirements, Summary
from dfkd_core.kit.method import Method
from dfkd_core.kit.objectives import ObjectiveName, build_objective, check_objective
from dfkd_core.kit.student_stage import PHASES, StudentConfig, StudentStage, choose, collected_images, draw
from dfkd_core.networks.known import Known


class CollectedConfig(StudentConfig):
    """Defaults are those of HiDFD's student."""

    objective: ObjectiveName = knob("classifier-sharing", "What the student matches of its teacher.", group="Student")
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "demo": {"distill_steps": 320, "updates": 5, "student_lr": 0.1, "schedule": "cosine", "augmentation": "crop"},
        "cpu": {"distill_steps": 600, "updates": 5, "schedule": "cosine"},
        "paper": {"augmentation": "resized-crop+flip"},
    }


class Collected(Method[Problem, CollectedConfig]):
    """See the module's docstring."""

    name, title, Config = "collected", "Collected images only", CollectedConfig
    requires = Requirements(collected=True, of_teacher="answers")
    summary = Summary(
        images="collected images",
        student="features under the shared classifier, or one of nine others",
    )
    phases = PHASES
    saved = ("stage",)

    def __init__(self, problem: Problem, config: CollectedConfig) -> None:
        super().__init__(problem, config)
        self.images = collected_images(problem)
        self.stage = StudentStage(self, build_objective(config.objective, problem, config.batch_size))

    @classmethod
    def take(cls, config: Any, known: Known) -> None:
        super().take(config, known)
        check_objective(config.objective, known)

    def train(self) -> Iterator[Event]:
        """Updates on collected images."""
        for seen in self.steps():
            self.stage.learn(seen, lambda: draw(self.images, self.config.batch_size))
            yield from seen.events()

    def synthesize(self, count: int, generator: torch.Generator) -> Tensor:
        """Nothing is made here: ``count`` collected images, normalised, in an order that ``generator`` determines."""
        return choose(self.images, count, self.image, generator)
