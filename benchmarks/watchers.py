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

* ``class``: fifty light clients of one running run, each fetching what a page's script fetches: from a step's row to
  all of them, kB a client and second, and steps a second against none.

Each part keeps its own file, results/watchers-PART.json.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Annotated, Literal

import numpy as np
import psutil
from cyclopts import Parameter

from benchmarks.clients import Client, watching
from benchmarks.command import Quick, Rounds, command
from benchmarks.lab import browsing, new_page, serving
from benchmarks.report import Report, Row, at_most, say
from benchmarks.timing import Times, bootstrap, interleave, ratios
from benchmarks.training import folder_of_runs, local_engine
from dfkd_core.runs.request import make_spec
from dfkd_core.store import EventReader, RunFolder

CLIENTS = 3
WATCH_STAGE = """
window.shown = [];
const look = () => {
  const elapsed = Number(document.querySelector('.dfkd-stage')?.dataset.elapsed ?? NaN);
  if (elapsed >= 0 && elapsed !== window.shown.at(-1)?.[0]) window.shown.push([elapsed, Date.now() / 1000]);
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

# --- a training to watch ---------------------------------------------------------------------------------------


class Training:
    """A run that goes on, in a worker of its own; the lab on the same folder shows it at ``address``."""

    def __init__(self, folder: RunFolder, lab: str) -> None:
        self.folder, self.address = folder, f"{lab}?run={folder.id}"
        self.reader, self.step = EventReader(folder), 0
        while self.next_step()[0] < 3:
            pass

    def next_step(self) -> tuple[int, float, float]:
        """Wait for the log to have another step; its number, and CPU and wall seconds of the worker so far."""
        before, deadline = self.step, time.monotonic() + 120
        while self.step == before:
            if time.monotonic() > deadline:
                raise SystemExit(f"the run stands still. {self.folder.status().message}")
            time.sleep(0.002)
            self.step = max([before, *(row["step"] for row in self.reader.read() if row["type"] == "step")])
        owner = self.folder.status().owner
        assert owner is not None
        times = psutil.Process(owner.pid).cpu_times()
        return self.step, times.user + times.system, time.perf_counter()

    def seconds_of_a_step(self, seconds: float) -> tuple[float, float]:
        """CPU and wall time over about ``seconds``, from the end of a step to that of one."""
        step, cpu, wall = self.next_step()
        time.sleep(seconds)
        last, cpu_then, wall_then = self.next_step()
        return (cpu_then - cpu) / (last - step), (wall_then - wall) / (last - step)

    def bring(self, by: str, state: str) -> None:
        """Into ``state``, by the command ``by``."""
        if self.folder.status().state != state:
            self.folder.command(by)
        while self.folder.status().state != state:
            time.sleep(0.05)


@contextmanager
def training() -> Iterator[Training]:
    """The default preset, long enough, in a lab that serves it."""
    with local_engine(keep_warm=False) as engine, serving(engine.runs) as lab:
        folder = RunFolder(engine.runs / engine.submit(make_spec({"epochs": 2000})))
        try:
            yield Training(folder, lab)
        finally:
            folder.command("stop")
            while folder.status().is_live:
                time.sleep(0.1)


# --- the parts -------------------------------------------------------------------------------------------------


def watchers(rounds: int, seconds: float) -> Report:
    """CPU and wall time of a step with three clients against none, block by block in one run."""
    wall: Times = {"no client": [], "clients": []}
    with training() as run:

        def block(name: str, clients: int) -> float:
            with watching(run.address, clients):
                time.sleep(1.0)  # the first drawing of the page is not watching
                cpu, each = run.seconds_of_a_step(seconds)
            wall[name].append(each)
            return cpu

        arms = {"no client": lambda _: block("no client", 0), "clients": lambda _: block("clients", CLIENTS)}
        cpu = interleave(arms, rounds)
    by_cpu, by_wall = (ratios(kind["clients"], kind["no client"]) for kind in (cpu, wall))
    what = f"a training step while {CLIENTS} light clients watch, against none"
    rows = [
        at_most(1.1, f"CPU time of {what}", str(by_cpu), by_cpu.median, "≤ 1.10"),
        by_wall.row(f"Wall time of {what}"),
    ]
    return Report(rows, {"cpu_seconds_per_step": cpu, "wall_seconds_per_step": wall})


def reruns(rounds: int, count: int) -> Report:
    """Median seconds of ``count`` reruns in blocks: training, paused, no run at all."""

    def block(client: Client, *bring: str) -> float:
        run.bring(*bring)
        client.rerun()
        times = []
        for _ in range(count):
            times.append(client.rerun())
            time.sleep(0.1)
        return float(np.median(times))

    with (
        training() as run, folder_of_runs() as empty, serving(empty) as lab,
        closing(Client(run.address)) as busy, closing(Client(lab)) as idle,
    ):  # fmt: skip
        arms: dict[str, Callable[[int], float]] = {
            "no run": lambda _: block(idle, "pause", "paused"),
            "run paused": lambda _: block(busy, "pause", "paused"),
            "run trains": lambda _: block(busy, "resume", "running"),
        }
        measured = interleave(arms, rounds)
    against_none, against_paused = (ratios(measured["run trains"], measured[name]) for name in ("no run", "run paused"))
    text = f"{against_none} × {bootstrap(measured['no run']).median * 1000:.0f} ms"
    rows = [
        at_most(1.2, "A page rerun while a run trains, against no run", text, against_none.median),
        against_paused.row("… against the same run paused"),
    ]
    return Report(rows, {"seconds_per_rerun": measured})


def paint(rounds: int, serve: str) -> Report:
    """Seconds to the first paint and from there to Start, in a fresh server and a fresh browser context each time."""
    found = []
    with browsing() as browser:
        for _ in range(rounds):
            page, started = new_page(browser), time.time()
            page.add_init_script(MILESTONES)
            with folder_of_runs() as runs, serving(runs, serve) as lab:
                page.goto(lab, wait_until="commit")
                page.wait_for_function("() => window.milestones.start && window.milestones.paint", timeout=120_000)
                seen = page.evaluate("window.milestones")
            page.close()
            found.append({name: moment - started for name, moment in seen.items()})
            say(", ".join(f"{name} {value:.2f} s" for name, value in found[-1].items()))
    first, content = (bootstrap([one[name] for one in found]) for name in ("paint", "content"))
    usable = bootstrap([one["start"] - one["paint"] for one in found])
    rows = [
        first.row("make app to first paint", 5, "s"),
        content.row("… to the page's first content", unit="s"),
        usable.row("First paint to Start usable", 5, "s"),
    ]
    return Report(rows, {"seconds": found})


def latency(seconds: float) -> Report:
    """Seconds from a step's row to the page that shows it, for every step while the page is watched."""
    with training() as run, browsing() as browser:
        page = new_page(browser)
        page.goto(run.address)
        page.wait_for_selector(".dfkd-stage[data-elapsed]", state="attached", timeout=60_000)
        page.evaluate(WATCH_STAGE)
        with clocked(run.folder) as rows:
            page.wait_for_timeout(seconds * 1000 + 3000)
        shown = page.evaluate("window.shown")
    waited = [
        min((moment for drawn, moment in shown if drawn >= elapsed), default=float("inf")) - written
        for elapsed, written in rows
        if written - rows[0][1] <= seconds
    ]
    if not np.isfinite(waited).all():
        raise SystemExit("the page did not show all rows")
    late = float(np.quantile(waited, 0.95))
    text = f"{bootstrap(waited)} s, 95 % within {late:.2f} s"
    what = "From a step's row to the page that shows it"
    return Report([at_most(1.5, what, text, late, "≤ 1.5 s")], {"seconds": waited})


@contextmanager
def clocked(folder: RunFolder) -> Iterator[list[tuple[float, float]]]:
    """Seconds of training and moment of each step's row, as it comes into the log while the block lasts."""
    reader, rows, leave = EventReader(folder), list[tuple[float, float]](), threading.Event()

    def follow() -> None:
        while not leave.wait(0.005):
            fresh, now = reader.read(), time.time()
            rows.extend((round(row["elapsed"], 1), now) for row in fresh if row["type"] == "step")

    reader.read()
    thread = threading.Thread(target=follow)
    thread.start()
    try:
        yield rows
    finally:
        leave.set()
        thread.join()


def class_of(count: int, seconds: float) -> Report:
    """``count`` light clients of one running run: how soon all have a step's row, what each is sent, and steps a second
    with them and without."""
    with training() as run:
        _, alone = run.seconds_of_a_step(seconds / 2)
        with watching(run.address, count) as clients:
            time.sleep(5.0)  # all have drawn the page
            before, started = sum(client.received for client in clients), time.monotonic()
            with clocked(run.folder) as rows:
                _, watched = run.seconds_of_a_step(seconds)
            took = time.monotonic() - started
            sent = (sum(client.received for client in clients) - before) / count / took / 1000
            written = [row for row in rows if row[1] - rows[0][1] <= seconds - 8]
            time.sleep(4.0)
        _, after = run.seconds_of_a_step(seconds / 2)
    waited = [
        max(min((moment for drawn, moment in client.seen if drawn >= elapsed), default=np.inf) for client in clients)
        - moment_written
        for elapsed, moment_written in written
    ]
    late = float(np.quantile(waited, 0.95))
    speed = (alone + after) / 2 / watched
    rows_ = [
        at_most(2.0, f"{count} viewers: a step's row is with all of them, 95 %", f"{late:.2f} s", late, "≤ 2 s"),
        at_most(10.0, f"{count} viewers: kB sent to each in a second", f"{sent:.1f}", sent, "≤ 10"),
        Row(f"{count} viewers: steps a second against none", f"{speed:.2f}", "≥ 0.85", speed >= 0.85, speed),
    ]
    return Report(rows_, {"seconds": waited, "seconds_per_step": {"alone": [alone, after], "watched": watched}})


Part = Literal["watchers", "reruns", "paint", "latency", "class"]


def measure(
    *,
    parts: tuple[Part, ...] = ("watchers", "reruns", "paint", "latency", "class"),
    viewers: Annotated[int, Parameter(help="Of the part class.")] = 50,
    rounds: Rounds = 8,
    seconds: Annotated[float, Parameter(help="Length of a block.")] = 20.0,
    serve: Annotated[str, Parameter(help="The command that paint starts.")] = "make --silent app PORT={port}",
    quick: Quick = False,
) -> Iterator[Report]:
    measures: dict[Part, Callable[[], Report]] = {
        "watchers": lambda: watchers(2 if quick else rounds, 4.0 if quick else seconds),
        "reruns": lambda: reruns(2, 3) if quick else reruns(rounds, 15),
        "paint": lambda: paint(1 if quick else rounds, serve),
        "latency": lambda: latency(5.0 if quick else 2 * seconds),
        "class": lambda: class_of(3 if quick else viewers, 12.0 if quick else 2 * seconds),
    }
    for name in parts:
        say(f"--- {name}")
        found = measures[name]()
        yield Report(found.rows, found.details, name)


if __name__ == "__main__":
    command(measure)
