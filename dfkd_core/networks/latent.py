"""Latent-variable models of images: what distillation needs of one, and the two that the lab trains itself.

All are a ``LatentNetwork``. A model of another kind (a GAN with an encoder, the autoencoder of a latent diffusion
model) fits by an adapter with its members; see ``networks.adapters``.

- ``LVAE``: the ladder VAE of Sønderby et al. (2016) with residual blocks, as Chen et al. distil it (UKD, CVPR 2023).
- ``ConvVAE``: one level of latents (Kingma & Welling 2014) under convolutions.

All take and make normalised images, usually from −1 to 1; a square of another side than a power of two is padded
inside and cropped again.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dfkd_core.errors import RequestError
from dfkd_core.images import ImageSpec
from dfkd_core.networks.execution import computed, widened
from dfkd_core.networks.known import Known

LATENT = 16  # channels of a level
LEAST_STD = 1e-6
MOST_WIDTH = 512


class Gaussian(NamedTuple):
    """A diagonal one: ``mean`` and ``std``, (B, …) each."""

    mean: Tensor
    std: Tensor

    def at(self, noise: Tensor) -> Tensor:
        """The point that standard normal ``noise`` becomes."""
        return self.mean + self.std * noise

    def noise_of(self, point: Tensor) -> Tensor:
        """The inverse of ``at``."""
        return (point - self.mean) / self.std


class Generated(NamedTuple):
    """``images`` (B, C, H, W), the mean of p(x | z₁); per level, the top first, ``prior`` p(z_l | z_{l+1}) and the
    ``latents`` (B, …) drawn from it."""

    images: Tensor
    prior: tuple[Gaussian, ...]
    latents: tuple[Tensor, ...]


class Inferred(NamedTuple):
    """``images`` (B, C, H, W), the reconstruction; per level, the top first, ``posterior`` q(z_l | x, z_{l+1}),
    ``prior`` p(z_l | z_{l+1}) and the ``latents`` drawn from the posterior."""

    images: Tensor
    posterior: tuple[Gaussian, ...]
    prior: tuple[Gaussian, ...]
    latents: tuple[Tensor, ...]

    @property
    def noise(self) -> tuple[Tensor, ...]:
        """What ``generate`` would need to draw the same latents from the prior: how they are shared with a student."""
        return tuple(prior.noise_of(point) for prior, point in zip(self.prior, self.latents, strict=True))


class LatentNetwork(nn.Module):
    """A model with a decoder from, and an encoder to, continuous latents in one or several levels."""

    known: Known = "inside"
    noise_shapes: tuple[tuple[int, ...], ...]
    """Of one image, per level, the top first: what ``generate`` takes."""

    def generate(self, noise: Sequence[Tensor]) -> Generated:
        """Ancestral sampling from standard normal ``noise``, (B, *shape) per level."""
        raise NotImplementedError

    def infer(self, images: Tensor, noise: Sequence[Tensor] | None = None) -> Inferred:
        """Encode (B, C, H, W) images and reconstruct them; ``noise`` draws from the posterior, None takes its mean."""
        raise NotImplementedError

    def decoder(self) -> list[nn.Module]:
        """The parts that ``generate`` uses."""
        raise NotImplementedError

    def forward(self, images: Tensor) -> Tensor:
        """T(x): the reconstruction from the posterior's means."""
        return self.infer(images).images


def draw_noise(
    model: LatentNetwork, count: int, device: torch.device, generator: torch.Generator | None = None
) -> tuple[Tensor, ...]:
    """Standard normal noise for ``count`` images. A ``generator`` (a CPU one) determines it on any device."""
    at = torch.device("cpu") if generator is not None else device
    return tuple(torch.randn(count, *shape, generator=generator, device=at).to(device) for shape in model.noise_shapes)


# --- parts ---


class ResidualBlock(nn.Module):
    """Two bias-free 3×3 convolutions with BatchNorm, ReLU between and after; a 1×1 shortcut where shapes differ."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.second_norm = nn.BatchNorm2d(outputs)
        same = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if same else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        hidden = F.relu(self.first_norm(self.first(images)))
        return F.relu(self.second_norm(self.second(hidden)) + self.shortcut(images))


class GaussianHead(nn.Module):
    """Bias-free 1×1 convolution to mean and std; std = softplus / ln 2 + 1e-6, which is 1 where the layer says 0."""

    def __init__(self, inputs: int, outputs: int = LATENT) -> None:
        super().__init__()
        self.project = nn.Conv2d(inputs, 2 * outputs, 1, bias=False)

    def forward(self, hidden: Tensor) -> Gaussian:
        mean, raw = widened(self.project(hidden)).chunk(2, dim=1)
        return Gaussian(mean, F.softplus(raw) / math.log(2) + LEAST_STD)


def precision_weighted(bottom_up: Gaussian, top_down: Gaussian) -> Gaussian:
    """The product of two Gaussians, normalised (Sønderby et al. 2016, eq. 17 and 18)."""
    up, down = bottom_up.std**-2, top_down.std**-2
    variance = 1 / (up + down)
    return Gaussian((bottom_up.mean * up + top_down.mean * down) * variance, variance.sqrt())


def padded_side(size: int) -> int:
    """The least power of two that an image of ``size`` fits into."""
    return 2 ** math.ceil(math.log2(size))


def _pad(images: Tensor, side: int) -> Tensor:
    missing = side - images.shape[-1]
    return F.pad(images, (missing // 2, missing - missing // 2) * 2, "replicate") if missing else images


def _crop(images: Tensor, size: int) -> Tensor:
    start = (images.shape[-1] - size) // 2
    return images[..., start : start + size, start : start + size]


# --- models ---


class LVAE(LatentNetwork):
    """A ladder VAE. Every level halves the side until it is 1: five levels of 16 channels for 32 pixels, three for 8.

    ``width``: hidden channels, H. The last head predicts a std beside the mean, as published, though the losses fix
    it at √(β/2): it stays so that the numbers of parameters are the published ones.
    """

    def __init__(self, image: ImageSpec, width: int) -> None:
        super().__init__()
        self.size, self.side = image.size, padded_side(image.size)
        levels = int(math.log2(self.side))
        sides = [self.side // 2**level for level in range(1, levels + 1)]
        self.noise_shapes = tuple((LATENT, side, side) for side in reversed(sides))
        first = nn.Conv2d(image.channels, width, 5, 2, 2)
        self.up = nn.ModuleList([nn.Sequential(first, ResidualBlock(width, width), ResidualBlock(width, width))])
        self.up += [
            nn.Sequential(ResidualBlock(width, width, 2), ResidualBlock(width, width)) for _ in range(1, levels)
        ]
        self.up_heads = nn.ModuleList(GaussianHead(width) for _ in range(levels))
        self.down = nn.ModuleList(
            nn.Sequential(nn.Upsample(scale_factor=2), ResidualBlock(LATENT, width), ResidualBlock(width, width))
            for _ in range(levels)
        )
        self.down_heads = nn.ModuleList(GaussianHead(width) for _ in range(levels - 1))
        self.output = GaussianHead(width, image.channels)

    def decoder(self) -> list[nn.Module]:
        return [self.down, self.down_heads, self.output]

    @computed
    def generate(self, noise: Sequence[Tensor]) -> Generated:
        prior, latents = [standard(noise[0])], [noise[0]]
        for level, head in enumerate(self.down_heads):
            prior.append(head(self.down[level](latents[-1])))
            latents.append(prior[-1].at(noise[level + 1]))
        return Generated(self._picture(latents[-1]), tuple(prior), tuple(latents))

    @computed
    def infer(self, images: Tensor, noise: Sequence[Tensor] | None = None) -> Inferred:
        hidden, seen = _pad(images, self.side), []
        for up, head in zip(self.up, self.up_heads, strict=True):
            hidden = up(hidden)
            seen.append(head(hidden))
        seen.reverse()  # the top first
        prior, posterior = [standard(seen[0].mean)], [seen[0]]
        latents = [_drawn(seen[0], noise, 0)]
        for level, head in enumerate(self.down_heads):
            prior.append(head(self.down[level](latents[-1])))
            posterior.append(precision_weighted(seen[level + 1], prior[-1]))
            latents.append(_drawn(posterior[-1], noise, level + 1))
        return Inferred(self._picture(latents[-1]), tuple(posterior), tuple(prior), tuple(latents))

    def _picture(self, latent: Tensor) -> Tensor:
        return _crop(self.output(self.down[-1](latent)).mean, self.size)


class ConvVAE(LatentNetwork):
    """A VAE with one level of 4 × 16 latents, and two stride-2 convolutions each way."""

    def __init__(self, image: ImageSpec, width: int) -> None:
        super().__init__()
        self.size, self.side = image.size, padded_side(image.size)
        quarter = self.side // 4
        self.noise_shapes = ((4 * LATENT, 1, 1),)
        self.up = nn.Sequential(
            nn.Conv2d(image.channels, width, 4, 2, 1), nn.ReLU(), nn.Conv2d(width, 2 * width, 4, 2, 1), nn.ReLU()
        )
        self.up_head = GaussianHead(2 * width * quarter**2, 4 * LATENT)
        self.down = nn.Sequential(
            nn.ConvTranspose2d(4 * LATENT, 2 * width, quarter), nn.ReLU(),
            nn.ConvTranspose2d(2 * width, width, 4, 2, 1), nn.ReLU(),
            nn.ConvTranspose2d(width, image.channels, 4, 2, 1),
        )  # fmt: skip

    def decoder(self) -> list[nn.Module]:
        return [self.down]

    @computed
    def generate(self, noise: Sequence[Tensor]) -> Generated:
        return Generated(self._picture(noise[0]), (standard(noise[0]),), (noise[0],))

    @computed
    def infer(self, images: Tensor, noise: Sequence[Tensor] | None = None) -> Inferred:
        posterior = self.up_head(self.up(_pad(images, self.side)).flatten(1)[..., None, None])
        latent = _drawn(posterior, noise, 0)
        return Inferred(self._picture(latent), (posterior,), (standard(latent),), (latent,))

    def _picture(self, latent: Tensor) -> Tensor:
        return _crop(self.down(latent), self.size)


def standard(like: Tensor) -> Gaussian:
    return Gaussian(torch.zeros_like(like), torch.ones_like(like))


def _drawn(posterior: Gaussian, noise: Sequence[Tensor] | None, level: int) -> Tensor:
    return posterior.mean if noise is None else posterior.at(noise[level])


# --- by name ---


KINDS: dict[str, type[LVAE] | type[ConvVAE]] = {"lvae": LVAE, "conv-vae": ConvVAE}
LATENT_MODELS = tuple(f"{kind}-{width}" for kind in KINDS for width in (4, 8, 16, 32, 64, 128))
"""Those that forms offer; any other width goes too."""


def latent_network(name: str) -> tuple[str, int] | None:
    """Kind and width of ``lvae-H`` or ``conv-vae-H``; None for any other name."""
    found = re.fullmatch(r"(lvae|conv-vae)-([1-9]\d{0,2})", name)
    return (found[1], int(found[2])) if found and int(found[2]) <= MOST_WIDTH else None


def build_latent_model(name: str, image: ImageSpec) -> LatentNetwork:
    """``lvae-H`` or ``conv-vae-H`` with H hidden channels. Raises ``RequestError`` (network) for any other name."""
    found = latent_network(name)
    if found is None:
        raise RequestError("network", name, f"should be lvae-H or conv-vae-H with a width H of 1 to {MOST_WIDTH}.")
    if image.size < 4:
        raise RequestError("size", image.size, "should be at least 4 pixels for a latent-variable model.")
    kind, width = found
    return KINDS[kind](image, width)
