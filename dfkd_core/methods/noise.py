"""Noise: the student learns from the teacher's answers to random images. The floor that a generator has to beat.

DFAD (Fang et al., 2019, arXiv 1912.11006) reports this baseline as "random noise". One step is ``student_steps``
times:

1. B noise images: ``gaussian`` draws the *normalised* image from N(0, 1), which has the training data's moments per
   channel; ``uniform`` draws every pixel from [0, 1].
2. L_S = mean |S(x̂) − T(x̂)| on logits, the student loss of TA-DFKD; SGD, cosine per epoch.

Schedule, presets and optimizer are TA-DFKD's, so that the two differ in where the images come from and in nothing
else. Each image is one query of the teacher (the metric ``queries``). TA-DFKD also asks about rejected samples and
the generator's batch: for equal queries, give this method more epochs.

There is no generator, hence no term health and no adversarial term, and nothing is rejected: in ``Samples`` every
image is clean, and there is neither a posterior nor a mixture. Noise is not augmented; a crop of noise is noise.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from dfkd_core.events import Event
from dfkd_core.kit.config import UpdatesConfig, exactly, knob
from dfkd_core.kit.contract import Problem, Requirements, Summary
from dfkd_core.kit.method import Method, descend, sgd


class NoiseConfig(UpdatesConfig):
    """Defaults are those of TA-DFKD's student."""

    kind: Literal["gaussian", "uniform"] = knob(
        "gaussian", "Normalised images from N(0, 1), or pixels from [0, 1].", group="Noise"
    )
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "demo": {"epochs": 30, "iterations": 20, "student_steps": 5, "batch_size": 128, "student_lr": 0.1},
        "cpu": {"epochs": 28, "iterations": 50, "student_steps": 5, "batch_size": 256, "student_lr": 0.05},
        "paper": {},
    }

    def queries(self, stage: str) -> tuple[int, int]:
        return exactly(self.student_steps * self.batch_size)


class Noise(Method[Problem, NoiseConfig]):
    """See the module's docstring."""

    name, title, Config = "noise", "Noise images", NoiseConfig
    requires = Requirements(of_teacher="answers")
    summary = Summary(
        images="random numbers",
        student="logits, L1",
    )
    phases = ("draw", "answer", "student")
    saved = ("student", "student_optimizer")

    def __init__(self, problem: Problem, config: NoiseConfig) -> None:
        super().__init__(problem, config)
        self.student_optimizer = sgd(self.student.parameters(), config)

    def train(self) -> Iterator[Event]:
        """k student steps on fresh noise."""
        for seen in self.steps():
            seen.anneal(self.student_optimizer)
            self.student.train()
            for _ in seen.repeat(self.config.student_steps):
                images = self.draw(self.config.batch_size)
                with torch.no_grad():
                    answers = self.teacher.features(images)
                self.queries += len(images)
                student_logits = self.student(images)
                loss = F.l1_loss(student_logits, answers.logits)  # L_S = mean |S(x̂) − T(x̂)|
                descend(loss, self.student_optimizer)
            student_logits = student_logits.detach()
            seen.student_loss(loss)
            seen.judged(answers)
            seen.samples(answers, student_logits, images=images)
            seen.phase("draw", images=images)
            seen.phase("answer", images=images, teacher=answers.logits)
            seen.phase_student(self.student, images, answers.logits, student_logits, self.config.student_steps)
            yield from seen.events()

    def draw(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """(count, C, H, W) normalised noise, from ``generator`` (a CPU one) or the device's global one."""
        shape = (count, self.image.channels, self.image.size, self.image.size)
        random = torch.randn if self.config.kind == "gaussian" else torch.rand
        drawn = random(shape, generator=generator, device=self.device if generator is None else "cpu").to(self.device)
        images = drawn if self.config.kind == "gaussian" else self.image.normalise(drawn)
        return images.contiguous(memory_format=torch.channels_last)

    @torch.no_grad()
    def synthesize(self, count: int, generator: torch.Generator) -> Tensor:
        """``count`` normalised noise images from ``generator`` (a CPU one); the training state stays as it is."""
        return self.draw(count, generator)
