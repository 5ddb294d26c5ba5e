"""How a latent-variable student learns: from its teacher's answers to shared noise (UKD), or by the ELBO of images.

Source: Chen et al., *A Unified Knowledge Distillation Framework for Deep Directed Graphical Models*, CVPR 2023.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from dfkd_core.kit.config import MethodConfig, Stage, knob
from dfkd_core.kit.contract import GenerativeProblem, Term
from dfkd_core.kit.method import Method, descend
from dfkd_core.kit.recorder import Seen
from dfkd_core.kit.recording import SHOWN
from dfkd_core.kit.schedules import cosine
from dfkd_core.losses import latent as losses
from dfkd_core.networks.classifiers import evaluating
from dfkd_core.networks.latent import LatentNetwork, draw_noise

PHASES = ("noise", "teacher", "student")
TERMS = (
    Term("output_kl", "output KL", of="student"),
    Term("latent_match", "latent match", "latent_weight", of="student"),
    Term("reconstruction", "reconstruction", of="student"),
    Term("kl", "KL", of="student"),
)
TEACHER_SAMPLE, STUDENT_SAMPLE, SYNTHETIC = 5, 6, 7  # of runs.latent_evaluation.PANELS
LATENTS = 48  # numbers of an image's noise that slow motion shows, those of the top level first
WARMUP = 0.2  # of the steps: the KL's weight rises from 0 to 1 when a student learns by the ELBO


class DistillConfig(MethodConfig):
    """How the student learns; defaults as Chen et al. publish them."""

    objective: Literal["ukd", "elbo"] = knob(
        "ukd",
        "ukd: match the teacher on shared noise. elbo: learn the images as a VAE does.",
        group="Student",
        first=True,
    )
    distill_steps: int = knob(20_000, "Updates of the student.", group="Student", ge=1, le=10_000_000)
    batch_size: int = knob(
        128, "Images, or draws of noise, a step.", group="Student", symbol="B", ge=2, le=4096, memory=True
    )
    student_lr: float = knob(1e-4, "Adam's learning rate.", group="Student", ge=0, le=1, live=True)
    weight_decay: float = knob(1e-4, "L2 penalty, added to the gradient.", group="Student", ge=0, le=1)
    schedule: Literal["constant", "cosine"] = knob("constant", "Of the learning rate.", group="Student")
    latent_weight: float = knob(
        0.1, "Weight of the match of all levels' priors beside the output's KL.",
        group="Student", ge=0, le=1000, live=True,
    )  # fmt: skip
    beta: float = knob(
        0.0, "The output's std is √(β/2), in training and in the student's ELBO; 0: as the teacher's.",
        group="Student", symbol="β", ge=0, le=10,
    )  # fmt: skip

    def stages(self) -> tuple[Stage, ...]:
        return (Stage("student", "Student", self.distill_steps, self.batch_size),)

    def student_rate(self, done: int) -> float:
        return self.student_lr * (cosine(done / self.distill_steps) if self.schedule == "cosine" else 1.0)

    @property
    def latent_length(self) -> int:
        return LATENTS


class GenerativeStage:
    """Updates of a student. With ``ukd`` its encoder stays as it is: only what generates is trained."""

    def __init__(self, method: Method[GenerativeProblem, Any]) -> None:
        self._method, config = method, method.config
        self.teacher, self.student = method.problem.teacher, method.problem.student
        method.encoder_trained = config.objective == "elbo"
        method.beta = config.beta or method.beta
        trained = [self.student] if method.encoder_trained else self.student.decoder()
        parameters = [parameter for part in trained for parameter in part.parameters()]
        self.optimizer = torch.optim.Adam(parameters, config.student_lr, weight_decay=config.weight_decay, fused=True)

    def learn(self, seen: Seen, noise: tuple[Tensor, ...], images: Tensor | None = None) -> None:
        """One update on ``noise``, (B, *shape) per level, and for the ELBO on ``images``, (B, C, H, W) normalised, or
        the teacher's own images of the noise."""
        c, beta = self._method.config, self._method.beta
        seen.anneal(self.optimizer)
        self.student.train()
        with torch.no_grad():
            teacher = self.teacher.generate(noise)
        if self._method.encoder_trained:
            given = teacher.images if images is None else images
            inferred = self.student.infer(given, draw_noise(self.student, len(given), given.device))
            terms = losses.negative_elbo(given, inferred, min(1.0, seen.progress / WARMUP), beta)
            made = inferred.images
        else:
            answer = self.student.generate(noise)
            terms = {
                "output_kl": losses.output_kl(teacher, answer, beta),
                "latent_match": c.latent_weight * losses.latent_match(teacher.prior, answer.prior),
            }
            made = answer.images
        loss = torch.stack(list(terms.values())).sum()
        seen.student_loss(loss, terms)
        descend(loss, self.optimizer)
        self._show(seen, noise, teacher.images, made.detach())

    def infer(self, images: Tensor) -> tuple[Tensor, ...]:
        """The teacher's posterior on (B, C, H, W) normalised ``images``, drawn once, as noise that is shared."""
        with torch.no_grad():
            return self.teacher.infer(images, draw_noise(self.teacher, len(images), images.device)).noise

    def _show(self, seen: Seen, noise: tuple[Tensor, ...], teacher: Tensor, student: Tensor) -> None:
        """The first images of the update: what the teacher made, and then the student of the same."""
        count = max(1, self._method.recording.samples // 2)
        pairs = [teacher[:count], student[:count]]
        panel = np.repeat(np.array([TEACHER_SAMPLE, STUDENT_SAMPLE], np.int16), [len(part) for part in pairs])
        seen.sheet(lambda: torch.cat(pairs), panel=panel)
        numbers = torch.cat([level[:SHOWN].flatten(1) for level in noise], dim=1)
        drawn = {"levels": float(len(noise)), "length": float(numbers.shape[1])}
        seen.phase("noise", arrays={"latents": numbers[:, :LATENTS]}, values=drawn)
        seen.phase("teacher", images=teacher)
        seen.phase("student", images=student, of="student", network=self.student)

    def state_dict(self) -> dict[str, Any]:
        return {"student": self.student.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.student.load_state_dict(state["student"])
        self.optimizer.load_state_dict(state["optimizer"])


@torch.no_grad()
def sampled(student: LatentNetwork, count: int, generator: torch.Generator, device: torch.device) -> Tensor:
    """``count`` images of ``student`` in eval mode, (N, C, H, W) normalised; its modes are as before afterwards."""
    with evaluating(student):
        return student.generate(draw_noise(student, count, device, generator)).images
