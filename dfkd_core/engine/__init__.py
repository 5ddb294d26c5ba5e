"""Where runs execute. Every engine calls the same ``run``; ``find`` makes the one that was asked for."""

from __future__ import annotations

import os
from pathlib import Path

from dfkd_core.engine.base import Engine
from dfkd_core.engine.inline import InlineEngine
from dfkd_core.engine.local import LocalEngine, usual_slots
from dfkd_core.errors import RequestError

VARIABLE = "DFKD_ENGINE"
EXPECTED = (
    "should be local (a worker process for each run), local:N (N runs at once on each device), ray (a cluster), "
    "ray:HOST:PORT (that cluster), or inline (in the process that asks)."
)


def find(name: str, runs: Path, usual: str = "local") -> Engine:
    """The engine called ``name``, over the folder ``runs``; empty: what ``DFKD_ENGINE`` says, else the ``usual`` one.

    Raises ``RequestError`` for a name that is none, or an engine that is not to be had here. Imports neither torch nor
    ray before a run needs them.
    """
    field = "engine" if name else VARIABLE
    name = name or os.environ.get(VARIABLE, "") or usual
    kind, _, rest = name.partition(":")
    if kind == "inline" and not rest:
        return InlineEngine(runs)
    if kind == "local" and (not rest or (rest.isascii() and rest.isdecimal() and int(rest))):
        return LocalEngine(runs, slots=int(rest or 1))
    if kind == "ray" and (not rest or rest.rpartition(":")[0]):
        from dfkd_core.engine.ray import RayEngine

        return RayEngine(runs, rest)
    raise RequestError(field, name, EXPECTED)
