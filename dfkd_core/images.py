"""What an image is to a classifier. Does not import torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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

    def from_bytes(self, images: Tensor) -> Tensor:
        """(N, C, H, W) uint8 -> what the networks take."""
        return self.normalise(pixels_of(images))

    def to_pixels(self, images: Tensor) -> Tensor:
        """The inverse of ``normalise``."""
        return images * self._column(self.std, images) + self._column(self.mean, images)

    def difference(self, one: Tensor, other: Tensor) -> Tensor:
        """(N, C, H, W) normalised images -> the difference of their pixels, −1 to 1."""
        return (one - other) * self._column(self.std, one)

    def _column(self, values: tuple[float, ...], like: Tensor) -> Tensor:
        # Cached per device: building a tensor inside every step costs as much as using it.
        key = (values, like.device, like.dtype)
        if key not in _columns:
            _columns[key] = like.new_tensor(values).view(1, -1, 1, 1)
        return _columns[key]


_columns: dict[Any, Tensor] = {}


def pixels_of(images: Tensor) -> Tensor:
    """uint8 images, as they are kept -> pixels in [0, 1]."""
    return images.float() / 255
