"""Objectives under the teacher's own classifier, which the student takes over (SimKD, HiDFD)."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dfkd_core.kit.contract import Problem, Term
from dfkd_core.kit.objective import Objective, blank_maps, conv_block, last_of, of_student
from dfkd_core.losses import student as student_losses
from dfkd_core.networks.classifiers import Features
from dfkd_core.networks.execution import computed


class SharedClassifier(nn.Module):
    """The student's stages, a projector (SimKD, Chen et al. 2022) and the teacher's frozen classifier."""

    def __init__(self, problem: Problem) -> None:
        super().__init__()
        student, teacher = problem.student, problem.teacher
        ours, theirs = (list(blank_maps(network, problem).values())[-1] for network in (student, teacher))
        self.side = min(ours.shape[-1], theirs.shape[-1])
        self.network = student
        for parameter in set(student.parameters()) - set(student.stages.parameters()):
            parameter.requires_grad_(False)  # the student's own classifier is not used
        self.project = _projector(ours.shape[1], theirs.shape[1]).to(problem.device)
        self.classifier = copy.deepcopy(teacher)
        self.classifier.stages = nn.ModuleDict()  # what is left: pooling and the linear layer

    @computed
    def project_map(self, images: Tensor) -> Tensor:
        """(B, C, H, W) images -> (B, C', side, side) in the teacher's channels."""
        last_map = last_of(self.network.features(images).maps)
        return self.project(F.adaptive_avg_pool2d(last_map, self.side))

    def train(self, mode: bool = True) -> SharedClassifier:
        """The classifier stays as it judges: a VGG's has Dropout."""
        super().train(mode)
        self.classifier.eval()
        return self

    def classify(self, last_map: Tensor) -> Tensor:
        return self.classifier.head(self.classifier.pool(last_map))

    def forward(self, images: Tensor) -> Tensor:
        return self.classify(self.project_map(images))


def _projector(inputs: int, outputs: int) -> nn.Sequential:
    middle = max(1, outputs // 2)
    return nn.Sequential(
        *conv_block(inputs, middle, 1), *conv_block(middle, middle, 3), *conv_block(middle, outputs, 1)
    )


class ClassifierSharing(Objective):
    """L_align on the last feature maps (HiDFD, eq. 14). No labels."""

    terms: tuple[Term, ...] = of_student(align="feature alignment")

    student: SharedClassifier
    distance = staticmethod(student_losses.feature_distance)

    def __init__(self, problem: Problem, batch_size: int) -> None:
        super().__init__()
        self.student = SharedClassifier(problem)

    def forward(self, images: Tensor, seen: Features) -> tuple[dict[str, Tensor], Tensor]:
        target = F.adaptive_avg_pool2d(last_of(seen.maps), self.student.side)
        projected = self.student.project_map(images)
        with torch.no_grad():
            logits = self.student.classify(projected)
        return {"align": self.distance(projected, target)}, logits


class SimKD(ClassifierSharing):
    """The same with the mean squared error: SimKD's, and that of HiDFD's released code."""

    distance = staticmethod(student_losses.feature_mse)
