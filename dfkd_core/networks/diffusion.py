"""A small class-conditional diffusion model of images: denoising diffusion (Ho et al. 2020) with a cosine schedule
(Nichol & Dhariwal 2021) and classifier-free guidance (Ho & Salimans 2022).

Images go from −1 to 1. Time t goes from 0, clean, to ``TIMES`` − 1, noise.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dfkd_core.errors import RequestError
from dfkd_core.images import ImageSpec
from dfkd_core.networks.execution import computed

TIMES = 1000
WIDTHS = (16, 32, 64)


class TimeBlock(nn.Module):
    """Residual block whose second half is shifted by what is known of time and class."""

    def __init__(self, inputs: int, outputs: int, known: int) -> None:
        super().__init__()
        self.first_norm, self.first = nn.GroupNorm(min(8, inputs), inputs), nn.Conv2d(inputs, outputs, 3, 1, 1)
        self.shift = nn.Linear(known, outputs)
        self.second_norm, self.second = nn.GroupNorm(min(8, outputs), outputs), nn.Conv2d(outputs, outputs, 3, 1, 1)
        self.shortcut = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)

    def forward(self, images: Tensor, known: Tensor) -> Tensor:
        hidden = self.first(F.silu(self.first_norm(images))) + self.shift(known)[..., None, None]
        return self.second(F.silu(self.second_norm(hidden))) + self.shortcut(images)


class Attention(nn.Module):
    """Every position looks at every other, with four heads."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, channels)
        self.attention = nn.MultiheadAttention(channels, 4, batch_first=True)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.norm(images).flatten(2).transpose(1, 2)  # (B, H·W, C)
        seen, _ = self.attention(tokens, tokens, tokens, need_weights=False)
        return images + seen.transpose(1, 2).view_as(images)


class Diffusion(nn.Module):
    """Predicts the noise in an image at a time, given its class. ``width``: channels at full size.

    A U-Net that halves the side until it is 4 or less, at most twice, with attention at the bottom. Class K, one more
    than there are, stands for "any".
    """

    def __init__(self, image: ImageSpec, width: int) -> None:
        super().__init__()
        self.image, self.width, self.classes = image, width, len(image.classes)
        depth = max(0, min(2, int(math.log2(max(1, image.size // 4)))))
        widths = [width * 2**level for level in range(depth + 1)]
        known = 4 * width
        self.time = nn.Sequential(nn.Linear(width, known), nn.SiLU(), nn.Linear(known, known))
        self.label = nn.Embedding(self.classes + 1, known)
        self.enter = nn.Conv2d(image.channels, width, 3, 1, 1)
        self.down = nn.ModuleList(TimeBlock(below, above, known) for below, above in pairwise(widths))
        self.bottom = nn.ModuleList(TimeBlock(widths[-1], widths[-1], known) for _ in range(2))
        self.attention = Attention(widths[-1])
        self.up = nn.ModuleList(
            TimeBlock(above + below, below, known) for below, above in reversed(list(pairwise(widths)))
        )
        self.leave = nn.Sequential(nn.GroupNorm(8, width), nn.SiLU(), nn.Conv2d(width, image.channels, 3, 1, 1))
        shares = torch.cos((torch.arange(TIMES + 1) / TIMES + 0.008) / 1.008 * math.pi / 2) ** 2
        self.register_buffer("signal", (shares[1:] / shares[0]).clamp(1e-5, 0.9999), persistent=False)
        self.signal: Tensor  # ᾱ_t, (TIMES,)

    @property
    def any_class(self) -> int:
        """The label that stands for no class in particular."""
        return self.classes

    @computed
    def forward(self, images: Tensor, times: Tensor, labels: Tensor) -> Tensor:
        """The noise ε in (B, C, H, W) noisy ``images`` at ``times`` (B,), of ``labels`` (B,)."""
        known = F.silu(self.time(_waves(times, self.width)) + self.label(labels))
        hidden = self.enter(images)
        passed = []
        for block in self.down:
            passed.append(hidden)
            hidden = block(F.avg_pool2d(hidden, 2), known)
        first, second = self.bottom
        hidden = second(self.attention(first(hidden, known)), known)
        for block in self.up:
            hidden = block(torch.cat([F.interpolate(hidden, scale_factor=2), passed.pop()], dim=1), known)
        noise: Tensor = self.leave(hidden)
        return noise

    def noised(self, clean: Tensor, times: Tensor, noise: Tensor) -> Tensor:
        """x_t = √ᾱ_t x_0 + √(1 − ᾱ_t) ε (Ho et al. 2020, eq. 4)."""
        signal = self.signal[times].view(-1, 1, 1, 1)
        return signal.sqrt() * clean + (1 - signal).sqrt() * noise


def _waves(times: Tensor, size: int) -> Tensor:
    """(B,) times -> (B, size) sines and cosines of geometrically spaced frequencies (Vaswani et al. 2017)."""
    frequencies = torch.exp(-math.log(10_000) * torch.arange(size // 2, device=times.device) / (size // 2))
    angles = times[:, None].float() * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def build_diffusion(name: str, image: ImageSpec) -> Diffusion:
    """``unet-W`` with W channels. Raises ``RequestError`` (network) for any other name."""
    names = {f"unet-{width}": width for width in WIDTHS}
    if name not in names:
        raise RequestError("network", name, f"should be one of {', '.join(names)}.")
    if image.size % 4:
        raise RequestError("size", image.size, "should be a multiple of 4 pixels for a diffusion model.")
    return Diffusion(image, names[name])
