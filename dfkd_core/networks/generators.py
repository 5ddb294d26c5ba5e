"""Generators: latent vectors to pixels."""

from __future__ import annotations

import torch
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
    settings were tuned with it; those of methods with a pool have the usual ``epsilon``, 1e-5. ``width`` is w (64 in
    the papers); ``head`` ends it, a sigmoid unless another is given.
    Output: (B, C, s, s) pixels, in [0, 1] by the sigmoid.
    """

    def __init__(
        self,
        latent: int,
        channels: int,
        size: int,
        width: int = 64,
        head: nn.Module | None = None,
        epsilon: float = 0.8,
    ) -> None:
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
            nn.BatchNorm2d(2 * width, eps=epsilon),
            nn.LeakyReLU(0.2),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(2 * width, width, 3, padding=1),
            nn.BatchNorm2d(width, eps=epsilon),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, channels, 3, padding=1),
            head or nn.Sigmoid(),
        )

    @torch.no_grad()
    def begin_first_layer_anew(self) -> None:
        """As Fast's released code does: projection and first BatchNorm layer from N(0, 0.02²), no biases."""
        for layer in (self.project, self.decode[0]):
            assert isinstance(layer, nn.Linear | nn.BatchNorm2d)
            nn.init.normal_(layer.weight, 0.0, 0.02)
            nn.init.zeros_(layer.bias)

    @computed
    def forward(self, latents: Tensor) -> Tensor:
        """(B, latent) -> (B, C, s, s)."""
        return self.decode(self.project(latents).unflatten(1, self.start))


class StagedGenerator(ConvGenerator):
    """One whose features can be taken out, and put in again: behind the projection, and behind either convolution."""

    BEHIND = (2, 6, 10)  # layers of ``decode``

    @computed
    def features(self, latents: Tensor) -> tuple[Tensor, ...]:
        """(B, latent) -> the features of each stage, (B, 2w, s/4, s/4), (B, 2w, s/2, s/2), (B, w, s, s), and the image
        (B, C, s, s) that they become."""
        hidden = self.project(latents).unflatten(1, self.start)
        found, begin = [], 0
        for end in self.BEHIND:
            hidden = self.decode[begin:end](hidden)
            found.append(hidden)
            begin = end
        return (*found, self.decode[begin:](hidden))

    @computed
    def from_features(self, features: Tensor, stage: int) -> Tensor:
        """Features of ``stage`` (0, 1 or 2) -> (B, C, s, s)."""
        return self.decode[self.BEHIND[stage] :](features)


def exchange_channels(features: Tensor) -> Tensor:
    """Each of (B, C, H, W) features with half of its channels, drawn anew for each, from its counterpart in the
    reversed batch: channel-wise feature exchange (SpaceshipNet, Yu et al. 2023)."""
    count, channels = features.shape[:2]
    order = torch.rand(count, channels, device=features.device).argsort(dim=1)
    own = (order < (channels + 1) // 2)[:, :, None, None]
    return torch.where(own, features, features.flip(0))


class NoisyLayerGenerator(ConvGenerator):
    """NAYER's: a fixed embedding of the class goes through a layer of random weights, its only noise, and becomes what
    is a latent elsewhere. A layer serves as many images as there are classes, so that each class meets it once."""

    embeddings: Tensor

    def __init__(
        self, embeddings: Tensor, images: int, latent: int, channels: int, size: int, width: int, epsilon: float
    ) -> None:
        super().__init__(latent, channels, size, width, epsilon=epsilon)
        self.classes, length = embeddings.shape
        self.register_buffer("embeddings", embeddings)
        self.normalise = nn.BatchNorm1d(length)
        self.noisy = nn.ModuleList(nn.Linear(length, latent) for _ in range(-(-images // self.classes)))

    @torch.no_grad()
    def renew(self) -> None:
        """Other noise: the weights of the noisy layers from N(0, 1), no biases."""
        for layer in self.noisy:
            assert isinstance(layer, nn.Linear)
            nn.init.normal_(layer.weight)
            nn.init.zeros_(layer.bias)

    @torch.no_grad()
    def begin_anew(self) -> None:
        """Forget everything else."""
        for part in self.modules():
            if isinstance(part, nn.Linear | nn.Conv2d | nn.BatchNorm1d | nn.BatchNorm2d):
                part.reset_parameters()

    @computed
    def forward(self, labels: Tensor) -> Tensor:
        """(B,) classes -> (B, C, s, s)."""
        parts = self.normalise(self.embeddings[labels]).split(self.classes)
        latents = torch.cat([layer(part) for layer, part in zip(self.noisy, parts, strict=True)])
        return self.decode(self.project(latents).unflatten(1, self.start))


@torch.no_grad()
def reset(generator: nn.Module) -> None:
    """Forget everything: weights from N(0, 0.02²), gains from N(1, 0.02²), no biases (DCGAN's start)."""
    for part in generator.modules():
        if isinstance(part, nn.Linear | nn.Conv2d | nn.BatchNorm2d) and part.weight is not None:
            nn.init.normal_(part.weight, float(isinstance(part, nn.BatchNorm2d)), 0.02)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        if isinstance(part, nn.BatchNorm2d):
            part.reset_running_stats()
