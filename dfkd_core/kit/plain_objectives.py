"""Objectives of a student as it is: its answers, or its pooled features, against the teacher's."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from dfkd_core.kit.contract import Problem, Term
from dfkd_core.kit.objective import CROSS_ENTROPY, KL, Objective, of_student
from dfkd_core.losses import generator as losses
from dfkd_core.losses import student as student_losses
from dfkd_core.networks.classifiers import Classifier, Features


class Plain(Objective):
    """An objective whose student is the network itself."""

    student: Classifier

    def __init__(self, problem: Problem, batch_size: int) -> None:
        super().__init__()
        self.student = problem.student

    def forward(self, images: Tensor, seen: Features) -> tuple[dict[str, Tensor], Tensor]:
        ours = self.student.features(images)
        return self.weighed(ours, seen, seen.logits.argmax(dim=1)), ours.logits

    def weighed(self, ours: Features, seen: Features, labels: Tensor) -> dict[str, Tensor]:
        """Weighted terms by name, of what the student and the teacher see."""
        raise NotImplementedError


class KnowledgeDistillation(Plain):
    """0.1·CE + 0.9·T²·KL, T = 4 (Hinton et al. 2015)."""

    terms: tuple[Term, ...] = (CROSS_ENTROPY, KL)

    def weighed(self, ours: Features, seen: Features, labels: Tensor) -> dict[str, Tensor]:
        return {
            "cross_entropy": 0.1 * F.cross_entropy(ours.logits, labels),
            "kl": 0.9 * losses.kl_discrepancy(ours.logits, seen.logits, temperature=4.0),
        }


class DecoupledDistillation(Plain):
    """CE + TCKD + 8·NCKD, T = 4 (DKD, Zhao et al. 2022)."""

    terms: tuple[Term, ...] = (CROSS_ENTROPY, *of_student(target_class="target class", other_classes="other classes"))

    def weighed(self, ours: Features, seen: Features, labels: Tensor) -> dict[str, Tensor]:
        target = student_losses.target_class_divergence(ours.logits, seen.logits, labels, temperature=4.0)
        others = student_losses.non_target_divergence(ours.logits, seen.logits, labels, temperature=4.0)
        return {
            "cross_entropy": F.cross_entropy(ours.logits, labels),
            "target_class": target,
            "other_classes": 8 * others,
        }


class NormalisedDistillation(Plain):
    """CE − p^T log p^S at the label + 3.5·T²·CE of the other classes, T = 3 (NKD, Yang et al. 2023)."""

    terms: tuple[Term, ...] = (CROSS_ENTROPY, *of_student(target_class="target class", other_classes="other classes"))

    def weighed(self, ours: Features, seen: Features, labels: Tensor) -> dict[str, Tensor]:
        others = student_losses.normalised_non_target(ours.logits, seen.logits, labels, temperature=3.0)
        return {
            "cross_entropy": F.cross_entropy(ours.logits, labels),
            "target_class": student_losses.soft_target(ours.logits, seen.logits, labels),
            "other_classes": 3.5 * others,
        }


class RelationalDistillation(Plain):
    """CE + 25·distance + 50·angle, on pooled features (RKD, Park et al. 2019)."""

    terms: tuple[Term, ...] = (CROSS_ENTROPY, *of_student(pair_distances="distances of pairs", angles="angles"))

    def weighed(self, ours: Features, seen: Features, labels: Tensor) -> dict[str, Tensor]:
        return {
            "cross_entropy": F.cross_entropy(ours.logits, labels),
            "pair_distances": 25 * student_losses.relational_distance(ours.pooled, seen.pooled),
            "angles": 50 * student_losses.relational_angle(ours.pooled, seen.pooled),
        }


class CorrelationCongruence(KnowledgeDistillation):
    """0.1·CE + 0.9·T²·KL + 100·CC, on pooled features (CC, Peng et al. 2019)."""

    terms: tuple[Term, ...] = (CROSS_ENTROPY, KL, *of_student(correlation="correlation"))

    def weighed(self, ours: Features, seen: Features, labels: Tensor) -> dict[str, Tensor]:
        correlation = student_losses.correlation_congruence(ours.pooled, seen.pooled)
        return {**super().weighed(ours, seen, labels), "correlation": 100 * correlation}
