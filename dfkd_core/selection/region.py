"""Two Gaussians over losses and what they accept, without torch: pages ask as well as training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

Numbers = Sequence[float] | np.ndarray


def posterior(values: np.ndarray, weights: Numbers, means: Numbers, variances: Numbers) -> np.ndarray:
    """P(component of the lower mean | value), (N,), of two components; the log-odds are quadratic in the value."""
    low, high = np.argsort(means)
    near, far = (quadratic(weights[index], means[index], variances[index]) for index in (low, high))
    return sigmoid(np.polyval([a - b for a, b in zip(near, far, strict=True)], values))


def quadratic(weight: float, mean: float, variance: float) -> list[float]:
    """Coefficients of [v², v, 1] in log(weight · N(v | mean, variance))."""
    constant = math.log(max(weight, 1e-300)) - 0.5 * (mean * mean / variance + math.log(2 * math.pi * variance))
    return [-0.5 / variance, mean / variance, constant]


def sigmoid(values: np.ndarray) -> np.ndarray:
    return 0.5 + 0.5 * np.tanh(0.5 * values)  # never overflows


def accepted_region(summary: dict[str, Any], threshold: float, points: int = 2001) -> list[tuple[float, float]]:
    """The intervals of scaled loss, within [0, 1], whose posterior exceeds ``threshold``.

    There can be two boundaries: with unequal variances the wide component also wins *below* the narrow one, and
    then the most confident samples of all are rejected.
    """
    grid = np.linspace(0.0, 1.0, points)
    variances = np.square(summary["deviations"])
    inside = posterior(grid, summary["weights"], summary["means"], variances) > threshold
    edges = np.flatnonzero(np.diff(np.concatenate([[False], inside, [False]]).astype(int)))
    return [(float(grid[start]), float(grid[end - 1])) for start, end in zip(edges[::2], edges[1::2], strict=True)]
