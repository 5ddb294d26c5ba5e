"""The two-sample test: never above the truth, and honest about few images."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import execute, new_run
from scipy.stats import norm
from tampering import content, copied, edit

from dfkd_core.analysis import two_sample as under_test
from dfkd_core.analysis.measured import DISTANCE
from dfkd_core.analysis.two_sample import Distance, distance, two_sample
from dfkd_core.cli.main import main
from dfkd_core.errors import RequestError, StoreError
from dfkd_core.store import RunFolder

HIDFD = {
    "gan_steps": 2,
    "distill_steps": 2,
    "updates": 1,
    "gan_batch_size": 8,
    "width": 2,
    "latent": 4,
    "synthetic": 16,
}


def gaussians(apart: float, count: int, seed: int = 0, dimension: int = 5) -> tuple[np.ndarray, np.ndarray, float]:
    """Two samples whose means lie ``apart`` along one axis, and the total variation of what they are drawn from."""
    random = np.random.default_rng(seed)
    first, second = random.normal(size=(2, count, dimension))
    second[:, 0] += apart
    return first, second, float(2 * norm.cdf(apart / 2) - 1)


@pytest.mark.parametrize("apart", [0.5, *(pytest.param(apart, marks=pytest.mark.slow) for apart in (1.0, 2.0))])
def test_the_bound_comes_near_the_truth_and_never_above_it_but_for_noise(apart: float) -> None:
    found = [two_sample(*gaussians(apart, 500, seed)[:2]) for seed in range(3)]
    truth = gaussians(apart, 2)[2]
    assert np.mean([one.tvd for one in found]) < truth + 0.03
    assert all(one.low < truth for one in found)
    assert all(one.tvd > 0.6 * truth and one.above_chance for one in found)


@pytest.mark.parametrize("seed", range(2))
def test_two_samples_of_one_distribution_are_not_told_apart(seed: int) -> None:
    found = two_sample(*gaussians(0.0, 200, seed)[:2])
    assert found.low == 0.0 and found.tvd < 0.12


@pytest.mark.slow
def test_chance_is_exceeded_by_chance_once_in_twenty() -> None:
    """Over 20 pairs of one distribution: three or fewer, what the binomial allows at 98 %."""
    accidents = sum(two_sample(*gaussians(0.0, 30, seed)[:2]).above_chance for seed in range(20))
    assert accidents <= 3


def test_the_interval_of_few_images_is_wide_even_when_none_is_confused() -> None:
    few = two_sample(*gaussians(40.0, 30)[:2])
    many = two_sample(*gaussians(40.0, 1000)[:2])
    assert few.tvd == many.tvd == 1.0 and few.high == many.high == 1.0
    assert few.low < 0.6 < 0.97 < many.low


def test_the_two_sides_may_have_different_numbers() -> None:
    first, second, truth = gaussians(2.0, 400)
    found = two_sample(first, second[:50])
    assert found.low < truth and abs(found.accuracy - (1 + truth) / 2) < 0.08


# --- of a run --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def carried_out(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = new_run(tmp_path_factory.mktemp("hidfd"), HIDFD, method="hidfd", ratio=0.05)
    assert execute(folder).state == "done"
    return folder


@pytest.fixture
def run(runs: Path, carried_out: RunFolder, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """Tested briefly: how well the test tells is asked above."""
    monkeypatch.setattr(under_test, "PERMUTATIONS", 4)
    monkeypatch.setattr(under_test, "SPLITS", 2)
    return copied(carried_out, runs / carried_out.id)


def test_an_untrained_generator_is_told_from_the_collected_images(run: RunFolder) -> None:
    found = distance(run)
    assert content(run.files, DISTANCE) == found
    assert found["images"] == 60 and found["step"] == 4
    assert found["tvd"] > found["chance"] and found["above_chance"] and found["tvd"] > 0.5
    assert found["low"] < found["tvd"] <= found["high"]
    again = distance(run)
    assert {**again, "seconds": 0} == {**found, "seconds": 0}


def test_the_command_prints_what_it_found(run: RunFolder, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["distance", run.id, "--runs", str(runs)]) == 0
    said = capsys.readouterr().out
    assert said.startswith("TVD at least ") and "above chance: 60 collected images" in said
    assert main(["distance", run.id, "--runs", str(runs), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["run"] == run.id


def test_a_run_that_cannot_be_tested_gets_one_sentence(
    run: RunFolder, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RequestError, match="does not generate beside collected images"):
        distance(new_run(runs))
    fresh = new_run(runs, HIDFD, method="hidfd", ratio=0.05)
    with pytest.raises(StoreError, match="has no checkpoint yet"):
        distance(fresh)
    monkeypatch.setattr(under_test, "LEAST", 61)
    with pytest.raises(RequestError, match="has 60 collected images; the test needs 61"):
        distance(run)


def test_collected_images_that_have_changed_since_are_not_compared(run: RunFolder) -> None:
    edit(run.files, "collected/collected.json", lambda facts: facts.update(sha256="0"))
    with pytest.raises(StoreError, match="no longer gives the collected images"):
        distance(run)
    assert not (run.path / DISTANCE).exists()


def test_above_chance_means_above_every_permutation() -> None:
    assert not Distance(0.6, 0.2, 0.0, 0.4, chance=0.2).above_chance
    assert Distance(0.61, 0.22, 0.0, 0.4, chance=0.2).above_chance
