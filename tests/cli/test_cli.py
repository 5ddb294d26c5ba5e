"""The command line as a user meets it: exit status, one line, no traceback."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command import FLAGS, call, refused
from conftest import STUDENT, TEACHER, TINY, eventually, execute, new_run, rows

from dfkd_core import methods
from dfkd_core.data.catalogue import BENCHMARKS
from dfkd_core.data.sources import available_sources
from dfkd_core.methods import index
from dfkd_core.methods.ta_dfkd import TADFKD
from dfkd_core.networks.classifiers import students
from dfkd_core.runs.spec import RunSpec
from dfkd_core.store import SPECS, Owner, RunFolder, RunStatus, runs_in
from dfkd_core.teachers.cards import available_teachers

TRAIN = ["train", "--student", STUDENT, *FLAGS]


@pytest.fixture
def done(runs: Path) -> RunFolder:
    folder = new_run(runs, {"iterations": 2})
    execute(folder)
    return folder


# --- train and resume ------------------------------------------------------------------------------------------


def test_train_ends_in_one_line_with_everything(capsys: Any, runs: Path) -> None:
    status, out, err = call(capsys, *TRAIN)
    (folder,) = runs_in(runs)
    result = folder.status().result
    assert status == 0 and out.count("\n") == 1
    for part in (
        f"final {result['final']:.2%}",
        f"best {result['best']:.2%}",
        f"teacher {result['teacher']:.2%}",
        " s, ",
    ):
        assert part in out
    assert out.startswith("done: ta-dfkd on digits") and out.rstrip().endswith(folder.id)
    assert "6/6" in err and "step/s" in err, "a progress bar with the time left"


def test_every_flag_and_every_knob_reaches_the_run(capsys: Any, runs: Path) -> None:
    given = {"seed": "7", "samples": "5", "evaluate-every": "3", "preset": "paper", "teacher": TEACHER}
    knobs = {"adversarial": "kl", "tv-weight": "0.5", "selection": "false", "epochs": "1", "iterations": "1"}
    flags = [part for name, value in {**given, **knobs}.items() for part in (f"--{name}", value)]
    status, out, _ = call(capsys, *TRAIN, *flags, "--json")
    spec = json.loads(out)["spec"]
    assert status == 0
    assert (spec["seed"], spec["samples"], spec["evaluate_every"], spec["preset"]) == (7, 5, 3, "paper")
    assert (spec["config"]["adversarial"], spec["config"]["tv_weight"]) == ("kl", 0.5)
    assert spec["config"]["selection"] is False and spec["config"]["momentum"] == 0.9


@pytest.mark.parametrize("method", methods.available())
def test_help_shows_every_flag_and_every_knob_of_the_method(capsys: Any, method: str) -> None:
    status, out, _ = call(capsys, "train", "--method", method, "--help")
    assert status == 0
    for name in [*methods.find(method).Config.model_fields, "method", *RunSpec.asked_fields()]:
        assert "--" + name.replace("_", "-") + " " in out, name


def test_flags_show_their_type_choices_bounds_symbol_unit_and_default(capsys: Any) -> None:
    status, out, _ = call(capsys, "train", "--help")
    said = " ".join(out.replace("│", " ").split())
    assert status == 0 and "Knobs of ta-dfkd: Class prior" in out
    for part in (
        "{l1,kl,js,js-released}",
        "--bn-weight λ_BN Weight of the BatchNorm statistics term. A number from 0 to 1,000. [default: 10.0]",
        "--selection {true,false}",
        "--batch-size B Images per batch. A whole number from 4 to 16,384 images. [default: 1024]",
        "--threads INT torch threads on the CPU. From 1 to 256. [default: 1]",
        "One of lenet5, lenet5-half, ",
        "A number above 0 to 10.",
    ):
        assert part in said, part


@pytest.mark.parametrize(
    "command",
    ["", "resume", "pause", "step", "stop", "set", "runs", "show", "methods", "benchmarks", "teachers", "teacher"],
)
def test_every_command_has_help(capsys: Any, command: str) -> None:
    status, out, _ = call(capsys, *command.split(), "--help")
    assert status == 0 and out.startswith("Usage: dfkd_core")


def test_a_stopped_run_is_resumed_by_the_end_of_its_id(capsys: Any, runs: Path) -> None:
    folder = new_run(runs)
    execute(folder, lambda event: folder.command("stop") if event.step == 2 else None)
    status, out, _ = call(capsys, "resume", folder.id[-6:])
    assert status == 0 and out.startswith("done: ") and folder.id in out
    assert [row["step"] for row in rows(folder, "step")] == [1, 2, 3, 4, 5, 6]
    assert "nothing left to resume" in refused(capsys, "resume", folder.id)


def test_a_failed_run_exits_with_1_and_its_sentence(capsys: Any, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: TADFKD) -> None:
        raise MemoryError

    monkeypatch.setattr(TADFKD, "train", fail)
    status, out, err = call(capsys, *TRAIN)
    (folder,) = runs_in(runs)
    last = err.splitlines()[-1]
    assert (status, out) == (1, "") and "Traceback" not in err
    assert last.startswith(f"dfkd_core: run {folder.id} failed: Out of memory") and "batch_size (16)" in last
    status, out, _ = call(capsys, "resume", folder.id, "--json")
    assert status == 1 and json.loads(out)["state"] == "failed"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--width", "3"], "width = '3': should be greater than or equal to 4"),
        (["--width", "wide"], "width = 'wide': should be a valid integer"),
        (["--adversarial", "l3"], "adversarial = 'l3': should be 'l1', 'kl', 'js' or 'js-released'"),
        (["--preset", "huge"], "preset = 'huge': should be one of demo"),
        (["--method", "magic"], "method = 'magic': should be one of"),
        (["--teacher", "nobody"], "teacher = 'nobody': should be one of"),
        (["--teacher", "nothing.json"], "teacher = 'nothing.json'"),
        (["--student", "nobody"], "student = 'nobody': should be one of lenet5"),
        (["--benchmark", "omniglot"], "benchmark = 'omniglot': should be one of digits"),
        (
            ["--benchmark", "mnist", "--teacher", TEACHER],
            f"teacher = '{TEACHER}': takes other images than MNIST",
        ),
        (
            ["--benchmark", "fashion-mnist", "--teacher", "mnist-lenet5-plain"],
            "teacher = 'mnist-lenet5-plain': takes other images than Fashion-MNIST",
        ),
        (["--device", "cuda:7"], "device = 'cuda:7': is not here"),
        (["--seed", "-1"], "seed = '-1': should be greater than or equal to 0"),
        (["--checkpoint-seconds", "nan"], "checkpoint_seconds = 'nan': should be a finite number"),
        (["--wdith", "8"], "Unknown option: --wdith. Did you mean --width?"),
        (["--width"], "--width requires an argument"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_request_exits_with_2_and_one_line(capsys: Any, runs: Path, arguments: list[str], says: str) -> None:
    assert says in refused(capsys, *TRAIN, *arguments)
    assert not runs.exists(), "nothing was begun"


def test_a_folder_that_cannot_be_written_is_named(capsys: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert f"runs = '{tmp_path / 'file'}': cannot be written to" in refused(
        capsys, *TRAIN, "--runs", str(tmp_path / "file")
    )


@pytest.mark.parametrize("command", [[], ["dance"], ["show"], ["benchmarks", "download", "nothing"], ["teacher"]])
def test_a_command_that_does_not_exist_exits_with_2_and_one_line(capsys: Any, command: list[str]) -> None:
    refused(capsys, *command)


# --- looking ---------------------------------------------------------------------------------------------------


def test_show_tells_all_as_json(capsys: Any, done: RunFolder) -> None:
    status, out, _ = call(capsys, "show", done.id, "--json", "--events")
    shown = json.loads(out)
    assert status == 0 and (shown["id"], shown["state"], shown["step"]) == (done.id, "done", 2)
    assert shown["spec"]["config"]["width"] == TINY["width"] and shown["events"] == rows(done)
    assert shown["result"] == done.status().result
    status, out, _ = call(capsys, "show", done.id)
    assert status == 0 and "state: done" in out


def test_runs_lists_them_all_and_says_which_were_interrupted(capsys: Any, runs: Path, done: RunFolder) -> None:
    dead = new_run(runs)
    dead.set_status(RunStatus("running", step=3, total_steps=6))
    broken = new_run(runs)
    for name in SPECS:
        (broken.path / name).write_text('{"hat": 1}')
    status, out, err = call(capsys, "runs")
    lines = {line.split()[0]: line for line in out.splitlines()}
    assert status == 0 and lines.keys() == {done.id, dead.id}
    assert "done" in lines[done.id] and "2/2" in lines[done.id] and "accuracy" in lines[done.id]
    assert f"{broken.id}  damaged" in err and "spec.json is damaged" in err
    assert "interrupted" in lines[dead.id] and "3/6" in lines[dead.id]
    status, out, _ = call(capsys, "runs", "--json")
    assert {run["id"]: run["state"] for run in map(json.loads, out.splitlines())} == {
        done.id: "done",
        dead.id: "interrupted",
    }


def test_a_run_is_found_by_a_unique_beginning_or_end_only(capsys: Any, runs: Path, done: RunFolder) -> None:
    another = new_run(runs)
    for part in (done.id, done.id[-5:]):
        assert json.loads(call(capsys, "show", part, "--json")[1])["id"] == done.id
    assert "fits several runs" in refused(capsys, "show", os.path.commonprefix([done.id, another.id]))
    for nothing in ("", "nobody", "../" + done.id, "*"):
        assert "is not the id of a run" in refused(capsys, "show", nothing)


def test_methods_benchmarks_teachers_and_sources_are_listed(
    capsys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    teachers = [name for task in ("classifier", "generative", "diffusion") for name in available_teachers(task=task)]
    for command, names in (
        ("methods", methods.available()),
        ("benchmarks", BENCHMARKS),
        ("teachers", teachers),
        ("networks", students(8)),
        ("collected", [source.name for source in available_sources()]),
    ):
        status, out, _ = call(capsys, command)
        assert status == 0 and [line.split()[0] for line in out.splitlines()] == list(names)
        status, out, _ = call(capsys, command, "--json")
        assert status == 0 and [json.loads(line)["name"] for line in out.splitlines()] == list(names)


# --- what it costs to start ------------------------------------------------------------------------------------

START = """
import sys
from dfkd_core.cli.main import main

for command in sys.argv[1:]:
    try:
        main(command.split())
    except SystemExit:
        pass
    if "torch" in sys.modules:
        sys.exit(command)
"""


def test_torch_is_not_imported_for_what_does_not_need_it(
    runs: Path, start: Callable[..., subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(runs.parent / "cache"))
    index.listed()
    one = new_run(runs).id
    commands = ["--help", "runs", f"show {one}", "methods", "study --help", "study list", f"pause {one}"]
    process = start("-c", START, *commands)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err.splitlines()[-1]


# --- steering, in real processes -------------------------------------------------------------------------------


def test_a_run_in_another_terminal_is_paused_stepped_and_ended_there_by_ctrl_c(
    capsys: Any, runs: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    process = start("-m", "dfkd_core", *TRAIN, "--iterations", "100000", "--runs", str(runs))
    folder = eventually(lambda: next(iter(runs_in(runs)), None))
    eventually(lambda: rows(folder, "step"))
    assert call(capsys, "pause", folder.id)[0] == 0
    eventually(lambda: folder.status().state == "paused")
    step = folder.status().step
    assert call(capsys, "set", folder.id, "student-lr=0.02")[0] == 0
    assert "should read KNOB=VALUE" in refused(capsys, "set", folder.id, "student_lr")
    assert "student_lr = '-1': should be greater than 0" in refused(capsys, "set", folder.id, "student_lr=-1")
    eventually(lambda: rows(folder, "applied")[-1]["knobs"] == {"student_lr": 0.02})
    assert call(capsys, "step", folder.id)[0] == 0
    eventually(lambda: folder.status().step == step + 1)
    assert call(capsys, "resume", folder.id) == (0, f"run {folder.id}: told to go on\n", "")
    eventually(lambda: folder.status().state == "running")
    assert f"goes on already, in process {process.pid} on " in refused(capsys, "resume", folder.id)
    eventually(lambda: len(rows(folder, "step")) > step + 3)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0 and out.startswith("stopped: ") and "Traceback" not in err
    newest = max((folder.path / "checkpoints").glob("*.json"))
    assert json.loads(newest.read_text())["step"] == folder.status().step and folder.status().state == "stopped"


def test_a_run_is_told_to_stop_as_long_as_it_lives(capsys: Any, steered: RunFolder) -> None:
    assert call(capsys, "stop", steered.id)[0] == 0
    eventually(lambda: steered.status().state == "stopped")
    for command in ("pause", "step", "stop"):
        assert f"is stopped; only a live run can be told to {command}" in refused(capsys, command, steered.id)


def test_a_run_of_a_machine_that_is_gone_is_taken_over_when_asked_to(capsys: Any, runs: Path) -> None:
    folder = new_run(runs, {"iterations": 2})
    folder.begin_attempt().close()
    folder.set_status(RunStatus("running", step=1, total_steps=2))
    folder.leases.write_owner(1, Owner(7, "elsewhere", "another"))
    status, out, _ = call(capsys, "show", folder.id)
    assert status == 0 and "state: running" in out
    assert "goes on in process 7 on elsewhere, as far as can be seen from this machine. If that machine" in out
    said = refused(capsys, "resume", folder.id)
    assert "elsewhere" in said and f"python -m dfkd_core resume {folder.id} --take-over" in said
    assert call(capsys, "resume", folder.id, "--take-over")[0] == 0 and folder.status().state == "done"


def test_a_reader_that_has_seen_enough_is_no_error(start: Callable[..., subprocess.Popen[str]]) -> None:
    process = start("-m", "dfkd_core", "benchmarks")
    process.stdout.close()
    process.stdout = None
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
