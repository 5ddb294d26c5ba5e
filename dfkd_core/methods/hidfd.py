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
2. In the discriminator's step x̂ is generated for the y of x, so that the pairs of eqs. 8 and 9 match; in the
   generator's step y is uniform over the classes, as in the released code.
3. A learned linear map joins Φ_D to the width of Φ_T. Φ is what the last linear layer sees, in eq. 14 the last map of
   features behind a projector, as in the released code.
4. L_blend is applied "with a probability of q", as the text says; its indicator 1(p > q) would fire 1 − q of the
   time, and ``gate`` = ``above-q`` does that. One draw for each batch.
5. n̄_c counts the teacher's argmaxes on the generator's batch; n_c starts at B/K; n̂_c is not below 1/(100 K).
6. Adam's β₁ is 0, as in BigGAN; the paper names only the learning rates.
7. The average of the generator starts with a shorter memory, (1 + t)/(10 + t), so that short runs can use it; its
   BatchNorm statistics are those of the generator itself.
8. ``ac`` trains its classifier on collected images only; Odena's AC-GAN on generated ones as well.

Differences from the released code: it computes L_blend and L_trans without gradients and never updates the class
frequencies, so that none of the three does there what the paper says; here all three are alive, and each can be
switched off. Its discriminator also learns the sum of the two distances whatever q is.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dfkd_core.events import ClassShares, Event, Phase, Phases, Samples, Stage, Step
from dfkd_core.kit.config import knob
from dfkd_core.kit.contract import PhaseInfo, Problem, Requirements
from dfkd_core.kit.objectives import ObjectiveName
from dfkd_core.kit.samples import SHOWN, answers, describe, thumbnails, to_bytes
from dfkd_core.kit.student_stage import STUDENT_PHASES, StudentConfig, StudentStage, collected_images
from dfkd_core.kit.terms import TermGuard, gradient_norms, shares
from dfkd_core.losses import gan as gan_losses
from dfkd_core.losses import generator as losses
from dfkd_core.networks.classifiers import Features
from dfkd_core.networks.gan import ClassGenerator, Discriminator, follow

DISCRIMINATOR = {"hinge": gan_losses.hinge_discriminator, "log": gan_losses.log_discriminator}
GENERATOR = {"hinge": gan_losses.hinge_generator, "log": gan_losses.log_generator}
SYNTHETIC_SEED = 2_412_13525  # of D_s: a resumed run makes the same images again
PART = 256  # images synthesised at once


class HiDFDConfig(StudentConfig):
    """Defaults are the paper's for CIFAR-10; where it is silent, those of the released code."""

    objective: ObjectiveName = knob(
        "classifier-sharing", "What the student matches of its teacher: HiDFD's way or a rival's.", group="Student"
    )
    gan_steps: int = knob(2_500, "Steps in which the GAN learns.", group="GAN", unit="steps", ge=1, le=10_000_000)
    gan_batch_size: int = knob(
        100,
        "Collected and generated images per batch of the GAN.",
        group="GAN",
        unit="images",
        memory=True,
        ge=4,
        le=4096,
    )
    adversarial: Literal["hinge", "log"] = knob("hinge", "BigGAN's hinge, or the logarithms of eq. 1.", group="GAN")
    conditioning: Literal["adc", "ac", "projection", "none"] = knob(
        "adc", "How the GAN knows of classes: ADC-GAN, AC-GAN, a projection, not at all.", group="GAN"
    )
    discriminator_steps: int = knob(1, "Discriminator steps per generator step.", group="GAN", ge=1, le=20)
    generator_lr: float = knob(
        1e-4, "Learning rate of the generator (Adam).", group="GAN", live=True, symbol="η_G", gt=0, le=1
    )
    discriminator_lr: float = knob(
        4e-4, "Learning rate of the discriminator (Adam).", group="GAN", live=True, symbol="η_D", gt=0, le=1
    )
    ema: float = knob(0.9999, "Memory of the generator's average, which makes D_s.", group="GAN", ge=0, lt=1)
    latent: int = knob(128, "Length of a latent vector.", group="GAN", symbol="z", ge=1, le=10_000)
    width: int = knob(
        64, "Quarter of the GAN's channels (BigGAN's ch).", group="GAN", symbol="ch", memory=True, ge=2, le=256
    )
    blend: bool = knob(True, "L_blend: real and fake features come near each other.", group="Guidance", live=True)
    transfer: bool = knob(
        True, "L_trans: the discriminator learns the teacher's features.", group="Guidance", live=True
    )
    smoothing: bool = knob(True, "L_reg: rarely made classes weigh more.", group="Guidance", live=True)
    guidance_weight: float = knob(
        0.1, "Weight of L_blend and L_trans.", group="Guidance", live=True, symbol="λ_d", ge=0, le=100
    )
    frequency_weight: float = knob(0.1, "Weight of L_reg.", group="Guidance", live=True, symbol="λ_g", ge=0, le=100)
    blend_gate: float = knob(0.7, "How often L_blend is applied.", group="Guidance", live=True, symbol="q", ge=0, le=1)
    gate: Literal["probability-q", "above-q"] = knob(
        "probability-q", "Apply L_blend in a share q of the steps, or 1 − q as eq. 8 is printed.", group="Guidance"
    )
    frequency_rate: float = knob(
        0.5, "Weight of the newest batch in the class frequencies.", group="Guidance", live=True, symbol="γ", ge=0, le=1
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
            "gan_steps": 130,
            "gan_batch_size": 64,
            "width": 8,
            "latent": 32,
            "generator_lr": 1e-3,
            "discriminator_lr": 1e-3,
            "ema": 0.99,
            "frequency_weight": 1.0,
            "synthetic": 6000,
            "distill_steps": 320,
            "updates": 5,
            "student_lr": 0.1,
            "schedule": "cosine",
            "augmentation": "crop",
        },
        "cpu": {
            "gan_steps": 120,
            "gan_batch_size": 64,
            "width": 8,
            "latent": 32,
            "generator_lr": 1e-3,
            "discriminator_lr": 1e-3,
            "ema": 0.99,
            "synthetic": 10_000,
            "distill_steps": 600,
            "updates": 5,
            "schedule": "cosine",
        },
        "paper": {},
    }


# --- module 1: teacher-guided generation -----------------------------------------------------------------------


@dataclass(frozen=True)
class _Judged:
    """One step of the discriminator: (B, C, H, W) pixels ``drawn`` from D_c with their ``labels``, its logits of
    "real" on them and on their generated partners, and its weighted terms."""

    drawn: Tensor
    labels: Tensor
    real: Tensor
    fake: Tensor
    terms: dict[str, Tensor]
    norms: dict[str, float]


@dataclass(frozen=True)
class _Made:
    """One step of the generator: its ``pixels`` for the classes ``wanted``, what the teacher has ``seen`` in them,
    the share of each class among its answers, and the weighted terms."""

    pixels: Tensor
    wanted: Tensor
    seen: Features
    shares: Tensor
    terms: dict[str, Tensor]
    norms: dict[str, float]


class _GuidedGAN:
    """Generator, discriminator and the teacher who guides both."""

    def __init__(self, problem: Problem, config: HiDFDConfig, collected: Tensor) -> None:
        self.config, self.image, self.device = config, problem.image, problem.device
        self.teacher, self.collected = problem.teacher, collected
        self.classes = len(problem.image.classes)
        self.labels = self._pseudo_labels()
        generator = ClassGenerator(
            config.latent, self.classes, problem.image.channels, problem.image.size, config.width
        )
        self.generator = generator.to(self.device).to(memory_format=torch.channels_last)
        self.average = copy.deepcopy(self.generator).eval().requires_grad_(False)
        self.judge = self._build_judge()
        betas = (0.0, 0.999)
        self.generator_optimizer = torch.optim.Adam(self.generator.parameters(), config.generator_lr, betas, fused=True)
        self.judge_optimizer = torch.optim.Adam(self.judge.parameters(), config.discriminator_lr, betas, fused=True)
        self.counts = torch.full((self.classes,), config.gan_batch_size / self.classes, device=self.device)  # n_c
        self.updates = 0
        self.queries = len(collected)  # images that the teacher has judged so far

    def _build_judge(self) -> nn.ModuleDict:
        """The discriminator with what is trained beside it: the map from Φ_D to the width of Φ_T."""
        c = self.config
        outputs = {"adc": 2 * self.classes, "ac": self.classes}.get(c.conditioning, 0)
        discriminator = Discriminator(self.image.channels, self.image.size, c.width, outputs)
        parts = {"discriminator": discriminator, "join": nn.Linear(discriminator.width, self.teacher.head.in_features)}
        if c.conditioning == "projection":
            parts["embed"] = nn.Embedding(self.classes, discriminator.width)
        return nn.ModuleDict(parts).to(self.device).to(memory_format=torch.channels_last)

    @torch.no_grad()
    def _pseudo_labels(self) -> Tensor:
        """y = argmax T(x), (N,)."""
        parts = [self.teacher(self._normalised(part)).argmax(dim=1) for part in self.collected.split(PART)]
        return torch.cat(parts)

    def _normalised(self, images: Tensor) -> Tensor:
        """uint8 images as the networks take them."""
        return self.image.normalise(images.float() / 255).contiguous(memory_format=torch.channels_last)

    def update(self, measured: bool) -> tuple[_Judged, _Made]:
        """Steps of the discriminator, one of the generator, and its average; ``measured``: with gradient norms."""
        for left in reversed(range(self.config.discriminator_steps)):
            judged = self._discriminator_step(measured and left == 0)
        made = self._generator_step(measured)
        self.updates += 1
        follow(self.average, self.generator, min(self.config.ema, (1 + self.updates) / (10 + self.updates)))
        return judged, made

    @torch.no_grad()
    def confidence(self, images: Tensor) -> float:
        """Mean of σ(D(x)) over uint8 images; leaves the discriminator as it is."""
        judge = self.judge.eval()  # or its spectral norms would move
        features, logits, _ = judge["discriminator"](self._normalised(images))
        logits = logits + self._projection(features, self.teacher(self._normalised(images)).argmax(dim=1))
        judge.train()
        return logits.sigmoid().mean().item()

    # --- discriminator ---

    def _discriminator_step(self, measured: bool) -> _Judged:
        """One step on L_D = L_adc_d + λ_d (L_blend + L_trans)."""
        c = self.config
        chosen = torch.randint(len(self.collected), (c.gan_batch_size,), device=self.device)
        drawn, labels = self.collected[chosen], self.labels[chosen]
        real_images = self._normalised(drawn)
        with torch.no_grad():
            fake_images = self.image.normalise(self.generator(self._latents(), self._told(labels)))
        images = torch.cat([real_images, fake_images])
        features, logits, class_logits = self.judge["discriminator"](images)
        logits = logits + self._projection(features, torch.cat([labels, labels]))
        real, fake = logits.chunk(2)
        terms = {"adversarial_d": DISCRIMINATOR[c.adversarial](real, fake)}
        terms |= self._class_terms(class_logits, labels)
        terms |= self._guidance(images, features)
        norms = gradient_norms(terms, list(self.judge.parameters())) if measured else {}
        self.judge_optimizer.zero_grad(set_to_none=True)
        torch.stack(list(terms.values())).sum().backward()  # L_D
        self.judge_optimizer.step()
        return _Judged(drawn, labels, real.detach(), fake.detach(), _detached(terms), norms)

    def _class_terms(self, class_logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """What the classifier learns: (2B, 2K) logits of ADC-GAN, (2B, K) of AC-GAN, which knows no fake classes."""
        if self.config.conditioning not in ("adc", "ac"):
            return {}
        real, fake = class_logits.chunk(2)
        terms = {"class_real": gan_losses.class_real(real, labels)}
        if self.config.conditioning == "adc":
            terms["class_fake"] = gan_losses.class_fake(fake, labels)
        return terms

    def _guidance(self, images: Tensor, features: Tensor) -> dict[str, Tensor]:
        """λ_d L_blend and λ_d L_trans on (2B, …) real and fake images, those of them that are on."""
        c = self.config
        draw = torch.rand(()).item()
        blending = c.blend and (draw < c.blend_gate if c.gate == "probability-q" else draw > c.blend_gate)
        if c.guidance_weight == 0 or not (blending or c.transfer):
            return {}
        with torch.no_grad():
            teacher_real, teacher_fake = self.teacher.features(images).pooled.chunk(2)
        self.queries += len(images)
        real, fake = self.judge["join"](features).chunk(2)
        four, terms = (teacher_real, teacher_fake, real, fake), {}
        if blending:
            terms["blend"] = c.guidance_weight * gan_losses.blend(*four)
        if c.transfer:
            terms["transfer"] = c.guidance_weight * gan_losses.transfer(*four)
        return terms

    def _projection(self, features: Tensor, labels: Tensor) -> Tensor:
        """What the projection discriminator (Miyato & Koyama 2018) adds to its logits: Φ_D(x)·e_y."""
        if self.config.conditioning != "projection":
            return features.new_zeros(len(features))
        return (features * self.judge["embed"](labels)).sum(dim=1)

    # --- generator ---

    def _generator_step(self, measured: bool) -> _Made:
        """One step on L_G = L_adc_g + λ_g L_reg."""
        c = self.config
        wanted = self._told(torch.randint(self.classes, (c.gan_batch_size,), device=self.device))
        pixels = self.generator(self._latents(), wanted)
        images = self.image.normalise(pixels)
        features, logits, class_logits = self.judge["discriminator"](images)
        terms = {"adversarial_g": GENERATOR[c.adversarial](logits + self._projection(features, wanted))}
        if c.conditioning == "adc":
            terms["class_g"] = gan_losses.class_generator(class_logits, wanted)
        elif c.conditioning == "ac":
            terms["class_g"] = gan_losses.class_real(class_logits, wanted)
        with torch.set_grad_enabled(c.smoothing):
            seen = self.teacher.features(images)
        self.queries += len(images)
        drawn = F.one_hot(seen.logits.argmax(dim=1), self.classes).sum(dim=0).float()  # n̄_c
        if c.smoothing:
            frequencies = gan_losses.class_frequencies(self.counts)
            terms["frequency"] = c.frequency_weight * gan_losses.frequency_regulariser(seen.logits, frequencies)
            self.counts = gan_losses.smoothed(self.counts, drawn, c.frequency_rate)
        parameters = list(self.generator.parameters())
        norms = gradient_norms(terms, parameters) if measured else {}
        self.generator_optimizer.zero_grad(set_to_none=True)
        torch.stack(list(terms.values())).sum().backward(inputs=parameters)  # L_G
        self.generator_optimizer.step()
        judged = Features(seen.logits.detach(), seen.pooled.detach(), {})
        return _Made(pixels.detach(), wanted, judged, drawn / drawn.sum(), _detached(terms), norms)

    def _latents(self) -> Tensor:
        return torch.randn(self.config.gan_batch_size, self.config.latent, device=self.device)

    def _told(self, labels: Tensor) -> Tensor:
        """The classes that the generator is told: always the first where the GAN knows of none."""
        return torch.zeros_like(labels) if self.config.conditioning == "none" else labels

    @torch.no_grad()
    def synthesise(self, latents: Tensor, labels: Tensor) -> Tensor:
        """(N, latent), (N,), on any device -> (N, C, H, W) pixels of the averaged generator."""
        return self.average(latents.to(self.device), self._told(labels.to(self.device)))

    def reconfigure(self, config: HiDFDConfig) -> None:
        """Weights, switches and learning rates from the next step on."""
        self.config = config
        self.generator_optimizer.param_groups[0]["lr"] = config.generator_lr
        self.judge_optimizer.param_groups[0]["lr"] = config.discriminator_lr

    def state_dict(self) -> dict[str, Any]:
        return {"counts": self.counts, "updates": self.updates, "queries": self.queries} | {
            name: getattr(self, name).state_dict()
            for name in ("generator", "average", "judge", "generator_optimizer", "judge_optimizer")
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.counts, self.updates = state["counts"].to(self.device), state["updates"]
        self.queries = state["queries"]
        for name in ("generator", "average", "judge", "generator_optimizer", "judge_optimizer"):
            getattr(self, name).load_state_dict(state[name])


def _detached(terms: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: term.detach() for name, term in terms.items()}


# --- the method ------------------------------------------------------------------------------------------------


class HiDFD:
    """See the module's docstring."""

    name: ClassVar[str] = "hidfd"
    title: ClassVar[str] = "HiDFD"
    Config: ClassVar[type[StudentConfig]] = HiDFDConfig
    requires: ClassVar[Requirements] = Requirements(collected=True)
    phases: ClassVar[tuple[PhaseInfo, ...]] = (
        PhaseInfo(
            "collected",
            "Collected images",
            "A batch of the few real images. They have no labels: the teacher says what it sees.",
            ("collected images", "pseudo-label", "teacher"),
        ),
        PhaseInfo(
            "generate",
            "Generate",
            "The generator makes images from latents, for classes that it is told.",
            ("generator", "synthetic image", "conditional"),
        ),
        PhaseInfo(
            "discriminate",
            "The discriminator learns",
            "Is it real, and of which class? Its features are drawn towards the teacher's, so that it cannot just "
            "learn the few real images by heart.",
            ("discriminator", "discriminator confidence", "feature integration"),
        ),
        PhaseInfo(
            "generator",
            "The generator learns",
            "To be taken for real, and for the class it was told; classes that it makes rarely weigh more.",
            ("generator loss", "class frequencies", "gradient"),
        ),
        *STUDENT_PHASES,
    )

    def __init__(self, problem: Problem, config: HiDFDConfig) -> None:
        self.config, self.image, self.device = config, problem.image, problem.device
        self.recording, self.guard = problem.recording, TermGuard()
        self.teacher, self.collected = problem.teacher, collected_images(problem)
        self.unseen = None if problem.unseen is None else problem.unseen.to(problem.device)
        self.gan = _GuidedGAN(problem, config, self.collected)
        self.stage = StudentStage(problem, config, config.objective)
        self.student = self.stage.student
        self.inflation = config.inflation or max(1, config.synthetic // len(self.collected))  # N
        self.hybrid: Tensor | None = None
        self.step = 0
        self.slow = False
        self.total_steps = config.gan_steps + config.distill_steps

    @property
    def student_learns(self) -> bool:
        return self.step > self.config.gan_steps

    def train(self) -> Iterator[Event]:
        """Module 1, then module 2."""
        while self.step < self.total_steps:
            self.step += 1
            if self.step == 1:
                yield Stage(1, "gan", "The GAN learns from the collected images")
            if self.step == self.config.gan_steps + 1:
                yield Stage(self.step, "student", "The student learns from the hybrid set")
            yield from self._student_step() if self.student_learns else self._gan_step()

    def _gan_step(self) -> Iterator[Event]:
        """``updates`` updates of the GAN."""
        watched = self.slow or self.recording.due(self.recording.phases_every, self.step)
        healthy = watched or self.recording.due(self.recording.health_every, self.step)
        for left in reversed(range(self.config.updates)):
            judged, made = self.gan.update(measured=healthy and left == 0)
        metrics = self._gan_metrics(judged, made, healthy)  # first, since it stops the run at a NaN
        if watched:
            yield Phases(self.step, self._gan_phases(judged, made))
        if self.recording.due(self.recording.samples_every, self.step):
            yield self._gan_samples(made)
            yield ClassShares(self.step, self._class_shares(made))
        yield Step(self.step, metrics)

    # --- module 2: student distillation ---

    def _student_step(self) -> Iterator[Event]:
        """``updates`` updates of the student on the hybrid set."""
        done = self.step - self.config.gan_steps - 1
        learned = self.stage.learn(done / self.config.distill_steps, self._draw)
        learned_from = (done + 1) * self.config.updates * self.config.batch_size
        queries = {"queries": float(self.gan.queries + learned_from)}
        yield from self.stage.report(self.step, learned, self.slow, queries, {"collected": self.are_collected})

    def _draw(self) -> Tensor:
        """B images, in [0, 1], of D_c repeated N times and D_s."""
        hybrid, few = self._hybrid(), len(self.collected)
        inflated = self.inflation * few
        chosen = torch.randint(inflated + self.config.synthetic, (self.config.batch_size,), device=self.device)
        self.are_collected = chosen < inflated
        return hybrid[torch.where(self.are_collected, chosen % few, chosen - inflated + few)].float() / 255

    def _hybrid(self) -> Tensor:
        """D_c and D_s, each image once, uint8. A resumed run makes the same again: the GAN no longer learns."""
        if self.hybrid is None:
            generator = torch.Generator().manual_seed(SYNTHETIC_SEED)
            latents = torch.randn(self.config.synthetic, self.config.latent, generator=generator)
            labels = torch.arange(self.config.synthetic) % len(self.image.classes)  # every class alike
            parts = zip(latents.split(PART), labels.split(PART), strict=True)
            synthetic = torch.cat([to_bytes(self.gan.synthesise(*part)).permute(0, 3, 1, 2) for part in parts])
            self.hybrid = torch.cat([self.collected, synthetic])
        return self.hybrid

    # --- what others see ---

    @torch.no_grad()
    def _gan_metrics(self, judged: _Judged, made: _Made, healthy: bool) -> dict[str, float]:
        """Floats where they are due. On a CPU reading them is free, so every step is checked for NaN there."""
        due = healthy or self.recording.due(self.recording.log_every, self.step)
        if not due and self.device.type != "cpu":
            return {}
        values = self.guard.read(self.step, judged.terms | made.terms)
        if not due:
            return {}
        measured = self.recording.due(self.recording.health_every, self.step)
        return {
            **values,
            "discriminator_loss": sum(values[name] for name in judged.terms),
            "generator_loss": sum(values[name] for name in made.terms),
            "confidence_real": judged.real.sigmoid().mean().item(),
            "confidence_fake": judged.fake.sigmoid().mean().item(),
            "queries": float(self.gan.queries),
            "coverage": math.exp(-float(losses.class_balance(made.seen.logits))) / len(self.image.classes),
            "diversity": float(losses.diversity(made.seen.pooled)),
            **(self._confidence_unseen() if measured else {}),
            **(shares(judged.norms) | shares(made.norms) if measured else {}),
        }

    def _confidence_unseen(self) -> dict[str, float]:
        """The discriminator on images of the same source that it never learned from: what it has not memorised."""
        if self.unseen is None:
            return {}
        return {"confidence_unseen": self.gan.confidence(self.unseen)}

    def _class_shares(self, made: _Made) -> dict[str, list[float]]:
        """The classes of the generator's last batch as the teacher sees them, and n̂_c."""
        found = {"made": made.shares.tolist()}
        if self.config.smoothing:
            found["smoothed"] = gan_losses.class_frequencies(self.gan.counts).tolist()
        return found

    @torch.no_grad()
    def _gan_samples(self, made: _Made) -> Samples:
        """The first samples of the generator's last batch; the student has not learned yet."""
        count = min(self.recording.samples, len(made.pixels))
        pixels = made.pixels[:count]
        seen = Features(made.seen.logits[:count], made.seen.pooled[:count], {})
        self.student.eval()
        student_logits = self.student(self.image.normalise(pixels))
        wanted = {"wanted": made.wanted[:count].to(torch.int16)}
        return describe(self.step, pixels, seen, student_logits, None, features=self.recording.features, more=wanted)

    @torch.no_grad()
    def _gan_phases(self, judged: _Judged, made: _Made) -> tuple[Phase, ...]:
        drawn, generated = thumbnails(judged.drawn[:SHOWN] / 255), thumbnails(made.pixels)
        labels = {"teacher_label": judged.labels[:SHOWN].to(torch.int16).cpu().numpy()}
        wanted = {"wanted": made.wanted[:SHOWN].to(torch.int16).cpu().numpy()}
        sure = {
            "confidence_real": judged.real.sigmoid().mean().item(),
            "confidence_fake": judged.fake.sigmoid().mean().item(),
        }
        return (
            Phase("collected", {"collected": float(len(self.collected))}, drawn, labels),
            Phase("generate", {}, generated, wanted),
            Phase("discriminate", {**_values(judged.terms, judged.norms), **sure}, drawn, labels),
            Phase("generator", _values(made.terms, made.norms), generated, answers("teacher", made.seen.logits)),
        )

    @torch.no_grad()
    def synthesize(self, count: int, generator: torch.Generator) -> Tensor:
        """``count`` normalised images of the averaged generator, classes and latents from ``generator`` (a CPU one)."""
        labels = torch.randint(len(self.image.classes), (count,), generator=generator)
        latents = torch.randn(count, self.config.latent, generator=generator)
        return self.image.normalise(self.gan.synthesise(latents, labels))

    def reconfigure(self, config: HiDFDConfig) -> None:
        """Switches, weights and learning rates from the next step on."""
        self.config = config
        self.gan.reconfigure(config)
        self.stage.reconfigure(config)

    def state_dict(self) -> dict[str, Any]:
        return {"step": self.step, "gan": self.gan.state_dict(), "stage": self.stage.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.step, self.hybrid = state["step"], None
        self.gan.load_state_dict(state["gan"])
        self.stage.load_state_dict(state["stage"])


def _values(terms: dict[str, Tensor], norms: dict[str, float]) -> dict[str, float]:
    """Terms and their gradients' norms, for slow motion."""
    return {name: term.item() for name, term in terms.items()} | {f"gradient/{k}": v for k, v in norms.items()}
