"""PRE-DFKD: Robust and Resource-Efficient Data-Free Knowledge Distillation by Generative Pseudo Replay (Binici,
Aggarwal, Pham, Leman & Mitra, AAAI 2022, arXiv 2201.03019).

A generator that follows the student's mistakes leaves behind what it showed before, and the student forgets it. So a
VAE remembers what was generated, and a part of each batch is replayed from it; no image is stored. One step is:

1. The generator of new images, once, descends DAFL's terms and an adversarial one,
   L_G = λ·L_oh + λ_BAL·L_ie + λ_a·L_a − λ_adv·JS(T(x̂), S(x̂)).
2. ``student_steps`` times: the student descends L_S = mean |S(x) − T(x)| on B new images and B/8 replayed ones.
3. After each of the first ``memory_steps`` of these the memory learns B/2 of the new images and the replayed ones: it
   descends the error of what the teacher answers, that of the pixels, and its posterior's KL divergence from N(0, I).

The latents that are replayed are balanced first: one step of Adam down λ·L_oh + λ_BAL·L_ie of the replayed images, and
the squared distances of the latents' means and variances from 0 and 1.

Differences from the paper and from its released code:

1. ``adversarial`` = js is the divergence as it is defined. The released code's (js-released: temperature 3, a mean over
   classes too) is nearly inert; it also cuts the teacher's side off from the gradient.
2. The information entropy has natural logarithms; the released code's have base 10 (``logarithm``).
3. The memory reproduces pixels and the teacher's logits, as released; the paper's, logits alone (``pixel_weight`` = 0).
4. In the released code the gradients of balancing the latents stay in the memory and are added to its next update.
5. The memory is the VAE of this lab, with 64 latents, instead of a generator like the first and an encoder. It learns
   from the very images that were just replayed, which the teacher need not answer again.
6. The student is in eval mode while the generator learns, released in train mode. The released generator has spectral
   norms, and no activation behind its first BatchNorm layer.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from dfkd_core.events import Event
from dfkd_core.kit.config import UpdatesConfig, exactly, knob, other_default
from dfkd_core.kit.contract import Problem, Summary, Term
from dfkd_core.kit.generation import GeneratorMethod, PriorConfig
from dfkd_core.kit.method import descend, placed
from dfkd_core.kit.recorder import Seen
from dfkd_core.losses import generator as losses
from dfkd_core.losses.latent import level_kl
from dfkd_core.networks.latent import ConvVAE, draw_noise


class PREDFKDConfig(PriorConfig, UpdatesConfig):
    """Defaults are the released code's for CIFAR."""

    adversarial: Literal["js", "js-released"] = knob("js", "Measure of disagreement.", group="Generator", symbol="D")
    adversarial_weight: float = knob(
        1.0, "Weight of the adversarial term.", group="Generator", live=True, symbol="λ_adv", ge=0, le=100
    )
    replayed: float = knob(
        0.125, "Images replayed beside the new ones, as a share of the batch.", group="Memory", gt=0, le=1
    )
    memory_steps: int = knob(
        4, "Student updates after which the memory learns, too.", group="Memory", unit="updates", ge=1, le=1000
    )
    memory_lr: float = knob(5e-4, "Learning rate of the memory (Adam).", group="Memory", live=True, gt=0, le=1)
    memory_width: int = knob(64, "Channels of the memory's layers.", group="Memory", memory=True, ge=4, le=512)
    answer_weight: float = knob(1.0, "Weight of the error of answers.", group="Memory", live=True, ge=0, le=100)
    pixel_weight: float = knob(1.0, "Weight of the error of pixels.", group="Memory", live=True, ge=0, le=100)
    kl_weight: float = knob(1e-5, "Weight of the latents' KL divergence.", group="Memory", live=True, ge=0, le=100)
    epochs: int = other_default(PriorConfig, "epochs", 400)
    student_lr: float = other_default(PriorConfig, "student_lr", 0.1)
    generator_lr: float = other_default(PriorConfig, "generator_lr", 0.02)
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "demo": {
            "adversarial_weight": 20.0, "epochs": 25, "iterations": 20, "batch_size": 128, "student_steps": 5,
            "memory_steps": 1, "memory_width": 16, "latent": 100, "width": 16, "generator_lr": 5e-3,
        },
        "cpu": {
            "adversarial_weight": 20.0, "epochs": 28, "iterations": 50, "batch_size": 256, "student_steps": 5,
            "memory_steps": 1, "memory_width": 16, "latent": 100, "width": 16, "student_lr": 0.05, "generator_lr": 5e-3,
        },
        "paper": {},
    }  # fmt: skip

    @property
    def replayed_images(self) -> int:
        """Images that are replayed beside a batch of new ones."""
        return max(2, round(self.replayed * self.batch_size))

    @property
    def learned(self) -> int:
        return self.student_steps * (self.batch_size + self.replayed_images)

    def queries(self, stage: str) -> tuple[int, int]:
        new, again = self.batch_size, self.replayed_images
        remembered = min(self.memory_steps, self.student_steps) * (again + new // 2)
        return exactly(new + self.student_steps * (new + 2 * again) + remembered)


class PREDFKD(GeneratorMethod[PREDFKDConfig]):
    """See the module's docstring."""

    name, title, Config = "pre-dfkd", "PRE-DFKD", PREDFKDConfig
    summary = Summary(
        images="a generator as DAFL's that also looks for differences; a VAE that remembers what it made",
        student="logits, L1, on new and replayed images",
        kept="a VAE, {memory_width} channels wide; no image",
    )
    terms = (
        Term("class_prior", "class prior", "class_prior_weight"),
        Term("class_balance", "class balance", "class_balance_weight"),
        Term("activation", "activation", "activation_weight", inside=True),
        Term("adversarial", "adversarial", "adversarial_weight"),
        Term("memory_answer", "remembered answers", "answer_weight", of="memory"),
        Term("memory_pixel", "remembered pixels", "pixel_weight", of="memory"),
        Term("memory_kl", "KL of the memory", "kl_weight", of="memory"),
    )
    phases = ("latents", "generate", "generator", "replay", "answer", "student", "memory")
    saved = (*GeneratorMethod.saved, "memory", "memory_optimizer")
    rates = {**GeneratorMethod.rates, "memory_optimizer": "memory_lr"}

    def __init__(self, problem: Problem, config: PREDFKDConfig) -> None:
        super().__init__(problem, config)
        self.memory = placed(ConvVAE(problem.image, config.memory_width), self.device)
        self.memory_optimizer = torch.optim.Adam(self.memory.parameters(), config.memory_lr, fused=True)

    def train(self) -> Iterator[Event]:
        """One step of the generator, then k of the student, with those of the memory among them."""
        self.generator.train()
        for seen in self.steps():
            self.generation(seen)
            self.distillation(seen)
            yield from seen.events()

    def generation(self, seen: Seen) -> None:
        """The generator descends L_G on new images."""
        c = self.config
        self.student.eval()
        latents = self.latents()
        pixels = self.generator(latents)
        images, answers = self.answered(pixels)
        student_logits = self.student(images)
        discrepancy = losses.DISCREPANCIES[c.adversarial](student_logits, answers.logits)
        loss = seen.weigh(  # L_G = λ·L_oh + λ_BAL·L_ie + λ_a·L_a − λ_adv·JS
            self.generator,
            class_prior=c.class_prior_weight * losses.class_prior(answers.logits),
            class_balance=c.class_balance_weight * losses.class_balance(answers.logits) / c.base,
            activation=c.activation_weight * losses.activation(self.last_map(answers)),
            adversarial=-c.adversarial_weight * discrepancy,
        )
        descend(loss, self.generator_optimizer)
        seen.judged(answers)
        seen.samples(answers, student_logits.detach(), pixels=pixels)
        seen.phase_latents(latents, pixels)
        seen.phase("generator", pixels=pixels, teacher=answers.logits, student=student_logits, of="generator")

    def distillation(self, seen: Seen) -> None:
        """The student learns from new and replayed images, and the memory takes in what is new."""
        c = self.config
        seen.anneal(self.student_optimizer)
        self.student.train()
        for index in seen.repeat(c.student_steps):
            with torch.no_grad():
                new = self.image.normalise(self.generator(self.latents()))
            images = torch.cat([replayed := self.replay(), new])
            with torch.no_grad():
                teacher_logits = self.teacher(images)
            self.queries += len(images)
            student_logits = self.student(images)
            loss = losses.l1_discrepancy(student_logits, teacher_logits)  # L_S = mean |S(x) − T(x)|
            descend(loss, self.student_optimizer)
            if index < c.memory_steps:
                taken = slice(len(replayed) + len(new) // 2)
                self.remember(seen, images[taken], teacher_logits[taken])
        seen.student_loss(loss)
        seen.phase("replay", images=replayed)
        seen.phase("answer", images=images, teacher=teacher_logits)
        seen.phase_student(self.student, images, teacher_logits, student_logits, c.student_steps)

    def replay(self) -> Tensor:
        """Normalised images of the memory, whose latents were balanced over the classes."""
        c = self.config
        (latents,) = draw_noise(self.memory, c.replayed_images, self.device)
        latents.requires_grad_()
        logits = self.teacher(self.memory.generate((latents,)).images)
        self.queries += len(latents)
        balance = c.class_prior_weight * losses.class_prior(logits)
        balance = balance + c.class_balance_weight * losses.class_balance(logits) / c.base
        moments = (latents.var(dim=0) - 1).square().mean() + latents.mean(dim=0).square().mean()
        descend(balance + moments, torch.optim.Adam([latents], c.generator_lr))
        with torch.no_grad():
            return self.memory.generate((latents,)).images

    def remember(self, seen: Seen, images: Tensor, teacher_logits: Tensor) -> None:
        """The memory learns to reproduce ``images``, and what the teacher answered to them."""
        c = self.config
        inferred = self.memory.infer(images, draw_noise(self.memory, len(images), self.device))
        answers = self.teacher(inferred.images)
        self.queries += len(images)
        loss = seen.weigh(
            None,
            memory_answer=c.answer_weight * losses.l1_discrepancy(answers, teacher_logits),
            memory_pixel=c.pixel_weight * F.l1_loss(inferred.images, images),
            memory_kl=c.kl_weight * level_kl(inferred).sum(dim=0).mean(),
        )
        descend(loss, self.memory_optimizer)
        seen.phase("memory", images=inferred.images.detach(), teacher=answers.detach(), of="memory")
