"""Classifiers that show their insides: logits, pooled features and named feature maps from one forward.

LeNet-5 (LeCun et al. 1998), as DAFL uses it; residual networks for small images (He et al. 2016): the CIFAR-style
18 and 34 (64 to 512 channels, 3×3 stem) and the small 8 and 20 (16-32-64 channels). What public variants of the
residual ones do otherwise is an option behind the name: ``resnet18+maxpool``, ``resnet20+option-a``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch.nn.functional as F
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


class ZeroPadded(nn.Module):
    """He et al.'s option A: a shortcut without weights. Every second pixel; the new channels are zero, and stand
    ``before`` and behind the others."""

    def __init__(self, before: int, behind: int) -> None:
        super().__init__()
        self.before, self.behind = before, behind

    def forward(self, images: Tensor) -> Tensor:
        return F.pad(images[:, :, ::2, ::2], (0, 0, 0, 0, self.before, self.behind))


class ResNet(Classifier):
    """Residual stages of torchvision's ``BasicBlock`` behind a stem, halving the image at each new stage.

    ``stem``: side of its kernel; 7 halves the image, too. ``pooled``: a max-pool after it halves again. ``shortcut``:
    ``projection``, or without weights ``zeros around`` or ``zeros behind``.
    """

    def __init__(
        self,
        image: ImageSpec,
        widths: tuple[int, ...],
        blocks: tuple[int, ...],
        stem: int = 3,
        pooled: bool = False,
        shortcut: str = "projection",
    ):
        # Imported here: torchvision takes as long as torch to import, and a page that lists networks need not wait.
        from torchvision.models.resnet import BasicBlock

        super().__init__()
        inputs = widths[0]
        enter = nn.Conv2d(image.channels, inputs, stem, 1 if stem == 3 else 2, padding=stem // 2, bias=False)
        pool = [nn.MaxPool2d(3, 2, 1)] if pooled else []
        self.stages = nn.ModuleDict({"stem": nn.Sequential(enter, nn.BatchNorm2d(inputs), nn.ReLU(), *pool)})
        for index, (width, depth) in enumerate(zip(widths, blocks, strict=True)):
            stride = 1 if index == 0 else 2
            first = _shortcut(shortcut, inputs, width, stride) if stride != 1 or inputs != width else None
            layers = [BasicBlock(inputs, width, stride, first)]
            layers += [BasicBlock(width, width) for _ in range(depth - 1)]
            self.stages[f"stage{index + 1}"] = nn.Sequential(*layers)
            inputs = width
        self.head = nn.Linear(inputs, len(image.classes))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def pool(self, last_map: Tensor) -> Tensor:
        return last_map.mean(dim=(2, 3))


def _shortcut(kind: str, inputs: int, width: int, stride: int) -> nn.Module:
    if kind == "projection":
        return nn.Sequential(nn.Conv2d(inputs, width, 1, stride=stride, bias=False), nn.BatchNorm2d(width))
    more = width - inputs
    return ZeroPadded(more // 2, more - more // 2) if kind == "zeros around" else ZeroPadded(0, more)


CLASSIFIERS: dict[str, Callable[..., Classifier]] = {
    "lenet5": LeNet5,
    "lenet5-half": partial(LeNet5, widths=(3, 8, 60, 42)),
    "lenet5-bn": partial(LeNet5, norm=True),
    "lenet5-half-bn": partial(LeNet5, widths=(3, 8, 60, 42), norm=True),
    "resnet8": partial(ResNet, widths=(16, 32, 64), blocks=(1, 1, 1)),
    "resnet20": partial(ResNet, widths=(16, 32, 64), blocks=(3, 3, 3)),
    "resnet18": partial(ResNet, widths=(64, 128, 256, 512), blocks=(2, 2, 2, 2)),
    "resnet34": partial(ResNet, widths=(64, 128, 256, 512), blocks=(3, 4, 6, 3)),
}


DEEPER: dict[str, Callable[..., Classifier]] = {
    f"resnet{6 * blocks + 2}": partial(ResNet, widths=(16, 32, 64), blocks=(blocks,) * 3) for blocks in (5, 7, 9, 18)
}
"""Residual networks that teachers are brought as; no form offers them as students."""

OPTIONS: dict[str, dict[str, Any]] = {
    "7x7": {"stem": 7},
    "maxpool": {"pooled": True},
    "option-a": {"shortcut": "zeros around"},
    "option-a-behind": {"shortcut": "zeros behind"},
}
"""What a residual network may do otherwise than ours, by the word behind its name."""


def build_classifier(name: str, image: ImageSpec) -> Classifier:
    """A freshly initialised classifier. Raises ``RequestError`` for an unknown name."""
    base, *options = name.split("+")
    known = CLASSIFIERS | DEEPER
    if base not in known:
        raise RequestError("network", name, f"should be one of {', '.join(known)}.")
    if not set(options) <= (OPTIONS.keys() if base.startswith("resnet") else set()):
        raise RequestError("network", name, f"has no such option; a residual network has {', '.join(OPTIONS)}.")
    return known[base](image, **{key: value for option in options for key, value in OPTIONS[option].items()})


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
