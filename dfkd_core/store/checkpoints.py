"""Checkpoints that survive a kill at any byte: safetensors, with a JSON file written last that makes it valid.

The JSON holds the state's structure (tensors replaced by their keys), the step, and the SHA-256 of both and of the
tensors' file: a flipped bit loads silently from safetensors and JSON alike, the hash does not match.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from dfkd_core.store.atomic import read_json, write_atomic, write_json
from dfkd_core.store.folder import RunFolder

KEPT = 2


def save_checkpoint(folder: RunFolder, step: int, state: dict[str, Any]) -> None:
    """Store ``state`` (nested dicts, lists, tuples, numbers, strings, None, tensors) as of ``step``."""
    tensors: dict[str, Tensor] = {}
    structure = _take_apart(state, "", tensors)
    data = save(tensors)
    stem = folder.path / "checkpoints" / f"step-{step:08d}"
    write_atomic(stem.with_suffix(".safetensors"), data)
    mark = {"step": step, "state": structure}
    write_json(stem.with_suffix(".json"), {**mark, "sha256": _digest(mark, data)})
    _tidy(folder, stem.name)


def _tidy(folder: RunFolder, newest: str) -> None:
    """Keep the last two. Later ones were damaged, or the run would have begun there; a kill leaves halves behind."""
    kept = [mark.stem for mark in _marks(folder) if mark.stem <= newest][-KEPT:]
    for path in (folder.path / "checkpoints").iterdir():
        if path.stem not in kept:
            path.unlink(missing_ok=True)


def load_checkpoint(folder: RunFolder) -> tuple[int, dict[str, Any]] | None:
    """Step and state of the newest checkpoint that is whole; None if there is none."""
    for mark in reversed(_marks(folder)):
        stored = read_json(mark)
        tensors_file = mark.with_suffix(".safetensors")
        if not isinstance(stored, dict) or not tensors_file.exists():
            continue
        data, digest = tensors_file.read_bytes(), stored.pop("sha256", None)
        if _digest(stored, data) == digest:
            return stored["step"], _put_together(stored["state"], load(data))
    return None


def _digest(mark: dict[str, Any], data: bytes) -> str:
    return hashlib.sha256(json.dumps(mark, sort_keys=True).encode() + data).hexdigest()


def _marks(folder: RunFolder) -> list[Path]:
    return sorted((folder.path / "checkpoints").glob("step-*.json"))


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
