"""Generators: latent vectors to pixels."""

from __future__ import annotations

from torch import Tensor, nn

from dfkd_core.errors import RequestError
from dfkd_core.images import ImageSpec
from dfkd_core.networks.execution import computed


class StandardisedHead(nn.Module):
    """The released generators of DAFL, DFAD and PRE-DFKD end so: tanh, then BatchNorm without parameters, so that each
    batch of normalised images has mean 0 and variance 1 in every channel. Its pixels may lie outside [0, 1]."""

    def __init__(self, image: ImageSpec) -> None:
        super().__init__()
        self.image, self.standardise = image, nn.BatchNorm2d(image.channels, affine=False)

    def forward(self, images: Tensor) -> Tensor:
        return self.image.to_pixels(self.standardise(images.tanh()))


class ConvGenerator(nn.Module):
    """The generator of DAFL, DFAD and TA-DFKD: linear to 2w × s/4 × s/4, then twice ↑2 and convolution.

    The second argument of the released code's ``BatchNorm2d(…, 0.8)`` is its epsilon; kept, since the published
    settings were tuned with it. ``width`` is w (64 in the papers); ``head`` ends it, a sigmoid unless another is given.
    Output: (B, C, s, s) pixels, in [0, 1] by the sigmoid.
    """

    def __init__(self, latent: int, channels: int, size: int, width: int = 64, head: nn.Module | None = None) -> None:
        super().__init__()
        if size % 4:
            raise RequestError("size", size, "the generator makes images whose side is a multiple of 4.")
        self.latent = latent
        self.start = (2 * width, size // 4, size // 4)
        self.project = nn.Linear(latent, 2 * width * (size // 4) ** 2)
        self.decode = nn.Sequential(
            nn.BatchNorm2d(2 * width),
            nn.LeakyReLU(0.2),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(2 * width, 2 * width, 3, padding=1),
            nn.BatchNorm2d(2 * width, eps=0.8),
            nn.LeakyReLU(0.2),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(2 * width, width, 3, padding=1),
            nn.BatchNorm2d(width, eps=0.8),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, channels, 3, padding=1),
            head or nn.Sigmoid(),
        )

    @computed
    def forward(self, latents: Tensor) -> Tensor:
        """(B, latent) -> (B, C, s, s)."""
        return self.decode(self.project(latents).unflatten(1, self.start))
