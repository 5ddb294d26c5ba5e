"""HiDFD's experiments, a view of the page Hybrid: what begins one, and one that fills."""

from __future__ import annotations

import io
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
import pandas as pd
import pytest
from browser import Lab, button, set_look, shoot, until, wait
from conftest import STUDENT, write_mnist
from playwright.sync_api import Page, expect
from streamlit.testing.v1 import AppTest

from dfkd_core.store import RunFolder
from dfkd_core.study import Record, Study, find, studies_in
from dfkd_core.study.hidfd_experiments import EXPERIMENTS
from pages.ui.study.sweep import table_csv

KIND = find("experiment")
SWEEP = ".dfkd-sweep"
TINY = {"gan_steps": 2, "distill_steps": 4, "updates": 1, "synthetic": 16, "width": 2}


def crafted(runs: Path, name: str, seeds: int = 2, done: int | None = None, **asked: Any) -> Study:
    """An experiment with made-up figures; the last of ``done`` cells has failed if others wait."""
    study = KIND.begin(runs, experiment=name, seeds=range(seeds), knobs=TINY, run={"student": STUDENT}, **asked)
    draw = np.random.default_rng(0)
    for index, cell in enumerate(study.cells[:done]):
        folder = RunFolder.create(runs, cell.spec.model_dump())
        if done is not None and index == done - 1:
            study.keep(cell, Record(folder.id, problem="Generator loss became nan at step 7."))
            continue
        final = 0.9 - 0.02 * (cell.labels["series"] == "collected") + draw.uniform(0, 0.01)
        figures = {"measure": "accuracy", "final": final, "best": final + 0.01, "teacher": 0.98, "seconds": 9.0}
        if study.settings["samples"]:
            figures |= {"fid": 4 + draw.uniform(), "label": "FID in x features, n = 50 real, 50 generated"}
        study.keep(cell, Record(folder.id, figures))
    return study


# --- beginning one ---------------------------------------------------------------------------------------------


@pytest.fixture
def experiments(app: AppTest, tmp_path: Path) -> AppTest:
    """The page, not yet run."""
    write_mnist(tmp_path / "data", 1800)
    app.query_params["view"] = "experiments"
    return app.switch_page("pages/hybrid.py")


def test_every_experiment_explains_itself_and_says_how_many_runs_it_takes(experiments: AppTest) -> None:
    experiments.run()
    for name, asked in EXPERIMENTS.items():
        experiments.selectbox(key="experiment:experiment").set_value(name).run()
        assert not experiments.exception and not experiments.error
        words = [text.value for text in experiments.markdown]
        assert any(text.startswith(asked.question) and asked.finding in text for text in words)
        runs = len(KIND.specs(KIND.Request.build({"experiment": name})))
        assert any(text.startswith(f"**{runs} runs**") for text in words)


def test_a_wrong_value_is_said_before_anything_starts(experiments: AppTest, runs: Path) -> None:
    experiments.run()
    experiments.selectbox(key="experiment:experiment").set_value("guidance").run()
    experiments.text_input(key="experiment:guidance:digits:values").set_value("0.1, much").run()
    assert any("'much': should be a number" in text.value for text in experiments.markdown)
    experiments.button(key="start").click().run()
    assert not experiments.exception and "should be a number" in experiments.error[0].value
    assert not studies_in(runs)


def test_the_forms_knobs_are_taken_where_they_are_hidfds_own(experiments: AppTest) -> None:
    experiments.query_params.update({"method": "hidfd", "k.blend": "false", "preset": "demo", "k.gan_steps": "3"})
    experiments.run()
    experiments.selectbox(key="experiment:experiment").set_value("ablation").run()
    assert any(text.value.startswith("**24 runs**") for text in experiments.markdown), "its own blend, not the form's"
    experiments.selectbox(key="form:method").set_value("degan").run()
    next(box for box in experiments.segmented_control if box.label == "Preset").set_value("cpu").run()
    assert any(text.value.startswith("**24 runs**") for text in experiments.markdown), "not DeGAN's preset"


def test_no_cell_of_the_csv_is_a_formula() -> None:
    rows = [{"series": "hidfd", "x": "=1+1", "n": 2, "difference": -0.1}, {"series": "@x", "x": 0.1, "n": 0}]
    table = pd.read_csv(io.StringIO(table_csv(rows)))
    assert table["x"].tolist() == ["'=1+1", "0.1"] and table["series"].tolist() == ["hidfd", "'@x"]
    assert table["difference"][0] == -0.1


# --- in a browser ----------------------------------------------------------------------------------------------


@pytest.fixture
def data(lab: Lab) -> Path:
    """The lab's runs, with MNIST at hand for studies that collect from it."""
    write_mnist(lab.root / "data", 1800)
    return lab.runs


@pytest.mark.slow  # as the class prior's study is, in every suite
def test_an_experiment_from_start_to_its_table(page: Page, lab: Lab, data: Path) -> None:
    knobs = "&".join(f"k.{name}={value}" for name, value in TINY.items())
    page.goto(f"{lab.url}hybrid?view=experiments&method=hidfd&student={STUDENT}&{knobs}")
    page.get_by_role("combobox", name="Experiment").click()
    page.get_by_role("option", name="Inflation of the collected images").click()
    values = page.get_by_label("Values of N", exact=True)
    values.fill("1, 2")
    values.press("Enter")
    expect(page.get_by_text("6 runs")).to_be_visible()
    seeds = page.get_by_label("Seeds", exact=True)
    seeds.fill("1")
    seeds.press("Enter")
    expect(page.get_by_text("2 runs", exact=True)).to_be_visible()
    button(page, "Start").click()
    wait(page, "stage.state === 'running' && stage.total === '2'", SWEEP)
    (study,) = [study for study in studies_in(data, "experiment") if study.settings["experiment"] == "inflation"]
    assert study.id in page.url
    wait(page, "stage.state === 'done' && stage.points === '2'", SWEEP)
    finals = [study.record(cell).figures["final"] for cell in study.cells]
    shown = page.locator(".sweep-table tbody b").all_text_contents()
    assert shown == [f"{100 * final:.1f}" for final in finals]
    expect(page.locator(".exp-reading")).to_contain_text("N = 1 is not clearly apart from N = 2")
    shoot(page, "sweep-done")
    with page.expect_download() as download:
        page.get_by_role("button", name="Table as CSV").click()
    table = pd.read_csv(io.BytesIO(Path(download.value.path()).read_bytes()))
    assert table["mean"].tolist() == pytest.approx(finals, rel=1e-5) and table["x"].tolist() == [1, 2]


def traces(page: Page, symbol: str) -> list[int]:
    """How many points each trace with that marker has."""
    script = """([symbol]) => document.querySelector('.sweep-main .exp-plot').data
      .filter((trace) => trace.marker?.symbol === symbol).map((trace) => trace.x.length)"""
    return page.evaluate(script, [symbol])


def test_categories_have_the_papers_figures_beside_them_at_a_tick(page: Page, lab: Lab, data: Path) -> None:
    study = crafted(data, "ablation", done=11)
    page.goto(f"{lab.url}hybrid?study={study.id}")
    wait(page, "stage.view === 'dots' && stage.points === '10'", SWEEP)
    page.wait_for_selector(".sweep-main .main-svg")
    assert traces(page, "diamond-open") == [8]
    expect(page.locator(".sweep-paper")).to_contain_text("CIFAR-10, ρ 0.1, ResNet34 → ResNet18 (Table 2)")
    expect(page.locator(".sweep-table tr[data-x='w/o all three']")).to_contain_text("89.55")
    page.get_by_role("checkbox").uncheck()
    until(lambda: traces(page, "diamond-open") == [])
    expect(page.locator(".sweep-table tr[data-x='w/o all three']")).not_to_contain_text("89.55")
    expect(page.locator(".exp-problems")).to_contain_text("w/o transfer, seed 1 failed. Generator loss")
    expect(page.locator(".sweep-table tr[data-x='w/o transfer']")).to_contain_text("1 / 2, 1 failed")
    expect(page.locator(".sweep-table tr[data-x='full'] .sweep-difference")).to_have_text("reference")
    finals = [study.record(cell).figures["final"] for cell in study.cells if cell.labels["x"] == "full"]
    expect(page.locator(".sweep-table thead")).to_contain_text("final %, ± SD over seeds")
    final = f"{100 * fmean(finals):.1f} ± {100 * stdev(finals):.1f}"
    expect(page.locator(".sweep-table tr[data-x='full'] b")).to_have_text(final)
    alone = page.locator(".sweep-table tr[data-x='w/o transfer'] .sweep-difference")
    expect(alone).to_have_attribute("title", "One pair, or all alike: too few to tell")
    page.get_by_role("radio", name="Run", exact=True).click()  # the experiments are a view of the page
    expect(button(page, "Pause")).to_be_visible()
    assert "view=" not in page.url and "study=" not in page.url


def test_methods_are_lines_over_the_ratio_and_nothing_is_drawn_before_a_run_ends(
    page: Page, lab: Lab, data: Path
) -> None:
    asked = {"values": [0.02, 0.05], "series": ["hidfd", "collected"]}
    page.goto(f"{lab.url}hybrid?study={crafted(data, 'comparison', done=0, **asked).id}")
    wait(page, "stage.view === 'lines' && stage.points === '0'", SWEEP)
    expect(page.locator(".sweep-main .exp-empty")).to_be_visible()
    expect(page.locator(".sweep-main .exp-empty")).to_have_text(
        "No run has ended yet. Continue goes on from where it stopped."
    )
    page.goto(f"{lab.url}hybrid?study={crafted(data, 'comparison', **asked).id}")
    wait(page, "stage.view === 'lines' && stage.points === '8'", SWEEP)
    page.wait_for_selector(".sweep-main .main-svg")
    assert traces(page, "circle") == [2] and traces(page, "square") == [2]
    expect(page.locator(".sweep-main .exp-empty")).to_be_hidden()
    collected = page.locator(".sweep-table tr[data-series='collected'] td").first
    expect(collected).to_contain_text("2 / 2")
    expect(collected.locator(".sweep-difference")).to_contain_text("−")
    page.get_by_role("checkbox").check()
    until(lambda: traces(page, "diamond-open") == [2])  # HiDFD's at ρ 0.1 and 1; the other has none


@pytest.mark.slow
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", [(1280, 800), (1920, 1080)])
def test_nothing_overflows(page: Page, lab: Lab, data: Path, theme: Any, size: tuple[int, int]) -> None:
    for name in ("comparison", "objectives", "generators", "times"):
        study = crafted(data, name, measured=50)
        set_look(page, theme, size)
        page.goto(f"{lab.url}hybrid?study={study.id}")
        wait(page, f"stage.points === '{len(study.cells)}'", SWEEP)
        page.wait_for_selector(".sweep-main .main-svg")
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        assert (page.locator(".sweep-fid .main-svg").count() > 0) == (name == "generators")
        shoot(page, f"sweep-{name}-{theme}-{size[0]}")
