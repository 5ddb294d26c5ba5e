"""Bringing weights in tests: into the test's own folder of teachers, from a file or from what becomes one."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from repositories import State, saved
from safetensors.torch import load, load_file, save

from dfkd_core.errors import RequestError
from dfkd_core.teachers.bring import import_weights
from dfkd_core.teachers.cards import SHIPPED, TeacherCard, find_card, user_folder

NO_DATA = "cifar10"  # is not on the disk that tests have


def shipped() -> State:
    """Of a teacher of digits, which is right for 98.66 % of its images."""
    return load_file(SHIPPED / "digits-resnet8-adam.safetensors")


def bring(value: object, benchmark: str = "digits", network: str = "", **more: Any) -> TeacherCard:
    """Bring a file, bytes of one or a value to save as the teacher ``mine``, in place of the one before."""
    folder = user_folder()
    for path in folder.glob("mine.*"):
        path.unlink()
    path = value if isinstance(value, Path) else folder.parent / "weights.pt"
    if not isinstance(value, Path):
        path.write_bytes(value if isinstance(value, bytes) else saved(value))
    return import_weights(path, network, benchmark, "mine", folder, **more)


def write_card(**changes: Any) -> None:
    """A perfect classifier of digits called ``mine``, of which there is the card only."""
    card = find_card("digits-resnet8-adam")[0].model_copy(update={"name": "mine", "accuracy": 1.0, **changes})
    user_folder().mkdir(exist_ok=True)
    (user_folder() / "mine.json").write_text(card.model_dump_json())


def own_copy(name: str, other: bool = False, **changes: Any) -> None:
    """A shipped network as ``mine``, its card with ``changes``; ``other``: with other weights."""
    data = (SHIPPED / f"{name}.safetensors").read_bytes()
    if other:
        data = save({key: tensor + 0.01 for key, tensor in load(data).items()})
    changes |= {"name": "mine", "sha256": hashlib.sha256(data).hexdigest()}
    user_folder().mkdir(exist_ok=True)
    (user_folder() / "mine.safetensors").write_bytes(data)
    (user_folder() / "mine.json").write_text(find_card(name)[0].model_copy(update=changes).model_dump_json())


def refused(value: object, *arguments: Any, field: str = "weights", **more: Any) -> str:
    """The sentence with which it is refused; nothing is left of it."""
    with pytest.raises(RequestError) as caught:
        bring(value, *arguments, **more)
    assert caught.value.field == field, caught.value
    assert not list(user_folder().glob("*"))
    return str(caught.value)
