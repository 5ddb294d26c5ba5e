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

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from dfkd_core.events import Epoch, Event, Phase, Phases, Samples, Step
from dfkd_core.kit.config import MethodConfig, knob
from dfkd_core.kit.contract import PhaseInfo, Problem, Requirements
from dfkd_core.kit.samples import SHOWN, answers, describe, thumbnails
from dfkd_core.kit.terms import TermGuard, gradient_norm
from dfkd_core.losses import generator as losses
from dfkd_core.networks.classifiers import Features


class NoiseConfig(MethodConfig):
    """Defaults are those of TA-DFKD's student."""

    kind: Literal["gaussian", "uniform"] = knob(
        "gaussian", "Normalised images from N(0, 1), or pixels from [0, 1].", group="Noise"
    )
    epochs: int = knob(200, "Length of the run.", group="Schedule", unit="epochs", ge=1, le=100_000)
    iterations: int = knob(36, "Steps in an epoch.", group="Schedule", unit="steps", ge=1, le=100_000)
    student_steps: int = knob(
        10, "Student steps, each on fresh noise, in a step.", group="Schedule", symbol="k", unit="steps", ge=1, le=1000
    )
    batch_size: int = knob(
        1024, "Images per batch.", group="Schedule", symbol="B", unit="images", memory=True, ge=4, le=16384
    )
    student_lr: float = knob(
        0.01, "Learning rate of the student (SGD, cosine).", group="Optimisation", live=True, symbol="η_S", gt=0, le=10
    )
    momentum: float = knob(0.9, "Momentum of the student's SGD.", group="Optimisation", ge=0, lt=1)
    weight_decay: float = knob(5e-4, "Weight decay of the student's SGD.", group="Optimisation", ge=0, le=1)
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "demo": {"epochs": 20, "iterations": 20, "student_steps": 5, "batch_size": 128, "student_lr": 0.05},
        "cpu": {"epochs": 40, "iterations": 50, "student_steps": 5, "batch_size": 256},
        "paper": {},
    }


@dataclass(frozen=True)
class _Learned:
    """The last student step of one step: its images as the two networks saw them."""

    loss: Tensor
    images: Tensor
    seen: Features
    student_logits: Tensor


class Noise:
    """See the module's docstring."""

    name: ClassVar[str] = "noise"
    title: ClassVar[str] = "Noise images"
    Config: ClassVar[type[MethodConfig]] = NoiseConfig
    requires: ClassVar[Requirements] = Requirements()
    student_learns = True
    phases: ClassVar[tuple[PhaseInfo, ...]] = (
        PhaseInfo("draw", "Draw noise", "Images of pure noise: nothing here was learned.", ("noise images",)),
        PhaseInfo(
            "answer",
            "The teacher answers",
            "The teacher says what it sees in the noise; every answer is taken.",
            ("teacher", "query"),
        ),
        PhaseInfo(
            "student",
            "The student learns",
            "Its logits move towards the teacher's on the same noise: mean |S − T|.",
            ("student", "student loss", "logit", "gradient"),
        ),
    )

    def __init__(self, problem: Problem, config: NoiseConfig) -> None:
        self.config, self.image, self.device = config, problem.image, problem.device
        self.recording, self.guard = problem.recording, TermGuard()
        self.teacher, self.student = problem.teacher, problem.student
        self.student_optimizer = torch.optim.SGD(
            self.student.parameters(), config.student_lr, config.momentum, weight_decay=config.weight_decay, fused=True
        )
        self.step = 0
        self.slow = False
        self.total_steps = config.epochs * config.iterations

    def train(self) -> Iterator[Event]:
        """k student steps on fresh noise."""
        while self.step < self.total_steps:
            self.step += 1
            rate = self._anneal()
            learned = self._student_phase()
            if self.recording.due(self.recording.samples_every, self.step):
                yield self._samples(learned)
            if self.slow or self.recording.due(self.recording.phases_every, self.step):
                yield self._in_slow_motion(learned, rate)
            if self.step % self.config.iterations == 0:
                yield Epoch(self.step, self.step // self.config.iterations, rate)
            yield Step(self.step, self._metrics(learned, rate))

    def _student_phase(self) -> _Learned:
        """k student steps; returns what the last one leaves behind."""
        self.student.train()
        for _ in range(self.config.student_steps):
            images = self._draw(self.config.batch_size)
            with torch.no_grad():
                seen = self.teacher.features(images)
            student_logits = self.student(images)
            loss = F.l1_loss(student_logits, seen.logits)  # L_S
            self.student_optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.student_optimizer.step()
        return _Learned(loss.detach(), images, seen, student_logits.detach())

    def _draw(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """(count, C, H, W) normalised noise, from ``generator`` (a CPU one) or the device's global one."""
        shape = (count, self.image.channels, self.image.size, self.image.size)
        draw = torch.randn if self.config.kind == "gaussian" else torch.rand
        drawn = draw(shape, generator=generator, device=self.device if generator is None else "cpu").to(self.device)
        images = drawn if self.config.kind == "gaussian" else self.image.normalise(drawn)
        return images.contiguous(memory_format=torch.channels_last)

    def _anneal(self) -> float:
        """Cosine per epoch, a function of the step alone so that a resumed run needs no scheduler."""
        epoch = (self.step - 1) // self.config.iterations
        rate = self.config.student_lr * 0.5 * (1 + math.cos(math.pi * epoch / self.config.epochs))
        for group in self.student_optimizer.param_groups:
            group["lr"] = rate
        return rate

    # --- what others see ---

    @torch.no_grad()
    def _metrics(self, learned: _Learned, rate: float) -> dict[str, float]:
        """Floats where they are due. On a CPU reading them is free, so every step is checked for NaN there."""
        due = self.recording.due(self.recording.log_every, self.step)
        if not due and self.device.type != "cpu":
            return {}
        values = self.guard.read(self.step, {"student_loss": learned.loss})
        if not due:
            return {}
        balance = losses.class_balance(learned.seen.logits)
        return {
            **values,
            "queries": float(self.step * self.config.student_steps * self.config.batch_size),
            "coverage": math.exp(-float(balance)) / len(self.image.classes),
            "diversity": float(losses.diversity(learned.seen.pooled)),
            "learning_rate": rate,
        }

    @torch.no_grad()
    def _samples(self, learned: _Learned) -> Samples:
        """The first images of the last student step, as the teacher judged them; all of them were learned from."""
        count = min(self.recording.samples, self.config.batch_size)
        pixels = self.image.to_pixels(learned.images[:count])  # gaussian noise leaves the range of pixels: clamped
        seen = Features(learned.seen.logits[:count], learned.seen.pooled[:count], {})
        student_logits = learned.student_logits[:count]
        return describe(self.step, pixels, seen, student_logits, None, features=self.recording.features)

    @torch.no_grad()
    def _in_slow_motion(self, learned: _Learned, rate: float) -> Phases:
        """The last student step of this step, phase by phase."""
        images = thumbnails(self.image.to_pixels(learned.images[:SHOWN]))
        values = {
            "student_loss": float(learned.loss),
            "gradient": gradient_norm(self.student),
            "learning_rate": rate,
            "student_steps": float(self.config.student_steps),
        }
        teacher, student = answers("teacher", learned.seen.logits), answers("student", learned.student_logits)
        phases = (
            Phase("draw", {}, images),
            Phase("answer", {}, images, teacher),
            Phase("student", values, images, teacher | student),
        )
        return Phases(self.step, phases)

    @torch.no_grad()
    def synthesize(self, count: int, generator: torch.Generator) -> Tensor:
        """``count`` normalised noise images from ``generator`` (a CPU one); the training state stays as it is."""
        return self._draw(count, generator)

    def reconfigure(self, config: NoiseConfig) -> None:
        """The learning rate from the next step on."""
        self.config = config

    def state_dict(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "student": self.student.state_dict(),
            "student_optimizer": self.student_optimizer.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.step = state["step"]
        self.student.load_state_dict(state["student"])
        self.student_optimizer.load_state_dict(state["student_optimizer"])
