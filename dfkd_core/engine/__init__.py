"""Where runs execute. Every engine calls the same ``run``."""

from dfkd_core.engine.base import Engine
from dfkd_core.engine.inline import InlineEngine
from dfkd_core.engine.local import LocalEngine
