"""UKD without data: a latent-variable model is compressed from what its teacher makes, or recognises.

Sources: Chen et al., *A Unified Knowledge Distillation Framework for Deep Directed Graphical Models*, CVPR 2023 (UKD);
the slides *Data-Free Knowledge Distillation of Deep Generative Models* (IIT Mandi, 2025), for images that are made
first; Qi et al., *Data-free Knowledge Distillation with Diffusion Models* (2025), for guided diffusion.

1. Synthesis, in ``synthesis_batches`` steps of ``synthesis_size`` images each, from one of four sources:
   ``ancestral`` makes none beforehand, the teacher's prior is sampled in every step of stage 2;
   ``latents`` samples the teacher's prior and moves the latents down the gradient of
   L(x) = m·‖x − T(x)‖² + kl·KL(q_T(z | x) ‖ p_T(z));
   ``diffusion`` takes a diffusion model that was trained on other data, and guides each denoising step by the
   gradient of L through its prediction of the clean image; ``stable-diffusion`` is the same with Stable Diffusion.
2. Distillation. One step: noise ε, drawn for every level (``ancestral``), or what the teacher's posterior on B of the
   images comes to as noise of its prior; teacher and student turn the same ε into latents and an image; then
   loss = KL(p_T(x | z₁) ‖ p_S(x | z₁)) + ``latent_weight`` · Σ_l mean[(μ_l^T − μ_l^S)² + (σ_l^T − σ_l^S)²],
   and Adam moves what generates in the student; its encoder stays as it is. With ``elbo`` the student learns the
   images as a VAE does instead, encoder included.

Deviations

1. The released code of the slides predicts the clean image without gradients, so that its guidance does nothing; here
   the gradient flows.
2. Chen et al. share the noise of ancestral samples; the slides infer latents from images and do not say how the
   student shares them. Here z_l = μ_l + σ_l·ε_l is solved for ε_l in the teacher's prior, and ε is shared.
3. The teachers that ship see images from −1 to 1 with β 0.1, which is β 0.025 for the published images from 0 to 1. The
   released teacher never leaves train mode; here it is frozen in eval mode.
4. With Stable Diffusion the last denoising step is not guided: no later one would denoise the correction.
5. ``demo`` and ``cpu`` take a larger learning rate and fewer steps than published.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from dfkd_core.errors import RequestError
from dfkd_core.events import Event
from dfkd_core.kit import generative_stage
from dfkd_core.kit.config import Stage, knob
from dfkd_core.kit.contract import GenerativeProblem, Requirements, Summary, Term
from dfkd_core.kit.generative_stage import SYNTHETIC, DistillConfig, GenerativeStage, sampled
from dfkd_core.kit.method import Method
from dfkd_core.kit.recorder import Seen
from dfkd_core.kit.samples import to_bytes
from dfkd_core.kit.student_stage import draw
from dfkd_core.losses import latent as losses
from dfkd_core.synthesis.guided import Film, ancestral_noise, optimise_latents

Source = Literal["ancestral", "latents", "diffusion", "stable-diffusion"]


class UKDConfig(DistillConfig):
    """Knobs of both stages."""

    source: Source = knob("ancestral", "Where images come from.", group="Synthesis", first=True)
    synthesis_batches: int = knob(
        10, "Batches of images that are made before the student learns; none are if ancestral.",
        group="Synthesis", ge=1, le=100_000,
    )  # fmt: skip
    synthesis_size: int = knob(100, "Images of one such batch.", group="Synthesis", ge=2, le=4096, memory=True)
    temperature: float = knob(
        1.0, "Multiplies the noise that the teacher's prior is sampled with.", group="Synthesis", ge=0, le=3
    )
    mse_weight: float = knob(1.0, "Weight of ‖x − T(x)‖² in the guidance.", group="Guidance", symbol="m", ge=0, le=1000)
    kl_weight: float = knob(1.0, "Weight of the KL in the guidance.", group="Guidance", symbol="kl", ge=0, le=1000)
    strength: float = knob(
        3.0, "How far the guidance moves a denoising step; 0: not at all.", group="Guidance", ge=0, le=1000
    )
    class_guidance: float = knob(
        3.0, "Classifier-free guidance of the diffusion model; 1: none.", group="Guidance", ge=0, le=50
    )
    denoising_steps: int = knob(20, "Steps from noise to image.", group="Guidance", ge=1, le=1000)
    latent_steps: int = knob(50, "Steps of the latents (source latents).", group="Guidance", ge=1, le=10_000)
    latent_lr: float = knob(0.05, "Adam's learning rate of the latents.", group="Guidance", gt=0, le=10)
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "demo": {"distill_steps": 600, "batch_size": 64, "student_lr": 5e-3, "schedule": "cosine"},
        "cpu": {"distill_steps": 3000, "batch_size": 64, "student_lr": 5e-3, "schedule": "cosine"},
        "paper": {"denoising_steps": 5},
    }  # fmt: skip

    def stages(self) -> tuple[Stage, ...]:
        made = () if self.source == "ancestral" else (Stage("synthesis", "Synthesis", self.synthesis_batches),)
        return (*made, *super().stages())

    @property
    def source_kind(self) -> str:
        return self.source if self.source in ("diffusion", "stable-diffusion") else ""

    @property
    def films(self) -> int:
        return 0 if self.source == "ancestral" else self.synthesis_batches


class UKD(Method[GenerativeProblem, UKDConfig]):
    """See the module's docstring."""

    name, title, Config = "ukd", "UKD, data-free", UKDConfig
    requires = Requirements(source=True, task="generative")
    summary = Summary(
        images="the teacher's own latents, or a diffusion model that was trained on other data",
        student="output and every level of latents",
        kept="all images that were made: {synthesis_batches:,} batches of {synthesis_size:,}, or none if ancestral",
    )
    terms = (*generative_stage.TERMS, Term("guidance", "guidance", of="images"))
    phases = ("synthesis", *generative_stage.PHASES)
    saved = ("synthesised", "stage")

    def __init__(self, problem: GenerativeProblem, config: UKDConfig) -> None:
        super().__init__(problem, config)
        if config.source_kind and problem.source is None:
            raise RequestError("diffusion", "", "there is no diffusion model; take another source.")
        self.stage = GenerativeStage(self)

    def train(self) -> Iterator[Event]:
        """Both stages."""
        for seen in self.steps():
            if seen.stage == "synthesis":
                self.synthesise(seen)
            elif self.synthesised is None:
                noise = ancestral_noise(self.teacher, self.config.batch_size, self.config.temperature, self.device)
                self.stage.learn(seen, noise)
            else:
                images = self.image.normalise(draw(self.synthesised, self.config.batch_size))
                self.stage.learn(seen, self.stage.infer(images), images)
            yield from seen.events()

    def guidance(self, images: Tensor) -> Tensor:
        """L(x) of (B, C, H, W) normalised images, (B,)."""
        c = self.config
        return losses.guidance(images, self.teacher.infer(images), self.image, c.mse_weight, c.kl_weight)

    def synthesise(self, seen: Seen) -> None:
        """One batch of images joins those that are there."""
        images, film = self.make(self.config.synthesis_size)
        pixels = to_bytes(self.image.to_pixels(images)).permute(0, 3, 1, 2)
        self.synthesised = pixels if self.synthesised is None else torch.cat([self.synthesised, pixels])
        with torch.no_grad():
            reached = self.guidance(images)
        seen.check(guidance=reached.mean().cpu(), guidance_first=film.loss[0])
        seen.note(images=len(self.synthesised))
        shown = images[: self.recording.samples]
        columns = {"panel": np.full(len(shown), SYNTHETIC, np.int16), "loss": reached[: len(shown)].cpu().numpy()}
        seen.sheet(lambda: shown, always=True, **columns)
        seen.film(film, always=True)

    def make(self, count: int) -> tuple[Tensor, Film]:
        """``count`` images, normalised, by the source."""
        c = self.config
        if c.source == "latents":
            return optimise_latents(
                self.teacher, self.guidance, count, c.latent_steps, c.latent_lr, c.temperature, self.device
            )
        source = self.problem.source
        assert source is not None
        first = (self.step - 1) * count  # classes take turns from batch to batch
        labels = torch.arange(first, first + count, device=self.device) % len(source.names)
        return source.guided(self.guidance, labels, c.denoising_steps, c.strength, c.class_guidance, self.image, first)

    def synthesize(self, count: int, generator: torch.Generator) -> Tensor:
        """``count`` images of the student, normalised."""
        return sampled(self.problem.student, count, generator, self.device)
