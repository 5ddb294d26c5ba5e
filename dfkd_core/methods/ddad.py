"""DDAD: Dual Discriminator Adversarial Distillation for Data-free Model Compression (Zhao, Sun, Dong, Yu & Zhou, 2022,
International Journal of Machine Learning and Cybernetics, arXiv 2104.05382).

Two discriminators teach the generator. The teacher, which does not change, tells it by the statistics in its BatchNorm
layers what the training data looked like; the student, which does, tells it where the two still differ. One step is:

1. ``student_steps`` times: B new images x̂ = G(z); the student descends L_S = D(S(x̂), T(x̂)), which does not reach the
   generator.
2. Once: B new images; the generator descends L_G = λ_BN·BNS − λ_adv·D(S(x̂), T(x̂)).

BNS = Σ_l ‖μ_l(x̂) − μ̂_l‖₂ + ‖σ²_l(x̂) − σ̂²_l‖₂ over the teacher's BatchNorm layers. D is mean |S(x̂) − T(x̂)| on logits,
or KL(softmax T(x̂) ‖ softmax S(x̂)).

What the paper leaves open here, and how it is read:

1. No code was released, and the lengths, rates and the weight between the two terms are not the paper's own: lengths
   and first rates are those of DFAD, whose game this is, with λ_BN = 1; the student's rate falls along a cosine and
   the generator's stays, as TA-DFKD's do, where DFAD divides both by 10 twice.
2. D is L1, DFAD's; ``discrepancy`` = kl compares probabilities.
3. The student is in eval mode while the generator learns.
4. A teacher without BatchNorm layers leaves the second discriminator alone: then this is DFAD with a bounded generator.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

from dfkd_core.events import Event
from dfkd_core.kit.config import UpdatesConfig, exactly, knob, other_default
from dfkd_core.kit.contract import Summary, Term
from dfkd_core.kit.generation import GeneratorConfig, GeneratorMethod
from dfkd_core.kit.method import descend
from dfkd_core.kit.recorder import Seen
from dfkd_core.losses import generator as losses
from dfkd_core.losses.bn_statistics import observe


class DDADConfig(GeneratorConfig, UpdatesConfig):
    """Defaults are those of DFAD for CIFAR-10, the student's rate along a cosine."""

    discrepancy: Literal["l1", "kl"] = knob(
        "l1", "How far student and teacher are apart: on logits, or on probabilities.", group="Generator", symbol="D"
    )
    bn_weight: float = knob(
        1.0, "Weight of the BatchNorm statistics, the fixed discriminator.", group="Generator", live=True,
        symbol="λ_BN", ge=0, le=1000,
    )  # fmt: skip
    adversarial_weight: float = knob(
        1.0, "Weight of the discrepancy, the discriminator that learns.", group="Generator", live=True, symbol="λ_adv",
        ge=0, le=100,
    )  # fmt: skip
    epochs: int = other_default(GeneratorConfig, "epochs", 500)
    iterations: int = other_default(GeneratorConfig, "iterations", 50)
    batch_size: int = other_default(GeneratorConfig, "batch_size", 256)
    student_steps: int = other_default(UpdatesConfig, "student_steps", 5)
    student_lr: float = other_default(GeneratorConfig, "student_lr", 0.1)
    latent: int = other_default(GeneratorConfig, "latent", 256)
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "demo": {
            "epochs": 42, "iterations": 20, "batch_size": 128, "latent": 100, "width": 16, "bn_weight": 0.03,
            "generator_lr": 0.01,
        },
        "cpu": {
            "epochs": 28, "iterations": 50, "latent": 100, "width": 16, "bn_weight": 0.1, "student_lr": 0.05,
        },
        "paper": {},
    }  # fmt: skip

    def queries(self, stage: str) -> tuple[int, int]:
        return exactly((self.student_steps + 1) * self.batch_size)


class DDAD(GeneratorMethod[DDADConfig]):
    """See the module's docstring."""

    name, title, Config = "ddad", "DDAD", DDADConfig
    summary = Summary(
        images="a generator, told what BatchNorm remembers and where student and teacher differ",
        student="logits, L1",
    )
    terms = (
        Term("bn_statistics", "BN statistics", "bn_weight", batch_norm=True),
        Term("adversarial", "adversarial", "adversarial_weight"),
    )
    phases = ("latents", "generate", "answer", "student", "generator")

    def train(self) -> Iterator[Event]:
        """k steps of the student, then one of the generator."""
        self.generator.train()
        for seen in self.steps():
            seen.anneal(self.student_optimizer)
            self.student_phase(seen)
            self.generator_step(seen)
            yield from seen.events()

    def student_phase(self, seen: Seen) -> None:
        """The student descends L_S = D on new images."""
        c = self.config
        discrepancy = losses.DISCREPANCIES[c.discrepancy]
        latents, pixels = self.learn_from_new(seen, c.student_steps, discrepancy)  # L_S = D(S(x̂), T(x̂))
        seen.phase_latents(latents, pixels)

    def generator_step(self, seen: Seen) -> None:
        """The generator descends what both discriminators say of new images."""
        c = self.config
        self.student.eval()
        pixels = self.generator(self.latents())
        images = self.image.normalise(pixels)
        answers, distance = observe(self.teacher, images)
        self.queries += len(images)
        student_logits = self.student(images)
        loss = seen.weigh(  # L_G = λ_BN·BNS − λ_adv·D(S(x̂), T(x̂))
            self.generator,
            bn_statistics=c.bn_weight * distance,
            adversarial=-c.adversarial_weight * losses.DISCREPANCIES[c.discrepancy](student_logits, answers.logits),
        )
        descend(loss, self.generator_optimizer)
        seen.judged(answers)
        seen.samples(answers, student_logits.detach(), pixels=pixels)
        seen.phase("generator", pixels=pixels, teacher=answers.logits, student=student_logits, of="generator")
