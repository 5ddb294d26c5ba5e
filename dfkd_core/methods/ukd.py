"""UKD without data: a latent-variable model is compressed from what its teacher makes, or recognises.

Sources: Chen et al., *A Unified Knowledge Distillation Framework for Deep Directed Graphical Models*, CVPR 2023 (UKD);
the slides *Data-Free Knowledge Distillation of Deep Generative Models* (IIT Mandi, 2025), for images that are made
first; Qi et al., *Data-free Knowledge Distillation with Diffusion Models* (2025), for guided diffusion.

1. Synthesis, in ``synthesis_batches`` steps of ``synthesis_size`` images each, from one of four sources:
   ``ancestral`` makes none beforehand, the teacher's prior is sampled in every step of stage 2;
   ``latents`` samples the teacher's prior and moves the latents down the gradient of
   L(x) = m·MSE(x, T(x)) + kl·KL(q_T(z | x) ‖ p_T(z));
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
3. ``demo`` and ``cpu`` take a larger learning rate and fewer steps than published.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from dfkd_core.errors import RequestError
from dfkd_core.events import Event, Phase, Phases, Samples, Stage, Step
from dfkd_core.kit.config import MethodConfig, knob
from dfkd_core.kit.contract import GenerativeProblem, PhaseInfo, Requirements
from dfkd_core.kit.generative_stage import DISTILL_PHASES, SYNTHETIC, DistillConfig, GenerativeStage, synthesize
from dfkd_core.kit.samples import to_bytes
from dfkd_core.kit.student_stage import draw
from dfkd_core.losses import latent as losses
from dfkd_core.synthesis import guided as synthesis
from dfkd_core.synthesis.stable_diffusion import guided_images

Source = Literal["ancestral", "latents", "diffusion", "stable-diffusion"]


class UKDConfig(DistillConfig):
    """Knobs of both stages."""

    source: Source = knob("ancestral", "Where images come from.", group="Synthesis")
    synthesis_batches: int = knob(
        10, "Batches of images that are made before the student learns; none are if ancestral.",
        group="Synthesis", ge=1, le=100_000,
    )  # fmt: skip
    synthesis_size: int = knob(100, "Images of one such batch.", group="Synthesis", ge=2, le=4096, memory=True)
    temperature: float = knob(
        1.0, "Multiplies the noise that the teacher's prior is sampled with.", group="Synthesis", ge=0, le=3
    )
    mse_weight: float = knob(
        1.0, "Weight of MSE(x, T(x)) in the guidance.", group="Guidance", symbol="m", ge=0, le=1000
    )
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


class UKD:
    """See the module's docstring."""

    name: ClassVar[str] = "ukd"
    title: ClassVar[str] = "UKD, data-free"
    Config: ClassVar[type[MethodConfig]] = UKDConfig
    requires: ClassVar[Requirements] = Requirements(diffusion=True, task="generative")
    phases: ClassVar[tuple[PhaseInfo, ...]] = (
        PhaseInfo(
            "synthesis",
            "Synthesis",
            "From noise to image: what the clean image is taken to be at each step, and the guidance's loss there.",
            ("synthetic image",),
        ),
        *DISTILL_PHASES,
    )

    def __init__(self, problem: GenerativeProblem, config: UKDConfig) -> None:
        self.config, self.problem, self.image = config, problem, problem.image
        self.teacher, self.diffusion = problem.teacher, problem.diffusion
        self.makes_images = config.source != "ancestral"
        if config.source in ("diffusion", "stable-diffusion") and self.diffusion is None:
            raise RequestError("diffusion", "", "there is no diffusion model; take another source.")
        self.stage = GenerativeStage(problem, config)
        self.student = self.stage.student
        self.encoder_trained = self.stage.encoder_trained
        self.synthesis_steps = config.synthesis_batches if self.makes_images else 0
        self.total_steps = self.synthesis_steps + config.distill_steps
        self.synthesized: Tensor | None = None  # (N, C, H, W) uint8
        self.step = 0
        self.slow = False

    @property
    def student_learns(self) -> bool:
        return self.step > self.synthesis_steps

    def train(self) -> Iterator[Event]:
        """Both stages."""
        while self.step < self.total_steps:
            self.step += 1
            if self.step == 1 and self.makes_images:
                yield Stage(1, "synthesis", "Synthesis")
            if self.step == self.synthesis_steps + 1:
                yield Stage(self.step, "student", "Student")
            yield from self._synthesise() if self.step <= self.synthesis_steps else self._distil()

    # --- synthesis ---

    def guidance(self, images: Tensor) -> Tensor:
        """L(x) of (B, C, H, W) normalised images, (B,)."""
        return losses.guidance(images, self.teacher.infer(images), self.config.mse_weight, self.config.kl_weight)

    def _synthesise(self) -> Iterator[Event]:
        images, film = self._make(self.config.synthesis_size)
        pixels = to_bytes(self.image.to_pixels(images)).permute(0, 3, 1, 2)
        self.synthesized = pixels if self.synthesized is None else torch.cat([self.synthesized, pixels])
        with torch.no_grad():
            reached = self.guidance(images)
        recording = self.problem.recording
        panel = np.full(min(recording.samples, len(images)), SYNTHETIC, np.int16)
        columns = {"panel": panel, "loss": reached[: len(panel)].cpu().numpy()}
        yield Samples(self.step, pixels[: len(panel)].permute(0, 2, 3, 1).cpu().numpy(), columns)
        yield self._film(film)
        values = self.stage.guard.read(self.step, {"guidance": reached.mean().cpu(), "guidance_first": film.loss[0]})
        yield Step(self.step, {**values, "images": float(len(self.synthesized))})

    def _make(self, count: int) -> tuple[Tensor, synthesis.Film]:
        """``count`` images, normalised, by the source."""
        config = self.config
        if config.source == "latents":
            return synthesis.optimise_latents(
                self.teacher, self.guidance, count, config.latent_steps, config.latent_lr, config.temperature,
                self.problem.device,
            )  # fmt: skip
        assert self.diffusion is not None
        first = (self.step - 1) * count  # classes take turns from batch to batch
        labels = torch.arange(first, first + count, device=self.problem.device) % self.diffusion.classes
        steps, strength, class_guidance = config.denoising_steps, config.strength, config.class_guidance
        return guided_images(self.diffusion, self.guidance, labels, steps, strength, class_guidance, self.image)

    def _film(self, film: synthesis.Film) -> Phases:
        """The denoising of a few images: those of one step after those of the other."""
        steps, shown = film.frames.shape[:2]
        frames = to_bytes(self.image.to_pixels(film.frames.flatten(0, 1))).cpu().numpy()
        arrays = {
            "loss": film.loss.cpu().numpy(),
            "timestep": film.timesteps.cpu().numpy(),
            "shown": np.array([steps, shown]),
        }
        values = {"guidance": float(film.loss[-1]), "guidance_first": float(film.loss[0])}
        return Phases(self.step, (Phase("synthesis", values, frames, arrays),))

    # --- distillation ---

    def _distil(self) -> Iterator[Event]:
        count = self.config.batch_size
        if self.synthesized is None:
            images = None
            noise = synthesis.ancestral_noise(self.teacher, count, self.config.temperature, self.problem.device)
        else:
            images = self.image.normalise(draw(self.synthesized, count))
            noise = self.stage.infer(images)
        progress = (self.step - self.synthesis_steps - 1) / self.config.distill_steps
        yield from self.stage.report(self.step, self.stage.learn(progress, noise, images), self.slow, {})

    # --- what runs and resumes it ---

    def synthesize(self, count: int, generator: torch.Generator) -> Tensor:
        """``count`` images of the student, normalised."""
        return synthesize(self.student, count, generator, self.problem.device)

    def reconfigure(self, config: UKDConfig) -> None:
        """Live knobs from the next step on."""
        self.config = config
        self.stage.reconfigure(config)

    def state_dict(self) -> dict[str, Any]:
        return {"step": self.step, "stage": self.stage.state_dict(), "synthesized": self.synthesized}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.step, made = state["step"], state["synthesized"]
        self.synthesized = None if made is None else made.to(self.problem.device)
        self.stage.load_state_dict(state["stage"])
