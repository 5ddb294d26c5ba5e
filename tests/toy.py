"""The smallest method there is: what stands around methods is tested on it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from dfkd_core.events import Event
from dfkd_core.images import ImageSpec
from dfkd_core.kit.config import MethodConfig, Stage, knob
from dfkd_core.kit.contract import Problem, Term
from dfkd_core.kit.method import Method, descend
from dfkd_core.kit.recorder import Seen
from dfkd_core.kit.recording import Recording
from dfkd_core.networks.classifiers import build_classifier, freeze

IMAGE = ImageSpec(1, 8, (0.3,), (0.37,), tuple("0123456789"))
SILENT = Recording(samples_every=0, health_every=0, phases_every=0)


class ToyConfig(MethodConfig):
    """Two stages, of which the student learns in the last."""

    warm_steps: int = knob(2, "Steps before the student learns.", group="Schedule", ge=1, le=100)
    student_steps: int = knob(4, "Steps in which it does.", group="Schedule", ge=1, le=100)
    student_lr: float = knob(0.1, "Learning rate at the start.", group="Student", live=True, gt=0, le=10)
    pull_weight: float = knob(1.0, "Weight of the pull.", group="Terms", live=True, ge=0, le=100)
    push_weight: float = knob(2.0, "Weight of the push.", group="Terms", live=True, ge=0, le=100)
    presets: ClassVar[dict[str, dict[str, Any]]] = {}

    def stages(self) -> tuple[Stage, ...]:
        return (Stage("warm", "Warming up", self.warm_steps), Stage("student", "Learning", self.student_steps, 1))

    def student_rate(self, done: int) -> float:
        return self.student_lr / (1 + done)

    def epoch_at(self, step: int) -> int | None:
        return step // 3 if step % 3 == 0 else None


class Toy(Method[Problem, ToyConfig]):
    """Moves a vector towards 0 by its pull and away from it by its push."""

    name, title, Config = "toy", "Toy", ToyConfig
    terms = (
        Term("pull", "pull", "pull_weight"),
        Term("push", "push", "push_weight"),
        Term("bn_statistics", "BN statistics", batch_norm=True),
        Term("verdict", "verdict", of="discriminator"),
    )
    phases = ("start", "move", "end")
    saved = ("vector", "optimizer")

    def __init__(self, problem: Problem, config: ToyConfig) -> None:
        super().__init__(problem, config)
        self.vector = nn.Parameter(torch.tensor([3.0, 4.0]))
        self.optimizer = torch.optim.SGD([self.vector], config.student_lr)

    def weighed(self, seen: Seen) -> Tensor:
        """pull_weight·½|v|² − push_weight·Σv, of which the gradients are pull_weight·v and −push_weight."""
        c = self.config
        pull, push = c.pull_weight * 0.5 * self.vector.square().sum(), -c.push_weight * self.vector.sum()
        return seen.weigh([self.vector], pull=pull, push=push, bn_statistics=self.vector.sum())

    def train(self) -> Iterator[Event]:
        for seen in self.steps():
            seen.anneal(self.optimizer)
            loss = self.weighed(seen)
            descend(loss, self.optimizer)
            seen.student_loss(loss)
            seen.sheet(lambda: torch.zeros(2, 1, 8, 8))
            seen.phase("move", of="generator")
            yield from seen.events()

    def synthesize(self, count: int, generator: torch.Generator) -> Tensor:
        return torch.randn(count, 1, 8, 8, generator=generator)


def toy(recording: Recording = SILENT, teacher: str = "lenet5-half", **knobs: Any) -> Toy:
    """On untrained networks; the teacher has no BatchNorm layers unless another is asked for."""
    networks = freeze(build_classifier(teacher, IMAGE)), build_classifier("lenet5-half-bn", IMAGE)
    return Toy(Problem(*networks, IMAGE, torch.device("cpu"), recording=recording), ToyConfig.build("", knobs))
