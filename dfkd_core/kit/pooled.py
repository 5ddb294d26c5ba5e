"""What methods share that make images in batches, keep them in a pool and let the student learn from it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import ClassVar, Literal, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from dfkd_core.events import Event
from dfkd_core.images import ImageSpec
from dfkd_core.kit.augmentation import augment
from dfkd_core.kit.config import Stage, exactly, knob, other_default
from dfkd_core.kit.contract import Problem, Term
from dfkd_core.kit.method import Method
from dfkd_core.kit.objective import Objective, SoftTargets
from dfkd_core.kit.recorder import Seen
from dfkd_core.kit.ring import ImagePool
from dfkd_core.kit.student_stage import StudentConfig, StudentStage, choose, draw
from dfkd_core.losses.generator import decision_adversarial


class PoolConfig(StudentConfig):
    """One step makes a batch of images, by ``synthesis_steps`` iterations, and then takes ``updates`` updates of the
    student. Defaults are those that the papers share on CIFAR-10."""

    student_title = "Images join the pool, and the student learns from it"
    warm_steps: int = knob(
        0, "Steps before the student learns: batches that only fill the pool.", group="Schedule", unit="steps", ge=0,
        le=100_000,
    )  # fmt: skip
    synthesis_steps: int = knob(
        200, "Iterations that one batch of images takes.", group="Synthesis", symbol="k", unit="iterations", ge=1,
        le=100_000,
    )  # fmt: skip
    synthesis_size: int = knob(
        256, "Images of one such batch.", group="Synthesis", unit="images", memory=True, ge=4, le=4096
    )
    pool_size: int = knob(
        51_200, "Images that the pool holds; then the oldest make room.", group="Synthesis", unit="images", ge=4,
        le=1_000_000,
    )  # fmt: skip
    temperature: float = knob(20.0, "Temperature of the student's targets.", group="Student", symbol="T", gt=0, le=1000)
    distill_steps: int = other_default(StudentConfig, "distill_steps", 200)
    updates: int = other_default(StudentConfig, "updates", 400)
    batch_size: int = other_default(StudentConfig, "batch_size", 256)
    student_lr: float = other_default(StudentConfig, "student_lr", 0.1)
    schedule: Literal["step", "cosine"] = other_default(StudentConfig, "schedule", "cosine")
    weight_decay: float = other_default(StudentConfig, "weight_decay", 1e-4)

    def stages(self) -> tuple[Stage, ...]:
        warm = (Stage("warm-up", "Images fill the pool", self.warm_steps),) if self.warm_steps else ()
        return (*warm, *super().stages())

    def queries(self, stage: str) -> tuple[int, int]:
        learning = super().queries(stage)[0] if stage == "student" else 0
        return exactly(self.queries_a_batch + learning)

    @property
    def queries_a_batch(self) -> int:
        """Images that the teacher judges while one batch of them is made."""
        return self.synthesis_steps * self.synthesis_size

    @property
    def shown(self) -> int:
        return self.synthesis_size

    def kept_bytes(self, image: ImageSpec, width: int) -> int:
        return self.pool_size * image.channels * image.size**2


class PooledGeneratorConfig(PoolConfig):
    """A generator makes the images."""

    view: Literal["none", "crop", "crop+flip"] = knob(
        "crop+flip", "Augmentation of the images that the teacher judges while they are made.", group="Synthesis"
    )
    latent: int = knob(256, "Length of a latent vector.", group="Generator", symbol="z", ge=1, le=10_000)
    width: int = knob(
        64, "Channels of the generator's last hidden layer.", group="Generator", symbol="w", memory=True, ge=4, le=512
    )

    @property
    def latent_length(self) -> int:
        return self.latent


class InversionConfig(PooledGeneratorConfig):
    """What the generator descends, with the values of Fast: L_inv = λ_BN·BNS + λ_OH·CE(T(x̂), y) + λ_adv·L_adv."""

    bn_weight: float = knob(
        10.0, "Weight of the BatchNorm statistics.", group="Generator", live=True, symbol="λ_BN", ge=0, le=1000
    )
    class_prior_weight: float = knob(
        0.5, "Weight of the cross-entropy with the class wanted.", group="Generator", live=True, symbol="λ_OH", ge=0,
        le=100,
    )  # fmt: skip
    adversarial_weight: float = knob(
        1.33, "Weight of the disagreement of student and teacher.", group="Generator", live=True, symbol="λ_adv", ge=0,
        le=100,
    )  # fmt: skip


class RememberedConfig(InversionConfig):
    """Whose statistics are those of earlier batches, too."""

    bn_momentum: float = knob(
        0.9, "How much earlier batches count in their statistics; 0: not at all.", group="Generator", symbol="m", ge=0,
        lt=1,
    )  # fmt: skip


TERMS = (
    Term("bn_statistics", "BN statistics", "bn_weight", batch_norm=True),
    Term("class_prior", "class prior", "class_prior_weight"),
    Term("adversarial", "adversarial", "adversarial_weight"),
)
"""Of ``InversionConfig``."""

C = TypeVar("C", bound=PoolConfig)


class PooledMethod(Method[Problem, C]):
    """A method says how it ``synthesise``s a batch; the rest stands here."""

    saved: ClassVar[tuple[str, ...]] = ("pool", "stage")

    def __init__(self, problem: Problem, config: C) -> None:
        super().__init__(problem, config)
        self.pool = ImagePool(config.pool_size, problem.image, problem.device)
        self.stage = StudentStage(self, self.objective())

    def objective(self) -> Objective:
        """What the student learns: T²·KL(T ‖ S)."""
        return SoftTargets(self.problem, self.config.temperature)

    def train(self) -> Iterator[Event]:
        """Images join the pool, the student learns from it, in turn."""
        for seen in self.steps():
            made = self.synthesise(seen)
            self.pool.add_pixels(made)
            if seen.stage == "student":
                self.stage.learn(seen, self.draw)
            self.show(seen, made)
            yield from seen.events()

    @abstractmethod
    def synthesise(self, seen: Seen) -> Tensor:
        """A batch of (B, C, H, W) pixels in [0, 1]."""

    def draw(self) -> Tensor:
        """B images of the pool, in [0, 1], with replacement."""
        return draw(self.pool.rows, self.config.batch_size)

    @torch.no_grad()
    def show(self, seen: Seen, made: Tensor) -> None:
        """Record what joined the pool. Nobody learns from these answers, so they are no queries."""
        answers = self.teacher.features(self.image.normalise(made))
        counts = F.one_hot(answers.logits.argmax(dim=1), answers.logits.shape[1]).sum(dim=0)
        seen.judged(answers)
        seen.samples(answers, self.student, pixels=made)
        seen.class_shares(made=counts / counts.sum())
        seen.note(images=len(self.pool))

    def classes(self, count: int) -> Tensor:
        """Labels to be made, (count,): every class in turn, the rest at random, so that no batch lacks one."""
        known = len(self.image.classes)
        whole = count - count % known
        rest = torch.randint(known, (count - whole,), device=self.device)
        return torch.cat([torch.arange(whole, device=self.device) % known, rest])

    @torch.no_grad()
    def synthesize(self, count: int, generator: torch.Generator) -> Tensor:
        """``count`` images of the pool, normalised, in an order that ``generator`` determines; noise while it is
        empty."""
        if not len(self.pool):
            pixels = torch.rand(count, self.image.channels, self.image.size, self.image.size, generator=generator)
            return self.image.normalise(pixels).to(self.device)
        return choose(self.pool.rows, count, self.image, generator)


G = TypeVar("G", bound=PooledGeneratorConfig)


class PooledGeneratorMethod(PooledMethod[G]):
    """One whose images a generator makes."""

    def view(self, pixels: Tensor) -> Tensor:
        """(B, C, H, W) pixels as the teacher sees them while they are made: augmented and normalised."""
        return self.image.normalise(augment(pixels, self.config.view))

    def adversarial(self, weight: float, images: Tensor, teacher_logits: Tensor) -> dict[str, Tensor]:
        """``weight`` times L_adv of normalised ``images`` (see ``losses.generator.decision_adversarial``), as a term;
        none while the student does not learn, nor where it weighs nothing."""
        if weight == 0 or not self.student_learns:
            return {}
        return {"adversarial": weight * decision_adversarial(self.student(images), teacher_logits)}


class Best:
    """Of the iterations of a synthesis, what came with the lowest loss. Never waits for the device."""

    def __init__(self) -> None:
        self.loss: Tensor | None = None
        self.made: tuple[Tensor, ...] = ()

    @torch.no_grad()
    def keep(self, loss: Tensor, *made: Tensor) -> None:
        """``made`` came with ``loss``."""
        loss = loss.detach().clone()
        if self.loss is None:
            self.loss, self.made = loss, tuple(one.detach().clone() for one in made)
            return
        better = loss < self.loss
        self.loss = torch.minimum(loss, self.loss)
        self.made = tuple(torch.where(better, new.detach(), old) for new, old in zip(made, self.made, strict=True))
