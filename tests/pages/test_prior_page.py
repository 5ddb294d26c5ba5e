"""The page Class prior: a small experiment from Start over Stop to its end, and what the page says when it cannot."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from bringing import write_card
from browser import PATIENCE, Lab, button, set_look, shoot, start_lab, until, wait
from conftest import STUDENT, TINY
from playwright.sync_api import Page, expect
from streamlit.testing.v1 import AppTest

from dfkd_core.analysis.measured import GENERATED
from dfkd_core.store import EventReader, RunFolder, read_samples, runs_in, store_samples
from dfkd_core.study import Record, Study, find, studies_in

ROOT = ".dfkd-prior"
QUERY = f"prior?student={STUDENT}&k.iterations=5&k.batch_size=16&k.width=4&k.student_steps=1&k.latent=8"


def fill(page: Page, label: str, value: int) -> None:
    box = page.get_by_label(label, exact=True).first
    box.fill(str(value))
    box.press("Enter")


def begin(page: Page, lab: Lab, epochs: int = 2) -> Study:
    """Three runs of a few seconds."""
    page.goto(lab.url + QUERY)
    expect(button(page, "Start")).to_be_enabled()
    page.get_by_role("radio", name="0.5", exact=True).click()
    expect(page.get_by_text("9 runs")).to_be_visible()
    fill(page, "Seeds", 1)
    expect(page.get_by_text("3 runs")).to_be_visible()
    fill(page, "Images measured", 100)
    fill(page, "Epochs of a run", epochs)
    button(page, "Start").click()
    wait(page, "stage.state === 'running'", ROOT)
    (study,) = studies_in(lab.runs, "prior")
    return study


def crafted(runs: Path, failed: int = 1) -> Study:
    """A study of 6 × 3 with made-up figures and images; the last cells have failed."""
    lambdas = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    study = find("prior").begin(runs, intensities=lambdas, knobs=TINY, measured=100, run={"student": STUDENT})
    draw = np.random.default_rng(0)
    for index, cell in enumerate(study.cells):
        folder = RunFolder.create(runs, cell.spec.model_dump())
        folder.begin_attempt()
        if index >= len(study.cells) - failed:
            study.keep(
                cell, Record(folder.id, problem="adversarial became nan at step 7; last finite values: none yet.")
            )
            continue
        names = ("density", "coverage", "precision", "recall", "class_balance", "kept", "final", "best")
        figures: dict[str, Any] = dict(zip(names, draw.uniform(0.3, 0.9, len(names)).tolist(), strict=True))
        figures |= {
            "fid": 4 + 3 * cell.labels["intensity"] + draw.uniform(),
            "teacher": 0.985,
            "measure": "accuracy",
            "samples": 100,
            "real": 100,
            "step": 6,
        }
        figures |= {"diversity": 3 + draw.uniform(), "real_diversity": 3.9, "counts": [10] * 10, "seconds": 9.0}
        figures |= {
            "extractor": study.settings["extractor"],
            "reference": "-",
            "label": "FID in x features, n = 100 real, 100 generated",
        }
        images = draw.integers(0, 256, (100, 8, 8, 1), dtype=np.uint8)
        store_samples(folder, GENERATED, images, {"label": np.repeat(np.arange(10, dtype=np.int16), 10)})
        study.keep(cell, Record(folder.id, figures))
    return study


# --- in a browser ----------------------------------------------------------------------------------------------


def test_the_story_from_start_over_stop_to_the_points_and_images(page: Page, lab: Lab) -> None:
    study = begin(page, lab)
    assert study.id in page.url
    wait(page, "Number(stage.points) >= 1", ROOT)
    button(page, "Stop").click()
    wait(page, "stage.state === 'stopped'", ROOT)
    expect(page.locator(".exp-message")).to_contain_text("Continue goes on from there")
    done = study.progress().done
    assert 1 <= done < 3
    expect(page.locator(".exp-reading")).to_have_text(f"{done} of 3 runs have ended; the verdict waits for all.")
    shoot(page, "prior-stopped")

    page.reload()  # everything comes back with the address
    wait(page, f"stage.state === 'stopped' && Number(stage.points) === {done}", ROOT)
    expect(button(page, "Continue")).to_be_enabled()
    button(page, "Continue").click()
    wait(page, "stage.state === 'done' && Number(stage.points) === 3", ROOT)
    assert [state.state for state in study.progress().cells] == ["done"] * 3
    assert len(runs_in(lab.runs)) == 3, "none was begun twice"
    expect(page.locator(".exp-reading")).to_contain_text("3 runs, 3 intensities, 1 seed")
    wait(page, "stage.intensity === '1'", ROOT)
    shoot(page, "prior-done")
    assert_pointing_shows_images_without_a_rerun(page, study)

    with page.expect_download() as download:
        page.get_by_role("button", name="3 points as CSV").click()
    table = pd.read_csv(io.BytesIO(Path(download.value.path()).read_bytes()))
    figures = [study.record(cell).figures for cell in study.cells]
    assert table["fid"].tolist() == pytest.approx([figure["fid"] for figure in figures])
    assert table["intensity"].tolist() == [0.0, 0.5, 1.0] and set(table["extractor"]) == {study.settings["extractor"]}


def assert_pointing_shows_images_without_a_rerun(page: Page, study: Study) -> None:
    """The pointer over a point, and the slider by keyboard, show that run's images beside those without the prior."""
    settled = "() => document.querySelectorAll('.prior-pair canvas').length === 2"
    page.wait_for_function(settled)
    reruns = page.locator("[data-testid=stApp]").get_attribute("data-test-script-run-id")
    place = page.locator(".prior-fid .exp-plot").evaluate(
        """node => { const box = node.getBoundingClientRect(), { xaxis, yaxis } = node._fullLayout;
          const trace = node.data.find((one) => one.customdata), at = trace.x.indexOf(0.5);
          return [box.x + xaxis._offset + xaxis.d2p(trace.x[at]), box.y + yaxis._offset + yaxis.d2p(trace.y[at])]; }"""
    )
    page.mouse.move(place[0] - 30, place[1])
    page.mouse.move(*place, steps=4)
    wait(page, "stage.intensity === '0.5'", ROOT)
    label = int(np.argmax(study.record(study.cells[0]).figures["counts"]))
    page.get_by_label("Class of the images").select_option(str(label))
    for canvas, cell in zip(page.locator(".prior-pair canvas").all(), study.cells[:2], strict=True):
        record = study.record(cell)
        shown = min(24, record.figures["counts"][label])
        expect(canvas).to_have_attribute("data-shown", str(shown))
        if shown:
            images, columns = read_samples(study.run(record), GENERATED)
            first = images[np.flatnonzero(columns["label"] == label)[0], :, :, 0]
            assert np.array_equal(pixels(canvas), first)
    page.get_by_label("Intensity looked at").press("Home")
    wait(page, "stage.intensity === '0'", ROOT)
    assert page.locator("[data-testid=stApp]").get_attribute("data-test-script-run-id") == reruns


def pixels(canvas: Any) -> np.ndarray:
    """The canvas's first tile."""
    read = "node => [...node.getContext('2d').getImageData(0, 0, 8, 8).data].filter((_, index) => index % 4 === 0)"
    return np.array(canvas.evaluate(read), np.uint8).reshape(8, 8)


@pytest.mark.slow
def test_a_server_that_starts_takes_the_study_up_and_adopts_its_run_that_goes_on(page: Page, mortal_lab: Lab) -> None:
    lab = mortal_lab
    study = begin(page, lab, epochs=150)
    first = study.cells[0]
    until(lambda: any(row["type"] == "step" for row in EventReader(study.run(study.record(first))).read()))
    lab.kill()
    assert study.progress().state == "stopped" and study.run(study.record(first)).status().is_live
    lab.process = start_lab(lab.root, lab.port, forks=True).process
    page.goto(f"{lab.url}prior?study={study.id}")
    wait(page, "Number(stage.points) >= 1", ROOT, 3 * PATIENCE)
    assert study.run(study.record(first)).attempts() == [1], "it was never begun again"
    button(page, "Stop").click()
    wait(page, "stage.state === 'stopped'", ROOT)


@pytest.mark.slow
def test_a_failed_run_is_named_and_nothing_overflows(page: Page, lab: Lab) -> None:
    study = crafted(lab.runs)
    for theme in ("light", "dark"):
        for size in ((1280, 800), (1920, 1080)):
            set_look(page, theme, size)
            page.goto(f"{lab.url}prior?study={study.id}")
            wait(page, "stage.points === '17' && stage.failed === '1'", ROOT)
            page.wait_for_selector(".prior-kept .main-svg")
            expect(page.locator(".exp-problems")).to_contain_text("λ = 1, seed 2 failed. adversarial became nan")
            expect(button(page, "Try again")).to_be_visible()
            until(lambda page=page: page.locator(".prior-pair canvas[data-shown='10']").count() == 2)
            assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
            assert page.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight <= window.innerHeight")
            cut = "[...document.querySelectorAll('h4')].filter(h => h.scrollWidth > h.clientWidth + 1).length"
            assert page.evaluate(cut) == 0, "a panel's heading or legend is cut off"
            shoot(page, f"prior-failed-{theme}-{size[0]}")


def test_the_axis_says_extractor_and_numbers_and_links_lead_to_the_runs(page: Page, lab: Lab) -> None:
    study = crafted(lab.runs, failed=3)
    page.goto(f"{lab.url}prior?study={study.id}")
    expect(page.locator(".prior-fid .ytitle")).to_contain_text("FID in x features,n = 100 real, 100 generated")
    assert page.locator(".exp-cell[data-state=done]").count() == 15
    run = study.record(study.cells[5]).run  # λ = 1, the first seed
    expect(page.get_by_role("link", name="Inspect", exact=True).last).to_have_attribute("href", f"/inspect?run={run}")


# --- without a browser -----------------------------------------------------------------------------------------


@pytest.fixture
def prior(app: AppTest) -> AppTest:
    app.run()
    app.query_params["new"] = "1"
    app.switch_page("pages/prior.py").run()
    return app


def test_the_empty_page_explains_and_offers_to_start(prior: AppTest) -> None:
    assert not prior.exception and not prior.error
    assert "tells the generator" in prior.markdown[0].value and not prior.button(key="start").disabled
    assert any("18 runs" in text.value and "min" in text.value for text in prior.markdown)
    prior.number_input(key="prior:seeds").set_value(2).run()
    prior.number_input(key="prior:epochs").set_value(1).run()
    assert any("12 runs" in text.value for text in prior.markdown)


def test_a_method_without_a_class_prior_is_refused_in_one_sentence(prior: AppTest, tmp_path: Path) -> None:
    prior.selectbox(key="form:method").set_value("noise").run()
    prior.button(key="start").click().run()
    assert not prior.exception and "has no class prior to vary" in prior.error[0].value
    assert not studies_in(tmp_path / "runs")


def test_earlier_experiments_are_listed(prior: AppTest, tmp_path: Path) -> None:
    crafted(tmp_path / "runs")
    prior.run()
    assert not prior.exception
    table = next(frame.value for frame in prior.dataframe if "title" in frame.value)
    assert (table["runs"][0], table["state"][0]) == ("17 / 18, 1 failed", "done"), "before those that are recorded"


def test_programs_are_not_offered_as_networks_that_show_features(prior: AppTest) -> None:
    write_card(network="onnx")
    (offered,) = (box for box in prior.run().selectbox if box.label == "FID in the features of")
    assert len(offered.options) > 1 and "mine" not in offered.options
