"""What generation-based methods share: a generator that learns beside the student, from latents alone."""

from __future__ import annotations

from collections.abc import Callable
from math import log
from typing import ClassVar, Literal, TypeVar

import torch
from torch import Tensor

from dfkd_core.kit.config import EpochConfig, knob
from dfkd_core.kit.contract import Problem
from dfkd_core.kit.method import Method, descend, placed, sgd
from dfkd_core.kit.objective import last_of
from dfkd_core.kit.recorder import Seen
from dfkd_core.kit.schedules import set_rate
from dfkd_core.networks.classifiers import Features, evaluating
from dfkd_core.networks.generators import ConvGenerator, StandardisedHead


class GeneratorConfig(EpochConfig):
    """The generator's knobs beside the student's; defaults are TA-DFKD's for CIFAR-10."""

    generator_lr: float = knob(
        1e-3, "Learning rate of the generator (Adam).", group="Optimisation", live=True, symbol="η_G", gt=0, le=10
    )
    latent: int = knob(1000, "Length of a latent vector.", group="Networks", symbol="z", ge=1, le=10_000)
    width: int = knob(
        64, "Channels of the generator's last hidden layer.", group="Networks", symbol="w", memory=True, ge=4, le=512
    )

    @property
    def latent_length(self) -> int:
        return self.latent


class HeadConfig(GeneratorConfig):
    """For methods whose released generator does not end with a sigmoid."""

    head: Literal["standardised", "sigmoid"] = knob(
        "standardised", "How the generator ends: as released, or with pixels in [0, 1].", group="Networks"
    )


class PriorConfig(HeadConfig):
    """The weights of DAFL's terms, with the values of its MNIST."""

    class_prior_weight: float = knob(
        1.0, "Weight of the one-hot loss, DAFL's class prior.", group="Generator", live=True, symbol="λ", ge=0, le=100
    )
    class_balance_weight: float = knob(
        5.0, "Weight of the information entropy of the mean prediction.", group="Generator", live=True, symbol="λ_BAL",
        ge=0, le=100,
    )  # fmt: skip
    activation_weight: float = knob(
        0.1, "Weight of the activation of the teacher's features.", group="Generator", live=True, symbol="λ_a", ge=0,
        le=100,
    )  # fmt: skip
    logarithm: Literal["natural", "10"] = knob("natural", "Base of the information entropy.", group="Generator")

    @property
    def base(self) -> float:
        """What divides natural logarithms."""
        return 1.0 if self.logarithm == "natural" else log(10)


C = TypeVar("C", bound=GeneratorConfig)


class GeneratorMethod(Method[Problem, C]):
    """``generator`` makes images of latents; Adam moves it, SGD the student."""

    saved: ClassVar[tuple[str, ...]] = ("student", "generator", "student_optimizer", "generator_optimizer")
    rates = {"generator_optimizer": "generator_lr"}
    epsilon: ClassVar[float] = 0.8  # of the generator's last two BatchNorm layers

    def __init__(self, problem: Problem, config: C) -> None:
        super().__init__(problem, config)
        self.generator = placed(self.build_generator(), self.device)
        self.student_optimizer: torch.optim.Optimizer = sgd(self.student.parameters(), config)
        self.generator_optimizer = torch.optim.Adam(self.generator.parameters(), config.generator_lr, fused=True)

    def build_generator(self) -> ConvGenerator:
        """Latents to pixels."""
        config, image = self.config, self.image
        head = StandardisedHead(image) if isinstance(config, HeadConfig) and config.head == "standardised" else None
        return ConvGenerator(config.latent, image.channels, image.size, config.width, head, self.epsilon)

    def latents(self) -> Tensor:
        """z ~ N(0, I), (B, z)."""
        return torch.randn(self.config.batch_size, self.config.latent, device=self.device)

    def answered(self, pixels: Tensor) -> tuple[Tensor, Features]:
        """(B, C, H, W) pixels as the networks take them, and the teacher's answers, which count as queries."""
        images = self.image.normalise(pixels)
        self.queries += len(images)
        return images, self.teacher.features(images)

    def anneal_both(self, seen: Seen) -> None:
        """The generator's rate falls as the student's does."""
        config = self.config
        seen.anneal(self.student_optimizer)
        decay = config.student_rate(seen.done) / config.student_lr
        set_rate(self.generator_optimizer, config.generator_lr * decay)

    def learn_from_new(
        self, seen: Seen, times: int, discrepancy: Callable[[Tensor, Tensor], Tensor]
    ) -> tuple[Tensor, Tensor]:
        """``times`` updates of the student down ``discrepancy`` of its logits and the teacher's, each on B new
        images, which does not reach the generator. Latents and pixels of the last."""
        self.student.train()
        for _ in seen.repeat(times):
            latents = self.latents()
            with torch.no_grad():
                pixels = self.generator(latents)
                images = self.image.normalise(pixels)
                teacher_logits = self.teacher(images)
            self.queries += len(images)
            student_logits = self.student(images)
            loss = discrepancy(student_logits, teacher_logits)
            descend(loss, self.student_optimizer)
        seen.student_loss(loss)
        seen.phase("answer", pixels=pixels, teacher=teacher_logits)
        seen.phase_student(self.student, images, teacher_logits, student_logits, times)
        return latents, pixels

    def last_map(self, answers: Features) -> Tensor:
        """(B, D): what the teacher's last stage gives, averaged over pixels; of a program, which has none, logits."""
        return last_of(answers.maps).mean(dim=(2, 3)) if answers.maps else answers.logits

    @torch.no_grad()
    def synthesize(self, count: int, generator: torch.Generator) -> Tensor:
        """``count`` normalised images from latents of ``generator`` (a CPU one); the training state stays as it is."""
        latents = torch.randn(count, self.config.latent, generator=generator).to(self.device)
        with evaluating(self.generator):
            return self.image.normalise(self.generator(latents))
