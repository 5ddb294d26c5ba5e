"""``run``: resuming, steering, ending, and what it says when something breaks."""

from __future__ import annotations

import errno
import math
import os
import random
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import (
    STUDENT,
    TEACHER,
    TINY,
    eventually,
    execute,
    metric_rows,
    new_run,
    rows,
    student_hash,
    tiny_method,
    tiny_spec,
)
from safetensors.torch import load_file
from torch.utils.data import Dataset

from dfkd_core import methods
from dfkd_core.engine import InlineEngine
from dfkd_core.errors import HeldError, StoreError
from dfkd_core.events import Event, Step
from dfkd_core.kit.contract import Problem
from dfkd_core.losses import generator as losses
from dfkd_core.methods.ta_dfkd import TADFKD
from dfkd_core.runs import loop as run_module
from dfkd_core.runs.evaluation import ClassifierEvaluator
from dfkd_core.store import EventReader, EventWriter, Place, RunFolder, RunStatus
from dfkd_core.store.checkpoints import save_checkpoint

Start = Callable[..., subprocess.Popen[str]]


def at_step(step: int, action: Callable[[], Any]) -> Callable[[Event], None]:
    """A progress callback that acts once, when ``step`` closes."""
    return lambda event: action() if isinstance(event, Step) and event.step == step else None


def commanding(folder: RunFolder, step: int, *names: str) -> Callable[[Event], None]:
    return at_step(step, lambda: [folder.command(name) for name in names])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run that was never stopped: the oracle."""
    folder = new_run(tmp_path_factory.mktemp("whole"))
    assert execute(folder).state == "done"
    return folder


def assert_bit_identical(folder: RunFolder, whole: RunFolder) -> None:
    assert folder.status().state == "done"
    assert student_hash(folder) == student_hash(whole)
    assert metric_rows(folder) == metric_rows(whole)
    numbers = [row["seq"] for row in rows(folder)]
    assert numbers == list(range(1, len(numbers) + 1))
    result, expected = folder.status().result, whole.status().result
    assert {**result, "seconds": 0} == {**expected, "seconds": 0}


# --- a whole run -----------------------------------------------------------------------------------------------


def test_a_run_leaves_a_folder_that_tells_everything(whole: RunFolder) -> None:
    status = whole.status()
    assert (status.state, status.step, status.total_steps, status.owner) == ("done", 6, 6, None)
    assert [row["step"] for row in rows(whole, "step")] == [1, 2, 3, 4, 5, 6]
    assert [row["step"] for row in rows(whole, "evaluated")] == [0, 2, 4, 6]
    assert [row["step"] for row in rows(whole, "samples")] == [1, 3, 6]
    assert [row["state"] for row in rows(whole, "status")] == ["running", "done"]
    facts = whole.environment()
    assert facts["threads"] == 1 and facts["repeats_exactly"] and len(facts["fingerprint"]) == 64
    assert {"spec.json", "student.safetensors", "attempts/1/events.jsonl"} <= set(
        whole.files.read_json("manifest.json")
    )


def test_the_final_accuracy_stands_beside_the_best_and_the_teachers(whole: RunFolder) -> None:
    result, curve = whole.status().result, [row["accuracy"] for row in rows(whole, "evaluated")]
    assert (result["measure"], result["final"], result["best"]) == ("accuracy", curve[-1], max(curve))
    assert result["teacher"] > 0.95 and result["seconds"] > 0


def test_times_never_run_backwards(whole: RunFolder) -> None:
    elapsed = [row["elapsed"] for row in rows(whole)]
    assert elapsed == sorted(elapsed)


def test_the_stored_student_is_the_one_that_was_evaluated(whole: RunFolder) -> None:
    from dfkd_core.networks.classifiers import build_classifier
    from dfkd_core.teachers.load import load_teacher

    teacher, card = load_teacher(TEACHER)
    student = build_classifier(STUDENT, card.image.spec())
    student.load_state_dict(load_file(whole.path / "student.safetensors"))
    method = TADFKD(
        Problem(teacher, student, card.image.spec(), torch.device("cpu")), TADFKD.Config.build("demo", TINY)
    )
    measured = ClassifierEvaluator("digits", card.image.spec(), teacher, student, torch.device("cpu")).measure(
        method, 0
    )
    assert measured.accuracy == whole.status().result["final"]


@pytest.mark.parametrize(("seed", "same"), [(0, True), (1, False)])
def test_the_seed_determines_every_row(runs: Path, whole: RunFolder, seed: int, same: bool) -> None:
    folder = new_run(runs, seed=seed)
    torch.manual_seed(12345)  # what the caller did before must not matter
    torch.rand(7)
    execute(folder)
    assert (metric_rows(folder) == metric_rows(whole)) is same
    assert (student_hash(folder) == student_hash(whole)) is same


@pytest.mark.parametrize(
    "recording",
    [
        {"evaluate_every": 1},
        {"evaluate_every": 100},
        {"samples_every": 0},
        {"health_every": 1},
        {"log_every": 4},
        {"checkpoint_seconds": 0},
    ],
    ids=str,
)
def test_looking_more_or_less_often_does_not_change_the_student(
    runs: Path, whole: RunFolder, recording: dict[str, Any]
) -> None:
    folder = new_run(runs, **recording)
    assert execute(folder).state == "done"
    assert student_hash(folder) == student_hash(whole)


def test_a_run_gives_back_the_threads_generators_and_signals_that_it_borrowed(tiny: RunFolder) -> None:
    torch.set_num_threads(2)
    torch.manual_seed(5)
    expected, handler = torch.rand(3), signal.getsignal(signal.SIGTERM)
    torch.manual_seed(5)
    execute(tiny)
    assert torch.equal(torch.rand(3), expected) and signal.getsignal(signal.SIGTERM) is handler
    assert torch.get_num_threads() == 2
    torch.set_num_threads(1)


@pytest.mark.parametrize("student", ["lenet5", "lenet5-half", "lenet5-bn", "resnet8"])
def test_other_students_and_more_samples_than_a_batch_work(runs: Path, student: str) -> None:
    folder = new_run(runs, {"iterations": 2}, student=student, samples=2048)
    assert execute(folder).state == "done", folder.status().message
    assert [row["count"] for row in rows(folder, "samples")] == [16]


@pytest.mark.usefixtures("few_judged")
@pytest.mark.parametrize("method", methods.available())
def test_every_method_resumes_bit_identically(runs: Path, method: str) -> None:
    oracle, stopped = (new_run(runs, method=method) for _ in range(2))
    execute(oracle)
    execute(stopped, commanding(stopped, 2, "stop"))
    execute(stopped)
    assert_bit_identical(stopped, oracle)


# --- stopping and resuming -------------------------------------------------------------------------------------


@pytest.mark.parametrize("stops", [(1,), (2,), (5,), (6,), (1, 3, 4)], ids=str)
def test_a_stopped_run_resumes_bit_identically(tiny: RunFolder, whole: RunFolder, stops: tuple[int, ...]) -> None:
    for step in stops:
        status = execute(tiny, commanding(tiny, step, "stop"))
        assert (status.state, status.step, status.owner) == ("stopped", step, None)
        assert status.result["final"] is not None
    execute(tiny)
    assert_bit_identical(tiny, whole)
    assert [row["step"] for row in rows(tiny, "applied")] == list(stops)


def test_a_run_with_other_knobs_resumes_bit_identically_too(runs: Path) -> None:
    knobs = {"augmentation": "crop+flip", "tv_weight": 1.0, "l2_weight": 1.0, "class_balance_weight": 1.0}
    stopped, whole = (new_run(runs, knobs) for _ in range(2))
    execute(stopped, commanding(stopped, 3, "stop"))
    for folder in (stopped, whole):
        execute(folder)
    assert_bit_identical(stopped, whole)


@pytest.mark.parametrize("step", [1, 2, 3, 4, 5, 6])
def test_what_a_checkpoint_was_taken_before_comes_again_unseen(tiny: RunFolder, whole: RunFolder, step: int) -> None:
    """The run dies two steps after its last checkpoint; the log is ahead of it."""

    class Killed(BaseException):
        pass

    def die() -> None:
        raise Killed

    if step > 2:
        execute(tiny, commanding(tiny, step - 2, "stop"))
    with pytest.raises(Killed):
        execute(tiny, at_step(step, die))
    seen = metric_rows(tiny)
    execute(tiny)
    assert metric_rows(tiny)[: len(seen)] == seen
    assert_bit_identical(tiny, whole)


def test_a_flipped_bit_in_the_newest_checkpoint_costs_steps_but_not_bits(tiny: RunFolder, whole: RunFolder) -> None:
    for step in (2, 4):
        execute(tiny, commanding(tiny, step, "stop"))
    newest = tiny.path / "checkpoints" / "step-00000004.safetensors"
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    newest.write_bytes(data)
    execute(tiny)
    assert_bit_identical(tiny, whole)


def test_a_killed_process_loses_no_row_and_resumes_bit_identically(runs: Path) -> None:
    """Real ``kill -9`` at random moments, a reader watching. Forked, since importing torch each time takes seconds."""
    spec = tiny_spec({"iterations": 40}, checkpoint_seconds=0.1, samples_every=5, evaluate_every=7)
    folder, whole = (RunFolder.create(runs, spec.model_dump()) for _ in range(2))
    draw, reader, seen = random.Random(3), EventReader(folder), []

    def read_until(count: int) -> bool:
        seen.extend(reader.read())
        return len(seen) >= count

    for more_rows in (0, 6, 9, 3, 8, 5):
        lease = folder.begin_attempt()
        child = os.fork()
        if child == 0:
            try:
                run_module.run(folder, lease)
            finally:
                os._exit(0)
        lease.give_to(child)
        eventually(partial(read_until, len(seen) + more_rows))
        time.sleep(draw.uniform(0, 0.1))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        read_until(0)
        assert folder.status_seen().state == "interrupted"
    execute(folder)
    assert seen + reader.read() == rows(folder), "each row once, none lost, none changed"
    execute(whole)
    assert_bit_identical(folder, whole)


PAUSED = """
import sys
from pathlib import Path
from dfkd_core.runs.loop import run
from dfkd_core.store import RunFolder
folder = RunFolder(Path(sys.argv[1]))
lease = folder.begin_attempt()
folder.command("pause")
run(folder, lease)
"""


def test_a_run_killed_at_its_very_end_is_finished_by_a_resume(tiny: RunFolder, whole: RunFolder) -> None:
    execute(tiny)
    tiny.set_status(RunStatus("running", step=6, total_steps=6))
    (tiny.path / "manifest.json").unlink()
    (tiny.path / "student.safetensors").unlink()
    assert tiny.status_seen().state == "interrupted"
    execute(tiny)
    assert_bit_identical(tiny, whole)
    assert (tiny.path / "manifest.json").exists()


# --- commands --------------------------------------------------------------------------------------------------


def in_background(folder: RunFolder) -> threading.Thread:
    thread = threading.Thread(target=execute, args=(folder,), daemon=True)
    thread.start()
    return thread


@pytest.fixture
def steered(runs: Path) -> RunFolder:
    """A run that is paused after its first step, in another thread; it is stopped at the end of the test."""
    folder = new_run(runs, {"iterations": 500})
    lease = folder.begin_attempt()
    folder.command("pause")
    threading.Thread(target=run_module.run, args=(folder, lease), daemon=True).start()
    eventually(lambda: folder.status().state == "paused" and (folder.path / "checkpoints/step-00000001.json").exists())
    yield folder
    folder.command("stop")
    eventually(lambda: folder.status().state == "stopped")


def applied(folder: RunFolder) -> list[tuple[int, str]]:
    return [(row["step"], row["command"]) for row in rows(folder, "applied")]


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
        file.write("".join(f'{{"command": "{command}"}}\n' for command in commands).encode())
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


def in_background_with(folder: RunFolder, command: str) -> threading.Thread:
    lease = folder.begin_attempt()
    folder.command(command)
    thread = threading.Thread(target=run_module.run, args=(folder, lease), daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_with_a_checkpoint(tiny: RunFolder, whole: RunFolder, number: signal.Signals) -> None:
    status = execute(tiny, at_step(3, lambda: signal.raise_signal(number)))
    assert (status.state, status.step) == ("stopped", 3)
    assert (tiny.path / "checkpoints" / "step-00000003.json").exists()
    execute(tiny)
    assert_bit_identical(tiny, whole)


def test_a_signal_stops_a_paused_run_too(tiny: RunFolder, start: Start) -> None:
    process = start("-c", PAUSED, str(tiny.path))
    eventually(lambda: tiny.status().state == "paused")
    process.terminate()
    assert process.wait(20) == 0 and tiny.status().state == "stopped"


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
        for path in (tiny.path / "checkpoints").iterdir():
            path.unlink()
    execute(tiny, changing(tiny, {step: knobs for step, knobs in CHANGES.items() if step > stop}))
    assert_bit_identical(tiny, changed)
    assert [row["step"] for row in rows(tiny, "applied") if row["command"] == "set"] == [2, 4]


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


# --- failing ---------------------------------------------------------------------------------------------------


def broken(step: int, error: BaseException) -> Callable[[Any, Any], None]:
    """A student phase that raises at ``step``."""
    original = TADFKD.student_phase

    def phase(self: TADFKD, seen: Any) -> None:
        if self.step == step:
            raise error
        original(self, seen)

    return phase


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (
            torch.OutOfMemoryError("CUDA out of memory"),
            "Out of memory on cpu after step 2: lower batch_size (16), width (4)",
        ),
        (MemoryError(), "Out of memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), "Out of memory"),
        (ZeroDivisionError("division by zero"), "ZeroDivisionError: division by zero (the traceback is in worker.log)"),
        (KeyError(), "KeyError: no message"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_a_failure_ends_in_one_sentence(
    tiny: RunFolder, whole: RunFolder, monkeypatch: pytest.MonkeyPatch, capfd: Any, error: Exception, says: str
) -> None:
    execute(tiny, commanding(tiny, 2, "stop"))
    with monkeypatch.context() as patch:
        patch.setattr(TADFKD, "student_phase", broken(3, error))
        status = execute(tiny)
    assert status.state == "failed" and says in status.message and "\n" not in status.message
    assert tiny.status().message == status.message and status.owner is None
    assert type(error).__name__ in (tiny.path / "attempts/2/worker.log").read_text()
    assert capfd.readouterr().err == "", "the sentence is for whoever asked; the traceback lies in the folder"
    execute(tiny)
    assert_bit_identical(tiny, whole)


@pytest.mark.parametrize("sheet", [1, 100], ids=["samples due", "no samples due"])
def test_a_nan_fails_with_step_term_and_last_values(runs: Path, monkeypatch: pytest.MonkeyPatch, sheet: int) -> None:
    folder = new_run(runs, {"l2_weight": 1.0}, samples_every=sheet)
    calls = iter(range(100))
    original = losses.image_norm
    monkeypatch.setattr(losses, "image_norm", lambda images: original(images) * (math.nan if next(calls) == 3 else 1))
    status = execute(folder)
    assert status.state == "failed"
    assert status.message.startswith("L2 became nan at step 4; last finite values: student_loss ")
    assert [row["step"] for row in rows(folder, "step")] == [1, 2, 3]


def test_a_generator_that_explodes_fails_with_a_sentence(runs: Path) -> None:
    folder = new_run(
        runs, {"student_lr": 10, "momentum": 0.999, "iterations": 400, "student_steps": 20}, samples_every=1
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TADFKD.Config, "student_rate", lambda self, done: 1e20)
        status = execute(folder)
    assert status.state == "failed" and " at step " in status.message and "last finite values" in status.message


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"teacher": "nobody"}, "Teacher = 'nobody'"),
        ({"student": "nobody"}, "Network = 'nobody'"),
        ({"benchmark": "folder:/nowhere"}, "Benchmark = 'folder:/nowhere'"),
    ],
)
def test_what_has_vanished_since_the_request_is_named(runs: Path, change: dict[str, str], says: str) -> None:
    folder = RunFolder.create(runs, {**tiny_spec().model_dump(), **change})
    status = execute(folder)
    assert status.state == "failed" and status.message.startswith(says)


@pytest.mark.parametrize("spec", [{}, {"hat": 1}, {"seed": "x"}])
def test_a_specification_of_another_version_is_named(runs: Path, spec: dict[str, Any]) -> None:
    folder = RunFolder.create(runs, {**tiny_spec().model_dump(), **spec})
    if not spec:
        (folder.path / "spec.json").write_text("{")
    with pytest.raises(StoreError, match=f"run {folder.id}: .*spec.json"):
        execute(folder)


# --- a full disk -----------------------------------------------------------------------------------------------


class FullDisk:
    """Every write but of the status raises while ``full``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, error: int = errno.ENOSPC) -> None:
        self.full, self.error = False, error
        for module, name in ((Place, "write"), (run_module, "save_checkpoint"), (EventWriter, "flush")):
            monkeypatch.setattr(module, name, self.guarding(getattr(module, name)))

    def guarding(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def write(*arguments: Any, **options: Any) -> Any:
            if self.full and "status.json" not in arguments:
                raise OSError(self.error, os.strerror(self.error))
            return original(*arguments, **options)

        return write


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("step", [1, 3, 6])
def test_a_full_disk_pauses_the_run_and_loses_nothing(
    tiny: RunFolder, whole: RunFolder, monkeypatch: pytest.MonkeyPatch, error: int, step: int
) -> None:
    disk, lease = FullDisk(monkeypatch, error), tiny.begin_attempt()

    def fill() -> None:
        disk.full = True

    thread = threading.Thread(target=run_module.run, args=(tiny, lease, at_step(step, fill)), daemon=True)
    thread.start()
    eventually(lambda: tiny.status().state == "paused")
    assert "disk is full" in tiny.status().message and tiny.status().is_live
    seen = rows(tiny)
    disk.full = False
    tiny.command("resume")
    thread.join(30)
    assert rows(tiny)[: len(seen)] == seen
    assert_bit_identical(tiny, whole)
    told = [(row["state"], bool(row["message"])) for row in rows(tiny, "status")]
    assert told == [("running", False), ("paused", True), ("running", False), ("done", False)]


def test_a_run_can_be_stopped_while_the_disk_is_full_and_resumed_later(
    tiny: RunFolder, whole: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, lease = FullDisk(monkeypatch), tiny.begin_attempt()
    thread = threading.Thread(
        target=run_module.run, args=(tiny, lease, at_step(4, lambda: setattr(disk, "full", True))), daemon=True
    )
    thread.start()
    eventually(lambda: tiny.status().state == "paused")
    tiny.command("stop")
    thread.join(30)
    assert tiny.status().state == "failed" and "disk was full" in tiny.status().message
    disk.full = False
    execute(tiny)
    assert_bit_identical(tiny, whole)


@pytest.mark.parametrize("size", ["80k", "300k"])
def test_a_run_on_a_really_full_disk_is_finished_once_there_is_room(
    tmp_path: Path, whole: RunFolder, size: str
) -> None:
    place = tmp_path / "disk"
    place.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place]).returncode:
        pytest.skip("only root can mount a small disk")
    try:
        folder = new_run(place)
        thread = in_background(folder)
        eventually(lambda: "disk is full" in folder.status().message or not thread.is_alive())
        subprocess.run(["mount", "-o", "remount,size=50m", place], check=True)
        for _ in range(50):
            if thread.is_alive():
                folder.command("resume")
                thread.join(0.2)
        if folder.status_seen().state != "done":  # there was not even room to begin, or to say so
            assert folder.status_seen().state in ("failed", "interrupted")
            execute(folder)
        assert_bit_identical(folder, whole)
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


# --- evaluation and what a method may see ----------------------------------------------------------------------


def test_without_evaluation_data_the_agreement_is_reported(runs: Path, mnist_sized_teacher: str) -> None:
    folders = [new_run(runs, {"iterations": 2}, benchmark="mnist", teacher=mnist_sized_teacher) for _ in range(2)]
    for folder in folders:
        status = execute(folder)
        assert status.state == "done", status.message
        assert status.result["measure"] == "agreement" and status.result["teacher"] is None
        assert all(row["accuracy"] is None and 0 <= row["agreement"] <= 1 for row in rows(folder, "evaluated"))
    assert metric_rows(folders[0]) == metric_rows(folders[1])


def test_evaluating_leaves_the_networks_as_they_were() -> None:
    method = tiny_method()
    evaluation = ClassifierEvaluator("digits", method.image, method.teacher, method.student, method.device)
    before = {name: tensor.clone() for name, tensor in method.student.state_dict().items()}
    for training in (True, False):
        method.student.train(training)
        evaluation.measure(method, 0)
        assert method.student.training is training and not method.teacher.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in method.student.state_dict().items())


def reachable_tensors(thing: Any, seen: set[int] | None = None) -> list[torch.Tensor]:
    """All tensors that can be got at from ``thing`` through attributes and containers."""
    seen = set() if seen is None else seen
    if id(thing) in seen or isinstance(thing, str | int | float | type) or thing is None:
        return []
    seen.add(id(thing))
    found = [thing] if isinstance(thing, torch.Tensor) else []
    inside = (
        list(thing.values())
        if isinstance(thing, dict)
        else list(thing)
        if isinstance(thing, list | tuple | set)
        else []
    )
    inside += list(vars(thing).values()) if hasattr(thing, "__dict__") else []
    return found + [tensor for part in inside for tensor in reachable_tensors(part, seen)]


def test_no_test_image_can_be_reached_from_what_a_method_is_given(
    tiny: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dfkd_core.data.catalogue import find_benchmark

    given: list[Problem] = []
    original = TADFKD.__init__
    monkeypatch.setattr(
        TADFKD, "__init__", lambda self, problem, config: (given.append(problem), original(self, problem, config))[0]
    )
    methods_made: list[Any] = []
    phase = TADFKD.student_phase
    monkeypatch.setattr(TADFKD, "student_phase", lambda self, seen: (methods_made.append(self), phase(self, seen))[1])
    execute(tiny)
    (problem,) = given
    test_images = find_benchmark("digits").load(train=False)
    tensors = reachable_tensors(problem) + reachable_tensors(methods_made[-1])
    assert len(tensors) > 50 and problem.collected is None
    for tensor in tensors:
        assert tensor.numel() < test_images.images.numel() or tensor.shape[0] != len(test_images), tensor.shape
        assert not isinstance(tensor, Dataset)
    assert not any(parameter.requires_grad for parameter in problem.teacher.parameters())


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
    tiny.files.write_json("status.json", {"state": "running", "owner": None})
    shutil.copytree(whole.path / "samples", tiny.path / "samples", dirs_exist_ok=True)
    execute(tiny)
    assert_bit_identical(tiny, whole)


def test_a_checkpoint_of_other_networks_fails_with_a_sentence(tiny: RunFolder) -> None:
    save_checkpoint(tiny, 3, {"method": {"step": 3, "student": {}}, "elapsed": 0.0, "replayed": 0, "evaluated": []})
    status = execute(tiny)
    assert status.state == "failed" and status.message
