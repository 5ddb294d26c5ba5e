"""How fast the page Inspect answers, in a real browser, on runs crafted by the real writer.

* ``moving``: at 5,000 samples, from a hand's event (the cut moved, a selection changed) to the frame after the one in
  which histogram, projection and images are drawn anew. Nothing goes through Python.
* ``scrubbing``: from the arrow key on the scrubber to the frame that shows the next recorded step, images and mixture;
  steps that the browser has asked for ahead, and steps that it has to ask Python for.
* ``opening``: from the navigation to the frame in which all views of a run are drawn; the run has 10,000 rows and 100
  recorded steps, and neither browser nor server has seen it before. The server is up.

Times of this machine, so they are stated beside the load; the page waits for a frame of the screen each time, up to
17 ms.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from playwright.sync_api import Browser, Page

from benchmarks.command import Quick, command
from benchmarks.crafted import craft
from benchmarks.lab import browsing, new_page, serving
from benchmarks.report import Report, Row, at_most, say
from benchmarks.timing import Times, bootstrap
from benchmarks.training import folder_of_runs

SAMPLES = 5000
STEPS = tuple(range(10, 1010, 10))
ROWS = 10_000
FAST, AIM = 0.3, 0.05  # seconds
READY = "() => document.querySelector('.dfkd-microscope')?.dataset.projected === 'true'"
QUIET = "() => { const q = document.querySelector('.dfkd-microscope').microscope.questions; return !q.wanted.size; }"

# ``timed``: seconds from an act until a frame after the one that painted. ``until``: until another step is shown.
TIMED = """() => {
  const scope = () => document.querySelector('.dfkd-microscope').microscope;
  const since = (before) => (performance.now() - before) / 1000;
  window.timed = (act) => new Promise((resolve) => {
    const before = performance.now();
    act(scope());
    requestAnimationFrame(() => requestAnimationFrame(() => resolve(since(before))));
  });
  window.until = (act) => new Promise((resolve) => {
    const was = scope().root.dataset.step, before = performance.now();
    const look = () => (scope().root.dataset.step === was ? requestAnimationFrame(look) : resolve(since(before)));
    act(scope());
    look();
  });
  window.slide = (input, value) => { input.value = value; input.dispatchEvent(new Event('input')); };
  window.lasso = (scatter, share) => {
    const [x, y] = [scatter.over.clientWidth / 2, scatter.over.clientHeight / 2];
    const turn = Array.from({ length: 60 }, (_, i) => (i * Math.PI) / 30);
    const path = turn.map((angle) => [x + x * share * Math.cos(angle), y + y * share * Math.sin(angle)]);
    scatter.choose({ path, how: 'replace', before: [] });
  };
}"""
HANDS = {
    "moving the cut": "() => slide(document.querySelector('.scope-cut input'), SHARE)",
    "dragging over the histogram": "(scope) => scope.selection.take(scope.histogram.members(0, 39 * SHARE))",
    "a lasso in the projection": "(scope) => lasso(scope.projection.scatter, SHARE)",
}
SCRUB = """() => {
  const input = document.querySelector('.dfkd-slide input');
  input.dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowLeft', bubbles: true, cancelable: true }));
}"""
FORGET = """() => {
  const { questions } = document.querySelector('.dfkd-microscope').microscope;
  for (const key of [...questions.items.keys()]) if (key.startsWith('frame')) questions.items.delete(key);
}"""


def opened(page: Page, lab: str, run: str) -> None:
    """The page of a run, with everything drawn and nothing on its way."""
    page.goto(f"{lab}inspect?run={run}")
    page.wait_for_function(READY, timeout=120_000)
    page.evaluate(TIMED)
    page.wait_for_timeout(2000)


def milliseconds(values: list[float]) -> str:
    return f"{1000 * bootstrap(values).median:.0f} ms, at most {1000 * max(values):.0f} (n = {len(values)})"


def moving(page: Page, lab: str, runs: Path, repeats: int) -> tuple[list[Row], Times]:
    """Every hand ``repeats`` times, each time another share of the samples."""
    opened(page, lab, craft(runs, steps=(10, 20), count=SAMPLES, probes=0, real=500, features=64).id)
    seconds: Times = {name: [] for name in HANDS}
    for index in range(repeats):
        share = 0.1 + 0.8 * index / repeats
        for name, act in HANDS.items():
            seconds[name].append(page.evaluate(f"() => timed({act.replace('SHARE', str(share))})"))
    target = f"≤ {1000 * FAST:.0f} ms, aim {1000 * AIM:.0f}"
    rows = [
        at_most(FAST, f"Inspect, {SAMPLES:,} samples: {name}, all views", milliseconds(values), max(values), target)
        for name, values in seconds.items()
    ]
    return rows, seconds


def scrubbing(page: Page, lab: str, runs: Path, repeats: int) -> tuple[list[Row], Times]:
    """Arrow key by arrow key, ``repeats`` steps of each kind."""
    opened(page, lab, craft(runs, steps=STEPS, count=128, probes=64, real=500, features=64).id)
    page.wait_for_function(QUIET, timeout=60_000)
    seconds: Times = {"asked for ahead": [], "asked from Python": []}
    for kind, values in seconds.items():
        for _ in range(repeats):
            page.wait_for_timeout(500)
            if kind == "asked from Python":
                page.evaluate(FORGET)
            values.append(page.evaluate(f"() => until({SCRUB})"))
    rows = [
        at_most(FAST, f"Inspect, scrubbing one step {kind}", milliseconds(values), bootstrap(values).median, "≤ 300 ms")
        for kind, values in seconds.items()
    ]
    return rows, seconds


def opening(browser: Browser, lab: str, runs: Path, repeats: int) -> tuple[list[Row], list[float]]:
    """A fresh run and a fresh browser context each time."""
    seconds = []
    for _ in range(repeats):
        run = craft(runs, steps=STEPS, count=128, probes=64, real=500, features=64, rows=ROWS)
        page = new_page(browser)
        page.goto(f"{lab}inspect?run={run.id}", wait_until="commit")
        page.wait_for_function(READY, timeout=120_000)
        seconds.append(page.evaluate("performance.now() / 1000"))
        say(f"opened in {seconds[-1]:.2f} s")
        page.close()
    what = f"Inspect, opening a run of {ROWS:,} rows and {len(STEPS)} recorded steps until all views are drawn"
    return [bootstrap(seconds).row(what, 2, "s")], seconds


def measure(
    *,
    repeats: Annotated[int, Parameter(help="Of each hand; of opening a quarter.")] = 20,
    quick: Quick = False,
) -> Iterator[Report]:
    repeats = 3 if quick else repeats
    with folder_of_runs() as runs, browsing() as browser, serving(runs) as lab:
        page = new_page(browser)
        opened(page, lab, "ta-dfkd")  # the server has imported what it needs
        moved, moving_seconds = moving(page, lab, runs, repeats)
        scrubbed, scrubbing_seconds = scrubbing(page, lab, runs, repeats)
        page.close()
        opened_rows, opening_seconds = opening(browser, lab, runs, max(1, repeats // 4))
    details = {"moving": moving_seconds, "scrubbing": scrubbing_seconds, "opening": opening_seconds}
    yield Report([*moved, *scrubbed, *opened_rows], {"seconds": details})


if __name__ == "__main__":
    command(measure)
