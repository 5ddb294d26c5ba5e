"""What was set on a page is still set when one comes back, and nowhere else; a link says otherwise."""

from __future__ import annotations

import re

import pytest
from browser import Lab
from playwright.sync_api import Page, expect
from streamlit.testing.v1 import AppTest


def visit(page: Page, name: str) -> None:
    page.locator("[data-testid=stSidebarNav]").get_by_role("link", name=name, exact=True).click()


def set_seed(page: Page, seed: str) -> None:
    page.get_by_text("Seed, device, data").click()
    field = page.get_by_role("spinbutton", name="Seed")
    field.fill(seed)
    field.press("Enter")
    expect(page).to_have_url(re.compile(f"seed={seed}"))


@pytest.mark.browser
def test_each_page_keeps_what_was_set_and_looked_at_on_it(page: Page, lab: Lab) -> None:
    page.goto(lab.url + "?step=300")
    set_seed(page, "5")
    visit(page, "Runs")
    expect(page).to_have_url(re.compile("/runs$"))
    visit(page, "Hybrid")
    expect(page).to_have_url(re.compile("/hybrid.*seed=0"))
    set_seed(page, "9")
    visit(page, "Distill")
    expect(page).to_have_url(re.compile("method=ta-dfkd.*seed=5"))
    expect(page).to_have_url(re.compile("step=300"))
    page.get_by_text("Seed, device, data").click()
    expect(page.get_by_role("spinbutton", name="Seed")).to_have_value("5")
    visit(page, "Hybrid")
    expect(page).to_have_url(re.compile("method=hidfd.*seed=9"))


def test_a_run_of_the_page_overrules_nothing_that_somebody_chose_meanwhile(app: AppTest) -> None:
    app.run()
    app.selectbox(key="form:student").select("lenet5").run()
    app.run()
    assert app.selectbox(key="form:student").value == "lenet5"
    widgets = [*app.selectbox, *app.number_input, *app.toggle]
    assert widgets and not [widget.key for widget in widgets if widget.proto.set_value]


SLOW_TIMERS = """() => { const soon = window.setTimeout; window.setTimeout = (act, after, ...more) =>
  soon(act, after || 800, ...more); }"""  # as on a busy machine: the front end's timer of 0 ms comes late


@pytest.mark.browser
def test_what_is_set_while_the_stage_asks_for_a_frame_is_not_lost(page: Page, lab: Lab) -> None:
    """The front end sends both as one, which reruns the stage alone."""
    page.goto(lab.url)
    expect(page.locator(".dfkd-stage")).to_be_visible()
    page.get_by_text("Seed, device, data").click()
    page.evaluate(SLOW_TIMERS)
    field = page.get_by_role("spinbutton", name="Seed")
    for seed in ("5", "6", "7", "8"):
        field.fill(seed)
        field.press("Enter")
        expect(page).to_have_url(re.compile(f"seed={seed}"), timeout=8000)
