"""``run``: commands, knobs changed while it goes on, who carries it out."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import eventually, execute, metric_rows, new_run, rows, student_hash, tiny_spec
from running import PAUSED, applied, assert_bit_identical, at_step, commanding, in_background_with

from dfkd_core.analysis.timeline import Timeline
from dfkd_core.engine import InlineEngine
from dfkd_core.errors import HeldError, StoreError
from dfkd_core.events import Event, Step
from dfkd_core.runs import loop as run_module
from dfkd_core.store import RunFolder, RunStatus
from dfkd_core.store.checkpoints import save_checkpoint
from dfkd_core.store.sealed import sealed
from dfkd_core.study.traces import Growing

Start = Callable[..., subprocess.Popen[str]]

# --- commands --------------------------------------------------------------------------------------------------


def test_a_paused_run_stays_where_it_is_and_goes_on_when_told(steered: RunFolder) -> None:
    assert steered.status().is_live and steered.status().step == 1
    assert [row["step"] for row in rows(steered, "step")] == [1]
    steered.command("resume")
    eventually(lambda: len(rows(steered, "step")) > 3)
    assert steered.status().state == "running"
    steered.command("pause")
    eventually(lambda: steered.status().state == "paused")
    assert applied(steered)[:2] == [(1, "pause"), (1, "resume")] and applied(steered)[2][1] == "pause"


def test_one_step_is_one_step(steered: RunFolder) -> None:
    for expected in (2, 3):
        steered.command("step")
        eventually(lambda expected=expected: steered.status().step == expected and steered.status().state == "paused")
        assert rows(steered, "step")[-1]["step"] == expected
    assert applied(steered) == [(1, "pause"), (1, "step"), (2, "pause"), (2, "step"), (3, "pause")]
    assert [row["state"] for row in rows(steered, "status")] == ["running"] + ["paused"] * 5, "no flicker for a step"


@pytest.mark.parametrize(
    ("commands", "step", "state"),
    [
        (["step", "step"], 3, "paused"),
        (["step", "step", "step"], 4, "paused"),
        (["pause", "pause"], 1, "paused"),
        (["resume", "pause"], 1, "paused"),
        (["step", "pause"], 1, "paused"),
        (["step", "resume"], None, "running"),
        (["resume", "resume"], None, "running"),
        (["dance"], 1, "paused"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_commands_that_come_together_all_count(
    steered: RunFolder, commands: list[str], step: int | None, state: str
) -> None:
    with steered.files.append("attempts/1/control.jsonl") as file:  # one write, so read together
        file.write(b"".join(sealed({"command": command, "knobs": {}}) + b"\n" for command in commands))
    if step is None:
        eventually(lambda: len(rows(steered, "step")) > 6)
    else:
        eventually(lambda: rows(steered, "step")[-1]["step"] >= step)
        threading.Event().wait(0.5)  # and no further
        assert rows(steered, "step")[-1]["step"] == step
    assert steered.status().state == state


def test_a_step_asked_of_a_run_that_is_not_paused_pauses_it(tiny: RunFolder) -> None:
    thread_free = in_background_with(tiny, "step")
    eventually(lambda: tiny.status().state == "paused")
    assert rows(tiny, "step")[-1]["step"] == 1
    tiny.command("stop")
    thread_free.join(20)
    assert tiny.status().state == "stopped"


@pytest.mark.parametrize(("number", "state"), [(signal.SIGTERM, "interrupted"), (signal.SIGINT, "stopped")])
def test_a_signal_ends_it_with_a_checkpoint(
    tiny: RunFolder, whole: RunFolder, number: signal.Signals, state: str
) -> None:
    process, before = list[int](), signal.signal(signal.SIGTERM, lambda received, _: process.append(received))
    try:
        status = execute(tiny, at_step(3, lambda: signal.raise_signal(number)))
    finally:
        signal.signal(signal.SIGTERM, before)
    assert (status.state, status.step) == (state, 3)
    assert process == [signal.SIGTERM] * (number == signal.SIGTERM), "which hears it, too"
    assert (tiny.path / "checkpoints" / "step-00000003.json").exists()
    execute(tiny)
    assert_bit_identical(tiny, whole)


def test_a_signal_ends_a_paused_run_too_and_then_its_process(tiny: RunFolder, start: Start) -> None:
    process = start("-c", PAUSED, str(tiny.path))
    eventually(lambda: tiny.status().state == "paused")
    process.terminate()
    assert process.wait(20) == -signal.SIGTERM and tiny.status().state == "interrupted"
    assert "was told to end" in tiny.status().message


def test_commands_of_an_earlier_attempt_are_over(tiny: RunFolder) -> None:
    execute(tiny, commanding(tiny, 2, "stop", "pause", "stop"))
    assert execute(tiny).state == "done"


# --- knobs changed while it goes on ----------------------------------------------------------------------------


def changing(folder: RunFolder, changes: dict[int, dict[str, Any]], stop: int = 0) -> Callable[[Event], None]:
    """A progress callback that changes knobs when given steps close, and stops the run after ``stop``."""

    def act(event: Event) -> None:
        if isinstance(event, Step) and event.step in changes:
            folder.command("set", **changes[event.step])
        if isinstance(event, Step) and event.step == stop:
            folder.command("stop")

    return act


CHANGES = {2: {"student_lr": 0.01, "adversarial_weight": 0.5}, 4: {"generator_lr": 0.1, "posterior_cut": 0.9}}


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run whose knobs were changed while it went on, never stopped."""
    folder = new_run(tmp_path_factory.mktemp("changed"))
    assert execute(folder, changing(folder, CHANGES)).state == "done"
    return folder


def test_a_live_change_takes_effect_at_the_next_step_and_is_written_down(changed: RunFolder, whole: RunFolder) -> None:
    made = rows(changed, "applied")
    assert [(row["step"], row["command"], row["knobs"]) for row in made] == [
        (2, "set", CHANGES[2]),
        (4, "set", CHANGES[4]),
    ]
    assert made[0]["detail"] == "student_lr 0.1 → 0.01, adversarial_weight 1.0 → 0.5"
    ours, theirs = ([row["values"] for row in rows(folder, "step")] for folder in (changed, whole))
    assert ours[:2] == theirs[:2] and ours[2]["learning_rate"] == pytest.approx(theirs[2]["learning_rate"] / 10)
    assert all(ours[step] != theirs[step] for step in range(2, 6))


@pytest.mark.parametrize("lost", [False, True], ids=["from the checkpoint", "from the beginning"])
@pytest.mark.parametrize("stop", [3, 5])
def test_a_resumed_run_changes_its_knobs_at_the_same_steps(
    tiny: RunFolder, changed: RunFolder, stop: int, lost: bool
) -> None:
    execute(tiny, changing(tiny, {step: knobs for step, knobs in CHANGES.items() if step <= stop}, stop))
    if lost:
        forget_checkpoints(tiny)
    execute(tiny, changing(tiny, {step: knobs for step, knobs in CHANGES.items() if step > stop}))
    assert_bit_identical(tiny, changed)
    assert [row["step"] for row in rows(tiny, "applied") if row["command"] == "set"] == [2, 4]


class Killed(BaseException):
    """No ``Exception``, so that nothing is written."""


def killed(folder: RunFolder, step: int, **knobs: Any) -> None:
    """Carry it out until it is killed when ``step`` closes, told at once to change ``knobs``."""
    lease = folder.begin_attempt()
    if knobs:
        folder.command("set", **knobs)

    def kill() -> None:
        raise Killed

    with pytest.raises(Killed):
        run_module.run(folder, lease, at_step(step, kill))


@pytest.mark.parametrize("again", [False, True])
def test_a_change_before_a_resumed_run_has_caught_up_takes_back_what_did_not_happen(runs: Path, again: bool) -> None:
    folder, straight = new_run(runs), new_run(runs)
    execute(straight, changing(straight, {1: {"student_lr": 0.001}}))
    watched, trace = Timeline(folder), Growing(folder)
    killed(folder, 5)  # before its first checkpoint
    watched.update(), trace.update()
    assert watched.step == 4 and 3 in watched.frames
    killed(folder, 3, student_lr=0.001)
    watched.update(), trace.update()
    assert watched.step == 2 and 3 not in watched.frames
    if again:
        killed(folder, 3)
    assert execute(folder).state == "done"
    assert student_hash(folder) == student_hash(straight) and metric_rows(folder) == metric_rows(straight)
    watched.update()
    assert watched.curves["student_loss"] == timeline(straight).curves["student_loss"]
    assert [watched.frames.keys(), watched.step] == [timeline(straight).frames.keys(), straight.status().step]
    ours, theirs = (one["columns"] | {"seconds": []} for one in (trace.update(), Growing(straight).update()))
    assert ours == theirs


def test_changes_are_repeated_by_step_not_in_the_order_in_which_they_were_made(runs: Path) -> None:
    folder, straight = new_run(runs), new_run(runs)
    execute(straight, changing(straight, {1: CHANGES[2], 4: CHANGES[4]}))
    execute(folder, changing(folder, {4: CHANGES[4]}, 5))
    forget_checkpoints(folder)
    lease = folder.begin_attempt()
    folder.command("set", **CHANGES[2]), folder.command("stop")
    run_module.run(folder, lease)
    forget_checkpoints(folder)
    assert execute(folder).state == "done"
    assert [row["step"] for row in rows(folder, "applied") if row["command"] == "set"] == [4, 1]
    assert student_hash(folder) == student_hash(straight) and metric_rows(folder) == metric_rows(straight)


def forget_checkpoints(folder: RunFolder) -> None:
    for path in (folder.path / "checkpoints").iterdir():
        path.unlink()


def timeline(folder: RunFolder) -> Timeline:
    found = Timeline(folder)
    found.update()
    return found


@pytest.mark.parametrize(
    ("knobs", "says"),
    [
        ({"student_lr": -1.0}, "student_lr = -1.0: should be greater than 0"),
        ({"batch_size": 32}, "batch_size = 32: cannot change while a run goes on; these can: adversarial_weight"),
        ({"nonsense": 1}, "nonsense = 1: cannot change while a run goes on"),
    ],
)
def test_a_wrong_live_change_is_refused_in_a_sentence_and_changes_nothing(
    tiny: RunFolder, whole: RunFolder, knobs: dict[str, Any], says: str
) -> None:
    execute(tiny, changing(tiny, {2: knobs}))
    (refused,) = rows(tiny, "applied")
    assert refused["command"] == "refused" and refused["detail"].startswith(says)
    assert_bit_identical(tiny, whole)


# --- the inline engine -----------------------------------------------------------------------------------------


def test_the_inline_engine_runs_to_the_end_and_resumes(runs: Path, whole: RunFolder) -> None:
    engine = InlineEngine(runs)
    run_id = engine.submit(tiny_spec())
    assert engine.poll()[run_id].state == "done"
    with pytest.raises(StoreError, match="nothing left to resume"):
        engine.resume(run_id)
    stopping = InlineEngine(runs, at_step(2, lambda: stopping.stop((stopping.poll().keys() - {run_id}).pop())))
    stopped = stopping.submit(tiny_spec())
    assert engine.poll()[stopped].state == "stopped"
    engine.resume(stopped)
    assert_bit_identical(RunFolder(runs / stopped), whole)


def test_two_attempts_at_one_run_at_once_are_refused(steered: RunFolder) -> None:
    with pytest.raises(HeldError, match=f"goes on already, in process {os.getpid()} on "):
        steered.begin_attempt()


@pytest.mark.parametrize("state", ["paused", "running"])
def test_a_run_that_a_later_attempt_has_taken_over_stops_and_writes_no_more(runs: Path, state: str) -> None:
    """As where its owner was taken for dead: its machine slept, or its lock could not be seen."""
    folder, ended = new_run(runs, {"iterations": 500}), list[RunStatus]()
    lease = folder.begin_attempt()
    if state == "paused":
        folder.command("pause")
    thread = threading.Thread(target=lambda: ended.append(run_module.run(folder, lease)), daemon=True)
    thread.start()
    eventually(lambda: folder.status().state == state and rows(folder, "step"))
    with folder.leases.take(is_over=lambda attempt: True):
        thread.join(30)
        (status,) = ended
        assert status.state == "interrupted" and "attempt 2, process" in status.message
        assert folder.status().state == state, "which is for the other to change"
        assert rows(folder, "status")[-1]["state"] == state and len(rows(folder, "step")) < 500


def test_the_owner_of_a_running_run_is_its_process(steered: RunFolder) -> None:
    owner = steered.status().owner
    assert owner is not None and owner.pid == os.getpid() and owner.is_here and owner.seen


def test_old_files_in_the_folder_do_not_disturb(tiny: RunFolder, whole: RunFolder) -> None:
    """A checkpoint folder that was copied along half, a status of nobody."""
    (tiny.path / "checkpoints" / "step-00000003.json").write_text("{}")
    tiny.files.write_json("status.json", {"state": "running"})
    shutil.copytree(whole.path / "samples", tiny.path / "samples", dirs_exist_ok=True)
    execute(tiny)
    assert_bit_identical(tiny, whole)


def test_a_checkpoint_of_other_networks_fails_with_a_sentence(tiny: RunFolder) -> None:
    save_checkpoint(tiny, 3, {"method": {"step": 3, "student": {}}, "elapsed": 0.0, "changed": [], "evaluated": []})
    status = execute(tiny)
    assert status.state == "failed" and status.message
