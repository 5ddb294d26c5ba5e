"""A GAN that learns from collected images, before a student learns from what it makes: what HiDFD and DeGAN share."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dfkd_core.kit.config import Stage, exactly, knob
from dfkd_core.kit.contract import Problem
from dfkd_core.kit.method import Method
from dfkd_core.kit.recorder import Seen
from dfkd_core.kit.recording import SHOWN
from dfkd_core.kit.student_stage import StudentConfig
from dfkd_core.networks.classifiers import Features, evaluating

PHASES = ("collected", "generate", "discriminate", "generator")
RATES = {"gan.generator_optimizer": "generator_lr", "gan.discriminator_optimizer": "discriminator_lr"}


class GanConfig(StudentConfig):
    """The GAN's knobs beside the student's; defaults are HiDFD's for CIFAR-10."""

    gan_steps: int = knob(2_500, "Steps in which the GAN learns.", group="GAN", unit="steps", ge=1, le=10_000_000)
    gan_epochs: int = knob(
        0, "The same as epochs over the collected images, however many; 0: as many steps as gan_steps.", group="GAN",
        unit="epochs", ge=0, le=100_000,
    )  # fmt: skip
    gan_batch_size: int = knob(
        100, "Collected and generated images per batch of the GAN.", group="GAN", unit="images", memory=True, ge=4,
        le=4096,
    )  # fmt: skip
    generator_lr: float = knob(
        1e-4, "Learning rate of the generator (Adam).", group="GAN", live=True, symbol="η_G", gt=0, le=1
    )
    discriminator_lr: float = knob(
        4e-4, "Learning rate of the discriminator (Adam).", group="GAN", live=True, symbol="η_D", gt=0, le=1
    )
    latent: int = knob(128, "Length of a latent vector.", group="GAN", symbol="z", ge=1, le=10_000)
    width: int = knob(
        64, "Quarter of the GAN's channels (BigGAN's ch).", group="GAN", symbol="ch", memory=True, ge=2, le=256
    )

    def stages(self) -> tuple[Stage, ...]:
        return self.stages_with(0)

    def stages_with(self, collected: int) -> tuple[Stage, ...]:
        steps = self.gan_steps
        if collected and self.gan_epochs:
            batches = self.gan_epochs * math.ceil(collected / self.gan_batch_size)
            steps = math.ceil(batches / (self.updates * self.batches_of_an_update))
        return (Stage("gan", "The GAN learns from the collected images", steps), *super().stages())

    @classmethod
    def build(cls, preset: str = "", changes: dict[str, Any] | None = None) -> Self:
        """Who asks for steps gets them, whatever epochs the preset has."""
        by_steps = {"gan_epochs": 0} if "gan_steps" in (changes or {}) else {}
        return super().build(preset, by_steps | (changes or {}))

    @property
    def batches_of_an_update(self) -> int:
        """Batches of collected images that one update sees."""
        return 1

    def queries(self, stage: str) -> tuple[int, int]:
        return exactly(self.updates * self.gan_batch_size) if stage == "gan" else super().queries(stage)

    @property
    def latent_length(self) -> int:
        return self.latent


class GanStage:
    """``generator`` and ``discriminator`` with an Adam each."""

    def __init__(
        self,
        method: Method[Problem, Any],
        generator: nn.Module,
        discriminator: nn.Module,
        betas: tuple[float, float],
    ) -> None:
        config = method.config
        self._method, self.generator, self.discriminator = method, generator, discriminator
        self.generator_optimizer = torch.optim.Adam(generator.parameters(), config.generator_lr, betas, fused=True)
        self.discriminator_optimizer = torch.optim.Adam(
            discriminator.parameters(), config.discriminator_lr, betas, fused=True
        )

    def latents(self) -> Tensor:
        """z ~ N(0, I), (B, z)."""
        config = self._method.config
        return torch.randn(config.gan_batch_size, config.latent, device=self._method.device)

    def show_discriminator(
        self, seen: Seen, collected: Tensor, real: Tensor, fake: Tensor, labels: Tensor | None = None
    ) -> None:
        """It learned from ``collected`` pixels, whose ``labels`` the teacher gave, and answered ``real`` and ``fake``
        logits of "real"."""
        real, fake = real.detach(), fake.detach()
        sure: dict[str, Any] = {
            "confidence_real": lambda: real.sigmoid().mean(),
            "confidence_fake": lambda: fake.sigmoid().mean(),
        }
        seen.note(**sure)
        known = {"teacher_label": labels[:SHOWN].to(torch.int16)} if labels is not None else {}
        few = self._method.problem.collected
        seen.phase("collected", pixels=collected, arrays=known, values={"collected": 0 if few is None else len(few)})
        seen.phase("discriminate", pixels=collected, arrays=known, of="discriminator", values=sure)

    def show_generator(
        self,
        seen: Seen,
        pixels: Tensor,
        answers: Features,
        wanted: Tensor | None = None,
        known: Tensor | None = None,
    ) -> None:
        """It made ``pixels`` for the classes ``wanted``; ``answers`` are the teacher's. ``known``: (B,), of which the
        class is one that was collected."""
        answers = Features(answers.logits.detach(), answers.pooled.detach(), {})
        told = {"wanted": wanted.to(torch.int16)} if wanted is not None else {}
        counts = F.one_hot(answers.logits.argmax(dim=1), answers.logits.shape[1]).sum(dim=0)  # bincount asks the host
        teacher = answers.logits if wanted is None else None
        if wanted is not None and known is not None:
            seen.note(told_class=(answers.logits.argmax(dim=1) == wanted)[known].float().mean())
        seen.judged(answers)
        seen.samples(answers, self._method.student, pixels=pixels, columns=told)
        seen.class_shares(made=counts / counts.sum())
        arrays = {name: labels[:SHOWN] for name, labels in told.items()}
        seen.phase("generate", pixels=pixels, teacher=teacher, arrays=arrays)
        seen.phase("generator", pixels=pixels, teacher=answers.logits, of="generator")

    @torch.no_grad()
    def show_memory(self, seen: Seen, logits: Callable[[Tensor], Tensor]) -> None:
        """The discriminator on images of the same source that it never learned from: what it has not learned by heart.
        ``logits``: uint8 images -> its logits of "real"."""
        unseen = self._method.problem.unseen
        if unseen is None or not seen.healthy:
            return
        with evaluating(self.discriminator):  # or its spectral norms would move
            seen.note(confidence_unseen=logits(unseen.to(self._method.device)).sigmoid().mean().item())

    def state_dict(self) -> dict[str, Any]:
        parts = ("generator", "discriminator", "generator_optimizer", "discriminator_optimizer")
        return {name: getattr(self, name).state_dict() for name in parts}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, kept in state.items():
            getattr(self, name).load_state_dict(kept)
