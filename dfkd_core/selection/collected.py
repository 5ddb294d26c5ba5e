"""Choosing among collected images by what the teacher thinks of them: no labels, no student, torch only."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dfkd_core.images import ImageSpec
from dfkd_core.networks.classifiers import Classifier, Features, evaluating

BATCH = 512
THRESHOLD = 0.95  # of KD3


@dataclass(frozen=True)
class Predictor:
    """The teacher as it looks at collected images: in eval mode and without gradients, a batch at a time."""

    network: Classifier
    image: ImageSpec
    device: torch.device

    @torch.no_grad()
    def predict(self, images: Tensor) -> Features:
        """Logits (N, K) and pooled features (N, D), on the CPU, of (N, C, H, W) uint8 ``images``; no feature maps."""
        logits, pooled = [], []
        with evaluating(self.network):
            for part in images.split(BATCH):
                pixels = self.image.from_bytes(part.to(self.device))
                seen = self.network.features(pixels.contiguous(memory_format=torch.channels_last))
                logits.append(seen.logits.cpu())
                pooled.append(seen.pooled.cpu())
        return Features(torch.cat(logits), torch.cat(pooled), {})


def lowest_cross_entropy(logits: Tensor, count: int) -> Tensor:
    """Indices of the ``count`` of (N, K) ``logits`` with the lowest cross entropy to their own argmax, lowest first.

    Source: Chen et al., *Learning Student Networks in the Wild* (CVPR 2021), §3.2: the lower a collected image's
    cross entropy with the teacher's own label, the closer it is to the original data.
    """
    return (-logits.log_softmax(dim=1).amax(dim=1)).argsort(stable=True)[:count]


def class_thresholds(labels: Tensor, classes: int, threshold: float = THRESHOLD) -> Tensor:
    """The confidence (K,) that an image of each class has to exceed: τ_k = τ σ_k / (2 − σ_k), σ_k = n_k / max n.

    ``labels``: (N,) the classes predicted. The class most often predicted has to pass ``threshold`` itself; the rarer
    a class is among the predictions, the less it takes.

    Source: Tang et al., *Distribution Shift Matters for Knowledge Distillation with Webly Collected Images* (KD3,
    ICCV 2023), as its released code has it (the convex mapping of FlexMatch, Zhang et al. 2021, Eq. 11). There the
    predictions are a mean of the teacher's and the student's logits, and the choice is made again every epoch.
    """
    share = class_histogram(labels, classes) / labels.bincount().max()
    return threshold * share / (2 - share)


def class_adaptive(logits: Tensor, threshold: float = THRESHOLD) -> Tensor:
    """Mask (N,) of the (N, K) ``logits`` whose confidence exceeds their predicted class's ``class_thresholds``."""
    return relative_confidence(logits, threshold) > 1


def relative_confidence(logits: Tensor, threshold: float = THRESHOLD) -> Tensor:
    """The confidence (N,) of each image as a multiple of what its predicted class asks for (``class_thresholds``)."""
    confidence, labels = logits.softmax(dim=1).max(dim=1)
    return confidence / class_thresholds(labels, logits.shape[1], threshold)[labels]


def most_confident(logits: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Indices of ``count`` of (N, K) ``logits``: those that pass ``class_adaptive``, in random order, and where these
    are too few, the next in ``relative_confidence``."""
    relative = relative_confidence(logits)
    order = torch.randperm(len(logits), generator=generator)
    rank = relative[order].clamp(max=1)  # whoever passes is as good as any other
    return order[rank.argsort(descending=True, stable=True)][:count]


def class_histogram(labels: Tensor, classes: int) -> Tensor:
    """How many of (N,) ``labels`` are of each class, (K,) int64."""
    return labels.long().bincount(minlength=classes)
