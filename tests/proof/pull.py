"""Pull: a method that nobody knows, for the test that one file is all that a method takes.

First the generator learns alone to make images of which the teacher is sure, pulled towards grey; then the student
learns as well.
"""

from __future__ import annotations

from collections.abc import Iterator

from dfkd_core.events import Event
from dfkd_core.kit.config import Stage, knob
from dfkd_core.kit.contract import Term
from dfkd_core.kit.generation import GeneratorConfig, GeneratorMethod
from dfkd_core.kit.method import descend
from dfkd_core.losses import generator as losses


class PullConfig(GeneratorConfig):
    """It has no presets."""

    pull_weight: float = knob(
        0.5, "How hard images are pulled towards grey.", group="Pulling", live=True, symbol="π", ge=0, le=10
    )
    warm_up: int = knob(2, "Steps in which the generator learns alone.", group="Schedule", unit="steps", ge=1, le=100)

    def stages(self) -> tuple[Stage, ...]:
        return (Stage("warm-up", "The generator warms up", self.warm_up), *super().stages())


class Pull(GeneratorMethod[PullConfig]):
    """See the module's docstring."""

    name, title, Config = "pull", "Pull to grey", PullConfig
    terms = (Term("sure", "sureness"), Term("pull", "pull to grey", "pull_weight"))
    phases = ("latents", "generate", "pulled", "student")

    def train(self) -> Iterator[Event]:
        """The generator's step, and in the second stage the student's."""
        self.generator.train()
        for seen in self.steps():
            latents = self.latents()
            pixels = self.generator(latents)
            images = self.image.normalise(pixels)
            answers = self.teacher.features(images)
            self.queries += len(images)
            pull = self.config.pull_weight * (pixels - 0.5).square().mean()
            descend(
                seen.weigh(self.generator, sure=losses.class_prior(answers.logits), pull=pull),
                self.generator_optimizer,
            )
            images = images.detach()
            student_logits = self.student(images)
            if seen.stage == "student":
                seen.anneal(self.student_optimizer)
                loss = losses.kl_discrepancy(student_logits, answers.logits.detach())
                descend(loss, self.student_optimizer)
                seen.student_loss(loss)
                seen.phase_student(self.student, images, answers.logits, student_logits, 1)
            seen.judged(answers)
            seen.samples(answers, student_logits.detach(), pixels=pixels)
            seen.phase("latents", arrays={"latents": latents})
            seen.phase("generate", pixels=pixels)
            seen.phase("pulled", pixels=pixels, of="generator")
            yield from seen.events()
