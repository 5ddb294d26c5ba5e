"""A study through worker processes, several at a time: killed workers and killed conductors lose nothing."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import STUDENT, TEACHER, eventually, metric_rows, rows, student_hash, tiny_knobs, tiny_spec
from studying import conduct, records, states

from dfkd_core.engine import LocalEngine, usual_slots
from dfkd_core.engine.base import Engine
from dfkd_core.runs.spec import RunSpec
from dfkd_core.store import Owner, RunFolder, RunStatus, runs_in
from dfkd_core.study import Cell, Conductor, Record, Study, find, take_up_left
from dfkd_core.study.conductor import RESTARTS


def some(runs: Path, count: int, knobs: dict[str, Any] | None = None, **fields: Any) -> Study:
    specs = [tiny_spec(knobs or {}, seed=seed, **fields) for seed in range(count)]
    cells = [Cell(f"cell-{spec.seed}", {"seed": spec.seed}, spec) for spec in specs]
    return Study.create(runs, "plain", "Some runs", {"samples": 0}, cells)


class Sketched(Engine):
    """Runs do not train: ``play`` says what becomes of each attempt, on a thread of its own."""

    def __init__(self, runs: Path, play: Callable[[RunFolder, int], str]) -> None:
        super().__init__(runs)
        self.play, self.at_once, self.most = play, 0, 0
        self.lock, self.begun = threading.Lock(), list[str]()

    @property
    def title(self) -> str:
        return "nothing that trains"

    def submit(self, spec: RunSpec) -> str:
        raise NotImplementedError

    def resume(self, run_id: str, insist: bool = False) -> None:
        folder = RunFolder(self.runs / run_id)
        lease = folder.begin_attempt()
        folder.set_status(RunStatus("running", attempt=lease.number, total_steps=1))
        self.begun.append(run_id)

        def carry_out() -> None:
            with self.lock:
                self.at_once += 1
                self.most = max(self.most, self.at_once)
            with lease:
                state = self.play(folder, lease.number)
                result = {"measure": "accuracy", "final": 0.5, "best": 0.5, "teacher": None, "seconds": 1.0}
                with self.lock:
                    self.at_once -= 1
                if state != "killed":
                    done = {"result": result} if state == "done" else {"message": "NaN at step 3"}
                    folder.set_status(RunStatus(state, attempt=lease.number, **done))

        threading.Thread(target=carry_out).start()

    def close(self) -> None:
        """Nothing."""


def test_so_many_run_at_a_time_and_begin_in_order(runs: Path) -> None:
    study = some(runs, 6)
    gate = threading.Semaphore(0)
    engine = Sketched(runs, lambda folder, attempt: str(gate.acquire() and "done"))
    Conductor(study, engine, slots=3).start()
    eventually(lambda: engine.at_once == 3)
    assert states(study) == ["running"] * 3 + ["waiting"] * 3
    for _ in range(6):
        gate.release()
    eventually(lambda: study.progress().state == "done")
    assert engine.most == 3 and states(study) == ["done"] * 6


def test_one_that_fails_does_not_stop_the_others(runs: Path) -> None:
    study = some(runs, 5)
    engine = Sketched(runs, lambda folder, attempt: "failed" if folder.spec()["seed"] == 1 else "done")
    Conductor(study, engine, slots=2).conduct()
    assert states(study) == ["done", "failed", "done", "done", "done"]
    assert study.progress().cells[1].message == "NaN at step 3"
    Conductor(study, Sketched(runs, lambda folder, attempt: "done"), slots=2).conduct()
    assert states(study) == ["done"] * 5 and len(runs_in(runs)) == 5, "continuing tries what failed again"


def test_a_run_whose_process_is_killed_goes_on_but_not_for_ever(runs: Path) -> None:
    study = some(runs, 2)
    fates: Callable[[RunFolder, int], str] = lambda folder, attempt: (  # noqa: E731
        "killed" if folder.spec()["seed"] == 0 or attempt == 1 else "done"
    )
    engine = Sketched(runs, fates)
    Conductor(study, engine, slots=2).conduct()
    assert states(study) == ["failed", "done"]
    hopeless, killed_once = (study.run(record) for record in records(study))
    assert len(hopeless.attempts()) == RESTARTS + 1 and len(killed_once.attempts()) == 2


def test_stopping_stops_all_that_run_and_a_broken_disk_lets_them_be(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = some(runs, 4)

    def play(folder: RunFolder, attempt: int) -> str:
        eventually(study.shall_stop)
        return "killed" if folder.spec()["seed"] else "stopped"  # by force: it did not listen

    engine = Sketched(runs, play)
    Conductor(study, engine, slots=2).start()
    eventually(lambda: len(engine.begun) == 2)
    study.ask_to_stop()
    eventually(lambda: study.progress().state == "stopped")
    assert states(study) == ["stopped", "interrupted", "waiting", "waiting"]

    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Study, "keep", full)
    Conductor(study, engine, slots=2).conduct()
    assert study.progress().message == "It could not go on: No space left on device."


def test_a_study_whose_conductor_died_is_taken_up_again_and_no_other_one(runs: Path) -> None:
    left, stopped, ended, paused, elsewhere, never, brought = (some(runs, 2) for _ in range(7))
    for study in (left, stopped, ended, paused, brought):
        study.claim().close()  # as the end of its process does
    brought.leases.write_owner(1, replace(Owner.current(), host="", boot=""))
    stopped.ask_to_stop()
    ended.release(ended.claim(), "It was ended from outside.")
    folder = RunFolder.create(runs, tiny_spec().model_dump())
    paused.keep(paused.cells[0], Record(run=folder.id))
    with folder.begin_attempt() as lease:
        folder.set_status(RunStatus("paused", attempt=lease.number))
    gate = threading.Semaphore(0)
    engine = Sketched(runs, lambda folder, attempt: str(gate.acquire() and "done"))
    with elsewhere.claim():
        take_up_left(runs, engine)
        take_up_left(runs, engine)  # as two servers do
    others = (stopped, ended, paused, never, brought)
    assert left.progress().message.startswith("Taken up again on ") and not any(one.is_conducted() for one in others)
    gate.release(2)
    eventually(lambda: left.progress().state == "done")
    assert left.progress().message == "" and not left.was_left() and elsewhere.was_left()


def test_as_many_fit_as_there_are_cores_for_their_threads() -> None:
    one, many = tiny_spec(), tiny_spec(threads=256)
    assert usual_slots([one]) >= 1 == usual_slots([one, many])
    assert usual_slots([one.model_copy(update={"device": "cuda:0"})]) == 1


# --- real workers ----------------------------------------------------------------------------------------------


def six(runs: Path) -> Study:
    """Longer runs that leave a checkpoint at each evaluation, of a kind that the command line can go on with."""
    fields = {"samples_every": 3, "evaluate_every": 2, "health_every": 3, "checkpoint_seconds": 0.0}
    asked = {"teachers": [TEACHER], "students": [STUDENT], "methods": ["ta-dfkd"], "seeds": list(range(6))}
    return find("grid").begin(runs, **asked, knobs={**tiny_knobs("ta-dfkd"), "iterations": 40}, run=fields)


@pytest.fixture
def undisturbed(tmp_path: Path) -> list[RunFolder]:
    study = six(tmp_path / "undisturbed")
    conduct(study)
    return [study.run(record) for record in records(study)]


def assert_equal(study: Study, others: list[RunFolder]) -> None:
    folders = [study.run(record) for record in records(study)]
    assert states(study) == ["done"] * len(others) and len(runs_in(study.runs)) == len(others), "none twice"
    for folder, other in zip(folders, others, strict=True):
        assert student_hash(folder) == student_hash(other) and metric_rows(folder) == metric_rows(other)


def test_a_worker_that_is_told_to_end_stops_no_study(runs: Path) -> None:
    """As by a machine that is shut down."""
    study, engine = some(runs, 1, {"iterations": 40}), LocalEngine(runs, keep_warm=False)
    try:
        Conductor(study, engine).start()
        (folder,) = eventually(lambda: runs_in(runs))
        eventually(lambda: len(rows(folder, "step")) > 2)
        owner = folder.leases.holder()
        assert owner is not None
        os.kill(owner.pid, signal.SIGTERM)
        eventually(lambda: not study.is_conducted())
    finally:
        engine.close()
    assert states(study) == ["done"] and folder.attempts() == [1, 2] and not study.shall_stop()


@pytest.mark.slow
def test_workers_killed_in_every_second_run_change_nothing(runs: Path, undisturbed: list[RunFolder]) -> None:
    study = six(runs)
    engine, killed = LocalEngine(runs, slots=2), set[str]()
    try:
        Conductor(study, engine, slots=2).start()

        def kill_and_look() -> bool:
            for folder in runs_in(runs):
                status = folder.status()
                if folder.id not in killed and status.is_live and status.step >= 3 and folder.spec()["seed"] % 2:
                    assert status.owner is not None
                    os.kill(status.owner.pid, signal.SIGKILL)
                    killed.add(folder.id)
            return study.progress().state == "done"

        eventually(kill_and_look, 240)
    finally:
        engine.close()
    assert len(killed) == 3
    assert_equal(study, undisturbed)


@pytest.mark.slow
def test_a_killed_conductor_is_succeeded_by_another(
    runs: Path, undisturbed: list[RunFolder], start: Callable[..., Any]
) -> None:
    study = six(runs)
    asked = ["-m", "dfkd_core", "study", "continue", study.id, "--runs", str(runs), "--slots", "2"]
    process = start(*asked)
    eventually(lambda: study.progress().done >= 2, 120)
    process.kill()
    process.wait()
    eventually(lambda: not study.is_conducted())
    after = start(*asked)
    _, err = after.communicate(timeout=240)
    assert after.returncode == 0, err
    assert_equal(study, undisturbed)
