"""The page Runs: found, compared, described, begun again, deleted and brought back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, TINY, execute, new_run, visit
from streamlit.testing.v1 import AppTest

from dfkd_core.analysis import about
from dfkd_core.runs.spec import read_spec
from dfkd_core.store import RunFolder, runs_folder, runs_in, thrown_away
from dfkd_core.study import Cell, Record, Study


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seeds of one configuration and one of another, done."""
    runs = tmp_path_factory.mktemp("made")
    for knobs, seed in (({}, 0), ({}, 1), ({"student_lr": 0.05}, 0)):
        assert execute(new_run(runs, {**TINY, **knobs}, seed=seed)).state == "done"
    return runs


@pytest.fixture
def three(made: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[RunFolder]:
    import shutil

    shutil.copytree(made, tmp_path / "runs", dirs_exist_ok=True)
    return runs_in(runs_folder())[::-1]


def shown(app: AppTest) -> list[str]:
    return list(app.dataframe[0].value["run"])


def named(app: AppTest, label: str) -> Any:
    return next(one for one in app.button if one.label == label)


def test_the_address_says_what_is_found_and_how_it_is_shown(app: AppTest, three: list[RunFolder]) -> None:
    first, second, other = (folder.id for folder in three)
    visit(app, "runs", search="student_lr=0.1", sort="seed", columns="seed,student_lr")
    assert shown(app) == [second, first]
    assert list(app.dataframe[0].value) == ["run", "seed", "student_lr"]
    app.text_input(key="runs:search").set_value("").run()
    app.multiselect(key="runs:columns").set_value(["student_lr"]).run()
    app.selectbox(key="runs:sort").set_value("student_lr").run()
    assert shown(app)[-1] == other and "search" not in app.query_params
    assert app.query_params["sort"] == "student_lr" and app.query_params["columns"] == "student_lr"
    app.text_input(key="runs:search").set_value("studen_lr=1").run()
    assert "did you mean student" in app.warning[0].value and len(shown(app)) == 3


def test_filters_narrow_and_what_was_chosen_stays_so(app: AppTest, three: list[RunFolder]) -> None:
    about.say(three[2], tags=("good",), group="july")
    visit(app, "runs", chosen=three[0].id, tags="good")
    assert shown(app) == [three[2].id] and app.query_params["chosen"] == three[0].id
    app.multiselect(key="runs:filter:tags").set_value([]).run()
    assert len(shown(app)) == 3


def test_seeds_of_one_configuration_become_a_band(app: AppTest, three: list[RunFolder]) -> None:
    visit(app, "runs", chosen=",".join(folder.id for folder in three))
    (chart,) = app.get("plotly_chart")
    assert "2 seeds" in chart.proto.spec or "2 seeds" in str(chart.proto)
    app.toggle(key="runs:bands").set_value(False).run()
    assert "2 seeds" not in str(app.get("plotly_chart")[0].proto) and app.query_params["bands"] == "off"
    differ = app.dataframe[1].value
    assert {"student lr", "seed"} <= set(differ.index)


def test_a_run_is_described(app: AppTest, three: list[RunFolder]) -> None:
    one = three[0].id
    visit(app, "runs", chosen=one)
    app.text_input(key=f"runs:name:{one}").set_value("the first")
    app.text_input(key=f"runs:tags:{one}").set_value("good, for class")
    app.text_area(key=f"runs:note:{one}").set_value("odd at step 3")
    app.button(key="runs:keep").click().run()
    assert about.about(three[0]) == about.About(name="the first", tags=("good", "for class"), note="odd at step 3")
    app.text_input(key="runs:search").set_value('"odd at"').run()
    assert list(app.dataframe[0].value["name"]) == ["the first"]


def test_a_group_with_a_comma_is_filtered_by_and_sent_by_link(app: AppTest, three: list[RunFolder]) -> None:
    about.say(three[0], group="teachers, hard")
    about.say(three[1], group="easy")
    visit(app, "runs")
    app.multiselect(key="runs:filter:group").set_value(["teachers, hard"]).run()
    sent = app.query_params["group"]
    other = visit(AppTest.from_file(str(ROOT / "app.py"), default_timeout=60), "runs", group=sent)
    assert other.multiselect(key="runs:filter:group").value == ["teachers, hard"] and len(other.dataframe[0].value) == 1


def test_deleting_can_be_undone(app: AppTest, three: list[RunFolder]) -> None:
    one = three[0].id
    visit(app, "runs", chosen=one)
    app.button(key="runs:delete").click().run()
    assert one not in shown(app) and [folder.id for folder in thrown_away(runs_folder())] == [one]
    app.button(key="runs:undo").click().run()
    assert one in shown(app) and not thrown_away(runs_folder()) and app.query_params["chosen"] == one


def test_what_a_study_loses_with_a_run_is_said(app: AppTest, three: list[RunFolder]) -> None:
    spec = read_spec(three[0])
    study = Study.create(runs_folder(), "plain", "The study", {}, [Cell("one", {"seed": 0}, spec)])
    study.keep(study.cells[0], Record(run=three[0].id, figures={"final": 0.5}))
    visit(app, "runs", chosen=three[0].id)
    app.button(key="runs:delete").click().run()
    assert any("“The study”" in caption.value for caption in app.caption)


def test_again_takes_a_seed_that_was_not_used_yet(app: AppTest, three: list[RunFolder]) -> None:
    visit(app, "runs", chosen=three[0].id)
    app.button(key="runs:again").click().run()
    assert not app.exception and not app.error
    (new,) = [folder for folder in runs_in(runs_folder()) if folder.id not in {one.id for one in three}]
    was, now = three[0].spec(), new.spec()
    assert now["seed"] == 2 and {**now, "seed": 0, "data": ""} == {**was, "data": ""}
    assert new.id in app.query_params["chosen"]


@pytest.mark.parametrize(
    ("kind", "loaded_by"),
    [("safetensors", "load_file"), pytest.param("torch", "torch.export.load", marks=pytest.mark.slow)],
)
def test_a_student_is_taken_home_with_the_lines_that_load_it(
    app: AppTest, three: list[RunFolder], kind: str, loaded_by: str
) -> None:
    visit(app, "runs", chosen=three[0].id)
    app.selectbox(key="runs:as").set_value(kind).run()
    if kind == "torch":  # in a process of its own
        app.button(key="runs:make").click().run()
    assert not app.exception and not app.error
    assert loaded_by in app.code[0].value


def test_the_table_is_there_as_text_for_whoever_does_not_see_the_canvas(app: AppTest, three: list[RunFolder]) -> None:
    about.say(three[1], name="<b>mine</b>")
    visit(app, "runs", sort="seed", columns="name,seed,best")
    assert not any("runs-as-text" in one.body for one in app.get("html")), "on demand"
    app.toggle(key="runs:as text").set_value(True).run()
    (text,) = [one.body for one in app.get("html") if "runs-as-text" in one.body]
    assert "&lt;b&gt;mine&lt;/b&gt;" in text and text.count('<th scope="row">') == 3
    best = app.dataframe[0].value["best"][0]
    assert f"<td>{best:.1%}</td>" in text and f'?run={three[0].id}"' in text
