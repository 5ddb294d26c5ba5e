"""Classifiers that show their insides: logits, pooled features and named feature maps from one forward.

LeNet-5 (LeCun et al. 1998), as DAFL uses it; residual networks for small images (He et al. 2016): the CIFAR-style
18 and 34 (64 to 512 channels, 3×3 stem) and the small 8 and 20 (16-32-64 channels).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

from torch import Tensor, nn

from dfkd_core.errors import RequestError
from dfkd_core.images import ImageSpec
from dfkd_core.networks.execution import computed


class Features(NamedTuple):
    """``logits`` (B, K); ``pooled`` (B, D), what the last linear layer sees; ``maps`` name -> (B, C, H, W)."""

    logits: Tensor
    pooled: Tensor
    maps: dict[str, Tensor]


class Classifier(nn.Module):
    """A network with named ``stages`` of feature maps, a pooling step and a linear ``head``."""

    stages: nn.ModuleDict
    head: nn.Linear

    def pool(self, last_map: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, D)."""
        raise NotImplementedError

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


class LeNet5(Classifier):
    """LeNet-5 with ReLU and max-pooling. Below 28 pixels its kernels are 3×3 with padding instead of 5×5."""

    def __init__(self, image: ImageSpec, widths: tuple[int, int, int, int] = (6, 16, 120, 84), norm: bool = False):
        super().__init__()
        first, second, third, hidden = widths
        small = image.size < 28
        kernel, padding = (3, 1) if small else (5, 0)
        side = image.size // 4 if small else ((image.size - 4) // 2 - 4) // 2
        if side < 1:
            raise RequestError("size", image.size, "LeNet-5 takes images of at least 4 pixels a side.")

        def block(inputs: int, outputs: int, size: int, pad: int, *after: nn.Module) -> nn.Sequential:
            normalise = [nn.BatchNorm2d(outputs)] if norm else []
            return nn.Sequential(
                nn.Conv2d(inputs, outputs, size, padding=pad, bias=not norm), *normalise, nn.ReLU(), *after
            )

        self.stages = nn.ModuleDict(
            {
                "conv1": block(image.channels, first, kernel, padding, nn.MaxPool2d(2)),
                "conv2": block(first, second, kernel, padding, nn.MaxPool2d(2)),
                "conv3": block(second, third, side, 0),
            }
        )
        self.hidden = nn.Sequential(nn.Flatten(), nn.Linear(third, hidden), nn.ReLU())
        self.head = nn.Linear(hidden, len(image.classes))

    def pool(self, last_map: Tensor) -> Tensor:
        return self.hidden(last_map)


class ResNet(Classifier):
    """Residual stages of torchvision's ``BasicBlock`` behind a 3×3 stem, halving the image at each new stage."""

    def __init__(self, image: ImageSpec, widths: tuple[int, ...], blocks: tuple[int, ...]):
        # Imported here: torchvision takes as long as torch to import, and a page that lists networks need not wait.
        from torchvision.models.resnet import BasicBlock

        super().__init__()
        stem = nn.Sequential(
            nn.Conv2d(image.channels, widths[0], 3, padding=1, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU()
        )
        self.stages = nn.ModuleDict({"stem": stem})
        inputs = widths[0]
        for index, (width, depth) in enumerate(zip(widths, blocks, strict=True)):
            stride = 1 if index == 0 else 2
            shortcut = None
            if stride != 1 or inputs != width:
                shortcut = nn.Sequential(nn.Conv2d(inputs, width, 1, stride=stride, bias=False), nn.BatchNorm2d(width))
            layers = [BasicBlock(inputs, width, stride, shortcut)]
            layers += [BasicBlock(width, width) for _ in range(depth - 1)]
            self.stages[f"stage{index + 1}"] = nn.Sequential(*layers)
            inputs = width
        self.head = nn.Linear(inputs, len(image.classes))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def pool(self, last_map: Tensor) -> Tensor:
        return last_map.mean(dim=(2, 3))


CLASSIFIERS: dict[str, Callable[[ImageSpec], Classifier]] = {
    "lenet5": LeNet5,
    "lenet5-half": partial(LeNet5, widths=(3, 8, 60, 42)),
    "lenet5-bn": partial(LeNet5, norm=True),
    "lenet5-half-bn": partial(LeNet5, widths=(3, 8, 60, 42), norm=True),
    "resnet8": partial(ResNet, widths=(16, 32, 64), blocks=(1, 1, 1)),
    "resnet20": partial(ResNet, widths=(16, 32, 64), blocks=(3, 3, 3)),
    "resnet18": partial(ResNet, widths=(64, 128, 256, 512), blocks=(2, 2, 2, 2)),
    "resnet34": partial(ResNet, widths=(64, 128, 256, 512), blocks=(3, 4, 6, 3)),
}


def build_classifier(name: str, image: ImageSpec) -> Classifier:
    """A freshly initialised classifier. Raises ``RequestError`` for an unknown name."""
    if name not in CLASSIFIERS:
        raise RequestError("network", name, f"should be one of {', '.join(CLASSIFIERS)}.")
    return CLASSIFIERS[name](image)


def parameter_count(network: nn.Module) -> int:
    """Number of trainable and frozen parameters (buffers such as BN statistics not counted)."""
    return sum(parameter.numel() for parameter in network.parameters())


def freeze(network: nn.Module) -> nn.Module:
    """Eval mode, parameters without gradients (gradients still reach the images)."""
    network.eval()
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    return network


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Eval mode for a while; afterwards every module's own mode is back."""
    modes = [(part, part.training) for part in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training
