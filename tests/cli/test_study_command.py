"""``study`` on the command line: a study begun, stopped, continued, listed and shown; and what is refused."""

from __future__ import annotations

import errno
import json
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from command import FLAGS, call, refused
from conftest import STUDENT, eventually
from studying import SAMPLES, records, states, tiny_study

from dfkd_core.cli.main import main
from dfkd_core.engine import LocalEngine
from dfkd_core.runs.spec import RunSpec
from dfkd_core.store import RunFolder, runs_in
from dfkd_core.study import Record, Study, studies_in
from dfkd_core.study.conductor import Conductor

PRIOR = [
    "study",
    "prior",
    "--slots",
    "1",
    "--intensities",
    "0,1",
    "--seeds",
    "0",
    "--measured",
    str(SAMPLES),
    "--student",
    STUDENT,
]


def test_a_study_on_the_command_line(capsys: Any, runs: Path) -> None:
    status, out, err = call(capsys, *PRIOR, *FLAGS)
    (study,) = studies_in(runs)
    *table, last = out.splitlines()
    assert status == 0 and last.startswith("done: 2 / 2 runs, 0 failed") and study.id in last
    assert [line.split()[0] for line in table] == ["λ", "0", "1"]
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
    status, out, _ = call(capsys, "study", "continue", study.id, "--slots", "1", "--json")
    assert status == 0 and json.loads(out)["state"] == "done"
    assert study.run(records(study)[0]).attempts() == [1, 2]


def test_a_failed_cell_makes_the_exit_status_one(capsys: Any, runs: Path) -> None:
    study = tiny_study(runs)
    folder = RunFolder.create(runs, study.cells[0].spec.model_dump() | {"teacher": "nobody"})
    study.keep(study.cells[0], Record(run=folder.id))
    status, out, err = call(capsys, "study", "continue", study.id, "--slots", "1")
    assert status == 1 and "1 failed" in out and "intensity 0.0, seed 0: failed." in err
    assert f"{study.cells[0].key}: intensity 0.0" in call(capsys, "study", "show", study.id)[1], "what --only takes"


def test_one_run_of_a_study_is_carried_out_alone(capsys: Any, runs: Path) -> None:
    study = tiny_study(runs)
    one, other = (cell.key for cell in study.cells)
    status, out, _ = call(capsys, "study", "continue", study.id, "--only", other[-8:])
    assert status == 0 and states(study) == ["waiting", "done"] and "1 / 2 runs" in out
    assert f"{one}: waiting" in call(capsys, "study", "show", study.id)[1]
    said = refused(capsys, "study", "continue", study.id, "--only", "seed")
    assert "only = 'seed': fits several runs" in said and one in said and other in said
    assert "is part of the name of no run" in refused(capsys, "study", "continue", study.id, "--only", "nobody")


def test_a_study_of_a_kind_that_is_not_there_is_said_in_one_line(capsys: Any, runs: Path) -> None:
    cells = tiny_study(runs).cells
    foreign = Study.create(runs, "foreign", "Of another version", {}, cells)
    assert "foreign" in call(capsys, "study", "list")[1]
    _, out, err = call(capsys, "study", "list", "--json")
    assert [json.loads(line)["kind"] for line in out.splitlines()] == ["prior"] and foreign.id in err
    assert "study = 'foreign': should be one of experiment, fig1a" in refused(capsys, "study", "show", foreign.id)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["study", "prior", "--intensities", "0,x"], "intensities.1 = 'x': should be a valid number"),
        (["study", "prior", "--seed", "1"], "Unknown option: --seed"),
        (["study", "prior", "--method", "noise"], "has no class prior"),
        (["study", "fig1a", "--teachers", "nobody"], "should be one of"),
        (["study", "fig1a"], "--teachers"),
        (["study", "run", "fig-1b", "--engine", "cluster"], "engine = 'cluster': should be local"),
        (["study", "show", "x"], "is not the id of a study"),
    ],
)
def test_wrong_requests_are_one_line(capsys: Any, runs: Path, arguments: list[str], why: str) -> None:
    assert why in refused(capsys, *arguments)
    assert not runs.exists()


def test_a_study_that_cannot_go_on_says_why_and_fails(
    capsys: pytest.CaptureFixture[str], runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Conductor, "_carry_all_out", full)
    assert main(["study", "grid", "--seeds", "0", "--runs", str(runs), "--epochs", "1"]) == 1
    assert "It could not go on: No space left on device." in capsys.readouterr().err


def test_a_run_that_was_stopped_while_it_waited_is_told_without_a_score(
    capsys: pytest.CaptureFixture[str], runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(engine: LocalEngine, spec: RunSpec) -> str:
        folder = RunFolder.create(engine.runs, spec.model_dump())
        folder.set_status(replace(folder.status(), state="stopped"))
        return folder.id

    monkeypatch.setattr(LocalEngine, "submit", stopped)
    assert main(["train", "--engine", "local", "--method", "noise", "--runs", str(runs), "--epochs", "1"]) == 0
    assert capsys.readouterr().out.startswith("stopped: noise on digits")
