"""What people save weights in: a file becomes names of tensors, none of which is read yet.

Formats are told by their first bytes, not by their names: safetensors, torch's ZIP and its older format. Pickles in
them are read as data. A tensor's numbers are read when they are asked for, and only those: so it is the weights taken
that have to fit into memory, not the file.
"""

from __future__ import annotations

import io
import math
import zipfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from dfkd_core.networks.weights import WeightsError, open_file, safetensors_header
from dfkd_core.teachers.otherwise import what_else
from dfkd_core.teachers.pickles import Call, Kept, Name, PickleError, read_pickle

if TYPE_CHECKING:
    from torch import Tensor

MAX_PICKLE_BYTES = 64 << 20
MAX_DIRECTORY_BYTES = 4 << 20  # of a ZIP: 50,000 entries
MAX_DEPTH, MAX_NAME = 6, 200  # of keys that lead to the weights
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
HALF = "it is incomplete, half a download: fetch it again"

ITEM_BYTES = {
    "float64": 8, "float32": 4, "float16": 2, "bfloat16": 2, "int64": 8, "int32": 4, "int16": 2, "int8": 1, "uint8": 1,
    "bool": 1,
}  # fmt: skip
DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32",
    "I16": "int16", "I8": "int8", "U8": "uint8", "BOOL": "bool", "Double": "float64", "Float": "float32",
    "Half": "float16", "BFloat16": "bfloat16", "Long": "int64", "Int": "int32", "Short": "int16", "Char": "int8",
    "Byte": "uint8", "Bool": "bool",
}  # fmt: skip
"""torch's names of number formats by those of safetensors, and by those of torch's storages."""

Read = Callable[[int, int], bytes]
"""Bytes of a storage, from where and how many. Raises ``WeightsError`` where they are not there."""


@dataclass(frozen=True)
class Held:
    """A tensor in a file. ``first``: its first element within the storage; ``stride`` in elements, as torch's."""

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    first: int
    dtype: str
    bytes_of: Read

    def viewed(self, shape: tuple[int, ...]) -> Held:
        """The same numbers in another shape, where they lie in order and are as many; else as it is."""
        if len(shape) == len(self.shape) or math.prod(shape) != math.prod(self.shape):
            return self
        return replace(self, shape=shape, stride=_contiguous(shape)) if self.stride == _contiguous(self.shape) else self

    def read(self) -> Tensor:
        """The numbers. Raises ``WeightsError`` if they are not there, or scattered over more than twice their room."""
        import torch

        dtype, item = getattr(torch, self.dtype), ITEM_BYTES[self.dtype]
        last = sum((side - 1) * step for side, step in zip(self.shape, self.stride, strict=True))
        if 0 in self.shape:
            return torch.zeros(self.shape, dtype=dtype)
        if last >= 2 * math.prod(self.shape):
            raise WeightsError("its numbers are scattered over the file")
        data = bytearray(self.bytes_of(self.first * item, (last + 1) * item))
        return torch.frombuffer(data, dtype=dtype).as_strided(self.shape, self.stride).clone()


Parts = Mapping[str, Mapping[str, Held]]
"""What a file holds: the keys that lead to a dictionary of tensors, joined by dots, and its tensors by name."""


@contextmanager
def opened(path: Path) -> Iterator[Parts]:
    """All dictionaries of tensors in a file. Raises ``WeightsError``, also for what is no file of weights, saying what
    it is instead."""
    with open_file(path) as file:
        start = file.read(1 << 16)
        file.seek(0)
        if start[:4] == b"PK\x03\x04":
            yield _from_zip(file)
        elif start[5:9] == b"\0\0\0{":  # behind the length of the header
            yield {"": _from_safetensors(file)}
        elif start[:1] == b"\x80":
            yield _from_stream(file)
        else:
            raise WeightsError(what_else(start, path))


# --- formats ---------------------------------------------------------------------------------------------------


def _from_safetensors(file: BinaryIO) -> dict[str, Held]:
    entries, start, size = safetensors_header(file)
    found = {}
    for name, entry in entries.items():
        shape, dtype, (begin, end) = tuple(entry["shape"]), entry["dtype"], entry["data_offsets"]
        if start + end > size:
            raise WeightsError(HALF)
        if dtype in DTYPES and _is_legible(name):
            found[name] = Held(shape, _contiguous(shape), 0, DTYPES[dtype], _range(file, start + begin, end - begin))
    return found


def _from_zip(file: BinaryIO) -> Parts:
    """torch's own format: a pickle, and an entry for each storage."""
    wary = _Wary(file)
    try:
        archive = zipfile.ZipFile(wary)
        wary.most = MAX_PICKLE_BYTES
        entries = {entry.filename: entry for entry in archive.infolist()}
        name = next((name for name in entries if name.rpartition("/")[2] == "data.pkl"), None)
        root = (name or "").removesuffix("data.pkl")
        if name is None or f"{root}constants.pkl" in entries:
            raise WeightsError(what_else(b"PK", Path(), entries))
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries.values()):
            raise WeightsError("it is compressed: unpack it and save it with torch.save")
        if entries[name].file_size > MAX_PICKLE_BYTES:
            raise WeightsError(f"it has more than {MAX_PICKLE_BYTES >> 20} MB beside the tensors")
        order = entries.get(f"{root}byteorder")
        if order is not None and order.file_size < 16 and archive.read(order) == b"big":
            raise WeightsError("it was saved on a big-endian machine: save it as safetensors there")
        tree = read_pickle(io.BytesIO(archive.read(name)))
    except (zipfile.BadZipFile, EOFError, NotImplementedError, OSError) as error:
        raise WeightsError(HALF if isinstance(error, EOFError | zipfile.BadZipFile) else str(error)) from None
    except PickleError as error:
        raise WeightsError(f"its list of tensors is damaged: {error}") from None

    def storage(key: str) -> Read:
        def read(start: int, count: int) -> bytes:
            try:
                with archive.open(f"{root}data/{key}") as stream:
                    stream.seek(start)
                    data = stream.read(count)
            except (KeyError, zipfile.BadZipFile, EOFError, ValueError, NotImplementedError, RuntimeError):
                raise WeightsError("it is damaged or incomplete: fetch it again") from None
            return _whole(data, count)

        return read

    return _parts(tree, storage)


def _from_stream(file: BinaryIO) -> Parts:
    """torch's format until 1.5: five pickles, then the storages, each behind its number of elements."""
    stream, kept = io.BytesIO(file.read(MAX_PICKLE_BYTES)), list[Kept]()
    try:
        if read_pickle(stream) != LEGACY_MAGIC:
            raise WeightsError("it is a plain pickle, which may hold anything: save it with torch.save")
        _, about, tree, keys = (read_pickle(stream, kept) for _ in range(4))
    except PickleError:
        raise WeightsError("it is a damaged or incomplete file of torch 1.5 or older") from None
    if not isinstance(about, dict) or not isinstance(keys, list) or about.get("little_endian") is not True:
        raise WeightsError("it was saved on a big-endian machine: save it as safetensors there")
    item = {key: ITEM_BYTES[dtype] for key, dtype in map(_storage, kept) if dtype}
    at, end, where = stream.tell(), file.seek(0, io.SEEK_END), {}
    for key in keys:
        if key not in item or at >= end:
            raise WeightsError(HALF)
        file.seek(at)
        size = int.from_bytes(file.read(8), "little") * item[key]
        where[key] = at + 8, size
        at += 8 + size

    return _parts(tree, lambda key: _range(file, *where.get(key, (0, 0))))


def _range(file: BinaryIO, begin: int, size: int) -> Read:
    """Reads the storage of ``size`` bytes at ``begin``."""

    def read(start: int, count: int) -> bytes:
        if start + count > size:
            raise WeightsError("it announces elements that are not there")
        file.seek(begin + start)
        return _whole(file.read(count), count)

    return read


def _whole(data: bytes, count: int) -> bytes:
    if len(data) < count:
        raise WeightsError("it announces elements that are not there: damaged, or half a download")
    return data


class _Wary:
    """A file for ``ZipFile``, which would read a directory at once however long it says that it is."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.most = file, MAX_DIRECTORY_BYTES
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, count: int = -1) -> bytes:
        if count > self.most:
            raise zipfile.BadZipFile
        return self.file.read(count)


# --- from what a pickle says -----------------------------------------------------------------------------------


def _parts(tree: Any, bytes_of: Callable[[str], Read]) -> Parts:
    """Every dictionary of tensors within ``tree``, those nearest to its root first."""
    found: dict[str, dict[str, Held]] = {}
    queue = deque[tuple[tuple[str, ...], Any]]([((), tree)])
    seen, networks = set[int](), list[str]()
    while queue:
        path, node = queue.popleft()
        if id(node) in seen or len(path) > MAX_DEPTH:
            continue
        seen.add(id(node))
        if isinstance(node, Call) and isinstance(node.state, dict) and "_modules" in node.state:
            networks.append(node.of.name if isinstance(node.of, Name) and _is_legible(node.of.name) else "…")
            continue
        for key, value in _items(node):
            if isinstance(key, str) and not _is_legible(key):
                continue
            held = _held(value, bytes_of)
            if held is None:
                queue.append(((*path, str(key)), value))
            elif isinstance(key, str):
                found.setdefault(".".join(path), {})[key] = held
    if networks and not found:
        raise WeightsError(
            f"it holds a whole network, of the class {networks[0]}, and code is never run: save its weights, "
            "torch.save(network.state_dict(), FILE)"
        )
    return found


def _items(node: Any) -> Iterable[tuple[Any, Any]]:
    if isinstance(node, Call):
        return [*node.items.items(), *(node.state.items() if isinstance(node.state, dict) else ())]
    if isinstance(node, dict):
        return node.items()
    return enumerate(node) if isinstance(node, list | tuple) else ()


def _held(value: Any, bytes_of: Callable[[str], Read]) -> Held | None:
    """The tensor that ``value`` stands for; None where it is none, or of numbers that no weight has."""
    for _ in range(4):  # a parameter is made of a tensor, and a subclass of either
        if not isinstance(value, Call) or not isinstance(value.of, Name) or not isinstance(value.arguments, tuple):
            return None
        match value.of.name, value.arguments:
            case "torch._utils._rebuild_parameter" | "torch._utils._rebuild_parameter_with_state", (tensor, *_):
                value = tensor
            case "torch._tensor._rebuild_from_type_v2", (made_by, _, arguments, *_):
                value = Call(made_by, arguments)
            case "torch._utils._rebuild_tensor" | "torch._utils._rebuild_tensor_v2", (
                storage,
                first,
                shape,
                stride,
                *_,
            ):
                key, dtype = _storage(storage)
                sizes = (first, *shape, *stride) if isinstance(shape, tuple) and isinstance(stride, tuple) else (None,)
                if not dtype or len(shape) != len(stride) or not all(isinstance(n, int) and n >= 0 for n in sizes):
                    return None
                return Held(shape, stride, first, dtype, bytes_of(key))
            case _:
                return None
    return None


def _storage(kept: Any) -> tuple[str, str]:
    """Key and number format of a storage; empty where there is none that could be read."""
    match kept:
        case Kept(("storage", Name(kind), str(key), *_)):
            return key, DTYPES.get(kind.rpartition(".")[2].removesuffix("Storage"), "")
    return "", ""


def _is_legible(name: str) -> bool:
    """Whether a name may be shown; weights have no others."""
    return len(name) <= MAX_NAME and name.isprintable()


def _contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
