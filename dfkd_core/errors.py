"""What can go wrong, each in one sentence that a user can act on."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

M = TypeVar("M", bound=BaseModel)


class RequestError(ValueError):
    """A request that cannot be carried out: the field, its value, and what would be right."""

    def __init__(self, field: str, value: Any, expected: str) -> None:
        self.field, self.value, self.expected = field, value, expected
        super().__init__(f"{field}{_shown(value)}: {expected}")


UNSAID = object()
"""The value of a field that is missing, or of a whole file: what else stands in it may be nobody's business."""
LONGEST = 200  # characters of a value that are quoted


def _shown(value: Any) -> str:
    if value is UNSAID:
        return ""
    quoted = repr(value)
    return f" = {quoted}" if len(quoted) <= LONGEST else f" = {quoted[:LONGEST]}…"


class NonFiniteError(RuntimeError):
    """A loss term became NaN or infinite.

    Attributes: ``step``, ``term`` (its name), ``value``, and ``last`` (the last finite value of every term).
    """

    def __init__(self, step: int, term: str, value: float, last: dict[str, float]) -> None:
        self.step, self.term, self.value, self.last = step, term, value, last
        seen = ", ".join(f"{name} {number:.4g}" for name, number in last.items()) or "none yet"
        super().__init__(f"{term} became {value} at step {step}; last finite values: {seen}")


class StoreError(RuntimeError):
    """A run folder, or one of its files, is missing, damaged or not what it should be."""


class DamagedError(StoreError):
    """A file of a run's folder is not as it was written, or holds what it cannot hold."""


class HeldError(StoreError):
    """Another process carries it out."""


class SupersededError(StoreError):
    """A later attempt has begun: this one has nothing more to write."""


NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


def capitalised(text: str) -> str:
    """As a sentence begins; the rest as it is."""
    return text[:1].upper() + text[1:]


def in_words(error: Exception) -> str:
    """What went wrong, for people; of the disk, what is to be done about it."""
    if not isinstance(error, OSError):
        return str(error)
    where = Path(str(error.filename)).absolute() if error.filename is not None else Path.cwd()
    if error.errno not in NO_ROOM:
        return f"{error.filename or 'the disk'}: {error.strerror or error}"
    if _has_no_files_left(where):
        return "The disk has room for bytes, but for no more files (its inodes are used up): delete some files"
    return "The disk is full: make room"


def _has_no_files_left(where: Path) -> bool:
    try:
        place = next(folder for folder in (where, *where.parents) if folder.exists())
        disk = os.statvfs(place)
    except (OSError, StopIteration):
        return False
    return disk.f_files > 0 and disk.f_favail == 0 and disk.f_bavail > 0


def explain(error: ValidationError, within: str = "") -> RequestError:
    """Turn pydantic's first complaint into a ``RequestError``; its field is one of ``within``."""
    return complaints(error, within)[0]


def complaints(error: ValidationError, within: str = "", field: str = "knob") -> list[RequestError]:
    """All of them; ``field``: what a field is called there."""
    return [_complaint(one, f"there is no such {field} in {error.title}.", within) for one in error.errors()]


def _complaint(one: ErrorDetails, unknown: str, within: str) -> RequestError:
    if isinstance(said := one.get("ctx", {}).get("error"), RequestError):
        return said
    place = (within, *one["loc"]) if within else one["loc"]
    field = ".".join(str(part) for part in place) or "request"
    if one["type"] == "extra_forbidden":
        return RequestError(field, UNSAID, unknown)
    message = one["msg"].removeprefix("Value error, ")
    message = message.replace("Input should be", "should be")
    whole = one["type"] == "missing" or not one["loc"] or isinstance(one["input"], dict | list | bytes)
    value = UNSAID if whole else one["input"]
    return RequestError(field, value, message[:1].lower() + message[1:] + ".")


def validated(model: type[M], values: dict[str, Any]) -> M:
    """A ``model`` of ``values``. Raises ``RequestError`` with pydantic's first complaint."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise explain(error) from None
