"""What watching costs the training, what training costs the page, and how soon the page shows things.

* ``watchers``: a run trains in a worker; blocks with three light websocket clients on its page alternate with blocks
  without. CPU time and wall time of the worker per step. A client asks for what an open page asks for, on the
  page's own timers, and draws nothing.
* ``reruns``: seconds from asking for a rerun of the page to its end, as a light client sees it: while a run trains,
  with the same run paused, and on a second lab that has no run at all (the training paused meanwhile).
* ``paint``: ``make app`` (installed) in a headless browser: the first contentful paint, the first content of the
  page itself, and Start usable. Machine time, so it is stated beside the load.
* ``latency``: from a step's row in the log (read every 5 ms) to the frame in which the page has drawn it or a later
  one. Rows carry seconds of training; ``data-elapsed`` of ``.dfkd-stage``, looked at every frame, says up to which
  one is drawn (rounded to 0.1 s, so a row can be taken for drawn half of that early).

Each part keeps its own file, results/watchers-PART.json.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import Row, bootstrap, interleave, options, ratios, report, say
from benchmarks.page import Client, Training, browser, serving, watching
from dfkd_core.store import EventReader, RunFolder

PARTS = ("watchers", "reruns", "paint", "latency")
CLIENTS = 3
FIND_STAGE = """
window.findDeep = (root, selector) => {  // components may live in shadow roots
  const direct = root.querySelector(selector);
  if (direct) return direct;
  for (const element of root.querySelectorAll('*')) {
    const inside = element.shadowRoot && window.findDeep(element.shadowRoot, selector);
    if (inside) return inside;
  }
  return null;
};
"""
WATCH_STAGE = """
window.shown = [];
let stage = null, last = null;
const look = () => {
  if (!stage || !stage.isConnected) stage = window.findDeep(document, '.dfkd-stage');
  const elapsed = stage ? stage.getAttribute('data-elapsed') : null;
  if (elapsed !== null && elapsed !== last) {
    last = elapsed;
    window.shown.push([Number(elapsed), Date.now() / 1000]);
  }
  requestAnimationFrame(look);
};
look();
"""
MILESTONES = """
window.milestones = {};
const look = () => {
  const seen = window.milestones, now = () => Date.now() / 1000;
  const paint = performance.getEntriesByName('first-contentful-paint')[0];
  if (paint && !seen.paint) seen.paint = (performance.timeOrigin + paint.startTime) / 1000;
  const content = document.querySelector('[data-testid="stMain"] [data-testid="stElementContainer"]');
  if (content && !seen.content) seen.content = now();
  const start = [...document.querySelectorAll('button')].find(b => b.innerText.trim().endsWith('Start'));
  if (start && !start.disabled && !seen.start) seen.start = now();
  if (!seen.start || !seen.paint) requestAnimationFrame(look);
};
look();
"""

# --- training while others watch -------------------------------------------------------------------------------


def measure_watchers(quick: bool, rounds: int, seconds: float) -> tuple[list[Row], dict[str, Any]]:
    """CPU and wall time of a step with three clients against none, block by block in one run."""
    rounds, seconds = (2, 4.0) if quick else (rounds, seconds)
    wall: dict[str, list[float]] = {"no client": [], "clients": []}
    with lab() as (port, training):
        query = f"run={training.folder.id}"

        def block(name: str, clients: int) -> Callable[[int], float]:
            def measure(_: int) -> float:
                with watching(port, clients, query):
                    time.sleep(1.0)  # the first drawing of the page is not watching
                    cpu, each = _per_step(training, seconds)
                wall[name].append(each)
                return cpu

            return measure

        cpu = interleave({"no client": block("no client", 0), "clients": block("clients", CLIENTS)}, rounds)
    by_cpu, by_wall = (ratios(kind["clients"], kind["no client"]) for kind in (cpu, wall))
    what = f"a training step while {CLIENTS} light clients watch, against none"
    rows = [
        Row(f"CPU time of {what}", str(by_cpu), "≤ 1.10", by_cpu.median <= 1.10, by_cpu.median),
        Row(f"Wall time of {what}", str(by_wall), value=by_wall.median),
    ]
    return rows, {"cpu_seconds_per_step": cpu, "wall_seconds_per_step": wall}


def _per_step(training: Training, seconds: float) -> tuple[float, float]:
    """CPU and wall seconds per step of the worker over about ``seconds``, from the end of a step to that of one."""

    def next_step() -> tuple[int, float, float]:
        before = training.steps()
        while training.steps() == before:
            time.sleep(0.002)
        return training.step, training.cpu_seconds(), time.perf_counter()

    step, cpu, wall = next_step()
    time.sleep(seconds)
    last, cpu_then, wall_then = next_step()
    return (cpu_then - cpu) / (last - step), (wall_then - wall) / (last - step)


# --- the page while a run trains -------------------------------------------------------------------------------


def measure_reruns(quick: bool, rounds: int) -> tuple[list[Row], dict[str, Any]]:
    """Median seconds of a rerun in blocks: training, paused, no run at all."""
    rounds, count = (2, 3) if quick else (rounds, 15)
    with lab() as (port, training), tempfile.TemporaryDirectory() as empty, serving(Path(empty)) as other_port:
        busy, idle = Client(port, f"run={training.folder.id}"), Client(other_port)

        def block(client: Client, prepare: Callable[[], None]) -> Callable[[int], float]:
            def measure(_: int) -> float:
                prepare()
                client.rerun()
                times = []
                for _ in range(count):
                    times.append(client.rerun())
                    time.sleep(0.1)
                return float(np.median(times))

            return measure

        try:
            arms = {
                "no run": block(idle, training.pause),
                "run paused": block(busy, training.pause),
                "run trains": block(busy, training.go_on),
            }
            measured = interleave(arms, rounds)
        finally:
            busy.close()
            idle.close()
    against_none, against_paused = (ratios(measured["run trains"], measured[name]) for name in ("no run", "run paused"))
    base = bootstrap(measured["no run"]).median * 1000
    rows = [
        Row(
            "A page rerun while a run trains, against no run",
            f"{against_none} × {base:.0f} ms",
            "≤ 1.2",
            against_none.median <= 1.2,
            against_none.median,
        ),
        Row("… against the same run paused", str(against_paused), value=against_paused.median),
    ]
    return rows, {"seconds_per_rerun": measured}


# --- first paint and Start -------------------------------------------------------------------------------------


def measure_paint(quick: bool, rounds: int, command: str) -> tuple[list[Row], dict[str, Any]]:
    """Seconds to the first paint and from there to Start, in a fresh server and a fresh browser context each time."""
    found: list[dict[str, float]] = []
    with browser() as opened:
        for _ in range(1 if quick else rounds):
            found.append(_start_once(opened, command))
            say(", ".join(f"{name} {value:.2f} s" for name, value in found[-1].items()))
    paint = bootstrap([one["paint"] for one in found])
    content = bootstrap([one["content"] for one in found])
    usable = bootstrap([one["start"] - one["paint"] for one in found])
    rows = [
        Row("make app to first paint", f"{paint} s", "≤ 5 s", paint.median <= 5, paint.median),
        Row("… to the page's first content", f"{content} s", value=content.median),
        Row("First paint to Start usable", f"{usable} s", "≤ 5 s", usable.median <= 5, usable.median),
    ]
    return rows, {"seconds": found}


def _start_once(opened: Any, command: str) -> dict[str, float]:
    from playwright.sync_api import Error

    with tempfile.TemporaryDirectory() as runs:
        context = opened.new_context(viewport={"width": 1280, "height": 800})
        page = context.new_page()
        page.add_init_script(MILESTONES)
        started = time.time()
        with serving(Path(runs), command, wait=False) as port:
            while True:
                with contextlib.suppress(Error):  # refused until the server listens
                    page.goto(f"http://127.0.0.1:{port}/", wait_until="commit")
                    break
                if time.time() - started > 120:
                    raise SystemExit("the lab did not start")
                time.sleep(0.02)
            page.wait_for_function("window.milestones.start && window.milestones.paint", timeout=120_000)
            seen = page.evaluate("window.milestones")
        context.close()
    return {name: moment - started for name, moment in seen.items()}


# --- from the event to the page --------------------------------------------------------------------------------


def measure_latency(quick: bool, seconds: float) -> tuple[list[Row], dict[str, Any]]:
    """Seconds from a step's row to the page that shows it, for every step while the page is watched."""
    seconds = 5.0 if quick else seconds
    with lab() as (port, training), browser() as opened:
        page = opened.new_context(viewport={"width": 1280, "height": 800}).new_page()
        page.add_init_script(FIND_STAGE)
        page.goto(f"http://127.0.0.1:{port}/?run={training.folder.id}")
        page.wait_for_function("window.findDeep(document, '.dfkd-stage[data-elapsed]')", timeout=60_000)
        page.evaluate(WATCH_STAGE)
        with RowClock(training.folder) as clock:
            page.wait_for_timeout(seconds * 1000 + 3000)
        shown = page.evaluate("window.shown")
    waited = latencies(clock.rows, shown, seconds)
    middle, late = bootstrap(waited), float(np.quantile(waited, 0.95))
    rows = [
        Row(
            "From a step's row to the page that shows it",
            f"{middle} s, 95 % within {late:.2f} s",
            "≤ 1.5 s",
            late <= 1.5,
            late,
        )
    ]
    return rows, {"seconds": waited}


def latencies(rows: list[tuple[float, float]], shown: list[tuple[float, float]], seconds: float) -> list[float]:
    """Per row of the first ``seconds``: until it, or a later one, is drawn. Both lists: (elapsed, moment)."""
    start, waited = rows[0][1], []
    for elapsed, written in rows:
        after = [moment for drawn, moment in shown if drawn >= elapsed]
        if written - start <= seconds:
            waited.append((min(after) if after else float("inf")) - written)
    if not np.isfinite(waited).all():
        raise SystemExit("the page did not show all rows")
    return waited


class RowClock:
    """Notes when each step's row comes into the log, on a thread of its own."""

    def __init__(self, folder: RunFolder) -> None:
        self.reader, self.rows = EventReader(folder), list[tuple[float, float]]()
        self.leave, self.thread = threading.Event(), threading.Thread(target=self._follow)

    def __enter__(self) -> RowClock:
        self.reader.read()
        self.thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.leave.set()
        self.thread.join()

    def _follow(self) -> None:
        while not self.leave.wait(0.005):
            fresh, now = self.reader.read(), time.time()
            self.rows += [(round(row["elapsed"], 1), now) for row in fresh if row["type"] == "step"]


# --- together --------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def lab() -> Any:
    """A lab, its port, and a training that goes on in it."""
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as port:
        training = Training(Path(folder))
        try:
            yield port, training
        finally:
            training.close()


def main() -> None:
    def add(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="default: all")
        parser.add_argument("--rounds", type=int, default=8, help="blocks of each kind, starts of the lab (default 8)")
        parser.add_argument("--seconds", type=float, default=20.0, help="length of a block (default 20)")
        parser.add_argument("--serve", default="make --silent app PORT={port}", help="the command that paint starts")

    asked = options("watchers", __doc__, add)
    parts: dict[str, Callable[[], tuple[list[Row], dict[str, Any]]]] = {
        "watchers": lambda: measure_watchers(asked.quick, asked.rounds, asked.seconds),
        "reruns": lambda: measure_reruns(asked.quick, asked.rounds),
        "paint": lambda: measure_paint(asked.quick, asked.rounds, asked.serve),
        "latency": lambda: measure_latency(asked.quick, asked.seconds * 2),
    }
    for name in asked.parts:
        say(f"--- {name}")
        rows, details = parts[name]()
        report("watchers", asked.quick, rows, details, part=name)


if __name__ == "__main__":
    main()
