"""A grid on its page: composed there or by a file, its readings, and the same without any score of test images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from axe import axe, serious  # noqa: F401 - a fixture
from browser import Lab, shoot, wait
from conftest import STUDENT, TEACHER, eventually, execute, new_run, visit
from playwright.sync_api import Page, expect
from streamlit.testing.v1 import AppTest

from dfkd_core.store import RunFolder, RunStatus, runs_folder
from dfkd_core.study import Record, Study, find, studies_in
from dfkd_core.study.traces import COLUMNS, FILE, of_study
from pages.ui.study import budget, grid

GRID = find("grid")
OTHER = "digits-lenet5-long"
VIEW = ".dfkd-grid"
KNOBS = {"epochs": 1, "iterations": 6, "batch_size": 16, "latent": 8, "width": 4}


def crafted(runs: Path) -> Study:
    """Two teachers, two methods, two seeds; TA-DFKD ends ten points above, and its last run has failed."""
    study = GRID.begin(
        runs, teachers=[TEACHER, OTHER], students=[STUDENT], methods=["dafl", "ta-dfkd"], seeds=[0, 1], knobs=KNOBS
    )
    for index, cell in enumerate(study.cells):
        if index == len(study.cells) - 1:
            study.keep(cell, Record(problem="Generator loss became nan at step 2."))
            continue
        final = 0.6 + 0.1 * (cell.labels["method"] == "ta-dfkd") + 0.01 * cell.labels["seed"]
        study.keep(cell, Record(_run(runs, cell.spec, final).id, _figures(final)))
    return study


def _figures(final: float) -> dict[str, Any]:
    return {"measure": "accuracy", "final": final, "best": final + 0.02, "teacher": 0.98, "seconds": 3.0}


def _run(runs: Path, spec: Any, final: float) -> RunFolder:
    folder = RunFolder.create(runs, spec.model_dump())
    scores = [0.1, 0.3, final + 0.02, final]
    columns: dict[str, Any] = dict.fromkeys(COLUMNS, [0.0, 2.0, 4.0, 6.0]) | {"score": scores}
    columns["sampled_agreement"] = [None, 0.2, 0.5, 0.4]
    folder.files.write_json(FILE, {"measure": "accuracy", "columns": columns})
    folder.set_status(RunStatus("done", step=6, total_steps=6, result=_figures(final)))
    return folder


def compose(app: AppTest) -> AppTest:
    app.run()
    app.query_params["new"] = "1"
    return app.switch_page("pages/studies.py").run()


def test_a_study_that_a_server_left_is_taken_up_by_the_next_which_says_so(request: pytest.FixtureRequest) -> None:
    knobs = {**KNOBS, "iterations": 5000}
    study = GRID.begin(runs_folder(), teachers=[TEACHER], students=[STUDENT], methods=["ta-dfkd"], knobs=knobs)
    study.claim().close()  # as the end of a server does
    app = request.getfixturevalue("app")
    eventually(study.is_conducted)
    app.run()
    visit(app, "studies", study=study.id)
    study.ask_to_stop()
    assert any(caption.value.startswith("Taken up again on ") for caption in app.caption)
    eventually(lambda: not study.is_conducted())
    assert not study.was_left()


def said(app: AppTest) -> str:
    (text,) = [text.value for text in app.markdown if "runs**" in text.value or ":material/error:" in text.value]
    return str(text)


# --- composing -------------------------------------------------------------------------------------------------


def test_a_grid_says_what_it_takes_or_what_is_wrong_before_anything_starts(app: AppTest) -> None:
    compose(app)
    assert not app.exception and said(app).startswith("**3 runs**")
    app.multiselect(key="form:grid:teachers").set_value([TEACHER, OTHER]).run()
    app.multiselect(key="form:grid:methods").set_value(["dafl", "ta-dfkd"]).run()
    app.text_input(key="form:grid:vary").set_value("bn_weight=0,1").run()
    assert said(app).startswith("**18 runs**"), "DAFL has no such knob"
    assert any("bn_weight:" in block.value for block in app.code), "the file says the same"
    for key, value, why in [("seeds", "0, x", "seeds.1"), ("vary", "colour=1,2", "is no knob of")]:
        box = app.text_input(key=f"form:grid:{key}")
        before = box.value
        box.set_value(value).run()
        assert why in said(app) and app.button(key="start").disabled
        app.text_input(key=f"form:grid:{key}").set_value(before).run()
    app.text_area(key="form:grid:more").set_value("seeds: [1]").run()
    assert "has an input of its own" in said(app)
    assert not studies_in(runs_folder())


def test_a_file_fills_the_form_and_comes_out_again(app: AppTest) -> None:
    compose(app)
    app.selectbox(key="grid:shipped").set_value("fig-1b").run()
    assert not app.exception and len(app.multiselect(key="form:grid:teachers").value) == 5
    (text,) = (block.value for block in app.code if "kind: grid" in block.value)
    from dfkd_core.study import file as files

    again = files.request_of(GRID, files.read(text, "again").given)
    assert again == files.request_of(GRID, files.read_file(files.find_file("fig-1b")).given)


def test_the_file_that_was_opened_last_fills_the_form(app: AppTest) -> None:
    """Of two, one that comes with the lab and one's own; what it does not say is as a file means it."""
    compose(app)
    app.selectbox(key="form:grid:preset").set_value("cpu").run()
    app.selectbox(key="grid:shipped").set_value("fig-1b").run()
    own = b"kind: grid\nmethods: [noise]\nseeds: [7]\n"
    app.file_uploader(key="grid:own").set_value(("mine.yaml", own, "application/yaml")).run()
    assert not app.exception and app.multiselect(key="form:grid:methods").value == ["noise"]
    assert app.text_input(key="form:grid:seeds").value == "7"
    assert app.selectbox(key="form:grid:preset").value == "demo"
    app.selectbox(key="grid:shipped").set_value("threshold").run()
    assert not app.exception and app.multiselect(key="form:grid:methods").value == ["ta-dfkd"]


def test_a_study_is_added_to(app: AppTest, runs: Path) -> None:
    study = crafted(runs)
    app.query_params["study"] = study.id
    app.switch_page("pages/studies.py").run()
    assert not app.exception
    app.button(key="add").click().run()
    assert not app.exception and app.multiselect(key="form:grid:methods").value == ["dafl", "ta-dfkd"]
    app.text_input(key="form:grid:seeds").set_value("0, 1, 2").run()
    assert said(app).startswith("**12 runs**")


# --- one that exists -------------------------------------------------------------------------------------------


def test_a_study_is_read_in_every_way_and_blindly(page: Page, lab: Lab, axe: str) -> None:
    study = crafted(lab.runs)
    page.goto(f"{lab.url}studies?study={study.id}")
    wait(page, "stage.view === 'map'", VIEW)
    cell = page.get_by_role("button", name=f"TA-DFKD from {TEACHER}")
    expect(cell).to_contain_text("70.5")
    expect(page.locator(VIEW)).to_contain_text("1 failed")
    cell.click()
    expect(page.locator(".grid-chosen li")).to_have_count(2)
    expect(page.locator(".grid-chosen").get_by_role("link", name="Inspect").first).to_be_visible()
    table = page.locator(".grid-board")
    assert not table.locator("tbody tr").count(), "drawn when it is opened"
    table.locator("summary").click()
    table.get_by_role("button", name="final").click()
    table.get_by_role("button", name="final").click()
    expect(table.locator("tbody tr").first).to_contain_text("71.0")
    expect(table.get_by_role("columnheader", name="final")).to_have_attribute("aria-sort", "descending")
    expect(table.locator("tbody tr").last).to_contain_text("Generator loss became nan at step 2.")
    shoot(page, "studies-map")
    assert serious(page, axe) == []
    for name, view in [("Peaks and ends", "strip"), ("Curves", "curves"), ("Against each other", "pair")]:
        page.get_by_role("radio", name=name).click()
        wait(page, f"stage.view === '{view}'", VIEW)
        page.wait_for_selector(f"[data-panel={view}] .main-svg")
    expect(page.locator("[data-panel=pair] .exp-key")).to_contain_text("TA-DFKD")
    page.get_by_role("radio", name="Across teachers").click()
    expect(page.locator("[data-panel=across] tbody tr")).to_have_count(2)
    expect(page.locator("[data-panel=across]")).to_contain_text("a student that is still rising has a value too")

    page.get_by_text("Without validation data").click()
    wait(page, "stage.view === 'map'", VIEW)
    expect(page.locator(VIEW)).not_to_contain_text("70.5")
    page.get_by_role("radio", name="Picked checkpoints").click()
    expect(page.locator("[data-panel=picks] thead th")).to_have_count(4)
    page.get_by_text("Reveal").click()
    expect(page.locator("[data-panel=picks] thead")).to_contain_text("regret")
    shoot(page, "studies-picks")

    page.goto(f"{lab.url}studies?study={study.id}&blind=1&reading=picks")  # as somebody passes it on
    wait(page, "stage.view === 'picks'", VIEW)
    page.get_by_role("radio", name="Map").click()
    wait(page, "stage.view === 'map'", VIEW)
    expect(page.locator(VIEW)).not_to_contain_text("70.5")


@pytest.mark.parametrize("reading", ["map", "picks"])
def test_what_is_looked_at_stands_in_the_address(app: AppTest, runs: Path, reading: str) -> None:
    app.query_params.update({"study": crafted(runs).id, "reading": reading, "blind": "1" if reading == "picks" else ""})
    app.switch_page("pages/studies.py").run()
    assert not app.exception and app.query_params["reading"] == reading


def test_an_amount_to_compare_at_stands_in_the_address_and_who_fell_short_is_said(app: AppTest, runs: Path) -> None:
    study = crafted(runs)
    visit(app, "studies", study=study.id, at="step", budget="4")
    assert app.number_input(key="grid:budget:step").value == 4 and app.query_params["budget"] == "4"
    app.number_input(key="grid:budget:step").set_value(7).run()
    assert not app.exception and app.query_params["budget"] == "7" and app.query_params["at"] == "step"
    app.selectbox(key="grid:at").set_value("seconds").run()
    assert app.number_input(key="grid:budget:seconds").value is None, "seven steps are not seven seconds"
    assert "budget" not in app.query_params
    app.selectbox(key="grid:at").set_value("step").run()
    rows = GRID.table(study.settings, study.progress().cells)
    known = of_study(study, rows)
    first = next(iter(known))
    known[first]["columns"]["step"][-1] = 5.0
    at_six, words, short = budget.at(("step", 6), rows, known)
    assert words == "at 6 steps" and short.startswith("1 of 7 runs did not come so far") and "seed 0" in short
    assert [row["run"] for row in at_six if row["state"] == "short"] == [first] and len(at_six) == len(rows)
    assert budget.at(("step", None), rows, known)[1:] == ("at 5 steps, as far as all came", "")
    unread = known.pop(first)
    assert unread["columns"]["step"][-1] == 5.0
    without, _, short = budget.at(("step", 6), rows, known)
    assert short.startswith("1 of 7 runs could not be read, and is missing here: DAFL from ")
    assert [row["run"] for row in without if row["state"] == "short"] == [first]
    assert all(row["final"] is None for row in budget.at(("step", 6), rows, {})[0]), "or ends would stand for it"


def test_a_run_that_goes_on_has_a_curve_of_its_own(runs: Path) -> None:
    study = crafted(runs)
    cell, folder = study.cells[-1], new_run(runs)
    execute(folder)
    study.keep(cell, Record(folder.id))
    rows = GRID.table(study.settings, study.progress().cells)
    rows = [{**row, "state": "running"} if row["run"] == folder.id else row for row in rows]
    said = {"axis": "step", "column": "score", "teacher": ""}
    (live,) = grid._live(study, rows, said)
    assert (live["teacher"], live["seed"]) == (cell.labels["teacher"], cell.labels["seed"])
    assert [step for step, _ in live["points"]] == [0, 2, 4, 6]
    assert not grid._live(study, rows, {**said, "teacher": TEACHER}), "of the teacher that is looked at alone"
