"""The script of a lesson: a TOML file, shipped with the lab or written by a lecturer. Does not import torch."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from dfkd_core.errors import RequestError, StoreError, complaints
from dfkd_core.store import is_plain, runs_folder
from dfkd_core.study import studies_in
from pages.ui import link, recordings

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
PANELS = {  # that a stop can frame, by the names that the scripts of these pages give them
    "distill": ("accuracy", "samples", "judged", "course", "classes", "losses", "shares"),
    "inspect": ("judged", "classes", "images", "map", "audit"),
    "hybrid": (
        "histogram", "few", "pairs", "sure", "frequencies", "discriminator-terms", "generator-terms", "health",
        "spread", "inflation", "bound", "accuracy", "batch", "loss",
    ),
    "generative": (
        "same", "quality", "again", "between", "levels", "terms", "film", "guidance", "made", "nearest", "table",
    ),
}  # fmt: skip
MOST_BYTES = 1 << 20
MOST_MISTAKES = 6  # that are told at once
MOST_LETTERS = 50_000  # of a text, which is sent to every window that shows it
Text = Annotated[str, StringConstraints(strip_whitespace=True, max_length=MOST_LETTERS)]


class Stop(BaseModel):
    """``say``: what the class reads; ``notes``: what the lecturer says; ``ask``: questions for the class.

    ``page`` with ``address`` is what is shown beside it: ``run`` or ``study`` and what else the page's own links say.
    ``panel``: the one of that page's ``PANELS`` that is framed and scrolled to.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: Text
    page: PAGES = "distill"
    address: dict[str, str | int | float] = {}
    say: Text = ""
    notes: Text = ""
    ask: tuple[Text, ...] = ()
    minutes: float = Field(1.0, gt=0, le=600)
    panel: str = ""

    @field_validator("panel")
    @classmethod
    def _of_its_page(cls, panel: str, said: ValidationInfo) -> str:
        page = said.data.get("page")  # none where that is wrong itself
        known = PANELS.get(page or "", ())
        if panel and page and panel not in known:
            raise ValueError(f"should be one of {', '.join(known)}" if known else f"the page {page} has none to frame")
        return panel

    @property
    def query(self) -> dict[str, str]:
        return {name: str(value) for name, value in self.address.items()}


class Lesson(BaseModel):
    """Stops in their order. ``about`` is one sentence for whoever chooses a lesson."""

    model_config = ConfigDict(extra="forbid", frozen=True, title="a lesson")

    title: Text
    about: Text = ""
    stops: tuple[Stop, ...] = Field(alias="stop", max_length=100)

    @field_validator("stops")
    @classmethod
    def _some(cls, stops: tuple[Stop, ...]) -> tuple[Stop, ...]:
        if not stops:  # ``min_length`` counts those only with which nothing is wrong
            raise ValueError("should have at least one")
        return stops

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
    """Raises ``RequestError`` with what is wrong with which line or fields of the file."""
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
        raise RequestError("lesson", path.name, _told(error)) from None
    except (OSError, ValueError, RecursionError) as error:  # what is no TOML, no text, or nested without end
        raise RequestError("lesson", path.name, f"cannot be read ({error}).") from None


def _told(error: ValidationError) -> str:
    """What is wrong, with the stops counted as their cards are."""
    found = complaints(error, field="field")
    told = [re.sub(r"^stop\.(\d+)\.?", lambda stop: f"stop {int(stop[1]) + 1} ", str(one)) for one in found]
    more = f" And {len(told) - MOST_MISTAKES} more." if len(told) > MOST_MISTAKES else ""
    return " ".join(told[:MOST_MISTAKES]) + more


def missing(lesson: Lesson) -> list[str]:
    """What its stops show and this machine has not, a sentence each."""
    studies = {study.id for folder in (recordings.FOLDER, runs_folder()) for study in studies_in(folder)}
    found = ((number, _missing(stop, studies)) for number, stop in enumerate(lesson.stops, 1))
    return [f"stop {number} ({lesson.stops[number - 1].title}): {what}." for number, what in found if what]


def _missing(stop: Stop, studies: Collection[str]) -> str:
    query = stop.query
    if study := query.get("study"):
        return "" if study in studies else f"there is no study {study}"
    if not (run := query.get("run")):
        return ""
    if (folder := recordings.run(run)) is None:
        return f"there is no run {run}"
    try:
        steps = folder.status().total_steps
    except StoreError as error:
        return str(error)
    step = link.fraction(query.get("step", "0"))
    return "" if step is not None and step <= steps else f"{run} has no step {query['step']}; it has {steps}"
