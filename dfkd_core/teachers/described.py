"""In words, which network has these names and shapes: also those that the lab does not have."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from dfkd_core.teachers.styles import STYLES, Style

Shapes = Mapping[str, tuple[int, ...]]

OTHERS = (
    (r"cls_token|patch_embed|class_token|blocks\.\d+\.attn", "a vision transformer"),
    (r"denseblock|dense\d\.\d", "a DenseNet"),
    (r"_conv_stem|conv_stem|_blocks\.\d", "an EfficientNet"),
    (r"ShuffleNet|branch\d+\.\d|stage\d\.\d+\.branch", "a ShuffleNet or GoogLeNet"),
    (r"features\.\d+\.conv\.|features\.\d+\.block\.|layers\.\d+\.conv3\.", "a MobileNet"),
    (r"downsample_layers|dwconv", "a ConvNeXt"),
    (r"Mixed_|inception", "an Inception network"),
    (r"\.fire|squeeze\.weight|expand3x3", "a SqueezeNet"),
    (r"deconv|conv_blocks\.\d|\.l1\.", "a generator of images"),
    (r"down_blocks|up_blocks|mid_block", "a U-Net of diffusers"),
    (r"encoder\.layer|embeddings\.word", "a network for text"),
)
"""Names that give a network away. Networks whose depth is told from their names are not among them."""
VGG = {8: 11, 10: 13, 13: 16, 16: 19}  # convolutions -> layers


def described(shapes: Shapes) -> str:
    """What a network with these tensors is called; empty where one cannot tell."""
    found = _wide(shapes) or _vgg(shapes)
    for style in STYLES:
        if not found and style.is_residual:
            found = next((told for prefix in style.prefixes(shapes) if (told := residual(shapes, prefix, style))), "")
    return found or next((words for mark, words in OTHERS if any(re.search(mark, name) for name in shapes)), "")


def residual(shapes: Shapes, prefix: str, style: Style) -> str:
    """The same of a residual network whose names are of ``style``, behind ``prefix``."""
    names = {name.removeprefix(prefix): shape for name, shape in shapes.items() if name.startswith(prefix)}
    places = [place for name in names if (place := style.place(name.rpartition(".")[0]))]
    blocks, parts = {place[:2] for place in places}, {place[2] for place in places}
    if not blocks:
        return ""
    third = ("conv3", "residual_function.6", "layer.2.convolution", "conv_c")
    bottlenecks = any(part.startswith(third) for part in parts)
    heads = [names.get(f"{layer}.weight", ()) for layer, ours in style.layers.items() if ours == "head"]
    head = next(filter(None, heads), ())
    stem = names[f"{next(iter(style.layers))}.weight"]
    said = [f"a ResNet-{len(blocks) * (3 if bottlenecks else 2) + 2}"]
    if len(stem) == 4 and len(head) == 2:
        said[0] += f" from {stem[0]} to {head[1]} channels"
    said += ["bottlenecks"] * bottlenecks
    said += [f"a {stem[-1]}×{stem[-1]} stem"] * (len(stem) == 4 and stem[-1] != 3)
    said += ["squeeze-and-excitation"] * any(part.startswith("se.") for part in parts)
    said += ["shortcuts without weights (option A)"] * (not any(part.startswith(("down", "short")) for part in parts))
    return said[0] + (" with " + ", ".join(said[1:]) if said[1:] else "")


def _wide(shapes: Shapes) -> str:
    """WideResNets as in xternalz, ZSKT and CMI; the width is that of the last BatchNorm over 64."""
    found = [re.search(r"block(\d)\.layer\.(\d+)\.conv1\.weight$", name) for name in shapes]
    blocks = {(block[1], block[2]) for block in found if block}
    widths = [shape[0] for name, shape in shapes.items() if re.search(r"block3\.layer\.0\.conv1\.weight$", name)]
    return f"a WideResNet-{2 * len(blocks) + 4}-{widths[0] // 64}" if blocks and widths else ""


def _vgg(shapes: Shapes) -> str:
    layers = [shape for name, shape in shapes.items() if re.search(r"(^|\.)features\.\d+\.weight$", name)]
    convolutions = sum(len(shape) == 4 for shape in layers)
    if convolutions not in VGG:
        return ""
    return f"a VGG-{VGG[convolutions]}{_with_norm(shapes)}"


def _with_norm(names: Iterable[str]) -> str:
    return " with BatchNorm" if any(name.endswith("running_mean") for name in names) else ""
