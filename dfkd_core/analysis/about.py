"""What people say of a run: a name, a group, tags, a note. It lies in the run's folder and goes where that goes."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter

from dfkd_core.errors import DamagedError, RequestError, StoreError, validated
from dfkd_core.store import RunFolder

FILE, PUT_ASIDE = "analysis/about.json", "analysis/about.damaged.json"
LONGEST = 60  # characters of a name, a group and a tag


def _one_line(text: str) -> str:
    if not text.isprintable():
        raise ValueError("should be one line of printable characters")
    return " ".join(text.split())


Word = Annotated[str, Field(max_length=LONGEST), AfterValidator(_one_line)]
Tag = Annotated[Word, Field(min_length=1, pattern="^[^,]+$")]  # a list of tags has commas between


class About(BaseModel):
    """``name`` stands where else the id does; ``group`` is one word that a run shares with others."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Word = ""
    group: Word = ""
    tags: tuple[Tag, ...] = Field(default=(), max_length=20)
    note: str = Field(default="", max_length=5000)


_ABOUT = TypeAdapter(About)
NOTHING = About()


def about(folder: RunFolder) -> About:
    """What is said of a run; nothing where that cannot be read, which ``verify`` names."""
    try:
        return folder.files.read_json(FILE, _ABOUT) or NOTHING
    except StoreError:
        return NOTHING


def say(folder: RunFolder, **said: Any) -> About:
    """Say something else of a run: some of the fields of ``About``. Raises ``RequestError`` for what is too long, and
    where the folder cannot be written to; ``StoreError`` for a link there. A damaged file is kept beside."""
    new = validated(About, about(folder).model_dump() | said)
    try:
        try:
            folder.files.read_json(FILE, _ABOUT)
        except DamagedError:
            folder.files.write(PUT_ASIDE, folder.files.read(FILE))
        folder.files.write_json(FILE, new.model_dump())
    except OSError as error:
        raise RequestError("run", folder.id, f"nothing can be written there ({error.strerror}).") from None
    return new
