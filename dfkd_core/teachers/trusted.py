"""Programs that somebody here said to trust: opening one of ``torch.export`` can run what its maker wrote."""

from __future__ import annotations

from typing import Literal

from pydantic import TypeAdapter

from dfkd_core.errors import RequestError, StoreError
from dfkd_core.store import Place
from dfkd_core.teachers.cards import user_folder

LIST = ".trusted"  # no card
HOW_TO_TRUST = "if you know who made it, import it with --trust on the command line"
_SUMS = TypeAdapter(dict[Literal["sha256"], list[str]])


def is_trusted(sha256: str) -> bool:
    """Whether the file of this SHA-256 was trusted by whoever owns the folder of teachers."""
    return sha256 in _trusted()


def trust(sha256: str) -> None:
    """From now on. Raises ``RequestError`` where the folder cannot be written to."""
    folder = user_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        Place(folder).write_json(LIST, {"sha256": sorted({*_trusted(), sha256})})
    except OSError as error:
        raise RequestError("DFKD_TEACHERS", str(folder), f"cannot be written to ({error.strerror}).") from None


def _trusted() -> list[str]:
    try:
        return (Place(user_folder()).read_json(LIST, _SUMS) or {}).get("sha256", [])
    except StoreError:
        return []  # a damaged list trusts nobody
