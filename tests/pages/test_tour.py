"""The guided tour of the Distill page."""

from __future__ import annotations

import re

import pytest
from browser import LONG, Lab, button, shoot, start, until, wait
from conftest import execute, new_run
from playwright.sync_api import Page, Route, expect
from streamlit.testing.v1 import AppTest

from dfkd_core.analysis.timeline import Timeline
from dfkd_core.store import RunFolder, runs_in
from pages.ui import recordings
from pages.ui.words import glossary, tour

STEPS = [1, *range(15, 601, 15)]
COUNT = 5


def test_every_stop_links_terms_that_there_are() -> None:
    assert len(tour.stops()) == COUNT
    for stop in tour.stops():
        terms = re.findall(r"/glossary\?term=([^)]+)\)", stop.text)
        assert terms and all(glossary.find(term) for term in terms)


@pytest.mark.parametrize(
    ("at", "recorded", "step"),
    [
        (0.0, STEPS, 1),
        (0.5, STEPS, 300),
        (0.1, [1, 40, 80], 1),
        (0.5, [10, 50, 80, 100], 50),
        (0.5, [], None),
        (None, STEPS, None),
    ],
)
def test_a_stop_shows_the_nearest_recorded_step(at: float | None, recorded: list[int], step: int | None) -> None:
    assert tour.Stop("", "", "accuracy", at).step(recorded) == step


def test_a_stop_that_there_is_not_is_no_tour(app: AppTest) -> None:
    app.query_params["tour"] = str(COUNT + 1)
    app.run()
    assert not app.exception and "tour" not in app.query_params


# --- in the browser --------------------------------------------------------------------------------------------


def at_stop(page: Page, number: int) -> None:
    """The card, the address and the framed panel agree on the stop."""
    stop = tour.stops()[number - 1]
    expect(page.locator(".st-key-tour-card")).to_contain_text(f"{stop.title} · Stop {number} of {COUNT}")
    page.wait_for_url(re.compile(rf"[?&]tour={number}(&|$)"))
    expect(page.locator(".dfkd-panel.spot")).to_have_count(1)
    expect(page.locator(f".dfkd-{stop.panel}.spot")).to_be_in_viewport(ratio=0.95)
    expect(page.locator(".st-key-tour-card")).to_be_in_viewport(ratio=0.95)


def at_the_right_end_of_the_buttons(page: Page) -> None:
    names = (".st-key-start", ".st-key-tour", ".dfkd-stage")
    first, way_in, stage = (page.locator(name).bounding_box() for name in names)
    assert first is not None and way_in is not None and stage is not None
    assert abs(way_in["y"] - first["y"]) < 4, "in the same row"
    assert abs(way_in["x"] + way_in["width"] - stage["x"] - stage["width"]) < 4


def recorded_steps() -> list[int]:
    """The steps of which the recorded run has images."""
    timeline = Timeline(RunFolder(recordings.FOLDER / recordings.DISTILL))
    timeline.update()
    return sorted(timeline.frames)


def not_touring(page: Page) -> None:
    expect(page.locator(".st-key-tour-card")).to_have_count(0)
    expect(page.locator(".dfkd-panel.spot")).to_have_count(0)
    page.wait_for_url(re.compile(r"^((?!tour=).)*$"))


def test_five_stops_on_the_recorded_run_by_keyboard_alone(page: Page, lab: Lab) -> None:
    page.goto(lab.url)
    expect(button(page, "Tour")).to_be_visible()
    at_the_right_end_of_the_buttons(page)
    button(page, "Tour").press("Enter")
    steps = recorded_steps()
    for number, stop in enumerate(tour.stops(), start=1):
        at_stop(page, number)
        wait(page, f"stage.step === '{stop.step(steps) or steps[-1]}'")
        shoot(page, f"tour-{number}")
        if number < COUNT:
            button(page, "Next").press("Enter")
    expect(button(page, "Start")).to_be_in_viewport(ratio=1)  # which the last stop asks to press
    expect(button(page, "Next")).to_have_count(0)
    button(page, "Back").press("Enter")
    at_stop(page, 4)
    button(page, "Next").press("Enter")
    button(page, "Finish").press("Enter")
    not_touring(page)
    assert not runs_in(lab.runs), "the tour starts nothing"


def test_a_stage_taken_away_before_its_charts_could_be_drawn_makes_no_error(page: Page, lab: Lab) -> None:
    """Plotly's script comes late on a busy machine; by then Streamlit may have mounted the stage anew."""
    held: list[Route] = []
    page.route("**/plotly-basic.min.js", lambda route: held.append(route))  # playwright marks what it is given
    page.goto(lab.url + "?tour=3")
    page.wait_for_selector(".dfkd-tile")
    page.evaluate("() => { window.taken = document.querySelector('.dfkd-host'); window.taken.remove(); }")
    assert held
    held[0].continue_()
    page.wait_for_function("() => window.Plotly")
    page.wait_for_timeout(500)  # an error of the page fails the test at its end


def test_a_link_opens_a_stop_and_the_scrubber_is_free_there(page: Page, lab: Lab) -> None:
    first, second = recorded_steps()[:2]
    page.goto(lab.url + "?tour=2")
    at_stop(page, 2)
    wait(page, f"stage.step === '{first}'")
    expect(button(page, "Start")).to_be_enabled()  # the form is there: the page ran again, and the stop with it
    page.get_by_label("Training step shown").focus()
    page.keyboard.press("ArrowRight")
    wait(page, f"stage.step === '{second}'")
    page.wait_for_url(re.compile(rf"[?&]step={second}(&|$)"))
    at_stop(page, 2)
    assert page.locator(".dfkd-stage").get_attribute("data-step") == str(second)
    page.reload()
    at_stop(page, 2)
    wait(page, f"stage.step === '{second}'")
    expect(button(page, "Start")).to_be_enabled()
    assert page.locator(".dfkd-stage").get_attribute("data-step") == str(second)
    a_stage_mounted_anew_is_moved_by_the_next_stop(page)
    button(page, "Leave").click()
    not_touring(page)


def a_stage_mounted_anew_is_moved_by_the_next_stop(page: Page) -> None:
    """Streamlit does so now and then, on a busy machine: the next stop once kept the last one's step."""
    page.evaluate(
        "() => { const host = document.querySelector('.dfkd-host'); delete host.view; host.replaceChildren(); }"
    )
    button(page, "Next").click()
    at_stop(page, 3)
    wait(page, f"stage.step === '{tour.stops()[2].step(recorded_steps())}'")


@pytest.mark.slow
def test_a_live_run_goes_on_through_the_tour(page: Page, lab: Lab) -> None:
    run = start(page, lab, LONG)
    wait(page, "Number(stage.step) >= 10")
    at_the_right_end_of_the_buttons(page)
    button(page, "Tour").click()
    at_stop(page, 1)
    button(page, "Next").click()
    at_stop(page, 2)
    wait(page, "stage.step === '1'")
    seen = int(page.locator(".dfkd-stage").get_attribute("data-version") or 0)
    wait(page, f"Number(stage.version) > {seen + 5}")
    at_stop(page, 2)
    wait(page, "stage.step === '1'")
    for number in (3, 4, 5):
        button(page, "Next").click()
        at_stop(page, number)
    wait(page, "Number(stage.step) > 10")  # the last stop follows the run
    button(page, "Pause").click()
    wait(page, "stage.state === 'paused'")
    button(page, "Finish").click()
    not_touring(page)
    button(page, "Stop").click()
    until(lambda: run.status().state == "stopped")


def test_a_run_without_selection_is_not_said_to_select(page: Page, lab: Lab) -> None:
    run = new_run(lab.runs, {"selection": False})
    assert execute(run).state == "done"
    page.goto(f"{lab.url}?run={run.id}&tour=2")
    at_stop(page, 2)
    note = page.get_by_text("The run shown learns without selection")
    expect(note).to_have_count(0)
    button(page, "Next").click()
    at_stop(page, 3)
    expect(note).to_be_visible()
