"""What an objective of a student is, what all of them build on, and the plainest: softened answers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dfkd_core.kit.contract import Problem, Term
from dfkd_core.losses import generator as losses
from dfkd_core.networks.classifiers import Classifier, Features, evaluating


def of_student(**titles: str) -> tuple[Term, ...]:
    """Terms of a student by their names; its weights are part of what each objective is."""
    return tuple(Term(name, title, of="student") for name, title in titles.items())


CROSS_ENTROPY, KL = of_student(cross_entropy="cross-entropy", kl="KL")


class Objective(nn.Module):
    """``student`` maps images to logits and is what is evaluated. Everything that requires gradients is trained.

    ``terms`` are those that ``forward`` names.
    """

    student: nn.Module
    terms: tuple[Term, ...] = ()

    def ask(self, teacher: Classifier, images: Tensor) -> Features:
        """What the terms need of the teacher on normalised ``images``, without gradients."""
        with torch.no_grad():
            return teacher.features(images)

    def forward(self, images: Tensor, seen: Features) -> tuple[dict[str, Tensor], Tensor]:
        """Weighted terms by name, and the student's logits (B, K).

        ``images``: (B, C, H, W), normalised; ``seen``: what ``ask`` found.
        """
        raise NotImplementedError


class SoftTargets(Objective):
    """T²·KL(T ‖ S) at a temperature, and nothing else."""

    terms: tuple[Term, ...] = (KL,)

    def __init__(self, problem: Problem, temperature: float) -> None:
        super().__init__()
        self.student, self.temperature = problem.student, temperature

    def forward(self, images: Tensor, seen: Features) -> tuple[dict[str, Tensor], Tensor]:
        logits = self.student(images)
        return {"kl": losses.kl_discrepancy(logits, seen.logits, temperature=self.temperature)}, logits


# --- feature maps ---


def last_of(maps: dict[str, Tensor]) -> Tensor:
    """The last feature map, (B, C, H, W)."""
    return list(maps.values())[-1]


def behind_stem(maps: dict[str, Tensor]) -> list[Tensor]:
    """The maps of all stages but the stem."""
    return [one for name, one in maps.items() if name != "stem"]


@torch.no_grad()
def blank_maps(network: Classifier, problem: Problem) -> dict[str, Tensor]:
    """The maps of one blank image, for their shapes; the network stays as it is."""
    image = problem.image
    blank = torch.zeros(1, image.channels, image.size, image.size, device=problem.device)
    with evaluating(network):
        return network.features(blank).maps


def stages_behind_stem(network: Classifier) -> list[str]:
    """Their names."""
    return [name for name in network.stages if name != "stem"]


def conv_block(inputs: int, outputs: int, kernel: int) -> list[nn.Module]:
    """A convolution without bias, BatchNorm, ReLU."""
    return [nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
