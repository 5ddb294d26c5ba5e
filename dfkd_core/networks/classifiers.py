"""The classifiers by name: how each is built, what it is called, which images it suits.

Behind a name stands what public variants of it do otherwise than ours, each a word after a plus: ``resnet18+maxpool``,
``vgg16-bn+five-pools``. ``timm:NAME`` is a network of timm, where that is installed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from typing import Any

from torch import nn

from dfkd_core.errors import RequestError
from dfkd_core.images import ImageSpec
from dfkd_core.networks import from_timm
from dfkd_core.networks.base import Classifier
from dfkd_core.networks.base import Features as Features
from dfkd_core.networks.known import TITLES
from dfkd_core.networks.lenet import LeNet5
from dfkd_core.networks.light import LARGE, MobileNetV2, ShuffleNetV1, ShuffleNetV2
from dfkd_core.networks.residual import ResNet, WideResNet
from dfkd_core.networks.vgg import VGG

Options = Mapping[str, Mapping[str, Any]]

OF_RESNET: Options = {
    "7x7": {"stem": 7},
    "maxpool": {"pooled": True},
    "option-a": {"shortcut": "zeros around"},
    "option-a-behind": {"shortcut": "zeros behind"},
}
OF_BOTTLENECKS: Options = {name: OF_RESNET[name] for name in ("7x7", "maxpool")}
OF_VGG: Options = {
    "five-pools": {"five": True},
    "hidden-512": {"hidden": 512},
    "hidden-4096": {"hidden": 4096},
    "grid-7": {"grid": 7},
}
OF_SHUFFLENET: Options = {"3x3": {"stem": 3}}
"""What a network may do otherwise than ours, by the word behind its name."""


@dataclass(frozen=True)
class Known:
    """A classifier that has a name. ``least``: side of the smallest images that a form offers it for; ``large``: the
    options with which it is as published for ImageNet, None where it is for small images only; ``student``: whether
    forms offer it as one."""

    title: str
    family: str
    build: Callable[..., Classifier]
    options: Options = field(default_factory=dict)
    least: int = 8
    large: str | None = None
    student: bool = True


def _lenet(title: str, **more: Any) -> Known:
    return Known(title, "LeNet", partial(LeNet5, **more))


def _resnet(title: str, blocks: int, times: int = 1, stem: int = 16, **more: Any) -> Known:
    """Of 6·blocks + 2 layers, for images of 32 pixels: 16, 32 and 64 channels, or ``times`` as many."""
    build = partial(ResNet, widths=(16 * times, 32 * times, 64 * times), blocks=(blocks,) * 3, first=stem)
    return Known(title, "ResNet", build, OF_RESNET, **more)


def _large_resnet(layers: int, blocks: tuple[int, ...], bottleneck: bool = False, **more: Any) -> Known:
    """As He et al. have it for ImageNet, but for the stem."""
    build = partial(ResNet, widths=(64, 128, 256, 512), blocks=blocks, bottleneck=bottleneck)
    options = OF_BOTTLENECKS if bottleneck else OF_RESNET
    return Known(f"ResNet-{layers}", "ResNet", build, options, large="+7x7+maxpool", **more)


def _wide(depth: int, width: int, **more: Any) -> Known:
    return Known(f"WRN-{depth}-{width}", "WideResNet", partial(WideResNet, depth=depth, width=width), **more)


def _vgg(depth: int, **more: Any) -> Known:
    large = "+five-pools+hidden-4096+grid-7"
    return Known(f"VGG-{depth}", "VGG", partial(VGG, depth=depth), OF_VGG, least=24, large=large, **more)


CLASSIFIERS: dict[str, Known] = {
    "lenet5": _lenet("LeNet-5"),
    "lenet5-half": _lenet("LeNet-5-half", widths=(3, 8, 60, 42)),
    "lenet5-bn": _lenet("LeNet-5 with BatchNorm", norm=True),
    "lenet5-half-bn": _lenet("LeNet-5-half with BatchNorm", widths=(3, 8, 60, 42), norm=True),
    "resnet8": _resnet("ResNet-8", 1),
    "resnet20": _resnet("ResNet-20", 3),
    "resnet32": _resnet("ResNet-32", 5, least=24, student=False),
    "resnet44": _resnet("ResNet-44", 7, least=24, student=False),
    "resnet56": _resnet("ResNet-56", 9, least=24, student=False),
    "resnet110": _resnet("ResNet-110", 18, least=24),
    "resnet116": _resnet("ResNet-116", 19, least=24),
    "resnet110x2": _resnet("ResNet-110×2", 18, times=2, least=24),
    "resnet8x4": _resnet("ResNet-8×4", 1, times=4, stem=32),
    "resnet32x4": _resnet("ResNet-32×4", 5, times=4, stem=32, least=24),
    "resnet18": _large_resnet(18, (2, 2, 2, 2)),
    "resnet34": _large_resnet(34, (3, 4, 6, 3)),
    "resnet50": _large_resnet(50, (3, 4, 6, 3), bottleneck=True, least=24),
    "resnet101": _large_resnet(101, (3, 4, 23, 3), bottleneck=True, least=24, student=False),
    "resnet152": _large_resnet(152, (3, 8, 36, 3), bottleneck=True, least=24, student=False),
    "wrn-16-1": _wide(16, 1),
    "wrn-16-2": _wide(16, 2),
    "wrn-40-1": _wide(40, 1, least=24),
    "wrn-40-2": _wide(40, 2, least=24),
    "vgg11-bn": _vgg(11),
    "vgg13-bn": _vgg(13),
    "vgg16-bn": _vgg(16),
    "vgg19-bn": _vgg(19, student=False),
    "shufflenetv1": Known("ShuffleNet V1", "ShuffleNet", ShuffleNetV1, least=24),
    "shufflenetv2": Known("ShuffleNet V2", "ShuffleNet", ShuffleNetV2, OF_SHUFFLENET, least=24, large="+3x3"),
    "mobilenetv2": Known("MobileNet V2", "MobileNet", MobileNetV2, least=24, large=""),
    "mobilenetv2-half": Known("MobileNet V2-half", "MobileNet", partial(MobileNetV2, width=0.5), least=24, large=""),
}
"""In the order in which lists have them: by family, the smaller ones first."""


def known_as(name: str) -> tuple[Known, tuple[str, ...]]:
    """The network ``name`` and its options. Raises ``RequestError`` for an unknown one."""
    base, *options = name.split("+")
    if base not in CLASSIFIERS:
        raise RequestError("network", name, f"should be one of {', '.join(CLASSIFIERS)}, or timm:NAME.")
    known = CLASSIFIERS[base]
    if not set(options) <= known.options.keys():
        has = f"{known.title} has {', '.join(known.options) or 'none'}"
        raise RequestError("network", name, f"has no such option; {has}.")
    return known, tuple(options)


def build_classifier(name: str, image: ImageSpec) -> Classifier:
    """A freshly initialised classifier. Raises ``RequestError`` for an unknown name."""
    if name.startswith(from_timm.PREFIX):
        return from_timm.TimmClassifier(image, name.removeprefix(from_timm.PREFIX))
    known, options = known_as(name)
    return known.build(image, **{key: value for option in options for key, value in known.options[option].items()})


def check_network(name: str, field: str = "network", said: str = "") -> None:
    """Raises ``RequestError`` (``field``) for a name of no network, and with what else is to be ``said``; of timm's
    names, where it is not installed."""
    if name.startswith(from_timm.PREFIX):
        if find_spec("timm") is None:
            raise RequestError(field, name, f"{from_timm.INSTALL}.")
        return
    try:
        known_as(name)
    except RequestError as error:
        says = f"{error.expected.removesuffix('.')}; {said}." if said else error.expected
        raise RequestError(field, name, says) from None


def title_of(name: str) -> str:
    """What people call it; of a name that is not known, the name."""
    if name in TITLES:
        return TITLES[name]
    try:
        known, options = known_as(name)
    except RequestError:
        return name
    return known.title + (f" ({', '.join(options)})" if options else "")


def fitted(name: str, size: int) -> str:
    """``name`` as it is for images of ``size`` pixels: large ones get what is published for ImageNet."""
    known, options = known_as(name)
    return name + (known.large or "") if size >= LARGE and not options else name


def students(size: int) -> dict[str, str]:
    """Titles by name of the networks that suit images of ``size`` pixels, by family."""
    offered = {name: known for name, known in CLASSIFIERS.items() if known.student}
    if size >= LARGE:
        names = [name + known.large for name, known in offered.items() if known.large is not None]
    else:
        names = [name for name, known in offered.items() if known.least <= size]
    return {name: title_of(name) for name in names}


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
