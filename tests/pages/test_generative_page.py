"""The page Generative: what the browser is told, its form, other pages that meet such a run, and two visits."""

from __future__ import annotations

import math
import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from browser import PATIENCE, Lab, button, grey_of, shoot, until, wait
from conftest import execute, new_run
from playwright.sync_api import Page, expect
from recording import column, picture
from scripts import evaluated
from streamlit.testing.v1 import AppTest
from torch import Tensor

from dfkd_core.analysis.alarms import alarms
from dfkd_core.analysis.measured import GENERATIVE_ROWS, MEASURED, NEAREST
from dfkd_core.analysis.timeline import Timeline
from dfkd_core.cli.main import main as command_line
from dfkd_core.networks.latent import LVAE, Gaussian, Generated
from dfkd_core.quality.score import score_text
from dfkd_core.runs import latent_evaluation as generative_evaluation
from dfkd_core.runs.spec import RunSpec
from dfkd_core.store import RunFolder, store_samples
from dfkd_core.teachers.cards import available_teachers
from pages.ui.run import generative, steering

TINY = {"source": "latents", "synthesis_batches": 2, "synthesis_size": 6, "latent_steps": 3, "distill_steps": 4}
TINY |= {"batch_size": 4}


@pytest.fixture(autouse=True)
def judged_on_few(few_judged: None) -> None:
    """Evaluation takes most of such a run's time."""


def _run(runs: Path, **fields: object) -> RunFolder:
    """A finished run of six steps: two of synthesis, four of the student."""
    folder = new_run(runs, TINY, **{"method": "ukd", "probes": 4, **fields})
    assert execute(folder).state == "done"
    return folder


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """One such run, for all tests that only look at it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(generative_evaluation, "SAMPLES", 24)
        patch.setattr(generative_evaluation, "RECONSTRUCTED", 12)
        return _run(tmp_path_factory.mktemp("finished"))


def _recorded(folder: RunFolder) -> generative._Recorded:
    timeline = Timeline(folder)
    timeline.update()
    return generative._Recorded(timeline)


def test_the_time_left_is_told_by_the_stage_that_the_run_is_in() -> None:
    """Ten batches of images took 100 s; ten steps of the student took one second more."""
    timeline = Timeline(RunFolder(Path("nowhere")))
    timeline.stages.append({"step": 1, "name": "synthesis", "title": "", "elapsed": 0.0})
    timeline.step, timeline.elapsed = 10, 100.0
    assert timeline.time_left(110) is None
    timeline.stages.append({"step": 11, "name": "student", "title": "", "elapsed": 100.0})
    timeline.step, timeline.elapsed = 20, 101.0
    assert timeline.time_left(110) == pytest.approx(9.0)


# --- what the browser is told ----------------------------------------------------------------------------------


def test_each_step_of_the_scrubber_has_what_was_recorded_there(finished: RunFolder) -> None:
    recorded = _recorded(finished)
    kinds = recorded.kinds()
    assert (kinds["films"], kinds["made"], kinds["samples"], kinds["probes"]) == ([1, 2], [1, 2], [3, 6], [0, 2, 4, 6])
    assert recorded.steps() == [0, 1, 2, 3, 4, 6]
    first, last = recorded.frame(1), recorded.frame(6)
    assert set(column(first["made"], "panel")) == {7} and first["samples"] is None and first["probes"] is None
    assert set(column(last["samples"], "panel")) == {5, 6} and last["made"] is None and last["films"] is None
    panels = column(last["probes"], "panel")
    assert sorted(set(panels)) == list(range(7)) and panels.count(5) == 4


def test_the_panels_are_those_that_the_stage_draws() -> None:
    numbers, between = evaluated("pages/ui/web/words.js", "[PANELS, BETWEEN]", "PANELS, BETWEEN")
    names = ("real", "teacherAgain", "studentAgain", "teacherBetween", "studentBetween", "teacher", "student", "made")
    assert [numbers[name] for name in names] == list(range(len(generative_evaluation.PANELS)))
    assert between == generative_evaluation.BETWEEN


def test_a_film_is_a_sheet_of_a_row_for_each_frame(finished: RunFolder) -> None:
    timeline = Timeline(finished)
    timeline.update()
    film, phase = timeline.film(2), timeline.slow_motion(2)["phases"][0]
    assert (film["frames"], film["shown"], len(film["loss"]), film["timestep"]) == (3, 6, 3, [0, 1, 2])
    sheet, line = picture(film), picture(phase["sheet"])
    assert sheet.shape == (3 * 8, 6 * 8) and line.shape == (8, 3 * 6 * 8)
    second_frame_third_image = line[:, (6 + 2) * 8 : (6 + 3) * 8]
    assert (sheet[8:16, 16:24] == second_frame_third_image).all() and second_frame_third_image.any()
    assert timeline.film(4) is None, "the student learns there"


def test_levels_are_those_of_the_newest_evaluation_up_to_the_step(finished: RunFolder) -> None:
    recorded = _recorded(finished)
    known = sorted(recorded.timeline.levels)
    assert recorded.levels()["step"] == known[-1] and recorded.levels(5)["step"] == max(s for s in known if s <= 5)
    assert len(recorded.levels(0)["kl"]) == 3, "8×8 digits have three levels"


def test_a_damaged_sheet_leaves_its_place_empty(finished: RunFolder, runs: Path) -> None:
    folder = RunFolder(shutil.copytree(finished.path, runs / finished.id))
    recorded = _recorded(folder)
    (folder.path / f"{recorded.timeline.probes[6]['file']}.png").unlink()
    (folder.path / recorded.timeline.slow[2]["file"]).write_bytes(b"torn")
    assert recorded.frame(6)["probes"] is None and recorded.frame(6)["samples"] is not None
    assert recorded.frame(2)["films"] is None


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"source": "ancestral"}, "nothing is made beforehand"),
        ({"source": "latents"}, "No other model and no data took part"),
        ({"source": "diffusion"}, "was trained on mnist, never on digits. It shares 10 of the teacher's 10 classes"),
        ({"source": "stable-diffusion"}, "nobody can say"),
        ({}, "Not data-free"),
    ],
)
def test_where_the_images_come_from_is_declared(config: dict, words: str) -> None:
    spec = RunSpec(config=config, teacher="digits-lvae-32", diffusion="mnist-unet-32-8px")
    assert words in generative.origin(spec)


def test_a_diffusion_model_that_is_not_here_is_no_riddle() -> None:
    spec = RunSpec(config={"source": "diffusion"}, teacher="digits-lvae-32", diffusion="gone")
    assert "diffusion model gone was trained on is not known" in generative.origin(spec)


def test_a_diffusion_model_never_saw_the_teachers_data() -> None:
    teacher = available_teachers("digits", "generative")["digits-lvae-32"]
    assert "mnist-unet-32-8px" in generative.fitting_diffusion(teacher)
    assert not generative.fitting_diffusion(teacher.model_copy(update={"benchmark": "mnist"}))


# --- scores ----------------------------------------------------------------------------------------------------


def test_a_distance_is_no_percentage() -> None:
    assert score_text("fid", 3.41777) == "3.418" and score_text("mismatch", 0.0123456) == "0.01235"
    assert score_text("accuracy", 0.9125) == "91.25%" and score_text("fid", None) == "–"


def test_the_command_line_closes_and_lists_with_the_distance(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = new_run(runs, TINY | {"source": "ancestral", "distill_steps": 1}, method="ukd")
    execute(folder)
    result = folder.status().result
    assert command_line(["runs", "--runs", str(runs)]) == 0
    assert f"fid {result['final']:.4g} (best {result['best']:.4g})" in capsys.readouterr().out
    folder.set_status(replace(folder.status(), result={**result, "final": None}))
    assert command_line(["runs", "--runs", str(runs)]) == 0
    assert "fid – (best" in capsys.readouterr().out


def test_teachers_are_listed_by_what_they_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line(["teachers"]) == 0
    listed = capsys.readouterr().out
    assert re.search(r"digits-lvae-32 +generative +lvae-32 .*; ELBO -?\d+\.\d\d nats", listed)
    assert re.search(r"mnist-unet-32-8px +diffusion .*; trained on mnist", listed)
    assert re.search(r"digits-resnet20-plain +classifier .*; accuracy 9\d\.\d\d%", listed)


def test_an_alarm_says_that_the_distance_grew(runs: Path) -> None:
    timeline = Timeline(new_run(runs, TINY, method="ukd"))
    for step, fid in enumerate((20.0, 4.0, 5.9)):
        row = {"step": step, "values": {"fid": fid, "mismatch": 0.1}, "teacher": {}, "levels": {}, "label": ""}
        timeline._take({"type": "quality", **row})
    assert not alarms(timeline, 100, 10, [], [])
    timeline._add(3, {"fid": 6.1})
    (alarm,) = alarms(timeline, 100, 10, [], [])
    assert alarm.text == "The student's FID rose from 4 to 6.1."


# --- the form, and pages that meet such a run ------------------------------------------------------------------


def _visit(app: AppTest, page: str, **query: str) -> AppTest:
    app.run()
    app.query_params.clear()
    app.query_params.update(query)
    return app.switch_page(f"pages/{page}.py").run()


def test_the_form_is_one_of_generative_models(app: AppTest) -> None:
    app.run()
    assert "UKD, data-free" not in app.selectbox(key="form:method").options
    app.switch_page("pages/generative.py").run()
    assert not app.exception
    assert app.selectbox(key="form:method").options == ["UKD, data-free", "With data (baseline)"]
    assert app.selectbox(key="form:teacher").value == "digits-lvae-32"
    students = app.selectbox(key="form:student")
    assert students.value == "lvae-8" and "lvae-8 · 17,952 parameters" in students.options
    assert not [option for option in students.options if "conv-vae" in option], "they have other latents"
    assert "form:record:features" not in [toggle.key for toggle in app.toggle]
    app.switch_page("pages/distill.py").run()
    assert not app.exception and app.selectbox(key="form:method").value == "ta-dfkd"


def test_a_source_of_diffusion_asks_for_its_model_and_says_what_it_saw(app: AppTest) -> None:
    app.run()
    app.switch_page("pages/generative.py").run()
    source = "knob:ukd:demo:source"
    assert "form:diffusion" not in [box.key for box in app.selectbox] and "diffusion" not in app.query_params
    app.selectbox(key=source).set_value("diffusion").run()
    assert app.selectbox(key="form:diffusion").value == "mnist-unet-32-8px"
    assert "never on digits" in " ".join(caption.value for caption in app.caption)
    assert app.query_params["diffusion"] == "mnist-unet-32-8px" and app.query_params["k.source"] == "diffusion"
    app.selectbox(key=source).set_value("stable-diffusion").run()
    app.text_input(key="form:stable-diffusion").set_value("/somewhere").run()
    assert app.query_params["diffusion"] == "/somewhere"


def test_a_link_brings_a_student_of_any_width(app: AppTest) -> None:
    app.query_params.update({"student": "lvae-12", "method": "with-data"})
    app.switch_page("pages/generative.py").run()
    assert not app.exception
    assert app.selectbox(key="form:student").value == "lvae-12"
    assert app.selectbox(key="form:method").value == "with-data"


def test_a_benchmark_without_a_generative_teacher_says_what_to_do(app: AppTest) -> None:
    _visit(app, "generative").selectbox(key="form:benchmark").set_value("cifar10").run()
    assert not app.exception
    said = " ".join(info.value for info in app.info)
    assert "No generative teacher for this benchmark yet. Train one from a card" in said
    app.button(key="start").click().run()
    assert not app.exception and "there is no generative one for cifar10" in app.error[0].value


@pytest.mark.parametrize("page", ["distill", "inspect", "hybrid"])
def test_a_page_for_classifiers_leads_to_this_one(app: AppTest, page: str, tmp_path: Path) -> None:
    folder = new_run(tmp_path / "runs", TINY, method="ukd")
    _visit(app, page, run=folder.id)
    assert not app.exception
    assert f"[the page Generative shows it](/generative?run={folder.id})" in app.info[0].value


def test_this_page_leads_to_that_of_a_classifiers_run(app: AppTest, tmp_path: Path) -> None:
    folder = new_run(tmp_path / "runs")
    assert not steering.is_generative(folder)
    _visit(app, "generative", run=folder.id)
    assert not app.exception and f"[the page Distill shows it](/?run={folder.id})" in app.info[0].value


def test_the_runs_of_both_kinds_stand_in_one_list(app: AppTest, tmp_path: Path) -> None:
    shares = [new_run(tmp_path / "runs"), {"measure": "accuracy", "final": 0.9, "best": 0.95, "teacher": 0.99}]
    figures = [new_run(tmp_path / "runs", TINY, method="ukd"), {"measure": "fid", "final": 8.8, "best": 8.7}]
    for folder, result in (shares, figures):
        result = {"teacher": None, "seconds": 1.0, **result}
        folder.set_status(replace(folder.status(), state="done", result=result))
    _visit(app, "runs")
    assert not app.exception
    table = app.dataframe[0].value.set_index("run")
    assert table.loc[figures[0].id, "distance"] == 8.8 and np.isnan(table.loc[figures[0].id, "final"])
    assert table.loc[shares[0].id, "final"] == 0.9 and np.isnan(table.loc[shares[0].id, "distance"])


def test_the_zoo_has_generative_teachers_and_diffusion_models(app: AppTest) -> None:
    _visit(app, "teachers")
    assert not app.exception
    table = next(frame.value for frame in app.dataframe if "teacher" in frame.value)
    kinds = table.set_index("teacher")["kind"]
    assert kinds["digits-lvae-32"] == "generative" and kinds["mnist-unet-32-8px"] == "diffusion model"


# --- in the browser --------------------------------------------------------------------------------------------

QUICK = "generative?method=ukd&student=lvae-4&k.source=latents&k.synthesis_batches=2&k.synthesis_size=12&r.probes=16"
QUICK += "&k.latent_steps=6&k.distill_steps=8&k.batch_size=8&r.probes_every=5"


@pytest.mark.slow  # as a hybrid one is, in every suite
def test_a_run_is_watched_from_its_synthesis_to_its_student(page: Page, lab: Lab) -> None:
    page.goto(lab.url + QUICK)
    expect(button(page, "Start")).to_be_enabled(timeout=2 * PATIENCE)
    button(page, "Start").click()
    parts = page.locator(".dfkd-parts")
    expect(parts.locator("> section").first).to_have_attribute("data-part", "synthesis")
    wait(page, "stage.state === 'done'")
    expect(parts.locator("> section").first).to_have_attribute("data-part", "student")
    expect(page.locator(".dfkd-score")).to_contain_text(re.compile(r"^\d+\.\d.*FID \(lower is better\)"))
    told = "FID in digits-resnet20-smooth features, n = 500 real, 500 generated"
    expect(page.get_by_text(told).first).to_be_visible()
    for network in ("teacher", "student"):
        expect(page.locator(f".dfkd-block.{network} .dfkd-image")).to_have_count(16)
    expect(page.locator(".dfkd-again .dfkd-named")).to_have_count(3)
    expect(page.locator(".dfkd-path")).to_have_count(4)
    expect(page.locator(".dfkd-levels .dfkd-plot")).to_have_attribute("aria-label", re.compile("level 3 KL .* level 1"))
    expect(page.locator(".dfkd-film")).to_have_attribute("data-frame", "5")
    expect(page.locator(".dfkd-now .dfkd-image")).to_have_count(8)
    shoot(page, "generative")

    measure = page.locator(".dfkd-measure button")
    measure.click()
    expect(measure).to_have_text("Stop")
    expect(page.locator(".dfkd-measure span")).to_contain_text("%")
    measure.click()
    expect(measure).to_have_text("Measure")


def test_what_was_measured_is_a_table_and_pairs_of_images(page: Page, lab: Lab) -> None:
    folder = _run(lab.runs)
    side = {name: 7 for _, name, _ in GENERATIVE_ROWS} | {"milliseconds": 1.5, "spread": 0.25, "batch": 64}
    side |= {"device": "a machine", "repeats": 20, "encoder": "teacher"}
    figures = {"teacher": side, "student": {**side, "fid": 9.5, "elbo": None}, "label": "n = 599", "step": 6}
    figures |= {"samples": 599, "seconds": 1.0, "extractor": "teacher:one", "reference": "599 test images"}
    folder.files.write_json(MEASURED, figures)
    pairs = np.random.default_rng(0).integers(0, 256, (10, 8, 8, 1), np.uint8)
    store_samples(folder, NEAREST, pairs, {"distance": np.tile(np.linspace(1, 2, 5, dtype=np.float32), 2)})
    page.goto(f"{lab.url}generative?run={folder.id}")
    lines = page.locator(".dfkd-table tbody tr")
    expect(lines.first).to_have_text("FID, the Fréchet distance7.0009.500")
    expect(lines.filter(has_text="ELBO")).to_have_text("ELBO, nats an image7.00–")
    expect(page.locator(".dfkd-measure span")).to_contain_text("n = 599, step 6.")
    expect(page.locator(".dfkd-pairs figcaption")).to_have_text(["1.00", "1.25", "1.50", "1.75", "2.00"])
    nearest = page.locator(".dfkd-pairs .dfkd-image.real").nth(2)
    until(lambda: np.array_equal(grey_of(nearest), pairs[5 + 2].reshape(8, 8)))  # behind the synthetic ones
    scrubbing_shows_every_panel_at_its_step(page)


def test_a_student_whose_prior_diverged_is_left_out_beside_its_teacher(
    page: Page, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    generate = LVAE.generate

    def diverging(model: LVAE, noise: Sequence[Tensor]) -> Generated:
        made, judged = generate(model, noise), not model.training and next(model.parameters()).requires_grad
        nowhere = tuple(Gaussian(level.mean * math.nan, level.std) for level in made.prior)
        return made._replace(prior=nowhere) if judged else made

    monkeypatch.setattr(LVAE, "generate", diverging)
    folder = new_run(lab.runs, TINY, method="ukd")
    assert execute(folder).state == "done"
    page.goto(f"{lab.url}generative?run={folder.id}")
    shown = page.locator(".dfkd-levels")
    expect(shown.locator(".dfkd-plot")).to_have_attribute("aria-label", re.compile("level 3 KL"))
    expect(shown).to_contain_text("teacher's prior")
    expect(shown).not_to_contain_text("student's prior")


def scrubbing_shows_every_panel_at_its_step(page: Page) -> None:
    wait(page, "stage.step === '6'")
    page.locator(".dfkd-slide input").press("Home")
    page.wait_for_url(re.compile("step=0"))
    page.locator(".dfkd-slide input").press("ArrowRight")
    expect(page.locator(".dfkd-parts")).to_have_attribute("data-now", "synthesis")
    expect(page.locator(".dfkd-score")).to_contain_text("6 images made")
    expect(page.locator(".dfkd-film h4")).to_contain_text("batch 1")
    expect(page.locator(".dfkd-made h4")).to_contain_text("batch 1")
    expect(page.locator(".dfkd-same h4")).to_contain_text("step 0")
    page.locator(".dfkd-reel input").fill("1")
    expect(page.locator(".dfkd-reel span")).to_contain_text("frame 2 of 3, step 1")
    page.locator(".dfkd-slide input").press("End")
    expect(page.locator(".dfkd-same h4")).to_contain_text("step 6")
    expect(page.locator(".dfkd-film h4")).to_contain_text("batch 2")


def test_a_failed_run_says_why_and_that_its_first_images_are_missing(page: Page, lab: Lab) -> None:
    folder = new_run(lab.runs, TINY, method="ukd")
    folder.set_status(replace(folder.status(), state="failed", message="Out of memory on cpu: lower synthesis_size."))
    page.goto(f"{lab.url}generative?run={folder.id}")
    expect(page.locator(".dfkd-message")).to_have_text("Out of memory on cpu: lower synthesis_size.")
    expect(page.locator(".dfkd-same")).to_contain_text("None were recorded.")
    expect(page.locator(".dfkd-score")).to_contain_text("no image has been made yet")
    expect(page.locator(".dfkd-measure button")).to_be_disabled()
