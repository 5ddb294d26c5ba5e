"""Studies: carried out one run at a time, stopped, continued, survived; every cell is accounted for."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from command import FLAGS, call, refused
from conftest import STUDENT, TINY, eventually, execute, tiny_spec

from dfkd_core.analysis import measure as measuring
from dfkd_core.analysis.measured import read_figures
from dfkd_core.engine import InlineEngine, LocalEngine
from dfkd_core.errors import RequestError, StoreError
from dfkd_core.events import Event, Step
from dfkd_core.store import Owner, RunFolder, RunStatus, runs_in
from dfkd_core.store.atomic import read_json, write_json
from dfkd_core.study import Cell, CellState, Conductor, Record, Study, find_study, kinds, outcome, studies_in
from dfkd_core.study.conductor import CHANGED, OTHER_DATA
from dfkd_core.study.estimate import MEASURING_SECONDS, estimated_seconds

FIELDS = {"student": STUDENT, "evaluate_every": 2, "samples_every": 3}
SAMPLES = 60


def tiny_study(runs: Path, intensities: list[float] | None = None, seeds: list[int] | None = None) -> Study:
    return kinds.prior(runs, intensities or [0.0, 1.0], seeds or [0], TINY, SAMPLES, **FIELDS)


def plain_study(runs: Path, count: int = 2) -> Study:
    """Of runs that are not measured."""
    cells = [Cell(f"cell-{seed}", {"seed": seed}, tiny_spec(seed=seed).model_dump()) for seed in range(count)]
    return Study.create(runs, "plain", "A plain one", {"samples": 0}, cells)


def conduct(study: Study, progress: Callable[[Event], None] | None = None) -> None:
    Conductor(study, InlineEngine(study.runs, progress)).conduct()


def stop_at(study: Study, step: int) -> Callable[[Event], None]:
    """Ask the study to stop when its run comes to ``step``, once."""
    asked: list[int] = []

    def progress(event: Event) -> None:
        if isinstance(event, Step) and event.step == step and not asked:
            asked.append(step)
            study.ask_to_stop()

    return progress


def states(study: Study) -> list[str]:
    return [state.state for state in study.progress().cells]


def records(study: Study) -> list[Record]:
    return [study.record(cell) for cell in study.cells]


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
        assert folder.spec() == cell.spec and folder.spec()["config"]["class_prior_weight"] == cell.labels["intensity"]
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


def test_a_run_that_somebody_stops_stops_the_study(runs: Path) -> None:
    study = plain_study(runs, 3)
    conduct(study, lambda event: runs_in(runs)[0].command("stop"))
    assert study.progress().state == "stopped" and states(study) == ["stopped", "waiting", "waiting"]


def test_a_run_that_is_alive_is_adopted_not_begun_again(runs: Path) -> None:
    """What a server that died leaves behind: the worker goes on, the record says which run it is."""
    study = plain_study(runs, 1)
    (cell,) = study.cells
    folder = RunFolder.create(runs, cell.spec)
    study.keep(cell, Record(run=folder.id))
    attempt = folder.begin_attempt()
    folder.command("pause")
    from dfkd_core.runs.loop import run

    worker = threading.Thread(target=run, args=(folder, attempt))
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
    broken = replace(cells[1], spec={**cells[1].spec, "teacher": "nobody"})
    study = Study.create(runs, "plain", "One is broken", {"samples": 0}, [cells[0], broken, cells[2]])
    conduct(study)
    progress = study.progress()
    assert (progress.state, progress.done, progress.failed) == ("done", 2, 1)
    message = progress.cells[1].message
    assert "should be one of " in message and "digits-lenet5-bn-mixup" in message

    spec = study.run(records(study)[1]).path / "spec.json"
    write_json(spec, {**read_json(spec), "teacher": cells[1].spec["teacher"]})
    conduct(study)
    assert states(study) == ["done"] * 3, "continuing tries it again"


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
    study.claim()
    assert study.progress().state == "running"
    with pytest.raises(StoreError, match="is being carried out already"):
        conduct(study)
    with pytest.raises(StoreError, match="is being carried out already"):
        Conductor(study, InlineEngine(runs)).start()
    study.ask_to_stop()
    assert study.progress().state == "stopping"
    study.release("Why not.")
    assert (study.progress().state, study.progress().message) == ("stopped", "Why not.")
    conduct(study)
    assert study.progress().state == "done", "an old wish to stop is forgotten"


def test_a_study_whose_conductor_died_has_stopped(runs: Path) -> None:
    study = plain_study(runs)
    study.claim()
    dead = {"owner": {"pid": Owner.current().pid, "started": 1.0}, "message": ""}
    write_json(study.path / "conductor.json", dead)
    assert study.progress().state == "stopped" and not study.is_conducted()


def test_a_crash_of_the_conductor_is_written_down(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = plain_study(runs)

    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Study, "keep", full)
    conduct(study)
    assert study.progress().message == "It could not go on: No space left on device."


@pytest.mark.slow
def test_in_the_lab_runs_are_workers_and_measuring_is_a_job(runs: Path) -> None:
    study = tiny_study(runs)
    engine = LocalEngine(runs, keep_warm=False)
    try:
        Conductor(study, engine, as_jobs=True).start()
        eventually(lambda: states(study)[0] == "measuring", 120)
        eventually(lambda: study.progress().state == "done", 120)
    finally:
        engine.close()
    assert states(study) == ["done"] * 2
    owners = [read_json(folder.attempt_path(1) / "environment.json") for folder in runs_in(runs)]
    assert all(owners) and all(record.figures["fid"] > 0 for record in records(study))


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
    assert states(study) == ["waiting", "done"]
    (other.path / "study.json").write_text('{"kind": 1}')
    assert [found.id for found in studies_in(runs)] == [study.id]
    with pytest.raises(StoreError, match="no readable study.json"):
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
    study.claim()
    assert study.progress().seconds_left is None
    for cell, seconds in zip(study.cells, (10.0, 20.0), strict=False):
        study.keep(cell, Record(run="-", figures={"seconds": seconds}))
    folder = RunFolder.create(runs, study.cells[2].spec)
    folder.set_status(RunStatus("running", step=3, total_steps=6, owner=Owner.current()))
    study.keep(study.cells[2], Record(run=folder.id))
    assert study.progress().seconds_left == pytest.approx(1.5 * 15)
    assert study.progress(lambda run: 6).seconds_left == pytest.approx(15), "the log knows better than the status"
    assert study.progress().share == pytest.approx(2.5 / 4)


# --- kinds -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"intensities": [0.5]}, "should be 2 to 51"),
        ({"intensities": [0.5, 0.5]}, "each once"),
        ({"intensities": [0, -1]}, "greater than or equal to 0"),
        ({"intensities": [0, 11]}, "less than or equal to 10"),
        ({"intensities": [0, float("nan")]}, "finite"),
        ({"seeds": []}, "should be 1 to 20"),
        ({"seeds": [-1]}, "seed = -1"),
        ({"method": "noise"}, "has no class prior to vary"),
        ({"changes": {"class_prior_weight": 1}}, "is what the study varies"),
        ({"changes": {"epochs": 0}}, "epochs"),
        ({"seed": 1}, "is what the study varies"),
        ({"samples": 3}, "should be from 6"),
        ({"extractor": "vgg"}, "should be inception"),
        ({"extractor": "teacher:digits-resnet20-plain"}, "is the teacher that"),
        ({"benchmark": "mnist", "student": "lenet5-half"}, "DFKD_DATA"),
        ({"teacher": "nobody"}, "should be one of"),
    ],
)
def test_a_wrong_request_is_refused_before_anything_is_written(runs: Path, changes: dict[str, Any], why: str) -> None:
    asked = {"intensities": [0.0, 1.0], "seeds": [0], "changes": TINY, "samples": SAMPLES, **FIELDS, **changes}
    with pytest.raises(RequestError, match=why):
        kinds.prior(runs, **asked)
    assert not runs.exists()


def test_the_settings_of_a_study_say_everything(runs: Path) -> None:
    study = Study(tiny_study(runs, [1.0, 0.0], [1, 0]).path)
    assert study.settings == {
        "benchmark": "digits", "method": "ta-dfkd", "teacher": "digits-resnet20-plain", "student": STUDENT,
        "preset": "demo", "intensities": [0.0, 1.0], "seeds": [0, 1], "samples": SAMPLES,
        "extractor": "teacher:digits-lenet5-bn-mixup",
    }  # fmt: skip
    assert study.title == f"digits-resnet20-plain → {STUDENT}, 2 intensities × 2 seeds"


def test_fig1a_has_four_curves_for_each_teacher_that_differ_in_terms_only(runs: Path) -> None:
    teachers = ["digits-resnet20-plain", "digits-lenet5-bn-mixup"]
    study = kinds.fig1a(runs, teachers, TINY, seed=5, **FIELDS)
    assert [cell.labels["teacher"] for cell in study.cells] == teachers * 4
    configs = {cell.labels["variant"]: cell.spec["config"] for cell in study.cells}
    terms = ("class_prior_weight", "class_balance_weight", "activation_weight", "adversarial_weight", "bn_weight")
    found = {name: (*(config[term] for term in terms), config["selection"]) for name, config in configs.items()}
    assert found == {
        "class prior": (1.0, 5.0, 0.1, 0.0, 0.0, False),
        "adversarial": (0.0, 0.0, 0.0, 1.0, 0.0, False),
        "both": (1.0, 5.0, 0.1, 1.0, 0.0, False),
        "TA-DFKD": (0.0, 0.0, 0.0, 1.0, 0.03, True),
    }
    same = [{**config, **dict.fromkeys((*terms, "selection"))} for config in configs.values()]
    assert all(config == same[0] for config in same) and {cell.spec["seed"] for cell in study.cells} == {5}
    with pytest.raises(RequestError, match="1 to 4, each once"):
        kinds.fig1a(runs, [teachers[0]] * 2, TINY)


# --- what the points say ---------------------------------------------------------------------------------------


def point(intensity: float, fid: float, seed: int = 0) -> dict[str, Any]:
    return {"intensity": intensity, "fid": fid, "seed": seed}


def test_the_reading_is_the_rank_correlation_of_the_points() -> None:
    rising = [point(0, 2.0), point(0.5, 3.0), point(1, 9.0)]
    said = outcome.reading(rising)
    assert (
        "rises with" in said
        and "+1.00 (3 runs, 3 intensities, 1 seed)" in said
        and "at λ = 0, which is the lowest" in said
    )
    falling = [point(0, 9.0), point(0.5, 3.0), point(1, 2.5), point(1, 2.6, seed=1)]
    assert "falls with" in outcome.reading(falling) and "-0.95" in outcome.reading(falling)
    assert "mean FID 9 at λ = 0, lowest 2.55 at λ = 1" in outcome.reading(falling)
    assert "hardly depends on" in outcome.reading([point(0, 2), point(0.3, 1), point(0.6, 3), point(1, 1.5)])
    assert "is the same at every intensity" in outcome.reading([point(0, 2), point(0.5, 2), point(1, 2)])


@pytest.mark.parametrize("points", [[], [point(0, 1), point(1, 2)], [point(0, 1), point(0, 1, 1), point(1, 2)]])
def test_two_intensities_are_no_trend(points: list[dict[str, Any]]) -> None:
    assert outcome.reading(points) == ""


def lesson_cell(teacher: str, variant: str, final: float, best: float, state: str = "done") -> CellState:
    cell = Cell("-", {"teacher": teacher, "variant": variant}, {})
    return CellState(cell, Record(figures={"final": final, "best": best}), state)


def test_the_lessons_reading_names_the_widest_gap_and_the_deepest_fall() -> None:
    cells = [
        lesson_cell("one", "prior", 0.9, 0.9),
        lesson_cell("two", "prior", 0.8, 0.95),
        lesson_cell("one", "adversarial", 0.9, 0.905),
        lesson_cell("two", "adversarial", 0.5, 0.6),
    ]
    said = outcome.fig1a_reading(cells)
    assert "furthest apart with adversarial: 90.0% (one) against 50.0% (two)" in said
    assert "furthest below its best ended prior with two: 95.0%, then 80.0%" in said
    assert "no student ended more than a point below" in outcome.fig1a_reading([cells[0], cells[2]])
    assert outcome.fig1a_reading([*cells, lesson_cell("one", "both", 0, 0, "running")]) == ""


def test_points_are_the_cells_that_are_done(runs: Path) -> None:
    study = tiny_study(runs)
    conduct(study)
    cells = study.progress().cells
    (first, second) = outcome.points(cells)
    assert (first["intensity"], second["intensity"]) == (0.0, 1.0) and first["fid"] > 0 and first["real"] == SAMPLES
    waiting = CellState(cells[0].cell, Record(), "waiting")
    assert outcome.points([waiting, cells[1]]) == [second]


# --- estimates -------------------------------------------------------------------------------------------------


def past_run(runs: Path, seconds: float, steps: int = 100, **fields: Any) -> RunFolder:
    folder = RunFolder.create(runs, tiny_spec(**fields).model_dump())
    folder.set_status(RunStatus("done", step=steps, total_steps=steps, result={"seconds": seconds}))
    return folder


def test_an_estimate_takes_the_pace_of_the_run_most_alike(runs: Path) -> None:
    spec = tiny_spec().model_dump()  # 6 steps
    assert estimated_seconds([spec], []) is None
    other_teacher = past_run(runs, 300.0, teacher="digits-lenet5-long")
    assert estimated_seconds([spec], [other_teacher]) == pytest.approx(18)
    same = past_run(runs, 100.0)
    assert estimated_seconds([spec, spec], [other_teacher, same]) == pytest.approx(12)
    assert estimated_seconds([spec], [same], measured=True) == pytest.approx(6 + MEASURING_SECONDS)
    quick = past_run(runs, 10.0, method="ukd", student="lvae-4", teacher="digits-lvae-32")
    slow = tiny_spec(method="ukd", student="lvae-4", teacher="digits-lvae-32").model_dump()
    slow["config"]["source"] = "diffusion"
    assert estimated_seconds([slow], [quick]) is None, "what makes images beforehand goes at another pace"
    for useless in (past_run(runs, 1.0, steps=5), past_run(runs, 1.0, student="resnet8"), RunFolder(runs / "gone")):
        assert estimated_seconds([spec], [useless]) is None


# --- the command line ------------------------------------------------------------------------------------------

PRIOR = ["study", "prior", "--intensities", "0,1", "--seeds", "0", "--measured", str(SAMPLES), "--student", STUDENT]


def test_a_study_on_the_command_line(capsys: Any, runs: Path) -> None:
    status, out, err = call(capsys, *PRIOR, *FLAGS)
    (study,) = studies_in(runs)
    assert status == 0 and out.startswith("done: 2 / 2 runs, 0 failed") and study.id in out
    assert "intensity 0.0, seed 0: accuracy final" in err and "FID" in err
    status, out, _ = call(capsys, "study", "list")
    assert f"{study.id}  prior      done" in out
    status, out, _ = call(capsys, "study", "show", study.id[-6:], "--json")
    shown = json.loads(out)
    assert [cell["state"] for cell in shown["cells"]] == ["done"] * 2 and shown["kind"] == "prior"
    assert shown["cells"][1]["figures"]["fid"] > 0 and shown["settings"]["intensities"] == [0.0, 1.0]


def test_ctrl_c_stops_a_study_and_continue_ends_it(start: Callable[..., Any], capsys: Any, runs: Path) -> None:
    process = start("-m", "dfkd_core", *PRIOR, *FLAGS, "--iterations", "30")
    eventually(lambda: runs_in(runs) and runs_in(runs)[0].status().state == "running", 120)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert "stopped: 0 / 2 runs" in out and "Traceback" not in err
    (study,) = studies_in(runs)
    assert states(study) == ["stopped", "waiting"]
    status, out, _ = call(capsys, "study", "continue", study.id, "--json")
    assert status == 0 and json.loads(out)["state"] == "done"
    assert study.run(records(study)[0]).attempts() == [1, 2]


def test_a_failed_cell_makes_the_exit_status_one(capsys: Any, runs: Path) -> None:
    study = plain_study(runs, 1)
    folder = RunFolder.create(runs, {**study.cells[0].spec, "teacher": "nobody"})
    study.keep(study.cells[0], Record(run=folder.id))
    status, out, err = call(capsys, "study", "continue", study.id)
    assert status == 1 and "1 failed" in out and "seed 0: failed." in err


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["study", "prior", "--intensities", "0,x"], "should be numbers with commas between"),
        (["study", "prior", "--seed", "1"], "unrecognized arguments: --seed"),
        (["study", "prior", "--method", "noise"], "has no class prior"),
        (["study", "fig1a", "--teachers", "nobody"], "should be one of"),
        (["study", "fig1a"], "--teachers"),
        (["study", "show", "x"], "is not the id of a study"),
    ],
)
def test_wrong_requests_are_one_line(capsys: Any, runs: Path, arguments: list[str], why: str) -> None:
    assert why in refused(capsys, *arguments)
    assert not runs.exists()


def test_fig1a_on_the_command_line(capsys: Any, runs: Path) -> None:
    teachers = "digits-resnet20-plain,digits-lenet5-bn-mixup"
    status, out, _ = call(capsys, "study", "fig1a", "--teachers", teachers, "--student", STUDENT, *FLAGS)
    assert status == 0 and "done: 8 / 8 runs" in out
    status, out, _ = call(capsys, "study", "show", studies_in(runs)[0].id)
    assert "teacher digits-lenet5-bn-mixup, variant both: accuracy final" in out


def test_a_study_leaves_other_runs_of_the_folder_alone(runs: Path) -> None:
    mine = RunFolder.create(runs, tiny_spec().model_dump())
    execute(mine)
    before = mine.status()
    conduct(plain_study(runs))
    assert mine.status() == before
