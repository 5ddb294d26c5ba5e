"""HiDFD: Hybrid Data-Free Knowledge Distillation (Tang, Chen & Gong, AAAI 2025, arXiv 2412.13525).

A few collected images, D_c, train a GAN under the teacher's guidance; the student learns from collected and synthetic
images together. Algorithm A-1, two stages of one run:

1. Teacher-guided generation, ``gan_steps`` steps. The GAN is ADC-GAN: the discriminator tells real from fake and
   classifies into 2K classes, class c real and class c fake (eq. 1).
   L_D = L_adc_d + λ_d (L_blend + L_trans) (eqs. 8, 9, 13): its features come near the teacher's on real and on fake
   images, and across the two, so that it does not just learn the few real ones by heart.
   L_G = L_adc_g + λ_g L_reg (eqs. 10 to 13): classes that are made rarely weigh more.
2. Student distillation, ``distill_steps`` steps: the hybrid set is D_c repeated N times and |D_s| images of the
   averaged generator; the student matches the teacher's features under the teacher's classifier (eq. 14).

What the paper leaves open, and our reading of it:

1. Collected images have no labels: y = argmax T(x). Only that enters eq. 1.
2. In the discriminator's step x̂ is generated for the y of x, so that the pairs of eqs. 8 and 9 match; with
   ``fake_labels`` = ``uniform`` for any, as released. In the generator's step y is uniform, as there; so with
   ``collected`` the discriminator sees no generated image of a class that D_c lacks, and the generator is told them.
3. A learned linear map joins Φ_D to the width of Φ_T. Φ is what the last linear layer sees, in eq. 14 the last map of
   features behind a projector, as in the released code.
4. L_blend is applied "with a probability of q", as the text says; its indicator 1(p > q) would fire 1 − q of the
   time, and ``gate`` = ``above-q`` does that. One draw for each batch.
5. n̄_c counts the teacher's argmaxes on the generator's batch; n_c starts at B/K; n̂_c is not below 1/(100 K).
6. Adam's β₁ is 0, as in BigGAN; the paper names only the learning rates.
7. D_s comes from an average of the generator, as BigGAN's images do. It starts with a shorter memory,
   (1 + t)/(10 + t), so that short runs can use it; its BatchNorm statistics are those of the generator itself.
   ``ema`` = 0 is the generator itself, as released.
8. ``ac`` trains its classifier on collected images only; Odena's AC-GAN on generated ones as well.
9. ``paper`` crops and resizes as the released code does, but squares. Its GAN learns for 500 epochs of D_c, however
   many images that are: on CIFAR-10 25,000 updates at ρ = 0.1, which is what ``gan_steps`` says, 250,000 at ρ = 1.
10. ``demo`` adds λ_y·CE(T(x̂), y) to L_G, for the classes that D_c has: from some sixty images, most of them of few
    classes, the generator does not learn what it is told.

Differences from the released code: it computes L_blend and L_trans without gradients and never updates the class
frequencies, so that none of the three does there what the paper says; here all three are alive, and each can be
switched off. There the weights of L_reg add up to K; here they are eq. 12's, 1/n̂_c, so that λ_g weighs K times as much.
It stretches each image of D_s from its least to its greatest value; here they are as they were made.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from dfkd_core.events import Event
from dfkd_core.images import pixels_of
from dfkd_core.kit import gan_stage, student_stage
from dfkd_core.kit.config import knob
from dfkd_core.kit.contract import Problem, Requirements, Summary, Term
from dfkd_core.kit.gan_stage import GanConfig, GanStage
from dfkd_core.kit.method import Method, descend, placed
from dfkd_core.kit.objectives import ObjectiveName, build_objective
from dfkd_core.kit.recorder import Seen
from dfkd_core.kit.samples import to_bytes
from dfkd_core.kit.student_stage import StudentStage, collected_images
from dfkd_core.losses import gan as gan_losses
from dfkd_core.losses.generator import masked_mean
from dfkd_core.networks.gan import ClassGenerator, GuidedDiscriminator, follow

SYNTHETIC_SEED = 2_412_13525  # of D_s: a resumed run makes the same images again
PART = 256  # images seen, or made, at once


class HiDFDConfig(GanConfig):
    """Defaults are the paper's for CIFAR-10; where it is silent, those of the released code."""

    student_title = "The student learns from the hybrid set"
    objective: ObjectiveName = knob(
        "classifier-sharing", "What the student matches of its teacher: HiDFD's way or a rival's.", group="Student"
    )
    adversarial: Literal["hinge", "log"] = knob("hinge", "BigGAN's hinge, or the logarithms of eq. 1.", group="GAN")
    conditioning: Literal["adc", "ac", "projection", "none"] = knob(
        "adc", "How the GAN knows of classes: ADC-GAN, AC-GAN, a projection, not at all.", group="GAN"
    )
    fake_labels: Literal["collected", "uniform"] = knob(
        "collected", "Classes of generated beside collected images: the same, or any.", group="GAN"
    )
    discriminator_steps: int = knob(1, "Discriminator steps per generator step.", group="GAN", ge=1, le=20)
    ema: float = knob(
        0.9999, "Memory of the generator's average, which makes D_s, from update (10·ema − 1)/(1 − ema) on; shorter "
        "before. 0: the generator itself, as released.", group="GAN", ge=0, lt=1,
    )  # fmt: skip
    blend: bool = knob(True, "L_blend: real and fake features come near each other.", group="Guidance", live=True)
    transfer: bool = knob(
        True, "L_trans: the discriminator learns the teacher's features.", group="Guidance", live=True
    )
    smoothing: bool = knob(True, "L_reg: rarely made classes weigh more.", group="Guidance", live=True)
    told_weight: float = knob(
        0.0, "Weight of the teacher's cross-entropy with the class that the generator was told; not the paper's.",
        group="Guidance", live=True, symbol="λ_y", ge=0, le=100,
    )  # fmt: skip
    guidance_weight: float = knob(
        0.1, "Weight of L_blend and L_trans.", group="Guidance", live=True, symbol="λ_d", ge=0, le=100
    )
    frequency_weight: float = knob(0.1, "Weight of L_reg.", group="Guidance", live=True, symbol="λ_g", ge=0, le=100)
    blend_gate: float = knob(0.7, "How often L_blend is applied.", group="Guidance", live=True, symbol="q", ge=0, le=1)
    gate: Literal["probability-q", "above-q"] = knob(
        "probability-q", "Apply L_blend in a share q of the steps, or 1 − q as eq. 8 is printed.", group="Guidance"
    )
    frequency_rate: float = knob(
        0.5, "Weight of the newest batch in n_c.", group="Guidance", live=True, symbol="γ", ge=0, le=1
    )
    synthetic: int = knob(
        50_000, "Synthetic images of the hybrid set.", group="Hybrid", symbol="|D_s|", unit="images", ge=1, le=1_000_000
    )
    inflation: int = knob(
        0, "How often collected images are repeated; 0: as often as makes both parts alike.", group="Hybrid",
        symbol="N", ge=0, le=100_000,
    )  # fmt: skip
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "demo": {
            "gan_steps": 130, "gan_batch_size": 64, "width": 8, "latent": 32, "generator_lr": 1e-3,
            "discriminator_lr": 1e-3, "ema": 0.99, "told_weight": 1.0, "synthetic": 6000, "distill_steps": 320,
            "updates": 5, "student_lr": 0.1, "schedule": "cosine", "augmentation": "crop",
        },
        "cpu": {
            "gan_steps": 120, "gan_batch_size": 64, "width": 8, "latent": 32, "generator_lr": 1e-3,
            "discriminator_lr": 1e-3, "ema": 0.99, "synthetic": 10_000, "distill_steps": 600, "updates": 5,
            "schedule": "cosine",
        },
        "paper": {"gan_epochs": 500, "augmentation": "resized-crop+flip"},
    }  # fmt: skip

    @property
    def batches_of_an_update(self) -> int:
        return self.discriminator_steps

    @property
    def conditional(self) -> bool:
        """Whether the generator is told a class."""
        return self.conditioning != "none"

    def remarks(self) -> list[str]:
        idle = self.told_weight > 0 and not self.conditional
        return super().remarks() + ["told_weight does nothing: this GAN knows no classes."] * idle

    def queries(self, stage: str) -> tuple[int, int]:
        least, most = super().queries(stage)
        if stage == "gan" and self.guidance_weight > 0:  # what the discriminator's features come near
            guided = 2 * least * self.discriminator_steps
            most += guided if self.transfer or self.blend else 0
            least += guided if self.transfer else 0
        return least, most


def usual_inflation(synthetic: int, collected: int) -> int:
    """N = ⌊|D_s| / |D_c|⌋, or 1 where more images are collected than made."""
    return max(1, synthetic // collected)


class HiDFD(Method[Problem, HiDFDConfig]):
    """See the module's docstring."""

    name, title, Config = "hidfd", "HiDFD", HiDFDConfig
    requires = Requirements(collected=True, of_teacher="inside")
    summary = Summary(
        images="collected images, and a GAN that the teacher guides",
        student="features under the shared classifier, or one of nine others",
        kept="{synthetic:,} synthetic images",
    )
    terms = (
        Term("adversarial_d", "adversarial (D)", of="discriminator"),
        Term("class_real", "class, real", of="discriminator"),
        Term("class_fake", "class, fake", of="discriminator"),
        Term("blend", "blend", "guidance_weight", of="discriminator"),
        Term("transfer", "transfer", "guidance_weight", of="discriminator"),
        Term("adversarial_g", "adversarial (G)"),
        Term("class_g", "class (G)"),
        Term("frequency", "frequency", "frequency_weight"),
        Term("told", "told class", "told_weight"),
    )
    phases = (*gan_stage.PHASES, *student_stage.PHASES)
    saved = ("gan", "average", "counts", "updates", "stage")
    rates = gan_stage.RATES

    def __init__(self, problem: Problem, config: HiDFDConfig) -> None:
        super().__init__(problem, config)
        self.collected = collected_images(problem)
        self.classes = len(problem.image.classes)
        with torch.no_grad():  # y = argmax T(x)
            self.labels = torch.cat([self.teacher(self.see(part)).argmax(dim=1) for part in self.collected.split(PART)])
        self.queries = len(self.collected)
        self.present = self.labels.bincount(minlength=self.classes) > 0  # (K,): classes that D_c has
        channels, size = problem.image.channels, problem.image.size
        generator = placed(ClassGenerator(config.latent, self.classes, channels, size, config.width), self.device)
        self.average = copy.deepcopy(generator).eval().requires_grad_(False)
        outputs = {"adc": 2 * self.classes, "ac": self.classes}.get(config.conditioning, 0)
        projected = self.classes if config.conditioning == "projection" else 0
        guide = self.teacher.head.in_features  # the width of Φ_T
        discriminator = GuidedDiscriminator(channels, size, config.width, outputs, guide, projected)
        self.discriminator = placed(discriminator, self.device)
        self.gan = GanStage(self, generator, self.discriminator, betas=(0.0, 0.999))
        self.counts = torch.full((self.classes,), config.gan_batch_size / self.classes, device=self.device)  # n_c
        self.updates = 0
        self.stage = StudentStage(self, build_objective(config.objective, problem, config.batch_size))
        self.inflation = config.inflation or usual_inflation(config.synthetic, len(self.collected))
        self.hybrid: Tensor | None = None

    def train(self) -> Iterator[Event]:
        """Module 1, then module 2."""
        for seen in self.steps():
            if seen.stage == "gan":
                for _ in seen.repeat(self.config.updates):
                    for _ in seen.repeat(self.config.discriminator_steps):
                        self.discriminator_step(seen)
                    self.generator_step(seen)
                self.gan.show_memory(seen, self.real_logits)
                if self.config.smoothing:
                    seen.class_shares(smoothed=gan_losses.class_frequencies(self.counts))
            else:
                self.stage.learn(seen, self.draw)
                seen.columns(collected=self.are_collected)
            yield from seen.events()

    # --- module 1: teacher-guided generation ---

    def discriminator_step(self, seen: Seen) -> None:
        """One step on L_D = L_adc_d + λ_d (L_blend + L_trans) (eqs. 1, 8, 9)."""
        c = self.config
        chosen = torch.randint(len(self.collected), (c.gan_batch_size,), device=self.device)
        drawn, labels = self.collected[chosen], self.labels[chosen]
        wanted = labels if c.fake_labels == "collected" else self.any_classes()
        with torch.no_grad():
            fake_images = self.image.normalise(self.gan.generator(self.gan.latents(), self.told(wanted)))
        images = torch.cat([self.see(drawn), fake_images])
        features, logits, class_logits = self.discriminator(images, torch.cat([labels, wanted]))
        real, fake = logits.chunk(2)
        terms = {"adversarial_d": gan_losses.DISCRIMINATOR[c.adversarial](real, fake)}
        if c.conditioning in ("adc", "ac"):
            terms["class_real"] = gan_losses.class_real(class_logits.chunk(2)[0], labels)
        if c.conditioning == "adc":  # AC-GAN knows no fake classes
            terms["class_fake"] = gan_losses.class_fake(class_logits.chunk(2)[1], wanted)
        draw = torch.rand(()).item()
        blending = c.blend and (draw < c.blend_gate if c.gate == "probability-q" else draw > c.blend_gate)
        if c.guidance_weight > 0 and (blending or c.transfer):
            with torch.no_grad():
                teacher = self.teacher.features(images).pooled
            self.queries += len(images)
            four = (*teacher.chunk(2), *self.discriminator.join(features).chunk(2))
            if blending:
                terms["blend"] = c.guidance_weight * gan_losses.blend(*four)
            if c.transfer:
                terms["transfer"] = c.guidance_weight * gan_losses.transfer(*four)
        descend(seen.weigh(self.gan.discriminator, **terms), self.gan.discriminator_optimizer)
        self.gan.show_discriminator(seen, pixels_of(drawn), real, fake, labels)

    def generator_step(self, seen: Seen) -> None:
        """One step on L_G = L_adc_g + λ_g L_reg (eqs. 1, 10 to 13), and the average follows."""
        c = self.config
        wanted = self.told(self.any_classes())
        pixels = self.gan.generator(self.gan.latents(), wanted)
        images = self.image.normalise(pixels)
        _, logits, class_logits = self.discriminator(images, wanted)
        terms = {"adversarial_g": gan_losses.GENERATOR[c.adversarial](logits)}
        if c.conditioning in ("adc", "ac"):
            class_loss = gan_losses.class_generator if c.conditioning == "adc" else gan_losses.class_real
            terms["class_g"] = class_loss(class_logits, wanted)
        telling = c.conditional and c.told_weight > 0
        with torch.set_grad_enabled(c.smoothing or telling):
            answers = self.teacher.features(images)
        self.queries += len(images)
        if c.smoothing:
            frequencies = gan_losses.class_frequencies(self.counts)  # n̂_c
            terms["frequency"] = c.frequency_weight * gan_losses.frequency_regulariser(answers.logits, frequencies)
            drawn = F.one_hot(answers.logits.argmax(dim=1), self.classes).sum(dim=0).float()  # n̄_c
            self.counts = gan_losses.smoothed(self.counts, drawn, c.frequency_rate)
        if telling:
            told = F.cross_entropy(answers.logits, wanted, reduction="none")
            terms["told"] = c.told_weight * masked_mean(told, self.present[wanted])
        descend(seen.weigh(self.gan.generator, **terms), self.gan.generator_optimizer)
        self.updates += 1
        follow(self.average, self.gan.generator, min(c.ema, (1 + self.updates) / (10 + self.updates)))
        self.gan.show_generator(seen, pixels, answers, *((wanted, self.present[wanted]) if c.conditional else ()))

    def any_classes(self) -> Tensor:
        """(B,), uniform over the classes."""
        return torch.randint(self.classes, (self.config.gan_batch_size,), device=self.device)

    def told(self, labels: Tensor) -> Tensor:
        """The classes that the generator is told: always the first where the GAN knows of none."""
        return labels if self.config.conditional else torch.zeros_like(labels)

    @torch.no_grad()
    def generate(self, latents: Tensor, labels: Tensor) -> Tensor:
        """(N, latent), (N,), on any device -> (N, C, H, W) pixels of the averaged generator."""
        return self.average(latents.to(self.device), self.told(labels.to(self.device)))

    # --- module 2: student distillation ---

    def draw(self) -> Tensor:
        """B images, in [0, 1], of D_c repeated N times and D_s."""
        few, inflated = len(self.collected), self.inflation * len(self.collected)
        if self.hybrid is None:
            self.hybrid = torch.cat([self.collected, self.synthetic()])
        chosen = torch.randint(inflated + self.config.synthetic, (self.config.batch_size,), device=self.device)
        self.are_collected = chosen < inflated
        return pixels_of(self.hybrid[torch.where(self.are_collected, chosen % few, chosen - inflated + few)])

    def synthetic(self) -> Tensor:
        """D_s, uint8. A resumed run makes the same again: the GAN no longer learns."""
        generator = torch.Generator().manual_seed(SYNTHETIC_SEED)
        latents = torch.randn(self.config.synthetic, self.config.latent, generator=generator)
        labels = torch.arange(self.config.synthetic) % self.classes  # every class alike
        parts = zip(latents.split(PART), labels.split(PART), strict=True)
        return torch.cat([to_bytes(self.generate(*part)).permute(0, 3, 1, 2) for part in parts])

    def real_logits(self, images: Tensor) -> Tensor:
        """The discriminator's logits of "real" on uint8 images."""
        seen = self.see(images)
        return self.discriminator(seen, self.teacher(seen).argmax(dim=1)).real

    @torch.no_grad()
    def synthesize(self, count: int, generator: torch.Generator) -> Tensor:
        """``count`` normalised images of the averaged generator, classes and latents from ``generator`` (a CPU one)."""
        labels = torch.randint(self.classes, (count,), generator=generator)
        latents = torch.randn(count, self.config.latent, generator=generator)
        return self.image.normalise(self.generate(latents, labels))
