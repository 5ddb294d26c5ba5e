"""Folders from anybody: whatever is amiss in one, there is a sentence, the others stay usable, and nothing outside is
touched."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import call
from conftest import execute, metric_rows, new_run, rows, student_hash
from streamlit.testing.v1 import AppTest
from tampering import copied, flip, run_of_each_file, tampered

from dfkd_core.analysis import student, two_sample
from dfkd_core.analysis.measured import GENERATED, known_figures, read_distance
from dfkd_core.analysis.tags import Tags
from dfkd_core.engine import LocalEngine
from dfkd_core.errors import StoreError
from dfkd_core.events import Event, Phase, Step
from dfkd_core.runs.spec import read_spec
from dfkd_core.store import COLLECTED, REAL, EventReader, RunFolder, read_facts, read_phases, read_samples, verify
from dfkd_core.store.checkpoints import load_checkpoint

COMMANDS = (
    *(("show", "{}", "--events"), ("runs",), ("verify", "{}"), ("stop", "{}"), ("pause", "{}"), ("step", "{}")),
    *(("set", "{}", "student_lr=0.05"), ("resume", "{}")),
)
MEASURING = (("measure", "{}", "--samples", "60"), ("distance", "{}"))
PAGES = ("distill", "inspect", "hybrid", "runs")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return run_of_each_file(tmp_path_factory.mktemp("template"))


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    regular = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in regular}


# --- tampered folders ------------------------------------------------------------------------------------------


def through_the_commands(template: RunFolder, runs: Path, outside: Path, numbers: Iterable[int], capsys: Any) -> None:
    whole = copied(template, runs / template.id)
    for number in numbers:
        folder, said = tampered(template, runs, outside, number)
        before = contents(outside), contents(whole.path)
        for words in COMMANDS + MEASURING * (number % 10 == 0):
            status, out, err = call(capsys, *(word.format(folder.id) for word in words))
            assert status in (0, 1, 2) and "Traceback" not in err, (said, words)
            assert words != ("runs",) or (status == 0 and whole.id in out), said
            assert status in (0, 1) or "dfkd_core: " in err, (said, words, err)
        assert (contents(outside), contents(whole.path)) == before, said
        shutil.rmtree(folder.path)


def test_no_command_fails_over_a_tampered_folder(
    template: RunFolder, runs: Path, outside: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(two_sample, "PERMUTATIONS", 1)
    monkeypatch.setattr(two_sample, "SPLITS", 1)
    through_the_commands(template, runs, outside, range(1, 13), capsys)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_no_command_fails_over_two_hundred_tampered_folders(
    template: RunFolder, runs: Path, outside: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(two_sample, "PERMUTATIONS", 1)
    monkeypatch.setattr(two_sample, "SPLITS", 1)
    through_the_commands(template, runs, outside, range(200), capsys)


def through_the_pages(template: RunFolder, runs: Path, outside: Path, numbers: Iterable[int], app: AppTest) -> None:
    folders = [tampered(template, runs, outside, number) for number in numbers]
    before = contents(outside)
    for page in PAGES:
        for folder, said in folders:
            app.query_params.clear()
            app.query_params["chosen" if page == "runs" else "run"] = folder.id
            app.switch_page(f"pages/{page}.py").run()
            assert not app.exception, (page, said, app.exception)
    for page in ("prior", "lessons", "studies"):
        app.query_params.clear()
        app.switch_page(f"pages/{page}.py").run()
        assert not app.exception, (page, app.exception)
    assert contents(outside) == before


def test_each_page_shows_tampered_runs_or_says_a_sentence(
    template: RunFolder, runs: Path, outside: Path, app: AppTest
) -> None:
    app.run()
    through_the_pages(template, runs, outside, range(1, 9), app)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_each_page_shows_two_hundred_tampered_runs_or_says_a_sentence(
    template: RunFolder, runs: Path, outside: Path, app: AppTest
) -> None:
    app.run()
    through_the_pages(template, runs, outside, range(200), app)


def test_the_engine_starts_beside_tampered_runs(template: RunFolder, runs: Path, outside: Path) -> None:
    for number in range(1, 31):
        tampered(template, runs, outside, number)
    engine = LocalEngine(runs, keep_warm=False)
    try:
        assert len(engine.poll()) > 20
    finally:
        engine.close()


# --- what goes on all the same ---------------------------------------------------------------------------------


def stopped(runs: Path) -> RunFolder:
    """Changed live after its second step, stopped after its fourth, with checkpoints of the third and fourth."""
    folder = new_run(runs, checkpoint_seconds=0.0)

    def steer(event: Event) -> None:
        if isinstance(event, Step) and event.step == 2:
            folder.command("set", student_lr=0.02)
        if isinstance(event, Step) and event.step == 4:
            folder.command("stop")

    assert execute(folder, steer).state == "stopped"
    return folder


def test_a_run_goes_on_from_the_checkpoint_before_a_damaged_one_and_says_so(runs: Path, capsys: Any) -> None:
    folder, same_run = stopped(runs), stopped(runs)
    execute(same_run)
    path = folder.path / "checkpoints/step-00000004.safetensors"
    flip(path, 8 * path.stat().st_size - 100)
    said = f"checkpoints/{path.name} is damaged: its SHA-256 does not fit"
    assert call(capsys, "verify", folder.id)[:2] == (1, f"{said}\nrun {folder.id}: 1 damaged\n")
    status, _, err = call(capsys, "resume", folder.id)
    assert status == 0 and said in err and "It goes on from step 3" in err
    assert said in rows(folder, "status")[-2]["message"]
    assert student_hash(folder) == student_hash(same_run) and metric_rows(folder) == metric_rows(same_run)
    assert call(capsys, "verify", folder.id)[0] == 0


def test_a_damaged_row_is_named_and_the_run_ends_as_it_would_have(runs: Path, capsys: Any, app: AppTest) -> None:
    folder, same_run = stopped(runs), stopped(runs)
    execute(same_run)
    log = folder.path / "attempts/1/events.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    number = next(place for place, line in enumerate(lines) if b'"command": "set"' in line)
    flip(log, 8 * sum(map(len, lines[:number])) + 300)
    said = f"attempts/1/events.jsonl, line {number + 1}: its checksum does not fit"
    assert said in call(capsys, "runs")[2] and said in call(capsys, "verify", folder.id)[1]
    for page in ("distill", "inspect"):
        app.query_params.clear()
        app.query_params["run"] = folder.id
        app.switch_page(f"pages/{page}.py").run()
        assert not app.exception and said in app.warning[0].value.replace("\\", ""), page
    app.switch_page("pages/runs.py").run()
    assert said in app.dataframe[0].value["damaged"].tolist()
    execute(folder)
    assert student_hash(folder) == student_hash(same_run), "its live change is in the checkpoint, too"


# --- flipped bits ----------------------------------------------------------------------------------------------


def seen(folder: RunFolder) -> dict[str, Any]:
    """All that can be read of a run, by what it is read from; what cannot be read is left out."""
    found: dict[str, Any] = {"spec": read_spec(folder), "status": replace(folder.status(), owner=None)}
    for row in EventReader(folder).read():
        found[f"row {row['seq']}"] = row
        with suppress(StoreError):
            if row["type"] in ("samples", "probes"):
                found[row["file"]] = read_samples(folder, row["file"])
            elif row["type"] == "phases":
                found[row["file"]] = read_phases(folder, row)
    for name, read in READ.items():
        with suppress(StoreError):
            value = read(folder)
            if value:
                found[name] = value
    return found


READ: dict[str, Callable[[RunFolder], Any]] = {
    "real": lambda folder: read_samples(folder, REAL),
    "collected": lambda folder: read_samples(folder, COLLECTED),
    "facts": read_facts,
    "environment": RunFolder.environment,
    "figures": known_figures,
    "distance": read_distance,
    "generated": lambda folder: read_samples(folder, GENERATED),
    "tags": lambda folder: Tags(folder).counts(),
    "student": student.weights,
}


def flipped(template: RunFolder, runs: Path, count: int) -> None:
    """``count`` single bits, spread over all files alike: no run is lost, no value changes, and each is named."""
    draw, folder = random.Random(7), copied(template, runs / template.id)
    names = [name for name in folder.files.walk() if not name.endswith(NO_VALUES) and folder.files.read(name)]
    whole, step = seen(folder), load_checkpoint(folder).step
    for _ in range(count):
        name = draw.choice(names)
        path = folder.path / name
        bit = draw.randrange(8 * path.stat().st_size)
        flip(path, bit)
        said, found = verify(folder), seen(folder)
        for key, value in found.items():
            if key == "status" and value.state == "interrupted" and "status.json" in value.message:
                continue
            assert same(value, whole[key]), f"bit {bit} of {name} changed {key}"
        assert len(found) >= len(whole) - 2, f"bit {bit} of {name} lost {set(whole) - set(found)}"
        assert set(found) == set(whole) or any(name.partition(".")[0] in line for line in said), (name, bit, said)
        kept = load_checkpoint(folder)
        assert kept is not None and (kept.step == step or any(name in line for line in kept.damaged)), (name, bit)
        flip(path, bit)
    assert verify(folder) == []


NO_VALUES = ("worker.log", "lock")


def same(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return same(vars(one), vars(other)) if isinstance(one, Phase) else bool(one == other)


def test_a_flipped_bit_loses_no_run_and_changes_no_value(template: RunFolder, runs: Path) -> None:
    flipped(template, runs, 60)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_thousand_flipped_bits_lose_no_run_and_change_no_value(template: RunFolder, runs: Path) -> None:
    flipped(template, runs, 1000)
