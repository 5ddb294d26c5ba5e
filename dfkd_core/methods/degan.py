"""DeGAN: Data-Enriching GAN (Addepalli, Nayak, Chakraborty & Babu, AAAI 2020, arXiv 1912.11960).

A GAN learns from collected images, D_c, and the teacher tells its generator what is missing; the student learns from
what the generator makes, and from nothing else. Two stages of one run:

1. ``gan_steps`` steps, each ``updates`` updates: the discriminator minimises the binary cross-entropy of real and
   generated images; the generator minimises L_adv + λ_e·L_e + λ_d·L_d. L_e is the entropy of the teacher's prediction
   for each image (be of one class), L_d the negative entropy of the batch's mean prediction (be of all of them).
2. ``distill_steps`` steps, each ``updates`` updates: fresh images of the generator, which no longer learns and runs in
   eval mode; the student matches the teacher's answers, T²·KL with T = 20.

Differences from the paper and from its released code:

1. The networks are those of HiDFD, without classes, instead of DCGAN's. Adam's rates and betas are the published ones;
   no moving average of the generator is kept.
2. The student's optimizer, schedule and augmentation are those of all methods that collect. The released code takes
   Adam (1e-3, then 1e-4 from the best student on) and no augmentation.
3. Defaults are as long as HiDFD's. ``paper`` is as long as the released code: 200 epochs of D_c in batches of some
   123 images, what it keeps of 2,048, six classes in a hundred: on CIFAR-10 8,200 updates at ρ = 0.1. Its student
   learns until it no longer gets better, after 5,000 epochs of 256 batches at most; here it learns a tenth of that,
   128,000 updates.
4. λ_e is 0, as released; L_d alone keeps the generator from collapsing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor

from dfkd_core.events import Event
from dfkd_core.kit import gan_stage, student_stage
from dfkd_core.kit.config import knob, other_default
from dfkd_core.kit.contract import Problem, Requirements, Summary, Term
from dfkd_core.kit.gan_stage import GanConfig, GanStage
from dfkd_core.kit.method import Method, descend, placed
from dfkd_core.kit.objective import SoftTargets
from dfkd_core.kit.recorder import Seen
from dfkd_core.kit.student_stage import StudentStage, collected_images, draw
from dfkd_core.losses import gan as gan_losses
from dfkd_core.losses.generator import class_balance, prediction_entropy
from dfkd_core.networks.classifiers import evaluating
from dfkd_core.networks.gan import ClassGenerator, Discriminator


class DeGANConfig(GanConfig):
    """The GAN's weights and rates are the published ones, the lengths those of HiDFD."""

    student_title = "The student learns from generated images"
    entropy_weight: float = knob(
        0.0, "Weight of the entropy of single predictions.", group="GAN", live=True, symbol="λ_e", ge=0, le=100
    )
    diversity_weight: float = knob(
        5.0, "Weight of the batch's diversity over classes.", group="GAN", live=True, symbol="λ_d", ge=0, le=100
    )
    generator_lr: float = other_default(GanConfig, "generator_lr", 2e-4)
    discriminator_lr: float = other_default(GanConfig, "discriminator_lr", 2e-4)
    latent: int = other_default(GanConfig, "latent", 100)
    temperature: float = knob(20.0, "Temperature of the student's targets.", group="Student", symbol="T", gt=0, le=1000)
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "demo": {
            "gan_steps": 130, "gan_batch_size": 64, "width": 8, "latent": 32, "generator_lr": 2e-3,
            "discriminator_lr": 2e-3, "distill_steps": 320, "updates": 5, "student_lr": 0.1, "schedule": "cosine",
            "augmentation": "crop",
        },
        "cpu": {
            "gan_steps": 120, "gan_batch_size": 64, "width": 8, "latent": 32, "generator_lr": 1e-3,
            "discriminator_lr": 1e-3, "distill_steps": 600, "updates": 5, "schedule": "cosine",
        },
        "paper": {"gan_epochs": 200, "gan_steps": 820, "gan_batch_size": 123, "distill_steps": 12_800},
    }  # fmt: skip


class DeGAN(Method[Problem, DeGANConfig]):
    """See the module's docstring."""

    name, title, Config = "degan", "DeGAN", DeGANConfig
    requires = Requirements(collected=True)
    summary = Summary(images="a GAN that the teacher guides", student="softened answers")
    terms = (
        Term("adversarial_d", "adversarial (D)", of="discriminator"),
        Term("adversarial_g", "adversarial (G)"),
        Term("entropy", "entropy", "entropy_weight"),
        Term("class_balance", "class balance", "diversity_weight"),
    )
    phases = (*gan_stage.PHASES, *student_stage.PHASES)
    saved = ("gan", "stage")
    rates = gan_stage.RATES

    def __init__(self, problem: Problem, config: DeGANConfig) -> None:
        super().__init__(problem, config)
        self.collected = collected_images(problem)
        channels, size = problem.image.channels, problem.image.size
        generator = placed(ClassGenerator(config.latent, 1, channels, size, config.width), self.device)
        discriminator = placed(Discriminator(channels, size, config.width), self.device)
        self.gan = GanStage(self, generator, discriminator, betas=(0.5, 0.999))
        self.stage = StudentStage(self, SoftTargets(problem, config.temperature))

    def train(self) -> Iterator[Event]:
        """First the GAN, then the student on fresh images of it."""
        for seen in self.steps():
            self.gan.generator.train(seen.stage == "gan")
            if seen.stage == "gan":
                for _ in seen.repeat(self.config.updates):
                    self.gan_update(seen)
                self.gan.show_memory(seen, lambda images: self.gan.discriminator(self.see(images)).real)
            else:
                self.stage.learn(seen, self.fresh)
            yield from seen.events()

    def gan_update(self, seen: Seen) -> None:
        """One step of the discriminator, and one of the generator on the same generated images."""
        c, discriminator = self.config, self.gan.discriminator
        drawn = draw(self.collected, c.gan_batch_size)
        pixels = self.generate(self.gan.latents())
        images = self.image.normalise(pixels)
        both = torch.cat([self.image.normalise(drawn), images.detach()]).contiguous(memory_format=torch.channels_last)
        real, fake = discriminator(both).real.chunk(2)
        adversarial = gan_losses.log_discriminator(real, fake)  # −E[log σ(D(x))] − E[log(1 − σ(D(x̂)))]
        descend(seen.weigh(None, adversarial_d=adversarial), self.gan.discriminator_optimizer)

        answers = self.teacher.features(images)
        self.queries += len(images)
        loss = seen.weigh(  # L_adv + λ_e·L_e + λ_d·L_d
            self.gan.generator,
            adversarial_g=gan_losses.non_saturating(discriminator(images).real),
            entropy=c.entropy_weight * prediction_entropy(answers.logits),
            class_balance=c.diversity_weight * class_balance(answers.logits),
        )
        descend(loss, self.gan.generator_optimizer)
        self.gan.show_discriminator(seen, drawn, real, fake)
        self.gan.show_generator(seen, pixels, answers)

    def generate(self, latents: Tensor) -> Tensor:
        """(B, z) -> (B, C, H, W) pixels. The generator knows one class only."""
        return self.gan.generator(latents, torch.zeros(len(latents), dtype=torch.long, device=self.device))

    @torch.no_grad()
    def fresh(self) -> Tensor:
        return self.generate(torch.randn(self.config.batch_size, self.config.latent, device=self.device))

    @torch.no_grad()
    def synthesize(self, count: int, generator: torch.Generator) -> Tensor:
        """``count`` normalised images from latents of ``generator`` (a CPU one); the training state stays as it is."""
        latents = torch.randn(count, self.config.latent, generator=generator).to(self.device)
        with evaluating(self.gan.generator):
            return self.image.normalise(self.generate(latents))
