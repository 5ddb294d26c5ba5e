"""How much is known of a teacher: all of it, or only what a program does with images. No torch."""

from __future__ import annotations

from typing import Literal, get_args

Known = Literal["answers", "gradients", "inside"]
"""From least to most: logits; their gradients at the images as well; feature maps, weights, BatchNorm statistics."""

PROGRAMS: dict[str, Known] = {"onnx": "answers", "torch-export": "gradients"}
"""What stands for a network on the card of a teacher that is a program, and what is known of it then."""
ENDINGS = {"onnx": ".onnx", "torch-export": ".pt2"}
TITLES = {"onnx": "ONNX program", "torch-export": "torch.export program"}
OF_PROGRAM: dict[Known, str] = {
    "answers": "of this teacher, an ONNX program, only the answers are known",
    "gradients": "of this teacher, a torch.export program, only answers and their gradients are known",
}


def enough(known: Known, asked: Known) -> bool:
    """Whether ``known`` holds what is ``asked`` for."""
    order = get_args(Known)
    return order.index(known) >= order.index(asked)


def of_network(name: str) -> Known:
    """What is known of the network that a card names."""
    return PROGRAMS.get(name, "inside")
