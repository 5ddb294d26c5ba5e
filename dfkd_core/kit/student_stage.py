"""A student that learns from a fixed set of images: what the collecting methods share.

HiDFD trains its student on the hybrid set, DeGAN on what its GAN makes, DFND and KD3 on what they choose; the paper's
Table 2 exchanges what is matched between student and teacher. So the ``objective`` is a knob wherever it fits. Labels,
where an objective asks for some, are the teacher's argmax: collected images have none.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar, Literal, Self

import torch
from torch import Tensor

from dfkd_core.errors import RequestError
from dfkd_core.images import ImageSpec, pixels_of
from dfkd_core.kit.augmentation import augment
from dfkd_core.kit.config import MethodConfig, Stage, exactly, knob
from dfkd_core.kit.contract import Problem
from dfkd_core.kit.method import Method, descend, sgd
from dfkd_core.kit.objective import Objective
from dfkd_core.kit.objectives import SAFE_RATES
from dfkd_core.kit.recorder import Seen
from dfkd_core.kit.recording import SHOWN
from dfkd_core.kit.schedules import cosine

PHASES = ("batch", "answer", "student")
MILESTONES = (150 / 240, 180 / 240, 210 / 240)  # HiDFD's, of the student's steps


class StudentConfig(MethodConfig):
    """The student's knobs; defaults are HiDFD's for CIFAR-10. ``student_title`` names the stage in which it learns."""

    student_title: ClassVar[str] = "The student learns"
    distill_steps: int = knob(
        37_500, "Steps in which the student learns.", group="Schedule", unit="steps", ge=1, le=10_000_000
    )
    updates: int = knob(
        10, "Updates in one step: batches that the GAN, or the student, learns from.", group="Schedule", ge=1, le=10_000
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
    augmentation: Literal["none", "crop", "crop+flip", "resized-crop+flip"] = knob(
        "crop+flip", "Augmentation of the images that the student learns from.", group="Student"
    )

    @classmethod
    def build(cls, preset: str = "", changes: dict[str, Any] | None = None) -> Self:
        """An objective that diverges at the preset's rate brings its own where none is given, but as published."""
        config = super().build(preset, changes)
        if preset == "paper" or "student_lr" in (changes or {}) or config.student_lr <= config.safe_rate:
            return config
        return config.model_copy(update={"student_lr": config.safe_rate})

    @property
    def safe_rate(self) -> float:
        return SAFE_RATES.get(getattr(self, "objective", ""), math.inf)

    def remarks(self) -> list[str]:
        if self.student_lr < self.safe_rate:
            return []
        diverged = f"from few images {getattr(self, 'objective', '')} diverged at 0.05 and above"
        return [f"student_lr is {self.student_lr:g}: {diverged}; {self.safe_rate:g} is safe."]

    def stages(self) -> tuple[Stage, ...]:
        return (Stage("student", self.student_title, self.distill_steps, self.learned),)

    @property
    def learned(self) -> int:
        """Images that the student learns from in a step."""
        return self.updates * self.batch_size

    def student_rate(self, done: int) -> float:
        progress = done / self.distill_steps
        if self.schedule == "cosine":
            return self.student_lr * cosine(progress)
        return self.student_lr * 0.1 ** sum(progress >= milestone for milestone in MILESTONES)

    def queries(self, stage: str) -> tuple[int, int]:
        return exactly(self.updates * self.batch_size)

    @property
    def shown(self) -> int:
        return self.batch_size


class StudentStage:
    """Updates of a student; what is evaluated is the objective's, which may be put together from the network and the
    teacher's parts. ``beside`` optimises what SGD leaves alone of the ``objective``."""

    def __init__(
        self, method: Method[Problem, Any], objective: Objective, beside: torch.optim.Optimizer | None = None
    ) -> None:
        self._method, self.objective = method, objective
        method.student, method.student_terms = objective.student, objective.terms
        self._beside = [] if beside is None else [beside]
        others = {parameter for one in self._beside for group in one.param_groups for parameter in group["params"]}
        trained = [one for one in objective.parameters() if one.requires_grad and one not in others]
        self.optimizer = sgd(trained, method.config)

    def learn(self, seen: Seen, draw: Callable[[], Tensor], done: int | None = None) -> None:
        """``updates`` updates, each on (B, C, H, W) pixels in [0, 1] that ``draw`` gives; ``done`` of the student's
        steps, where it learns in other stages too."""
        method, config = self._method, self._method.config
        seen.anneal(self.optimizer, done)
        self.objective.train()
        for _ in seen.repeat(config.updates):
            images = method.image.normalise(augment(draw(), config.augmentation))
            images = images.contiguous(memory_format=torch.channels_last)
            answers = self.objective.ask(method.teacher, images)
            method.queries += len(images)
            terms, student_logits = self.objective(images, answers)
            loss = torch.stack(list(terms.values())).sum()
            seen.student_loss(loss, terms)
            descend(loss, self.optimizer, *self._beside)
        student_logits = student_logits.detach()
        seen.judged(answers)
        seen.samples(answers, student_logits, images=images)
        seen.phase("batch", images=images)
        seen.phase("answer", images=images, teacher=answers.logits)
        seen.phase_student(self.objective, images, answers.logits, student_logits, config.updates)

    def state_dict(self) -> dict[str, Any]:
        beside = {str(index): one.state_dict() for index, one in enumerate(self._beside)}
        return {"objective": self.objective.state_dict(), "optimizer": self.optimizer.state_dict(), **beside}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.objective.load_state_dict(state["objective"])
        self.optimizer.load_state_dict(state["optimizer"])
        for index, one in enumerate(self._beside):
            one.load_state_dict(state[str(index)])


# --- a set of images ---


def collected_images(problem: Problem) -> Tensor:
    """(N, C, H, W) uint8, on the problem's device. Raises ``RequestError`` where nothing was collected."""
    if problem.collected is None or not len(problem.collected):
        raise RequestError("collected", 0, "there is no image to learn from; collect at least one.")
    return problem.collected.to(problem.device)


def draw(images: Tensor, count: int) -> Tensor:
    """``count`` of (N, C, H, W) uint8 images, with replacement, as pixels in [0, 1]."""
    chosen = torch.randint(len(images), (count,), device=images.device)
    return pixels_of(images[chosen])


def choose(images: Tensor, count: int, image: ImageSpec, generator: torch.Generator) -> Tensor:
    """``count`` of (N, C, H, W) uint8 images, normalised, in an order that ``generator`` (a CPU one) determines; none
    comes twice before all have come once."""
    order = torch.randperm(len(images), generator=generator)
    chosen = order.repeat(math.ceil(count / len(images)))[:count].to(images.device)
    return image.from_bytes(images[chosen]).contiguous(memory_format=torch.channels_last)


def show_choice(seen: Seen, images: Tensor, chosen: Tensor, loss: Tensor, teacher: Tensor | None = None) -> None:
    """The phase ``choose``, which came before the step: of (N, C, H, W) uint8 ``images`` some that were ``chosen``
    (their indices, on the CPU), then some that were not. ``loss``, (N,), is what they were judged by; ``teacher``, (N,
    K), the logits."""
    clean = torch.zeros(len(images), dtype=torch.bool)
    clean[chosen] = True
    order = torch.cat([chosen[: SHOWN // 2], (~clean).nonzero()[:, 0], chosen[SHOWN // 2 :]])
    seen.phase(
        "choose",
        pixels=pixels_of(images[order[:SHOWN].to(images.device)]),
        teacher=None if teacher is None else teacher[order],
        arrays={"loss": loss[order], "clean": clean[order]},
        values={"kept": len(chosen) / len(images), "batch": float(len(images))},
    )
