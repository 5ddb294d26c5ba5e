"""The script of a lesson: a TOML file, shipped with the lab or written by a lecturer. Does not import torch."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from dfkd_core.errors import RequestError, explain
from dfkd_core.store import is_plain

SHIPPED = Path(__file__).parent.parent.parent.parent / "assets" / "lessons"
PAGES = Literal[
    "distill",
    "inspect",
    "hybrid",
    "generative",
    "prior",
    "lessons",
    "studies",
    "runs",
    "methods",
    "teachers",
    "glossary",
]
MOST_BYTES = 1 << 20
MOST_LETTERS = 50_000  # of a text, which is sent to every window that shows it
Text = Annotated[str, StringConstraints(strip_whitespace=True, max_length=MOST_LETTERS)]


class Stop(BaseModel):
    """``say``: what the class reads; ``notes``: what the lecturer says; ``ask``: questions for the class.

    ``page`` with ``address`` is what is shown beside it: ``run`` or ``study`` and what else the page's own links say.
    ``panel``: the one of that page that is framed and scrolled to, by the name that its script gives it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: Text
    page: PAGES = "distill"
    address: dict[str, str | int | float] = {}
    say: Text = ""
    notes: Text = ""
    ask: tuple[Text, ...] = ()
    minutes: float = Field(1.0, gt=0, le=600)
    panel: Annotated[str, StringConstraints(pattern=r"^[a-z-]*$")] = ""

    @property
    def query(self) -> dict[str, str]:
        return {name: str(value) for name, value in self.address.items()}


class Lesson(BaseModel):
    """Stops in their order. ``about`` is one sentence for whoever chooses a lesson."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: Text
    about: Text = ""
    stops: tuple[Stop, ...] = Field(alias="stop", min_length=1, max_length=100)

    @property
    def minutes(self) -> float:
        return sum(stop.minutes for stop in self.stops)


def own_folder() -> Path:
    """Where a lecturer's own lessons lie: ``DFKD_LESSONS``, else ``lessons`` in the current folder."""
    return Path(os.environ.get("DFKD_LESSONS") or "lessons").expanduser()


def names() -> list[str]:
    """Of all lessons, the lecturer's own first."""
    found = [path.stem for folder in (own_folder(), SHIPPED) for path in sorted(folder.glob("*.toml"))]
    return list(dict.fromkeys(found))


def read(name: str) -> Lesson:
    """Raises ``RequestError`` with what is wrong with which line or field of the file."""
    paths = [folder / f"{name}.toml" for folder in (own_folder(), SHIPPED)] if is_plain(name) else []
    path = next((path for path in paths if os.path.isfile(path)), None)  # a name may be too long for one
    if path is None:
        raise RequestError("lesson", name, f"should be one of {', '.join(names())}.")
    try:
        with path.open("rb") as file:
            text = file.read(MOST_BYTES + 1)
        if len(text) > MOST_BYTES:
            raise ValueError(f"it is larger than {MOST_BYTES >> 20} MiB")
        return Lesson.model_validate(tomllib.loads(text.decode()))
    except ValidationError as error:
        raise RequestError("lesson", path.name, str(explain(error))) from None
    except (OSError, ValueError, RecursionError) as error:  # what is no TOML, no text, or nested without end
        raise RequestError("lesson", path.name, f"cannot be read ({error}).") from None
