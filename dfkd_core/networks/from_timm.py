"""Networks of timm (Wightman 2019), by its names: an optional extra, imported when one is asked for."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from dfkd_core.errors import RequestError
from dfkd_core.images import ImageSpec
from dfkd_core.networks.base import Classifier

PREFIX = "timm:"
INSTALL = "needs the package timm: pip install timm"


class TimmClassifier(Classifier):
    """A network of timm with fresh weights, whose body is one stage; its layers have timm's names.

    Raises ``RequestError`` without timm, for a name that it does not know, and for a network that does not end in the
    mean of a map and one linear layer.
    """

    def __init__(self, image: ImageSpec, name: str) -> None:
        super().__init__()
        network = _created(name, image)
        head = network.get_classifier()
        self.head_name = str(network.default_cfg.get("classifier", "fc"))  # which timm has for it
        network.reset_classifier(0)
        if not isinstance(head, nn.Linear) or not _averages(network):
            says = "should end in the mean of its last map and one linear layer, as ResNets do; take another."
            raise RequestError("network", PREFIX + name, says)
        self.stages = nn.ModuleDict({"body": _Body(network)})
        self.head = head


class _Body(nn.Module):
    """Everything of a network of timm that comes before its mean over the map."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        last_map: Tensor = self.network.forward_features(images)
        return last_map


def _created(name: str, image: ImageSpec) -> Any:
    try:
        import timm
    except ImportError:
        raise RequestError("network", PREFIX + name, f"{INSTALL}.") from None
    if name not in timm.list_models():
        near = ", ".join(timm.list_models(f"*{name}*")[:5]) or "timm.list_models() has them all"
        raise RequestError("network", PREFIX + name, f"is none of timm's names: {near}.")
    return timm.create_model(name, pretrained=False, num_classes=len(image.classes), in_chans=image.channels)


@torch.no_grad()
def _averages(network: Any) -> bool:
    """Whether the mean over its last map is all that stood before its linear layer, which has been taken off."""
    ramp = torch.arange(4.0 * network.num_features, device="cpu").view(1, -1, 2, 2) / network.num_features
    training = network.training
    try:
        pooled = network.eval().forward_head(ramp)
    except (RuntimeError, AttributeError, TypeError, NotImplementedError):
        return False  # it has no map, or layers of its own there
    finally:
        network.train(training)
    return bool(pooled.shape == ramp.shape[:2] and torch.allclose(pooled, ramp.mean(dim=(2, 3))))
