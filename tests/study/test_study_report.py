"""A study as one page: it stands alone, and says what its runs say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from command import call, refused
from conftest import STUDENT, TEACHER
from documents import Page
from studying import conduct, plain_study, records, tiny_study

from dfkd_core.study import Record, Study, find
from dfkd_core.study import report as reports

KNOBS = {"epochs": 1, "iterations": 6, "batch_size": 16, "latent": 8, "width": 4}


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Of two methods and two seeds; one run failed, of a method whose name means harm to a page."""
    asked = {"teachers": [TEACHER], "students": [STUDENT], "methods": ["dafl", "ta-dfkd"], "seeds": [0, 1]}
    runs = tmp_path_factory.mktemp("runs")
    study = find("grid").begin(runs, **asked, knobs=KNOBS, run={"evaluate_every": 2}, title="Two <b>methods</b>")
    conduct(study)
    study.keep(study.cells[-1], Record(problem="NaN <script>at</script> step 3"))
    return study


def test_the_report_of_a_grid_stands_alone_and_says_what_its_runs_say(grid: Study) -> None:
    text = reports.report(grid)
    page, figures = Page(text), [record.figures for record in records(grid) if record.figures]
    assert not page.asked and "script" not in page.tags and "b" not in page.tags[: page.tags.index("div")]
    assert page.tags.count("svg") == 3, "peaks and ends, and two curves"
    assert "best score of a run minus the mean of its last 3 epochs; a student that is still rising has" in page.said
    for words in ("Two <b>methods</b>", "NaN <script>at</script> step 3", "3 of 4", "DAFL", TEACHER, "kind: grid"):
        assert words in page.said
    for one in figures:
        assert f"{one['final']:.2%}" in page.said
    for record in records(grid):
        assert record.run in page.said


def test_a_report_is_there_before_anything_was_trained(runs: Path) -> None:
    for study in (tiny_study(runs), find("grid").begin(runs, teachers=[TEACHER], methods=["dafl"], knobs=KNOBS)):
        assert study.title in Page(reports.report(study)).said


def test_a_study_is_exported_in_every_format_of_its_runs(grid: Study, tmp_path: Path, capsys: Any) -> None:
    place = ("--runs", str(grid.runs))
    html, table = tmp_path / "study.html", tmp_path / "study.csv"
    assert call(capsys, "export", grid.id, str(html), "--as", "html", *place)[0] == 0
    assert html.read_text() == reports.report(grid)
    assert call(capsys, "export", grid.id, str(table), "--as", "csv", *place)[0] == 0
    assert set(pd.read_csv(table)["run"]) == {folder.id for folder in grid.folders()}
    assert "of one run" in refused(capsys, "export", grid.id, str(tmp_path / "a"), "--as", "onnx", *place)
    assert not (tmp_path / "a").exists()


def test_a_study_of_an_unknown_kind_is_refused(runs: Path, tmp_path: Path, capsys: Any) -> None:
    study = plain_study(runs)
    said = refused(capsys, "export", study.id, str(tmp_path / "a"), "--as", "html", "--runs", str(runs))
    assert "'plain': should be one of" in said
