"""The page Teachers: what each is like, bringing one, training one."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from browser import PATIENCE, Lab, button, expect, shoot
from conftest import eventually, new_run, visit
from playwright.sync_api import Page
from streamlit.testing.v1 import AppTest

from dfkd_core.analysis.jobs import ENDED, Job
from dfkd_core.store import runs_folder
from dfkd_core.teachers import making
from dfkd_core.teachers.cards import SHIPPED, TeacherCard, available_teachers, user_folder
from dfkd_core.teachers.make import store
from dfkd_core.teachers.measured import measured


def said(app: AppTest) -> str:
    return " ".join(one.value for one in [*app.markdown, *app.caption])


def test_a_teacher_without_batchnorm_rules_out_what_needs_it(app: AppTest) -> None:
    new_run(runs_folder(), teacher="digits-lenet5-long")
    visit(app, "teachers", teacher="digits-lenet5-long")
    words = said(app)
    assert "No BatchNorm" in words and "DeepInversion" in words.partition("rules out")[2]
    assert "DAFL" not in words.partition("rules out")[2].partition("They run")[0]
    table = app.dataframe[0].value.set_index("teacher")
    assert table.loc["digits-lenet5-long", "BatchNorm"] == "none" and table.loc["digits-lenet5-long", "runs"] == 1
    app.selectbox(key="teachers:chosen").set_value("digits-resnet20-plain").run()
    assert app.query_params["teacher"] == "digits-resnet20-plain" and "21 layers" in said(app)
    assert "No BatchNorm" not in said(app)


def test_measuring_is_a_job_whose_figures_stay(app: AppTest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dfkd_core.teachers.measured.SHIPPED", tmp_path)  # those that ship are known
    card = available_teachers()["digits-lenet5-long"]
    visit(app, "teachers", teacher=card.name)
    app.button(key="teachers:measure").click().run()
    found = eventually(lambda: measured(card))
    app.run()
    assert not app.exception and f"{found.ece:.2%}" in [one.value for one in app.metric]
    assert len(app.get("plotly_chart")) == 3


def test_a_teacher_that_is_surer_than_right_lies_below_the_diagonal(app: AppTest) -> None:
    visit(app, "teachers", teacher="digits-lenet5-long")  # in the middle of its bin, 98 % of its answers lay above it
    diagonal, points = json.loads(app.get("plotly_chart")[0].proto.spec)["data"]
    largest = points["marker"]["size"].index(max(points["marker"]["size"]))
    assert diagonal["x"] == diagonal["y"] == [0, 1]
    assert points["y"][largest] < points["x"][largest] > 0.99
    assert "592 images" in points["hovertext"][largest]


def test_a_training_is_begun_and_watched(app: AppTest) -> None:
    visit(app, "teachers", view="train")
    app.text_input(key="train:name").set_value("mine")
    app.number_input(key="train:digits-lenet5-bn-mixup:epochs").set_value(2).run()
    app.button(key="train:start").click().run()
    assert not app.exception and not app.error
    job = Job(making.place_of("mine", user_folder()), "train")
    assert eventually(lambda: job.state().state in ENDED and job.state().state, 120) == "done"
    app.run()
    app.button(key="train:start").click().run()
    assert "is taken" in app.error[0].value
    app.button(key="train:away:mine").click().run()
    assert not app.exception and "mine" in available_teachers()


def test_a_program_leads_to_the_form_with_a_method_that_needs_no_more_of_it(app: AppTest) -> None:
    about = available_teachers()["digits-lenet5-long"].model_dump() | {"name": "asked", "network": "onnx"}
    store(b"never opened", TeacherCard.model_validate(about), user_folder())
    visit(app, "teachers", teacher="asked")
    assert "only the answers are known" in said(app)
    app.button(key="teachers:distil").click().run()
    assert not app.exception and app.selectbox(key="form:teacher").value == "asked"
    assert app.selectbox(key="form:method").value == "noise"


def brought(page: Page, lab: Lab, file: Path, shown: str) -> None:
    """Upload it and look at what it is."""
    page.goto(f"{lab.url}teachers?view=bring")
    upload = page.locator("input[type=file]")
    upload.wait_for(state="attached", timeout=2 * PATIENCE)
    upload.set_input_files(file)
    expect(page.get_by_text(shown)).to_be_visible(timeout=PATIENCE)
    page.wait_for_selector("[data-test-script-state=notRunning]")
    button(page, "Look at it").click()


@pytest.mark.slow
def test_a_file_that_holds_no_weights_is_refused_in_a_sentence(page: Page, lab: Lab, tmp_path: Path) -> None:
    wrong = tmp_path / "weights.pt"
    wrong.write_bytes(b"<!doctype html><p>Not found</p>")
    brought(page, lab, wrong, "weights.pt")
    expect(page.get_by_text("it is a web page")).to_be_visible(timeout=PATIENCE)
    assert "Traceback" not in page.content()


def test_a_teacher_is_brought_from_the_page(page: Page, lab: Lab) -> None:
    brought(page, lab, SHIPPED / "digits-resnet8-adam.safetensors", "318.9KB")
    expect(page.get_by_text("98.66%")).to_be_visible(timeout=PATIENCE)
    shoot(page, "teacher-brought")
    page.get_by_role("textbox", name=re.compile("^Name")).fill("mine")
    page.keyboard.press("Tab")
    button(page, "Register").click()
    page.wait_for_url(re.compile("teacher=mine"))
    expect(page.get_by_role("heading", name="mine")).to_be_visible()
    assert "mine" in available_teachers("digits")
