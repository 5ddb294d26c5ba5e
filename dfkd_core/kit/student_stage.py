"""A student that learns from a fixed set of images: what the collecting methods share.

HiDFD trains its student on the hybrid set, DeGAN on what its GAN makes, DFND and KD3 on what they choose; the paper's
Table 2 exchanges what is matched between student and teacher. So the ``objective`` is a knob wherever it fits. Labels,
where an objective asks for some, are the teacher's argmax: collected images have none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from dfkd_core.errors import RequestError
from dfkd_core.events import Event, Phase, Phases, Samples, Step
from dfkd_core.images import ImageSpec
from dfkd_core.kit.augmentation import augment
from dfkd_core.kit.config import MethodConfig, knob
from dfkd_core.kit.contract import PhaseInfo, Problem
from dfkd_core.kit.objectives import Objective, build_objective
from dfkd_core.kit.samples import SHOWN, answers, describe, thumbnails
from dfkd_core.kit.terms import TermGuard, gradient_norm
from dfkd_core.losses import generator as losses
from dfkd_core.networks.classifiers import Features

STUDENT_PHASES = (
    PhaseInfo("batch", "Draw a batch", "Augmented images of the set that the student learns from.", ("batch size",)),
    PhaseInfo(
        "answer", "The teacher answers", "The teacher says what it sees; every answer is taken.", ("teacher", "query")
    ),
    PhaseInfo(
        "student",
        "The student learns",
        "It moves towards what the objective matches of the teacher on these images.",
        ("student", "student loss", "gradient"),
    ),
)


class StudentConfig(MethodConfig):
    """The student's knobs; defaults are HiDFD's for CIFAR-10."""

    distill_steps: int = knob(
        37_500, "Steps in which the student learns.", group="Schedule", unit="steps", ge=1, le=10_000_000
    )
    updates: int = knob(
        10, "Updates in one step: batches that the GAN, or the student, learns from.", group="Schedule", ge=1, le=1000
    )
    batch_size: int = knob(
        64, "Images per batch of the student.", group="Schedule", symbol="B", unit="images", memory=True, ge=4, le=16384
    )
    student_lr: float = knob(
        0.05, "Learning rate of the student (SGD) at the start.", group="Student", live=True, symbol="η_S", gt=0, le=10
    )
    schedule: Literal["step", "cosine"] = knob(
        "step", "Learning rate: divided by 10 after 62.5, 75 and 87.5 % of the steps, or cosine.", group="Student"
    )
    momentum: float = knob(0.9, "Momentum of the student's SGD.", group="Student", ge=0, lt=1)
    weight_decay: float = knob(5e-4, "Weight decay of the student's SGD.", group="Student", ge=0, le=1)
    augmentation: Literal["none", "crop", "crop+flip"] = knob(
        "crop+flip", "Augmentation of the images that the student learns from.", group="Student"
    )


@dataclass(frozen=True)
class Learned:
    """The last update of a step: its weighted terms, and its images as both networks saw them."""

    terms: dict[str, Tensor]
    images: Tensor
    seen: Features
    student_logits: Tensor
    rate: float


class StudentStage:
    """``student`` is what is evaluated; an objective may put it together from the network and the teacher's parts.

    ``objective``: one by its name, or a method's own; ``beside`` optimises what of it SGD leaves alone.
    """

    def __init__(
        self,
        problem: Problem,
        config: StudentConfig,
        objective: str | Objective,
        beside: torch.optim.Optimizer | None = None,
    ) -> None:
        self.teacher, self.image, self.config = problem.teacher, problem.image, config
        self.recording, self.guard = problem.recording, TermGuard()
        if isinstance(objective, str):
            objective = build_objective(objective, problem, config.batch_size)
        self.objective = objective
        self.student = self.objective.student
        self.beside = beside
        others = {parameter for group in (beside.param_groups if beside else ()) for parameter in group["params"]}
        trained = [one for one in self.objective.parameters() if one.requires_grad and one not in others]
        self.optimizer = torch.optim.SGD(
            trained, config.student_lr, config.momentum, weight_decay=config.weight_decay, fused=True
        )

    def learn(self, progress: float, draw: Callable[[], Tensor]) -> Learned:
        """``updates`` updates, each on (B, C, H, W) pixels in [0, 1] that ``draw`` gives; ``progress`` of the stage,
        0 to 1, sets the learning rate."""
        rate = self._anneal(progress)
        self.objective.train()
        for _ in range(self.config.updates):
            images = self.image.normalise(augment(draw(), self.config.augmentation))
            images = images.contiguous(memory_format=torch.channels_last)
            with torch.no_grad():
                seen = self.teacher.features(images)
            terms, student_logits = self.objective(images, seen)
            self.objective.zero_grad(set_to_none=True)
            torch.stack(list(terms.values())).sum().backward()
            self.optimizer.step()
            if self.beside is not None:
                self.beside.step()
        detached = {name: term.detach() for name, term in terms.items()}
        return Learned(detached, images, seen, student_logits.detach(), rate)

    def _anneal(self, progress: float) -> float:
        rate = self.config.student_lr * annealed(self.config.schedule, progress)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        return rate

    # --- what others see ---

    def report(
        self,
        step: int,
        learned: Learned,
        slow: bool,
        also: dict[str, float],
        columns: dict[str, Tensor] | None = None,
    ) -> Iterator[Event]:
        """The events that close a step, ``Step`` last; ``also``: metrics of the method's own, such as ``queries``,
        and ``columns``, (B, …) each, of its samples."""
        if self.recording.due(self.recording.samples_every, step):
            yield self.samples(step, learned, columns or {})
        if slow or self.recording.due(self.recording.phases_every, step):
            yield self.in_slow_motion(step, learned)
        values = self.metrics(step, learned)
        yield Step(step, values | also if values else {})

    @torch.no_grad()
    def metrics(self, step: int, learned: Learned) -> dict[str, float]:
        """Floats where they are due, else nothing: ``student_loss``, each term by its name where there are several,
        ``coverage``, ``diversity`` and ``learning_rate``. On a CPU every step is checked for NaN."""
        due = self.recording.due(self.recording.log_every, step)
        if not due and learned.images.device.type != "cpu":
            return {}
        values = self.guard.read(step, _weighed(learned.terms))
        if not due:
            return {}
        balance = losses.class_balance(learned.seen.logits)
        return {
            **values,
            "coverage": math.exp(-float(balance)) / len(self.image.classes),
            "diversity": float(losses.diversity(learned.seen.pooled)),
            "learning_rate": learned.rate,
        }

    @torch.no_grad()
    def samples(self, step: int, learned: Learned, columns: dict[str, Tensor]) -> Samples:
        """The first images of the last update, as both networks saw them; all of them were learned from."""
        count, features = self.recording.samples, self.recording.features
        more = {name: column[:count] for name, column in columns.items()}
        seen = Features(learned.seen.logits[:count], learned.seen.pooled[:count], {})
        pixels = self.image.to_pixels(learned.images[:count])
        return describe(step, pixels, seen, learned.student_logits[:count], None, features=features, more=more)

    @torch.no_grad()
    def in_slow_motion(self, step: int, learned: Learned) -> Phases:
        """The last update, phase by phase: those of ``STUDENT_PHASES``."""
        images = thumbnails(self.image.to_pixels(learned.images[:SHOWN]))
        values = {name: float(term) for name, term in _weighed(learned.terms).items()}
        values |= {
            "gradient": gradient_norm(self.objective),
            "learning_rate": learned.rate,
            "student_steps": float(self.config.updates),
        }
        teacher, student = answers("teacher", learned.seen.logits), answers("student", learned.student_logits)
        phases = (
            Phase("batch", {}, images),
            Phase("answer", {}, images, teacher),
            Phase("student", values, images, teacher | student),
        )
        return Phases(step, phases)

    def reconfigure(self, config: StudentConfig) -> None:
        """The learning rate from the next step on."""
        self.config = config

    def state_dict(self) -> dict[str, Any]:
        state = {"objective": self.objective.state_dict(), "optimizer": self.optimizer.state_dict()}
        return state if self.beside is None else {**state, "beside": self.beside.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.objective.load_state_dict(state["objective"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.beside is not None:
            self.beside.load_state_dict(state["beside"])


def annealed(schedule: str, progress: float) -> float:
    """What multiplies the learning rate after the share ``progress`` (0 to 1) of the student's steps."""
    if schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * progress))
    return 0.1 ** sum(progress >= milestone for milestone in (150 / 240, 180 / 240, 210 / 240))


def _weighed(terms: dict[str, Tensor]) -> dict[str, Tensor]:
    """The student's loss, and its terms where there are several."""
    total = torch.stack(list(terms.values())).sum()
    return {"student_loss": total, **(terms if len(terms) > 1 else {})}


# --- a set of images ---


def collected_images(problem: Problem) -> Tensor:
    """(N, C, H, W) uint8, on the problem's device. Raises ``RequestError`` where nothing was collected."""
    if problem.collected is None or not len(problem.collected):
        raise RequestError("collected", 0, "there is no image to learn from; collect at least one.")
    return problem.collected.to(problem.device)


def draw(images: Tensor, count: int) -> Tensor:
    """``count`` of (N, C, H, W) uint8 images, with replacement, as pixels in [0, 1]."""
    chosen = torch.randint(len(images), (count,), device=images.device)
    return images[chosen].float() / 255


def choose(images: Tensor, count: int, image: ImageSpec, generator: torch.Generator) -> Tensor:
    """``count`` of (N, C, H, W) uint8 images, normalised, in an order that ``generator`` (a CPU one) determines; none
    comes twice before all have come once."""
    order = torch.randperm(len(images), generator=generator)
    chosen = order.repeat(math.ceil(count / len(images)))[:count].to(images.device)
    return image.normalise(images[chosen].float() / 255).contiguous(memory_format=torch.channels_last)
