"""TA-DFKD: Teacher as a Lenient Expert (Shin & Choi, AAAI 2024, arXiv 2402.12406).

The generator gets no class prior. The teacher judges its samples instead, and only those it vouches for are
learned from. One step is:

1. ``student_steps`` times: generate batches, let the teacher judge them (cross-entropy with its own argmax), split
   the losses by a two-component mixture, until B clean samples are there; the student learns from them by
   L_S = mean |S(x̂) − T(x̂)|.
2. Once: the generator descends L_G = L_adv + λ_BN·BNS + λ_L2·‖x̂‖₂ + λ_TV·TV(x̂), its adversarial term on the clean
   samples only, the others on the whole batch.

The terms of DAFL (class prior λ, class balance, activation) are there for the paper's Figures 1 and 2; they are off.

Differences from the paper and from its released code:

1. The released code norms the whole batch in TV and L2, so its weights hold for B = 1024 only; here both are
   divided by √(B/1024), and the published weights carry over to any batch size.
2. The number of draws per student step is bounded (``max_draws``); the released loop is not. It also always draws at
   least twice; here one draw is enough when all of it is clean.
3. The generator does not change between the student steps of one step, so clean samples beyond B are kept for the
   next student step instead of being thrown away.
4. The student is in eval mode while the generator learns; in the released code it stays in train mode.
5. BNS comes from the forward of the full generated batch; there, from whichever teacher forward ran last.
6. A batch of equal losses is kept whole; there, min–max scaling makes it NaN.
7. Crops and flips are drawn per sample; there, once per batch.
8. ``adversarial`` = ``js-released`` is the published term. It averages over classes, so that its gradient is 0.023
   beside 220 of BNS (CIFAR-10, the published weights): ``paper`` is BNS alone, or nearly.
9. The released code normalises CIFAR-10 by a std of (0.2023, 0.1994, 0.2010); here the teacher's card says by what.
10. ``cut`` = ``class`` fits a mixture to each class, so that none is rejected for being harder than the others, and
    ``selection_after`` selects only after a share of the steps; both are off by default.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from dfkd_core.events import Event
from dfkd_core.kit.augmentation import augment
from dfkd_core.kit.config import UpdatesConfig, knob
from dfkd_core.kit.contract import Summary, Term
from dfkd_core.kit.generation import GeneratorConfig, GeneratorMethod
from dfkd_core.kit.method import descend
from dfkd_core.kit.recorder import Seen
from dfkd_core.kit.recording import SHOWN
from dfkd_core.losses import generator as losses
from dfkd_core.losses.bn_statistics import observe
from dfkd_core.selection.mixture import Selection, judge, select


class TADFKDConfig(GeneratorConfig, UpdatesConfig):
    """Defaults are the paper's CIFAR-10 settings."""

    adversarial: Literal["l1", "kl", "js", "js-released"] = knob(
        "js-released", "How far student and teacher are apart; js-released hardly pulls beside BN statistics.",
        group="Generator", symbol="D",
    )  # fmt: skip
    adversarial_weight: float = knob(
        1.0, "Weight of the adversarial term.", group="Generator", live=True, symbol="λ_adv", ge=0, le=100
    )
    bn_weight: float = knob(
        10.0, "Weight of the BatchNorm statistics term.", group="Generator", live=True, symbol="λ_BN", ge=0, le=1000
    )
    l2_weight: float = knob(
        6e-3, "Weight of the image norm, for a batch of 1024.", group="Generator", live=True, symbol="λ_L2", ge=0,
        le=100,
    )  # fmt: skip
    tv_weight: float = knob(
        1.5e-5, "Weight of the total variation, for a batch of 1024.", group="Generator", live=True, symbol="λ_TV",
        ge=0, le=100,
    )  # fmt: skip
    class_prior_weight: float = knob(
        0.0, "Intensity of the class prior that TA-DFKD does without.", group="Class prior", live=True, symbol="λ",
        ge=0, le=10,
    )  # fmt: skip
    class_balance_weight: float = knob(
        0.0, "Weight of the class balance (DAFL).", group="Class prior", live=True, symbol="λ_BAL", ge=0, le=100
    )
    activation_weight: float = knob(
        0.0, "Weight of the activation term (DAFL).", group="Class prior", live=True, symbol="λ_a", ge=0, le=100
    )
    selection: bool = knob(True, "Learn only from samples that the teacher vouches for.", group="Selection", live=True)
    posterior_cut: float = knob(
        0.5, "A sample is clean above this posterior of the low-loss component.", group="Selection", live=True,
        symbol="τ", ge=0, lt=1,
    )  # fmt: skip
    cut: Literal["batch", "class"] = knob(
        "batch", "Fit the mixture to the whole batch, or to the samples of each class.", group="Selection"
    )
    selection_after: float = knob(0.0, "Share of the steps before the selection begins.", group="Selection", ge=0, le=1)
    max_draws: int = knob(
        10, "Batches generated at most for one student step.", group="Selection", unit="batches", ge=1, le=100
    )
    augmentation: Literal["none", "crop", "crop+flip"] = knob(
        "crop+flip", "Augmentation of the view that is learned from.", group="Networks"
    )
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "demo": {
            "adversarial": "l1", "epochs": 30, "iterations": 20, "student_steps": 5, "batch_size": 128, "latent": 100,
            "width": 16, "student_lr": 0.1, "generator_lr": 0.01, "bn_weight": 0.03, "l2_weight": 0.0, "tv_weight": 0.0,
            "augmentation": "none",
        },
        "cpu": {
            "adversarial": "l1", "epochs": 28, "iterations": 50, "student_steps": 5, "batch_size": 256, "latent": 100,
            "width": 16, "student_lr": 0.05, "bn_weight": 0.1, "l2_weight": 0.0, "tv_weight": 0.0,
            "augmentation": "none",
        },
        "paper": {},
    }  # fmt: skip

    def queries(self, stage: str) -> tuple[int, int]:
        views = 1 if self.augmentation == "none" else 2  # what is learned from is asked about again
        draws = self.max_draws if self.selection else 1
        least, most = self.student_steps, self.student_steps * (draws + views - 1)
        return (least + views) * self.batch_size, (most + views) * self.batch_size


@dataclass
class _Drawn:
    """Clean images with the teacher's logits on them, batch by batch; of ``drawn`` images ``kept`` were clean."""

    parts: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    drawn: int = 0
    kept: int = 0


class TADFKD(GeneratorMethod[TADFKDConfig]):
    """See the module's docstring."""

    name, title, Config = "ta-dfkd", "TA-DFKD", TADFKDConfig
    summary = Summary(
        images="a generator that gets no class prior; the teacher selects from what it makes",
        student="logits, L1",
        chosen="those that the teacher vouches for",
    )
    terms = (
        Term("adversarial", "adversarial", "adversarial_weight"),
        Term("bn_statistics", "BN statistics", "bn_weight", batch_norm=True),
        Term("l2", "image norm", "l2_weight"),
        Term("tv", "total variation", "tv_weight"),
        Term("class_prior", "class prior", "class_prior_weight"),
        Term("class_balance", "class balance", "class_balance_weight", without_batch_norm=5.0),
        Term("activation", "activation", "activation_weight", inside=True),
    )
    phases = ("latents", "generate", "judge", "split", "student", "generator")

    def train(self) -> Iterator[Event]:
        """k student steps on clean samples, then one generator step."""
        self.generator.train()
        for seen in self.steps():
            self.student_phase(seen)
            self.generator_step(seen)
            yield from seen.events()

    def student_phase(self, seen: Seen) -> None:
        """The student learns from what the teacher vouches for."""
        c, pool = self.config, _Drawn()
        seen.anneal(self.student_optimizer)
        seen.student_loss(torch.zeros((), device=self.device))
        self.student.train()
        for _ in seen.repeat(c.student_steps):
            images, teacher_logits = self.clean_batch(pool, seen)
            if len(images) < 2:  # BatchNorm in train mode needs two
                continue
            student_logits = self.student(images)
            loss = F.l1_loss(student_logits, teacher_logits)  # L_S = mean |S(x̂) − T(x̂)|
            seen.student_loss(loss)
            descend(loss, self.student_optimizer)
            seen.phase_student(self.student, images, teacher_logits, student_logits, c.student_steps)
        seen.note(kept=pool.kept / max(1, pool.drawn), draws=pool.drawn / c.batch_size / c.student_steps)

    @torch.no_grad()
    def clean_batch(self, pool: _Drawn, seen: Seen) -> tuple[Tensor, Tensor]:
        """B clean samples with the teacher's logits, of as many batches as it takes; what is left stays in ``pool``."""
        c, draws = self.config, 0
        while sum(len(images) for images, _ in pool.parts) < c.batch_size and draws < c.max_draws:
            draws += 1
            latents = self.latents()
            pixels = self.generator(latents)  # x̂ = G(z)
            images = self.image.normalise(pixels)
            teacher_logits = self.teacher(images)  # judged on the un-augmented view
            verdict = self.verdict(teacher_logits) if self.selects() else None
            if seen.watched:
                self.show_drawn(seen, latents, pixels, teacher_logits, verdict)
            if c.augmentation != "none":
                images = self.image.normalise(augment(pixels, c.augmentation))
            clean = slice(None) if verdict is None else verdict.chosen  # P(low component | ℓ) > τ
            pool.parts.append((images[clean], teacher_logits[clean]))
            pool.drawn, pool.kept = pool.drawn + c.batch_size, pool.kept + len(pool.parts[-1][0])
            self.queries += c.batch_size
        images, teacher_logits = (torch.cat(parts) for parts in zip(*pool.parts, strict=True))
        pool.parts = [(images[c.batch_size :], teacher_logits[c.batch_size :])]
        images, teacher_logits = images[: c.batch_size], teacher_logits[: c.batch_size]
        if c.augmentation != "none" and len(images):
            teacher_logits = self.teacher(images)  # the pool's logits are of the un-augmented view
            self.queries += len(images)
        return images, teacher_logits

    def generator_step(self, seen: Seen) -> None:
        """One step on L_G = L_adv + λ_BN·BNS + λ_L2·‖x̂‖₂ + λ_TV·TV(x̂)."""
        c = self.config
        self.student.eval()
        pixels = self.generator(self.latents())
        images = self.image.normalise(augment(pixels, c.augmentation))
        answers, distance = observe(self.teacher, images)
        with torch.no_grad():
            plain = c.augmentation == "none"
            judged = answers if plain else self.teacher.features(self.image.normalise(pixels))
            verdict = self.verdict(judged.logits)
        student_logits = self.student(images)
        clean = verdict.clean if verdict.applied else None
        discrepancy, scale = losses.DISCREPANCIES[c.adversarial], math.sqrt(c.batch_size / 1024)
        loss = seen.weigh(
            self.generator,
            adversarial=-c.adversarial_weight * discrepancy(student_logits, answers.logits, clean),
            bn_statistics=c.bn_weight * distance,
            l2=c.l2_weight * losses.image_norm(images) / scale,
            tv=c.tv_weight * losses.total_variation(images) / scale,
            class_prior=c.class_prior_weight * losses.class_prior(answers.logits),
            class_balance=c.class_balance_weight * losses.class_balance(answers.logits),
            activation=c.activation_weight * losses.activation(answers.pooled),
        )
        descend(loss, self.generator_optimizer)
        self.queries += c.batch_size if plain else 2 * c.batch_size
        seen.judged(judged)
        seen.samples(judged, student_logits if plain else self.student, verdict, pixels=pixels)
        seen.phase("generator", pixels=pixels, of="generator", arrays={} if clean is None else {"clean": clean})

    def selects(self) -> bool:
        """Whether samples are selected in this step."""
        before = max(0, self.step - 1) / self.total_steps
        return self.config.selection and before >= self.config.selection_after

    def verdict(self, teacher_logits: Tensor) -> Selection:
        """ℓ = CE(T(x̂), argmax T(x̂)), then the mixture: clean where P(low component | ℓ) > τ."""
        labels = teacher_logits.argmax(dim=1) if self.config.cut == "class" else None
        return replace(select(judge(teacher_logits), self.config.posterior_cut, labels), applied=self.selects())

    def show_drawn(self, seen: Seen, latents: Tensor, pixels: Tensor, logits: Tensor, found: Selection | None) -> None:
        """Slow motion of a batch that was drawn for the student."""
        loss = judge(logits)
        seen.phase_latents(latents, pixels)
        seen.phase("judge", pixels=pixels, teacher=logits, arrays={"loss": loss[:SHOWN]})
        unsplit = {"loss": loss, "clean": torch.ones_like(loss, dtype=torch.bool)}  # what it is without a verdict
        seen.phase("split", pixels=pixels, verdict=found, arrays=unsplit, values={"kept": 1.0, "batch": len(loss)})
