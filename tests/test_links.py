"""A run's folder from a stranger: whatever in it is a link, nothing outside is touched, and each command and page goes
on or says one sentence."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from command import call
from conftest import ROOT, rows
from streamlit.testing.v1 import AppTest
from tampering import edit, run_of_each_file

from dfkd_core.analysis import layout, student, two_sample
from dfkd_core.analysis.audit import Audit
from dfkd_core.analysis.formats import make
from dfkd_core.analysis.jobs import Job
from dfkd_core.analysis.recorded import KINDS, Recorded, detail
from dfkd_core.analysis.tags import Tags
from dfkd_core.analysis.timeline import Timeline
from dfkd_core.engine import LocalEngine
from dfkd_core.errors import RequestError, StoreError
from dfkd_core.runs.spec import read_spec
from dfkd_core.store import RunFolder, read_facts
from dfkd_core.store.sealed import sealed
from dfkd_core.study import Cell, Record, Study
from pages.ui import exchange
from pages.ui.run import generative, hybrid, stage

SENTENCE = (RequestError, StoreError)
MEASURING = ("analysis", "checkpoints", "collected", "spec")  # what measuring looks at


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return run_of_each_file(tmp_path_factory.mktemp("template"))


def opened(folder: RunFolder) -> Recorded:
    recorded = Recorded(Timeline(folder))
    recorded.timeline.update()
    return recorded


def places(template: RunFolder) -> list[str]:
    """Every folder, and every file but the earlier ones of the same kind in a folder of sheets."""
    many = {(name.rpartition("/")[0], name.rpartition(".")[2]): name for name in template.files.walk()}
    sheets = ("samples/", "probes/", "phases/", "checkpoints/")
    names = {name for name in template.files.walk() if not name.startswith(sheets)} | {*many.values()}
    folders = {parent for name in names for parent in map(str, Path(name).parents) if parent != "."}
    return sorted(names | folders)


def tampered(template: RunFolder, runs: Path, outside: Path, place: str, number: int = 0) -> RunFolder:
    """A copy of the run in which ``place`` is a link to where its content lies now, beside somebody's thesis."""
    path = runs / f"{template.id}-{number:03d}"
    shutil.copytree(template.path, path)
    target = outside / f"{number}" / Path(place).name
    target.parent.mkdir()
    shutil.move(path / place, target)
    if target.is_dir():
        (target / "thesis.tex").write_text("the only copy")
    (path / place).symlink_to(target)
    return RunFolder(path)


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}


def look(folder: RunFolder) -> None:
    """All that the pages ask about a run; what is not there, or a link, is left out or said in one sentence."""
    timeline = Timeline(folder)
    asked = {"want": [1, 3], "view": None, "slow": [2, 0]}
    with suppress(StoreError):
        stage.data_of("stage", folder, folder.status_seen(), timeline, asked)
    for part in (read_facts, hybrid._mix, hybrid._images, generative._measured, RunFolder.has_checkpoint):
        with suppress(StoreError):
            part(folder)
    recorded = Recorded(timeline)
    for kind in KINDS:
        with suppress(*SENTENCE):
            detail(recorded, kind, max(recorded.steps(kind), default=0), 0)
    with suppress(StoreError):
        recorded.film(0), layout.pca(recorded), layout.load_layout(recorded, "umap"), Audit(recorded).update(1.0)
    tags = Tags(folder)
    for change in (lambda: tags.add("samples", 1, [1], "even"), tags.undo, tags.counts):
        with suppress(*SENTENCE):
            change()
    with pytest.MonkeyPatch.context() as pressed:
        pressed.setattr(st, "download_button", lambda label, data, *given, **more: data())
        exchange.offer_export(folder), exchange.offer_weights(folder)
    with suppress(*SENTENCE):
        make("safetensors", [folder])
    for name in ("measure", "distance"):
        Job(folder, name).state()
        Job(folder, name).stop()


FORBIDDEN: list[Path] = []  # folders that nothing is opened in
OPENED: list[str] = []  # what was, all the same


def _notice(event: str, arguments: tuple[Any, ...]) -> None:
    """``Place`` opens names below a descriptor; any other way of opening a file says its path, links and all."""
    if event == "open" and FORBIDDEN and isinstance(arguments[0], str) and os.path.isabs(arguments[0]):
        OPENED.extend(arguments[0] for folder in FORBIDDEN if Path(arguments[0]).resolve().is_relative_to(folder))


sys.addaudithook(_notice)


@contextmanager
def opening_nothing_in(folder: Path) -> Iterator[None]:
    FORBIDDEN.append(folder.resolve())
    try:
        yield
    finally:
        FORBIDDEN.clear()
    assert OPENED == []


FOLDERS = {"analysis", "attempts", "checkpoints", "samples", "collected"}


@pytest.mark.parametrize("share", [8, pytest.param(1, marks=pytest.mark.slow)])
def test_wherever_a_link_lies_nothing_outside_is_touched(
    template: RunFolder, runs: Path, outside: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch, share: int
) -> None:
    monkeypatch.setattr(two_sample, "PERMUTATIONS", 1)
    monkeypatch.setattr(two_sample, "SPLITS", 1)
    every = places(template)
    assert len(every) > 30 and {"checkpoints", "attempts/1/lock", "samples/00000003.npz"} <= {*every}
    every = [place for number, place in enumerate(every) if place in {*FOLDERS, student.WEIGHTS} or number % share == 0]
    folders = [tampered(template, runs, outside, place, number) for number, place in enumerate(every)]
    before = contents(outside)
    refused = set()
    call(capsys, "runs")
    engine = LocalEngine(runs, keep_warm=False, grace=0.0)
    try:
        for folder, place in zip(folders, every, strict=True):
            with opening_nothing_in(outside):
                look(folder)
            with suppress(*SENTENCE):
                engine.stop(folder.id)
            commands = ("show", "show --events", "stop", "set", "measure", "distance", "resume")
            for command in commands if place.startswith(MEASURING) else (*commands[:4], commands[-1]):
                name, *flags = command.split()
                more = {"set": ["student_lr=0.05"], "measure": ["--samples", "60", "--force"]}.get(name, flags)
                status, _, err = call(capsys, name, folder.id, *more)
                assert status in (0, 1, 2) and "Traceback" not in err, (place, command)
                if " is a link" in err:
                    refused.add(place)
            assert contents(outside) == before, place
    finally:
        engine.close()
    assert refused >= FOLDERS


@pytest.mark.timeout(120)
def test_a_pipe_in_the_place_of_a_file_holds_nobody_up(template: RunFolder, runs: Path, capsys: Any) -> None:
    for number, place in enumerate(places(template)):
        if (template.path / place).is_file():
            folder = RunFolder(runs / f"{template.id}-{number:03d}")
            shutil.copytree(template.path, folder.path)
            (folder.path / place).unlink()
            os.mkfifo(folder.path / place)
            look(folder)
            assert call(capsys, "show", folder.id, "--events")[0] in (0, 2), place
    assert call(capsys, "runs")[0] == 0


@pytest.mark.parametrize("file", ["../../outside/{0}", "/{0}", "..", "", "samples/../../../outside/{0}"])
def test_a_row_s_file_is_not_read_wherever_it_leads(template: RunFolder, runs: Path, outside: Path, file: str) -> None:
    folder = RunFolder(runs / template.id)
    shutil.copytree(template.path, folder.path)
    stem = rows(folder, "samples")[-1]["file"]
    for ending in ("png", "npz"):
        shutil.copy(folder.path / f"{stem}.{ending}", outside)
    there = file.format(str(outside / Path(stem).name).lstrip("/") if file.startswith("/") else Path(stem).name)
    lines = [
        json.loads(line.replace(f'"{stem}"', f'"{there}"'))
        for line in (folder.path / "attempts/1/events.jsonl").read_text().splitlines()
    ]
    folder.files.write("attempts/1/events.jsonl", b"".join(sealed(line) + b"\n" for line in lines))
    recorded = opened(folder)
    step = recorded.steps("samples")[-1]
    assert recorded.timeline.frames[step]["file"] == there
    assert recorded.timeline.frame(step) is None and recorded.sheet("samples", step) is None
    assert recorded.columns("samples", step, ["loss"]) == {}


# --- studies ---------------------------------------------------------------------------------------------------


@pytest.fixture
def study(runs: Path, template: RunFolder) -> Study:
    cells = [
        Cell(f"cell-{seed}", {"seed": seed}, read_spec(template).model_copy(update={"seed": seed})) for seed in (0, 1)
    ]
    made = Study.create(runs, "plain", "A plain one", {"samples": 0}, cells)
    for cell in cells:
        made.keep(cell, Record("gone", problem="It failed."))
    made.claim().close()
    return made


def test_wherever_a_link_lies_in_a_study_nothing_outside_is_touched(
    study: Study, runs: Path, outside: Path, capsys: Any
) -> None:
    every = [*study.files.walk(), "cells", "conductors", "conductors/1"]
    for place in every:
        target = outside / place.replace("/", "-")
        shutil.move(study.path / place, target)
        (study.path / place).symlink_to(target)
        before = contents(outside)
        for command in (["list"], ["show", study.id], ["continue", study.id]):
            if place.startswith("con") and command[0] == "continue":
                continue  # it can be carried out, as it should
            status, _, err = call(capsys, "study", *command)
            assert status in (0, 1, 2) and "Traceback" not in err, (place, command)
        Study(study.path).is_conducted()
        assert contents(outside) == before, place
        (study.path / place).unlink()
        shutil.move(target, study.path / place)


@pytest.mark.parametrize("key", ["../../x", "a/b", "..", "", 7])
def test_a_cell_s_key_is_a_name(study: Study, runs: Path, key: Any) -> None:
    edit(study.files, "study.json", lambda stored: stored["cells"][0].update(key=key))
    with pytest.raises(StoreError, match="is not the name of a file|study.json is damaged.*cells.0.key"):
        _ = Study(study.path).cells


@pytest.mark.parametrize("run", ["../elsewhere", "/tmp", "..", 7])
def test_a_cell_s_run_is_a_name(study: Study, run: Any) -> None:
    study.files.write_json("cells/cell-0.json", {"run": run})
    record = study.record(study.cells[0])
    assert record.run == "" and "cells/cell-0.json is damaged" in record.problem


# --- pages -----------------------------------------------------------------------------------------------------


@pytest.fixture
def pages(app: AppTest) -> Iterator[AppTest]:
    app.run()
    yield app


@pytest.mark.parametrize("share", [8, pytest.param(1, marks=pytest.mark.slow)])
def test_each_page_shows_a_tampered_run_or_says_a_sentence(
    template: RunFolder, runs: Path, outside: Path, pages: AppTest, share: int
) -> None:
    """Each place on one of the pages, or with ``share`` 1 on all."""
    every = places(template)
    folders = [tampered(template, runs, outside, place, number) for number, place in enumerate(every)]
    before = contents(outside)
    for index, page in enumerate(("distill", "inspect", "hybrid", "runs")):
        for number, (folder, place) in enumerate(zip(folders, every, strict=True)):
            if number % share != index % share:
                continue
            pages.query_params.clear()
            pages.query_params["run"] = folder.id
            pages.switch_page(f"pages/{page}.py").run()
            assert not pages.exception, (page, place, pages.exception)
    assert contents(outside) == before and ROOT.is_dir()
