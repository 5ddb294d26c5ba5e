"""How a network of timm calls its layers: made from the network itself, since there are a thousand of them."""

from __future__ import annotations

import torch

from dfkd_core.images import ImageSpec
from dfkd_core.networks.from_timm import PREFIX, TimmClassifier
from dfkd_core.teachers.styles import Style

ANY = ImageSpec(3, 32, (0.5,) * 3, (0.5,) * 3, ("0", "1"))
BODY = "stages.body.network."


def style(network: str) -> Style:
    """Of ``timm:NAME``. Raises ``RequestError`` without timm, and for what is none of its names."""
    with torch.device("meta"):
        classifier = TimmClassifier(ANY, network.removeprefix(PREFIX))
    names = dict.fromkeys(name.rpartition(".")[0] for name in classifier.state_dict() if name.startswith(BODY))
    layers = {name.removeprefix(BODY): name for name in names}
    return Style(network, layers | {classifier.head_name: "head"}, family=PREFIX)
