"""Studies, and what else lies beside runs, from anybody: whatever stands there, there is a sentence, and the rest stays
usable."""

from __future__ import annotations

import json
import math
import os
import shutil
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from browser import Lab
from command import call, refused
from conftest import ROOT, new_run, visit
from playwright.sync_api import Page
from streamlit.testing.v1 import AppTest
from tampering import edit, tampered_study

from dfkd_core.analysis.index import FILE, RunIndex
from dfkd_core.analysis.svg import Line, chart
from dfkd_core.errors import RequestError, StoreError
from dfkd_core.store import RunFolder, empty_trash, runs_in, throw_away, thrown_away
from dfkd_core.store.sealed import sealed, unsealed
from dfkd_core.study import Study, find, studies_in
from dfkd_core.study.traces import FILE as TRACE
from dfkd_core.study.traces import trace_of
from pages.ui.present import script

EXCEPTION, SETTLING = "[data-testid=stException]", 700  # ms: what is drawn after the script has run
RECORDED = ROOT / "assets" / "recorded"
FEW = {"fig-1b": lambda labels: labels["seed"] < 2 and labels["teacher"] == "digits-lenet5-long"}
COMMANDS = (
    *(("study", "list"), ("study", "show", "{}"), ("study", "show", "{}", "--json"), ("study", "file", "{}")),
    *(("export", "{}", "x.html", "--as", "html"), ("export", "{}", "x.csv", "--as", "csv"), ("verify", "{}")),
)


@pytest.fixture
def studies(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Study]:
    """One of each recorded kind, made smaller, with its runs."""
    monkeypatch.chdir(tmp_path)
    return [_taken(study, runs) for study in studies_in(RECORDED)]


def _taken(recorded: Study, runs: Path) -> Study:
    study = Study(runs / "studies" / recorded.id)
    shutil.copytree(recorded.path, study.path)
    wanted = FEW.get(recorded.id, lambda labels: labels.get("seed", 0) < 1)

    def fewer(stored: dict[str, Any]) -> None:
        stored["cells"] = [cell for cell in stored["cells"] if wanted(cell["labels"])]

    edit(study.files, "study.json", fewer)
    for cell in recorded.cells:
        if wanted(cell.labels):
            shutil.copytree(RECORDED / recorded.record(cell).run, runs / recorded.record(cell).run)
        else:
            study.files.remove(f"cells/{cell.key}.json")
    return study


def through_the_commands(studies: list[Study], numbers: Iterable[int], capsys: Any) -> None:
    for number in numbers:
        study, said = tampered_study(studies[number % len(studies)], number)
        for words in COMMANDS:
            status, out, err = call(capsys, *(word.format(study.id) for word in words))
            assert status in (0, 1, 2) and "Traceback" not in err, (said, words, err)
            assert words != ("study", "list") or (status == 0 and all(one.id in out for one in studies)), (said, err)
            if words[-1] in ("html", "csv"):
                Path(words[2]).unlink(missing_ok=True)
        shutil.rmtree(study.path)


def test_no_command_fails_over_a_tampered_study(studies: list[Study], capsys: Any) -> None:
    through_the_commands(studies, range(6), capsys)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_no_command_fails_over_two_hundred_tampered_studies(studies: list[Study], capsys: Any) -> None:
    through_the_commands(studies, range(200), capsys)


def through_the_pages(studies: list[Study], numbers: Iterable[int], app: AppTest) -> None:
    for number in numbers:
        study, _ = tampered_study(studies[number % len(studies)], number)
        visit(app, "studies", study=study.id)
        if studies[number % len(studies)].id != "fig-1b":
            visit(app, "prior" if number % len(studies) == 0 else "lessons", study=study.id)
        shutil.rmtree(study.path)


def test_pages_show_tampered_studies_or_say_a_sentence(studies: list[Study], app: AppTest) -> None:
    app.run()
    through_the_pages(studies, range(6), app)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_pages_show_two_hundred_tampered_studies_or_say_a_sentence(studies: list[Study], app: AppTest) -> None:
    app.run()
    through_the_pages(studies, range(200), app)


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_sixty_tampered_studies_raise_nothing_in_the_browser(page: Page, lab: Lab) -> None:
    """``page`` fails on an error of the scripts."""
    studies = [_taken(study, lab.runs) for study in studies_in(RECORDED)]
    for number in range(60):
        study, said = tampered_study(studies[number % len(studies)], number)
        page.goto(f"{lab.url}studies?study={study.id}")
        page.wait_for_selector("[data-test-script-state=notRunning]")
        page.wait_for_timeout(SETTLING)
        assert page.locator(EXCEPTION).all_inner_texts() == [], said
        shutil.rmtree(study.path)


def test_what_is_damaged_is_named_and_tried_again(studies: list[Study], runs: Path, capsys: Any) -> None:
    prior, fig1a = (next(study for study in studies if study.kind == kind) for kind in ("prior", "fig1a"))
    edit(prior.files, "study.json", lambda stored: stored["settings"].update(intensities=["x"]))
    first = fig1a.files.names("cells")[0]
    edit(fig1a.files, f"cells/{first}", lambda record: record["figures"].update(best=None))
    status, out, err = call(capsys, "study", "list")
    said = f"{prior.id}  damaged: study.json is damaged, or of another version of the lab: settings.intensities.0 = 'x'"
    assert status == 0 and said in err and fig1a.id in out
    progress = Study(fig1a.path).progress()
    assert [f"cells/{first} is damaged" in one.message for one in progress.cells if one.state == "failed"] == [True]
    assert "should have a final and a best score" in call(capsys, "verify", fig1a.id)[1]


def test_a_trace_is_held_against_its_model(studies: list[Study], runs: Path) -> None:
    grid = next(study for study in studies if study.kind == "grid")
    folder = grid.folders()[0]
    (folder.path / TRACE).unlink(missing_ok=True)
    made = trace_of(folder)
    columns = {**made["columns"], "score": [math.nan, *made["columns"]["score"][1:]]}
    folder.files.write(TRACE, json.dumps({**made, "columns": columns}).encode())
    assert trace_of(folder) == made
    for name in ("spec.json", "spec.copy.json"):
        edit(folder.files, name, lambda spec: spec.update(stages=[["student", "It learns", 2**52, 2**52]]))
    assert trace_of(folder)["columns"]["images"][1] == made["columns"]["step"][1] * 2.0**52


# --- files that somebody writes --------------------------------------------------------------------------------


def test_a_grid_that_multiplies_without_end_is_refused_at_once() -> None:
    knobs = ("iterations", "student_steps", "batch_size", "width", "latent")
    with pytest.raises(RequestError, match="vary: makes 937,500,000 runs"):
        find("grid").specs(find("grid").Request.build({"vary": {name: list(range(1, 51)) for name in knobs}}))


@pytest.mark.parametrize(
    "text", [b"a = " + b"[" * 50_000, b"a = 1" + b"0" * 5000, b"\xff", b"title = 'a'\npassword = 'secret'"]
)
def test_a_lesson_that_cannot_be_read_is_a_sentence(text: bytes, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("DFKD_LESSONS", str(tmp_path))
    (tmp_path / "odd.toml").write_bytes(text)
    for name in ("odd", "x" * 300):
        with pytest.raises(RequestError, match="lesson = ") as refused:
            script.read(name)
        assert "secret" not in str(refused.value)


def test_a_drawing_takes_any_number() -> None:
    for values in ([0, 5e-324], [5e-324, 5e-324], [1e90, -1e90], [1e300, 1], [math.nan, 1], [1, 1 + 1e-16]):
        assert "svg" in chart("t", [Line("a", range(len(values)), values)])
    assert chart("t", [Line("a", [0, 1, 2], [math.inf, 1.7e308, math.nan])]) == ""


def test_a_pipe_is_not_waited_for(tmp_path: Path, capsys: Any) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "is not a regular file" in refused(capsys, "import", str(tmp_path / "pipe"))
    assert "is not a regular file" in refused(capsys, "collected", "add", str(tmp_path / "pipe"), "--name", "x")


# --- beside the runs -------------------------------------------------------------------------------------------


def test_the_trash_is_no_way_out_of_the_folder(runs: Path, outside: Path) -> None:
    folder, other = new_run(runs), new_run(outside)
    (runs / ".trash").symlink_to(outside)
    with pytest.raises(StoreError, match="is a link"):
        throw_away(folder)
    assert thrown_away(runs) == []
    empty_trash(runs)
    assert other.path.is_dir() and folder.path.is_dir()


def test_an_index_is_a_file_of_its_own_and_says_what_runs_can_say(runs: Path, outside: Path) -> None:
    new_run(runs)
    (entry,) = RunIndex(runs).entries()
    with sqlite3.connect(runs / FILE) as connection:
        (said,) = connection.execute("SELECT said FROM runs").fetchone()
        facts = json.loads(unsealed(said))
        facts["status"]["state"] = "odd"
        connection.execute("UPDATE runs SET said = ?", (sealed(facts),))
    assert RunIndex(runs).entries() == [entry]
    shutil.move(runs / FILE, outside / "theirs.sqlite")
    (runs / FILE).symlink_to(outside / "theirs.sqlite")
    before = (outside / "theirs.sqlite").read_bytes()
    new_run(runs)
    assert len(RunIndex(runs).entries()) == 2 and (outside / "theirs.sqlite").read_bytes() == before


def test_names_that_are_no_text_are_passed_over(runs: Path, capsys: Any) -> None:
    folder = new_run(runs)
    shutil.copytree(folder.path, runs / os.fsdecode(b"20260101-000000-\xff\xff"))
    (folder.path / "samples" / os.fsdecode(b"\xff.png")).write_bytes(b"")
    assert [found.id for found in runs_in(runs)] == [folder.id]
    assert [entry.id for entry in RunIndex(runs).entries()] == [folder.id]
    status, out, _ = call(capsys, "runs")
    assert status == 0 and folder.id in out
    assert call(capsys, "verify", folder.id)[0] in (0, 1)


def test_what_is_no_file_of_a_run_stays_at_home(runs: Path, tmp_path: Path, capsys: Any) -> None:
    folder = new_run(runs)
    (folder.path / "notes.txt").write_text("mine")
    file = str(tmp_path / "run.zip")
    assert call(capsys, "export", folder.id, file)[0] == 0
    assert call(capsys, "import", file, "--runs", str(tmp_path / "elsewhere"))[0] == 0
    assert not (RunFolder(tmp_path / "elsewhere" / folder.id).path / "notes.txt").exists()
