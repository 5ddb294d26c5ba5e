"""How soon the pages answer, in a headless browser: what a lecturer and a researcher wait for.

* ``first``: a new server and a fresh browser each time: from asking for the page to the headline with the recorded run
  playing below it, and to Start usable.
* ``buttons``: a run of digits is started, paused, resumed and stopped: from each click to the button's change, and to
  the state that the run confirms; from Start to the stage that bears the new run's name, and to its first step there.
* ``pages``: from a click in the menu to what the page is about, all pages, when each has been visited once; and the
  layout shift of loading each by its address.

Machine time, so it is stated beside the load. Each part keeps its own file, results/answers-PART.json.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from typing import Literal

from playwright.sync_api import Page

from benchmarks.command import Quick, Rounds, command
from benchmarks.lab import SERVE, browsing, new_page, serving
from benchmarks.report import ROOT, Report, Row, say
from benchmarks.timing import bootstrap
from benchmarks.training import folder_of_runs

PAGES = {  # in the menu: what is there when it is drawn
    "Distill": ".dfkd-stage.distill[data-step]",
    "Inspect": ".dfkd-microscope[data-step]",
    "Hybrid": ".dfkd-stage.hybrid[data-step]",
    "Generative": ".dfkd-stage.generative[data-step]",
    "Class prior": ".dfkd-prior[data-study]",
    "Lessons": ".dfkd-lesson[data-study]",
    "Studies": ".dfkd-grid[data-study]",
    "Runs": ".st-key-labelled-chosen input",
    "Methods": ".methods-table tbody tr",
    "Teachers": "[data-testid=stDataFrame] canvas",
    "Glossary": ".contents a",
}
PATIENCE = 120_000
RECORDED = ROOT / "assets" / "recorded" / "ta-dfkd"
OPENING = """
window.moments = {};
const look = () => {
  const seen = window.moments, stage = document.querySelector('.dfkd-stage'), now = performance.now() / 1000;
  const start = document.querySelector('.st-key-start button');
  if (stage?.dataset.step && document.querySelector('[data-testid=stMain] h4')) {
    window.begun ??= stage.dataset.step;
    if (stage.dataset.step !== window.begun) seen.playing ??= now;
  }
  if (start && !start.disabled) seen.start ??= now;
  if (Object.keys(seen).length < 2) requestAnimationFrame(look);
};
look();
"""
PRESSED = """([key, until]) => new Promise((done) => {
  const button = document.querySelector(`.st-key-${key} button`);
  const face = () => button.outerHTML, words = () => button.innerText + button.disabled;
  const stage = () => document.querySelector('.dfkd-stage')?.dataset ?? {}, run = stage().run, seen = {};
  const tests = {
    answered: () => face() !== before || !button.isConnected,
    told: () => words() !== said || !button.isConnected,
    named: () => until !== 'first step' || (stage().run && stage().run !== run),
    settled: () => until === 'first step' ? seen.named != null && Number(stage().elapsed) > 0 : stage().state === until,
  };
  const before = face(), said = words(), began = performance.now();
  const look = () => {
    const fresh = Object.keys(tests).filter((name) => seen[name] == null && tests[name]());
    for (const name of fresh) seen[name] = (performance.now() - began) / 1000;
    if (Object.keys(seen).length < 4) return requestAnimationFrame(look);
    done(seen);
  };
  button.click();
  look();
})"""
SHIFTS = """
window.shifted = 0;
new PerformanceObserver((list) => list.getEntries().forEach((one) => {
  if (!one.hadRecentInput) window.shifted += one.value;
})).observe({ type: 'layout-shift', buffered: true });
"""


def first(rounds: int, serve: str) -> Report:
    """Of new servers, one after the other."""
    found: list[dict[str, float]] = []
    with browsing() as browser:
        for _ in range(rounds):
            page = new_page(browser)
            page.add_init_script(OPENING)
            with folder_of_runs() as runs, serving(runs, serve) as lab:
                page.goto(lab, wait_until="commit")
                page.wait_for_function("() => Object.keys(window.moments).length === 2", timeout=PATIENCE)
                found.append(page.evaluate("window.moments"))
            page.close()
            say(str(found[-1]))
    playing, usable = (bootstrap([one[name] for one in found]) for name in ("playing", "start"))
    rows = [
        playing.row("New server, first open to headline and recorded run playing", 2.5, "s"),
        usable.row("… to Start usable", 5, "s"),
    ]
    return Report(rows, {"seconds": found})


def buttons(rounds: int, serve: str) -> Report:
    """Of one lab, whose worker is warm; a run a round."""
    orders = {"start": "first step", "pause": "paused", "resume": "running", "stop": "stopped"}
    keys = {"start": "start", "pause": "pause_or_resume", "resume": "pause_or_resume", "stop": "stop"}
    found: dict[str, list[dict[str, float]]] = {name: [] for name in orders}
    with browsing() as browser, folder_of_runs() as runs, serving(runs, serve) as lab:
        page = new_page(browser)
        page.goto(f"{lab}?k.epochs=300")
        for _ in range(rounds):
            time.sleep(8.0)  # for the next worker to be warm
            for name, until in orders.items():
                page.wait_for_selector(f".st-key-{keys[name]} button:enabled", timeout=PATIENCE)
                time.sleep(0.5)
                found[name].append(page.evaluate(PRESSED, [keys[name], until]))
                say(f"{name}: {found[name][-1]}")
                time.sleep(2.0)
    rows = [
        bootstrap([one["answered"] for one in seen]).row(f"{name.capitalize()}: click to the button's answer", 0.2, "s")
        for name, seen in found.items()
    ]
    for name, seen in found.items():
        what = name.capitalize()
        rows.append(bootstrap([one["told"] for one in seen]).row(f"{what}: … to what the lab says of it", unit="s"))
        if name != "start":
            rows.append(bootstrap([one["settled"] for one in seen]).row(f"{what}: … to the run's state", unit="s"))
    named, stepped = (bootstrap([one[name] for one in found["start"]]) for name in ("named", "settled"))
    rows.append(named.row("Start to the stage that bears the new run's name", unit="s"))
    rows.append(stepped.row("Start to its first step on the page (digits)", 3, "s"))
    return Report(rows, {"seconds": found})


def pages(rounds: int, serve: str) -> Report:
    """Switches within one tab, and loads of tabs of their own."""
    switched: dict[str, list[float]] = {name: [] for name in PAGES}
    shifted: dict[str, float] = {}
    with browsing() as browser, folder_of_runs() as runs, serving(runs, serve) as lab:
        shutil.copytree(RECORDED, runs / RECORDED.name)
        page = new_page(browser)
        page.goto(lab)
        page.wait_for_selector(PAGES["Distill"], timeout=PATIENCE)
        for number in range(rounds + 1):
            for name in [*list(PAGES)[1:], "Distill"]:
                seconds = _switch(page, name)
                switched[name] += [seconds] * (number > 0)
        for name, there in PAGES.items():
            tab = new_page(browser)
            tab.add_init_script(SHIFTS)
            tab.goto(lab + ("" if name == "Distill" else name.lower().split()[-1]))
            tab.wait_for_selector(there, timeout=PATIENCE)
            tab.wait_for_timeout(3000)
            shifted[name] = tab.evaluate("window.shifted")
            tab.close()
    typical = {name: bootstrap(seconds) for name, seconds in switched.items()}
    slowest = max(typical, key=lambda name: typical[name].median)
    jumpiest = max(shifted, key=shifted.__getitem__)
    most = shifted[jumpiest]
    rows = [
        typical[slowest].row(f"Page switch, the slowest ({slowest})", 0.7, "s"),
        Row(f"Layout shift on load, the most ({jumpiest})", f"{most:.3f}", "≤ 0.1", most <= 0.1, most),
    ]
    return Report(rows, {"seconds": switched, "layout_shift": shifted})


def _switch(page: Page, name: str) -> float:
    """By the menu, as a visitor who waits for it and then looks around."""
    link = page.locator("[data-testid=stSidebarNav]").get_by_role("link", name=name, exact=True)
    started = time.perf_counter()
    link.click()
    page.wait_for_selector(PAGES[name], timeout=PATIENCE)
    seconds = time.perf_counter() - started
    page.wait_for_timeout(1500)
    say(f"{name}: {seconds:.2f} s")
    return seconds


Part = Literal["first", "buttons", "pages"]


def measure(
    *, parts: tuple[Part, ...] = ("first", "buttons", "pages"), rounds: Rounds = 5, serve: str = SERVE,
    quick: Quick = False,
) -> Iterator[Report]:  # fmt: skip
    measures: dict[Part, Callable[[int, str], Report]] = {"first": first, "buttons": buttons, "pages": pages}
    for name in parts:
        say(f"--- {name}")
        found = measures[name](1 if quick else rounds, serve)
        yield Report(found.rows, found.details, name)


if __name__ == "__main__":
    command(measure)
