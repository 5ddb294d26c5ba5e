"""The class prior's study: which runs it takes, what is refused, and what the points say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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


# --- what the points say ---------------------------------------------------------------------------------------


def point(intensity: float, fid: float, seed: int = 0) -> dict[str, Any]:
    return {"intensity": intensity, "fid": fid, "seed": seed}


def test_the_reading_is_the_rank_correlation_of_the_points() -> None:
    said = KIND.reading({}, [point(0, 2.0), point(0.5, 3.0), point(1, 9.0)])
    assert (
        "rises with" in said
        and "+1.00 (3 runs, 3 intensities, 1 seed)" in said
        and "at λ = 0, which is the lowest" in said
    )
    falling = [point(0, 9.0), point(0.5, 3.0), point(1, 2.5), point(1, 2.6, seed=1)]
    said = KIND.reading({}, falling)
    assert "falls with" in said and "-0.95" in said and "mean FID 9 at λ = 0, lowest 2.55 at λ = 1" in said
    assert "hardly depends on" in KIND.reading({}, [point(0, 2), point(0.3, 1), point(0.6, 3), point(1, 1.5)])
    assert "is the same at every intensity" in KIND.reading({}, [point(0, 2), point(0.5, 2), point(1, 2)])


@pytest.mark.parametrize("points", [[], [point(0, 1), point(1, 2)], [point(0, 1), point(0, 1, 1), point(1, 2)]])
def test_two_intensities_are_no_trend(points: list[dict[str, Any]]) -> None:
    assert KIND.reading({}, points) == ""


def test_points_are_the_cells_that_are_done(runs: Path) -> None:
    study = tiny_study(runs)
    conduct(study)
    cells = study.progress().cells
    (first, second) = KIND.table(study.settings, cells)
    assert (first["intensity"], second["intensity"]) == (0.0, 1.0) and first["fid"] > 0 and first["real"] == SAMPLES
    waiting = CellState(cells[0].cell, Record(), "waiting")
    assert KIND.table(study.settings, [waiting, cells[1]]) == [second]
