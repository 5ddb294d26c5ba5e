"""The words of slow motion: titles and captions of the phases that methods name."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Any

from dfkd_core.errors import capitalised


@cache
def _texts() -> dict[str, Any]:
    return tomllib.loads(Path(__file__).with_name("phases.toml").read_text())


def described(method: str, names: list[str]) -> list[dict[str, Any]]:
    """``name``, ``title``, ``caption`` and ``terms`` to look up of each phase; one that has no words yet shows its
    name."""
    texts = _texts()
    own = texts["of"].get(method, {})
    unknown = {"caption": "", "terms": []}
    return [
        {"title": _title(name), **unknown, **(own.get(name) or texts.get(name, {})), "name": name} for name in names
    ]


def idea(selects: bool) -> list[tuple[str, str]]:
    """Title and caption of the three boxes in which data-free distillation is told; ``selects``: of a run that learns
    from clean samples only."""
    told = [one if selects else one | one.get("all", {}) for one in _texts()["idea"]]
    return [(one["title"], one["caption"]) for one in told]


def _title(name: str) -> str:
    return capitalised(name.replace("_", " "))
