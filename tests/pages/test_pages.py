"""The pages without a browser, through Streamlit's AppTest."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import streamlit as st
from conftest import execute, new_run, some_methods, visit
from streamlit.testing.v1 import AppTest
from tampering import flip

from dfkd_core import methods
from dfkd_core.runs.spec import read_spec
from dfkd_core.store import SPECS, RunStatus, runs_folder, runs_in
from dfkd_core.teachers.cards import find_card, user_folder
from pages.ui import boot, linked


def test_the_first_page_shows_the_form_and_an_enabled_start(app: AppTest) -> None:
    app.run()
    assert not app.exception and not app.error
    assert [box.label for box in app.selectbox][:4] == ["Benchmark", "Teacher", "Student", "Method"]
    assert not app.button(key="start").disabled and app.button(key="stop").disabled


@pytest.mark.parametrize("page", ["distill", "hybrid"])
def test_the_form_does_without_torchvision(app: AppTest, monkeypatch: pytest.MonkeyPatch, page: str) -> None:
    """Which takes seconds to import."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"] + ["torchvision"]:
        monkeypatch.setitem(sys.modules, name, None)
    st.cache_data.clear()
    visit(app, page)
    assert not app.button(key="start").disabled


@pytest.mark.parametrize("method", some_methods())
def test_the_form_has_every_knob_of_the_method_with_its_help(app: AppTest, method: str) -> None:
    app.query_params["method"] = method
    found = methods.find(method)
    page = {"classifier": "distill", "generative": "generative"}[found.requires.task]
    app.switch_page(f"pages/{page}.py").run()
    config = found.Config
    preset = next(iter(config.presets), "")
    for name, field in config.model_fields.items():
        widgets = [
            element
            for kind in (app.number_input, app.selectbox, app.toggle)
            for element in kind
            if element.key == f"knob:{method}:{preset}:{name}"
        ]
        assert len(widgets) == 1, name
        assert field.description in widgets[0].help


def test_a_link_opens_the_lab_as_it_was_sent(app: AppTest) -> None:
    link = {
        "student": "lenet5-bn",
        "seed": "7",
        "preset": "paper",
        "k.batch_size": "64",
        "k.selection": "False",
        "r.probes": "32",
    }
    for name, value in link.items():
        app.query_params[name] = value
    app.run()
    assert app.selectbox(key="form:student").value == "lenet5-bn"
    assert app.number_input(key="form:seed").value == 7
    assert app.number_input(key="knob:ta-dfkd:paper:batch_size").value == 64
    assert app.toggle(key="knob:ta-dfkd:paper:selection").value is False
    assert app.number_input(key="form:record:probes").value == 32
    assert app.query_params["k.batch_size"] == "64", "and the address bar still says so"
    assert app.query_params["r.probes"] == "32" and "r.samples" not in app.query_params


def test_the_form_says_where_runs_train(app: AppTest) -> None:
    engine = boot.start().engine
    assert engine is not None and any(engine.title in said.value for said in app.run().sidebar.caption)


def test_the_form_says_what_recording_takes_on_disk(app: AppTest) -> None:
    def megabytes() -> float:
        (caption,) = [element.value for element in app.caption if element.value.startswith("About ")]
        return float(caption.split()[1])

    app.run()
    usual = megabytes()
    app.number_input(key="form:record:samples_every").set_value(1).run()
    assert usual > 1 and megabytes() > 5 * usual


def test_the_form_says_what_is_doubtful_about_a_teacher(app: AppTest) -> None:
    card, path = find_card("digits-resnet8-adam")
    user_folder().mkdir(parents=True, exist_ok=True)
    doubtful = card.model_copy(update={"name": "mine", "doubts": ("its accuracy is near chance", "![x](http://x)")})
    (user_folder() / "mine.json").write_text(doubtful.model_dump_json())
    (user_folder() / "mine.safetensors").write_bytes(path.with_suffix(".safetensors").read_bytes())
    app.run()
    assert not [warning for warning in app.warning if "doubtful" in warning.value]
    app.selectbox(key="form:teacher").set_value("mine").run()
    (said,) = [warning.value for warning in app.warning if "doubtful" in warning.value]
    assert "near chance" in said and "![x]" not in said


@pytest.mark.parametrize(
    ("name", "value", "key", "usual"),
    [
        *(("k.batch_size", value, "knob:ta-dfkd:demo:batch_size", 128) for value in ("0", "many", "1e99", "-5")),
        ("k.selection", "perhaps", "knob:ta-dfkd:demo:selection", True),
        ("k.nonsense", "1", "", None), ("r.samples_every", "-1", "form:record:samples_every", 10),
        ("seed", "abc", "form:seed", 0), ("seed", "99999999999", "form:seed", 0), ("threads", "0", "form:threads", 1),
        ("teacher", "no-such", "form:teacher", "digits-resnet20-plain"), ("student", "x", "form:student", "resnet8"),
        ("method", "x", "form:method", "ta-dfkd"), ("preset", "x", "form:preset", "demo"),
        ("benchmark", "x", "form:benchmark", "digits"), ("device", "gpu", "form:device", "cpu"),
    ],
)  # fmt: skip
def test_what_a_link_asks_for_and_is_not_there_is_said_and_start_waits_until_it_was_seen(
    app: AppTest, name: str, value: str, key: str, usual: object
) -> None:
    app.query_params[name] = value
    app.run()
    assert not app.exception and value in app.sidebar.warning[0].value and app.button(key="start").disabled
    if key:
        widgets = [*app.selectbox, *app.number_input, *app.toggle, *app.button_group]
        assert next(widget for widget in widgets if widget.key == key).value == usual
    app.button(key=f"{linked.KEY_OF_FORM}:seen").click().run()
    assert not app.sidebar.warning and not app.button(key="start").disabled


def test_students_are_those_that_suit_the_images_or_what_a_link_brings(app: AppTest) -> None:
    app.run()
    students = app.selectbox(key="form:student")
    assert students.value == "resnet8" and students.options[:2] == ["LeNet-5", "LeNet-5-half"]
    assert "WRN-16-1" in students.options and "VGG-13" not in students.options
    app.selectbox(key="form:benchmark").set_value("cifar10").run()
    assert {"VGG-13", "ResNet-110", "ShuffleNet V1"} < set(app.selectbox(key="form:student").options)


def test_a_link_brings_any_student(app: AppTest) -> None:
    app.query_params["student"] = "vgg11-bn"
    app.run()
    students = app.selectbox(key="form:student")
    assert students.value == "vgg11-bn" and "VGG-11" in students.options and not app.sidebar.warning


@pytest.mark.parametrize("text", ["true", "True", "1", "yes", "false", "False", "0", "no"])
def test_a_switch_in_a_link_is_read_as_the_command_line_reads_it(app: AppTest, text: str) -> None:
    app.query_params["k.selection"] = text
    app.run()
    assert app.toggle(key="knob:ta-dfkd:demo:selection").value == (text.lower() in ("true", "1", "yes"))
    assert not app.sidebar.warning


def test_a_request_that_cannot_be_carried_out_is_one_sentence_and_nothing_is_lost(app: AppTest, tmp_path: Path) -> None:
    app.query_params["benchmark"] = "folder:/nowhere/at/all"
    app.run()
    app.button(key="start").click().run()
    assert not app.exception
    assert "should name a folder that exists" in app.error[0].value
    assert app.text_input(key="form:folder").value == "/nowhere/at/all"
    assert not runs_in(tmp_path / "runs")


def test_start_submits_the_run_that_the_form_says(app: AppTest, tmp_path: Path) -> None:
    app.query_params["k.epochs"] = "1"
    app.query_params["k.iterations"] = "2"
    app.query_params["k.batch_size"] = "16"
    app.run()
    app.button(key="start").click().run()
    assert not app.exception and not app.error
    (folder,) = runs_in(tmp_path / "runs")
    assert app.query_params["run"] == folder.id
    assert folder.spec()["config"]["batch_size"] == 16 and folder.spec()["config"]["epochs"] == 1


@pytest.mark.parametrize("page", ["pages/runs.py", "pages/methods.py"])
def test_the_other_pages_open_even_when_there_is_nothing_yet(app: AppTest, page: str) -> None:
    app.run()
    app.switch_page(page).run()
    assert not app.exception


def test_a_public_address_without_a_login_is_refused(app: AppTest) -> None:
    from streamlit import config

    before = config.get_option("server.address")
    config._set_option("server.address", "0.0.0.0", "test")
    try:
        app.run()
    finally:
        config._set_option("server.address", before, "test")
    assert "Configure a login" in app.error[0].value
    assert not app.button


def test_a_ticked_run_stays_ticked_when_another_one_begins(app: AppTest) -> None:
    runs = runs_folder()
    old = new_run(runs)
    assert execute(old).state == "done"
    app.query_params["chosen"] = old.id
    app.switch_page("pages/runs.py").run()
    assert app.query_params["chosen"] == old.id
    newer = new_run(runs)
    app.run()
    assert [row["run"] for _, row in app.dataframe[0].value.iterrows()] == [newer.id, old.id]
    assert app.query_params["chosen"] == old.id
    next(button for button in app.button if button.label == "Open in Distill").click().run()
    assert app.query_params["run"] == old.id


def test_a_button_says_what_was_asked_until_the_run_has_done_it(app: AppTest) -> None:
    folder = new_run(runs_folder())
    with folder.begin_attempt() as lease:
        folder.set_status(RunStatus("running", "", 3, 6, lease.number))
        app.query_params["run"] = folder.id
        app.run()
        assert not app.button(key="pause_or_resume").disabled
        app.button(key="pause_or_resume").click().run()
        said = app.button(key="pause_or_resume")
        assert (said.label, said.disabled) == ("Pausing", True) and not app.button(key="stop").disabled
        assert [command.name for command in next(folder.commands(lease.number))] == ["pause"]
        folder.set_status(RunStatus("paused", "", 3, 6, lease.number))
        app.run()
        said = app.button(key="pause_or_resume")
        assert (said.label, said.disabled) == ("Resume", False)


def test_a_run_of_which_nothing_can_be_read_offers_no_resume(app: AppTest) -> None:
    whole, damaged = new_run(runs_folder()), new_run(runs_folder())
    for folder in (whole, damaged):
        folder.set_status(RunStatus("stopped", "", 3, 6, 1))
    for name in SPECS:
        flip(damaged.path / name, 100)
    for folder in (whole, damaged):
        app.query_params["run"] = folder.id
        app.switch_page("pages/distill.py").run()
        assert app.button(key="pause_or_resume").label == "Resume"
        assert app.button(key="pause_or_resume").disabled == (folder is damaged)


@pytest.mark.parametrize(("limit", "said"), [(1_000_000, 0), (1, 1)])
def test_the_lab_says_when_hardly_any_file_can_be_opened(
    app: AppTest, monkeypatch: pytest.MonkeyPatch, limit: int, said: int
) -> None:
    monkeypatch.setattr(boot.resource, "getrlimit", lambda _: (limit, 1_000_000))
    app.run()
    assert len(app.sidebar.warning) == said and not app.exception


def test_a_term_that_the_teacher_has_nothing_for_is_said(app: AppTest) -> None:
    app.query_params.update({"benchmark": "mnist", "teacher": "mnist-lenet5-plain"})
    app.run()
    assert "BN statistics cannot act" in " ".join(said.value for said in app.sidebar.warning)
    assert not app.button(key="start").disabled
    app.number_input(key="knob:ta-dfkd:demo:bn_weight").set_value(0.0).run()
    assert "cannot act" not in " ".join(said.value for said in app.sidebar.warning)


def test_what_makes_up_for_missing_statistics_is_set_by_a_click(app: AppTest) -> None:
    app.run()
    assert "form-instead" not in [button.key for button in app.button]
    app.query_params.update({"benchmark": "digits", "teacher": "digits-lenet5-long"})
    app.session_state["form:teacher"] = "digits-lenet5-long"
    app.run()
    app.button(key="form-instead").click().run()
    assert app.query_params["k.class_balance_weight"] == "5.0"
    assert "form-instead" not in [button.key for button in app.button] and not app.exception


def test_the_data_folder_is_the_visitors_and_the_runs_own(app: AppTest, tmp_path: Path) -> None:
    app.run()
    before = dict(os.environ)
    app.text_input(key="form:data").set_value(str(tmp_path / "sets")).run()
    app.button(key="start").click().run()
    assert dict(os.environ) == before
    assert read_spec(runs_in(tmp_path / "runs")[0]).data == str(tmp_path / "sets")
