"""Studies: carried out one run at a time, stopped, continued, survived; every cell is accounted for."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from command import call
from conftest import eventually, execute, tiny_spec
from studying import SAMPLES, conduct, plain_study, records, states, stop_at, tiny_study
from tampering import flip

from dfkd_core.analysis import measure as measuring
from dfkd_core.analysis.jobs import Job
from dfkd_core.analysis.measured import read_figures
from dfkd_core.engine import InlineEngine, LocalEngine, inline
from dfkd_core.errors import RequestError, StoreError
from dfkd_core.events import Event, Step
from dfkd_core.runs.spec import read_spec
from dfkd_core.store import RunFolder, RunStatus, runs_in
from dfkd_core.study import Cell, Conductor, Record, Study, find_study, studies_in
from dfkd_core.study.conductor import CHANGED, OTHER_DATA

# --- carrying out ----------------------------------------------------------------------------------------------


def test_a_study_runs_and_measures_every_cell(runs: Path) -> None:
    study = tiny_study(runs, [1.0, 0.0], [3, 1])
    assert states(study) == ["waiting"] * 4 and study.progress().state == "stopped"
    conduct(study)
    progress = study.progress()
    assert (progress.state, progress.done, progress.failed, progress.share) == ("done", 4, 0, 1.0)
    assert [tuple(cell.labels.values()) for cell in study.cells] == [(0.0, 1), (1.0, 1), (0.0, 3), (1.0, 3)]
    for cell, record in zip(study.cells, records(study), strict=True):
        folder = study.run(record)
        assert read_spec(folder) == cell.spec and cell.spec.config["class_prior_weight"] == cell.labels["intensity"]
        figures = dict(record.figures)
        assert figures.pop("seconds") >= folder.status().result["seconds"]
        measured = read_figures(folder)
        assert measured.pop("seconds") >= 0 and measured == figures and figures["samples"] == SAMPLES


def test_one_run_at_a_time_in_the_order_of_the_cells(runs: Path) -> None:
    study = plain_study(runs, 3)
    live: list[int] = []
    conduct(study, lambda event: live.append(sum(folder.status().is_live for folder in runs_in(runs))))
    assert set(live) == {1}
    assert [record.run for record in records(study)] == [
        folder.id for folder in sorted(runs_in(runs), key=lambda folder: folder.spec()["seed"])
    ]


def test_without_samples_the_figures_are_the_runs_result(runs: Path) -> None:
    study = plain_study(runs)
    conduct(study)
    for record in records(study):
        assert record.figures == study.run(record).status().result


def test_stopped_and_continued_it_goes_on_where_it_was(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[str] = []
    real = measuring.measure
    monkeypatch.setattr(measuring, "measure", lambda folder, *rest: measured.append(folder.id) or real(folder, *rest))
    study = tiny_study(runs, seeds=[0, 1])
    asked: list[str] = []

    def in_the_second_run(event: Event) -> None:
        if isinstance(event, Step) and event.step == 3 and len(runs_in(runs)) == 2 and not asked:
            asked.append("stop")
            study.ask_to_stop()

    conduct(study, in_the_second_run)
    progress = study.progress()
    assert (progress.state, progress.done) == ("stopped", 1)
    assert states(study) == ["done", "stopped", "waiting", "waiting"]
    assert progress.cells[1].share == 0.5, "its checkpoint is of step 3 of 6"
    before = records(study)
    conduct(study)
    assert study.progress().state == "done" and len(runs_in(runs)) == 4
    after = records(study)
    assert after[0] == before[0] and after[1].run == before[1].run
    assert study.run(after[1]).attempts() == [1, 2] and study.run(after[0]).attempts() == [1]
    assert measured == [record.run for record in after], "each once"


def test_a_stop_before_a_run_in_this_process_has_begun_is_heard(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = [Cell(f"cell-{seed}", {"seed": seed}, tiny_spec({"iterations": 100}, seed=seed)) for seed in range(2)]
    study = Study.create(runs, "plain", "Long runs", {"samples": 0}, cells)
    take_up = inline.take_up

    def late(folder: RunFolder) -> Any:
        study.ask_to_stop()
        return take_up(folder)

    monkeypatch.setattr(inline, "take_up", late)
    conduct(study)
    assert study.progress().state == "stopped" and states(study) == ["stopped", "waiting"]


def test_a_run_that_somebody_stops_stops_the_study(runs: Path) -> None:
    study = plain_study(runs, 3)
    conduct(study, lambda event: runs_in(runs)[0].command("stop"))
    assert study.progress().state == "stopped" and states(study) == ["stopped", "waiting", "waiting"]


def test_a_run_that_is_alive_is_adopted_not_begun_again(runs: Path) -> None:
    """What a server that died leaves behind: the worker goes on, the record says which run it is."""
    study = plain_study(runs, 1)
    (cell,) = study.cells
    folder = RunFolder.create(runs, cell.spec.model_dump())
    study.keep(cell, Record(run=folder.id))
    lease = folder.begin_attempt()
    folder.command("pause")
    from dfkd_core.runs.loop import run

    worker = threading.Thread(target=run, args=(folder, lease))
    worker.start()
    eventually(lambda: folder.status().state == "paused")
    begun: list[str] = []
    engine = InlineEngine(runs)
    engine.resume = begun.append  # type: ignore[method-assign]
    Conductor(study, engine).start()
    eventually(lambda: study.progress().state == "running")
    assert states(study) == ["paused"]
    folder.command("resume")
    eventually(lambda: study.progress().state == "done")
    worker.join()
    assert folder.attempts() == [1] and len(runs_in(runs)) == 1 and not begun


def test_a_failed_cell_says_why_and_the_others_go_on(runs: Path) -> None:
    cells = plain_study(runs, 3).cells
    broken = replace(cells[1], spec=cells[1].spec.model_copy(update={"teacher": "nobody"}))
    study = Study.create(runs, "plain", "One is broken", {"samples": 0}, [cells[0], broken, cells[2]])
    conduct(study)
    progress = study.progress()
    assert (progress.state, progress.done, progress.failed) == ("done", 2, 1)
    message = progress.cells[1].message
    assert "should be one of " in message and "digits-lenet5-bn-mixup" in message

    folder = study.run(records(study)[1])
    folder.files.write_json("spec.json", {**folder.spec(), "teacher": cells[1].spec.teacher})
    study.keep(cells[2], Record(problem="It failed, too."))
    Conductor(study, InlineEngine(runs), only=broken.key).conduct()
    assert states(study) == ["done", "done", "failed"], "one of several is tried again alone"
    conduct(study)
    assert states(study) == ["done"] * 3, "continuing tries all again"


def test_a_run_that_cannot_be_measured_fails_with_the_reason(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*arguments: Any) -> None:
        raise RequestError("DFKD_DATA", "data", "has gone.")

    monkeypatch.setattr(measuring, "measure", missing)
    study = tiny_study(runs)
    conduct(study)
    assert states(study) == ["failed"] * 2 and "has gone" in study.progress().cells[0].message


def test_a_run_whose_knobs_were_changed_live_is_no_cell_any_more(runs: Path) -> None:
    study = plain_study(runs, 1)
    changed: list[int] = []

    def change(event: Event) -> None:
        if isinstance(event, Step) and event.step == 2 and not changed:
            changed.append(event.step)
            runs_in(runs)[0].command("set", student_lr=0.05)

    conduct(study, change)
    (state,) = study.progress().cells
    assert (state.state, state.message) == ("failed", CHANGED)
    conduct(study)
    assert states(study) == ["done"] and len(runs_in(runs)) == 2, "continuing trains it anew"


def test_figures_against_other_real_images_are_not_mixed_in(runs: Path) -> None:
    study = tiny_study(runs)
    conduct(study)
    first, last = records(study)
    study.keep(study.cells[0], replace(first, figures={**first.figures, "reference": "another"}))
    study.keep(study.cells[1], replace(last, figures={}))
    conduct(study)
    assert study.record(study.cells[1]).problem == OTHER_DATA


def test_a_run_that_was_deleted_is_trained_again(runs: Path) -> None:
    import shutil

    study = plain_study(runs, 1)
    conduct(study, stop_at(study, 3))
    shutil.rmtree(study.run(records(study)[0]).path)
    assert states(study) == ["waiting"]
    conduct(study)
    assert states(study) == ["done"]


# --- who carries it out ----------------------------------------------------------------------------------------


def test_two_conductors_of_one_study_are_one_too_many(runs: Path) -> None:
    study = plain_study(runs)
    lease = study.claim()
    assert study.progress().state == "running"
    me = f"study {study.id} goes on already, in process {os.getpid()} on "
    with pytest.raises(StoreError, match=me):
        conduct(study)
    with pytest.raises(StoreError, match=me):
        Conductor(study, InlineEngine(runs)).start()
    study.ask_to_stop()
    assert study.progress().state == "stopping"
    study.release(lease, "Why not.")
    assert (study.progress().state, study.progress().message) == ("stopped", "Why not.")
    conduct(study)
    assert study.progress().state == "done", "an old wish to stop is forgotten"


def test_a_study_whose_conductor_died_has_stopped(runs: Path) -> None:
    study = plain_study(runs)
    study.claim().close()  # as the end of its process does
    assert study.progress().state == "stopped" and not study.is_conducted()


def test_a_crash_of_the_conductor_is_written_down(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = plain_study(runs)

    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Study, "keep", full)
    conduct(study)
    assert study.progress().message == "It could not go on: No space left on device."


@pytest.mark.slow
def test_a_conductor_killed_as_it_begins_a_run_leaves_it_to_the_next_one(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = RunFolder.create

    def last(*given: Any) -> None:
        create(*given)
        raise KeyboardInterrupt

    study = plain_study(runs)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(RunFolder, "create", last)
        conduct(study)
    (begun,) = runs_in(runs)
    conduct(study)
    assert study.progress().state == "done" and len(runs_in(runs)) == len(study.cells)
    assert begun.status().state == "done"


def test_in_the_lab_runs_are_workers_and_measuring_is_a_job(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = tiny_study(runs)
    engine = LocalEngine(runs, keep_warm=False)
    start, started = Job.start, list[int | None]()
    monkeypatch.setattr(Job, "start", lambda job, arguments: started.append(start(job, arguments)) or started[-1])
    try:
        Conductor(study, engine, as_jobs=True).start()
        first = eventually(lambda: runs_in(runs))[-1]
        with Job(first, "measure").leases.take():  # somebody measures it while it trains
            eventually(lambda: None in started)
            assert "measuring" in states(study)
        eventually(lambda: study.progress().state == "done", 120)
    finally:
        engine.close()
    assert states(study) == ["done"] * 2 and len(started) == 3
    assert all(folder.environment() for folder in runs_in(runs)) and all(
        record.figures["fid"] > 0 for record in records(study)
    )


def test_stopping_while_it_measures_keeps_the_trained_run(runs: Path) -> None:
    study = tiny_study(runs)
    Conductor(study, InlineEngine(runs), as_jobs=True).start()
    eventually(lambda: states(study)[0] == "measuring", 120)
    study.ask_to_stop()
    eventually(lambda: study.progress().state == "stopped")
    assert states(study) == ["stopped", "waiting"] and study.progress().cells[0].message == "trained, not yet measured"
    conduct(study)
    assert states(study) == ["done"] * 2 and study.run(records(study)[0]).attempts() == [1]


# --- folders ---------------------------------------------------------------------------------------------------


def test_damaged_files_are_passed_over_or_said(runs: Path) -> None:
    study, other = plain_study(runs), plain_study(runs)
    conduct(study)
    (study.path / "cells" / "cell-0.json").write_text("{")
    assert states(study) == ["failed", "done"] and "cell-0.json is damaged" in study.progress().cells[0].message
    (other.path / "study.json").write_text('{"kind": 1}')
    assert [found.id for found in studies_in(runs)] == [study.id]
    with pytest.raises(StoreError, match="study.json is damaged"):
        _ = Study(other.path).cells


def test_studies_are_found_by_kind_and_by_parts_of_their_id(runs: Path) -> None:
    plain, prior = plain_study(runs), tiny_study(runs)
    assert [study.id for study in studies_in(runs, "prior")] == [prior.id]
    assert find_study(runs, plain.id[-6:]).id == plain.id
    for wrong, why in (("20", "fits several"), ("x", "is not the id"), ("", "is not the id")):
        with pytest.raises(RequestError, match=why):
            find_study(runs, wrong)


def test_time_left_is_told_by_the_cells_that_are_done(runs: Path) -> None:
    study = plain_study(runs, 4)
    conducting = study.claim()
    assert study.progress().seconds_left is None
    for cell, seconds in zip(study.cells, (10.0, 20.0), strict=False):
        study.keep(cell, Record(run="-", figures={"seconds": seconds}))
    folder = RunFolder.create(runs, study.cells[2].spec.model_dump())
    training = folder.begin_attempt()
    folder.set_status(RunStatus("running", step=3, total_steps=6))
    study.keep(study.cells[2], Record(run=folder.id))
    assert study.progress().seconds_left == pytest.approx(1.5 * 15)
    assert study.progress(lambda run: 6).seconds_left == pytest.approx(15), "the log knows better than the status"
    assert study.progress().share == pytest.approx(2.5 / 4)
    training.close(), conducting.close()


def test_a_study_leaves_other_runs_of_the_folder_alone(runs: Path) -> None:
    mine = RunFolder.create(runs, tiny_spec().model_dump())
    execute(mine)
    before = mine.status()
    conduct(plain_study(runs))
    assert mine.status() == before


def test_verify_names_what_is_damaged_of_a_study(runs: Path, capsys: Any) -> None:
    study = plain_study(runs)
    study.keep(study.cells[0], Record(problem="no memory"))
    assert call(capsys, "verify", study.id, "--runs", str(runs)) == (0, f"study {study.id} is as it was written\n", "")
    for name in ("cells/cell-0.json", "study.json"):
        flip(study.path / name, 100)
        status, out, _ = call(capsys, "verify", study.id, "--runs", str(runs))
        assert status == 1 and f"{name} is damaged: its checksum does not fit" in out
    assert out.endswith(f"study {study.id}: 2 damaged\n")
