"""Teachers of which nothing is known but what they do: programs of ONNX, and of ``torch.export``.

ONNX is a graph of known operations and is run by onnxruntime, which has no gradients. A program of ``torch.export`` has
them, and is code: ``torch.export.load`` falls back to unpickling, so that only a file from somebody trusted is opened.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from dfkd_core.networks.base import Classifier, Features
from dfkd_core.networks.execution import Untouched
from dfkd_core.networks.known import PROGRAMS
from dfkd_core.networks.weights import WeightsError

MAX_BYTES = 2 << 30  # of a protobuf, and so of ONNX
BESIDE = b"\n\x08location\x12"  # with which a tensor of ONNX names the file that holds its numbers
Answer = Callable[[Tensor], Tensor]


class Program(Classifier, Untouched):
    """Images to logits. ``features`` has no maps, and the logits for pooled features: they are for pictures only.

    ``kind``: "onnx" or "torch-export". Empty until it was given ``open``'s bytes; then ``takes`` is what it says of the
    shape of its input, None for a side that may be any.
    """

    takes: tuple[int | None, ...] = ()

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.known = kind, PROGRAMS[kind]
        self.stages = nn.ModuleDict()
        self._answer: Answer | None = None

    def open(self, data: bytes) -> None:
        """Read the program. Raises ``WeightsError`` where it cannot be used."""
        self._answer, self.takes = _onnx(data) if self.kind == "onnx" else self._exported(data)

    def forward(self, images: Tensor) -> Tensor:
        if self._answer is None:
            raise RuntimeError("the program was not opened")
        return self._answer(images)

    def features(self, images: Tensor) -> Features:
        logits = self.forward(images)
        return Features(logits, logits, {})

    def train(self, mode: bool = True) -> Program:
        """It has one mode, the one that it was exported in."""
        self.training = mode
        return self

    def _exported(self, data: bytes) -> tuple[Answer, tuple[int | None, ...]]:
        try:
            exported = torch.export.load(io.BytesIO(data))
            program = exported.module()
        except Exception as error:  # whatever a damaged file makes of it
            raise WeightsError(f"torch.export cannot read it ({first_line(error)})") from None
        given = [node.meta["val"] for node in exported.graph.nodes if node.name in exported.graph_signature.user_inputs]
        _alone(len(given))
        self.program = program  # its constants move with the network

        def answer(images: Tensor) -> Tensor:
            return _single(program(images))

        return answer, tuple(side if isinstance(side, int) else None for side in given[0].shape)


def _onnx(data: bytes) -> tuple[Answer, tuple[int | None, ...]]:
    if find_spec("onnxruntime") is None:
        raise WeightsError("it is ONNX, which needs the package onnxruntime: pip install onnxruntime")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4
    # The SHA-256 of a card is that of these bytes alone: no file of the current folder may add to them.
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", os.devnull)
    try:
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # of its own kinds, which have no common base
        if BESIDE in data:
            raise WeightsError("it should hold its weights; export it with external_data=False") from None
        raise WeightsError(f"onnxruntime cannot read it ({first_line(error)})") from None
    given = session.get_inputs()
    _alone(len(given))
    name, gives = given[0].name, session.get_outputs()[0].name

    def answer(images: Tensor) -> Tensor:
        found = session.run([gives], {name: images.detach().float().cpu().contiguous().numpy()})[0]
        return torch.from_numpy(found).to(images.device)

    return answer, tuple(side if isinstance(side, int) else None for side in given[0].shape)


def _alone(inputs: int) -> None:
    if inputs != 1:
        raise WeightsError(f"it takes {inputs} inputs; a teacher takes images alone")


def _single(found: Any) -> Tensor:
    """The logits, which some programs give as the first of several things."""
    while not isinstance(found, Tensor):
        found = next(iter(found.values())) if isinstance(found, dict) else found[0]
    return found


def first_line(error: Exception) -> str:
    """What an error of somebody else's program says, in one line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
