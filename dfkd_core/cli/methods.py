"""``methods``: what there is to distil by."""

from __future__ import annotations

from dfkd_core.cli.flags import Json, tell
from dfkd_core.methods.index import listed


def methods(*, as_json: Json = False) -> int:
    """List the methods."""
    for method in listed():
        presets = ", ".join(method.presets) or "none"
        line = f"{method.name:<12} {method.title}; needs {method.needs}; presets: {presets}; {method.knobs} knobs"
        tell(line, as_json, **method.model_dump(exclude={"words"}))
    return 0
