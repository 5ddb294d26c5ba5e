"""A student that learns from a fixed set of images: what the collecting methods share.

HiDFD trains its student on the hybrid set, DeGAN on what its GAN makes, DFND and KD3 on what they choose; the paper's
Table 2 exchanges what is matched between student and teacher. So the ``objective`` is a knob wherever it fits. Labels,
where an objective asks for some, are the teacher's argmax: collected images have none.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from dfkd_core.augmentation import augment
from dfkd_core.config import MethodConfig, knob
from dfkd_core.networks.classifiers import Features
from dfkd_core.objectives import build_objective
from dfkd_core.problem import Problem


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
    """``student`` is what is evaluated; an objective may put it together from the network and the teacher's parts."""

    def __init__(self, problem: Problem, config: StudentConfig, objective: str) -> None:
        self.teacher, self.image, self.config = problem.teacher, problem.image, config
        self.objective = build_objective(objective, problem)
        self.student = self.objective.student
        trained = [parameter for parameter in self.objective.parameters() if parameter.requires_grad]
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
            self.optimizer.zero_grad(set_to_none=True)
            torch.stack(list(terms.values())).sum().backward()
            self.optimizer.step()
        detached = {name: term.detach() for name, term in terms.items()}
        return Learned(detached, images, seen, student_logits.detach(), rate)

    def _anneal(self, progress: float) -> float:
        rate = self.config.student_lr * annealed(self.config.schedule, progress)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        return rate

    def state_dict(self) -> dict[str, Any]:
        return {"objective": self.objective.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.objective.load_state_dict(state["objective"])
        self.optimizer.load_state_dict(state["optimizer"])


def annealed(schedule: str, progress: float) -> float:
    """What multiplies the learning rate after the share ``progress`` (0 to 1) of the student's steps."""
    if schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * progress))
    return 0.1 ** sum(progress >= milestone for milestone in (150 / 240, 180 / 240, 210 / 240))
