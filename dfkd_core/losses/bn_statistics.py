"""Distance between a batch's statistics and those stored in a network's BatchNorm layers: by norms (DeepInversion), or
as a divergence of Gaussians (DFQ)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from dfkd_core.losses.latent import gaussian_kl
from dfkd_core.networks.classifiers import Classifier, Features
from dfkd_core.networks.execution import computed
from dfkd_core.networks.latent import Gaussian

EPSILON = 1e-10  # a constant channel has a variance of 0
NORM_EPSILON = 1e-5  # what BatchNorm adds to a variance
Measure = Callable[[Tensor, Any, Any], Tensor]


def observe(network: Classifier, images: Tensor) -> tuple[Features, Tensor]:
    """What ``network`` sees in (B, C, H, W) normalised ``images``, and how far their statistics are from those stored:
    BNS = Σ_l ‖μ_l(x̂) − μ̂_l‖₂ + ‖σ²_l(x̂) − σ̂²_l‖₂ over its BatchNorm layers; zero without such layers."""
    return _listening(network, images, distance, _observed)


def observe_divergence(network: Classifier, images: Tensor) -> tuple[Features, Tensor]:
    """As ``observe``, but the distance is Σ_l,c KL(N(μ_lc(x̂), σ²_lc(x̂)) ‖ N(μ̂_lc, σ̂²_lc)) over all channels of all
    BatchNorm layers (DFQ, Choi et al. 2020)."""
    return _listening(network, images, divergence, _observed_divergence)


def _listening(
    network: Classifier, images: Tensor, measure: Measure, observed: Callable[..., tuple[Features, Tensor]]
) -> tuple[Features, Tensor]:
    ear = _ears.get(network) or _ears.setdefault(network, _Ear(network))
    ear.measure = measure
    try:
        return observed(network, images)
    finally:
        ear.measure = None
        ear.heard.clear()


class Statistics(NamedTuple):
    """``mean`` and ``variance`` (ΣC,) of the channels of all BatchNorm layers of a network, in the order in which it
    has them."""

    mean: Tensor
    variance: Tensor


def stored_statistics(network: nn.Module) -> Statistics:
    """Those that it gathered while it was trained."""
    layers = _layers(network)
    return Statistics(*(torch.cat([getattr(layer, f"running_{of}") for layer in layers]) for of in ("mean", "var")))


def observe_from(network: Classifier, images: Tensor, wanted: Statistics) -> tuple[Features, Tensor, Statistics]:
    """The same as ``observe`` with ``wanted`` statistics in the place of those stored, for a network that has some; and
    those of the images, which no gradient flows through."""
    ear = _ears.get(network) or _ears.setdefault(network, _Ear(network))
    ear.measure = distance
    try:
        seen, apart, mean, variance = _observed_from(network, images, wanted.mean, wanted.variance)
        return seen, apart, Statistics(mean, variance)
    finally:
        ear.measure, ear.wanted = None, {}
        ear.heard.clear()


def has_statistics(network: nn.Module) -> bool:
    """Whether ``network`` has BatchNorm layers at all."""
    return bool(_layers(network))


@computed
def _observed(network: Classifier, images: Tensor) -> tuple[Features, Tensor]:
    return _heard(network, images)


@computed
def _observed_divergence(network: Classifier, images: Tensor) -> tuple[Features, Tensor]:
    return _heard(network, images)  # a function of its own, since what is captured holds for one measure


def _heard(network: Classifier, images: Tensor) -> tuple[Features, Tensor]:
    heard = _ears[network].heard
    heard.clear()  # what is captured or compiled runs more than once
    seen = network.features(images)
    return seen, torch.stack(heard).sum() if heard else torch.zeros((), device=images.device)


@computed
def _observed_from(
    network: Classifier, images: Tensor, means: Tensor, variances: Tensor
) -> tuple[Features, Tensor, Tensor, Tensor]:
    ear, layers = _ears[network], _layers(network)
    widths = [layer.num_features for layer in layers]
    ear.wanted = dict(zip(layers, zip(means.split(widths), variances.split(widths), strict=True), strict=True))
    ear.heard.clear()
    seen = network.features(images)
    found = [ear.found[layer] for layer in layers]
    mean, variance = (torch.cat(part) for part in zip(*found, strict=True))
    return seen, torch.stack(ear.heard).sum(), mean, variance


def _layers(network: nn.Module) -> list[nn.BatchNorm2d]:
    return [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]


class _Ear:
    """What the BatchNorm layers of a network tell while it has a ``measure``: each how far off is what it was given.

    Its hooks stay, since ``torch.compile`` sees only those that are there when it begins.
    """

    def __init__(self, network: nn.Module) -> None:
        self.measure: Measure | None = None
        self.heard = list[Tensor]()
        self.wanted: dict[nn.Module, tuple[Tensor, Tensor]] = {}  # statistics other than those stored
        self.found: dict[nn.Module, tuple[Tensor, Tensor]] = {}  # of the images, where others are wanted
        for layer in _layers(network):
            layer.register_forward_pre_hook(self._hear)

    def _hear(self, layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if self.measure is None:
            return
        mean, variance = self.wanted.get(layer, (layer.running_mean, layer.running_var))
        self.heard.append(self.measure(inputs[0], mean, variance))
        if self.wanted:
            self.found[layer] = moments(inputs[0].detach())


_ears: WeakKeyDictionary[nn.Module, _Ear] = WeakKeyDictionary()


def distance(features: Tensor, mean: Any, variance: Any) -> Tensor:
    """‖μ(f) − μ̂‖₂ + ‖σ²(f) − σ̂²‖₂ of (B, C, H, W) features f and a layer's ``mean`` μ̂ and ``variance`` σ̂²."""
    seen_mean, seen_variance = _moments(features)
    return (seen_mean - mean).norm() + (seen_variance - variance).norm()


def divergence(features: Tensor, mean: Any, variance: Any) -> Tensor:
    """Σ_c KL(N(μ_c(f), σ²_c(f)) ‖ N(μ̂_c, σ̂²_c)) of (B, C, H, W) features f and a layer's ``mean`` and ``variance``."""
    seen_mean, seen_variance = _moments(features)
    seen = Gaussian(seen_mean[None], (seen_variance + NORM_EPSILON).sqrt()[None])
    return gaussian_kl(seen, Gaussian(mean[None], (variance + NORM_EPSILON).sqrt()[None]))[0]


def _moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """``moments`` with a gradient."""
    if torch.compiler.is_compiling():  # which keeps no copies, and makes one kernel of this and what is around it
        return moments(features)
    found: tuple[Tensor, Tensor] = _Moments.apply(features)
    return found


class _Moments(torch.autograd.Function):
    """``moments``.

    Autograd would keep several copies of f, which cost more than the network itself. All that the gradient takes is f,
    which its layer keeps anyway, and two vectors: ∂/∂f = shift + slope·f, channel by channel.
    """

    @staticmethod
    def forward(ctx: Any, features: Tensor) -> tuple[Tensor, Tensor]:
        mean, variance = moments(features)
        ctx.save_for_backward(features, mean)
        return mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        features, mean = ctx.saved_tensors
        count = features.numel() // features.shape[1]
        slope = gradients[1] * (2 / count)
        shift = gradients[0] / count - slope * mean
        into = torch.empty_like(features)  # of lower precision than the vectors, maybe: rounded as it is written
        return torch.addcmul(shift[:, None, None], slope[:, None, None], features, out=into)


def moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance (C,) of (B, C, H, W) features over all but their channels, in float32 at least."""
    if (
        features.is_cuda and not torch.compiler.is_compiling()
    ):  # one pass, which takes half precision and sums in float32
        mean, inverse = torch.batch_norm_stats(features, EPSILON)  # 1/√(σ² + ε)
        return mean, inverse.square().reciprocal() - EPSILON
    rows = features.movedim(1, -1).flatten(0, -2)  # no copy where memory is channels-last, and twice as fast
    rows = rows.float() if rows.dtype == torch.bfloat16 else rows
    mean = rows.mean(dim=0)
    return mean, (rows - mean).square().mean(dim=0)
