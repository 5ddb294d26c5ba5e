"""What ships with the lab to be looked at: every page opens on it, and nothing of it can be steered."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from browser import Lab, button, wait
from conftest import execute, new_run
from playwright.sync_api import Page, expect
from streamlit.testing.v1 import AppTest

from dfkd_core.analysis.measured import GENERATED
from dfkd_core.runs.spec import read_spec
from dfkd_core.store import RunFolder, read_sheet, runs_in, verify
from dfkd_core.study import Study, studies_in
from pages.ui import recordings

RUNS, STUDIES = runs_in(recordings.FOLDER), studies_in(recordings.FOLDER)


@pytest.mark.parametrize("folder", RUNS, ids=lambda folder: folder.id)
def test_a_recorded_run_is_whole_and_done_and_says_nothing_of_its_machine(folder: RunFolder) -> None:
    assert verify(folder) == [] and folder.status().state == "done"
    assert not any(b"/tmp/" in folder.files.read(name) for name in folder.files.walk() if name.endswith((".json", "l")))


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.id)
def test_a_recorded_study_has_all_its_runs(study: Study) -> None:
    progress = study.progress()
    assert study.damage() == [] and progress.state == "done" and progress.done == progress.total
    folders = [study.run(study.record(cell)) for cell in study.cells]
    assert all(folder.path.is_dir() for folder in folders)
    assert study.kind != "prior" or all(read_sheet(folder, GENERATED) for folder in folders), "its page shows images"


def test_recordings_take_a_few_megabytes() -> None:
    assert sum(path.stat().st_size for path in recordings.FOLDER.rglob("*") if path.is_file()) < 15e6


@pytest.mark.parametrize(
    ("page", "name"),
    [("distill", recordings.DISTILL), ("hybrid", recordings.HYBRID), ("generative", recordings.GENERATIVE)],
)
def test_a_page_of_runs_opens_on_a_recorded_one_until_there_is_an_own(
    app: AppTest, runs: Path, page: str, name: str
) -> None:
    app.run()
    app.switch_page(f"pages/{page}.py").run()
    assert not app.exception
    (said,) = [one.value for one in app.caption if f"Showing **{name}** (recorded)" in one.value]
    assert "the form says the same" in said or page == "hybrid"  # whose collected images are not there
    assert not app.button(key="start").disabled
    assert app.button(key="pause_or_resume").disabled and app.button(key="stop").disabled


def test_a_run_or_study_of_the_same_name_takes_no_recordings_place(app: AppTest, runs: Path) -> None:
    shutil.copytree(recordings.FOLDER / recordings.HYBRID, runs / recordings.DISTILL)
    shutil.copytree(recordings.FOLDER / "studies" / "fig-1b", runs / "studies" / "fig-1a")
    assert recordings.is_one(recordings.run(recordings.DISTILL) or RunFolder(runs))
    app.run()
    app.query_params["study"] = "fig-1a"
    app.switch_page("pages/lessons.py").run()
    assert not app.exception and [one.label for one in app.button if one.key == "new"] == ["Run it here"]


def test_after_the_end_the_own_run_is_shown_and_not_the_recorded_one(app: AppTest, runs: Path) -> None:
    own = new_run(runs)
    execute(own)
    app.run()
    assert any(f"Showing **{own.id}** (yours, done)" in one.value.replace("\\", "") for one in app.caption)


def test_the_strip_says_how_the_form_differs_and_loads_the_runs_settings(app: AppTest, runs: Path) -> None:
    own = new_run(runs, seed=7, teacher="digits-lenet5-bn-mixup", samples_every=3)
    execute(own)
    app.query_params.update({"run": own.id, "seed": "5"})
    app.run()
    (said,) = [one.value for one in app.caption if "Showing" in one.value]
    assert "the form differs in teacher, student, seed, epochs and" in said
    app.button(key="load").click().run()
    assert any("the form says the same" in one.value for one in app.caption)
    assert app.number_input(key="form:seed").value == 7 and app.query_params["run"] == own.id
    assert app.query_params["r.samples_every"] == "3" and "load" not in [one.key for one in app.button]
    app.button(key="start").click().run()
    begun = RunFolder(runs / app.query_params["run"])
    same = {"config", "teacher", "student", "seed", "samples_every", "probes", "collected"}
    assert begun.id != own.id and read_spec(begun).model_dump(include=same) == read_spec(own).model_dump(include=same)


@pytest.mark.browser
def test_recorded_studies_play_and_lead_to_their_runs_and_to_one_of_ones_own(page: Page, lab: Lab) -> None:
    page.goto(lab.url + "lessons")
    head = ".dfkd-experiment"
    wait(page, "stage.study === 'fig-1a' && Number(stage.points) > 0", head)
    begun = int(page.locator(head).get_attribute("data-points") or 0)
    wait(page, f"Number(stage.points) > {begun}", head)
    expect(page.locator(".exp-reading")).to_contain_text("furthest apart")
    page.locator(".exp-replay").click()
    expect(page.locator(".exp-reading")).to_be_empty()
    page.locator(".dfkd-lesson").get_by_role("link", name="Inspect").first.click()
    microscope = page.frame_locator(".beside iframe").locator(".dfkd-microscope[data-step]")
    expect(microscope).to_have_attribute("data-run", re.compile("^fig-1a-"))
    microscope.click(position={"x": 4, "y": 4})
    page.keyboard.press("Escape")
    expect(page.locator(".beside")).to_have_count(0)
    assert page.url.endswith("lessons?study=fig-1a")
    page.goto(lab.url + "prior")
    wait(page, "stage.study === 'figs-2-3' && Number(stage.points) > 0", head)
    button(page, "Run it here").click()
    expect(button(page, "Start")).to_be_enabled()
