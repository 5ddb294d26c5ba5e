"""``methods``: what there is to distil by."""

from __future__ import annotations

from dfkd_core.methods.index import listed


def methods() -> int:
    """List the methods."""
    for method in listed():
        presets = ", ".join(method.presets) or "none"
        print(f"{method.name:<12} {method.title}; needs {method.needs}; presets: {presets}; {method.knobs} knobs")
    return 0
