"""What the methods say about themselves, without importing them: they import torch, which takes seconds.

Their facts are kept in the user's cache folder, under a hash of the sources that they come from.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, ValidationError

if TYPE_CHECKING:
    from dfkd_core.kit.method import Method  # imports torch

ROOMS = ("methods", "kit")  # whose sources the facts depend on


class Word(BaseModel):
    """A knob, a group of knobs or a loss term, with a sentence on it; ``also``: its name in a run's log."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    meaning: str
    also: str = ""


class Listed(BaseModel):
    """``needs``: what a method needs beside its teacher, in words; ``knobs``: how many it has; ``words``: what it calls
    its own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    title: str
    needs: str
    presets: list[str]
    knobs: int
    words: list[Word]


class _Kept(BaseModel):
    """The file in the cache folder."""

    model_config = ConfigDict(extra="forbid")

    sources: str
    methods: list[Listed]


def listed() -> list[Listed]:
    """The facts of every method, in the order of ``methods.available()``. Imports torch only if nothing is kept."""
    path, sources = _file(), _sources()
    with suppress(OSError, ValidationError):
        kept = _Kept.model_validate_json(path.read_bytes())
        if kept.sources == sources:
            return kept.methods
    found = list(_found())
    with suppress(OSError):  # nowhere to keep them: the next call finds them again
        _keep(path, _Kept(sources=sources, methods=found))
    return found


def _file() -> Path:
    folder = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(folder).expanduser() / "dfkd-lab" / "methods.json"


def _sources() -> str:
    """SHA-256 over the names and contents of the sources."""
    digest = hashlib.sha256()
    root = Path(__file__).parent.parent
    for room in ROOMS:
        for path in sorted((root / room).glob("*.py")):
            content = path.read_bytes()
            digest.update(f"{room}/{path.name} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def _found() -> Iterator[Listed]:
    methods = importlib.import_module("dfkd_core.methods").available()
    for name, method in methods.items():
        presets, knobs = list(method.Config.presets), len(method.Config.model_fields)
        words = [*_knobs(method), *_terms(method)]
        needs = method.needs()
        yield Listed(name=name, title=method.title, needs=needs, presets=presets, knobs=knobs, words=words)


def _knobs(method: type[Method]) -> Iterator[Word]:
    config = method.Config
    for group, names in config.groups().items():
        members = ", ".join(name.replace("_", " ") for name in names)
        yield Word(name=group.lower(), meaning=f"A group of knobs; those of {method.title}: {members}.")
    for name in config.knobs():
        yield Word(name=name.replace("_", " "), meaning=config.model_fields[name].description or "", also=name)


def _terms(method: type[Method]) -> Iterator[Word]:
    for term in method.terms:
        weight = f", weighed by {term.knob.replace('_', ' ')}" if term.knob else ""
        meaning = f"A term of the loss that {method.title} moves the {term.of} by{weight}."
        yield Word(name=term.title, meaning=meaning, also=term.name)


def _keep(path: Path, kept: _Kept) -> None:
    """Written beside and renamed over, so that it is whole or not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, beside = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(handle, "w") as file:
            file.write(kept.model_dump_json(indent=1))
        os.replace(beside, path)
    except OSError:
        Path(beside).unlink(missing_ok=True)
        raise
