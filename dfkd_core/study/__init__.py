"""Studies: questions that take many runs. A study is a folder, and a conductor carries it out.

Each kind of study is one file, with a subclass of ``contract.Kind``. Importing this package and all of its modules does
not import torch, so that a page can show studies at once; making one does.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from functools import cache
from typing import Any

from dfkd_core.errors import RequestError
from dfkd_core.study.conductor import Conductor, take_up_left
from dfkd_core.study.contract import Kind, Request
from dfkd_core.study.folder import (
    Cell,
    CellState,
    Kept,
    Progress,
    Record,
    Study,
    find_cell,
    find_study,
    studies_in,
    studies_with,
    unreadable_in,
)

__all__ = [
    "Cell",
    "CellState",
    "Conductor",
    "Kind",
    "Progress",
    "Record",
    "Request",
    "Study",
    "available",
    "find",
    "find_cell",
    "find_study",
    "studies_in",
    "studies_with",
    "take_up_left",
    "unreadable_in",
]


@cache
def available() -> dict[str, Kind[Any]]:
    """Every kind of study by its name, in alphabetical order."""
    found: dict[str, Kind[Any]] = {}
    for module in pkgutil.iter_modules(__path__):
        for item in vars(importlib.import_module(f"{__name__}.{module.name}")).values():
            if inspect.isclass(item) and issubclass(item, Kind) and not inspect.isabstract(item):
                found[item.name] = item()
    return dict(sorted(found.items()))


def find(name: str) -> Kind[Any]:
    """The kind of study ``name``. Raises ``RequestError`` for an unknown one."""
    kinds = available()
    if name not in kinds:
        raise RequestError("study", name, f"should be one of {', '.join(kinds)}.")
    return kinds[name]


def _kept(name: str) -> Kept:
    kinds = available()
    return kinds[name].kept if name in kinds else Kept()


Study.kept = _kept
