"""DFAD: Data-Free Adversarial Distillation (Fang et al., 2019, arXiv 1912.11006).

A game about one number, how far teacher and student are apart on generated images: D = E[mean |T(x̂) − S(x̂)|] (eq. 3),
x̂ = G(z). The student makes it small (imitation), the generator large (generation). Nothing says what an image should
look like. One step is:

1. Imitation, ``student_steps`` times: B new images; the student descends L_S = D, which does not reach the generator.
2. Generation, once: B new images; the generator descends L_G = −D, which passes through both networks.

Differences from the paper and from its released code:

1. ``generator_loss`` = log descends −log(D + 1), the paper's adaptive loss, which slows the generator down where the
   student is far off. The released code takes it for segmentation, and −D for MNIST and CIFAR, as here by default.
2. The student is in eval mode while the generator learns; in the released code it stays in train mode, so that the
   generator's batches move its BatchNorm statistics.
3. The generator is that of all methods here: an activation after its first BatchNorm layer, and epsilons of 0.8, which
   the released one lacks. ``head`` = sigmoid bounds its pixels.
4. ``schedule`` = step divides both rates by 10 after 20 and 40 % of the epochs (100 and 200 of 500), as released;
   cosine lets both fall along half a cosine.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

from dfkd_core.events import Event
from dfkd_core.kit.config import UpdatesConfig, exactly, knob, other_default
from dfkd_core.kit.contract import Summary, Term
from dfkd_core.kit.generation import GeneratorMethod, HeadConfig
from dfkd_core.kit.method import descend
from dfkd_core.kit.recorder import Seen
from dfkd_core.losses import generator as losses


class DFADConfig(HeadConfig, UpdatesConfig):
    """Defaults are the released code's for CIFAR-10."""

    generator_loss: Literal["l1", "log"] = knob(
        "l1", "What the generator descends: −D, or −log(D + 1), the adaptive loss.", group="Generator"
    )
    schedule: Literal["step", "cosine"] = knob(
        "step", "Both rates: divided by 10 after 20 and 40 % of the epochs, or cosine.", group="Optimisation"
    )
    epochs: int = other_default(HeadConfig, "epochs", 500)
    iterations: int = other_default(HeadConfig, "iterations", 50)
    batch_size: int = other_default(HeadConfig, "batch_size", 256)
    student_steps: int = other_default(UpdatesConfig, "student_steps", 5)
    student_lr: float = other_default(HeadConfig, "student_lr", 0.1)
    latent: int = other_default(HeadConfig, "latent", 256)
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "demo": {
            "epochs": 42, "iterations": 20, "batch_size": 128, "latent": 100, "width": 16, "schedule": "cosine",
        },
        "cpu": {
            "epochs": 28, "iterations": 50, "latent": 100, "width": 16, "student_lr": 0.05, "schedule": "cosine",
        },
        "paper": {},
    }  # fmt: skip

    def queries(self, stage: str) -> tuple[int, int]:
        return exactly((self.student_steps + 1) * self.batch_size)

    def student_rate(self, done: int) -> float:
        return super().student_rate(done) if self.schedule == "cosine" else self.divided(done, (0.2, 0.4))


class DFAD(GeneratorMethod[DFADConfig]):
    """See the module's docstring."""

    name, title, Config = "dfad", "DFAD", DFADConfig
    summary = Summary(
        images="a generator, told where student and teacher differ",
        student="logits, L1",
    )
    terms = (Term("adversarial", "adversarial"),)
    phases = ("latents", "generate", "answer", "student", "generator")

    def train(self) -> Iterator[Event]:
        """k steps of the student, then one of the generator."""
        self.generator.train()
        for seen in self.steps():
            self.anneal_both(seen)
            self.imitation(seen)
            self.generation(seen)
            yield from seen.events()

    def imitation(self, seen: Seen) -> None:
        """The student descends L_S = D on new images."""
        c = self.config
        latents, pixels = self.learn_from_new(seen, c.student_steps, losses.l1_discrepancy)  # L_S = E[mean |T − S|]
        seen.phase_latents(latents, pixels)

    def generation(self, seen: Seen) -> None:
        """The generator descends L_G = −D, or −log(D + 1), on new images."""
        self.student.eval()
        pixels = self.generator(self.latents())
        images, answers = self.answered(pixels)
        student_logits = self.student(images)
        discrepancy = losses.l1_discrepancy(student_logits, answers.logits)
        adversarial = -discrepancy if self.config.generator_loss == "l1" else -discrepancy.log1p()
        descend(seen.weigh(self.generator, adversarial=adversarial), self.generator_optimizer)
        seen.judged(answers)
        seen.samples(answers, student_logits.detach(), pixels=pixels)
        seen.phase("generator", pixels=pixels, teacher=answers.logits, student=student_logits, of="generator")
