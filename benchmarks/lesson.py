"""The lessons that ship, given from first stop to last in a new lab, by arrow keys alone: how long a class waits.

A server with an empty folder of runs, a fresh browser that reaches nothing but this server, in both themes. Of each
stop: seconds from the key to the page that it leads to, drawn. With ``--shots FOLDER`` a picture of every stop is left
there, to be looked at.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from playwright.sync_api import Page, Route

from benchmarks.answers import PAGES, PATIENCE
from benchmarks.command import Quick, command
from benchmarks.lab import browsing, new_page, serving
from benchmarks.report import Report, Row, at_most, say
from benchmarks.training import folder_of_runs
from pages.ui.present import script

MOST_SECONDS = 30.0  # of waiting in a whole lesson, which is none when counted in minutes
MENU = {"prior": "Class prior"}  # what a script calls a page, where the menu says more
FILLED = 4.0  # seconds in which charts are drawn, before a picture is taken


def measure(
    *,
    lessons: Annotated[list[str] | None, Parameter(help="Of those that ship; all.")] = None,
    shots: Annotated[Path | None, Parameter(help="Where pictures of all stops go; none are taken.")] = None,
    quick: Quick = False,
) -> Iterator[Report]:
    names = lessons or sorted(path.stem for path in script.SHIPPED.glob("*.toml"))
    rows, waited = [], {}
    for name in names[:1] if quick else names:
        stops, outside = script.read(name).stops, list[str]()
        for theme in ("light", "dark"):
            waited[f"{name}, {theme}"] = _given(name, theme, outside, shots)
        worst = max((waited[f"{name}, {theme}"] for theme in ("light", "dark")), key=sum)
        minutes = sum(stop.minutes for stop in stops)
        words = f"{sum(worst):.1f} s in {len(stops)} stops, {max(worst):.1f} s the longest"
        rows.append(
            at_most(MOST_SECONDS, f"{name}, {minutes:g} minutes: waiting in all", words, sum(worst), "no minute")
        )
        rows.append(Row(f"{name}: requests to elsewhere", str(len(outside)), "0", not outside, len(outside)))
    yield Report(rows, {"seconds": waited})


def _given(name: str, theme: str, outside: list[str], shots: Path | None) -> list[float]:
    """Seconds of each stop."""
    seconds = []
    with browsing() as browser, folder_of_runs() as runs, serving(runs) as lab:
        page = new_page(browser, dark=theme == "dark")
        page.route(lambda address: not address.startswith((lab, "data:", "blob:")), lambda one: _refuse(one, outside))
        for number, stop in enumerate(script.read(name).stops, 1):
            began = time.perf_counter()
            if number == 1:
                page.goto(f"{lab}?lesson={name}&stop=1")
            else:
                page.keyboard.press("ArrowRight")
            _shown(page, number, stop)
            seconds.append(time.perf_counter() - began)
            say(f"{name}, {theme}, stop {number}: {seconds[-1]:.2f} s")
            page.wait_for_timeout(1000 * FILLED)
            if shots is not None:
                page.screenshot(path=shots / f"{name}-{number:02}-{theme}.png")
        page.close()
    return seconds


def _shown(page: Page, number: int, stop: script.Stop) -> None:
    """Wait for the card of that stop, and for what its page is about."""
    card = page.locator(".st-key-lesson-card").get_by_text(f"{number} of ", exact=False)
    card.filter(has_text=f"{number} of").first.wait_for(timeout=PATIENCE)
    page.locator(".st-key-lesson-card").get_by_text(stop.title).first.wait_for(timeout=PATIENCE)
    page.wait_for_selector(PAGES[MENU.get(stop.page, stop.page.capitalize())], timeout=PATIENCE)


def _refuse(route: Route, outside: list[str]) -> None:
    outside.append(route.request.url)
    route.abort()


if __name__ == "__main__":
    command(measure)
