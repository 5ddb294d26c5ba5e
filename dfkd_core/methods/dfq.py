"""DFQ: Data-Free Network Quantization with Adversarial Knowledge Distillation (Choi, Choi, El-Khamy & Lee, CVPR
Workshops 2020, arXiv 2005.04136), its distillation.

The generator looks for images on which student and teacher differ, within what the teacher's training data can have
been like. An auxiliary loss holds it there,

    L_ψ = Σ_l,c KL(N(μ_lc(x̂), σ²_lc(x̂)) ‖ N(μ̂_lc, σ̂²_lc)) + E[H(T(x̂))] − H(E[T(x̂)]):

each channel of each BatchNorm layer has the statistics that the layer stored, each image is of one class, the batch is
of all. The run has two stages:

1. Warm-up, ``warm_up`` steps: the generator alone descends α·L_ψ.
2. Each step: the generator, once, descends L_G = −KL(T(x̂) ‖ S(x̂)) + α·L_ψ; then, ``student_steps`` times, the student
   descends L_S = KL(T(x̂) ‖ S(x̂)) on new images, which does not reach the generator.

Differences from the paper (no code of the authors' was released):

1. There is one generator and one student; the paper's best figures take several of both, and nothing is quantised.
2. α is one number there; here each of the three terms has its own weight, all α by default. The value, as the lengths,
   are those of a public reproduction.
3. Variances get BatchNorm's epsilon: a channel that the generator leaves constant would be infinitely far off.
4. The student is in eval mode while the generator learns. Both rates fall along a cosine that stands still within an
   epoch. The weight decay is that of all methods here.
5. Benchmarks of others call DFQ another sum: the cross-entropy with the argmax, the norms of DeepInversion, and 20
   times the class balance. ``bn_measure`` = norms takes these norms.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from dfkd_core.events import Event
from dfkd_core.kit.config import Stage, UpdatesConfig, exactly, knob, other_default
from dfkd_core.kit.contract import Problem, Summary, Term
from dfkd_core.kit.generation import GeneratorMethod, HeadConfig
from dfkd_core.kit.method import descend
from dfkd_core.kit.recorder import Seen
from dfkd_core.losses import generator as losses
from dfkd_core.losses.bn_statistics import observe, observe_divergence


class DFQConfig(HeadConfig, UpdatesConfig):
    """Defaults are those for CIFAR-10."""

    warm_up: int = knob(
        20_000, "Steps in which the generator learns alone.", group="Schedule", unit="steps", ge=1, le=10_000_000
    )
    bn_measure: Literal["divergence", "norms"] = knob(
        "divergence", "How far statistics are apart: a KL divergence of Gaussians, or norms.", group="Generator"
    )
    bn_weight: float = knob(
        0.01, "Weight of the BatchNorm statistics.", group="Generator", live=True, symbol="α", ge=0, le=1000
    )
    entropy_weight: float = knob(
        0.01, "Weight of the entropy of single predictions.", group="Generator", live=True, symbol="α", ge=0, le=100
    )
    class_balance_weight: float = knob(
        0.01, "Weight of the negative entropy of the mean prediction.", group="Generator", live=True, symbol="α", ge=0,
        le=100,
    )  # fmt: skip
    adversarial_weight: float = knob(
        1.0, "Weight of the adversarial term.", group="Generator", live=True, symbol="λ_adv", ge=0, le=100
    )
    iterations: int = other_default(HeadConfig, "iterations", 400)
    batch_size: int = other_default(HeadConfig, "batch_size", 256)
    student_lr: float = other_default(HeadConfig, "student_lr", 0.1)
    latent: int = other_default(HeadConfig, "latent", 512)
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "demo": {
            "warm_up": 60, "epochs": 30, "iterations": 20, "batch_size": 128, "student_steps": 5, "latent": 100,
            "width": 16, "generator_lr": 5e-3,
        },
        "cpu": {
            "warm_up": 100, "epochs": 28, "iterations": 50, "student_steps": 5, "latent": 100, "width": 16,
            "student_lr": 0.05,
        },
        "paper": {},
    }  # fmt: skip

    def stages(self) -> tuple[Stage, ...]:
        return (Stage("warm-up", "The generator warms up", self.warm_up), *super().stages())

    def queries(self, stage: str) -> tuple[int, int]:
        return exactly(self.batch_size * (1 if stage == "warm-up" else 1 + self.student_steps))

    def epoch_at(self, step: int) -> int | None:
        return super().epoch_at(step - self.warm_up)


class DFQ(GeneratorMethod[DFQConfig]):
    """See the module's docstring."""

    name, title, Config = "dfq", "DFQ", DFQConfig
    summary = Summary(
        images="a generator, told what BatchNorm remembers, to make every class, and where student and teacher differ",
        student="softened answers, at temperature 1",
    )
    terms = (
        Term("bn_statistics", "BN statistics", "bn_weight", batch_norm=True),
        Term("entropy", "entropy", "entropy_weight"),
        Term("class_balance", "class balance", "class_balance_weight"),
        Term("adversarial", "adversarial", "adversarial_weight"),
    )
    phases = ("latents", "generate", "generator", "answer", "student")

    def __init__(self, problem: Problem, config: DFQConfig) -> None:
        super().__init__(problem, config)
        self.student_optimizer = torch.optim.SGD(
            self.student.parameters(), config.student_lr, config.momentum, weight_decay=config.weight_decay,
            nesterov=config.momentum > 0, fused=True,
        )  # fmt: skip

    def train(self) -> Iterator[Event]:
        """The generator's warm-up; then one step of it, and k of the student."""
        self.generator.train()
        for seen in self.steps():
            if seen.stage == "warm-up":
                self.generator_step(seen)
            else:
                self.anneal_both(seen)
                self.generator_step(seen)
                self.student_phase(seen)
            yield from seen.events()

    def generator_step(self, seen: Seen) -> None:
        """The generator descends α·L_ψ, and after the warm-up −KL(T(x̂) ‖ S(x̂)), too."""
        c = self.config
        self.student.eval()
        latents = self.latents()
        pixels = self.generator(latents)
        images = self.image.normalise(pixels)
        answers, distance = (observe_divergence if c.bn_measure == "divergence" else observe)(self.teacher, images)
        self.queries += len(images)
        terms = {  # α·L_ψ
            "bn_statistics": c.bn_weight * distance,
            "entropy": c.entropy_weight * losses.prediction_entropy(answers.logits),
            "class_balance": c.class_balance_weight * losses.class_balance(answers.logits),
        }
        student_logits: Tensor | None = None
        if seen.stage != "warm-up":
            student_logits = self.student(images)
            terms["adversarial"] = -c.adversarial_weight * losses.kl_discrepancy(student_logits, answers.logits)
        descend(seen.weigh(self.generator, **terms), self.generator_optimizer)
        seen.judged(answers)
        seen.samples(answers, self.student if student_logits is None else student_logits.detach(), pixels=pixels)
        seen.phase_latents(latents, pixels)
        seen.phase("generator", pixels=pixels, teacher=answers.logits, student=student_logits, of="generator")

    def student_phase(self, seen: Seen) -> None:
        """The student descends L_S on new images."""
        self.learn_from_new(seen, self.config.student_steps, losses.kl_discrepancy)  # L_S = KL(T(x̂) ‖ S(x̂))
