"""The mixture against scikit-learn's, and everything that could make it stumble."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch
from sklearn.mixture import GaussianMixture

from dfkd_core.selection.mixture import Mixture, fit, select, two_means
from dfkd_core.selection.region import accepted_region, posterior

NAN, INF = math.nan, math.inf


def draw_batch(generator: np.random.Generator) -> np.ndarray:
    """Losses of one of many shapes: apart or overlapping, equal or unequal variances, skewed, few or many."""
    count = int(generator.choice([16, 64, 256, 1024]))
    share, gap = generator.uniform(0.05, 0.95), generator.uniform(0, 3)
    narrow, wide = 10 ** generator.uniform(-3, 0, 2)
    first = generator.random(count) < share
    kind = generator.integers(3)
    if kind == 0:
        values = np.where(first, generator.normal(0, narrow, count), generator.normal(gap, wide, count))
    elif kind == 1:
        values = np.where(first, generator.exponential(narrow, count), generator.exponential(gap + wide, count))
    else:
        values = generator.lognormal(0, 3 * wide, count)
    return values - values.min()


def ours_and_sklearns(values: np.ndarray) -> tuple[Mixture, GaussianMixture]:
    start = two_means(values)
    theirs = GaussianMixture(
        n_components=2,
        max_iter=10,
        tol=1e-2,
        reg_covar=5e-4,
        means_init=start.means[:, None],
        weights_init=start.weights,
        precisions_init=1 / start.variances[:, None, None],
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ten iterations may not be enough to converge
        theirs.fit(values[:, None])
    return fit(values, *start), theirs


def test_decisions_agree_with_scikit_learn_on_999_of_1000_samples() -> None:
    generator = np.random.default_rng(0)
    agreeing = total = 0
    for _ in range(200):
        losses = draw_batch(generator)
        values = losses / losses.max()
        ours, theirs = ours_and_sklearns(values)
        probability = theirs.predict_proba(values[:, None])[:, theirs.means_.argmin()]
        agreeing += ((posterior(values, *ours) > 0.5) == (probability > 0.5)).sum()
        total += len(values)
    assert agreeing / total >= 0.999


def test_the_fitted_parameters_are_scikit_learns() -> None:
    generator = np.random.default_rng(1)
    for _ in range(20):
        losses = draw_batch(generator)
        ours, theirs = ours_and_sklearns(losses / losses.max())
        np.testing.assert_allclose(ours.means, theirs.means_[:, 0], rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(ours.weights, theirs.weights_, rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(ours.variances, theirs.covariances_[:, 0, 0], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("count", [2, 3, 10, 57])
def test_two_means_finds_the_best_cut_of_all(count: int) -> None:
    values = np.random.default_rng(count).random(count) ** 2
    ordered = np.sort(values)
    within = [cut.var() * len(cut) + rest.var() * len(rest) for cut, rest in _cuts(ordered)]
    low, high = _cuts(ordered)[int(np.argmin(within))]
    weights, means, variances = two_means(values)
    np.testing.assert_allclose(weights, [len(low) / count, len(high) / count])
    np.testing.assert_allclose(means, [low.mean(), high.mean()])
    np.testing.assert_allclose(variances, np.array([low.var(), high.var()]) + 5e-4, atol=1e-12)


def _cuts(ordered: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(ordered[:place], ordered[place:]) for place in range(1, len(ordered))]


@pytest.mark.parametrize(
    ("losses", "clean"),
    [
        ([], []),
        ([0.7] * 5, [True] * 5),
        ([0.0] * 4, [True] * 4),
        ([1.0], [True]),
        ([1.0, 2.0], [True, False]),
        ([1.0, 1.0], [True, True]),
        ([NAN], [False]),
        ([NAN] * 4, [False] * 4),
        ([INF, -INF], [False, False]),
        ([0.5, NAN], [True, False]),
        ([0.1, 0.1, INF, NAN], [True, True, False, False]),
        ([0.1, 0.1, 0.1, 9.0, NAN], [True, True, True, False, False]),
        ([1e-30, 1e-30, 1e30], [True, True, False]),
    ],
)
def test_odd_batches_are_decided_without_nan(losses: list[float], clean: list[bool]) -> None:
    verdict = select(torch.tensor(losses), 0.5)
    assert verdict.clean.tolist() == clean
    assert verdict.posterior.isfinite().all() and verdict.scaled.isfinite().all()
    numbers = [value for part in verdict.summary().values() for value in np.ravel(part)]
    assert all(math.isfinite(number) for number in numbers)
    labelled = select(torch.tensor(losses), 0.5, torch.zeros(len(losses), dtype=torch.int64))
    assert labelled.clean.tolist() == torch.tensor(losses).isfinite().tolist(), "so few of a class are all kept"


def test_a_spread_of_rounding_is_no_spread() -> None:
    ulp = np.nextafter(np.float32(1), np.float32(2))
    assert select(torch.tensor([1.0, float(ulp), 1.0, 1.0]), 0.5).clean.all()


def test_with_labels_no_class_is_too_small_to_be_kept() -> None:
    losses = torch.cat([torch.linspace(0, 0.1, 20), torch.tensor([5.0, 6.0, float("nan")])])
    labels = torch.tensor([0] * 20 + [1] * 3)
    verdict = select(losses, 0.5, labels)
    assert verdict.clean[20:].tolist() == [True, True, False] and not verdict.usable


def test_mixtures_of_classes_claim_no_region_of_the_batch() -> None:
    losses, labels = torch.linspace(0.5, 4, 64), torch.arange(64) % 4
    summary = select(losses, 0.5, labels).summary()
    assert summary["by_class"] and not summary["usable"] and summary["region"] == []
    assert (summary["low"], summary["high"]) == (0.5, 4)
    alike = select(torch.full((4,), 0.5), 0.5).summary()
    assert not alike["by_class"] and alike["region"] == [(0, 1)] and alike["low"] == alike["high"] == 0.5


def test_random_batches_with_holes_never_give_nan() -> None:
    generator = np.random.default_rng(2)
    for _ in range(100):
        losses = draw_batch(generator)
        losses[generator.random(len(losses)) < generator.random()] = generator.choice([NAN, INF, -INF])
        verdict = select(torch.from_numpy(losses), 0.5)
        assert verdict.posterior.isfinite().all() and not verdict.clean[~np.isfinite(losses)].any()
        assert np.isfinite(verdict.mixture).all()


def test_samples_that_are_not_finite_do_not_move_the_fit() -> None:
    losses = torch.from_numpy(draw_batch(np.random.default_rng(3)))
    alone, with_holes = select(losses, 0.5), select(torch.cat([losses, torch.tensor([NAN, INF])]), 0.5)
    np.testing.assert_allclose(with_holes.mixture.means, alone.mixture.means)
    assert torch.equal(with_holes.clean[:-2], alone.clean)


def test_the_verdict_does_not_depend_on_scale_and_offset() -> None:
    losses = torch.from_numpy(draw_batch(np.random.default_rng(4)))
    assert torch.equal(select(1000 * losses + 7, 0.5).clean, select(losses, 0.5).clean)


def test_a_higher_cut_keeps_fewer() -> None:
    losses = torch.from_numpy(np.random.default_rng(5).exponential(1.0, 512))
    kept = [int(select(losses, cut).clean.sum()) for cut in (0.0, 0.3, 0.5, 0.9, 0.999)]
    assert kept == sorted(kept, reverse=True) and kept[0] > kept[-1]


def test_a_wide_second_component_rejects_the_most_confident_samples() -> None:
    summary = {"weights": [0.6, 0.4], "means": [0.1, 0.4], "deviations": [0.03, 0.25]}
    ((begin, end),) = accepted_region(summary, 0.5)
    assert 0 < begin < 0.1 < end < 0.4
    grid = np.linspace(0, 1, 2001)
    accepted = grid[posterior(grid, summary["weights"], summary["means"], np.square(summary["deviations"])) > 0.5]
    assert (accepted.min(), accepted.max()) == pytest.approx((begin, end))


def test_the_accepted_region_is_where_samples_are_clean() -> None:
    generator = np.random.default_rng(6)
    for _ in range(50):
        verdict = select(torch.from_numpy(draw_batch(generator)), 0.5)
        region = accepted_region(verdict.summary(), 0.5)
        step = 1 / 2000
        for value, clean in zip(verdict.scaled.tolist(), verdict.clean.tolist(), strict=True):
            near_an_edge = any(abs(value - edge) < 2 * step for interval in region for edge in interval)
            assert near_an_edge or clean == any(begin <= value <= end for begin, end in region)


def test_what_is_chosen_is_what_is_clean() -> None:
    verdict = select(torch.from_numpy(draw_batch(np.random.default_rng(7))), 0.5)
    assert verdict.chosen.tolist() == verdict.clean.nonzero()[:, 0].tolist() != []


def test_no_gradient_flows_through_the_selection() -> None:
    losses = torch.rand(32, requires_grad=True)
    assert not select(losses, 0.5).posterior.requires_grad
