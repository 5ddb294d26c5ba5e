"""What every classifier is: a network that shows its insides."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from dfkd_core.networks.execution import computed
from dfkd_core.networks.known import Known


class Features(NamedTuple):
    """``logits`` (B, K); ``pooled`` (B, D), what the last linear layer sees; ``maps`` name -> (B, C, H, W)."""

    logits: Tensor
    pooled: Tensor
    maps: dict[str, Tensor]


class Classifier(nn.Module):
    """A network with named ``stages`` of feature maps, a pooling step and a linear ``head``.

    ``known``: how much of it there is to see; of a program neither stages nor head.
    """

    known: Known = "inside"
    stages: nn.ModuleDict
    head: nn.Linear

    def pool(self, last_map: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, D); the mean over the map unless a network says otherwise."""
        return last_map.mean(dim=(2, 3))

    @computed
    def features(self, images: Tensor) -> Features:
        """Everything at once, for methods that need more than logits. ``images``: (B, C, H, W), normalised."""
        maps = {}
        hidden = images
        for name, stage in self.stages.items():
            hidden = maps[name] = stage(hidden)
        pooled = self.pool(hidden)
        return Features(self.head(pooled), pooled, maps)

    @computed
    def forward(self, images: Tensor) -> Tensor:
        return self.features(images).logits


def initialise(network: nn.Module) -> None:
    """Convolutions as He et al. (2015) have them, by what goes out; their biases are 0."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
