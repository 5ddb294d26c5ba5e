"""The page Hybrid: its form, its parts by stage, and one run from the collected images to the student, in a browser."""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from browser import Lab, button, shoot, wait
from conftest import execute, new_run, tiny_knobs
from PIL import Image
from playwright.sync_api import Page, expect
from recording import column
from streamlit.testing.v1 import AppTest
from tampering import edit

from dfkd_core.analysis.measured import DISTANCE
from dfkd_core.analysis.timeline import Timeline
from dfkd_core.store import RunFolder, read_facts, runs_in
from pages.ui.form import collected
from pages.ui.run import hybrid

SHORT = {"gan_steps": 20, "distill_steps": 30, "updates": 2, "gan_batch_size": 16, "batch_size": 16, "width": 2}
SHORT |= {"latent": 8, "synthetic": 48}


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder of 40 small pictures."""
    folder = tmp_path / "images"
    folder.mkdir()
    for index, picture in enumerate(_pictures(40)):
        picture.save(folder / f"{index}.png")
    return folder


def _pictures(count: int) -> list[Image.Image]:
    pixels = np.random.default_rng(0).integers(0, 256, (count, 8, 8), dtype=np.uint8)
    return [Image.fromarray(one) for one in pixels]


def _zip(names: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in names.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def _run(runs: Path, method: str = "hidfd", **fields: object) -> RunFolder:
    """A finished tiny run of a method that collects."""
    folder = new_run(runs, tiny_knobs(method), method=method, **fields)
    assert execute(folder).state == "done"
    return folder


# --- what the browser is told ----------------------------------------------------------------------------------


def test_the_timeline_knows_the_stages_and_the_class_shares(runs: Path) -> None:
    folder = _run(runs)
    timeline = Timeline(folder)
    timeline.update()
    first, second = timeline.stages
    steps = folder.spec()["config"]["gan_steps"]
    assert (first["step"], first["name"], second["step"], second["name"]) == (1, "gan", steps + 1, "student")
    shares = timeline.frame(1)["class_shares"]
    assert sum(shares["made"]) == pytest.approx(1) and sum(shares["smoothed"]) == pytest.approx(1)
    student = next(step for step in sorted(timeline.frames) if step > steps)
    assert timeline.frame(student)["class_shares"] is None
    assert set(column(timeline.frame(student), "collected")) <= {0, 1}


@pytest.mark.parametrize(("inflation", "expected"), [(0, 3), (5, 5)])
def test_the_mix_is_that_of_the_run(runs: Path, inflation: int, expected: int) -> None:
    knobs = {**tiny_knobs("hidfd"), "synthetic": 200, "inflation": inflation}
    folder = new_run(runs, knobs, method="hidfd", ratio=0.05)
    assert hybrid._mix(folder) is None, "nothing is collected before it begins"
    execute(folder)
    assert hybrid._mix(folder) == {"collected": 60, "synthetic": 200, "inflation": expected, "usual": 3}


def test_a_method_without_a_hybrid_set_has_no_mix(runs: Path) -> None:
    assert hybrid._mix(_run(runs, "dfnd")) is None


def test_a_few_collected_images_of_each_class_are_sent(runs: Path) -> None:
    folder = _run(runs, ratio=0.3)
    sent = hybrid._images(folder)
    assert sent is not None
    histogram = np.array(read_facts(folder)["histogram"])
    found = np.bincount(column(sent, "label"), minlength=len(histogram))
    assert (found == np.minimum(histogram, hybrid.OF_A_CLASS)).all() and (histogram > hybrid.OF_A_CLASS).any()


# --- the form --------------------------------------------------------------------------------------------------


def test_collected_images_are_asked_for_where_a_method_needs_them(app: AppTest, images: Path) -> None:
    app.run()
    assert not [box for box in app.selectbox if box.key == "form:collected"] and "ratio" not in app.query_params
    app.query_params["collected"] = f"folder:{images}"
    app.query_params["ratio"] = "0.02"
    app.query_params["collecting"] = "cross-entropy"
    app.selectbox(key="form:method").set_value("hidfd").run()
    assert not app.exception
    assert app.number_input(key="form:ratio:digits").value == 0.05, "the usual one: the link was read before"
    assert app.query_params["ratio"] == "0.05" and app.query_params["collected"]


def test_a_link_brings_its_collected_images_and_says_how_many(app: AppTest, images: Path) -> None:
    app.query_params.update({"method": "hidfd", "collected": f"folder:{images}", "ratio": "0.02"})
    app.query_params["collecting"] = "cross-entropy"
    app.run()
    assert not app.exception
    assert app.text_input(key="form:collected-folder").value == str(images)
    assert app.selectbox(key="form:collecting").value == "cross-entropy"
    assert "24 images of Folder images" in " ".join(caption.value for caption in app.caption)
    app.number_input(key="form:ratio:digits").set_value(0.5).run()
    assert "has 40 images; should be at most 0.0333" in app.warning[0].value
    assert app.query_params["ratio"] == "0.5" and app.query_params["collected"] == f"folder:{images}"


def test_a_link_to_a_whole_disk_is_not_looked_through(
    app: AppTest, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collected, "LOOKED", 60)
    for count in range(30):  # nearer than the images, and none themselves
        (images.parent / f"{count}.txt").touch()
    app.query_params.update({"method": "hidfd", "collected": f"folder:{images.parent}", "ratio": "0.02"})
    app.run()
    assert not app.exception
    assert "has more than 60 files and folders" in app.warning[0].value


def test_a_source_without_a_name_is_refused_in_one_sentence(app: AppTest) -> None:
    app.query_params.update({"method": "hidfd", "collected": "folder:"})
    app.run()
    app.button(key="start").click().run()
    assert not app.exception and "should name a folder" in app.error[0].value


def test_a_source_that_is_not_here_can_be_fetched(app: AppTest, tmp_path: Path) -> None:
    app.query_params.update({"method": "hidfd", "collected": "mnist"})
    app.run()
    assert not app.exception
    assert f"No MNIST in `{tmp_path / 'data'}`. Fetch it, or collect from elsewhere." in app.info[0].value
    assert "Download MNIST (12 MB)" in [button.label for button in app.button]


def test_without_data_hybrid_begins_with_images_that_come_with_the_lab(app: AppTest) -> None:
    app.run()
    app.switch_page("pages/hybrid.py").run()
    assert app.selectbox(key="form:collected").value == "mnist-sample"
    assert app.number_input(key="form:ratio:digits").value == 0.05
    assert "60 images of Sample of MNIST" in " ".join(caption.value for caption in app.caption)
    assert not app.warning and not app.button(key="start").disabled
    app.selectbox(key="form:benchmark").set_value("cifar10").run()
    assert not app.exception and app.selectbox(key="form:collected").value == "mnist-sample", "what was chosen stays"


def test_hybrid_offers_the_methods_that_collect_only(app: AppTest) -> None:
    app.run()
    app.switch_page("pages/hybrid.py").run()
    assert not app.exception
    offered = app.selectbox(key="form:method").options
    assert "HiDFD" in offered and "TA-DFKD" not in offered
    assert not app.button(key="start").disabled


def test_a_run_without_collected_images_is_told_apart(app: AppTest, tmp_path: Path) -> None:
    folder = new_run(tmp_path / "runs")
    execute(folder)
    app.run()
    app.query_params["run"] = folder.id
    app.switch_page("pages/hybrid.py").run()
    assert not app.exception and "learned from no collected image" in app.info[0].value


# --- in the browser --------------------------------------------------------------------------------------------


def _link(images: Path, **more: object) -> str:
    knobs = "&".join(f"k.{name}={value}" for name, value in {**SHORT, **more}.items())
    return f"hybrid?method=hidfd&collected=folder:{images}&ratio=0.02&{knobs}"


SHOWN = "node => node._fullLayout.xaxis.range.map(Math.round)"


def _zoom(page: Page) -> list[int]:
    """Zoom into the confidence's plot with the mouse; what is shown then."""
    chart = page.locator(".dfkd-sure .dfkd-plot")
    area = page.locator(".dfkd-sure .nsewdrag").first
    area.scroll_into_view_if_needed()
    whole, box = chart.evaluate(SHOWN), area.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 0.2 * box["width"], box["y"] + 0.3 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 0.7 * box["height"], steps=5)
    page.mouse.up()
    zoomed: list[int] = chart.evaluate(SHOWN)
    assert zoomed != whole
    return zoomed


def test_a_run_is_watched_from_the_collected_images_to_the_student(page: Page, lab: Lab, images: Path) -> None:
    page.goto(lab.url + _link(images, gan_steps=90))
    expect(page.get_by_text("24 images of Folder images")).to_be_visible()
    expect(button(page, "Start")).to_be_enabled()
    button(page, "Start").click()
    wait(page, "stage.state === 'running'")  # the recorded run is in its GAN, too
    parts = page.locator(".dfkd-parts")
    expect(parts).to_have_attribute("data-now", "gan")
    expect(parts.locator("> section").first).to_have_attribute("data-part", "gan")
    page.wait_for_selector(".dfkd-row .right .dfkd-image")
    page.wait_for_selector(".dfkd-row .left .dfkd-image.collected")
    expect(page.locator(".dfkd-entries span")).to_have_text("student")
    page.wait_for_selector(".dfkd-sure .main-svg")
    zoomed = _zoom(page)

    expect(parts).to_have_attribute("data-now", "student")
    expect(parts.locator("> section").first).to_have_attribute("data-part", "student")
    wait(page, "stage.state === 'done'")
    assert page.locator(".dfkd-sure .dfkd-plot").evaluate(SHOWN) == zoomed, "a zoom stays"
    frames = page.locator(".dfkd-batch .dfkd-image")
    expect(frames.first).to_have_class(re.compile("collected|made"))
    kinds = {*frames.evaluate_all("all => all.map(one => one.className)")}
    assert kinds == {"dfkd-image collected", "dfkd-image made"}
    expect(page.locator(".dfkd-score")).to_contain_text("student's accuracy, teacher")
    shoot(page, "hybrid")

    expect(page.locator(".dfkd-blend b").nth(1)).to_have_text("α 0.50")
    page.locator(".dfkd-estimate button").click()
    expect(page.locator(".dfkd-estimate button")).to_have_text("Estimate again")
    figures = re.compile(r"is \d\.\d\d or more: \d\.\d\d \[\d\.\d\d, \d\.\d\d\]")
    estimate = page.locator(".dfkd-estimate span")
    expect(estimate).to_contain_text(figures)
    expect(estimate).to_contain_text("of 24 images held out, half of them collected")
    (run,) = runs_in(lab.runs)
    edit(run.files, DISTANCE, lambda found: {**found, "above_chance": False})
    page.reload()
    expect(estimate).to_contain_text("not above chance: it does not tell them apart.")
    expect(page.locator(".dfkd-bound .ytitle")).to_contain_text("if TVD(P, Q) =")


def test_a_link_leads_to_a_step_of_either_stage_and_to_its_slow_motion(page: Page, lab: Lab) -> None:
    knobs = {**tiny_knobs("hidfd"), "gan_steps": 6, "distill_steps": 6}
    folder = new_run(lab.runs, knobs, method="hidfd", phases_every=4)
    execute(folder)
    page.goto(f"{lab.url}hybrid?run={folder.id}&step=3")
    parts = page.locator(".dfkd-parts")
    expect(parts).to_have_attribute("data-now", "gan")
    expect(page.locator(".dfkd-frequencies h4")).to_contain_text("step 3")
    expect(page.locator(".dfkd-batch")).to_contain_text("The student does not learn yet.")
    expect(page.locator(".dfkd-generator-terms .main-svg").first).to_be_visible()

    curves = "document.querySelector('.dfkd-discriminator-terms .dfkd-plot').data.length"
    before = page.evaluate(curves)
    for left in (before - 1, before):
        page.get_by_role("button", name="class, real").click()
        page.wait_for_function(f"() => {curves} === {left}")

    page.locator(".dfkd-slide input").press("End")
    expect(parts).to_have_attribute("data-now", "student")
    expect(page.locator("[data-part=gan] h3")).to_contain_text("as it was at step 6")
    page.wait_for_url(re.compile("step=12"))

    page.goto(f"{lab.url}hybrid?run={folder.id}&slow=4.0&step=3")  # slow motion: the phases of the stage it is in
    boxes = page.locator(".dfkd-box")
    expect(boxes).to_have_count(4)
    assert boxes.evaluate_all("all => all.map(one => one.dataset.phase)")[2] == "discriminate"
    for _ in range(4):
        page.get_by_title("The next phase").click()
    expect(boxes).to_have_count(3)
    expect(page.locator(".dfkd-slow-where")).to_have_text("Step 8 · phase 1 of 3")


def test_a_method_without_a_gan_shows_what_it_has(page: Page, lab: Lab) -> None:
    folder = _run(lab.runs, "collected")
    page.goto(f"{lab.url}hybrid?run={folder.id}")
    expect(page.locator(".dfkd-part:visible")).to_have_count(2)
    page.wait_for_selector(".dfkd-few .dfkd-image")
    expect(page.locator("[data-part=collected] h3")).to_contain_text("60 of")

    untold = new_run(lab.runs, {**tiny_knobs("hidfd"), "conditioning": "none"}, method="hidfd")
    execute(untold)
    page.goto(f"{lab.url}hybrid?run={untold.id}&step=1")
    expect(page.locator(".dfkd-pairs h4")).to_contain_text("rows: the teacher's class")
    expect(page.locator(".dfkd-row .right .dfkd-image").first).to_have_attribute("title", re.compile("^synthetic, the"))


def test_a_zip_becomes_the_collected_images_or_gets_a_sentence(page: Page, lab: Lab) -> None:
    page.goto(lab.url + "hybrid?ratio=0.02")
    source = page.get_by_role("combobox", name=re.compile("Collected images from"))
    source.click()
    source.fill("Upload")  # brings the option, one of the last, into sight
    page.get_by_role("option", name="Upload a ZIP…").click()
    file = page.locator("input[type=file]")
    file.set_input_files({"name": "notes.zip", "mimeType": "application/zip", "buffer": _zip({"a.txt": b"nothing"})})
    expect(page.get_by_test_id("stSidebar").get_by_role("alert")).to_contain_text("image")
    good = _zip({f"some/where/{index}.png": _png(picture) for index, picture in enumerate(_pictures(30))})
    file.set_input_files({"name": "My pictures.zip", "mimeType": "application/zip", "buffer": good})
    expect(page.get_by_text("24 images of Upload My-pictures")).to_be_visible()
    expect(page.get_by_test_id("stSidebar").get_by_role("alert")).to_have_count(0)
    page.wait_for_url(re.compile("collected=upload%3AMy-pictures"))
    assert not runs_in(lab.runs)
