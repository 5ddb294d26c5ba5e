"""The class prior's study: which runs it takes, what is refused, and what the points say."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import STUDENT, TINY
from studying import FIELDS, SAMPLES, conduct, tiny_study

from dfkd_core.errors import RequestError
from dfkd_core.study import CellState, Record, Study, find

KIND = find("prior")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"intensities": [0.5]}, "should be 2 to 51"),
        ({"intensities": [0.5, 0.5]}, "each once"),
        ({"intensities": [0, -1]}, "greater than or equal to 0"),
        ({"intensities": [0, 11]}, "less than or equal to 10"),
        ({"intensities": [0, float("nan")]}, "finite"),
        ({"seeds": []}, "should be 1 to 20"),
        ({"seeds": [-1]}, "seeds.0 = -1: should be greater than or equal to 0"),
        ({"run": {"method": "noise"}}, "has no class prior to vary"),
        ({"knobs": {"class_prior_weight": 1}}, "is what the study varies"),
        ({"knobs": {"epochs": 0}}, "epochs"),
        ({"run": {"seed": 1}}, "is what the study varies; give its seeds"),
        ({"measured": 3}, "should be greater than or equal to 6"),
        ({"extractor": "vgg"}, "should be inception"),
        ({"extractor": "teacher:digits-resnet20-plain"}, "is the teacher that"),
        ({"run": {"benchmark": "mnist", "student": "lenet5-half"}}, "DFKD_DATA"),
        ({"run": {"teacher": "nobody"}}, "should be one of"),
    ],
)
def test_a_wrong_request_is_refused_before_anything_is_written(runs: Path, changes: dict[str, Any], why: str) -> None:
    asked = {"intensities": [0.0, 1.0], "seeds": [0], "knobs": TINY, "measured": SAMPLES, "run": FIELDS, **changes}
    with pytest.raises(RequestError, match=why):
        KIND.begin(runs, **asked)
    assert not runs.exists()


def test_the_settings_of_a_study_say_everything(runs: Path) -> None:
    study = Study(tiny_study(runs, [1.0, 0.0], [1, 0]).path)
    assert study.settings == {
        "benchmark": "digits", "method": "ta-dfkd", "teacher": "digits-resnet20-plain", "student": STUDENT,
        "preset": "demo", "intensities": [0.0, 1.0], "seeds": [0, 1], "samples": SAMPLES,
        "extractor": "teacher:digits-lenet5-bn-mixup",
    }  # fmt: skip
    assert study.title == f"digits-resnet20-plain → {STUDENT}, 2 intensities × 2 seeds"


def test_intensities_that_lie_close_are_runs_of_their_own(runs: Path) -> None:
    study = tiny_study(runs, [0.0, 0.12345671, 0.12345674], [0])
    assert [cell.key for cell in study.cells][1:] == ["prior-0.12345671-seed-0", "prior-0.12345674-seed-0"]
    said = KIND.reading({}, [point(0, 3), point(0.12345671, 2), point(0.12345674, 4)])
    assert "lowest 2 at λ = 0.12345671." in said


# --- what the points say ---------------------------------------------------------------------------------------


def point(intensity: float, fid: float, seed: int = 0) -> dict[str, Any]:
    return {"intensity": intensity, "fid": fid, "seed": seed}


def points(fids: Sequence[float], seeds: int = 1) -> list[dict[str, Any]]:
    """At intensities from 0 to 1, in order; each seed a little above the one before."""
    last = len(fids) - 1
    return [point(index / last, fid + seed / 100, seed) for seed in range(seeds) for index, fid in enumerate(fids)]


def test_the_reading_tells_a_trend_where_the_rank_correlation_is_clear() -> None:
    said = KIND.reading({}, points([2, 3, 9], seeds=2))
    assert said.startswith("Here FID rises with the prior's intensity: Spearman correlation +0.96, p = 0.02")
    assert "(6 runs, 3 intensities, 2 seeds); mean FID 2 at λ = 0, which is the lowest." in said
    said = KIND.reading({}, points([9, 8, 5, 3, 2.5]))
    assert "falls with" in said and "-1.00, p = 0.0" in said and "mean FID 9 at λ = 0, lowest 2.5 at λ = 1" in said
    assert "is the same at every intensity" in KIND.reading({}, points([2, 2, 2]))


@pytest.mark.parametrize(
    ("fids", "seeds", "lowest"),
    [([40, 20, 5, 5.1, 20, 40], 3, "lowest 5.01 at λ = 0.4"), ([2, 3, 9], 1, "which is the lowest")],
    ids=["a valley", "too few to tell"],
)
def test_what_is_no_clear_trend_is_not_told_as_one(fids: list[float], seeds: int, lowest: str) -> None:
    said = KIND.reading({}, points(fids, seeds))
    assert "Here FID has no clear monotone trend over the prior's intensity" in said and lowest in said


@pytest.mark.parametrize(("intensities", "seeds"), [(3, 1), (3, 2), (6, 1), (6, 3)])
def test_of_noise_hardly_ever_a_trend_is_told(intensities: int, seeds: int) -> None:
    """At most 5 %, also where seeds differ more than runs of one seed."""
    random, told = np.random.default_rng(0), 0
    for _ in range(100):
        of_seeds, places = random.normal(0, 5, seeds), range(intensities)
        rows = [point(x, random.normal(100 + of_seeds[seed], 5), seed) for seed in range(seeds) for x in places]
        told += "no clear monotone trend" not in KIND.reading({}, rows)
    assert told <= 10


@pytest.mark.parametrize("rows", [[], [point(0, 1), point(1, 2)], [point(0, 1), point(0, 1, 1), point(1, 2)]])
def test_two_intensities_are_no_trend(rows: list[dict[str, Any]]) -> None:
    assert KIND.reading({}, rows) == ""


def test_points_are_the_cells_that_are_done(runs: Path) -> None:
    study = tiny_study(runs)
    conduct(study)
    cells = study.progress().cells
    (first, second) = KIND.table(study.settings, cells)
    assert (first["intensity"], second["intensity"]) == (0.0, 1.0) and first["fid"] > 0 and first["real"] == SAMPLES
    waiting = CellState(cells[0].cell, Record(), "waiting")
    assert KIND.table(study.settings, [waiting, cells[1]]) == [second]
