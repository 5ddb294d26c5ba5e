"""What an image is to a classifier."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class ImageSpec:
    """Shape and normalisation of the images that a classifier takes; ``classes`` are their names, in order."""

    channels: int
    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    classes: tuple[str, ...]

    def normalise(self, pixels: Tensor) -> Tensor:
        """(N, C, H, W) pixels in [0, 1] -> what the networks take."""
        return (pixels - self._column(self.mean, pixels)) / self._column(self.std, pixels)

    def to_pixels(self, images: Tensor) -> Tensor:
        """The inverse of ``normalise``."""
        return images * self._column(self.std, images) + self._column(self.mean, images)

    def _column(self, values: tuple[float, ...], like: Tensor) -> Tensor:
        # Cached per device: building a tensor inside every step costs as much as using it.
        key = (values, like.device, like.dtype)
        if key not in _columns:
            _columns[key] = torch.tensor(values, device=like.device, dtype=like.dtype).view(1, -1, 1, 1)
        return _columns[key]


_columns: dict[Any, Tensor] = {}
