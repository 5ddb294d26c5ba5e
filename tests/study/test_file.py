"""A study as a YAML file: read, checked, written, and the same again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from command import call, refused
from conftest import STUDENT, TEACHER

from dfkd_core.errors import RequestError
from dfkd_core.study import file, find, find_study

TINY = f"""
teachers: [{TEACHER}]
students: [{STUDENT}]
methods: [dafl, ta-dfkd]
seeds: [0]
knobs: {{epochs: 1, iterations: 6, batch_size: 16, latent: 8, width: 4}}
run: {{evaluate_every: 2}}
"""


def test_the_files_that_come_with_the_lab_are_studies() -> None:
    assert {"fig-1a", "fig-1b", "figs-2-3", "hidfd-table-1", "slides-table"} <= set(file.shipped())
    for path in file.shipped().values():
        filed = file.read_file(path)
        kind = find(filed.kind)
        request = file.request_of(kind, filed.given)
        again = file.read(file.write(kind.name, request), "again")
        assert file.request_of(find(again.kind), again.given) == request


def test_fig_1b_is_seventy_five_runs_of_five_methods_and_five_teachers() -> None:
    filed = file.read_file(file.find_file("fig-1b"))
    composed = find("grid").composed(file.request_of(find("grid"), filed.given))
    assert len(composed.labelled) + 3 * len(composed.refused) == 75
    assert {spec.preset for _, spec in composed.labelled} == {"demo"}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("kind: [", "is no YAML that can be read: line 1"),
        ("just words", "should hold a study"),
        ("seeds: [0]\nseeds: [1]", "line 2, column 1: seeds stands there twice"),
        ("teachers: &a [x]\nmethods: *a", "anchors are not read"),
        ("seeds: [zero]", "seeds.0 = 'zero': should be a valid integer"),
        ("seeds: [-1]", "seeds.0 = -1: should be greater than or equal to 0"),
        ("methods: [nobody]", "methods: 'nobody' should be one of"),
        ("teacher: x", "teacher: is no field of a grid study; these are: kind,"),
        ("kind: weather", "study = 'weather': should be one of"),
        ("kind: fig1a", "teachers: is missing; a fig1a study needs it"),
        ("teachers: [nobody]", "teacher = 'nobody': should be one of"),
        ("students: [resnet9000]", "student = 'resnet9000'"),
        ("vary: {colour: [1, 2]}", "colour = 1: is no knob of ta-dfkd"),
        ("vary: {student_lr: [0.1, 99]}", "student_lr = 99: should be less than or equal to 10"),
        ("vary: {student_lr: [0.1, 0.1]}", "the values of student_lr should be 1 to 51, each once"),
        ("vary: {student_lr: [0.1]}\nknobs: {student_lr: 0.2}", "student_lr = 0.2: is what the study varies"),
        ("run: {method: dafl}", "method = 'dafl': is what the study varies; give its methods"),
        ("each: {dafl: {epochs: 3}}", "each = 'dafl': should be one of ta-dfkd"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_in_one_line(
    capsys: Any, runs: Path, tmp_path: Path, text: str, why: str
) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(text)
    assert why in refused(capsys, "study", "run", str(path))
    assert not runs.exists()


def test_a_file_that_is_not_there_or_too_long_is_said(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="is no file, and none that comes with the lab: .*fig-1a"):
        file.find_file("fig-9z")
    long = tmp_path / "long.yaml"
    long.write_text("#" * (2 << 20))
    with pytest.raises(RequestError, match="at most 1 MiB"):
        file.read_file(long)


def test_a_file_is_run_without_a_page_and_comes_out_again(capsys: Any, runs: Path, tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(TINY)
    status, out, err = call(capsys, "study", str(path), "--slots", "1")
    assert status == 0 and "done: 2 / 2 runs" in out and "DAFL" in out and "TA-DFKD" in out, err
    study = find_study(runs, out.rsplit(" ", 1)[1].strip())
    status, text, _ = call(capsys, "study", "file", study.id)
    kind, again = find("grid"), file.read(text, "again")
    assert status == 0
    assert file.request_of(kind, again.given) == file.request_of(kind, file.read(TINY, "tiny").given)
