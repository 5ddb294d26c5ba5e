"""What a student matches of its teacher, as modules: a loss together with whatever has to be trained for it.

``classifier-sharing`` is HiDFD's (eq. 14); the others are its rivals in the paper's Table 2. Where a rival asks for
labels they are the teacher's argmax.
"""

from __future__ import annotations

import copy
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dfkd_core import losses
from dfkd_core.networks import Classifier
from dfkd_core.networks.classifiers import Features
from dfkd_core.problem import Problem

ObjectiveName = Literal["classifier-sharing", "simkd", "kd"]


class Objective(nn.Module):
    """``student`` maps images to logits and is what is evaluated. Everything that requires gradients is trained."""

    student: nn.Module

    def forward(self, images: Tensor, seen: Features) -> tuple[dict[str, Tensor], Tensor]:
        """Weighted terms by name, and the student's logits (B, K).

        ``images``: (B, C, H, W), normalised; ``seen``: what the teacher sees in them, without gradients.
        """
        raise NotImplementedError


class SharedClassifier(nn.Module):
    """The student's stages, a projector (SimKD, Chen et al. 2022) and the teacher's frozen classifier."""

    def __init__(self, student: Classifier, teacher: Classifier, image_size: int, channels: int) -> None:
        super().__init__()
        device = next(teacher.parameters()).device
        blank = torch.zeros(1, channels, image_size, image_size, device=device)
        ours, theirs = (_last_map(network, blank) for network in (student, teacher))
        self.side = min(ours.shape[-1], theirs.shape[-1])
        self.network = student
        student.head.requires_grad_(False)  # not used
        self.project = _projector(ours.shape[1], theirs.shape[1]).to(device)
        self.classifier = copy.deepcopy(teacher)
        self.classifier.stages = nn.ModuleDict()  # what is left: pooling and the linear layer

    def project_map(self, images: Tensor) -> Tensor:
        """(B, C, H, W) images -> (B, C', side, side) in the teacher's channels."""
        return self.project(F.adaptive_avg_pool2d(self.network.features(images).maps[_last(self.network)], self.side))

    def classify(self, last_map: Tensor) -> Tensor:
        return self.classifier.head(self.classifier.pool(last_map))

    def forward(self, images: Tensor) -> Tensor:
        return self.classify(self.project_map(images))


def _last(network: Classifier) -> str:
    return list(network.stages)[-1]


@torch.no_grad()
def _last_map(network: Classifier, blank: Tensor) -> Tensor:
    training = network.training
    last_map = network.eval().features(blank).maps[_last(network)]
    network.train(training)
    return last_map


def _projector(inputs: int, outputs: int) -> nn.Sequential:
    middle = max(1, outputs // 2)

    def block(before: int, after: int, kernel: int) -> list[nn.Module]:
        return [nn.Conv2d(before, after, kernel, padding=kernel // 2, bias=False), nn.BatchNorm2d(after), nn.ReLU()]

    return nn.Sequential(*block(inputs, middle, 1), *block(middle, middle, 3), *block(middle, outputs, 1))


class ClassifierSharing(Objective):
    """L_align on the last feature maps: E‖Φ_S(x) − Φ_T(x)‖₂ (HiDFD, eq. 14), or with ``squared`` the mean squared
    error (SimKD, and HiDFD's released code). No labels."""

    student: SharedClassifier

    def __init__(self, problem: Problem, squared: bool = False) -> None:
        super().__init__()
        image = problem.image
        self.student = SharedClassifier(problem.student, problem.teacher, image.size, image.channels)
        self.last, self.squared = _last(problem.teacher), squared

    def forward(self, images: Tensor, seen: Features) -> tuple[dict[str, Tensor], Tensor]:
        target = F.adaptive_avg_pool2d(seen.maps[self.last], self.student.side)
        projected = self.student.project_map(images)
        difference = (projected - target).flatten(1)
        align = difference.square().mean() if self.squared else difference.norm(dim=1).mean()
        with torch.no_grad():
            logits = self.student.classify(projected)
        return {"align": align}, logits


class KnowledgeDistillation(Objective):
    """0.1·CE + 0.9·T²·KL, T = 4 (Hinton et al. 2015)."""

    def __init__(self, problem: Problem) -> None:
        super().__init__()
        self.student = problem.student

    def forward(self, images: Tensor, seen: Features) -> tuple[dict[str, Tensor], Tensor]:
        logits = self.student(images)
        terms = {
            "cross_entropy": 0.1 * F.cross_entropy(logits, seen.logits.argmax(dim=1)),
            "kl": 0.9 * losses.kl_discrepancy(logits, seen.logits, temperature=4.0),
        }
        return terms, logits


def build_objective(name: str, problem: Problem) -> Objective:
    """The objective ``name`` for the problem's networks, on its device. Draws from torch's global generators."""
    if name in ("classifier-sharing", "simkd"):
        return ClassifierSharing(problem, squared=name == "simkd")
    return KnowledgeDistillation(problem)
