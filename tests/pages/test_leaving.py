"""A page that one goes to comes whole, whatever the one that is left still asks for."""

from __future__ import annotations

import pytest
from browser import Lab, wait
from playwright.sync_api import Page

AS_IT_IS_LEFT = """(ask) => document.addEventListener("click", () => {
  const { questions } = window.dfkdMicroscope, say = questions.setStateValue;
  window.asked = 0;
  if (ask === "at once") setTimeout(() => say("ask", { id: "late", want: [], orders: [] }), 1);
  const counted = (...told) => { window.asked += 1; say(...told); };
  Object.assign(questions, { setStateValue: counted, waiting: null }).tell(0);
}, { once: true })"""


@pytest.mark.browser
@pytest.mark.parametrize("ask", ["politely", "at once"])  # ours, which waits; Streamlit's own timers, which do not
def test_a_page_comes_whole_while_the_one_before_asks(page: Page, lab: Lab, ask: str) -> None:
    page.goto(lab.url + "inspect?run=ta-dfkd")
    wait(page, "stage.step !== ''", ".dfkd-microscope")
    page.evaluate(AS_IT_IS_LEFT, ask)
    page.locator("[data-testid=stSidebarNav]").get_by_role("link", name="Hybrid", exact=True).click()
    wait(page, "stage.step !== ''", ".dfkd-stage.hybrid", patience=20_000)
    assert page.evaluate("window.asked") == 0
