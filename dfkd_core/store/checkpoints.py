"""Checkpoints that survive a kill at any byte: safetensors, with a JSON file written last that makes it valid.

The JSON holds the state's structure (tensors replaced by their keys), the step, and the SHA-256 of both and of the
tensors' file: a flipped bit loads silently from safetensors and JSON alike, the hash does not match.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from dfkd_core.store.folder import CHECKPOINTS, RunFolder

KEPT = 2
_OURS = re.compile(r"(step-\d{8,})\.(safetensors|json)")
_HALF = re.compile(r"\.step-\d{8,}\.(safetensors|json)\.\w+\.part")  # what a kill leaves


def save_checkpoint(folder: RunFolder, step: int, state: dict[str, Any]) -> None:
    """Store ``state`` (nested dicts, lists, tuples, numbers, strings, None, tensors) as of ``step``."""
    tensors: dict[str, Tensor] = {}
    structure = _take_apart(state, "", tensors)
    data = save(tensors)
    stem = f"step-{step:08d}"
    folder.files.write(f"{CHECKPOINTS}/{stem}.safetensors", data)
    mark = {"step": step, "state": structure}
    folder.files.write_json(f"{CHECKPOINTS}/{stem}.json", {**mark, "sha256": _digest(mark, data)})
    _tidy(folder, stem)


def _tidy(folder: RunFolder, newest: str) -> None:
    """Keep the last two. Later ones were damaged, or the run would have begun there; a kill leaves halves behind. What
    was not made here stays."""
    kept = [stem for stem in _marks(folder) if stem <= newest][-KEPT:]
    for name in folder.files.names(CHECKPOINTS):
        ours = _OURS.fullmatch(name)
        if _HALF.fullmatch(name) or (ours and ours[1] not in kept):
            folder.files.remove(f"{CHECKPOINTS}/{name}")


def load_checkpoint(folder: RunFolder) -> tuple[int, dict[str, Any]] | None:
    """Step and state of the newest checkpoint that is whole; None if there is none."""
    for stem in reversed(_marks(folder)):
        stored, tensors = folder.files.read_json(f"{CHECKPOINTS}/{stem}.json"), f"{CHECKPOINTS}/{stem}.safetensors"
        if not isinstance(stored, dict) or not folder.files.exists(tensors):
            continue
        data, digest = folder.files.read(tensors), stored.pop("sha256", None)
        if _digest(stored, data) == digest:
            return stored["step"], _put_together(stored["state"], load(data))
    return None


def _digest(mark: dict[str, Any], data: bytes) -> str:
    return hashlib.sha256(json.dumps(mark, sort_keys=True).encode() + data).hexdigest()


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
