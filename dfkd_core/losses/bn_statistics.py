"""Distance between a batch's statistics and those stored in a network's BatchNorm layers (DeepInversion)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class BatchStatistics:
    """The inputs' (mean, variance) of each BatchNorm layer during one forward, gradients attached."""

    def __init__(self) -> None:
        self._distances: list[Tensor] = []

    def add(self, layer: nn.BatchNorm2d, features: Tensor) -> None:
        """Compare ``features``, (B, C, H, W), with the statistics stored in ``layer``."""
        assert layer.running_mean is not None and layer.running_var is not None
        rows = features.movedim(1, -1).flatten(0, -2)  # no copy where memory is channels-last, and twice as fast
        mean = rows.mean(dim=0)
        variance = (rows - mean).square().mean(dim=0)
        self._distances.append((layer.running_mean - mean).norm() + (layer.running_var - variance).norm())

    def distance(self, like: Tensor) -> Tensor:
        """BNS = Σ_l ‖μ_l(x̂) − μ̂_l‖₂ + ‖σ²_l(x̂) − σ̂²_l‖₂; zero (on ``like``'s device) without such layers."""
        if not self._distances:
            return like.new_zeros(())
        return torch.stack(self._distances).sum()


def has_statistics(network: nn.Module) -> bool:
    """Whether ``network`` has BatchNorm layers at all."""
    return any(isinstance(module, nn.BatchNorm2d) for module in network.modules())


@contextmanager
def collect_statistics(network: nn.Module) -> Iterator[BatchStatistics]:
    """Collect within the block only, so that no other forward of ``network`` can be mistaken for this one."""
    statistics = BatchStatistics()

    def compare(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(layer, nn.BatchNorm2d)
        statistics.add(layer, inputs[0])

    layers = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    hooks = [layer.register_forward_pre_hook(compare) for layer in layers]
    try:
        yield statistics
    finally:
        for hook in hooks:
            hook.remove()
