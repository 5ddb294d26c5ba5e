"""Where runs execute. Every engine calls the same ``run``."""

from dfkd_core.engine.base import Engine, runs_folder
from dfkd_core.engine.inline import InlineEngine
from dfkd_core.engine.local import LocalEngine

__all__ = ["Engine", "InlineEngine", "LocalEngine", "runs_folder"]
