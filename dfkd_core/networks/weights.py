"""Files of weights from anywhere, read with suspicion.

Sizes are capped by what the network can hold, announced elements are held against the bytes that are there, names and
shapes are strict.
"""

from __future__ import annotations

import io
import json
import math
import os
import pickle
import pickletools
import stat
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn

MAX_HEADER_BYTES = 1 << 20  # what a file of weights may need beside the numbers
ITEM_BYTES = {"F64": 8, "F32": 4, "BF16": 2, "F16": 2, "I64": 8}
PICKLED_NAMES = {"collections OrderedDict", "torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_parameter"} | {
    f"torch {kind}Storage" for kind in ("Double", "Float", "Half", "BFloat16", "Long")
}


class WeightsError(ValueError):
    """A file of weights that cannot be used, and why (without a full stop)."""


def read_file(path: Path, limit: int) -> bytes:
    """The file's bytes; a larger one is not read at all, nor is a pipe, which might never end. Raises
    ``WeightsError``."""
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise WeightsError(f"{path} is not a regular file")
            data = file.read(limit + 1)
    except OSError as error:
        raise WeightsError(f"{path} cannot be read ({error.strerror})") from None
    if len(data) > limit:
        raise WeightsError(f"{path} is larger than the {limit:,} bytes that it may have")
    return data


# --- formats ---------------------------------------------------------------------------------------------------


def from_safetensors(data: bytes) -> dict[str, Tensor]:
    """The tensors of a safetensors file, once its header was held against its bytes. Raises ``WeightsError``."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        length = int.from_bytes(data[:8], "little")
        if length > min(MAX_HEADER_BYTES, len(data) - 8):
            raise ValueError("its header is longer than the file")
        header = json.loads(data[8 : 8 + length])
        entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
        for name, entry in entries.items():
            begin, end = entry["data_offsets"]
            if math.prod(entry["shape"]) * ITEM_BYTES[entry["dtype"]] != end - begin or end > len(data) - 8 - length:
                raise ValueError(f"{name} announces elements that are not there")
        return load(data)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, SafetensorError) as error:
        raise WeightsError(f"the safetensors file is damaged: {error}") from None


def from_pt(data: bytes) -> dict[str, Tensor]:
    """The state dict of a ``.pt`` file, never more than ``data`` holds. Raises ``WeightsError``.

    ``weights_only`` keeps code out but not bombs: so entries must be stored as they are, not deflated, the pickle
    may name nothing but tensors (``bytearray`` would pass, of any length), and elements must be there as bytes.
    """
    import torch

    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
                raise WeightsError("the .pt file is compressed; save it with torch.save")
            if sum(entry.file_size for entry in entries) > len(data):
                raise WeightsError("the .pt file announces more bytes than it has")
            pickles = [archive.read(entry) for entry in entries if entry.filename.endswith("data.pkl")]
        opcodes = [(opcode.name, argument) for part in pickles for opcode, argument, _ in pickletools.genops(part)]
        named = {str(argument) for opcode, argument in opcodes if opcode in ("GLOBAL", "STACK_GLOBAL", "INST")}
        if named - PICKLED_NAMES:
            raise WeightsError(f"the .pt file holds more than tensors ({', '.join(sorted(named - PICKLED_NAMES))})")
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except (zipfile.BadZipFile, pickle.UnpicklingError, RuntimeError, ValueError, EOFError, KeyError) as error:
        if isinstance(error, WeightsError):
            raise
        raise WeightsError("it should be a state dict, saved with torch.save(network.state_dict(), …)") from None
    return _plain_tensors(state, len(data))


def _plain_tensors(state: object, held: int) -> dict[str, Tensor]:
    """``state`` as names and tensors whose elements are all there, in storages of at most ``held`` bytes."""
    import torch

    if not isinstance(state, dict) or not all(isinstance(name, str) for name in state):
        raise WeightsError("it should hold a state dict, names to tensors")
    storages = {}
    for name, tensor in state.items():
        if not isinstance(tensor, torch.Tensor) or tensor.layout != torch.strided:
            raise WeightsError(f"{name} should be a tensor")
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes() or sum(storages.values()) > held:
            raise WeightsError(f"{name} announces elements that are not there")
    return {name: tensor.detach() for name, tensor in state.items()}


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
