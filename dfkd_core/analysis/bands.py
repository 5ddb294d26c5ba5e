"""Several runs of one configuration as one curve with a band. Does not import torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dfkd_core.analysis.timeline import Curve


class Band(NamedTuple):
    """``mean``, ``low`` and ``high`` (least and greatest) over so many ``seeds`` at each of ``steps``, (N,) each."""

    steps: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    seeds: int


def band(curves: Sequence[Curve]) -> Band:
    """Where all of ``curves`` have values, at the steps that any of them has; in between they are taken as straight.

    Without steps that they share the band is empty.
    """
    curves = [curve for curve in curves if curve.steps]
    if not curves:
        none = np.empty(0)
        return Band(none, none, none, none, 0)
    first, last = max(curve.steps[0] for curve in curves), min(curve.steps[-1] for curve in curves)
    steps = np.unique(np.concatenate([curve.steps for curve in curves]))
    steps = steps[(steps >= first) & (steps <= last)]
    values = np.stack([np.interp(steps, curve.steps, curve.values) for curve in curves])
    return Band(steps, values.mean(axis=0), values.min(axis=0), values.max(axis=0), len(curves))


def smoothed(values: Sequence[float], weight: float) -> np.ndarray:
    """The exponential moving average of ``values``, ``weight`` in [0, 1) of what was, without the bias towards its
    start."""
    found, total, scale = np.empty(len(values)), 0.0, 0.0
    for index, value in enumerate(values):
        total, scale = weight * total + (1 - weight) * value, weight * scale + (1 - weight)
        found[index] = total / scale
    return found
