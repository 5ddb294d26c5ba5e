"""A grid: which runs it makes, what it refuses, what it takes over, what its table says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from conftest import STUDENT, TEACHER, tiny_spec
from conftest import rows as logged
from studying import conduct, plain_study, records, states
from torch.nn import BatchNorm2d

from dfkd_core.errors import RequestError
from dfkd_core.methods.dafl import DAFL
from dfkd_core.runs import assemble
from dfkd_core.runs.spec import read_spec
from dfkd_core.store import RunFolder, runs_in
from dfkd_core.study import Study, find
from dfkd_core.study.grid import series_of
from dfkd_core.study.plan import in_words, plan

GRID = find("grid")
OTHER = "digits-lenet5-long"
KNOBS = {"epochs": 1, "iterations": 6, "batch_size": 16, "latent": 8, "width": 4}
ASKED: dict[str, Any] = {
    "teachers": [TEACHER, OTHER],
    "students": [STUDENT],
    "methods": ["dafl", "ta-dfkd"],
    "seeds": [0, 1],
    "knobs": KNOBS,
    "run": {"evaluate_every": 2},
}


def composed(**changes: Any) -> Any:
    return GRID.composed(GRID.Request.build({**ASKED, **changes}))


def test_a_grid_is_every_combination_seed_by_seed() -> None:
    found = [tuple(labels.values()) for labels, _ in composed().labelled]
    places = [(TEACHER, "dafl"), (TEACHER, "ta-dfkd"), (OTHER, "dafl"), (OTHER, "ta-dfkd")]
    assert found == [(teacher, STUDENT, method, seed) for seed in (0, 1) for teacher, method in places]
    for labels, spec in composed().labelled:
        assert {name: getattr(spec, name) for name in labels} == labels
        assert spec.config["batch_size"] == 16 and spec.evaluate_every == 2
    keys = {GRID.key(GRID.Request.build(ASKED), labels) for labels, _ in composed().labelled}
    assert len(keys) == 8


def test_knobs_vary_where_a_method_has_them() -> None:
    vary = {"bn_weight": [0.0, 1.0], "student_lr": [0.1]}
    found = [labels for labels, _ in composed(vary=vary, seeds=[0], teachers=[TEACHER]).labelled]
    assert [(labels["method"], labels["bn_weight"], labels["student_lr"]) for labels in found] == [
        ("dafl", None, 0.1),
        ("ta-dfkd", 0.0, 0.1),
        ("ta-dfkd", 1.0, 0.1),
    ]
    assert composed(vary="bn_weight=0,1; student_lr=0.1").labelled == composed(vary=vary).labelled
    own = composed(each={"dafl": {"student_lr": 0.3}}).labelled
    assert {spec.config["student_lr"] for labels, spec in own if labels["method"] == "dafl"} == {0.3}


def test_a_method_without_presets_begins_with_its_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DAFL.Config, "presets", {})
    found = composed(run={"preset": "demo"}, teachers=[TEACHER])
    assert {(spec.method, spec.preset) for _, spec in found.labelled} == {("dafl", ""), ("ta-dfkd", "demo")}


def test_what_a_method_refuses_is_told_and_the_rest_is_run(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = DAFL.__init__

    def picky(self: Any, problem: Any, config: Any) -> None:
        if not any(isinstance(layer, BatchNorm2d) for layer in problem.teacher.modules()):
            raise RequestError("teacher", OTHER, "has no BatchNorm layers, which DAFL needs.")
        real(self, problem, config)

    monkeypatch.setattr(DAFL, "__init__", picky)
    from dfkd_core.study import grid

    grid._refusal.cache_clear()
    found = composed()
    grid._refusal.cache_clear()
    assert len(found.labelled) == 6 and [one.labels["teacher"] for one in found.refused] == [OTHER]
    assert "has no BatchNorm layers" in found.refused[0].why


def test_a_grid_of_nothing_that_can_be_run_is_refused(runs: Path) -> None:
    with pytest.raises(RequestError, match="should be one of"):
        GRID.begin(runs, **{**ASKED, "teachers": ["nobody"]})
    with pytest.raises(RequestError, match="takes other images"):
        GRID.begin(runs, **{**ASKED, "teachers": [TEACHER, "mnist-lenet5-plain"]})
    assert not runs.exists()


def test_a_seed_more_runs_only_that_seed(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dfkd_core.study import reuse

    first = GRID.begin(runs, **{**ASKED, "seeds": [0]})
    conduct(first)
    assert len(runs_in(runs)) == 4
    more = {**ASKED, "seeds": [0, 1]}
    said = plan(GRID, more, runs, 2, "any-code")
    assert (said.runs, said.there) == (8, 4) and "4 of them are there already" in in_words(said)
    assert said.seconds is None or said.bytes is not None
    second = GRID.begin(runs, "any-code", **more)
    conduct(second)
    assert len(runs_in(runs)) == 8 and states(second) == ["done"] * 8
    assert {one.run for one in records(first)} < {one.run for one in records(second)}

    monkeypatch.setattr(reuse, "_code", lambda: "another")
    assert plan(GRID, more, runs, 2, "same-code").there == 0
    assert plan(GRID, {**more, "run": {"evaluate_every": 3}}, runs, 2, "any-code").there == 0


@pytest.mark.parametrize("facts", [{"code": "another"}, {"accepted": ["the teacher has changed"]}, {"depends_on": {}}])
def test_a_run_with_an_attempt_of_something_else_is_not_taken_over(
    runs: Path, monkeypatch: pytest.MonkeyPatch, facts: dict[str, Any]
) -> None:
    """Each of its attempts counts, not only the one that ended it."""
    from dfkd_core.study import reuse

    study = plain_study(runs, 1)
    conduct(study)
    (run,) = runs_in(runs)
    monkeypatch.setattr(reuse, "_code", lambda: run.environment()["code"].removesuffix(reuse.CHANGES))
    whole = run.environment()
    whole["code"] = whole["code"].removesuffix(reuse.CHANGES)
    (run.path / run.attempt_file(2, "")).mkdir()
    for number in (1, 2):
        run.write_environment(number, whole)
    assert reuse.finished(runs, [tiny_spec(seed=0)], "same-code") == [run.id]
    run.write_environment(1, whole | facts)
    assert reuse.finished(runs, [tiny_spec(seed=0)], "same-code") == [""]


def test_the_best_are_those_with_a_result_for_every_teacher() -> None:
    """A mean that leaves out the teacher on which a method failed is no better for that."""

    def row(teacher: str, series: str, final: float | None) -> dict[str, Any]:
        more = {"measure": "accuracy", "of_teacher": 0.98, "problem": "", "run": "", "best": final}
        return {"teacher": teacher, "series": series, "seed": 0, "final": final, **more} | {
            "state": "failed" if final is None else "done"
        }

    scores: dict[str, tuple[float, float | None]] = {"A": (0.951, None), "B": (0.97, 0.70), "C": (0.96, 0.75)}
    rows = [
        row(teacher, series, score)
        for series, found in scores.items()
        for teacher, score in zip(("easy", "hard"), found, strict=True)
    ]
    said = GRID.reading({}, rows)
    assert "C" in said and "B" in said and "A " not in said


def test_two_values_are_two_series_however_close_they_lie() -> None:
    settings = {"titles": {"dafl": "DAFL"}, "students": [STUDENT], "vary": {"student_lr": []}}
    names = [series_of(settings, {"method": "dafl", "student_lr": rate}) for rate in (0.1, 0.12345671, 0.12345674)]
    assert names == ["DAFL · student lr 0.1", "DAFL · student lr 0.12345671", "DAFL · student lr 0.12345674"]


@pytest.mark.parametrize("values", [[1, 1.0], ["0.5", "0.50"]])
def test_a_value_given_twice_in_two_ways_is_refused(values: list[Any]) -> None:
    with pytest.raises(RequestError, match="the values of student_lr"):
        composed(vary={"student_lr": values})


def test_a_run_that_was_changed_live_is_not_taken_over(runs: Path) -> None:
    study = plain_study(runs, 1)
    conduct(study, lambda event: runs_in(runs)[0].command("set", student_lr=0.05))
    from dfkd_core.study.reuse import finished

    assert finished(runs, [tiny_spec(seed=0)], "any-code") == [""]


def test_table_lines_and_reading_tell_teachers_and_series(runs: Path) -> None:
    study = GRID.begin(runs, **ASKED)
    assert GRID.reading(study.settings, GRID.table(study.settings, study.progress().cells)) == ""
    conduct(study)
    cells = study.progress().cells
    rows = GRID.table(study.settings, cells)
    assert {row["series"] for row in rows} == {"DAFL", "TA-DFKD"} and all(row["final"] is not None for row in rows)
    assert read_spec(study.run(records(study)[0])).teacher == rows[0]["teacher"]
    text = "\n".join(GRID.lines(study.settings, cells))
    assert OTHER in text and "TA-DFKD" in text and "minimum" in text
    assert text.startswith("final score in %, mean over seeds ± SD (runs)\n")
    (costs,) = [line for line in GRID.lines_of(study, study.progress()) if line.startswith("DAFL ")]
    dafl = next(one.record.run for one in cells if one.cell.labels["method"] == "dafl")
    judged = logged(RunFolder(runs / dafl), "step")[-1]["values"]["queries"]
    assert costs.endswith(f" {judged:,.0f}"), "what it took stands beside what it came to"
    assert "pairs of runs" in GRID.reading(study.settings, rows)


def test_a_study_keeps_what_it_was_made_from(runs: Path) -> None:
    study = GRID.begin(runs, title="Mine", **ASKED)
    again = Study(study.path)
    assert again.title == "Mine" and GRID.Request.build(again.asked) == GRID.Request.build({**ASKED, "title": "Mine"})
    assert assemble.refusal(study.cells[0].spec) == ""
