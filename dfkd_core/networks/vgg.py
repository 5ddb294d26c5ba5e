"""VGG (Simonyan & Zisserman 2015) with BatchNorm: torchvision's layers in five stages."""

from __future__ import annotations

from collections import OrderedDict

import torch.nn.functional as F
from torch import Tensor, nn

from dfkd_core.errors import RequestError
from dfkd_core.images import ImageSpec
from dfkd_core.networks.base import Classifier, initialise

CONFIGURATIONS = {11: "A", 13: "B", 16: "D", 19: "E"}  # as the paper's table 1 calls them
LEAST_SIDE = 4  # of the last map, as mdistiller, SimKD and HiDFD have it of images of 32 and of 64 pixels


class VGG(Classifier):
    """A stage is what lies between two max-pools. These halve the image until its side is 4, and then no more, and the
    last map is averaged.

    ``five``: they always do, also behind the last stage, and then its map of ``grid`` × ``grid`` cells goes through
    two layers of ``hidden`` units, if there are any. torchvision's own network is so: 7 cells, 4,096 units.
    """

    def __init__(self, image: ImageSpec, depth: int, five: bool = False, hidden: int = 0, grid: int = 1):
        from torchvision.models.vgg import cfgs, make_layers

        super().__init__()
        if five and image.size < 32:
            raise RequestError("size", image.size, "should be 32 pixels a side at least for five max-pools.")
        layers = make_layers(cfgs[CONFIGURATIONS[depth]], batch_norm=True)
        layers[0] = nn.Conv2d(image.channels, 64, 3, padding=1)
        self.stages, side, stage = nn.ModuleDict(), image.size, OrderedDict[str, nn.Module]()
        for layer in layers:
            if not isinstance(layer, nn.MaxPool2d):
                stage[str(len(stage) - ("pool" in stage))] = layer
                continue
            self.stages[f"stage{len(self.stages) + 1}"] = nn.Sequential(stage)
            stage = OrderedDict()
            if five or side >= 2 * LEAST_SIDE:
                side //= 2
                stage["pool"] = layer
        self.five, self.grid = five, grid
        last = 512 * grid**2
        layers_of = [(last, hidden), (hidden, hidden)] if hidden else []
        units = [unit for sides in layers_of for unit in (nn.Linear(*sides), nn.ReLU(), nn.Dropout())]
        self.hidden = nn.Sequential(*units)
        self.head = nn.Linear(hidden or last, len(image.classes))
        initialise(self)

    def pool(self, last_map: Tensor) -> Tensor:
        pooled = F.max_pool2d(last_map, 2) if self.five else last_map
        return self.hidden(F.adaptive_avg_pool2d(pooled, self.grid).flatten(1))
