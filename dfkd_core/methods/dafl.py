"""DAFL: Data-Free Learning of Student Networks (Chen et al., ICCV 2019, arXiv 1904.01186).

The generator makes images that the teacher takes for its training data: sure of one class (one-hot), all classes alike
(information entropy), and with strong features (activation). One step is:

1. B images x̂ = G(z), which teacher and student answer.
2. The generator descends L_G = λ·L_oh + λ_BAL·L_ie + λ_a·L_a (eq. 6): L_oh = CE(T(x̂), argmax T(x̂)) (eq. 3),
   L_a = −mean |f_T(x̂)| (eq. 4), L_ie = Σ_c p̄_c log p̄_c (eq. 5), p̄ the mean prediction of the batch.
3. On the same images the student descends KL(softmax T(x̂) ‖ softmax S(x̂)) (eq. 7), which does not reach the generator.

Differences from the paper and from its released code:

1. The paper prints 1/K before L_ie; the released code leaves it out, as here, and takes the logarithm to base 10, which
   ``logarithm`` = 10 does: the natural one pulls 2.3 times harder at the same weight.
2. f is what the teacher's last stage gives, averaged over pixels: LeNet-5's 120 numbers, as released, and a ResNet's
   pooled features.
3. The generator's last layers are the released ones (tanh, BatchNorm without parameters); ``head`` = sigmoid bounds its
   pixels, as those of TA-DFKD, whose activation behind the first BatchNorm layer it has; there, none.
4. ``paper`` is CIFAR-10's: the student's rate is divided by 10 at 40 and 80 % of the epochs (800 and 1,600 of 2,000),
   as released. The released code trains MNIST's student with Adam; here it is SGD for all.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

from dfkd_core.events import Event
from dfkd_core.kit.config import exactly, knob, other_default
from dfkd_core.kit.contract import Summary, Term
from dfkd_core.kit.generation import GeneratorMethod, PriorConfig
from dfkd_core.kit.method import descend
from dfkd_core.losses import generator as losses


class DAFLConfig(PriorConfig):
    """Defaults are the released code's for CIFAR-10."""

    class_prior_weight: float = other_default(PriorConfig, "class_prior_weight", 0.05)
    activation_weight: float = other_default(PriorConfig, "activation_weight", 0.01)
    schedule: Literal["step", "cosine"] = knob(
        "step", "The student's rate: divided by 10 after 40 and 80 % of the epochs, or cosine.", group="Optimisation"
    )
    epochs: int = other_default(PriorConfig, "epochs", 2000)
    iterations: int = other_default(PriorConfig, "iterations", 120)
    student_lr: float = other_default(PriorConfig, "student_lr", 0.1)
    generator_lr: float = other_default(PriorConfig, "generator_lr", 0.02)
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "demo": {
            "class_prior_weight": 1.0, "class_balance_weight": 5.0, "activation_weight": 0.1, "epochs": 30,
            "iterations": 60, "batch_size": 128, "latent": 100, "width": 16, "generator_lr": 5e-3, "schedule": "cosine",
        },
        "cpu": {
            "class_prior_weight": 1.0, "class_balance_weight": 5.0, "activation_weight": 0.1, "epochs": 40,
            "iterations": 120, "batch_size": 256, "latent": 100, "width": 16, "generator_lr": 5e-3,
            "schedule": "cosine",
        },
        "paper": {},
    }  # fmt: skip

    def queries(self, stage: str) -> tuple[int, int]:
        return exactly(self.batch_size)

    def student_rate(self, done: int) -> float:
        return super().student_rate(done) if self.schedule == "cosine" else self.divided(done, (0.4, 0.8))


class DAFL(GeneratorMethod[DAFLConfig]):
    """See the module's docstring."""

    name, title, Config = "dafl", "DAFL", DAFLConfig
    summary = Summary(
        images="a generator, told what the teacher's data are like",
        student="softened answers, at temperature 1",
    )
    terms = (
        Term("class_prior", "class prior", "class_prior_weight"),
        Term("class_balance", "class balance", "class_balance_weight"),
        Term("activation", "activation", "activation_weight", inside=True),
    )
    phases = ("latents", "generate", "answer", "generator", "student")

    def train(self) -> Iterator[Event]:
        """One step of the generator and one of the student on the same batch."""
        self.generator.train()
        for seen in self.steps():
            c = self.config
            seen.anneal(self.student_optimizer)
            latents = self.latents()
            pixels = self.generator(latents)
            images, answers = self.answered(pixels)
            generator_loss = seen.weigh(  # L_G = λ·L_oh + λ_BAL·L_ie + λ_a·L_a
                self.generator,
                class_prior=c.class_prior_weight * losses.class_prior(answers.logits),
                class_balance=c.class_balance_weight * losses.class_balance(answers.logits) / c.base,
                activation=c.activation_weight * losses.activation(self.last_map(answers)),
            )
            descend(generator_loss, self.generator_optimizer)

            self.student.train()
            teacher_logits, images = answers.logits.detach(), images.detach()
            student_logits = self.student(images)
            loss = losses.kl_discrepancy(student_logits, teacher_logits)  # KL(softmax T(x̂) ‖ softmax S(x̂))
            seen.student_loss(loss)
            descend(loss, self.student_optimizer)

            seen.judged(answers)
            seen.samples(answers, student_logits.detach(), pixels=pixels)
            seen.phase_latents(latents, pixels)
            seen.phase("answer", pixels=pixels, teacher=teacher_logits)
            seen.phase("generator", pixels=pixels, of="generator")
            seen.phase_student(self.student, images, teacher_logits, student_logits, 1)
            yield from seen.events()
