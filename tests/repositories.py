"""Checkpoints as public repositories save them, written down as renamings of our own names (no public code here)."""

from __future__ import annotations

import argparse
import io
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

from dfkd_core.images import ImageSpec
from dfkd_core.networks.classifiers import Classifier, build_classifier

State = dict[str, Tensor]


def some_network(name: str, channels: int = 3, size: int = 32, classes: int = 10, seed: int = 0) -> Classifier:
    """A classifier in eval mode whose tensors are all unlike each other, so that none can be taken for another."""
    torch.manual_seed(seed)
    image = ImageSpec(channels, size, (0.5,) * channels, (0.5,) * channels, tuple(map(str, range(classes))))
    network = build_classifier(name, image).eval()
    for tensor in network.state_dict().values():
        if tensor.is_floating_point() and tensor.ndim != 4:
            tensor.copy_(torch.rand_like(tensor) + 0.5)
    network.head.weight.data -= 1
    return network


# --- layer names -----------------------------------------------------------------------------------------------


def renamed(state: State, *rules: tuple[str, str]) -> State:
    """Every name after all ``rules``, regular expressions, in turn."""
    out = {}
    for name, tensor in state.items():
        for pattern, to in rules:
            name = re.sub(pattern, to, name)
        out[name] = tensor
    return out


STEM = ((r"^stages\.stem\.0", "conv1"), (r"^stages\.stem\.1", "bn1"))
LAYERS = (*STEM, (r"^stages\.stage(\d)", r"layer\1"))
TORCHVISION = (*LAYERS, (r"^head", "fc"))
KUANGLIU = (*LAYERS, (r"^head", "linear"), ("downsample", "shortcut"))


def weiaicunzai(state: State) -> State:
    slots = (("conv1", "0"), ("bn1", "1"), ("conv2", "3"), ("bn2", "4"), ("conv3", "6"), ("bn3", "7"))
    parts = ((rf"(stage\d\.\d+)\.{part}\.", rf"\1.residual_function.{slot}.") for part, slot in slots)
    stages = ((rf"^stages\.stage{number}", f"conv{number + 1}_x") for number in range(1, 5))
    return renamed(
        state, *parts, *stages, (r"^stages\.stem", "conv1"), (r"^head", "fc"), ("downsample", "shortcut")
    )  # fmt: skip


def transformers(state: State) -> State:
    stages = (
        (rf"^stages\.stage{number}\.(\d+)", rf"resnet.encoder.stages.{number - 1}.layers.\1") for number in range(1, 5)
    )
    layers = (
        (rf"\.{kind}{at + 1}\.", f".layer.{at}.{word}.")
        for kind, word in (("conv", "convolution"), ("bn", "normalization"))
        for at in (0, 1, 2)
    )
    return renamed(
        state, *stages, *layers, (r"^stages\.stem\.0", "resnet.embedder.embedder.convolution"),
        (r"^stages\.stem\.1", "resnet.embedder.embedder.normalization"), (r"^head", "classifier.1"),
        (r"downsample\.0", "shortcut.convolution"), (r"downsample\.1", "shortcut.normalization"),
    )  # fmt: skip


def hysts(state: State) -> State:
    blocks = ((rf"^stages\.stage(\d)\.{at}\.", rf"stage\1.block{at + 1}.") for at in range(9))
    return renamed(
        state, *blocks, (r"^stages\.stem\.0", "conv"), (r"^stages\.stem\.1", "bn"), (r"^head", "fc"),
        (r"downsample\.0", "shortcut.conv"), (r"downsample\.1", "shortcut.bn"),
    )  # fmt: skip


D_X_Y = (
    (r"^stages\.stem\.0", "conv_1_3x3"), (r"^stages\.stem\.1", "bn_1"), (r"^stages\.stage(\d)", r"stage_\1"),
    ("conv1", "conv_a"), ("bn1", "bn_a"), ("conv2", "conv_b"), ("bn2", "bn_b"), (r"^head", "classifier"),
)  # fmt: skip
DAFL = ((r"^stages\.(conv\d)\.0", r"\1"), (r"^hidden\.1", "fc1"), (r"^head", "fc2"))
CMI = (
    (r"^stages\.conv1\.0", "features.0"), (r"^stages\.conv2\.0", "features.3"), (r"^stages\.conv3\.0", "features.6"),
    (r"^hidden\.1", "fc.0"), (r"^head", "fc.2"),
)  # fmt: skip


def textbook(state: State) -> State:
    named = renamed(
        state,
        (r"^stages\.conv3\.0", "fc1"),
        (r"^stages\.(conv\d)\.0", r"\1"),
        (r"^hidden\.1", "fc2"),
        (r"^head", "fc3"),
    )
    return named | {"fc1.weight": named["fc1.weight"].flatten(1)}


XTERNALZ = (
    (r"^stages\.stem\.0", "conv1"), (r"^stages\.stage3\.norm", "bn1"), (r"^stages\.stage(\d)", r"block\1.layer"),
    ("shortcut", "convShortcut"), (r"^head", "fc"),
)  # fmt: skip
CHENYAOFO_SHUFFLENET = (
    (r"^stages\.stem", "conv1"), (r"^stages\.stage3\.conv", "conv5.0"), (r"^stages\.stage3\.norm", "conv5.1"),
    (r"^stages\.stage3", "stage4"), (r"^stages\.stage2", "stage3"), (r"^stages\.stage1", "stage2"), (r"^head", "fc"),
)  # fmt: skip


def mdistiller_shufflenet(state: State) -> State:
    """V2, whose first block of a stage counts the layers of both branches, and the others those of the second."""
    rules = [*STEM, (r"^stages\.stage3\.conv", "conv2"), (r"^stages\.stage3\.norm", "bn2"), (r"^head", "linear")]
    slots = {"branch1": (0, 2), "branch2": (0, 3, 5)}
    for block, branches in (("0", ("branch1", "branch2")), (r"[1-9]\d*", ("branch2",))):
        layers = [(branch, at) for branch in branches for at in slots[branch]]
        for number, (branch, at) in enumerate(layers, 1):
            for kind, slot in (("conv", at), ("bn", at + 1)):
                rules.append((rf"^stages\.stage(\d)\.({block})\.{branch}\.{slot}\.", rf"layer\1.\2.{kind}{number}."))
    return renamed(state, *rules)


def mobilenet(state: State) -> State:
    """torchvision's, as one sequence."""
    first = {"1": 1, "2": 4, "3": 7, "4": 14}
    named = {}
    for name, tensor in state.items():
        found = re.match(r"stages\.stage(\d)\.(\d+)\.(.*)", name)
        theirs = f"features.{first[found[1]] + int(found[2])}.{found[3]}" if found else name
        named[theirs] = tensor
    return renamed(named, (r"^stages\.stem", "features.0"), (r"^head", "classifier.1"))


CONVOLUTIONS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
MDISTILLER_VGG = (
    *((rf"^stages\.stage{stage + 1}\.", f"block{stage}.") for stage in range(5)), (r"^head", "classifier"),
)  # fmt: skip


def vgg(depth: int, *classifier: str) -> Callable[[State], State]:
    """Layers in one sequence with a max-pool behind each stage; ``classifier``: names of the last linear layers."""

    def names_of(state: State) -> State:
        rules, begin = [], 0
        for stage, count in enumerate(CONVOLUTIONS[depth], 1):
            for at in range(3 * count):
                rules.append((rf"^stages\.stage{stage}\.{at}\.", f"features.{begin + at}."))
            begin += 3 * count + 1
        ours = ("head",) if len(classifier) == 1 else (r"hidden\.0", r"hidden\.3", "head")
        return renamed(state, *rules, *((rf"^{one}\.", f"{to}.") for one, to in zip(ours, classifier, strict=True)))

    return names_of


def by(*rules: tuple[str, str]) -> Callable[[State], State]:
    return lambda state: renamed(state, *rules)


REPOSITORIES: dict[str, tuple[str, Callable[[State], State]]] = {
    "chenyaofo": ("resnet8", by(*TORCHVISION)),
    "mdistiller": ("resnet20", by(*TORCHVISION)),
    "kuangliu": ("resnet8", by(*KUANGLIU)),
    "akamaster": ("resnet8+option-a", by(*KUANGLIU)),
    "weiaicunzai": ("resnet8", weiaicunzai),
    "D-X-Y": ("resnet8+option-a-behind", by(*D_X_Y)),
    "hysts": ("resnet8", hysts),
    "mmpretrain": ("resnet8", by(*TORCHVISION, ("^fc", "head.fc"), (r"^(?!head)", "backbone."))),
    "transformers": ("resnet8", transformers),
    "DAFL's LeNet-5": ("lenet5", by(*DAFL)),
    "CMI's LeNet-5-half": ("lenet5-half", by(*CMI)),
    "the textbook's LeNet-5": ("lenet5", textbook),
    "mdistiller's ResNet-8×4": ("resnet8x4", by(*TORCHVISION)),
    "xternalz, ZSKT and CMI": ("wrn-16-1", by(*XTERNALZ)),
    "mdistiller's WRN": ("wrn-16-2", by(*XTERNALZ)),
    "kuangliu's ShuffleNet": ("shufflenetv1", by(*LAYERS, (r"^head", "linear"))),
    "mdistiller's ShuffleNet V2": ("shufflenetv2", mdistiller_shufflenet),
    "chenyaofo's ShuffleNet V2": ("shufflenetv2+3x3", by(*CHENYAOFO_SHUFFLENET)),
    "chenyaofo's MobileNet V2": ("mobilenetv2-half", mobilenet),
}
"""A network of ours, and how the repository calls its layers."""

CLASSIFIER = ("classifier.0", "classifier.3", "classifier.6")
LARGE_ONES: dict[str, tuple[str, Callable[[State], State]]] = {
    "torchvision's ResNet-50": ("resnet50+7x7+maxpool", by(*TORCHVISION)),
    "huyvnphan's ResNet-50": ("resnet50", by(*TORCHVISION)),
    "kuangliu's ResNet-50": ("resnet50", by(*KUANGLIU)),
    "weiaicunzai's ResNet-50": ("resnet50", weiaicunzai),
    "transformers' ResNet-50": ("resnet50+7x7+maxpool", transformers),
    "mmpretrain's ResNet-101": (
        "resnet101+7x7+maxpool", by(*TORCHVISION, ("^fc", "head.fc"), (r"^(?!head)", "backbone.")),
    ),
    "torchvision's ResNet-152": ("resnet152+7x7+maxpool", by(*TORCHVISION)),
    "mdistiller's ResNet-110": ("resnet110", by(*TORCHVISION)),
    "SimKD's ResNet-110×2": ("resnet110x2", by(*TORCHVISION)),
    "SimKD's ResNet-116": ("resnet116", by(*TORCHVISION)),
    "mdistiller's WRN-40-2": ("wrn-40-2", by(*XTERNALZ)),
    "torchvision's MobileNet V2": ("mobilenetv2", mobilenet),
    "torchvision's VGG-13": ("vgg13-bn+five-pools+hidden-4096+grid-7", vgg(13, *CLASSIFIER)),
    "huyvnphan's VGG-16": ("vgg16-bn+five-pools+hidden-4096+grid-7", vgg(16, *CLASSIFIER)),
    **{f"kuangliu's VGG-{depth}": (f"vgg{depth}-bn+five-pools", vgg(depth, "classifier")) for depth in CONVOLUTIONS},
    **{f"mdistiller's VGG-{depth}": (f"vgg{depth}-bn", by(*MDISTILLER_VGG)) for depth in CONVOLUTIONS},
    "chenyaofo's VGG-11": ("vgg11-bn+five-pools+hidden-512", vgg(11, *CLASSIFIER)),
    "chenyaofo's VGG-16": ("vgg16-bn+five-pools+hidden-512", vgg(16, *CLASSIFIER)),
    "weiaicunzai's VGG-16": (
        "vgg16-bn+five-pools+hidden-4096", vgg(16, "classifier.0", "classifier.3", "classifier.5"),
    ),
}  # fmt: skip
"""Networks that are told from names and shapes, too, but take too much room to be written in every container."""


# --- containers ------------------------------------------------------------------------------------------------


def saved(value: object, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


def prefixed(state: State, prefix: str) -> State:
    return {prefix + name: tensor for name, tensor in state.items()}


MOMENTS = {
    "state": {0: {"step": torch.tensor(3.0), "exp_avg": torch.rand(4)}},
    "param_groups": [{"lr": 0.1, "params": [0]}],
}

CONTAINERS: dict[str, Callable[[State], bytes]] = {
    "plain": saved,
    "safetensors": lambda state: save({name: tensor.contiguous() for name, tensor in state.items()}),
    "epoch, net, acc": lambda state: saved({"net": prefixed(state, "module."), "acc": np.float64(95.1), "epoch": 199}),
    "args and optimizer": lambda state: saved(
        {"args": argparse.Namespace(lr=0.1), "optimizer": MOMENTS, "model": state, "best_acc": torch.tensor(74.3)}
    ),
    "Lightning": lambda state: saved(
        {"state_dict": prefixed(state, "model."), "hyper_parameters": {"lr": 0.1}, "loops": {"fit_loop": [1, (2, {3})]}}
    ),
    "torch 1.5": lambda state: saved(
        {"state_dict": prefixed(state, "_orig_mod."), "optimizer": MOMENTS}, _use_new_zipfile_serialization=False
    ),
}
PRECISIONS = (torch.float32, torch.float16, torch.bfloat16)
