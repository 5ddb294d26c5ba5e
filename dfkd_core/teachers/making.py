"""A teacher in the making: its card, and how far its training is, in a folder beside the teachers. No torch."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from dfkd_core.errors import RequestError, StoreError
from dfkd_core.store import Place, is_plain
from dfkd_core.teachers.cards import TeacherCard, is_taken

MAKING = ".making"
CARD, CURVE = "card.json", "curve.json"
Finite = Annotated[float, Field(allow_inf_nan=False)]


class Trained(BaseModel):
    """Of each epoch so far its mean loss, and where test images are at hand the accuracy on some of them."""

    model_config = ConfigDict(extra="forbid")

    epochs: int
    loss: list[Finite] = []
    accuracy: list[Finite | None] = []


_TRAINED = TypeAdapter(Trained)


def place_of(name: str, folder: Path) -> Place:
    """Where the teacher ``name`` of ``folder`` is in the making."""
    return Place(folder / MAKING / name, f"teacher {name}")


def in_the_making(folder: Path) -> list[str]:
    """Names of those whose training was begun, in alphabetical order."""
    return Place(folder).names(MAKING)


def begin(card: TeacherCard, folder: Path) -> Path:
    """Write down what is to be trained; returns the path of the card for ``teacher train``. Raises ``RequestError`` for
    a name that is taken, and where the folder cannot be written to."""
    if is_taken(card.name, folder):
        raise RequestError("name", card.name, "is taken by another teacher; choose a new one.")
    place = place_of(card.name, folder)
    try:
        place.path.mkdir(parents=True, exist_ok=True)
        place.write(CARD, card.model_copy(update={"sha256": "", "accuracy": None}).model_dump_json(indent=1).encode())
        place.remove(CURVE)
    except OSError as error:
        raise RequestError("DFKD_TEACHERS", str(folder), f"cannot be written to ({error.strerror}).") from None
    return place.path / CARD


def keep(name: str, folder: Path, trained: Trained) -> None:
    """Write down how far it is."""
    place = place_of(name, folder)
    place.path.mkdir(parents=True, exist_ok=True)
    place.write_json(CURVE, trained.model_dump(), durable=False)


def trained(name: str, folder: Path) -> Trained | None:
    """How far it is; None before its first epoch."""
    try:
        return place_of(name, folder).read_json(CURVE, _TRAINED)
    except StoreError:
        return None


def put_away(name: str, folder: Path) -> None:
    """Forget how it was trained; the teacher itself stays."""
    if is_plain(name):
        shutil.rmtree(place_of(name, folder).path, ignore_errors=True)
