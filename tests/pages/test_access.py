"""Everybody can use every page: by keyboard, by ear, on a phone, in both themes, and nothing jumps while it loads."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Set
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from _pytest.mark import ParameterSet
from axe import COLOURS, axe, serious  # noqa: F401 - a fixture
from browser import PATIENCE, Lab, button, expect
from playwright.sync_api import Page

from pages.ui import recordings
from pages.ui.words import glossary

STAGE, SCOPE, STUDY = ".dfkd-stage[data-step]", ".dfkd-microscope[data-step]", ".dfkd-experiment[data-study]"
PAGES = {  # address, at which nothing plays, and what is there when it is drawn
    "distill": ("?run=ta-dfkd&step=300", STAGE),
    "slow motion": ("?run=ta-dfkd&slow=300.2", ".dfkd-box.now :is(canvas, .dfkd-image)"),
    "inspect": ("inspect?run=ta-dfkd", SCOPE),
    "hybrid": ("hybrid?run=hidfd&step=30", STAGE),
    "experiments": ("hybrid?view=experiments", "[data-testid=stMain] button"),
    "generative": ("generative?run=ukd&step=1", STAGE),
    "class prior": ("prior?study=figs-2-3", STUDY),
    "lessons": ("lessons?study=fig-1a", STUDY),
    "studies": ("studies", ".dfkd-grid"),
    "composing": ("studies?kind=grid&new=1", "[data-testid=stMain] [data-testid=stNumberInput]"),
    "runs": ("runs?chosen=ta-dfkd", "[data-testid=stMain] .js-plotly-plot"),
    "methods": ("methods", ".methods-table tbody tr"),
    "method": ("methods?method=cmi", ".source .line"),
    "two methods": ("methods?method=cmi&with=nayer", ".methods-page tr.differs"),
    "teachers": ("teachers?teacher=digits-resnet20-plain", "[data-testid=stMain] details"),
    "glossary": ("glossary?term=kept", ".terms article"),
    "notes": ("notes?of=ta-dfkd", "[data-testid=stMain] p"),
    "given": ("?lesson=ta-dfkd&stop=3", STAGE),
}
SHIFTS = """window.shifted = 0;
new PerformanceObserver((list) => list.getEntries().forEach((one) => {
  if (!one.hadRecentInput) window.shifted += one.value;
})).observe({ type: "layout-shift", buffered: true });"""
CUT_OFF = """() => [...document.querySelectorAll(".dfkd-panel h4")]
  .filter((one) => one.scrollWidth > one.clientWidth + 1).map((one) => one.textContent)"""
LEAST = {"distill": 7 + 12, "hybrid": 14 + 13, "generative": 10 + 9}
"""Headings of panels, and of their legends, that lead to the glossary."""
MOST_SHIFTED = 0.1
PHONE = {"width": 390, "height": 844}
WIDE = """() => [document.scrollingElement, document.querySelector("[data-testid=stMain]")]
  .map((box) => [box.scrollWidth, innerWidth])"""
SMALL = """() => [...document.querySelectorAll("[data-testid=stMain] *")].filter((one) =>
  [...one.childNodes].some((text) => text.nodeType === 3 && text.textContent.trim()) && one.getClientRects().length
  && !one.closest("svg, sub, sup, .katex, [data-state]") && parseFloat(getComputedStyle(one).fontSize) < 12,
).map((one) => one.className + ": " + one.textContent.slice(0, 40))"""


def some(slow: Set[str]) -> list[ParameterSet]:
    """Every page, of which those that are ``slow`` are built as others are."""
    return [pytest.param(name, marks=[pytest.mark.slow] * (name in slow)) for name in PAGES]


@pytest.fixture
def taught(lab: Lab) -> Lab:
    """A lab with a few finished runs."""
    for name in ("ta-dfkd", "hidfd"):
        shutil.copytree(recordings.FOLDER / name, lab.runs / name)
    return lab


def opened(page: Page, lab: Lab, name: str) -> None:
    address, there = PAGES[name]
    page.emulate_media(reduced_motion="reduce")
    page.goto(lab.url + address)
    page.locator(there).first.wait_for(timeout=PATIENCE)
    page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]", timeout=PATIENCE)
    page.wait_for_timeout(1000)  # what comes late


LIKE_OTHERS = {"experiments", "two methods", "given", "composing", "notes", "class prior", "generative", "slow motion"}


@pytest.mark.parametrize("name", some(LIKE_OTHERS))
def test_a_page_can_be_used_by_everybody(page: Page, taught: Lab, axe: str, name: str) -> None:
    page.add_init_script(SHIFTS)
    opened(page, taught, name)
    assert page.evaluate("window.shifted") <= MOST_SHIFTED
    expect(page.locator("h1")).to_have_text(re.compile("."))  # one, and only one
    assert not page.evaluate(SMALL), "these words are too small"
    for needed, there in page.evaluate(WIDE):
        assert needed <= there
    assert not page.evaluate(CUT_OFF), "a panel's heading or legend is cut off"
    headings_lead_to_terms(page, LEAST.get(name, 0))
    unnamed = [one for one in _names(page) if not re.search(r"\w", one)]
    assert not unnamed, "buttons without a name that can be spoken"
    assert serious(page, axe) == []
    page.emulate_media(color_scheme="dark")
    assert in_the_end(page, lambda: serious(page, axe, COLOURS)) == []
    page.set_viewport_size(PHONE)
    assert in_the_end(page, lambda: what_a_phone_cannot_show(page)) == []


def in_the_end(page: Page, amiss: Callable[[], list[Any]]) -> list[Any]:
    """What is still amiss after a second or, on a busy machine, a few."""
    for _ in range(5):
        page.wait_for_timeout(500)
        if not (found := amiss()):
            return []
    return found


def headings_lead_to_terms(page: Page, least: int) -> None:
    """Those of the panels and of their legends do, all in one other tab; there are at ``least`` so many."""
    links = page.locator(".dfkd-stage h4 a").evaluate_all("all => all.map((a) => [a.getAttribute('href'), a.target])")
    assert len(links) >= least and {target for _, target in links} <= {"dfkd-glossary"}
    terms = [parse_qs(urlsplit(address).query)["term"][0] for address, _ in links]
    assert all(glossary.find(term) for term in terms), terms
    headings = page.locator(".dfkd-stage h4")
    assert headings.count() == headings.locator("> a:first-child").count()


def _names(page: Page) -> list[str]:
    """What a screen reader says of the buttons that can be seen."""
    told = page.locator("[data-testid=stMain]").aria_snapshot()
    return re.findall(r'^\s*- (?:\'|")?button ?(?:"([^"]*)")?', told, re.M)


@pytest.mark.parametrize("name", some(PAGES.keys() - {"distill"}))
def test_a_page_fits_a_phone(page: Page, taught: Lab, name: str) -> None:
    page.set_viewport_size(PHONE)
    opened(page, taught, name)
    assert what_a_phone_cannot_show(page) == []


def what_a_phone_cannot_show(page: Page) -> list[Any]:
    amiss: list[Any] = [(needed, there) for needed, there in page.evaluate(WIDE) if needed > there]
    menu = page.get_by_role("link", name="Glossary")
    if menu.count() and menu.is_visible() and menu.bounding_box()["x"] >= 0:
        amiss.append("the menu covers the page")
    slider = page.locator(".dfkd-slide").first
    if slider.count() and slider.bounding_box()["width"] <= 250:
        amiss.append("the track is too short")
    return amiss


def test_runs_are_chosen_without_the_table(page: Page, taught: Lab) -> None:
    page.goto(f"{taught.url}runs")
    box = page.get_by_role("combobox", name="Chosen runs")
    box.focus()
    page.keyboard.type("hidfd")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("chosen=hidfd"))
    page.keyboard.press("Escape")  # the list
    expect(button(page, "Open in Distill")).to_be_visible()
    page.reload()
    expect(page.get_by_text(re.compile("hidfd · hidfd, done")).first).to_be_visible()


def test_what_has_the_keyboards_attention_is_seen(page: Page, taught: Lab) -> None:
    opened(page, taught, "distill")
    seen = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        seen.add(
            page.evaluate("""() => { const one = document.activeElement, style = getComputedStyle(one);
            const ring = (style) => style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0;
            const box = getComputedStyle(one.closest("[data-rac]") ?? one);
            const marked = ring(style) || style.boxShadow !== "none" || box.boxShadow !== "none" || ring(box)
              || one.matches("input");
            return marked || one === document.body ? "" : one.outerHTML.slice(0, 120); }""")
        )
    assert seen == {""}


def test_the_keyboards_attention_stays_where_it_was_when_a_page_is_drawn_anew(page: Page, taught: Lab) -> None:
    move = "(slider, step) => { slider.value = step; slider.dispatchEvent(new Event('input')); }"
    slider = page.locator(".dfkd-slide input")
    page.goto(f"{taught.url}?run=ta-dfkd&step=100")
    images = page.get_by_label("clean images")
    images.focus()
    slider.evaluate(move, 300)
    expect(page.locator(".dfkd-samples h4")).to_contain_text("at step 300")
    expect(images).to_be_focused()

    page.goto(f"{taught.url}hybrid?run=hidfd&step=3")
    chip = page.get_by_role("button", name="class, real")
    chip.focus()
    page.keyboard.press("Enter")
    expect(chip).to_have_attribute("aria-pressed", "false")
    expect(chip).to_be_focused()
    slider.focus()  # what is given elsewhere does not come back
    chip.dispatch_event("click")
    expect(chip).to_have_attribute("aria-pressed", "true")
    expect(slider).to_be_focused()
