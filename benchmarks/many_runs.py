"""How fast many runs are listed: the command `runs`, and in a real browser the page Runs and the board of a study.

One small run is trained; the others are copies of its folder with specifications and results of their own, so that
each is a finished run like any other. ``first`` is without an index, as after its file was deleted; ``again`` is what
everybody meets who lists runs a second time, when every folder is only looked at. The study has 1,000 runs: every
second is one of these, the others are still to come.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from benchmarks.command import Quick, command
from benchmarks.lab import browsing, new_page, serving
from benchmarks.report import ROOT, Report, Row, say
from benchmarks.timing import bootstrap
from dfkd_core.runs.loop import run
from dfkd_core.runs.request import make_spec
from dfkd_core.store import SPECS, RunFolder, runs_in
from dfkd_core.study import Record, find
from dfkd_core.study import file as files

GRID, FIG_1B = find("grid"), files.read(files.find_file("fig-1b").read_bytes(), "fig-1b").given
LIMIT = 1.0  # seconds
SHARED = ("environment.json", "events.jsonl", "owner.json", "lock")  # of an attempt: one file for all copies
PAGES = {  # name in the menu: address, and what is there when it is drawn
    "Runs": ("runs", "[data-testid=stMain] [data-testid=stDataFrame] canvas"),
    "Studies": ("studies", ".dfkd-grid[data-study]"),
}
METHODS = ("ta-dfkd", "dafl", "dfad", "cmi", "pre-dfkd")
SEEDS = 20  # of the study


def trained(runs: Path) -> RunFolder:
    """A small run, finished."""
    knobs = {"epochs": 2, "iterations": 10, "batch_size": 16, "width": 4, "student_steps": 1, "latent": 8}
    spec = make_spec(knobs, method="ta-dfkd", student="lenet5-half-bn", samples_every=10, probes_every=0)
    folder, lease = RunFolder.begin(runs, spec.model_dump())
    run(folder, lease)
    return folder


def copied(folder: RunFolder, count: int) -> None:
    """``count`` runs beside ``folder``, which differ in method, seed, two knobs and their result."""
    draw, status = random.Random(0), folder.status()
    spec: dict[str, Any] = folder.spec()
    for index in range(count):
        day, second = divmod(index, 86_400)
        clock = f"{second // 3600:02}{second // 60 % 60:02}{second % 60:02}"
        copy = RunFolder(folder.path.parent / f"202001{day + 1:02}-{clock}-{index:06x}")
        (copy.path / "attempts" / "1").mkdir(parents=True)
        for name in SHARED:
            os.link(folder.path / "attempts" / "1" / name, copy.path / "attempts" / "1" / name)
        knobs = {**spec["config"], "student_lr": 0.01 * (1 + index % 7), "posterior_cut": 0.1 * (1 + index % 9)}
        for name in SPECS:
            own = {**spec, "seed": index % 5, "method": METHODS[index % len(METHODS)], "config": knobs}
            copy.files.write_json(name, own, durable=False)
        result = {**status.result, "final": draw.random(), "best": draw.random()}
        copy.set_status(replace(status, result=result))


def listed(runs: Path) -> float:
    """Seconds of the command, with the start of its process."""
    began = time.perf_counter()
    words = [sys.executable, "-m", "dfkd_core", "runs", "--runs", str(runs)]
    subprocess.run(words, cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


def studied(runs: Path, seeds: int) -> None:
    """A study of 50 runs a seed, of which every second stands for one that is there."""
    teachers = list(FIG_1B["teachers"])
    vary = {"student_lr": [0.05, 0.1]}
    study = GRID.begin(runs, teachers=teachers, methods=list(METHODS), seeds=range(seeds), vary=vary)
    for cell, folder in zip(study.cells[::2], runs_in(runs), strict=False):
        study.keep(cell, Record(folder.id, dict(folder.status().result)))


def opened(runs: Path, repeats: int) -> dict[str, list[float]]:
    """Seconds from a click in the menu until what a page is about is drawn; the lab is up, and was visited before."""
    seconds: dict[str, list[float]] = {name: [] for name in PAGES}
    with browsing() as browser, serving(runs) as lab:
        page = new_page(browser)
        for address, drawn in PAGES.values():
            page.goto(lab + address)
            page.wait_for_selector(drawn, timeout=300_000)
        for name in [*PAGES] * repeats:
            page.get_by_role("link", name="Glossary").click()
            page.locator(".contents a").first.wait_for()
            page.wait_for_timeout(3000)
            began = page.evaluate("performance.now()")
            page.get_by_role("link", name=name, exact=True).click()
            page.wait_for_selector(PAGES[name][1], timeout=120_000)
            seconds[name].append((page.evaluate("performance.now()") - began) / 1000)
        page.close()
    return seconds


def measure(
    *,
    counts: Annotated[tuple[int, ...], Parameter(help="How many runs.")] = (1000, 10_000),
    repeats: Annotated[int, Parameter(help="Of each listing.")] = 5,
    pages: Annotated[bool, Parameter(help="The pages as well, in a browser.")] = True,
    quick: Quick = False,
) -> Iterator[Report]:
    rows: list[Row] = []
    details: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as place:
        first = trained(Path(place) / "one")
        for count in (100,) if quick else counts:
            runs = Path(place) / str(count)
            shutil.copytree(first.path.parent, runs)
            copied(RunFolder(runs / first.id), count - 1)
            say(f"{count:,} runs are there")
            taken = {"`runs`, first": [listed(runs)], "`runs`, again": [listed(runs) for _ in range(repeats)]}
            if pages:
                studied(runs, 1 if quick else SEEDS)
                taken |= {f"the page {name}": found for name, found in opened(runs, repeats).items()}
            for what, seconds in taken.items():
                details[f"{count} {what}"] = seconds
                limit = None if what.endswith("first") else LIMIT
                rows.append(bootstrap(seconds).row(f"{count:,} runs: {what}", limit, "s"))
            shutil.rmtree(runs)
    yield Report(rows, {"seconds": details})


if __name__ == "__main__":
    command(measure)
