"""ZSKT: Zero-shot Knowledge Transfer via Adversarial Belief Matching (Micaelli & Storkey, NeurIPS 2019, arXiv
1905.09768).

A generator looks for images on which the student's belief is far from the teacher's, and the student learns from each
batch several times; where both look in an image is matched, too. One step takes one batch of latents z:

1. The generator, once, descends L_G = −KL(T(x̂) ‖ S(x̂)), x̂ = G(z).
2. It makes images of the same z again; ``student_steps`` times the student descends, on these,
   L_S = KL(T(x̂) ‖ S(x̂)) + β·Σ_l mean (A_l^S − A_l^T)², A_l the attention of a layer: the mean over channels of its
   squared feature map, scaled to length 1 (Zagoruyko & Komodakis, ICLR 2017).

Differences from the paper and from its released code:

1. The paper prints a norm in the attention term, not squared; β = 250 belongs to the released code's mean of squares.
2. The released code averages the divergence over classes too, which leaves it a tenth on CIFAR-10 and so weighs the
   attention ten times; ``class_mean`` does so.
3. The layers whose attention is matched are the last of each size that teacher and student have in common, above one
   pixel: the groups of two residual networks. Networks that share no size go without.
4. The student is in eval mode while the generator learns; in the released code it stays in train mode.
5. Both rates fall along a cosine that stands still within an epoch; there, it falls with each batch. Gradients are not
   clipped; there, to a norm of 5.
6. The released generator ends with BatchNorm that has parameters, and no tanh; between its first normalisation and the
   first upsampling it has no activation. Its epsilons, 1e-5, are kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor

from dfkd_core.events import Event
from dfkd_core.kit.config import UpdatesConfig, exactly, knob, other_default
from dfkd_core.kit.contract import Problem, Summary, Term
from dfkd_core.kit.generation import GeneratorMethod, HeadConfig
from dfkd_core.kit.method import descend
from dfkd_core.kit.recorder import Seen
from dfkd_core.losses import generator as losses
from dfkd_core.losses.student import attention_transfer
from dfkd_core.networks.classifiers import Features


class ZSKTConfig(HeadConfig, UpdatesConfig):
    """Defaults are the released code's for CIFAR-10: 80,000 batches."""

    attention_weight: float = knob(
        250.0, "Weight of the attention transfer.", group="Student", live=True, symbol="β", ge=0, le=100_000
    )
    class_mean: bool = knob(
        False, "Average the divergence over classes too, as the released code does.", group="Student"
    )
    epochs: int = other_default(HeadConfig, "epochs", 800)
    iterations: int = other_default(HeadConfig, "iterations", 100)
    batch_size: int = other_default(HeadConfig, "batch_size", 128)
    student_lr: float = knob(
        2e-3, "Learning rate of the student (Adam, cosine).", group="Optimisation", live=True, symbol="η_S", gt=0, le=10
    )
    momentum: float = knob(0.9, "First moment of the student's Adam, β₁.", group="Optimisation", ge=0, lt=1)
    weight_decay: float = knob(0.0, "Weight decay of the student's Adam.", group="Optimisation", ge=0, le=1)
    latent: int = other_default(HeadConfig, "latent", 100)
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "demo": {"epochs": 30, "iterations": 20, "width": 16},
        "cpu": {"epochs": 28, "iterations": 50, "batch_size": 256, "width": 16},
        "paper": {},
    }

    def queries(self, stage: str) -> tuple[int, int]:
        return exactly(2 * self.batch_size)


class ZSKT(GeneratorMethod[ZSKTConfig]):
    """See the module's docstring."""

    name, title, Config = "zskt", "ZSKT", ZSKTConfig
    summary = Summary(
        images="a generator, told where student and teacher differ",
        student="softened answers, attention",
    )
    terms = (
        Term("adversarial", "adversarial"),
        Term("divergence", "divergence", of="student"),
        Term("attention", "attention transfer", "attention_weight", of="student", inside=True),
    )
    phases = ("latents", "generator", "generate", "answer", "student")
    epsilon = 1e-5

    def __init__(self, problem: Problem, config: ZSKTConfig) -> None:
        super().__init__(problem, config)
        self.student_optimizer = torch.optim.Adam(
            self.student.parameters(), config.student_lr, (config.momentum, 0.999), weight_decay=config.weight_decay,
            fused=True,
        )  # fmt: skip

    def train(self) -> Iterator[Event]:
        """One step of the generator and k of the student, of the same latents."""
        self.generator.train()
        for seen in self.steps():
            self.anneal_both(seen)
            latents = self.latents()
            self.generator_step(seen, latents)
            self.student_phase(seen, latents)
            seen.phase_latents(latents)
            yield from seen.events()

    def generator_step(self, seen: Seen, latents: Tensor) -> None:
        """The generator descends L_G = −KL(T(x̂) ‖ S(x̂))."""
        self.student.eval()
        pixels = self.generator(latents)
        images, answers = self.answered(pixels)
        student_logits = self.student(images)
        divergence = self.divergence(student_logits, answers.logits)
        descend(seen.weigh(self.generator, adversarial=-divergence), self.generator_optimizer)
        seen.phase("generator", pixels=pixels, teacher=answers.logits, student=student_logits, of="generator")

    def student_phase(self, seen: Seen, latents: Tensor) -> None:
        """The student descends L_S on the images that the generator now makes of the same latents, k times."""
        c = self.config
        self.student.train()
        with torch.no_grad():
            pixels = self.generator(latents)
            images, answers = self.answered(pixels)
        for _ in seen.repeat(c.student_steps):
            ours = self.problem.student.features(images)
            terms = {"divergence": self.divergence(ours.logits, answers.logits)}
            pairs = shared_layers(ours, answers) if c.attention_weight > 0 else []
            if pairs:
                terms["attention"] = c.attention_weight * attention_transfer(pairs)  # β·Σ_l mean (A_l^S − A_l^T)²
            loss = torch.stack(list(terms.values())).sum()
            seen.student_loss(loss, terms)
            descend(loss, self.student_optimizer)
        seen.judged(answers)
        seen.samples(answers, ours.logits.detach(), pixels=pixels)
        seen.phase("generate", pixels=pixels)
        seen.phase("answer", pixels=pixels, teacher=answers.logits)
        seen.phase_student(self.student, images, answers.logits, ours.logits, c.student_steps)

    def divergence(self, student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
        """KL(softmax T ‖ softmax S), mean over samples."""
        divergence = losses.kl_discrepancy(student_logits, teacher_logits)
        return divergence / teacher_logits.shape[1] if self.config.class_mean else divergence


def shared_layers(student: Features, teacher: Features) -> list[tuple[Tensor, Tensor]]:
    """The last feature maps of each size that both have, above one pixel."""
    ours, theirs = ({found.shape[2:]: found for found in one.maps.values()} for one in (student, teacher))
    return [(ours[size], theirs[size]) for size in ours if size in theirs and size.numel() > 1]
