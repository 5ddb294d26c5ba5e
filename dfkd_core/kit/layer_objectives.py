"""Objectives about layers of a student and its teacher, with trained parts beside the student (SemCKD, OFA-KD)."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dfkd_core.kit.contract import Problem, Term
from dfkd_core.kit.objective import CROSS_ENTROPY, KL, behind_stem, blank_maps, conv_block, of_student
from dfkd_core.kit.plain_objectives import Plain
from dfkd_core.losses import generator as losses
from dfkd_core.losses import student as student_losses
from dfkd_core.networks.classifiers import Features


class CrossLayer(Plain):
    """CE + T²·KL + 400·attended layers, T = 4 (SemCKD, Chen et al. 2021).

    Each sample attends from every layer of the student to every layer of the teacher. Queries and keys come from the
    layers' B × B similarities of the batch, hence the networks that make them are built for batches of B images.
    """

    terms: tuple[Term, ...] = (CROSS_ENTROPY, KL, *of_student(attended_layers="attended layers"))

    def __init__(self, problem: Problem, batch_size: int) -> None:
        super().__init__(problem, batch_size)
        ours, theirs = (behind_stem(blank_maps(network, problem)) for network in (problem.student, problem.teacher))
        self.queries = nn.ModuleList(_embedding(batch_size) for _ in ours)
        self.keys = nn.ModuleList(_embedding(batch_size) for _ in theirs)
        self.regress = nn.ModuleList(
            nn.ModuleList(_regressor(source.shape[1], target.shape[1]) for target in theirs) for source in ours
        )
        self.to(problem.device)

    def weighed(self, ours: Features, seen: Features, labels: Tensor) -> dict[str, Tensor]:
        sources, targets = behind_stem(ours.maps), behind_stem(seen.maps)
        projected, pooled = self._values(sources, targets)
        layers = student_losses.attended_layers(projected, pooled, self.attention(sources, targets))
        return {
            "cross_entropy": F.cross_entropy(ours.logits, labels),
            "kl": losses.kl_discrepancy(ours.logits, seen.logits, temperature=4.0),
            "attended_layers": 400 * layers,
        }

    def attention(self, sources: list[Tensor], targets: list[Tensor]) -> Tensor:
        """(B, L, L'): of each sample, how much each of L student layers attends to each of L' teacher layers."""
        queries, keys = _embedded(self.queries, sources), _embedded(self.keys, targets)
        return (queries @ keys.transpose(1, 2)).softmax(dim=2)

    def _values(self, sources: list[Tensor], targets: list[Tensor]) -> tuple[list[list[Tensor]], list[list[Tensor]]]:
        """Of each pair of layers the student's map in the teacher's channels, and the teacher's; the smaller side."""
        projected, pooled = [], []
        for regressors, source in zip(self.regress, sources, strict=True):
            sides = [min(source.shape[-1], target.shape[-1]) for target in targets]
            pairs = zip(regressors, sides, strict=True)  # type: ignore[call-overload]
            projected.append([regress(F.adaptive_avg_pool2d(source, side)) for regress, side in pairs])
            pooled.append([F.adaptive_avg_pool2d(target, side) for target, side in zip(targets, sides, strict=True)])
        return projected, pooled


def _embedded(embeddings: nn.ModuleList, layers: list[Tensor]) -> Tensor:
    """L maps (B, C, H, W) -> unit vectors (B, L, B/4), from the products of all pairs of samples in each layer."""
    flat = [maps.flatten(1) for maps in layers]
    vectors = [embed(one @ one.t()) for embed, one in zip(embeddings, flat, strict=True)]
    return F.normalize(torch.stack(vectors, dim=1), dim=2)


def _embedding(batch_size: int) -> nn.Sequential:
    """(B, B) similarities -> (B, B/4) of SemCKD's queries and keys."""
    width = max(1, batch_size // 4)
    return nn.Sequential(nn.Linear(batch_size, 2 * width), nn.ReLU(), nn.Linear(2 * width, width))


def _regressor(inputs: int, outputs: int) -> nn.Sequential:
    middle = 2 * outputs
    blocks = [*conv_block(inputs, middle, 1), *conv_block(middle, middle, 3)]
    return nn.Sequential(*blocks, nn.Conv2d(middle, outputs, 1, bias=False))


class OneForAll(Plain):
    """The enhanced target at the student's output and at an exit of each of its stages, γ = 1.5 (OFA-KD, Hao et al.
    2023). The target's class holds the cross-entropy with the label, too."""

    terms: tuple[Term, ...] = of_student(enhanced_target="enhanced target", early_exits="early exits")

    def __init__(self, problem: Problem, batch_size: int) -> None:
        super().__init__(problem, batch_size)
        width = max(problem.student.head.in_features, problem.teacher.head.in_features)
        maps = behind_stem(blank_maps(problem.student, problem))
        classes, halvings = len(problem.image.classes), reversed(range(len(maps)))
        exits = (_exit(one.shape[1], width, left, classes) for one, left in zip(maps, halvings, strict=True))
        self.exits = nn.ModuleList(exits).to(problem.device)

    def weighed(self, ours: Features, seen: Features, labels: Tensor) -> dict[str, Tensor]:
        answers = [leave(one) for leave, one in zip(self.exits, behind_stem(ours.maps), strict=True)]
        early = [student_losses.enhanced_target(answer, seen.logits, labels, gamma=1.5) for answer in answers]
        return {
            "enhanced_target": student_losses.enhanced_target(ours.logits, seen.logits, labels, gamma=1.5),
            "early_exits": torch.stack(early).sum(),
        }


def _exit(channels: int, width: int, halvings: int, classes: int) -> nn.Sequential:
    """A stage's map to logits (B, K): as many halving blocks as stages follow (at the last a 1×1 convolution), the
    mean, a linear layer. Channels double with each block; the last has ``width``."""
    widths = [*(channels * 2**times for times in range(halvings)), width]
    layers: list[nn.Module] = [_separable(before, after) for before, after in pairwise(widths)]
    layers = layers or [nn.Conv2d(channels, width, 1)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))


def _separable(inputs: int, outputs: int) -> nn.Sequential:
    """Two depthwise separable convolutions, the first of which halves the side."""

    def half(after: int, stride: int) -> list[nn.Module]:
        depthwise = nn.Conv2d(inputs, inputs, 3, stride=stride, padding=1, groups=inputs, bias=False)
        return [depthwise, *conv_block(inputs, after, 1)]

    return nn.Sequential(*half(inputs, 2), *half(outputs, 1))
