"""Differentiable augmentations of generated images, drawn per sample."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def random_crop(images: Tensor, padding: int) -> Tensor:
    """Zero-pad by ``padding`` pixels and crop back at a random place per sample. ``images``: (B, C, H, W)."""
    count, _, height, width = images.shape
    padded = F.pad(images, [padding] * 4)
    top, left = torch.randint(0, 2 * padding + 1, (2, count, 1), device=images.device)
    rows = (top + torch.arange(height, device=images.device))[:, :, None]
    columns = (left + torch.arange(width, device=images.device))[:, None, :]
    sample = torch.arange(count, device=images.device)[:, None, None]
    return padded[sample, :, rows, columns].permute(0, 3, 1, 2)


def random_flip(images: Tensor) -> Tensor:
    """Mirror each sample left to right with probability ½."""
    mirrored = torch.rand(len(images), 1, 1, 1, device=images.device) < 0.5
    return torch.where(mirrored, images.flip(3), images)


def augment(images: Tensor, kind: str) -> Tensor:
    """``none``, ``crop`` (padding of an eighth of the side: 4 pixels of 32) or ``crop+flip``."""
    if kind == "none":
        return images
    cropped = random_crop(images, max(1, images.shape[-1] // 8))
    return random_flip(cropped) if kind == "crop+flip" else cropped
