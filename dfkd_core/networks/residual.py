"""Residual networks: He et al. (2016) for small and for large images, and wide ones (Zagoruyko & Komodakis 2016)."""

from __future__ import annotations

from collections import OrderedDict

import torch.nn.functional as F
from torch import Tensor, nn

from dfkd_core.images import ImageSpec
from dfkd_core.networks.base import Classifier, initialise


class ZeroPadded(nn.Module):
    """He et al.'s option A: a shortcut without weights. Every second pixel; the new channels are zero, and stand
    ``before`` and behind the others."""

    def __init__(self, before: int, behind: int) -> None:
        super().__init__()
        self.before, self.behind = before, behind

    def forward(self, images: Tensor) -> Tensor:
        return F.pad(images[:, :, ::2, ::2], (0, 0, 0, 0, self.before, self.behind))


class ResNet(Classifier):
    """Residual stages of torchvision's blocks behind a stem, halving the image at each new stage.

    ``widths``: of the stages, of which each block of a ``bottleneck`` puts out four times as much; ``first``: of the
    stem, if it is not the first of them. ``stem``: side of its kernel; 7 halves the image, too. ``pooled``: a max-pool
    after it halves again. ``shortcut``: ``projection``, or without weights ``zeros around`` or ``zeros behind``.
    """

    def __init__(
        self,
        image: ImageSpec,
        widths: tuple[int, ...],
        blocks: tuple[int, ...],
        first: int = 0,
        bottleneck: bool = False,
        stem: int = 3,
        pooled: bool = False,
        shortcut: str = "projection",
    ):
        # Imported here: torchvision takes as long as torch to import, and a page that lists networks need not wait.
        from torchvision.models.resnet import BasicBlock, Bottleneck

        super().__init__()
        kind: type[BasicBlock | Bottleneck] = Bottleneck if bottleneck else BasicBlock
        inputs = first or widths[0]
        enter = nn.Conv2d(image.channels, inputs, stem, 1 if stem == 3 else 2, padding=stem // 2, bias=False)
        pool = [nn.MaxPool2d(3, 2, 1)] if pooled else []
        self.stages = nn.ModuleDict({"stem": nn.Sequential(enter, nn.BatchNorm2d(inputs), nn.ReLU(), *pool)})
        for index, (width, depth) in enumerate(zip(widths, blocks, strict=True)):
            stride, outputs = 1 if index == 0 else 2, width * kind.expansion
            beside = _shortcut(shortcut, inputs, outputs, stride) if stride != 1 or inputs != outputs else None
            layers = [kind(inputs, width, stride, beside)]
            layers += [kind(outputs, width) for _ in range(depth - 1)]
            self.stages[f"stage{index + 1}"] = nn.Sequential(*layers)
            inputs = outputs
        self.head = nn.Linear(inputs, len(image.classes))
        initialise(self)


def _shortcut(kind: str, inputs: int, outputs: int, stride: int) -> nn.Module:
    if kind == "projection" or stride == 1:
        return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs))
    more = outputs - inputs
    return ZeroPadded(more // 2, more - more // 2) if kind == "zeros around" else ZeroPadded(0, more)


class WideResNet(Classifier):
    """WRN-``depth``-``width``: three stages of 16, 32 and 64 channels times ``width``, of pre-activated blocks. The
    last stage ends in BatchNorm and ReLU, so that its map is what is averaged."""

    def __init__(self, image: ImageSpec, depth: int, width: int):
        super().__init__()
        inputs = 16
        self.stages = nn.ModuleDict(
            {"stem": nn.Sequential(nn.Conv2d(image.channels, inputs, 3, padding=1, bias=False))}
        )
        for index in range(3):
            outputs = 16 * 2**index * width
            blocks = OrderedDict[str, nn.Module]()
            for number in range((depth - 4) // 6):
                stride = 2 if index and not number else 1
                blocks[str(number)] = PreActivated(inputs, outputs, stride)
                inputs = outputs
            if index == 2:
                blocks |= {"norm": nn.BatchNorm2d(inputs), "relu": nn.ReLU()}
            self.stages[f"stage{index + 1}"] = nn.Sequential(blocks)
        self.head = nn.Linear(inputs, len(image.classes))
        initialise(self)


class PreActivated(nn.Module):
    """x + f(x), BatchNorm and ReLU before each of f's two convolutions; a shortcut with weights is activated, too."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1, self.bn2 = nn.BatchNorm2d(inputs), nn.BatchNorm2d(outputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        alike = inputs == outputs and stride == 1
        self.shortcut = None if alike else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        active = F.relu(self.bn1(images))
        hidden = self.conv2(F.relu(self.bn2(self.conv1(active))))
        return hidden + (images if self.shortcut is None else self.shortcut(active))
