"""Curves of several seeds as one with a band."""

from __future__ import annotations

import numpy as np
import pytest

from dfkd_core.analysis.bands import band, smoothed
from dfkd_core.analysis.timeline import Curve


def test_a_band_covers_what_all_seeds_have() -> None:
    """Worked out by hand; the second is taken as straight at step 2."""
    found = band([Curve([1, 2, 3], [0.0, 1.0, 2.0]), Curve([1, 3, 5], [2.0, 4.0, 9.0]), Curve()])
    assert found.steps.tolist() == [1, 2, 3] and found.seeds == 2
    assert found.mean.tolist() == [1.0, 2.0, 3.0]
    assert found.low.tolist() == [0.0, 1.0, 2.0] and found.high.tolist() == [2.0, 3.0, 4.0]


@pytest.mark.parametrize("curves", [[], [Curve()], [Curve([1, 2], [0.0, 1.0]), Curve([5, 6], [0.0, 1.0])]])
def test_without_common_steps_it_is_empty(curves: list[Curve]) -> None:
    assert len(band(curves).steps) == 0


def test_smoothing_keeps_a_constant_and_weighs_the_last_most() -> None:
    assert np.allclose(smoothed([3.0] * 5, 0.9), 3.0) and smoothed([0.0, 1.0], 0.0).tolist() == [0.0, 1.0]
    assert smoothed([0.0, 1.0], 0.5).tolist() == [0.0, pytest.approx(2 / 3)]
