"""Inspect in a real browser: one selection and one cut in all views, one sample at large, tags, exports, layouts."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from browser import LONG, LOOKS, ROOT, Lab, grey_of, set_look, shoot, start, until, wait
from inspecting import (
    BINS,
    SCOPE,
    assert_selected_everywhere,
    box_of,
    drag,
    look,
    opened,
    recorded_of,
    selected,
    sheet_of,
)
from PIL import Image
from playwright.sync_api import Page, expect

from benchmarks.crafted import craft
from dfkd_core.analysis.audit import audited
from dfkd_core.analysis.jobs import Job
from dfkd_core.analysis.tags import Tags
from dfkd_core.selection.region import accepted_region
from dfkd_core.store import SPECS, RunFolder, read_samples
from pages.ui.words import glossary

# --- one selection ---------------------------------------------------------------------------------------------


def test_however_samples_are_selected_they_are_so_everywhere(page: Page, lab: Lab) -> None:
    run = craft(lab.runs)
    opened(page, lab, run)
    by_a_drag_over_the_histogram(page, run)
    by_a_lasso_in_the_projection(page)
    by_clicks_on_tiles_and_by_keyboard(page, run)
    by_a_click_on_a_point_which_opens_it(page, run)
    headings_lead_to_the_glossary(page)


def by_a_drag_over_the_histogram(page: Page, run: RunFolder) -> None:
    sheet = sheet_of(run)
    assert sheet.mixture is not None
    box = look(page, "scope.histogram.box")
    canvas = box_of(page.locator(".scope-judged canvas"))
    width = (box["right"] - box["left"]) / canvas["width"] / BINS
    left = box["left"] / canvas["width"]
    drag(page, canvas, [(left + 4.5 * width, 0.5), (left + 9 * width, 0.4), (left + 15.5 * width, 0.3)])
    span = sheet.mixture["high"] - sheet.mixture["low"]
    scaled = np.clip((sheet.columns["loss"] - sheet.mixture["low"]) / span, 0, 1)
    bins = np.minimum(BINS - 1, np.floor(scaled.astype(np.float32) * BINS))
    expected = np.flatnonzero((bins >= 4) & (bins <= 15)).tolist()
    assert 5 < len(expected) < len(sheet)
    assert_selected_everywhere(page, expected, len(sheet))
    shoot(page, "inspect-brushed")
    page.keyboard.press("Escape")
    assert selected(page) == []


def by_a_lasso_in_the_projection(page: Page) -> None:
    points = np.array(look(page, "[...scope.projection.scatter.points]")).reshape(-1, 2)
    canvas = page.locator(".scope-over")
    box = box_of(canvas)
    drag(page, box, [(0.2, 0.15), (0.55, 0.15), (0.55, 0.9), (0.2, 0.9)])
    low, high = (
        np.array([0.2 * box["width"], 0.15 * box["height"]]),
        np.array([0.55 * box["width"], 0.9 * box["height"]]),
    )
    expected = np.flatnonzero(((points > low) & (points < high)).all(axis=1)).tolist()
    assert 5 < len(expected) < len(points)
    assert_selected_everywhere(page, expected, len(points))
    # A rectangle with shift adds to it.
    page.get_by_title("Drag: rectangle").click()
    page.keyboard.down("Shift")
    drag(page, box, [(0.55, 0.05), (0.8, 0.95)])
    page.keyboard.up("Shift")
    assert set(selected(page)) > set(expected)
    page.keyboard.press("Escape")
    assert selected(page) == []


def by_clicks_on_tiles_and_by_keyboard(page: Page, run: RunFolder) -> None:
    order = look(page, "scope.grid.order")
    losses = sheet_of(run).columns["loss"]
    assert order == sorted(range(len(losses)), key=lambda index: (losses[index], index))
    tile = box_of(page.locator(".scope-port"))
    place = look(page, "[scope.grid.columns, scope.grid.step, scope.grid.pitch]")

    def click(nth: int, **how: Any) -> None:
        at = (tile["x"] + (nth % place[0] + 0.5) * place[1], tile["y"] + (nth // place[0]) * place[2] + 20)
        for key in how.get("keys", []):
            page.keyboard.down(key)
        page.mouse.click(*at, click_count=how.get("times", 1))
        for key in how.get("keys", []):
            page.keyboard.up(key)

    click(2)
    assert_selected_everywhere(page, [order[2]], len(order))
    click(5, keys=["Control"])
    assert_selected_everywhere(page, sorted([order[2], order[5]]), len(order))
    click(11, keys=["Shift"])
    assert_selected_everywhere(page, sorted([order[2], *order[5:12]]), len(order))
    page.keyboard.press("Escape")
    assert selected(page) == []
    click(14, keys=["Shift"])
    assert selected(page) == sorted(order[11:15])
    page.keyboard.press("Escape")
    # By keyboard: arrows move, space takes, shift extends, Enter opens.
    page.keyboard.press("Home")
    page.keyboard.press(" ")
    page.keyboard.press("Shift+ArrowRight")
    assert selected(page) == sorted(order[:2])
    page.keyboard.press("Enter")
    wait(page, f"stage.opened === '{order[1]}'", SCOPE)
    page.keyboard.press("Escape")
    wait(page, "stage.opened === ''", SCOPE)
    assert selected(page) == sorted(order[:2])


def farthest_from_others(page: Page) -> tuple[int, float, float]:
    """The sample whose point lies most alone, and where."""
    points = np.array(look(page, "[...scope.projection.scatter.points]")).reshape(-1, 2)
    gaps = np.linalg.norm(points[:, None] - points, axis=2) + 1e9 * np.eye(len(points))
    index = int(gaps.min(axis=1).argmax())
    return index, *points[index].tolist()


def by_a_click_on_a_point_which_opens_it(page: Page, run: RunFolder) -> None:
    page.keyboard.press("Escape")
    index, x, y = farthest_from_others(page)
    page.locator(".scope-over").click(position={"x": x, "y": y})
    wait(page, f"stage.opened === '{index}'", SCOPE)
    assert selected(page) == [index]
    sheet = sheet_of(run)
    facts = page.locator(".scope-facts")
    expect(facts).to_contain_text(f"{sheet.columns['posterior'][index]:.4f}")
    expect(page.locator(".scope-drawer .scope-strip").first.locator(".scope-tile")).to_have_count(8)
    logits = sheet.columns["teacher_logits"][index].astype(float)
    shares = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    shown = page.locator(".scope-bars small").all_inner_texts()
    assert [text.split(" · ")[0] for text in shown] == [f"{round(100 * share)} %" for share in shares]


def headings_lead_to_the_glossary(page: Page) -> None:
    links = page.locator(f"{SCOPE} a[data-term]").all()
    addresses = [link.get_attribute("href") or "" for link in links]
    assert len(addresses) >= 6
    assert all(address.startswith("/glossary?term=") for address in addresses)
    assert all(glossary.find(address.split("=")[1]) for address in addresses)


# --- what another cut would have kept --------------------------------------------------------------------------


def test_another_cut_keeps_what_python_says_and_is_marked_as_tried(page: Page, lab: Lab) -> None:
    run = craft(lab.runs, count=200)
    opened(page, lab, run)
    recorded, sheet = recorded_of(run), sheet_of(run)
    own = int(sheet.columns["clean"].sum())
    expect(page.locator(".scope-verdict")).to_have_text(f"kept {own} of 200 at τ 0.50.")
    for tau in (0.05, 0.7, 0.95, 0.999):
        page.get_by_label("Posterior cut τ as a number").fill(str(tau))
        wait(page, f"Number(stage.tau) === {tau}", SCOPE)
        kept = sheet.columns["posterior"] > tau
        per_class = np.bincount(sheet.columns["label"][kept], minlength=sheet.classes)
        row = audited({**sheet.columns, "clean": kept}, recorded.boundary())
        expect(page.locator(".scope-verdict")).to_have_text(
            f"kept {own} → {kept.sum()} of 200 at τ {tau:.2f}; the run used 0.50."
        )
        ours = look(
            page, "({kept: scope.verdict.kept, covered: scope.verdict.covered, confidence: scope.verdict.confidence})"
        )
        assert ours == {
            "kept": kept.sum(),
            "covered": (per_class > 0).sum(),
            "confidence": pytest.approx(sheet.columns["confidence"][kept].mean()) if kept.any() else None,
        }
        assert look(page, "scope.bars.count(10).map(bar => bar.clean)") == per_class.tolist()
        cells = page.locator(".scope-audit td b").all_inner_texts()
        names = ("clean_inside", "clean_outside", "rejected_inside", "rejected_outside")
        assert [int(cell) for cell in cells] == [row[name] for name in names]
        expect(page.locator(".scope-reading")).to_contain_text(how_it_judged(row))
    expect(page.locator(".scope-cut em")).to_be_visible()
    page.wait_for_url(re.compile(r"[?&]tau=0\.999(&|$)"))
    page.get_by_role("button", name="Reset").click()
    expect(page.locator(".scope-cut em")).to_be_hidden()
    expect(page.locator(".scope-verdict")).to_have_text(f"kept {own} of 200 at τ 0.50.")
    expect(page.locator(".scope-reading")).to_contain_text(re.compile(r"\. Over 3 recorded steps, .* by \d+\.\d \["))
    two_boundaries_are_drawn_and_what_they_reject_below_is_flagged(page, run)


def how_it_judged(row: dict[str, Any]) -> str:
    """In the words of the selection audit; Agresti and Caffo's standard error."""
    if not row["clean"] or not row["rejected"]:
        return "nothing is rejected" if row["clean"] else "none is clean"
    groups = [(row[f"{name}_inside"], row[name]) for name in ("clean", "rejected")]
    shares = [((inside + 1) / (of + 2), of + 2) for inside, of in groups]
    error = sum(share * (1 - share) / of for share, of in shares) ** 0.5
    gap = groups[0][0] / groups[0][1] - groups[1][0] / groups[1][1]
    return "no clear difference" if abs(gap) <= 2 * error else f"points the {'right' if gap > 0 else 'wrong'} way"


def two_boundaries_are_drawn_and_what_they_reject_below_is_flagged(page: Page, run: RunFolder) -> None:
    """With unequal variances the wide component wins below the narrow one too: the surest samples are rejected."""
    sheet = sheet_of(run)
    mixture = {"weights": [0.6, 0.4], "means": [0.1, 0.4], "deviations": [0.03, 0.25]}
    scaled = np.array(look(page, "[...scope.frame.scaled]"))
    bells = [w / d * np.exp(-0.5 * ((scaled - m) / d) ** 2) for w, m, d in zip(*mixture.values(), strict=True)]
    posterior = (bells[0] / sum(bells)).astype(np.float32)
    look(page, f"Object.assign(scope.frame.mixture, {mixture})")
    look(page, f"scope.frame.posterior = Float32Array.from({posterior.tolist()})")
    for tau in (0.3, 0.55, 0.9):
        page.get_by_label("Posterior cut τ as a number").fill(str(tau))
        wait(page, f"Number(stage.tau) === {tau}", SCOPE)
        theirs = accepted_region(mixture, tau)
        assert np.array(look(page, "scope.verdict.region")) == pytest.approx(np.array(theirs), abs=1e-9)
        assert theirs[0][0] > 0
        kept, losses = posterior > tau, sheet.columns["loss"]
        expected = np.flatnonzero(~kept & (losses < losses[kept].min())).tolist()
        assert expected
        expect(page.locator(".scope-flags")).to_have_text(f"⚑ {len(expected)}")
        page.locator(".scope-flags").click()
        assert selected(page) == expected
    look(page, "Object.assign(scope.frame.mixture, {usable: false, by_class: true})")
    page.get_by_label("Posterior cut τ as a number").fill("0.4")
    expect(page.locator(".scope-judged h4")).to_contain_text("a mixture for each class")
    wait(page, f"Number(stage.kept) === {(posterior > 0.4).sum()}", SCOPE)
    assert look(page, "scope.verdict.region") is None


# --- one sample ------------------------------------------------------------------------------------------------


def test_the_film_strip_shows_the_same_latent_at_every_step(page: Page, lab: Lab) -> None:
    run = craft(lab.runs)
    opened(page, lab, run, "&source=probes&sort=latent")
    page.locator(".scope-port").dblclick(position={"x": 250, "y": 20})
    wait(page, "stage.opened !== ''", SCOPE)
    index = int(page.locator(SCOPE).get_attribute("data-opened") or "")
    assert index > 0
    tiles = page.locator(".scope-film .scope-tile")
    expect(tiles).to_have_count(3)
    page.wait_for_function("() => document.querySelector('.scope-film .dfkd-image').style.backgroundImage")
    for nth, step in enumerate((1, 10, 20)):
        images, columns = read_samples(run, f"probes/{step:08d}")
        assert np.array_equal(grey_of(tiles.nth(nth).locator(".dfkd-image")), images[index, :, :, 0])
        expect(tiles.nth(nth)).to_contain_text(f"{columns['label'][index]} {step}")
    shoot(page, "inspect-drawer")
    tiles.nth(0).click()
    wait(page, f"stage.step === '1' && stage.opened === '{index}'", SCOPE)
    expect(page.locator(".scope-drawer h4")).to_contain_text(f"Latent {index}")
    page.wait_for_url(re.compile(r"[?&]step=1(&|$)"))


# --- tags and exports ------------------------------------------------------------------------------------------


def test_tags_are_kept_in_the_run_and_exports_hold_what_is_selected(page: Page, lab: Lab) -> None:
    run = craft(lab.runs, channels=3)
    opened(page, lab, run)
    exports_hold_the_selected_samples(page, run)
    look(page, "scope.selection.take([3, 5, 8])")
    page.get_by_label("Tag for the selected samples").fill("odd")
    page.keyboard.press("Enter")
    tags = Tags(run)
    until(lambda: tags.of("samples", 20) == {3: ["odd"], 5: ["odd"], 8: ["odd"]})
    chip = page.locator(".scope-chip")
    expect(chip).to_contain_text("odd 3")
    page.reload()
    expect(chip).to_contain_text("odd 3")
    chip.get_by_role("button").first.click()
    assert selected(page) == [3, 5, 8]
    look(page, "scope.selection.take([5])")
    page.get_by_label("Remove tag odd").click()
    expect(chip).to_contain_text("odd 2")
    until(lambda: sorted(tags.of("samples", 20)) == [3, 8])
    page.get_by_role("button", name="Undo").click()
    expect(chip).to_contain_text("odd 3")
    assert sorted(tags.of("samples", 20)) == [3, 5, 8]


def exports_hold_the_selected_samples(page: Page, run: RunFolder) -> None:
    look(page, "scope.selection.take([1, 4, 7, 9])")

    def download(form: str) -> Path:
        with page.expect_download() as waiting:
            page.get_by_role("button", name=form.upper(), exact=True).click()
        assert waiting.value.suggested_filename == f"{run.id}-samples-20.{form}"
        return Path(waiting.value.path())

    images, columns = read_samples(run, "samples/00000020")
    table = pandas.read_csv(download("csv"))
    assert table["index"].tolist() == [1, 4, 7, 9] and table["x"].notna().all()
    assert table["loss"].to_numpy() == pytest.approx(columns["loss"][[1, 4, 7, 9]], rel=1e-5)
    with np.load(io.BytesIO(download("npz").read_bytes())) as arrays:
        assert np.array_equal(arrays["images"], images[[1, 4, 7, 9]])
    with Image.open(download("png")) as sheet:
        assert sheet.mode == "RGB" and np.array_equal(np.asarray(sheet)[2, 2], images[1, 0, 0])


# --- layouts ---------------------------------------------------------------------------------------------------


def test_a_slow_layout_is_fitted_in_the_background_and_can_be_stopped(page: Page, lab: Lab) -> None:
    run = craft(lab.runs)
    opened(page, lab, run)
    page.get_by_role("button", name="UMAP").click()
    bar = page.locator(".scope-job progress")
    expect(bar).to_be_visible()
    page.locator(".scope-job").get_by_role("button", name="Stop").click()
    job = Job(run, "layout-umap")
    until(lambda: job.state().state == "stopped")
    expect(page.get_by_role("button", name="Fit UMAP")).to_be_visible()
    page.get_by_role("button", name="t-SNE", exact=True).click()
    wait(page, "stage.kind === 'tsne' && stage.projected === 'true'", SCOPE)
    assert (run.path / "analysis" / "layout-tsne.npz").exists()
    page.wait_for_url(re.compile("layout=tsne"))
    page.get_by_title(re.compile("^Star")).click()
    expect(page.locator(".scope-note")).to_contain_text("Fig. 4")
    expect(page.locator(".scope-note")).to_contain_text("outliers do not show")
    link = page.get_by_role("link", name="Open Distill with these knobs").get_attribute("href") or ""
    assert "k.class_prior_weight=1.0" in link and "k.adversarial_weight=0.0" in link
    shoot(page, "inspect-boundary")
    page.get_by_role("button", name="PCA").click()
    expect(page.locator(".scope-note")).not_to_contain_text("outliers do not show")


def test_the_page_opens_without_what_takes_seconds_to_import() -> None:
    code = "import sys, pages.ui.microscope.microscope; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "streamlit" in loaded.split() and not {"torch", "umap", "sklearn", "pandas"} & set(loaded.split())


# --- where it opens --------------------------------------------------------------------------------------------


def test_without_runs_the_recorded_one_is_inspected(page: Page, lab: Lab) -> None:
    page.goto(lab.url + "inspect")
    wait(page, "stage.run === 'ta-dfkd' && stage.step !== ''", SCOPE)
    expect(page.locator(".scope-state")).to_have_text("recorded run")
    page.wait_for_url(re.compile("run=ta-dfkd"))
    slider = page.get_by_label("Recorded step shown")
    slider.focus()
    page.keyboard.press("Home")
    wait(page, "Number(stage.step) <= 1", SCOPE)
    page.get_by_role("button", name="Replay the run").click()
    wait(page, "Number(stage.step) > 50", SCOPE)
    page.get_by_role("button", name="Stop the replay").click()
    page.get_by_role("button", name="Open in Distill").click()
    wait(page, "Number(stage.step) > 50")
    expect(page.locator(".dfkd-state")).to_have_text("recorded run")


def test_what_a_run_did_not_reject_or_keep_is_said_in_words(page: Page, lab: Lab) -> None:
    run = craft(lab.runs, method="noise", features=0, real=0, probes=0)
    page.goto(f"{lab.url}inspect?run={run.id}")
    expect(page.locator(".scope-verdict")).to_contain_text("This method rejects nothing: all 60 are learned from.")
    expect(page.get_by_label("Posterior cut τ as a number")).to_be_disabled()
    expect(page.get_by_text("This run kept no features of its samples")).to_be_visible()
    expect(page.get_by_role("button", name="Fixed latents")).to_be_disabled()
    expect(page.get_by_role("button", name="Mark what is inside the boundary")).to_be_disabled()
    page.locator(".scope-port").dblclick(position={"x": 30, "y": 20})
    expect(page.get_by_text("This run kept no class distributions")).to_be_visible()
    opened(page, lab, "fig-1a-0-adversarial")
    learned = "The verdict was not applied: all that was made was learned from."
    expect(page.locator(".scope-verdict")).to_have_text(f"clean 67 of 128 at τ 0.50. {learned}")
    expect(page.locator(".scope-classes h4")).to_contain_text("Clean by class")
    empty = craft(lab.runs, steps=())
    page.goto(f"{lab.url}inspect?run={empty.id}")
    expect(page.get_by_text("This run recorded no images.").first).to_be_visible()
    for name in SPECS:
        (empty.path / name).write_text("{")
    page.reload()
    expect(page.get_by_text(re.compile("spec.json.* Choose another run"))).to_be_visible()
    shutil.rmtree(empty.path)
    page.goto(f"{lab.url}inspect?run=nowhere")
    expect(page.get_by_text("is no run in")).to_be_visible()
    wait(page, f"stage.run === '{run.id}'", SCOPE)


def test_a_link_opens_the_view_that_was_sent(page: Page, lab: Lab) -> None:
    run = craft(lab.runs)
    view = "&step=10&source=probes&sort=class&colour=loss&tau=0.8&mark=boundary"
    opened(page, lab, run, view)
    wait(page, "stage.step === '10' && stage.source === 'probes' && stage.tau === '0.8'", SCOPE)
    assert look(page, "[scope.sort, scope.colour, scope.mark]") == ["class", "loss", "boundary"]
    assert all(part in page.url for part in view.split("&"))
    opened(page, lab, run, "&step=x&source=elsewhere&tau=7&layout=cube")
    wait(
        page, "stage.step === '20' && stage.source === 'samples' && stage.tau === '0.5' && stage.kind === 'pca'", SCOPE
    )


@pytest.mark.slow
def test_a_live_run_is_followed_until_somebody_scrubs(page: Page, lab: Lab) -> None:
    run = start(page, lab, LONG)
    opened(page, lab, run)
    first = int(page.locator(SCOPE).get_attribute("data-step") or "")
    wait(page, f"Number(stage.step) > {first}", SCOPE)
    slider = page.get_by_label("Recorded step shown")
    slider.focus()
    page.keyboard.press("Home")
    wait(page, "stage.step === '1'", SCOPE)
    seen = int(page.locator(SCOPE).get_attribute("data-version") or "")
    wait(page, f"Number(stage.version) > {seen + 20}", SCOPE)
    assert page.locator(SCOPE).get_attribute("data-step") == "1"
    page.get_by_role("button", name="Follow live").click()
    wait(page, f"Number(stage.step) > {first}", SCOPE)
    shoot(page, "inspect-live")
    # The layout stays as it was fitted until somebody wants it anew.
    fitted = look(page, "scope.layout.fitted")
    page.get_by_role("button", name="Fit again").click()
    later = f"() => document.querySelector('{SCOPE}').microscope.layout?.fitted > {fitted}"
    page.wait_for_function(later)
    wait(page, "stage.projected === 'true'", SCOPE)


@pytest.mark.parametrize(("theme", "size"), LOOKS)
def test_nothing_overflows_with_a_hundred_classes(page: Page, lab: Lab, theme: str, size: tuple[int, int]) -> None:
    run = craft(lab.runs, count=400, classes=100, channels=3, size=16)
    set_look(page, theme, size)
    opened(page, lab, run, "&colour=class")
    page.locator(".scope-port").dblclick(position={"x": 30, "y": 20})
    expect(page.get_by_text("90 others")).to_be_visible()
    shoot(page, f"inspect-{theme}-{size[0]}")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    page.keyboard.press("Escape")
    for name in ("judged", "classes", "images", "map"):
        box = box_of(page.locator(f".scope-{name}"))
        assert box["y"] + box["height"] <= size[1], f"{name} is not in sight without scrolling"
        canvas = box_of(page.locator(f".scope-{name} canvas").first)
        assert canvas["y"] + canvas["height"] <= box["y"] + box["height"]
