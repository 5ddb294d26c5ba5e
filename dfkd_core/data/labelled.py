"""Images with their labels, as a whole split is held in memory."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class LabelledImages:
    """``images``: (N, C, H, W) uint8; ``labels``: (N,) int64."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def fingerprint(self) -> str:
        """SHA-256 of the pixels and labels."""
        digest = hashlib.sha256(self.images.contiguous().numpy().tobytes())
        digest.update(self.labels.numpy().tobytes())
        return digest.hexdigest()


def evenly_by_class(labels: Tensor, count: int) -> Tensor:
    """Indices of up to ``count`` of (N,) ``labels``: the first of each class in turn, so that classes are even."""
    rank = torch.zeros_like(labels)
    for label in labels.unique():
        members = labels == label
        rank[members] = torch.arange(int(members.sum()))
    return rank.argsort(stable=True)[:count].sort().values
