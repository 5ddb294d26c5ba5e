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

import argparse
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.common import Row, bootstrap, options, report, say
from benchmarks.crafted import craft
from benchmarks.page import browser, serving

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


def opened(page: Any, port: int, run: str) -> None:
    """The page of a run, with everything drawn and nothing on its way."""
    page.goto(f"http://127.0.0.1:{port}/inspect?run={run}")
    page.wait_for_function(READY, timeout=120_000)
    page.evaluate(TIMED)
    page.wait_for_timeout(2000)


def measure_moving(page: Any, port: int, runs: Path, repeats: int) -> tuple[list[Row], dict[str, Any]]:
    """Every hand ``repeats`` times, each time another share of the samples."""
    run = craft(runs, steps=(10, 20), count=SAMPLES, probes=0, real=500, features=64)
    opened(page, port, run.id)
    seconds: dict[str, list[float]] = {name: [] for name in HANDS}
    for index in range(repeats):
        share = 0.1 + 0.8 * index / repeats
        for name, act in HANDS.items():
            seconds[name].append(page.evaluate(f"() => timed({act.replace('SHARE', str(share))})"))
    rows = []
    for name, values in seconds.items():
        middle, late = bootstrap(values), max(values)
        measured = f"{1000 * middle.median:.0f} ms, at most {1000 * late:.0f} (n = {len(values)})"
        target = f"≤ {1000 * FAST:.0f} ms, aim {1000 * AIM:.0f}"
        rows.append(Row(f"Inspect, {SAMPLES:,} samples: {name}, all views", measured, target, late <= FAST, late))
    return rows, {"seconds": seconds}


def measure_scrubbing(page: Any, port: int, runs: Path, repeats: int) -> tuple[list[Row], dict[str, Any]]:
    """Arrow key by arrow key, ``repeats`` steps of each kind."""
    run = craft(runs, steps=STEPS, count=128, probes=64, real=500, features=64)
    opened(page, port, run.id)
    page.wait_for_function(QUIET, timeout=60_000)
    seconds: dict[str, list[float]] = {"asked for ahead": [], "asked from Python": []}
    for kind, values in seconds.items():
        for _ in range(repeats):
            page.wait_for_timeout(500)
            if kind == "asked from Python":
                page.evaluate(FORGET)
            values.append(page.evaluate(f"() => until({SCRUB})"))
    rows = []
    for kind, values in seconds.items():
        middle, late = bootstrap(values), max(values)
        measured = f"{1000 * middle.median:.0f} ms, at most {1000 * late:.0f} (n = {len(values)})"
        rows.append(
            Row(f"Inspect, scrubbing one step {kind}", measured, "≤ 300 ms", middle.median <= FAST, middle.median)
        )
    return rows, {"seconds": seconds}


def measure_opening(opener: Any, port: int, runs: Path, repeats: int) -> tuple[list[Row], dict[str, Any]]:
    """A fresh run and a fresh browser context each time."""
    seconds = []
    for _ in range(repeats):
        run = craft(runs, steps=STEPS, count=128, probes=64, real=500, features=64, rows=ROWS)
        context = opener.new_context(viewport={"width": 1280, "height": 800})
        page = context.new_page()
        page.goto(f"http://127.0.0.1:{port}/inspect?run={run.id}", wait_until="commit")
        page.wait_for_function(READY, timeout=120_000)
        seconds.append(page.evaluate("performance.now() / 1000"))
        say(f"opened in {seconds[-1]:.2f} s")
        context.close()
    middle = bootstrap(seconds)
    what = f"Inspect, opening a run of {ROWS:,} rows and {len(STEPS)} recorded steps until all views are drawn"
    return [Row(what, f"{middle} s", "≤ 2 s", middle.median <= 2, middle.median)], {"seconds": seconds}


def main() -> None:
    def add(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--repeats", type=int, default=20, help="of each hand (default 20); opening: a quarter")

    asked = options("microscope", __doc__, add)
    repeats = 3 if asked.quick else asked.repeats
    rows, details = list[Row](), dict[str, Any]()
    with tempfile.TemporaryDirectory() as folder, browser() as opener:
        runs = Path(folder)
        craft(runs)
        with serving(runs) as port:
            page = opener.new_page(viewport={"width": 1280, "height": 800})
            opened(page, port, "recorded-run")  # the server has imported what it needs
            for name, measure in (("moving", measure_moving), ("scrubbing", measure_scrubbing)):
                say(f"--- {name}")
                found, details[name] = measure(page, port, runs, repeats)
                rows += found
            page.close()
            say("--- opening")
            found, details["opening"] = measure_opening(opener, port, runs, max(1, repeats // 4))
            rows += found
    report("microscope", asked.quick, rows, details)


if __name__ == "__main__":
    main()
