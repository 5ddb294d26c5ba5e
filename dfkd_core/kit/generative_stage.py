"""How a latent-variable student learns: from its teacher's answers to shared noise (UKD), or by the ELBO of images.

Source: Chen et al., *A Unified Knowledge Distillation Framework for Deep Directed Graphical Models*, CVPR 2023.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from dfkd_core.events import Event, Phase, Phases, Samples, Step
from dfkd_core.kit.config import MethodConfig, knob
from dfkd_core.kit.contract import GenerativeProblem, PhaseInfo
from dfkd_core.kit.samples import SHOWN, thumbnails, to_bytes
from dfkd_core.kit.terms import TermGuard, gradient_norm
from dfkd_core.losses import latent as losses
from dfkd_core.networks.latent import LatentNetwork, draw_noise, evaluating

TEACHER_SAMPLE, STUDENT_SAMPLE, SYNTHETIC = 5, 6, 7  # of generative_evaluation.PANELS
LATENTS = 48  # numbers of an image's noise that slow motion shows, those of the top level first
WARMUP = 0.2  # of the steps: the KL's weight rises from 0 to 1 when a student learns by the ELBO
DISTILL_PHASES = (
    PhaseInfo("noise", "Noise", "Standard normal noise for every level: drawn, or inferred from images.", ("latent",)),
    PhaseInfo("teacher", "Teacher", "The frozen teacher turns the noise into an image, level by level.", ("teacher",)),
    PhaseInfo(
        "student",
        "Student",
        "The student, of the same noise, is moved towards it; by the ELBO, towards the image that it reconstructs.",
        ("student",),
    ),
)


class DistillConfig(MethodConfig):
    """How the student learns; defaults as Chen et al. publish them."""

    objective: Literal["ukd", "elbo"] = knob(
        "ukd", "ukd: match the teacher on shared noise. elbo: learn the images as a VAE does.", group="Student"
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
    beta: float = knob(0.1, "The output's std is √(β/2).", group="Student", symbol="β", gt=0, le=10)


class Learned(NamedTuple):
    """One update: the ``noise`` of every level, loss ``terms``, and what teacher and student made, (B, C, H, W)
    normalised, at learning ``rate``."""

    noise: tuple[Tensor, ...]
    terms: dict[str, Tensor]
    teacher: Tensor
    student: Tensor
    rate: float


class GenerativeStage:
    """Updates of a student. With ``ukd`` its encoder stays as it is: only what generates is trained."""

    def __init__(self, problem: GenerativeProblem, config: DistillConfig) -> None:
        self.config, self.image, self.device = config, problem.image, problem.device
        self.teacher, self.student, self.recording = problem.teacher, problem.student, problem.recording
        self.encoder_trained = config.objective == "elbo"
        trained = [self.student] if self.encoder_trained else self.student.decoder()
        parameters = [parameter for part in trained for parameter in part.parameters()]
        self.optimizer = torch.optim.Adam(parameters, config.student_lr, weight_decay=config.weight_decay, fused=True)
        self.guard = TermGuard()

    def learn(self, progress: float, noise: tuple[Tensor, ...], images: Tensor | None) -> Learned:
        """One update on ``noise``, (B, *shape) per level, and for the ELBO on ``images``, (B, C, H, W) normalised, or
        the teacher's own images of the noise; ``progress`` of the stage, 0 to 1, sets the learning rate."""
        rate = self._anneal(progress)
        self.student.train()
        with torch.no_grad():
            teacher = self.teacher.generate(noise)
        if self.encoder_trained:
            given = teacher.images if images is None else images
            terms, student = self._elbo(given, min(1.0, progress / WARMUP))
        else:
            student_answer = self.student.generate(noise)
            student = student_answer.images
            terms = {
                "output_kl": losses.output_kl(teacher, student_answer, self.config.beta),
                "latent_match": self.config.latent_weight * losses.latent_match(teacher.prior, student_answer.prior),
            }
        self.optimizer.zero_grad(set_to_none=True)
        torch.stack(list(terms.values())).sum().backward()
        self.optimizer.step()
        detached = {name: term.detach() for name, term in terms.items()}
        return Learned(noise, detached, teacher.images, student.detach(), rate)

    def _elbo(self, images: Tensor, kl_weight: float) -> tuple[dict[str, Tensor], Tensor]:
        inferred = self.student.infer(images, draw_noise(self.student, len(images), self.device))
        return losses.negative_elbo(images, inferred, kl_weight, self.config.beta), inferred.images

    def infer(self, images: Tensor) -> tuple[Tensor, ...]:
        """The teacher's posterior on (B, C, H, W) normalised ``images``, drawn once, as noise that is shared."""
        with torch.no_grad():
            return self.teacher.infer(images, draw_noise(self.teacher, len(images), self.device)).noise

    def _anneal(self, progress: float) -> float:
        cosine = self.config.schedule == "cosine"
        rate = self.config.student_lr * (0.5 * (1 + math.cos(math.pi * progress)) if cosine else 1.0)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        return rate

    # --- what others see ---

    def report(self, step: int, learned: Learned, slow: bool, also: dict[str, float]) -> Iterator[Event]:
        """The events that close a step, ``Step`` last; ``also``: metrics of the method's own."""
        if self.recording.due(self.recording.samples_every, step):
            yield self.samples(step, learned)
        if slow or self.recording.due(self.recording.phases_every, step):
            yield self.in_slow_motion(step, learned)
        values = self.metrics(step, learned)
        yield Step(step, values | also if values else {})

    @torch.no_grad()
    def metrics(self, step: int, learned: Learned) -> dict[str, float]:
        """``student_loss``, each term by its name, and the learning rate, where they are due; else nothing."""
        due = self.recording.due(self.recording.log_every, step)
        if not due and self.device.type != "cpu":
            return {}
        total = torch.stack(list(learned.terms.values())).sum()
        values = self.guard.read(step, {"student_loss": total, **learned.terms})
        return {**values, "learning_rate": learned.rate} if due else {}

    def samples(self, step: int, learned: Learned) -> Samples:
        """The first images of the last update: what the teacher made, and then the student of the same."""
        count = max(1, self.recording.samples // 2)
        pairs = [learned.teacher[:count], learned.student[:count]]
        panel = np.repeat(np.array([TEACHER_SAMPLE, STUDENT_SAMPLE], np.int16), [len(part) for part in pairs])
        return Samples(step, to_bytes(self.image.to_pixels(torch.cat(pairs))).cpu().numpy(), {"panel": panel})

    @torch.no_grad()
    def in_slow_motion(self, step: int, learned: Learned) -> Phases:
        """The last update, phase by phase: those of ``DISTILL_PHASES``."""
        values = {name: float(term) for name, term in learned.terms.items()}
        values |= {"gradient": gradient_norm(self.student), "learning_rate": learned.rate}
        shown = [thumbnails(self.image.to_pixels(images[:SHOWN])) for images in (learned.teacher, learned.student)]
        numbers = torch.cat([level[:SHOWN].flatten(1) for level in learned.noise], dim=1)
        drawn = {"levels": float(len(learned.noise)), "length": float(numbers.shape[1])}
        noise = Phase("noise", drawn, None, {"latents": numbers[:, :LATENTS].cpu().numpy()})
        return Phases(step, (noise, Phase("teacher", {}, shown[0]), Phase("student", values, shown[1])))

    def reconfigure(self, config: DistillConfig) -> None:
        """Learning rate and weight of the latent term from the next step on."""
        self.config = config

    def state_dict(self) -> dict[str, Any]:
        return {"student": self.student.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.student.load_state_dict(state["student"])
        self.optimizer.load_state_dict(state["optimizer"])


@torch.no_grad()
def synthesize(student: LatentNetwork, count: int, generator: torch.Generator, device: torch.device) -> Tensor:
    """``count`` images of ``student`` in eval mode, (N, C, H, W) normalised; its modes are as before afterwards."""
    with evaluating(student):
        return student.generate(draw_noise(student, count, device, generator)).images
