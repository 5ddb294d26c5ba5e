"""DeGAN: Data-Enriching GAN (Addepalli, Nayak, Chakraborty & Babu, AAAI 2020, arXiv 1912.11960).

A GAN learns from collected images, D_c, and the teacher tells its generator what is missing; the student learns from
what the generator makes, and from nothing else. Two stages of one run:

1. ``gan_steps`` steps, each ``updates`` updates: the discriminator minimises the binary cross-entropy of real and
   generated images; the generator minimises L_adv + λ_e·L_e + λ_d·L_d. L_e is the entropy of the teacher's prediction
   for each image (be of one class), L_d the negative entropy of the batch's mean prediction (be of all of them).
2. ``distill_steps`` steps, each ``updates`` updates: fresh images of the generator, which no longer learns and runs in
   eval mode; the student matches the teacher's answers, T²·KL with T = 20.

Differences from the paper and from its released code:

1. The networks are those of HiDFD, without classes, instead of DCGAN's: so the two differ in what their GANs learn,
   and in nothing else. Adam's rates and betas are the published ones.
2. The student's optimizer, schedule and augmentation are those of all methods that collect. The released code takes
   Adam (1e-3, then 1e-4 from the best student on) and no augmentation.
3. Defaults are as long as HiDFD's. ``paper`` is as long as the released code: 200 epochs of 25 batches of 2,048, of
   which it keeps six classes in a hundred, some 123 images. Its student learns until it no longer gets better, after
   5,000 epochs of 256 batches at most; here it learns a tenth of that, 128,000 updates.
4. λ_e is 0, as released; L_d alone keeps the generator from collapsing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from dfkd_core.events import ClassShares, Event, Phase, Phases, Samples, Stage, Step
from dfkd_core.kit.config import knob
from dfkd_core.kit.contract import PhaseInfo, Problem, Requirements
from dfkd_core.kit.objectives import SoftTargets
from dfkd_core.kit.samples import SHOWN, answers, describe, thumbnails
from dfkd_core.kit.student_stage import STUDENT_PHASES, StudentConfig, StudentStage, collected_images, draw
from dfkd_core.kit.terms import TermGuard, gradient_norms, shares
from dfkd_core.losses import gan as gan_losses
from dfkd_core.losses import generator as losses
from dfkd_core.losses import rival as rival_losses
from dfkd_core.networks.classifiers import Features
from dfkd_core.networks.gan import ClassGenerator, Discriminator

BETAS = (0.5, 0.999)


class DeGANConfig(StudentConfig):
    """The GAN's weights and rates are the published ones, the lengths those of HiDFD."""

    gan_steps: int = knob(2_500, "Steps in which the GAN learns.", group="GAN", unit="steps", ge=1, le=10_000_000)
    gan_batch_size: int = knob(
        100, "Collected and generated images per batch of the GAN.", group="GAN", unit="images", memory=True, ge=4,
        le=4096,
    )  # fmt: skip
    entropy_weight: float = knob(
        0.0, "Weight of the entropy of single predictions.", group="GAN", live=True, symbol="λ_e", ge=0, le=100
    )
    diversity_weight: float = knob(
        5.0, "Weight of the batch's diversity over classes.", group="GAN", live=True, symbol="λ_d", ge=0, le=100
    )
    generator_lr: float = knob(
        2e-4, "Learning rate of the generator (Adam).", group="GAN", live=True, symbol="η_G", gt=0, le=1
    )
    discriminator_lr: float = knob(
        2e-4, "Learning rate of the discriminator (Adam).", group="GAN", live=True, symbol="η_D", gt=0, le=1
    )
    latent: int = knob(100, "Length of a latent vector.", group="GAN", symbol="z", ge=1, le=10_000)
    width: int = knob(
        64, "Quarter of the GAN's channels (BigGAN's ch).", group="GAN", symbol="ch", memory=True, ge=2, le=256
    )
    temperature: float = knob(20.0, "Temperature of the student's targets.", group="Student", symbol="T", gt=0, le=1000)
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "demo": {
            "gan_steps": 130,
            "gan_batch_size": 64,
            "width": 8,
            "latent": 32,
            "generator_lr": 2e-3,
            "discriminator_lr": 2e-3,
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
            "distill_steps": 600,
            "updates": 5,
            "schedule": "cosine",
        },
        "paper": {"gan_steps": 500, "gan_batch_size": 123, "distill_steps": 12_800},
    }


@dataclass(frozen=True)
class _Played:
    """The last update of the GAN in a step: pixels ``drawn`` from D_c and ``made`` by the generator, what the teacher
    has ``seen`` in those, the discriminator's logits of "real" on both, the weighted terms of either side, and the
    gradient norms of the generator's."""

    drawn: Tensor
    made: Tensor
    seen: Features
    real: Tensor
    fake: Tensor
    judge_terms: dict[str, Tensor]
    generator_terms: dict[str, Tensor]
    norms: dict[str, float]


class DeGAN:
    """See the module's docstring."""

    name: ClassVar[str] = "degan"
    title: ClassVar[str] = "DeGAN"
    Config: ClassVar[type[StudentConfig]] = DeGANConfig
    requires: ClassVar[Requirements] = Requirements(collected=True)
    phases: ClassVar[tuple[PhaseInfo, ...]] = (
        PhaseInfo("collected", "Collected images", "A batch of the few real images.", ("collected images",)),
        PhaseInfo(
            "generate",
            "Generate",
            "The generator makes images from latents; the teacher says what it sees in them.",
            ("generator", "synthetic image", "teacher"),
        ),
        PhaseInfo(
            "discriminate",
            "The discriminator learns",
            "Is an image real or generated?",
            ("discriminator", "discriminator confidence"),
        ),
        PhaseInfo(
            "generator",
            "The generator learns",
            "To be taken for real, and to make all of the teacher's classes alike.",
            ("generator loss", "class balance", "prediction entropy", "gradient"),
        ),
        *STUDENT_PHASES,
    )

    def __init__(self, problem: Problem, config: DeGANConfig) -> None:
        self.config, self.image, self.device = config, problem.image, problem.device
        self.recording, self.guard = problem.recording, TermGuard()
        self.teacher, self.collected = problem.teacher, collected_images(problem)
        self.unseen = None if problem.unseen is None else problem.unseen.to(problem.device)
        channels, size = problem.image.channels, problem.image.size
        generator = ClassGenerator(config.latent, 1, channels, size, config.width)
        self.generator = generator.to(self.device).to(memory_format=torch.channels_last)
        judge = Discriminator(channels, size, config.width)
        self.judge = judge.to(self.device).to(memory_format=torch.channels_last)
        self.generator_optimizer = torch.optim.Adam(self.generator.parameters(), config.generator_lr, BETAS, fused=True)
        self.judge_optimizer = torch.optim.Adam(self.judge.parameters(), config.discriminator_lr, BETAS, fused=True)
        self.stage = StudentStage(problem, config, SoftTargets(problem, config.temperature))
        self.student = self.stage.student
        self.step = 0
        self.slow = False
        self.total_steps = config.gan_steps + config.distill_steps

    @property
    def student_learns(self) -> bool:
        return self.step > self.config.gan_steps

    def train(self) -> Iterator[Event]:
        """First the GAN, then the student."""
        while self.step < self.total_steps:
            self.step += 1
            if self.step == 1:
                yield Stage(1, "gan", "The GAN learns from the collected images")
            if self.step == self.config.gan_steps + 1:
                yield Stage(self.step, "student", "The student learns from generated images")
            yield from self._student_step() if self.student_learns else self._gan_step()

    # --- stage 1: the GAN ---

    def _gan_step(self) -> Iterator[Event]:
        """``updates`` updates of the GAN."""
        watched = self.slow or self.recording.due(self.recording.phases_every, self.step)
        healthy = self.recording.due(self.recording.health_every, self.step)
        self.generator.train()
        for left in reversed(range(self.config.updates)):
            played = self._gan_update(measured=(watched or healthy) and left == 0)
        metrics = self._gan_metrics(played, healthy)  # first, since it stops the run at a NaN
        if watched:
            yield Phases(self.step, self._gan_phases(played))
        if self.recording.due(self.recording.samples_every, self.step):
            yield self._gan_samples(played)
            yield ClassShares(self.step, {"made": self._class_shares(played)})
        yield Step(self.step, metrics)

    def _gan_update(self, measured: bool) -> _Played:
        """One step of the discriminator, and one of the generator on the same generated images."""
        c = self.config
        drawn = draw(self.collected, c.gan_batch_size)
        pixels = self._generate(torch.randn(c.gan_batch_size, c.latent, device=self.device))
        images = self.image.normalise(pixels)
        real, fake, judge_terms = self._judge_step(drawn, images)

        seen = self.teacher.features(images)
        terms = {
            "adversarial_g": rival_losses.non_saturating(self.judge(images).real),
            "entropy": c.entropy_weight * rival_losses.prediction_entropy(seen.logits),
            "class_balance": c.diversity_weight * losses.class_balance(seen.logits),
        }
        off = {"entropy": c.entropy_weight, "class_balance": c.diversity_weight}
        terms = {name: term for name, term in terms.items() if off.get(name, 1) > 0}
        parameters = list(self.generator.parameters())
        norms = gradient_norms(terms, parameters) if measured else {}
        self.generator_optimizer.zero_grad(set_to_none=True)
        torch.stack(list(terms.values())).sum().backward(inputs=parameters)  # L_G
        self.generator_optimizer.step()
        seen = Features(seen.logits.detach(), seen.pooled.detach(), {})
        terms = {name: term.detach() for name, term in terms.items()}
        return _Played(drawn, pixels.detach(), seen, real, fake, judge_terms, terms, norms)

    def _judge_step(self, drawn: Tensor, images: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """One step on −E[log σ(D(x))] − E[log(1 − σ(D(x̂)))]; its logits on real and on generated images."""
        both = torch.cat([self.image.normalise(drawn), images.detach()])
        real, fake = self.judge(both.contiguous(memory_format=torch.channels_last)).real.chunk(2)
        terms = {"adversarial_d": gan_losses.log_discriminator(real, fake)}
        self.judge_optimizer.zero_grad(set_to_none=True)
        terms["adversarial_d"].backward()
        self.judge_optimizer.step()
        return real.detach(), fake.detach(), {name: term.detach() for name, term in terms.items()}

    def _generate(self, latents: Tensor) -> Tensor:
        """(B, z) -> (B, C, H, W) pixels. The generator knows one class only."""
        return self.generator(latents, torch.zeros(len(latents), dtype=torch.long, device=self.device))

    # --- stage 2: the student ---

    def _student_step(self) -> Iterator[Event]:
        """``updates`` updates of the student, each on fresh images."""
        self.generator.eval()
        done = self.step - self.config.gan_steps - 1
        learned = self.stage.learn(done / self.config.distill_steps, self._fresh)
        yield from self.stage.report(self.step, learned, self.slow, {"queries": self._queries()})

    @torch.no_grad()
    def _fresh(self) -> Tensor:
        return self._generate(torch.randn(self.config.batch_size, self.config.latent, device=self.device))

    def _queries(self) -> float:
        """Images that the teacher has judged so far."""
        c = self.config
        gan = min(self.step, c.gan_steps)
        return float(c.updates * (gan * c.gan_batch_size + (self.step - gan) * c.batch_size))

    # --- what others see ---

    @torch.no_grad()
    def _gan_metrics(self, played: _Played, healthy: bool) -> dict[str, float]:
        """Floats where they are due. On a CPU reading them is free, so every step is checked for NaN there."""
        due = healthy or self.recording.due(self.recording.log_every, self.step)
        if not due and self.device.type != "cpu":
            return {}
        values = self.guard.read(self.step, played.judge_terms | played.generator_terms)
        if not due:
            return {}
        return {
            **values,
            "discriminator_loss": sum(values[name] for name in played.judge_terms),
            "generator_loss": sum(values[name] for name in played.generator_terms),
            "confidence_real": played.real.sigmoid().mean().item(),
            "confidence_fake": played.fake.sigmoid().mean().item(),
            "coverage": math.exp(-float(losses.class_balance(played.seen.logits))) / len(self.image.classes),
            "diversity": float(losses.diversity(played.seen.pooled)),
            "queries": self._queries(),
            **(self._confidence_unseen() | shares(played.norms) if healthy else {}),
        }

    def _confidence_unseen(self) -> dict[str, float]:
        """The discriminator on images of the same source that it never learned from: what it has not memorised."""
        if self.unseen is None:
            return {}
        self.judge.eval()  # or its spectral norms would move
        images = self.image.normalise(self.unseen.float() / 255).contiguous(memory_format=torch.channels_last)
        confidence = self.judge(images).real.sigmoid().mean().item()
        self.judge.train()
        return {"confidence_unseen": confidence}

    def _class_shares(self, played: _Played) -> list[float]:
        """The classes of the generator's last batch as the teacher sees them."""
        counts = torch.bincount(played.seen.logits.argmax(dim=1), minlength=len(self.image.classes))
        return (counts / counts.sum()).tolist()

    @torch.no_grad()
    def _gan_samples(self, played: _Played) -> Samples:
        """The first samples of the generator's last batch; the student has not learned yet."""
        count = self.recording.samples
        pixels = played.made[:count]
        seen = Features(played.seen.logits[:count], played.seen.pooled[:count], {})
        self.student.eval()
        student_logits = self.student(self.image.normalise(pixels))
        return describe(self.step, pixels, seen, student_logits, None, features=self.recording.features)

    @torch.no_grad()
    def _gan_phases(self, played: _Played) -> tuple[Phase, ...]:
        drawn, made = thumbnails(played.drawn[:SHOWN]), thumbnails(played.made)
        judged = {name: term.item() for name, term in played.judge_terms.items()}
        sure = {
            "confidence_real": played.real.sigmoid().mean().item(),
            "confidence_fake": played.fake.sigmoid().mean().item(),
        }
        learned = {name: term.item() for name, term in played.generator_terms.items()}
        learned |= {f"gradient/{name}": norm for name, norm in played.norms.items()}
        teacher = answers("teacher", played.seen.logits)
        return (
            Phase("collected", {"collected": float(len(self.collected))}, drawn),
            Phase("generate", {}, made, teacher),
            Phase("discriminate", judged | sure, drawn),
            Phase("generator", learned, made, teacher),
        )

    @torch.no_grad()
    def synthesize(self, count: int, generator: torch.Generator) -> Tensor:
        """``count`` normalised images from latents of ``generator`` (a CPU one); the training state stays as it is."""
        training = self.generator.training
        self.generator.eval()
        pixels = self._generate(torch.randn(count, self.config.latent, generator=generator).to(self.device))
        self.generator.train(training)
        return self.image.normalise(pixels)

    def reconfigure(self, config: DeGANConfig) -> None:
        """Weights and learning rates from the next step on."""
        self.config = config
        self.generator_optimizer.param_groups[0]["lr"] = config.generator_lr
        self.judge_optimizer.param_groups[0]["lr"] = config.discriminator_lr
        self.stage.reconfigure(config)

    def state_dict(self) -> dict[str, Any]:
        parts = ("generator", "judge", "generator_optimizer", "judge_optimizer", "stage")
        return {"step": self.step, **{name: getattr(self, name).state_dict() for name in parts}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.step = state["step"]
        for name in ("generator", "judge", "generator_optimizer", "judge_optimizer", "stage"):
            getattr(self, name).load_state_dict(state[name])
