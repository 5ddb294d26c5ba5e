"""How long runs will take, by what similar ones took."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from conftest import result_after, tiny_spec

from dfkd_core.store import RunFolder, RunStatus
from dfkd_core.study.estimate import MEASURING_SECONDS, estimated_seconds


def past_run(runs: Path, seconds: float, steps: int = 100, **fields: Any) -> RunFolder:
    folder = RunFolder.create(runs, tiny_spec(**fields).model_dump())
    folder.set_status(RunStatus("done", step=steps, total_steps=steps, result=result_after(seconds)))
    return folder


def test_an_estimate_takes_the_pace_of_the_run_most_alike(runs: Path) -> None:
    spec = tiny_spec()  # 6 steps
    assert estimated_seconds([spec], []) is None
    other_teacher = past_run(runs, 300.0, teacher="digits-lenet5-long")
    assert estimated_seconds([spec], [other_teacher]) == pytest.approx(18)
    same = past_run(runs, 100.0)
    assert estimated_seconds([spec, spec], [other_teacher, same]) == pytest.approx(12)
    assert estimated_seconds([spec], [same], measured=True) == pytest.approx(6 + MEASURING_SECONDS)
    quick = past_run(runs, 10.0, method="ukd", student="lvae-4", teacher="digits-lvae-32")
    slow = tiny_spec({"source": "diffusion"}, method="ukd", student="lvae-4", teacher="digits-lvae-32")
    assert estimated_seconds([slow], [quick]) is None, "what makes images beforehand goes at another pace"
    for useless in (past_run(runs, 1.0, steps=5), past_run(runs, 1.0, student="resnet8"), RunFolder(runs / "gone")):
        assert estimated_seconds([spec], [useless]) is None


def test_of_runs_alike_the_one_with_the_most_knobs_in_common_counts(runs: Path) -> None:
    def hidfd(**knobs: Any) -> Any:
        return tiny_spec(knobs, method="hidfd")

    def past(seconds: float, **knobs: Any) -> RunFolder:
        folder = RunFolder.create(runs, hidfd(**knobs).model_dump())
        folder.set_status(RunStatus("done", step=100, total_steps=100, result=result_after(seconds)))
        return folder

    usual, guided = past(100.0), past(300.0, guidance_weight=0.0)
    six = hidfd().total_steps
    assert estimated_seconds([hidfd(guidance_weight=0.0)], [usual, guided]) == pytest.approx(3 * six)
    assert estimated_seconds([hidfd(discriminator_steps=9)], [usual, guided]) is None
