"""What every engine does: the same runs, with the same bits, steered, stopped and killed in the same ways."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import eventually, new_run, rows, tiny_spec
from harnesses import (
    DRIVER,
    KINDS,
    OFTEN,
    SOME,
    Harness,
    ends_clusters,  # noqa: F401 - after all tests here
    harness,  # noqa: F401 - a fixture
    kill_worker,
    made,
    name_of,
    undisturbed,  # noqa: F401 - a fixture
)
from running import assert_bit_identical

from dfkd_core.engine import InlineEngine
from dfkd_core.errors import HeldError, RequestError, StoreError
from dfkd_core.store import RunFolder, runs_in
from dfkd_core.study import Cell, Conductor, Study

Start = Callable[..., subprocess.Popen[str]]
SHORT = {"iterations": 6}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_a_run_is_done_and_has_the_same_bits_wherever_it_was_made(harness: Harness, undisturbed: RunFolder) -> None:
    folder = harness.begin(tiny_spec(SOME, **OFTEN))
    assert harness.ended(folder) == "done", folder.status().message
    assert_bit_identical(folder, undisturbed)
    assert folder.attempts() == [1] and not folder.status().is_live
    with pytest.raises(StoreError, match="nothing left to resume"):
        harness.engine.resume(folder.id)


def test_what_finds_no_room_waits_until_it_is_stopped_or_its_turn_comes(kind: str, harness: Harness) -> None:
    if kind == "inline":
        pytest.skip("submits in the calling thread: nothing waits")
    engine = harness.engine
    busy = [harness.training() for _ in range(engine.slots)]
    waiting, stopped, by_another_lab = (harness.begin(tiny_spec(SHORT)) for _ in range(3))
    eventually(lambda: waiting.status_seen().message.startswith("Waiting"))
    assert harness.state(waiting) == "queued" and waiting.status().is_live
    with pytest.raises(HeldError, match=f"run {waiting.id} goes on already, in process "):
        InlineEngine(harness.runs).resume(waiting.id)
    engine.stop(stopped.id)
    by_another_lab.command("stop")
    eventually(lambda: harness.state(stopped) == "stopped" == harness.state(by_another_lab))
    engine.stop(busy[0].id)
    assert harness.ended(waiting) == "done"
    assert rows(stopped) == rows(by_another_lab) == [] and all(one.status().is_live for one in busy[1:])


def test_a_paused_run_takes_steps_and_changes_and_goes_on_in_its_process(harness: Harness) -> None:
    folder, engine = harness.training(), harness.engine
    engine.pause(folder.id)
    eventually(lambda: harness.state(folder) == "paused")
    step, owner = folder.status().step, folder.status().owner
    engine.change(folder.id, {"student_lr": 0.05})
    engine.one_step(folder.id)
    eventually(lambda: folder.status().step == step + 1 and harness.state(folder) == "paused")
    assert [row["knobs"] for row in rows(folder, "applied") if row["command"] == "set"] == [{"student_lr": 0.05}]
    engine.resume(folder.id)
    eventually(lambda: len(rows(folder, "step")) > step + 3)
    assert folder.attempts() == [1] and folder.status().owner == owner
    engine.stop(folder.id)
    assert harness.ended(folder) == "stopped"


def test_a_stopped_run_goes_on_to_the_same_bits(harness: Harness, undisturbed: RunFolder) -> None:
    folder = harness.training(SOME)
    harness.engine.stop(folder.id)
    assert harness.ended(folder) == "stopped"
    harness.go_on(folder)
    assert harness.ended(folder) == "done", folder.status().message
    assert_bit_identical(folder, undisturbed)


def test_a_run_that_is_alive_is_nobody_elses(harness: Harness) -> None:
    folder = harness.training()
    owner = folder.status().owner
    for other in (InlineEngine(harness.runs), harness.engine):
        with pytest.raises(HeldError, match=re.escape(f"run {folder.id} goes on already, in {owner}")):
            other.resume(folder.id)
    assert folder.attempts() == [1] and folder.status().owner == owner


def test_a_run_that_cannot_be_made_fails_with_a_sentence_and_holds_nobody_up(harness: Harness) -> None:
    spec = tiny_spec(SHORT).model_copy(update={"teacher": "nobody"})
    folder, after = harness.begin(spec), harness.begin(tiny_spec(SHORT))
    assert harness.ended(folder) == "failed" and harness.ended(after) == "done"
    assert "nobody" in folder.status().message and "Traceback" not in folder.status().message


def test_a_killed_worker_loses_nothing_that_was_kept(kind: str, harness: Harness, undisturbed: RunFolder) -> None:
    """On a cluster the run goes on by itself, elsewhere when told to."""
    if kind == "inline":
        pytest.skip("its worker is the program that asks, which the next test kills")
    folder = harness.training(SOME)
    kill_worker(folder)
    if not harness.again:
        eventually(lambda: "killed by signal 9" in folder.status().message)
        assert harness.ended(folder) == "interrupted"
        harness.go_on(folder)
    eventually(lambda: folder.attempts() == [1, 2])
    assert harness.ended(folder) == "done", folder.status().message
    assert_bit_identical(folder, undisturbed)


@pytest.mark.parametrize("kind", [pytest.param("inline", marks=pytest.mark.slow), *KINDS[1:]])  # as in runs/test_run.py
def test_a_killed_program_loses_nothing_that_was_kept(
    kind: str, runs: Path, undisturbed: RunFolder, tmp_path: Path, start: Start
) -> None:
    template = new_run(tmp_path / "template", SOME, **OFTEN)
    made(kind, runs).end()
    driver = start("-c", DRIVER, name_of(kind), str(runs), str(template.path))
    folder = eventually(lambda: next(iter(runs_in(runs)), None), 120)
    eventually(lambda: len(rows(folder, "step")) >= 3, 120)
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    harness = made(kind, runs)
    try:
        if not harness.goes_on:
            assert harness.ended(folder) == "interrupted"
            harness.go_on(folder)
        assert harness.ended(folder) == "done", folder.status().message
        assert_bit_identical(folder, undisturbed)
        assert folder.attempts() == ([1] if harness.goes_on else [1, 2])
    finally:
        harness.end()


@pytest.mark.parametrize("command", ["stop", "pause", "one_step", "resume"])
def test_a_run_that_is_not_there_is_named(harness: Harness, command: str) -> None:
    with pytest.raises(RequestError, match="run = 'nobody': is not the id of a run"):
        getattr(harness.engine, command)("nobody")


def test_a_study_is_carried_out_as_many_runs_at_a_time_as_there_is_room_for(
    harness: Harness, undisturbed: RunFolder
) -> None:
    cells = [Cell(f"cell-{seed}", {"seed": seed}, tiny_spec(SHORT, seed=seed)) for seed in (1, 2)]
    cells.append(Cell("as the other", {"seed": 0}, tiny_spec(SOME, **OFTEN)))
    study = Study.create(harness.runs, "plain", "A plain one", {"samples": 0}, cells)
    conductor = Conductor(study, harness.engine)
    assert conductor.slots == harness.engine.room([cell.spec for cell in cells]) >= 1
    conductor.conduct()
    assert [(one.state, one.message) for one in study.progress().cells] == [("done", "")] * 3
    assert_bit_identical(study.run(study.record(cells[-1])), undisturbed)


def test_an_engine_says_what_it_has(harness: Harness) -> None:
    assert harness.engine.slots >= 1 and harness.engine.title
