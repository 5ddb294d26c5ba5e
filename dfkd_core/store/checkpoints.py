"""Checkpoints that survive a kill at any byte: safetensors, with a JSON file written last that makes it valid.

The JSON holds the state's structure (tensors replaced by their keys), the step, and the SHA-256 of the tensors' file: a
flipped bit loads silently from safetensors, the hash does not match.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any, NamedTuple

import torch
from safetensors.torch import load, save
from torch import Tensor

from dfkd_core.errors import DamagedError, StoreError
from dfkd_core.store.folder import CHECKPOINTS, KEPT_CHECKPOINTS, MARK, RunFolder

_OURS = re.compile(r"(step-\d{8,})\.(safetensors|json)")
_HALF = re.compile(r"\.step-\d{8,}\.(safetensors|json)\.\w+\.part")  # what a kill leaves


def save_checkpoint(folder: RunFolder, step: int, state: dict[str, Any]) -> None:
    """Store ``state`` (nested dicts, lists, tuples, numbers, strings, None, tensors) as of ``step``."""
    tensors: dict[str, Tensor] = {}
    structure = _take_apart(state, "", tensors)
    data = save(tensors)
    stem = f"step-{step:08d}"
    folder.files.write(f"{CHECKPOINTS}/{stem}.safetensors", data)
    mark = {"step": step, "state": structure, "sha256": hashlib.sha256(data).hexdigest()}
    folder.files.write_json(f"{CHECKPOINTS}/{stem}.json", mark)
    _tidy(folder, stem)


def _tidy(folder: RunFolder, newest: str) -> None:
    """Keep the last two. Later ones were damaged, or the run would have begun there; a kill leaves halves behind. What
    was not made here stays."""
    kept = [stem for stem in _marks(folder) if stem <= newest][-KEPT_CHECKPOINTS:]
    for name in folder.files.names(CHECKPOINTS):
        ours = _OURS.fullmatch(name)
        if _HALF.fullmatch(name) or (ours and ours[1] not in kept):
            folder.files.remove(f"{CHECKPOINTS}/{name}")


class Loaded(NamedTuple):
    """The newest checkpoint that is whole, and of the later ones what is damaged."""

    step: int
    state: dict[str, Any]
    damaged: list[str]


def load_checkpoint(folder: RunFolder) -> Loaded | None:
    """None if there is none. Raises ``DamagedError`` if there are some, but none is whole."""
    damaged: list[str] = []
    for stem in reversed(_marks(folder)):
        try:
            return Loaded(*_load(folder, stem), damaged)
        except StoreError as error:
            damaged.append(str(error).removeprefix(f"{folder.files.title}: "))
    if damaged:
        raise DamagedError(f"{folder.files.title}: {damaged[0]}, and no older checkpoint is whole")
    return None


def _load(folder: RunFolder, stem: str) -> tuple[int, dict[str, Any]]:
    name = f"{CHECKPOINTS}/{stem}.safetensors"
    mark = folder.files.read_json(f"{CHECKPOINTS}/{stem}.json", MARK)
    if mark is None:
        raise DamagedError(f"{folder.files.title}: {CHECKPOINTS}/{stem}.json is gone")
    data = folder.files.read(name, mark["sha256"])
    try:
        return mark["step"], _put_together(mark["state"], load(data))
    except Exception:  # who wrote it knows its own hash: any structure may follow
        raise DamagedError(f"{folder.files.title}: {CHECKPOINTS}/{stem}.json is not the state of {name}") from None


def _marks(folder: RunFolder) -> list[str]:
    """Stems of the checkpoints that were written to the end, in the order of their steps."""
    names = filter(_OURS.fullmatch, folder.files.names(CHECKPOINTS))
    return [name.removesuffix(".json") for name in names if name.endswith(".json")]


def _take_apart(value: Any, key: str, tensors: dict[str, Tensor]) -> Any:
    """JSON keeps neither integer keys (optimizers have them) nor tuples, so containers are tagged lists."""
    if isinstance(value, Tensor):
        key = f"{len(tensors)}{key}"  # paths of different tensors can read alike
        dense = value.detach().to("cpu", memory_format=torch.preserve_format, copy=True)
        tensors[key] = dense.contiguous()
        return {"tensor": key, "stride": dense.stride()}
    if isinstance(value, dict):
        return {"dict": [[name, _take_apart(item, f"{key}/{name}", tensors)] for name, item in value.items()]}
    if isinstance(value, list | tuple):
        items = [_take_apart(item, f"{key}/{index}", tensors) for index, item in enumerate(value)]
        return {"tuple" if isinstance(value, tuple) else "list": items}
    if value is None or isinstance(value, bool | int | float | str):
        return {"value": value}
    raise TypeError(f"state{key}: a checkpoint cannot hold a {type(value).__name__}")


def _put_together(node: dict[str, Any], tensors: dict[str, Tensor]) -> Any:
    (kind, content), *_ = node.items()
    if kind == "tensor":  # in its layout: fused optimizers pair a parameter's and its state's memory, not their indices
        return torch.empty_strided(tensors[content].shape, node["stride"], dtype=tensors[content].dtype).copy_(
            tensors[content]
        )
    if kind == "dict":
        return {name: _put_together(item, tensors) for name, item in content}
    if kind in ("list", "tuple"):
        items = [_put_together(item, tensors) for item in content]
        return tuple(items) if kind == "tuple" else items
    return content
