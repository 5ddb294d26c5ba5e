"""Files of weights from anywhere, read with suspicion.

Sizes are capped by what the network can hold, announced elements are held against the bytes that are there, names and
shapes are strict.
"""

from __future__ import annotations

import io
import json
import math
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from torch import Tensor, nn

MAX_HEADER_BYTES = 1 << 20  # what a file of weights may need beside the numbers
ITEM_BYTES = {"F64": 8, "F32": 4, "BF16": 2, "F16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}


class WeightsError(ValueError):
    """A file of weights that cannot be used, and why (without a full stop)."""


def open_file(path: Path) -> BinaryIO:
    """The file, to be read; a pipe is not opened, since it might never end. Raises ``WeightsError``."""
    try:
        file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    except OSError as error:
        raise WeightsError(f"{path} cannot be read ({error.strerror})") from None
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise WeightsError(f"{path} is not a regular file")
    return file


def read_file(path: Path, limit: int) -> bytes:
    """The file's bytes; a larger one is not read at all. Raises ``WeightsError``."""
    with open_file(path) as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise WeightsError(f"{path} is larger than the {limit:,} bytes that it may have")
    return data


# --- safetensors -----------------------------------------------------------------------------------------------


def safetensors_header(file: BinaryIO) -> tuple[dict[str, Any], int, int]:
    """What a safetensors file says of each tensor, where their bytes begin, and the file's size.

    Every ``shape`` and ``dtype`` was held against its ``data_offsets``, but not these against the file's size: that
    tells half a file. Raises ``WeightsError``.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    try:
        length = int.from_bytes(file.read(8), "little")
        if length > min(MAX_HEADER_BYTES, size - 8):
            raise ValueError("its header is longer than the file")
        header = json.loads(file.read(length))
        entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
        for name, entry in entries.items():
            begin, end = entry["data_offsets"]
            items = ITEM_BYTES.get(entry["dtype"])
            if not 0 <= begin <= end or not all(isinstance(side, int) and side >= 0 for side in entry["shape"]):
                raise ValueError(f"{name} has no such place")
            if items is not None and math.prod(entry["shape"]) * items != end - begin:
                raise ValueError(f"{name} announces elements that are not there")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise WeightsError(f"the safetensors file is damaged: {error}") from None
    return entries, 8 + length, size


def from_safetensors(data: bytes) -> dict[str, Tensor]:
    """The tensors of a safetensors file, once its header was held against its bytes. Raises ``WeightsError``."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    safetensors_header(io.BytesIO(data))
    try:
        return load(data)
    except (SafetensorError, KeyError) as error:
        raise WeightsError(f"the safetensors file is damaged: {error}") from None


# --- into a network --------------------------------------------------------------------------------------------


def fill(network: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Put ``tensors`` into ``network``. Raises ``WeightsError`` unless names and shapes are exactly its own."""
    own = network.state_dict()
    missing, unknown = sorted(own.keys() - tensors.keys()), sorted(tensors.keys() - own.keys())
    if missing or unknown:
        differ = f"lack {', '.join(missing[:3]) or 'nothing'}, have beyond it {', '.join(unknown[:3]) or 'nothing'}"
        raise WeightsError(f"the weights are not this network's: they {differ}")
    for name, tensor in tensors.items():
        if tensor.shape != own[name].shape:
            shapes = f"{tuple(tensor.shape)}, should be {tuple(own[name].shape)}"
            raise WeightsError(f"the weights are not this network's: {name} is {shapes}")
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise WeightsError(f"{name} holds values that are not finite")
    network.load_state_dict(tensors)
