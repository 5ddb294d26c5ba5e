"""A program that somebody brings: of which kind it is, and what it does with images, which is tried."""

from __future__ import annotations

import hashlib
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from dfkd_core.images import ImageSpec
from dfkd_core.networks.classifiers import freeze
from dfkd_core.networks.known import ENDINGS, TITLES
from dfkd_core.networks.program import MAX_BYTES, Program, first_line
from dfkd_core.networks.weights import WeightsError, open_file, read_file
from dfkd_core.teachers.taken import Taken
from dfkd_core.teachers.trusted import HOW_TO_TRUST, trust

LEAST_SIDE = 4  # of a teacher's images, in pixels: what is less is a number of channels
ONES = 1e-3  # from which sums of probabilities may differ


class Shape(NamedTuple):
    """``size`` is None where it takes any."""

    channels: int
    size: int | None
    classes: int


def program_kind(path: Path) -> str:
    """Which of ``PROGRAMS`` a file holds; empty for anything else. Raises ``WeightsError`` if it cannot be opened."""
    with open_file(path) as file:
        start = file.read(64)
        if path.suffix.lower() == ENDINGS["onnx"] or start[:1] == b"\x08" and (b"pytorch" in start or b"onnx" in start):
            return "onnx"
        with suppress(zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
            inside = zipfile.ZipFile(file).namelist() if start[:2] == b"PK" else []
            if any(name.endswith("models/model.json") for name in inside):
                return "torch-export"
    return ""


def opened_program(path: Path, kind: str, trusted: bool) -> tuple[Program, bytes]:
    """The program in the file, and its bytes. Raises ``WeightsError``; for a program of ``torch.export`` that is not
    ``trusted``, without opening it."""
    data = read_file(path, MAX_BYTES)
    if kind == "torch-export":
        if not trusted:
            raise WeightsError(f"it is a program of torch.export, which is code: {HOW_TO_TRUST}")
        trust(hashlib.sha256(data).hexdigest())
    program = Program(kind)
    program.open(data)
    freeze(program)
    return program, data


def tried(program: Program, said: Taken, usual: ImageSpec | None, size: int) -> Shape:
    """What it takes and gives, as it says itself or as is ``said`` of it, else as is usual. Raises ``WeightsError``
    where it does not do with that what a teacher has to."""
    sides = program.takes
    if len(sides) != 4:
        raise WeightsError(f"it takes inputs of {len(sides)} dimensions; a teacher takes images, (B, C, H, W)")
    if sides[0] is not None:
        raise WeightsError(f"it takes {sides[0]} images at once, no more and no fewer: export it for any number (B)")
    if sides[3] is not None and sides[3] < LEAST_SIDE:
        shape = ", ".join("any" if side is None else str(side) for side in sides[1:])
        raise WeightsError(f"it takes images of ({shape}), their channels last; it should take (B, C, H, W)")
    channels = sides[1] or said.channels or (usual.channels if usual else 3)
    side = sides[2] or said.size or size
    if sides[3] not in (None, side):
        raise WeightsError(f"it takes images of {side} × {sides[3]}; a teacher's are square")
    logits = _answers(program, torch.rand(2, channels, side, side, requires_grad=program.known != "answers"))
    return Shape(channels, sides[2], logits.shape[1])


def _answers(program: Program, images: Tensor) -> Tensor:
    """(2, K). Raises ``WeightsError`` where they are not logits, or have no gradient though they should."""
    shape = "×".join(map(str, images.shape[1:]))
    try:
        logits = program(images)
    except Exception as error:  # whatever is in the program
        raise WeightsError(f"it fails with images of {shape} ({first_line(error)})") from None
    if logits.ndim != 2 or len(logits) != 2 or logits.shape[1] < 2 or not logits.is_floating_point():
        raise WeightsError(f"it makes {tuple(logits.shape)} of two images of {shape}; a teacher gives logits, (B, K)")
    sums = logits.detach().sum(dim=1)
    if (logits >= 0).all() and ((sums - 1).abs() < ONES).all():
        raise WeightsError("its answers are probabilities; a teacher gives logits: export it without its softmax")
    if images.requires_grad and not logits.requires_grad:
        raise WeightsError("its answers have no gradient: export it outside of torch.no_grad")
    return logits


def origin_of(program: Program, data: bytes) -> str:
    """Where a teacher comes from, in a few words."""
    return f"{TITLES[program.kind]}, {len(data) / 1e6:,.1f} MB"
