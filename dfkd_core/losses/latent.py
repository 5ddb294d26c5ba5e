"""Losses of latent-variable models: the ELBO, UKD and the guidance of data-free synthesis. Pure functions.

p(x | z₁) is a Gaussian around the decoder's image whose std is fixed at √(β/2) (Chen et al., CVPR 2023); images are
normalised, usually from −1 to 1. All are in nats an image unless their docstring says otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from dfkd_core.images import ImageSpec
from dfkd_core.networks.latent import Gaussian, Generated, Inferred

BETA = 0.1


def gaussian_kl(first: Gaussian, second: Gaussian) -> Tensor:
    """KL(first ‖ second) of diagonal Gaussians, (B,): summed over all their dimensions."""
    ratio, shift = first.std / second.std, (first.mean - second.mean) / second.std
    return (0.5 * (ratio**2 + shift**2 - 1) - ratio.log()).flatten(1).sum(dim=1)


def negative_log_likelihood(images: Tensor, means: Tensor, beta: float = BETA) -> Tensor:
    """−log p(x | z₁) of (B, C, H, W) ``images`` under Gaussians around ``means``, (B,)."""
    pixels = images[0].numel()
    constant = 0.5 * pixels * math.log(math.pi * beta)  # ½ n log(2π σ²), σ² = β/2
    return ((images - means) ** 2).flatten(1).sum(dim=1) / beta + constant


def level_kl(inferred: Inferred) -> Tensor:
    """KL(q(z_l | x, z_{l+1}) ‖ p(z_l | z_{l+1})) of each level, the top first: (levels, B)."""
    return torch.stack([gaussian_kl(q, p) for q, p in zip(inferred.posterior, inferred.prior, strict=True)])


def negative_elbo(images: Tensor, inferred: Inferred, kl_weight: float = 1.0, beta: float = BETA) -> dict[str, Tensor]:
    """The two terms of −ELBO, means over the batch: ``reconstruction`` and ``kl``, the latter times ``kl_weight``."""
    return {
        "reconstruction": negative_log_likelihood(images, inferred.images, beta).mean(),
        "kl": kl_weight * level_kl(inferred).sum(dim=0).mean(),
    }


def output_kl(teacher: Generated, student: Generated, beta: float = BETA) -> Tensor:
    """KL(p_T(x | z₁) ‖ p_S(x | z₁)): two Gaussians of the same std √(β/2), so Σ (μ_T − μ_S)² / β over pixels."""
    return ((teacher.images - student.images) ** 2).flatten(1).sum(dim=1).mean() / beta


def latent_match(teacher: Sequence[Gaussian], student: Sequence[Gaussian]) -> Tensor:
    """Σ_l mean[(μ_l^T − μ_l^S)² + (σ_l^T − σ_l^S)²] over the priors of all levels (UKD's latent term)."""
    return torch.stack(
        [
            ((one.mean - other.mean) ** 2).mean() + ((one.std - other.std) ** 2).mean()
            for one, other in zip(teacher, student, strict=True)
        ]
    ).sum()


def guidance(images: Tensor, inferred: Inferred, image: ImageSpec, mse_weight: float, kl_weight: float) -> Tensor:
    """m·‖x − T(x)‖² + kl·KL of each image, (B,): low where the teacher knows what it sees (the slides' guidance).

    Both are sums, over pixels in [0, 1], as the slides' are, and over the latents of all levels. ``images``
    (B, C, H, W) are normalised as ``image`` says.
    """
    error = image.difference(images, inferred.images).square().flatten(1).sum(dim=1)
    return mse_weight * error + kl_weight * level_kl(inferred).sum(dim=0)
