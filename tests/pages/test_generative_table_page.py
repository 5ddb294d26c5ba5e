"""The table of generative students on its page: what begins one, and one that fills."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from browser import Lab, button, shoot, wait
from figures import network
from playwright.sync_api import Page, expect
from streamlit.testing.v1 import AppTest

from dfkd_core.store import RunFolder, runs_folder
from dfkd_core.study import Record, Study, find, studies_in
from dfkd_core.study.generative_table import ARMS, text_table
from pages.ui.study.generative_table import table_csv

KIND = find("generative")
TABLE = ".dfkd-generative-table"
TINY = "k.distill_steps=2&k.batch_size=8&r.probes_every=0"


def crafted(runs: Path, arms: list[str] | None = None) -> Study:
    """A table with made-up figures, at widths 4 and 8; the last run has failed."""
    arms = arms or list(ARMS)
    study = KIND.begin(runs, seeds=[0, 1], widths=[4, 8], arms=arms, knobs={"distill_steps": 2}, measured=50)
    for index, cell in enumerate(study.cells):
        folder = RunFolder.create(runs, cell.spec.model_dump())
        if index == len(study.cells) - 1:
            study.keep(cell, Record(folder.id, problem="Output KL became nan at step 2."))
            continue
        width, order = cell.labels["x"], list(ARMS).index(cell.labels["series"])
        fid = 30 / width + 0.3 * order + 0.2 * cell.labels["seed"]
        elbo = -20.0 if cell.labels["series"].endswith("elbo") else None
        student = network(fid, parameters=900 * width, elbo=elbo, encoder="own" if elbo else "teacher")
        teacher = network(1.5, parameters=218_496, elbo=-3.7)
        figures: dict[str, Any] = {"teacher": teacher, "student": student, "label": "In x features", "seconds": 9.0}
        figures |= {"step": 2, "samples": 50, "extractor": "teacher:one", "reference": "50 test images"}
        study.keep(cell, Record(folder.id, figures))
    return study


def test_a_table_says_how_many_runs_it_takes_or_what_is_wrong_before_anything_starts(app: AppTest) -> None:
    app.query_params.update({"view": "table", "k.source": "latents", "k.distill_steps": "7"})
    app.switch_page("pages/generative.py").run()
    assert not app.exception and not app.error
    assert any(text.value.startswith("**21 runs**") for text in app.markdown), "seven arms, one width, three seeds"
    app.text_input(key="generative:widths").set_value("4, 8").run()
    app.multiselect(key="generative:arms").set_value(["with-data", "ancestral"]).run()
    assert any(text.value.startswith("**12 runs**") for text in app.markdown)
    app.text_input(key="generative:widths").set_value("wide").run()
    assert any("'wide': should be a valid integer" in text.value for text in app.markdown)
    app.button(key="start").click().run()
    assert not app.exception and "should be a valid integer" in app.error[0].value
    assert not studies_in(runs_folder())


def test_the_csv_has_every_figure_with_its_spread_beside_it() -> None:
    row = {"series": "ancestral", "x": 8, "n": 2, "values": {"fid": 3.0, "elbo": None}}
    row |= {"spreads": {"fid": 0.5, "elbo": None}, "ratio": 1.1, "ratio_low": 0.9, "ratio_high": 1.3, "pairs": 2}
    (read,) = pd.read_csv(io.StringIO(table_csv([row]))).to_dict("records")
    assert (read["series"], read["width"], read["runs"], read["fid"], read["fid_spread"]) == (
        "ancestral",
        8,
        2,
        3.0,
        0.5,
    )
    assert (read["ratio"], read["ratio_low"], read["pairs"]) == (1.1, 0.9, 2) and pd.isna(read["elbo"])


# --- in a browser ----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_table_from_start_to_its_last_row(page: Page, lab: Lab) -> None:
    page.goto(f"{lab.url}generative?view=table&{TINY}")
    expect(page.get_by_test_id("stSidebar").get_by_text("Benchmark")).to_be_visible()  # the engine is there
    for label, words in (("Students' widths H", "4"), ("Seeds", "1"), ("Images measured", "100")):
        field = page.get_by_label(label, exact=True)
        field.fill(words)
        field.press("Enter")
    expect(page.get_by_text("7 runs")).to_be_visible()
    for arm in (arm for name, arm in ARMS.items() if name not in ("with-data", "ancestral")):
        page.get_by_role("button", name=f"Remove {arm.title}", exact=True).click()
    expect(page.get_by_text("2 runs")).to_be_visible()
    button(page, "Start").click()
    wait(page, "stage.state === 'running' && stage.total === '2'", TABLE)
    (study,) = [study for study in studies_in(lab.runs, "generative") if study.id in page.url]
    wait(page, "stage.state === 'done' && stage.points === '2'", TABLE)
    rows = KIND.table(study.settings, study.progress().cells)
    head, *lines = text_table(rows, "digits")
    shown = [row.locator("th, td").all_text_contents() for row in page.locator(".table-figures tbody tr").all()]
    assert shown == lines and [row["n"] for row in rows] == [2, 1, 1]
    expect(page.locator(".exp-reading")).to_contain_text("FID of the best data-free student as a multiple")
    expect(page.locator(".table-figures p")).to_contain_text("100 real, 100 generated")
    shoot(page, "generative-table-done")


def points(page: Page, symbol: str) -> list[list[float]]:
    """Heights of the marks of each trace with that symbol."""
    script = """([symbol]) => document.querySelector('.table-plot .exp-plot').data
      .filter((trace) => trace.marker?.symbol === symbol).map((trace) => trace.y)"""
    return page.evaluate(script, [symbol])


def test_the_plot_holds_each_arms_figure_against_size_and_the_teacher_as_a_line(page: Page, lab: Lab) -> None:
    study = crafted(lab.runs)
    page.goto(f"{lab.url}generative?study={study.id}")
    wait(page, f"stage.points === '{len(study.cells) - 1}'", TABLE)
    page.wait_for_selector(".table-plot .main-svg")
    assert points(page, "circle") == [[pytest.approx(7.6), pytest.approx(3.85)]], "widths 4 and 8 with data"
    assert points(page, "circle-open") == [[1.5]] and len(points(page, "star")) == 1
    page.get_by_label("Figure of the plot").select_option("emd")
    wait(page, "stage.figure === 'emd'", TABLE)
    assert points(page, "circle") == [[1.0, 1.0]]
    expect(page.locator(".exp-problems")).to_contain_text(
        "guided diffusion, by the ELBO, H 8, seed 1 failed. Output KL"
    )
    expect(page.locator("tr[data-series=teacher]")).to_contain_text("218,496")
    assert page.locator(".table-figures tbody tr").count() == 1 + 2 * len(ARMS)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    shoot(page, "generative-table")
    page.get_by_role("radio", name="Run", exact=True).click()
    expect(page.locator(TABLE)).to_have_count(0)
    assert "study=" not in page.url and "view=" not in page.url
