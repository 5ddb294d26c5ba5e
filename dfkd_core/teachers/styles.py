"""How public repositories call the layers of the networks that we have, as tables; names are mapped by what they say,
never by the order of shapes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property


@dataclass(frozen=True)
class Style:
    """``layers``: their name of a layer -> ours; the first of them sees the image. ``block``: how a block is called,
    with its stage ``{s}``, from ``stage`` on, and its number ``{b}``, from ``number`` on; ``parts``: the layers in it,
    and ``first_parts``: in the first one of a stage, where that differs. ``family``: of the networks that are so
    called. What weights do not show:
    whether a max-pool ``may`` follow a 3×3 stem, whether option A's zeros stand ``behind``, and whether a VGG has
    ``five_pools``."""

    name: str
    layers: Mapping[str, str]
    block: str = ""
    parts: Mapping[str, str] = field(default_factory=dict)
    first_parts: Mapping[str, str] = field(default_factory=dict)
    family: str = "ResNet"
    stage: int = 1
    number: int = 0
    may_pool: bool = False
    behind: bool = False
    five_pools: bool = False

    @property
    def is_residual(self) -> bool:
        """Whether its blocks are those of a ResNet."""
        return self.family == "ResNet"

    @cached_property
    def _block(self) -> re.Pattern[str]:
        pattern = re.escape(self.block).replace(r"\{s\}", r"(\d{1,3})").replace(r"\{b\}", r"(\d{1,3})")
        return re.compile(pattern + r"\.(.+)")

    def place(self, layer: str) -> tuple[int, int, str] | None:
        """Stage (from 1), block (from 0) and part of a layer in a residual block."""
        found = self._block.fullmatch(layer) if self.block else None
        return found and (int(found[1]) - self.stage + 1, int(found[2]) - self.number, found[3])

    def ours(self, name: str) -> str | None:
        """What a tensor of this style is called here; None where the style has no such name."""
        layer, _, tensor = name.rpartition(".")
        if layer in self.layers:
            return f"{self.layers[layer]}.{tensor}"
        place = self.place(layer)
        if place is None:
            return None
        parts = self.first_parts if self.first_parts and place[1] == 0 else self.parts
        return f"stages.stage{place[0]}.{place[1]}.{parts[place[2]]}.{tensor}" if place[2] in parts else None

    def prefixes(self, names: Iterable[str]) -> list[str]:
        """What stands before the style's names, wherever its first layer is found among ``names``."""
        first = f"{next(iter(self.layers))}.weight"
        found = (name.removesuffix(first) for name in names if name.endswith(first))
        return [prefix for prefix in found if not prefix or prefix.endswith(".")]


def _stem(conv: str, norm: str, *heads: str) -> dict[str, str]:
    return {conv: "stages.stem.0", norm: "stages.stem.1", **dict.fromkeys(heads, "head")}


def _parts(names: str, *shortcuts: str) -> dict[str, str]:
    """``names`` of a block's two or three convolutions, each with the norm behind it; ``shortcuts``: names of its two
    layers."""
    shortcut = {name: f"downsample.{index % 2}" for index, name in enumerate(shortcuts)}
    return dict(zip(names.split(), USUAL.split(), strict=False)) | shortcut


USUAL = "conv1 bn1 conv2 bn2 conv3 bn3"
LEFT, RIGHT = ("branch1.0", "branch1.1", "branch1.2", "branch1.3"), tuple(f"branch2.{at}" for at in (0, 1, 3, 4, 5, 6))
BRANCHES = " ".join(LEFT + RIGHT)  # of a block of ShuffleNet V2
VGG = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}  # convolutions of its stages
DOWNSAMPLE, SHORTCUT = ("downsample.0", "downsample.1"), ("shortcut.0", "shortcut.1")


def _same(names: str) -> dict[str, str]:
    """``names`` that are ours, too."""
    return {name: name for name in names.split()}


def _vggs(depth: int) -> Iterator[Style]:
    """A VGG whose layers are numbered as one sequence, max-pools included; what stands behind them."""
    layers, at = dict[str, str](), 0
    for stage, convolutions in enumerate(VGG[depth], 1):
        for number in range(convolutions):
            for part in (0, 1):
                layers[f"features.{at + 3 * number + part}"] = f"stages.stage{stage}.{3 * number + part}"
        at += 3 * convolutions + 1
    hidden = {"classifier.0": "hidden.0", "classifier.3": "hidden.3"}
    yield Style("kuangliu's", layers | {"classifier": "head"}, family="VGG", five_pools=True)
    yield Style("torchvision's (chenyaofo, huyvnphan)", layers | hidden | {"classifier.6": "head"}, family="VGG")
    yield Style("weiaicunzai's", layers | hidden | {"classifier.5": "head"}, family="VGG")
    ours = {name: name for name in layers.values()}
    yield Style("DFKD Lab's", ours | _same("hidden.0 hidden.3 head"), family="VGG")


def _branches(layers: tuple[str, ...], number: int) -> dict[str, str]:
    """``layers`` of a block as convolutions and norms that are counted from ``number`` on."""
    names = (f"{kind}{number + index}" for index in range(len(layers) // 2) for kind in ("conv", "bn"))
    return dict(zip(names, layers, strict=True))


def _mobile() -> Iterator[tuple[str, str]]:
    """Layers of MobileNet V2 in one sequence, and ours, which begins anew at each stage."""
    for stage, (begin, end) in enumerate(((1, 4), (4, 7), (7, 14), (14, 18)), 1):
        for at in range(begin, end):
            for layer in ("conv.0.0", "conv.0.1", "conv.1.0", "conv.1.1", "conv.1", "conv.2", "conv.3"):
                yield f"features.{at}.{layer}", f"stages.stage{stage}.{at - begin}.{layer}"
    for part in (0, 1):
        yield f"features.18.{part}", f"stages.stage4.4.{part}"


STYLES = (
    Style(
        "DFKD Lab's", _stem("stages.stem.0", "stages.stem.1", "head"), "stages.stage{s}.{b}", _parts(USUAL, *DOWNSAMPLE)
    ),
    Style(
        "torchvision's (timm, chenyaofo, mdistiller, huyvnphan)", _stem("conv1", "bn1", "fc"),
        "layer{s}.{b}", _parts(USUAL, *DOWNSAMPLE), may_pool=True,
    ),
    Style(
        "kuangliu's (akamaster, DAFL, CMI)", _stem("conv1", "bn1", "linear"), "layer{s}.{b}", _parts(USUAL, *SHORTCUT)
    ),
    Style(
        "a mixture of torchvision's and kuangliu's",
        _stem("conv1", "bn1", "fc", "linear", "classifier", "head", "logits"),
        "layer{s}.{b}", _parts(USUAL, *DOWNSAMPLE, *SHORTCUT), may_pool=True,
    ),
    Style(
        "weiaicunzai's", _stem("conv1.0", "conv1.1", "fc"), "conv{s}_x.{b}",
        _parts(" ".join(f"residual_function.{at}" for at in (0, 1, 3, 4, 6, 7)), *SHORTCUT), stage=2,
    ),
    Style(
        "D-X-Y's", _stem("conv_1_3x3", "bn_1", "classifier"), "stage_{s}.{b}",
        _parts("conv_a bn_a conv_b bn_b", *DOWNSAMPLE), behind=True,
    ),
    Style(
        "hysts'", _stem("conv", "bn", "fc"), "stage{s}.block{b}",
        _parts(USUAL, "shortcut.conv", "shortcut.bn"), number=1,
    ),
    Style(
        "mmpretrain's", _stem("backbone.conv1", "backbone.bn1", "head.fc"), "backbone.layer{s}.{b}",
        _parts(USUAL, *DOWNSAMPLE),
    ),
    Style(
        "transformers'",
        _stem("resnet.embedder.embedder.convolution", "resnet.embedder.embedder.normalization", "classifier.1"),
        "resnet.encoder.stages.{s}.layers.{b}",
        _parts(
            " ".join(f"layer.{at}.{part}" for at in range(3) for part in ("convolution", "normalization")),
            "shortcut.convolution", "shortcut.normalization",
        ), stage=0,
    ),
    Style(
        "DFKD Lab's",
        {name: name for n in (1, 2, 3) for name in (f"stages.conv{n}.0", f"stages.conv{n}.1")}
        | {"hidden.1": "hidden.1", "head": "head"}, family="LeNet",
    ),
    Style(
        "DAFL's", {f"conv{n}": f"stages.conv{n}.0" for n in (1, 2, 3)} | {"fc1": "hidden.1", "fc2": "head"},
        family="LeNet",
    ),
    Style(
        "CMI's",
        {f"features.{3 * n - 3}": f"stages.conv{n}.0" for n in (1, 2, 3)} | {"fc.0": "hidden.1", "fc.2": "head"},
        family="LeNet",
    ),
    Style(
        "the textbook's",
        {"conv1": "stages.conv1.0", "conv2": "stages.conv2.0", "fc1": "stages.conv3.0"}
        | {"fc2": "hidden.1", "fc3": "head"}, family="LeNet",
    ),
    Style(
        "xternalz's (ZSKT, CMI, mdistiller, HiDFD)", {**_stem("conv1", "bn1", "fc"), "bn1": "stages.stage3.norm"},
        "block{s}.layer.{b}", {**_same("bn1 conv1 bn2 conv2"), "convShortcut": "shortcut"}, family="WideResNet",
    ),
    Style("DFKD Lab's", {"stages.stem.0": "stages.stem.0", "stages.stage3.norm": "stages.stage3.norm", "head": "head"},
          "stages.stage{s}.{b}", _same("bn1 conv1 bn2 conv2 shortcut"), family="WideResNet"),
    *(style for depth in VGG for style in _vggs(depth)),
    Style(
        "mdistiller's (HiDFD)",
        {f"block{s}.{at}": f"stages.stage{s + 1}.{at}" for s in range(5) for at in range(12)} | {"classifier": "head"},
        family="VGG",
    ),
    Style(
        "kuangliu's (mdistiller, HiDFD)", _stem("conv1", "bn1", "linear"), "layer{s}.{b}", _same(USUAL),
        family="ShuffleNet",
    ),
    Style(
        "DFKD Lab's", _stem("stages.stem.0", "stages.stem.1", "head"), "stages.stage{s}.{b}", _same(USUAL),
        family="ShuffleNet",
    ),
    Style(
        "torchvision's (chenyaofo)",
        _stem("conv1.0", "conv1.1", "fc") | {"conv5.0": "stages.stage3.conv", "conv5.1": "stages.stage3.norm"},
        "stage{s}.{b}", _same(BRANCHES), stage=2, family="ShuffleNet",
    ),
    Style(
        "DFKD Lab's",
        _stem("stages.stem.0", "stages.stem.1", "head") | _same("stages.stage3.conv stages.stage3.norm"),
        "stages.stage{s}.{b}", _same(BRANCHES), family="ShuffleNet",
    ),
    Style(
        "mdistiller's (HiDFD)",
        _stem("conv1", "bn1", "linear") | {"conv2": "stages.stage3.conv", "bn2": "stages.stage3.norm"},
        "layer{s}.{b}", _branches(RIGHT, 1), _branches(LEFT, 1) | _branches(RIGHT, 3), family="ShuffleNet",
    ),
    Style(
        "torchvision's (chenyaofo)",
        {"features.0.0": "stages.stem.0", "features.0.1": "stages.stem.1"} | dict(_mobile()) | {"classifier.1": "head"},
        family="MobileNet",
    ),
    Style(
        "DFKD Lab's",
        _stem("stages.stem.0", "stages.stem.1", "head") | {ours: ours for _, ours in _mobile()}, family="MobileNet",
    ),
)  # fmt: skip
"""The more exact ones first: where two know a file's names equally well, it is the first."""
