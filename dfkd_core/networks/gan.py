"""The adversaries of the GANs that learn from collected images: BigGAN's residual blocks (Brock et al. 2019, §B).

As in its CIFAR configuration: no attention, no hierarchical latent, one embedding of the class per normalisation
layer; ``width`` is ch (64 there). The side is halved or doubled until it is at most 7 pixels.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from dfkd_core.errors import RequestError
from dfkd_core.networks.execution import computed


def halvings(size: int) -> int:
    """How often ``size`` is halved to reach 4 to 7 pixels. Raises ``RequestError`` where that does not come out."""
    side, count = size, 0
    while side > 7 and side % 2 == 0:
        side, count = side // 2, count + 1
    if not 4 <= side <= 7 or count == 0:
        raise RequestError("size", size, "the GAN makes images of 4, 5, 6 or 7 times a power of two a side.")
    return count


class ClassNorm(nn.Module):
    """BatchNorm whose gain and bias depend on the class."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.gain, self.bias = nn.Embedding(classes, channels), nn.Embedding(classes, channels)
        nn.init.ones_(self.gain.weight)
        nn.init.zeros_(self.bias.weight)

    def forward(self, hidden: Tensor, labels: Tensor) -> Tensor:
        return self.norm(hidden) * self.gain(labels)[:, :, None, None] + self.bias(labels)[:, :, None, None]


class _Up(nn.Module):
    """Residual block that doubles the side."""

    def __init__(self, inputs: int, outputs: int, classes: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = ClassNorm(inputs, classes), ClassNorm(outputs, classes)
        self.conv1 = spectral_norm(nn.Conv2d(inputs, outputs, 3, padding=1))
        self.conv2 = spectral_norm(nn.Conv2d(outputs, outputs, 3, padding=1))
        self.shortcut = spectral_norm(nn.Conv2d(inputs, outputs, 1))

    def forward(self, hidden: Tensor, labels: Tensor) -> Tensor:
        main = self.conv1(F.interpolate(F.relu(self.norm1(hidden, labels)), scale_factor=2))
        main = self.conv2(F.relu(self.norm2(main, labels)))
        return main + F.interpolate(self.shortcut(hidden), scale_factor=2)


class ClassGenerator(nn.Module):
    """Latents and classes to pixels. With ``classes`` 1 it is unconditional: give labels of zeros."""

    def __init__(self, latent: int, classes: int, channels: int, size: int, width: int = 64) -> None:
        super().__init__()
        blocks = halvings(size)
        self.latent, self.classes, self.side = latent, classes, size >> blocks
        self.width = 4 * width
        self.project = spectral_norm(nn.Linear(latent, self.width * self.side**2))
        self.blocks = nn.ModuleList(_Up(self.width, self.width, classes) for _ in range(blocks))
        self.last = nn.Sequential(
            nn.BatchNorm2d(self.width), nn.ReLU(), spectral_norm(nn.Conv2d(self.width, channels, 3, padding=1))
        )

    @computed
    def forward(self, latents: Tensor, labels: Tensor) -> Tensor:
        """(B, latent), (B,) -> (B, C, s, s) pixels in [0, 1]."""
        hidden = self.project(latents).unflatten(1, (self.width, self.side, self.side))
        for block in self.blocks:
            hidden = block(hidden, labels)
        return (self.last(hidden).tanh() + 1) / 2


class _Down(nn.Module):
    """Residual block; halves the side if asked to. The first of a network begins without an activation."""

    def __init__(self, inputs: int, outputs: int, halve: bool, first: bool = False) -> None:
        super().__init__()
        self.halve, self.first = halve, first
        self.conv1 = spectral_norm(nn.Conv2d(inputs, outputs, 3, padding=1))
        self.conv2 = spectral_norm(nn.Conv2d(outputs, outputs, 3, padding=1))
        learned = halve or inputs != outputs
        self.shortcut = spectral_norm(nn.Conv2d(inputs, outputs, 1)) if learned else nn.Identity()

    def forward(self, hidden: Tensor) -> Tensor:
        main = self.conv2(F.relu(self.conv1(hidden if self.first else F.relu(hidden))))
        straight = self.shortcut(hidden)
        return F.avg_pool2d(main, 2) + F.avg_pool2d(straight, 2) if self.halve else main + straight


class Judged(NamedTuple):
    """``features`` (B, D), Φ_D; ``real`` (B,), the logit of "real"; ``classes`` (B, K'), logits of the classifier."""

    features: Tensor
    real: Tensor
    classes: Tensor


class Discriminator(nn.Module):
    """Images to features, a real/fake logit and ``outputs`` class logits (0: none)."""

    def __init__(self, channels: int, size: int, width: int = 64, outputs: int = 0) -> None:
        super().__init__()
        blocks = halvings(size)
        self.width = 4 * width
        halving = [_Down(self.width, self.width, halve=True) for _ in range(blocks - 2)]  # BigGAN's 32: 16, 8, 8, 8
        rest = [_Down(self.width, self.width, halve=False) for _ in range(2)]
        self.blocks = nn.Sequential(_Down(channels, self.width, halve=True, first=True), *halving, *rest)
        self.real = spectral_norm(nn.Linear(self.width, 1))
        self.classes = spectral_norm(nn.Linear(self.width, outputs)) if outputs else None

    @computed
    def forward(self, images: Tensor) -> Judged:
        """``images``: (B, C, H, W), normalised."""
        features = F.relu(self.blocks(images)).sum(dim=(2, 3))
        none = features.new_zeros(len(features), 0)
        return Judged(features, self.real(features)[:, 0], none if self.classes is None else self.classes(features))


class GuidedDiscriminator(nn.Module):
    """A discriminator whose features, ``join``ed to ``guide`` numbers, a teacher's are compared with.

    ``projected``: of so many classes (0: none) its logit of "real" knows the one it is told, by Φ_D(x)·e_y (the
    projection discriminator, Miyato & Koyama 2018). The e_y are spectrally normalised, as in BigGAN, and begin as the
    other heads do: they are the rows of a linear layer, since Adam hardly turns an embedding's N(0, 1).
    """

    def __init__(self, channels: int, size: int, width: int, outputs: int, guide: int, projected: int = 0) -> None:
        super().__init__()
        self.network = Discriminator(channels, size, width, outputs)
        self.join = nn.Linear(self.network.width, guide)
        self.embed = spectral_norm(nn.Linear(self.network.width, projected, bias=False)) if projected else None

    def forward(self, images: Tensor, labels: Tensor) -> Judged:
        """``images``: (B, C, H, W), normalised; ``labels``: (B,)."""
        features, real, classes = self.network(images)
        if self.embed is not None:
            real = real + self.embed(features).gather(1, labels[:, None])[:, 0]
        return Judged(features, real, classes)


@torch.no_grad()
def follow(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Exponential moving average of the parameters; buffers (BN statistics, spectral vectors) are copied."""
    torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), 1 - decay)
    for mean, buffer in zip(average.buffers(), network.buffers(), strict=True):
        mean.copy_(buffer)
