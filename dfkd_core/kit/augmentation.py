"""Differentiable augmentations of generated images, drawn per sample."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

LEAST_AREA = 0.08  # of a resized crop, as in torchvision's RandomResizedCrop


def random_crop(images: Tensor, padding: int, mirror: bool = False) -> Tensor:
    """Zero-pad by ``padding`` pixels and crop back at a random place per sample; then it is mirrored with probability ½
    if asked for. ``images``: (B, C, H, W)."""
    top, left = torch.randint(0, 2 * padding + 1, (2, len(images), 1), device=images.device)
    mirrored = torch.rand(len(images), 1, device=images.device) < 0.5 if mirror else None
    return _Crop.apply(images, top, left, mirrored, padding)


def augment(images: Tensor, kind: str) -> Tensor:
    """``none``, ``crop`` (padding of an eighth of the side: 4 pixels of 32) or ``crop+flip``: also mirrored left to
    right, with probability ½; ``resized-crop+flip``: a part of the image instead. ``images``: (B, C, H, W)."""
    if kind == "none":
        return images
    if kind == "resized-crop+flip":
        return resized_crop(images, LEAST_AREA, mirror=True)
    return random_crop(images, max(1, images.shape[-1] // 8), mirror=kind == "crop+flip")


def resized_crop(images: Tensor, least: float, mirror: bool) -> Tensor:
    """A square part of each of (B, C, H, W) square images, at a random place and of an area from ``least`` to 1 of the
    whole, brought back to the image's size; then it is mirrored with probability ½ if asked for.

    Bilinear, as two products with matrices: the gradient is the same every time, on a GPU too.
    """
    count, size = len(images), images.shape[-1]
    area, top, left = torch.rand(3, count, 1, device=images.device, dtype=images.dtype)
    side = (least + (1 - least) * area).sqrt()  # as a share of the whole
    mirrored = torch.rand(count, 1, device=images.device) < 0.5 * mirror
    middles = (torch.arange(size, device=images.device, dtype=images.dtype) + 0.5) / size  # of the pixels, 0 to 1
    rows = _taps((top * (1 - side) + side * middles) * size, size)
    columns = _taps((left * (1 - side) + side * torch.where(mirrored, 1 - middles, middles)) * size, size)
    return rows[:, None] @ images @ columns[:, None].transpose(2, 3)


def _taps(places: Tensor, size: int) -> Tensor:
    """(B, size) places, in pixels from the edge -> (B, size, size): the share of each of a line's pixels in each."""
    middles = (places - 0.5).clamp(0, size - 1)
    return (1 - (middles[:, :, None] - torch.arange(size, device=places.device)).abs()).clamp(min=0)


class _Crop(torch.autograd.Function):
    """Pixel (y, x) is that of (y + top − p, x + left − p), which lies in the image or is 0; then it is mirrored.

    The gradient goes back by the opposite move. Autograd would sort the indices and add up pixel by pixel instead.
    """

    @staticmethod
    def forward(ctx: Any, images: Tensor, top: Tensor, left: Tensor, mirrored: Tensor | None, padding: int) -> Tensor:
        last = images.shape[-1] - 1
        ctx.moved, ctx.padding = (top, left, mirrored), padding
        return _moved(images, top, left, last + left, mirrored, padding)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None, None]:
        (top, left, mirrored), padding = ctx.moved, ctx.padding
        last, both = gradients[0].shape[-1] - 1, 2 * padding
        return _moved(gradients[0], both - top, both - left, last + left, mirrored, padding), None, None, None, None


def _moved(images: Tensor, top: Tensor, left: Tensor, right: Tensor, mirrored: Tensor | None, padding: int) -> Tensor:
    """Row y of a padded image from ``top`` + y, column x from ``left`` + x, where it is mirrored from ``right`` − x;
    (B, 1) each."""
    count, _, height, width = images.shape
    padded = F.pad(images, [padding] * 4)
    rows = top + torch.arange(height, device=images.device)
    across = torch.arange(width, device=images.device)
    columns = left + across if mirrored is None else torch.where(mirrored, right - across, left + across)
    sample = torch.arange(count, device=images.device)[:, None, None]
    return padded[sample, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
