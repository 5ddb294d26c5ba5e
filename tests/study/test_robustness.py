"""How series compare across teachers and seeds: what failed is counted, and noise is not read as a difference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dfkd_core.study.robustness import compared, paired_interval, places, robustness, stability_of


def row(teacher: str, series: str, seed: int | None, final: float | None, **more: Any) -> dict[str, Any]:
    state = "done" if final is not None else "failed"
    best = None if final is None else final + 0.02
    usual = {"state": state, "best": best, "measure": "accuracy", "of_teacher": 0.98, "problem": "", "run": ""}
    return {"teacher": teacher, "series": series, "seed": seed, "final": final, **usual, **more}


def test_places_have_mean_spread_and_what_failed() -> None:
    rows = [row("a", "x", 0, 0.8), row("a", "x", 1, 0.9), row("a", "x", 2, None, problem="NaN at step 3")]
    rows += [
        row("b", "x", None, None, state="cannot", problem="needs BatchNorm"),
        row("b", "y", 0, None, state="waiting"),
    ]
    one, refused, waiting = places(rows)
    assert (one.n, one.failed, one.mean, one.why) == (2, 1, pytest.approx(0.85), "NaN at step 3")
    assert one.deviation == pytest.approx(0.0707, abs=1e-4) and one.peak == pytest.approx(0.87)
    assert refused.cannot and refused.failed == 0 and refused.mean is None and refused.why == "needs BatchNorm"
    assert waiting.waiting == 1 and not waiting.failed


def test_robustness_is_mean_minimum_and_spread_over_teachers_with_failures_counted() -> None:
    rows = [row("a", "x", 0, 0.9), row("b", "x", 0, 0.5), row("c", "x", 0, None), row("a", "y", 0, 0.7, run="r")]
    rows += [row("b", "y", None, None, state="cannot")]
    rows[0]["seconds"], rows[1]["seconds"] = 10.0, 30.0
    x, y = robustness(rows, {"r": 0.03}, {"r": {"images": 640.0, "queries": 1280.0}})
    assert (x["seconds"], x["images"], y["seconds"], y["queries"]) == (20.0, None, None, 1280.0)
    assert (x["mean"], x["minimum"], x["worst"], x["spread"]) == pytest.approx((0.7, 0.5, "b", 0.4))
    assert (x["n"], x["failed"], x["cannot"], x["teachers"], x["stability"]) == (2, 1, 0, 2, None)
    assert (y["n"], y["failed"], y["cannot"], y["spread"], y["stability"]) == (1, 0, 1, None, 0.03)


def test_of_distances_the_worst_is_the_highest() -> None:
    rows = [row("a", "x", 0, 4.0, measure="fid"), row("b", "x", 0, 9.0, measure="fid")]
    (found,) = robustness(rows)
    assert found["minimum"] == 9.0 and found["worst"] == "b" and found["lower_is_better"] and not found["is_share"]


def test_stability_is_how_far_the_last_scores_lie_below_the_best() -> None:
    assert stability_of([0.2, 0.9, 0.6, 0.8], last=2) == pytest.approx(0.2)
    assert stability_of([0.2, 0.9], last=1) == 0 and stability_of([], last=3) is None
    assert stability_of([9.0, 4.0, 6.0], last=1, lower_is_better=True) == pytest.approx(2.0)


def pairs(differences: list[list[float]]) -> list[dict[str, Any]]:
    """Rows of series x and y whose pairs differ so."""
    rows = []
    for number, of_teacher in enumerate(differences):
        for seed, value in enumerate(of_teacher):
            rows += [row(f"t{number}", "x", seed, 0.5 + value), row(f"t{number}", "y", seed, 0.5)]
    return rows


def test_a_difference_that_all_teachers_share_is_told_and_one_within_noise_is_not() -> None:
    shared = compared(pairs([[0.1, 0.11, 0.09]] * 2 + [[0.12, 0.08, 0.1]] * 3), "x", "y")
    assert shared.clear and shared.low is not None and 0 < shared.low < 0.1 < shared.high  # type: ignore[operator]
    assert (shared.pairs, shared.teachers) == (15, 5) and "10 points" in shared.sentence
    noise = compared(pairs([[0.2, 0.1, 0.0], [-0.1, -0.2, 0.1], [0.3, 0.0, 0.1], [-0.2, 0.1, 0.0]]), "x", "y")
    assert not noise.clear and "holds 0" in noise.sentence
    turned = compared(pairs([[0.1, 0.11, 0.09]] * 4), "y", "x")
    assert turned.difference == pytest.approx(-0.1) and "below" in turned.sentence


def test_of_two_that_still_run_nothing_is_said() -> None:
    rows = pairs([[0.1, 0.11, 0.09]] * 3)
    found = compared([*rows, row("t3", "y", 0, None, state="running")], "x", "y")
    assert found.points and not found.clear
    assert found.sentence == "18 of 19 runs of x and y have ended; the verdict waits for all."
    assert "lies above" in compared([*rows, row("t0", "z", 0, None, state="running")], "x", "y").sentence


def test_too_few_pairs_have_no_interval_and_what_has_no_partner_is_counted() -> None:
    few = compared(pairs([[0.3], [0.4]]), "x", "y")
    assert few.low is None and not few.clear and "too few" in few.sentence
    rows = [*pairs([[0.1], [0.1], [0.1]]), row("t0", "x", 9, 0.7), row("t1", "y", 9, None)]
    assert compared(rows, "x", "y").left_out == 1, "what failed has no score that could be left out"
    rows = [row("t", "x", seed, 0.7) for seed in range(3)] + [row("t", "y", 0, 0.6), row("t", "y", 1, None)]
    assert compared(rows, "x", "y").left_out == 2
    assert compared([row("a", "x", 0, 0.5), row("b", "y", 0, 0.5)], "x", "y").difference is None


def test_where_nothing_differs_the_interval_hardly_ever_says_so() -> None:
    """Coverage at nominal 95 %, over teachers and seeds, and over the seeds of two teachers."""
    random = np.random.default_rng(1)
    for teachers, seeds in ((5, 3), (3, 3), (2, 5)):
        wrong = 0
        for _ in range(200):
            own = random.normal(0, 0.03 * (teachers > 2), (teachers, 1)) + random.normal(0, 0.02, (teachers, seeds))
            _, low, high = paired_interval(own.tolist())
            assert low is not None and high is not None
            wrong += low > 0 or high < 0
        assert wrong <= 24, (teachers, seeds, wrong)
