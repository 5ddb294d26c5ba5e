"""``run``: a whole one, stopping and resuming, evaluation."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
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
from running import assert_bit_identical, at_step, commanding
from safetensors.torch import load_file
from torch.utils.data import Dataset

from dfkd_core import methods
from dfkd_core.kit.contract import Problem
from dfkd_core.methods.ta_dfkd import TADFKD
from dfkd_core.runs import loop as run_module
from dfkd_core.runs.evaluation import ClassifierEvaluator
from dfkd_core.store import EventReader, RunFolder, RunStatus

Start = Callable[..., subprocess.Popen[str]]

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
        json.loads(whole.files.read("manifest.json"))
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
    """Stopped in each of its stages."""
    oracle, stopped = (new_run(runs, method=method) for _ in range(2))
    execute(oracle)
    entered = [row["step"] for row in rows(oracle, "stageentered")]
    for step in sorted({2, *entered[1:]}):
        assert execute(stopped, commanding(stopped, step, "stop")).state == "stopped"
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


def test_a_run_killed_at_its_very_end_is_finished_by_a_resume(tiny: RunFolder, whole: RunFolder) -> None:
    execute(tiny)
    tiny.set_status(RunStatus("running", step=6, total_steps=6))
    (tiny.path / "manifest.json").unlink()
    (tiny.path / "student.safetensors").unlink()
    assert tiny.status_seen().state == "interrupted"
    execute(tiny)
    assert_bit_identical(tiny, whole)
    assert (tiny.path / "manifest.json").exists()


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
