"""One file per algorithm. A new file with a subclass of ``kit.method.Method`` is found by itself."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from typing import TYPE_CHECKING

from dfkd_core.errors import RequestError

if TYPE_CHECKING:
    from dfkd_core.kit.method import Method  # imports torch


@cache
def available() -> dict[str, type[Method]]:
    """Every method by its name, TA-DFKD first, the others in alphabetical order."""
    found: dict[str, type[Method]] = {}
    for module in pkgutil.iter_modules(__path__):
        contents = vars(importlib.import_module(f"{__name__}.{module.name}"))
        for item in contents.values():
            if isinstance(item, type) and hasattr(item, "Config") and item.__module__.startswith(__name__):
                found[item.name] = item  # type: ignore[attr-defined]
    return dict(sorted(found.items(), key=lambda item: (item[0] != "ta-dfkd", item[0])))


def find(name: str) -> type[Method]:
    """The method ``name``. Raises ``RequestError`` for an unknown one."""
    methods = available()
    if name not in methods:
        raise RequestError("method", name, f"should be one of {', '.join(methods)}.")
    return methods[name]
