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
    assert stability_of([0.3, 0.6, 0.9], last=3) == pytest.approx(0.3), "one that still rises has a value too"
    assert stability_of([9.0, 4.0, 6.0], last=1, lower_is_better=True) == pytest.approx(2.0)


def pairs(differences: list[list[float]]) -> list[dict[str, Any]]:
    """Rows of series x and y whose pairs differ so."""
    rows = []
    for number, of_teacher in enumerate(differences):
        for seed, value in enumerate(of_teacher):
            rows += [row(f"t{number}", "x", seed, 0.5 + value), row(f"t{number}", "y", seed, 0.5)]
    return rows


SHARED = [[0.1, 0.11, 0.09], [0.12, 0.09, 0.12], [0.08, 0.1, 0.09], [0.1, 0.1, 0.1]]


def test_a_difference_that_all_teachers_share_is_told_and_one_within_noise_is_not() -> None:
    shared = compared(pairs(SHARED), "x", "y")
    assert shared.clear and (shared.low, shared.high) == pytest.approx((0.0870, 0.1130), abs=1e-4)
    assert (shared.pairs, shared.teachers) == (12, 4)
    assert "x lies above y by 10 points, interval [8.7, 11.3]" in shared.sentence
    noise = compared(pairs([[0.2, 0.1, 0.0], [-0.1, -0.2, 0.1], [0.3, 0.0, 0.1], [-0.2, 0.1, 0.0]]), "x", "y")
    assert not noise.clear and "holds 0" in noise.sentence
    turned = compared(pairs(SHARED), "y", "x")
    assert turned.difference == pytest.approx(-0.1) and "below" in turned.sentence


def test_of_two_that_still_run_nothing_is_said() -> None:
    rows = pairs(SHARED[:3])
    found = compared([*rows, row("t3", "y", 0, None, state="running")], "x", "y")
    assert found.points and not found.clear
    assert found.sentence == "18 of 19 runs of x and y have ended; the verdict waits for all."
    assert "lies above" in compared([*rows, row("t0", "z", 0, None, state="running")], "x", "y").sentence


def test_too_few_pairs_have_no_interval_and_what_has_no_partner_is_counted() -> None:
    few = compared(pairs([[0.3], [0.4]]), "x", "y")
    assert few.low is None and not few.clear and "too few" in few.sentence and "alike" not in few.sentence
    rows = [*pairs([[0.1], [0.1], [0.1]]), row("t0", "x", 9, 0.7), row("t1", "y", 9, None)]
    assert compared(rows, "x", "y").left_out == 1, "what failed has no score that could be left out"
    rows = [row("t", "x", seed, 0.7) for seed in range(3)] + [row("t", "y", 0, 0.6), row("t", "y", 1, None)]
    assert compared(rows, "x", "y").left_out == 2
    assert compared([row("a", "x", 0, 0.5), row("b", "y", 0, 0.5)], "x", "y").difference is None


@pytest.mark.parametrize(
    ("seeds", "of_teachers", "of_seeds"),
    [
        ((3, 3, 3), 0.0, (0.02,)),  # seeds alone make the teachers' means differ
        ((5, 5, 5), 0.03, (0.004, 0.015, 0.08)),
        ((1, 3, 1, 2, 3), 0.03, (0.02,)),
        ((3, 3), 0.0, (0.02,)),
        ((3, 3), 0.0, (0.02, 0.1)),
        ((2, 5), 0.0, (0.02,)),
        ((5, 3), 0.0, (0.1, 0.02)),
        ((3,), 0.0, (0.02,)),
    ],
)
def test_the_interval_holds_the_true_difference_as_often_as_it_says(
    seeds: tuple[int, ...], of_teachers: float, of_seeds: tuple[float, ...]
) -> None:
    """Coverage at nominal 95 %: too narrow an interval tells noise, too wide a one hides differences."""
    random, draws, held = np.random.default_rng(1), 1000, 0
    for _ in range(draws):
        differences = [
            (random.normal(0, of_teachers) + random.normal(0, deviation, count)).tolist()
            for count, deviation in zip(seeds, of_seeds * len(seeds), strict=False)
        ]
        _, low, high = paired_interval(differences)
        assert low is not None and high is not None
        held += low <= 0 <= high
    assert 0.92 * draws <= held <= 0.98 * draws


def test_of_fewer_than_three_teachers_each_needs_two_pairs() -> None:
    for differences in ([[0.1], [0.2, 0.1, 0.3]], [[0.1]]):
        mean, low, high = paired_interval(differences)
        assert mean is not None and low is None and high is None
    assert paired_interval([[0.1], [0.2], [0.4]])[1] is not None, "of three the teachers tell"


def test_pairs_that_are_all_alike_tell_no_interval() -> None:
    """But for the rounding of float32 scores."""
    for differences in ([[0.1, 0.1 + 1e-8, 0.1]], [[0.1, 0.1]] * 2, [[0.1]] * 4):
        found = compared(pairs(differences), "x", "y")
        assert found.low is None and not found.clear and "all pairs alike, too few to tell" in found.sentence
