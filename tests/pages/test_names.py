"""Names that somebody else gave are text on every page: no field of a run, a study or a teacher's card makes the
browser ask anybody but the lab, runs a script, or turns the order of what is written around."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, get_args

import pytest
from browser import PATIENCE, ROOT, Lab
from playwright.sync_api import ConsoleMessage, Dialog, Page, Request
from recording import Recording
from studying import tiny_study

from dfkd_core.events import Applied, Evaluated, StageEntered, Step
from dfkd_core.store import SPECS, RunFolder, RunStatus
from dfkd_core.store.sealed import unsealed
from dfkd_core.study import Record, Study, studies_in
from pages.ui import recordings
from pages.ui.present import script

PAGES = ("", *(name for name in get_args(script.PAGES) if name != "distill"))
KEPT = {"state", "task", "device", "precision", "student", "collecting", "knob", "of", "measure", "compile"}
SHOWN = {"about", "classes", "link", "message", "method", "problem"}
SHOWN |= {"stage", "study", "tag", "teacher", "title"}
TABS = 5  # at a time
LABELS = (
    "() => [...document.querySelectorAll('[title],[aria-label]')].map((one) => one.title + one.ariaLabel).join(' ')"
)
DIRECTIONS = r"""() => {
  const texts = [...document.querySelectorAll("*")].flatMap((node) =>
    [node.title, node.ariaLabel, ...[...node.childNodes].filter((one) => one.nodeType === 3).map((one) => one.data)]);
  return texts.filter((text) => /[\u202a-\u202e\u2066-\u2069\u200e\u200f\u061c]/.test(text));
}"""


@pytest.fixture
def elsewhere() -> Iterator[tuple[str, list[str]]]:
    """A server that is not the lab, and what it was asked for."""
    asked: list[str] = []

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()


def evil(address: str, field: str) -> str:
    """A name that asks for ``address``/``field`` wherever it is taken for Markdown or HTML."""
    address = f"{address}/{field}"
    return f"![x]({address}) <img src={address} onerror=alert(1)> <a href={address}>x</a> \u202egnp.x\u2066 {field}"


def poisoned(value: Any, address: str, field: str = "") -> Any:
    """Every text in it, but those that have to be what they are, followed by an ``evil`` one."""
    if isinstance(value, dict):
        return {key: one if key in KEPT else poisoned(one, address, key) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [poisoned(one, address, field) for one in value]
    return f"{value} {evil(address, field)}" if isinstance(value, str) else value


def hostile_run(runs: Path, address: str, **kept: Any) -> RunFolder:
    """A run whose every text is hostile, but ``kept`` fields of its specification."""
    recorded = RunFolder(recordings.FOLDER / recordings.DISTILL)
    recording = Recording(runs)
    folder = recording.folder
    spec = json.loads(unsealed(recorded.files.read("spec.json")))
    for name in SPECS:
        folder.files.write_json(name, {**poisoned(spec, address), **kept, "config": spec["config"]})
    facts = poisoned(recorded.environment(), address)
    facts["terms"] = [{**term, "name": f"term{index}"} for index, term in enumerate(facts["terms"])]
    folder.write_environment(1, facts)
    for step in (1, 2, 3):
        recording.writer.add(
            Step(step, {evil(address, "metric"): 1.0, "accuracy": 0.5, "term0": 0.1, "loss": 1.0}), 0.0
        )
        recording.writer.add(Evaluated(step, 0.5, 0.5, 0.9), 0.0)
        if kept.get("task") != "generative":
            recording.add("samples", step, classes=10)
    recording.writer.add(StageEntered(2, evil(address, "stage"), evil(address, "stagetitle")), 0.0)
    recording.writer.add(Applied(3, evil(address, "command"), evil(address, "detail"), {evil(address, "knob"): 1}), 0.0)
    recording.writer.flush()
    recording.add_real([[0.0] * 4] * 4, [0] * 4)
    tag = {"add": True, "kind": "samples", "step": 3, "indices": [0, 1], "tag": evil(address, "tag")}
    folder.files.write_json("analysis/tags.json", {"changes": [tag]})
    short = f"![x]({address}/about)"
    folder.files.write_json(
        "analysis/about.json", {"name": short, "group": short, "tags": [short], "note": evil(address, "note")}
    )
    state = "failed" if kept else "done"
    message, result = evil(address, "message"), {"measure": evil(address, "measure"), "final": 0.5, "best": 0.5}
    folder.set_status(RunStatus(state, message, 3, 3, 1, result))
    return folder


def hostile_grid(runs: Path, address: str) -> Study:
    """With every text hostile that a map, its tables and its report show."""
    recorded = studies_in(recordings.FOLDER, "grid")[0]
    stored = json.loads(unsealed(recorded.files.read("study.json")))
    settings = poisoned(stored["settings"], address)
    settings["titles"] = {name: evil(address, "series") for name in stored["settings"]["titles"]}
    settings["refused"] = [{"labels": {**stored["cells"][0]["labels"], "method": "x"}, "why": evil(address, "why")}]
    cells = [{**cell, "labels": {**cell["labels"], "teacher": evil(address, "grid")}} for cell in stored["cells"][:6]]
    study = Study(runs / "studies" / "20260101-000000-abcdef")
    title = evil(address, "map")
    study.files.path.mkdir(parents=True)
    study.files.write_json("study.json", {**stored, "settings": settings, "cells": cells, "title": title})
    for number, cell in enumerate(study.cells):
        figures = {"measure": evil(address, "measured"), "final": 0.5, "best": 0.6, "teacher": 0.9, "seconds": 1.0}
        problem = evil(address, "ended") if number == 0 else ""
        study.keep(cell, Record("" if problem else cell.key, {} if problem else figures, problem))
    return study


def hostile_study(runs: Path, address: str) -> Study:
    study = tiny_study(runs)
    stored = json.loads(unsealed(study.files.read("study.json")))
    study.files.write_json("study.json", {**stored, "title": evil(address, "study")})
    for cell in study.cells:
        study.keep(cell, Record(problem=evil(address, "problem")))
    return study


def hostile_teacher(teachers: Path, address: str) -> str:
    card = json.loads((ROOT / "assets" / "teachers" / "digits-lenet5-bn-mixup.json").read_text())
    card |= {"name": "hostile", "title": evil(address, "t")[:80], "network": f"<img src={address}/network>"}
    card["image"]["classes"] = [evil(address, f"class{index}") for index in range(10)]
    card["recipe"]["kind"] = f"![x]({address}/recipe)"
    card |= {"sha256": "", "torch": f"![x]({address}/torch)"}
    (teachers / "hostile.json").write_text(json.dumps(card))
    weights = ROOT / "assets" / "teachers" / "digits-lenet5-bn-mixup.safetensors"
    (teachers / "hostile.safetensors").write_bytes(weights.read_bytes())
    return "hostile"


def visited(runs: Path, teachers: Path, address: str, every: bool) -> list[str]:
    """Addresses of every page with something hostile that it can show; or with ``every`` such thing."""
    folders = [
        hostile_run(runs, address),
        hostile_run(runs, address, benchmark="digits", method="ta-dfkd", teacher="digits-resnet20-plain"),
        hostile_run(runs, address, method="hidfd", benchmark="digits"),
        hostile_run(runs, address, method="ukd", task="generative", benchmark="digits"),
    ]
    ids, grid, study, teacher = (
        [folder.id for folder in folders],
        hostile_grid(runs, address).id,
        hostile_study(runs, address).id,
        hostile_teacher(teachers, address),
    )
    said = evil(address, "link").replace(" ", "%20").replace("#", "%23")
    places = ("", "inspect", "hybrid", "generative")
    one_each = [
        *(f"{page}?run={one}" for page, one in zip(places, ids, strict=True)),
        *(f"{page}?study={study}" for page in ("studies", "prior", "lessons")),
        f"studies?study={grid}",
        f"?teacher={teacher}&run={said}", f"glossary?term={said}", f"runs?chosen={','.join(ids)}",
        "teachers", "methods",
    ]  # fmt: skip
    if not every:
        return one_each
    return [
        *one_each,
        *PAGES,
        *(f"{page}?run={one}" for page in places for one in ids),
        *(f"{page}?run={said}&study={said}&term={said}" for page in PAGES),
        f"?benchmark=folder:{said}", f"?method=hidfd&collected=folder:{said}",
    ]  # fmt: skip


@pytest.mark.browser
@pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_no_name_makes_the_browser_ask_anybody_but_the_lab(
    page: Page, lab: Lab, elsewhere: tuple[str, list[str]], every: bool
) -> None:
    address, asked = elsewhere
    window, own = page.context, (lab.url, "data:", "blob:")
    wrong: list[str] = []
    shown: set[str] = set()

    def note_request(sent: Request) -> None:
        if not sent.url.startswith(own):
            wrong.append(f"{sent.frame.page.url[:300]}: {sent.url}")

    def note_dialog(dialog: Dialog) -> None:
        wrong.append(f"dialog {dialog.message}")
        dialog.dismiss()

    def note_error(said: ConsoleMessage) -> None:
        if _is_wrong(said.type, said.text):
            wrong.append(f"{said.location}: {said.text}")

    window.on("request", note_request)
    window.on("dialog", note_dialog)
    window.on("console", note_error)
    paths = visited(lab.runs, lab.root / "teachers", address, every)
    for first in range(0, len(paths), TABS):
        tabs = [window.new_page() for _ in paths[first : first + TABS]]
        for path, tab in zip(paths[first:], tabs, strict=False):
            tab.goto(lab.url + path)
        for tab in tabs:
            tab.wait_for_selector("[data-test-script-state=notRunning]", timeout=PATIENCE)
        page.wait_for_timeout(1500)  # what is drawn in the browser, and what that asks for
        for tab in tabs:
            shown |= set(re.findall(rf"{address}/(\w+)", tab.locator("body").inner_text() + tab.evaluate(LABELS)))
            outside = f"img[src^='http'], [onerror], a[href^='{address}']"
            found = tab.locator(outside).evaluate_all("all => all.map((one) => one.outerHTML)")
            wrong += [f"{tab.url[:300]}: {one[:300]}" for one in [*found, *tab.evaluate(DIRECTIONS)]]
            tab.close()
    window.remove_listener("request", note_request)
    window.remove_listener("dialog", note_dialog)
    window.remove_listener("console", note_error)
    assert not wrong and not asked
    assert shown >= SHOWN, SHOWN - shown


def _is_wrong(kind: str, text: str) -> bool:
    """Streamlit looks for its server below each page's own path first, and is told that nothing is there."""
    return kind == "error" and "404 (Not Found)" not in text
