"""How public repositories call the layers of the networks that we have, as tables; names are mapped by what they say,
never by the order of shapes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property


@dataclass(frozen=True)
class Style:
    """``layers``: their name of a layer -> ours; the first of them sees the image. ``block``: how a residual block is
    called, with its stage ``{s}``, from ``stage`` on, and its number ``{b}``, from ``number`` on; ``parts``: the layers
    in it. What weights do not show: whether a max-pool ``may`` follow a 3×3 stem, and whether option A's zeros stand
    ``behind``."""

    name: str
    layers: Mapping[str, str]
    block: str = ""
    parts: Mapping[str, str] = field(default_factory=dict)
    stage: int = 1
    number: int = 0
    may_pool: bool = False
    behind: bool = False

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
        if place is None or place[2] not in self.parts:
            return None
        return f"stages.stage{place[0]}.{place[1]}.{self.parts[place[2]]}.{tensor}"

    def prefixes(self, names: Iterable[str]) -> list[str]:
        """What stands before the style's names, wherever its first layer is found among ``names``."""
        first = f"{next(iter(self.layers))}.weight"
        found = (name.removesuffix(first) for name in names if name.endswith(first))
        return [prefix for prefix in found if not prefix or prefix.endswith(".")]


def _stem(conv: str, norm: str, *heads: str) -> dict[str, str]:
    return {conv: "stages.stem.0", norm: "stages.stem.1", **dict.fromkeys(heads, "head")}


def _parts(names: str, *shortcuts: str) -> dict[str, str]:
    """``names`` of a block's two convolutions, each with the norm behind it; ``shortcuts``: names of its two layers."""
    shortcut = {name: f"downsample.{index % 2}" for index, name in enumerate(shortcuts)}
    return dict(zip(names.split(), ("conv1", "bn1", "conv2", "bn2"), strict=True)) | shortcut


USUAL = "conv1 bn1 conv2 bn2"
DOWNSAMPLE, SHORTCUT = ("downsample.0", "downsample.1"), ("shortcut.0", "shortcut.1")

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
        _parts(" ".join(f"residual_function.{at}" for at in (0, 1, 3, 4)), *SHORTCUT), stage=2,
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
            "layer.0.convolution layer.0.normalization layer.1.convolution layer.1.normalization",
            "shortcut.convolution", "shortcut.normalization",
        ), stage=0,
    ),
    Style(
        "DFKD Lab's",
        {name: name for n in (1, 2, 3) for name in (f"stages.conv{n}.0", f"stages.conv{n}.1")}
        | {"hidden.1": "hidden.1", "head": "head"},
    ),
    Style("DAFL's", {f"conv{n}": f"stages.conv{n}.0" for n in (1, 2, 3)} | {"fc1": "hidden.1", "fc2": "head"}),
    Style(
        "CMI's",
        {f"features.{3 * n - 3}": f"stages.conv{n}.0" for n in (1, 2, 3)} | {"fc.0": "hidden.1", "fc.2": "head"},
    ),
    Style(
        "the textbook's",
        {"conv1": "stages.conv1.0", "conv2": "stages.conv2.0", "fc1": "stages.conv3.0"}
        | {"fc2": "hidden.1", "fc3": "head"},
    ),
)  # fmt: skip
"""The more exact ones first: where two know a file's names equally well, it is the first."""
