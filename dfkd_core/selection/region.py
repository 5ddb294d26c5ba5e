"""Which losses the mixture accepts, without torch: pages ask as well as training."""

from __future__ import annotations

from typing import Any

import numpy as np


def accepted_region(summary: dict[str, Any], threshold: float, points: int = 2001) -> list[tuple[float, float]]:
    """The intervals of scaled loss, within [0, 1], whose posterior exceeds ``threshold``.

    There can be two boundaries: with unequal variances the wide component also wins *below* the narrow one, and
    then the most confident samples of all are rejected.
    """
    grid = np.linspace(0.0, 1.0, points)
    weights, means, deviations = (np.asarray(summary[key])[:, None] for key in ("weights", "means", "deviations"))
    joint = np.log(weights + 1e-300) - np.log(deviations) - 0.5 * ((grid - means) / deviations) ** 2
    inside = 1.0 / (1.0 + np.exp(np.clip(joint[1] - joint[0], -700, 700))) > threshold
    edges = np.flatnonzero(np.diff(np.concatenate([[False], inside, [False]]).astype(int)))
    return [(float(grid[start]), float(grid[end - 1])) for start, end in zip(edges[::2], edges[1::2], strict=True)]
