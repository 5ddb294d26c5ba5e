"""What ``measure`` and ``distance`` leave in a run's folder. Does not import torch."""

from __future__ import annotations

from typing import Any

from dfkd_core.errors import StoreError
from dfkd_core.store import RunFolder
from dfkd_core.store.atomic import read_json

MEASURED, GENERATED = "analysis/measured.json", "analysis/generated"  # the second is a stem: PNG and NPZ
DISTANCE = "analysis/distance.json"


def read_figures(folder: RunFolder) -> dict[str, Any]:
    """What was measured of the run last. Raises ``StoreError`` if nothing readable is there."""
    figures = read_json(folder.path / MEASURED)
    if not isinstance(figures, dict):
        raise StoreError(f"run {folder.id} was not measured yet")
    return figures
