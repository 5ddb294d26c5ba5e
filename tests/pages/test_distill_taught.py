"""Slow motion and knobs that change while a run goes on, in a real browser."""

from __future__ import annotations

import re

from browser import LONG, Lab, button, expect, shoot, start, until, wait
from conftest import rows
from playwright.sync_api import Page

from dfkd_core.methods.ta_dfkd import TADFKD
from dfkd_core.store import RunFolder, read_phases
from pages.ui.words import phases

NAMES = list(TADFKD.phases)
CAPTIONS = [phase["caption"] for phase in phases.described("ta-dfkd", NAMES)]


def shown(page: Page, phase: str, step: int | None = None) -> None:
    """Wait until slow motion stands at ``phase`` (of ``step``)."""
    at = "" if step is None else f" && stage.step === '{step}'"
    wait(page, f"stage.phase === '{phase}'{at}", ".dfkd-slow")


def test_slow_motion_goes_phase_by_phase_through_the_recorded_run(page: Page, lab: Lab) -> None:
    page.goto(lab.url)
    wait(page, "Number(stage.step) > 0 && Number(stage.step) < 500")  # it plays
    page.get_by_role("button", name="Slow motion").click()
    for index, name in enumerate(NAMES):
        shown(page, name)
        expect(page.locator(".dfkd-idea")).to_be_hidden()  # one diagram at a time
        assert page.locator(".dfkd-box.now h5").inner_text().startswith(str(index + 1))
        assert page.locator(".dfkd-slow-caption").inner_text().startswith(CAPTIONS[index])
        shoot(page, f"slow-motion-{index + 1}")
        page.locator(".dfkd-slow-next").click()
    shown(page, "latents")  # of the next recorded step
    page.locator(".dfkd-slow-back").click()
    shown(page, "generator")
    page.wait_for_url(re.compile(r"slow=\d+\.5"))
    page.reload()  # the view is a link
    shown(page, "generator")
    page.keyboard.press("Escape")
    expect(page.locator(".dfkd-slow")).to_be_hidden()
    slowly = page.get_by_role("button", name="Slow motion")
    expect(slowly).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator(".dfkd-slow")).to_be_visible()
    page.locator(".dfkd-slow-close").click()
    expect(page.locator(".dfkd-slow")).to_be_hidden()
    expect(slowly).to_be_focused()
    page.get_by_role("button", name="To the end").click()
    slowly.click()
    shown(page, "latents", 600)  # where the run stands
    captions = page.locator(".dfkd-box[data-phase=judge] figcaption")
    expect(captions.locator("b").first).to_have_text(re.compile(r"^\d$"))
    expect(captions.first).to_have_text(re.compile(r"^\d \d+%$"))
    expect(page.locator(".dfkd-slow-legend")).to_contain_text("probabilities")


def test_a_live_run_is_changed_and_seen_in_slow_motion(page: Page, lab: Lab) -> None:
    run = start(page, lab, LONG)
    a_knob_is_changed_while_it_goes_on_and_marked(page, run)
    its_next_step_is_shown_with_its_own_numbers(page, run)
    page.keyboard.press("Escape")  # what slow motion has paused goes on
    until(lambda: run.status().state == "running")
    what_somebody_else_has_paused_stays_so(page, run)


def a_knob_is_changed_while_it_goes_on_and_marked(page: Page, run: RunFolder) -> None:
    button(page, "Change knobs").click()
    field = page.locator(".st-key-live-knobs").get_by_role("spinbutton", name="posterior cut (τ)")
    field.fill("0.9")
    field.press("Tab")
    button(page, "Apply").click()
    until(lambda: bool(rows(run, "applied")))
    (row,) = rows(run, "applied")
    assert (row["command"], row["knobs"]) == ("set", {"posterior_cut": 0.9})
    page.keyboard.press("Escape")  # leaves the form
    mark = page.locator(".dfkd-accuracy .annotation-text")
    expect(mark).to_have_text("posterior_cut 0.5 → 0.9")
    assert run.status().state == "running"
    shoot(page, "live-change")


def its_next_step_is_shown_with_its_own_numbers(page: Page, run: RunFolder) -> None:
    page.get_by_role("button", name="Slow motion").click()
    shown(page, "latents")
    until(lambda: run.status().state == "paused")
    expect(page.locator(".dfkd-slow-note")).to_contain_text("goes on when you leave")
    step = int(page.locator(".dfkd-slow").get_attribute("data-step"))
    assert step == run.status().step
    for name in NAMES[1:]:
        page.locator(".dfkd-slow-next").click()
        shown(page, name, step)
    row = next(row for row in rows(run, "phases") if row["step"] == step)
    split = read_phases(run, row)[3]
    kept = f"{round(split.values['kept'] * 16)} of 16"
    expect(page.locator(".dfkd-box[data-phase=split] dd").first).to_have_text(kept)
    assert page.locator(".dfkd-box[data-phase=split] figure.clean").count() == int(split.arrays["clean"][:12].sum())
    page.locator(".dfkd-slow-next").click()  # past the last phase: one more step of the run
    shown(page, "latents", step + 1)
    assert run.status().step == step + 1


def what_somebody_else_has_paused_stays_so(page: Page, run: RunFolder) -> None:
    wait(page, "stage.state === 'running'")
    pressed = "(one) => { one.click(); return one.matches('[data-pressed]'); }"
    assert button(page, "Pause").evaluate(pressed), "a button that steers says so before the server does"
    until(lambda: run.status().state == "paused")
    wait(page, "stage.state === 'paused'")
    page.get_by_role("button", name="Slow motion").click()
    page.locator(".dfkd-box.now canvas").first.wait_for()
    step = run.status().step
    page.keyboard.press("Escape")
    page.wait_for_timeout(1500)
    assert (run.status().state, run.status().step) == ("paused", step)
