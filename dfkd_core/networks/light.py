"""Light networks: ShuffleNet V1 (Zhang et al. 2018) and V2 (Ma et al. 2018), MobileNet V2 (Sandler et al. 2018).

For small images they halve the image three times instead of five: the stem does not, nor does what follows it. From
``LARGE`` pixels a side they are as published for ImageNet.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dfkd_core.images import ImageSpec
from dfkd_core.networks.base import Classifier, initialise

LARGE = 112
SHUFFLED = (4, 8, 4)  # blocks of the three stages, in V1 and V2


class ShuffleNetV1(Classifier):
    """With three groups, for small images: behind a 1×1 stem stages of 240, 480 and 960 channels, as in the tables of
    CIFAR-100 (mdistiller, SimKD, HiDFD)."""

    def __init__(self, image: ImageSpec) -> None:
        super().__init__()
        inputs = 24
        self.stages = nn.ModuleDict({"stem": _stem(image.channels, inputs, 1, 1)})
        for index, depth in enumerate(SHUFFLED):
            outputs = 240 * 2**index
            blocks = [GroupedBlock(inputs, outputs, halves=True)]
            blocks += [GroupedBlock(outputs, outputs) for _ in range(depth - 1)]
            self.stages[f"stage{index + 1}"] = nn.Sequential(*blocks)
            inputs = outputs
        self.head = nn.Linear(inputs, len(image.classes))
        initialise(self)


class GroupedBlock(nn.Module):
    """Grouped 1×1, shuffle, depthwise 3×3, grouped 1×1; added to what came in, or where it ``halves`` the image, put
    beside its averages."""

    def __init__(self, inputs: int, outputs: int, halves: bool = False, groups: int = 3) -> None:
        super().__init__()
        outputs -= inputs if halves else 0
        middle, self.halves = outputs // 4, halves
        self.groups = 1 if inputs == 24 else groups  # the stem's channels are too few
        self.conv1 = nn.Conv2d(inputs, middle, 1, groups=self.groups, bias=False)
        self.conv2 = nn.Conv2d(middle, middle, 3, 2 if halves else 1, padding=1, groups=middle, bias=False)
        self.conv3 = nn.Conv2d(middle, outputs, 1, groups=groups, bias=False)
        self.bn1, self.bn2, self.bn3 = (nn.BatchNorm2d(width) for width in (middle, middle, outputs))

    def forward(self, images: Tensor) -> Tensor:
        hidden = F.channel_shuffle(F.relu(self.bn1(self.conv1(images))), self.groups)
        hidden = self.bn3(self.conv3(F.relu(self.bn2(self.conv2(hidden)))))
        if not self.halves:
            return F.relu(hidden + images)
        return F.relu(torch.cat([hidden, F.avg_pool2d(images, 3, 2, padding=1)], dim=1))


class ShuffleNetV2(Classifier):
    """At width 1, of torchvision's blocks. ``stem``: side of its kernel; 1 as in the tables of CIFAR-100, 3 as
    torchvision and chenyaofo have it."""

    def __init__(self, image: ImageSpec, stem: int = 1) -> None:
        from torchvision.models.shufflenetv2 import InvertedResidual

        super().__init__()
        large, inputs = image.size >= LARGE, 24
        enter = _stem(image.channels, inputs, stem, 2 if large else 1)
        self.stages = nn.ModuleDict({"stem": enter.append(nn.MaxPool2d(3, 2, 1)) if large else enter})
        for index, depth in enumerate(SHUFFLED):
            outputs = 116 * 2**index
            blocks = [InvertedResidual(inputs, outputs, 2)]
            blocks += [InvertedResidual(outputs, outputs, 1) for _ in range(depth - 1)]
            named = OrderedDict((str(number), block) for number, block in enumerate(blocks))
            inputs, last = outputs, index == len(SHUFFLED) - 1
            self.stages[f"stage{index + 1}"] = nn.Sequential(named | _widened(inputs, 1024) if last else named)
        self.head = nn.Linear(1024, len(image.classes))
        initialise(self)


def _stem(channels: int, outputs: int, kernel: int, stride: int) -> nn.Sequential:
    enter = nn.Conv2d(channels, outputs, kernel, stride, padding=kernel // 2, bias=False)
    return nn.Sequential(enter, nn.BatchNorm2d(outputs), nn.ReLU())


def _widened(inputs: int, outputs: int) -> OrderedDict[str, nn.Module]:
    """The 1×1 convolution that ends a light network, as part of its last stage."""
    conv = nn.Conv2d(inputs, outputs, 1, bias=False)
    return OrderedDict(conv=conv, norm=nn.BatchNorm2d(outputs), relu=nn.ReLU())


class MobileNetV2(Classifier):
    """torchvision's network cut into stages where it halves the image; without its dropout, so that the head sees the
    mean of the last map. For small images with chenyaofo's strides."""

    def __init__(self, image: ImageSpec, width: float = 1.0) -> None:
        from torchvision.models import mobilenet_v2

        super().__init__()
        layers = mobilenet_v2(width_mult=width, num_classes=len(image.classes))
        stem, halving = layers.features[0], layers.features[2].conv[1][0]
        stem[0] = nn.Conv2d(image.channels, stem[0].out_channels, 3, 2, padding=1, bias=False)
        if image.size < LARGE:
            stem[0].stride = halving.stride = (1, 1)
        self.stages = nn.ModuleDict({"stem": stem})
        for index, (begin, end) in enumerate(((1, 4), (4, 7), (7, 14), (14, 19))):
            self.stages[f"stage{index + 1}"] = nn.Sequential(*layers.features[begin:end])
        self.head = layers.classifier[1]
        initialise(self)
