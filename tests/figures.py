"""Made-up figures of generative networks."""

from __future__ import annotations

import math
from typing import Any

from dfkd_core.analysis.measured import GENERATIVE_ROWS
from dfkd_core.study.generative_table import COLUMNS


def network(fid: float, **figures: Any) -> dict[str, Any]:
    """Made-up figures of one network."""
    known = dict.fromkeys([*(column.name for column in COLUMNS), *(name for _, name, _ in GENERATIVE_ROWS)], 1.0)
    about = {"encoder": "teacher", "spread": 0.1, "batch": 16, "repeats": 20, "device": "a processor, 1 thread"}
    return {**known, "fid": fid, "root_fid": math.sqrt(fid), "parameters": 7_000, "elbo": None, **about, **figures}
