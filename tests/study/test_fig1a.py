"""Fig. 1a: which runs it takes, and what it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from command import FLAGS, call
from conftest import STUDENT, TINY
from studying import FIELDS

from dfkd_core.errors import RequestError
from dfkd_core.runs.spec import RunSpec
from dfkd_core.study import Cell, CellState, Record, find, studies_in

KIND = find("fig1a")
TEACHERS = ["digits-resnet20-plain", "digits-lenet5-bn-mixup"]


def test_fig1a_has_four_curves_for_each_teacher_that_differ_in_terms_only(runs: Path) -> None:
    study = KIND.begin(runs, teachers=TEACHERS, knobs=TINY, run={"seed": 5, **FIELDS})
    assert [cell.labels["teacher"] for cell in study.cells] == TEACHERS * 4
    configs = {cell.labels["variant"]: cell.spec.config for cell in study.cells}
    terms = ("class_prior_weight", "class_balance_weight", "activation_weight", "adversarial_weight", "bn_weight")
    found = {name: (*(config[term] for term in terms), config["selection"]) for name, config in configs.items()}
    assert found == {
        "class prior": (1.0, 5.0, 0.1, 0.0, 0.0, False),
        "adversarial": (0.0, 0.0, 0.0, 1.0, 0.0, False),
        "both": (1.0, 5.0, 0.1, 1.0, 0.0, False),
        "TA-DFKD": (0.0, 0.0, 0.0, 1.0, 0.03, True),
    }
    same = [{**config, **dict.fromkeys((*terms, "selection"))} for config in configs.values()]
    assert all(config == same[0] for config in same) and {cell.spec.seed for cell in study.cells} == {5}
    with pytest.raises(RequestError, match="1 to 4, each once"):
        KIND.begin(runs, teachers=[TEACHERS[0]] * 2, knobs=TINY)
    with pytest.raises(RequestError, match="give its teachers"):
        KIND.begin(runs, teachers=TEACHERS, run={"teacher": TEACHERS[0]})


def lesson_cell(teacher: str, variant: str, final: float, best: float, state: str = "done") -> CellState:
    cell = Cell("-", {"teacher": teacher, "variant": variant}, RunSpec())
    return CellState(cell, Record(figures={"final": final, "best": best}), state)


def said(cells: list[CellState]) -> str:
    return KIND.reading({}, KIND.table({}, cells))


def test_the_lessons_reading_names_the_widest_gap_and_the_deepest_fall() -> None:
    cells = [
        lesson_cell("one", "prior", 0.9, 0.9),
        lesson_cell("two", "prior", 0.8, 0.95),
        lesson_cell("one", "adversarial", 0.9, 0.905),
        lesson_cell("two", "adversarial", 0.5, 0.6),
    ]
    reading = said(cells)
    assert "furthest apart with adversarial: 90.0% (one) against 50.0% (two)" in reading
    assert "furthest below its best ended prior with two: 95.0%, then 80.0%" in reading
    assert "no student ended more than a point below" in said([cells[0], cells[2]])
    assert said([*cells, lesson_cell("one", "both", 0, 0, "running")]) == ""


def test_fig1a_on_the_command_line(capsys: Any, runs: Path) -> None:
    asked = ["--teachers", ",".join(TEACHERS), "--student", STUDENT, "--slots", "1"]  # in this process: no torch anew
    status, out, _ = call(capsys, "study", "fig1a", *asked, *FLAGS)
    head, *rows = out.splitlines()[:9]
    assert status == 0 and "done: 8 / 8 runs" in out
    assert head.split() == ["teacher", "variant", "final", "best"] and rows[0].startswith(f"{TEACHERS[0]} ")
    assert [row.split()[1] for row in rows[1::2]] == ["class", "adversarial", "both", "TA-DFKD"]
    status, out, _ = call(capsys, "study", "show", studies_in(runs)[0].id)
    assert "teacher digits-lenet5-bn-mixup, variant both: accuracy final" in out
