"""What a classifier does on its test images beside being right: how sure it is, and of which class. No torch.

It lies beside the teachers, in a file for each that was measured, and holds for the very weights that were. Those that
ship are measured.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from dfkd_core.errors import RequestError, StoreError
from dfkd_core.store import Place
from dfkd_core.teachers.cards import SHIPPED, TeacherCard, user_folder

MEASURED = ".measured"
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]


class Bin(BaseModel):
    """The images whose answer was given with a confidence in one interval: how many, how sure on average, how many of
    them right."""

    model_config = ConfigDict(extra="forbid")

    count: Count
    confidence: Share
    accuracy: Share


class Measured(BaseModel):
    """``ece``: the expected calibration error, the mean gap between confidence and accuracy of the bins, weighed by
    their images; ``nll``: nats an image; ``confusion``: a row for each true class."""

    model_config = ConfigDict(extra="forbid")

    sha256: str
    images: Count
    accuracy: Share
    confidence: Share
    ece: Share
    nll: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    bins: list[Bin]
    confusion: list[list[Count]]

    def per_class(self) -> list[float | None]:
        """The share of each class's images that it is right about; None of a class without images."""
        return [row[label] / sum(row) if sum(row) else None for label, row in enumerate(self.confusion)]


_MEASURED = TypeAdapter(Measured)


def _place(folder: Path | None) -> Place:
    return Place((folder or user_folder()) / MEASURED)


def measured(card: TeacherCard, folder: Path | None = None) -> Measured | None:
    """What was measured of these weights, here or before they shipped; None where nothing readable was."""
    for place in (_place(folder), _place(SHIPPED)):
        try:
            found = place.read_json(f"{card.name}.json", _MEASURED)
        except StoreError:
            continue
        if found is not None and found.sha256 == card.sha256:
            return found
    return None


def keep(card: TeacherCard, found: Measured, folder: Path | None = None) -> None:
    """Raises ``RequestError`` where the folder cannot be written to."""
    place = _place(folder)
    try:
        place.path.mkdir(parents=True, exist_ok=True)
        place.write_json(f"{card.name}.json", found.model_dump(), durable=False)
    except OSError as error:
        raise RequestError("DFKD_TEACHERS", str(place.path), f"cannot be written to ({error.strerror}).") from None
