"""Collected images only, and what all methods share whose student learns from a set: learning, reports, resuming."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from conftest import TEACHER, execute, new_run, rows, student_hash
from stepping import (
    assert_resumes,
    collecting_problem,
    digits,
    events,
    of,
    overhear,
    own_generator,  # noqa: F401 - in every test here
    same,
    values,
    weights,
)
from torch import Tensor

from dfkd_core.data import sources
from dfkd_core.errors import NonFiniteError, RequestError
from dfkd_core.events import Phases, Samples
from dfkd_core.kit.contract import Problem
from dfkd_core.kit.objectives import ObjectiveName
from dfkd_core.kit.recording import Recording
from dfkd_core.kit.student_stage import StudentConfig, choose, draw
from dfkd_core.methods.collected import Collected, CollectedConfig
from dfkd_core.methods.hidfd import HiDFDConfig
from dfkd_core.networks.classifiers import build_classifier
from dfkd_core.store import RunFolder
from dfkd_core.teachers.load import load_teacher
from pages.ui.words import glossary

SMALL = {"objective": "kd", "student_lr": 0.05, "distill_steps": 6, "updates": 2, "batch_size": 16}
NAMES = get_args(ObjectiveName)


def make(
    images: Tensor | None = None, recording: Recording | None = None, student: str = "resnet8", **changes: Any
) -> Collected:
    shown = recording or Recording(samples_every=1, samples=8, phases_every=1)
    problem = collecting_problem(images, student=student, recording=shown)
    return Collected(problem, CollectedConfig.build("demo", {**SMALL, **changes}))


# --- learning --------------------------------------------------------------------------------------------------


def test_it_learns_the_images_it_has() -> None:
    """On digits as the collected ones, the student comes to say what the teacher says."""
    quiet = Recording(samples_every=0, phases_every=0)
    method = make(digits(60), quiet, "lenet5-bn", distill_steps=30, updates=3)
    images = method.image.normalise(digits(60).float() / 255)
    wanted = method.teacher(images).argmax(dim=1)

    def agreement() -> float:
        return float((method.student.eval()(images).argmax(dim=1) == wanted).float().mean())

    before = agreement()
    losses = [metrics["student_loss"] for metrics in values(events(method, 30))]
    assert agreement() > max(0.7, before + 0.3) and sum(losses[-5:]) < 0.5 * sum(losses[:5])


def test_every_weight_of_the_student_learns_and_the_teacher_stays() -> None:
    method = make()
    student, teacher = weights(method.student), weights(method.teacher)
    events(method, 1)
    for name, parameter in method.student.named_parameters():
        assert parameter.grad is not None and parameter.grad.norm() > 0 and not torch.equal(parameter, student[name])
    assert same(teacher, weights(method.teacher)) and not method.teacher.training


def test_the_teacher_is_asked_about_augmented_collected_images_only() -> None:
    """Every image the teacher sees is a collected one, moved by a pixel at most; queries count them all."""
    images = digits(5)
    method = make(images, updates=3)
    heard = overhear(method.teacher)
    found = values(events(method, 2))
    asked = torch.cat([batch for batch, _ in heard])
    assert [metrics["queries"] for metrics in found] == [48.0, 96.0] and len(asked) == 96
    known = {tuple(image.flatten().tolist()) for image in _moved(images)}
    pixels = (method.image.to_pixels(asked) * 255).round().to(torch.uint8)
    assert {tuple(image.flatten().tolist()) for image in pixels} <= known


def _moved(images: Tensor) -> Tensor:
    padded = torch.nn.functional.pad(images, [1] * 4)
    return torch.cat([padded[:, :, y : y + 8, x : x + 8] for y in range(3) for x in range(3)])


@pytest.mark.parametrize(("collected", "message"), [(None, "collect at least one"), (0, "collect at least one")])
def test_without_images_there_is_nothing_to_learn(collected: int | None, message: str) -> None:
    teacher, card = load_teacher(TEACHER)
    images = None if collected is None else digits(collected)
    problem = Problem(teacher, build_classifier("resnet8", card.image.spec()), card.image.spec(), torch.device("cpu"))
    with pytest.raises(RequestError, match=message):
        Collected(Problem(problem.teacher, problem.student, problem.image, problem.device, images), CollectedConfig())


@pytest.mark.parametrize("name", NAMES)
def test_every_objective_trains_and_names_its_terms(name: str) -> None:
    method = make(objective=name, distill_steps=2)
    metrics = values(events(method, 2))[-1]
    assert all(math.isfinite(value) for value in metrics.values())
    terms = {term.name for term in method.declared_terms}
    named = set(metrics) - {"student_loss", "coverage", "diversity", "learning_rate", "queries"}
    assert named == (terms if len(terms) > 1 else set()), "a sum of one is not said twice"
    if named:
        assert metrics["student_loss"] == pytest.approx(sum(metrics[term] for term in terms), rel=1e-4)
    assert not [term for term in terms if glossary.find(term) is None] and glossary.find(name) is not None


# --- schedule and images ---------------------------------------------------------------------------------------


def test_the_learning_rate_follows_the_schedule() -> None:
    rates = [metrics["learning_rate"] for metrics in values(events(make(student_lr=0.1), 6))]
    assert rates == pytest.approx([0.05 * (1 + math.cos(math.pi * step / 6)) for step in range(6)])


def test_a_new_learning_rate_takes_effect_with_the_next_step() -> None:
    method = make()
    events(method, 2)
    method.reconfigure(method.config.change({"student_lr": 0.2}))
    (metrics,) = values(events(method, 3))
    assert metrics["learning_rate"] == pytest.approx(0.1 * (1 + math.cos(math.pi * 2 / 6)))
    with pytest.raises(RequestError, match="cannot change while a run goes on; these can: student_lr"):
        method.config.change({"batch_size": 8})


def test_its_student_knobs_are_those_of_every_student_stage() -> None:
    assert issubclass(CollectedConfig, StudentConfig)
    assert set(CollectedConfig.model_fields) - set(StudentConfig.model_fields) == {"objective"}


@pytest.mark.parametrize("preset", ["demo", "cpu", "paper"])
def test_it_differs_from_hidfds_student_in_the_images_alone(preset: str) -> None:
    ours, theirs = (one.build(preset) for one in (CollectedConfig, HiDFDConfig))
    assert all(getattr(ours, name) == getattr(theirs, name) for name in CollectedConfig.model_fields)


def test_a_batch_is_drawn_from_all_images_as_pixels() -> None:
    images = torch.arange(10, dtype=torch.uint8).view(10, 1, 1, 1).expand(-1, 1, 2, 2)
    drawn = draw(images, 400)
    assert drawn.shape == (400, 1, 2, 2) and drawn.dtype == torch.float32
    counts = (drawn[:, 0, 0, 0] * 255).round().long().bincount(minlength=10)
    assert (counts > 10).all() and counts.sum() == 400


def test_images_of_fixed_latents_are_collected_ones_in_an_order_of_the_generator() -> None:
    method, images = make(), digits()
    seeds = [torch.Generator().manual_seed(seed) for seed in (3, 3, 4)]
    one, again, other = (method.synthesize(20, generator) for generator in seeds)
    assert torch.equal(one, again) and not torch.equal(one, other)
    pixels = (method.image.to_pixels(one) * 255).round().to(torch.uint8)
    assert sorted(map(str, pixels.tolist())) == sorted(map(str, images.tolist()))  # each once
    assert choose(images, 45, method.image, seeds[0]).shape == (45, 1, 8, 8)


def test_looking_at_images_leaves_the_training_untouched() -> None:
    one, other = make(), make()
    events(one, 4)
    for step in range(1, 5):
        other.synthesize(16, torch.Generator().manual_seed(step))
        events(other, step)
    assert same(weights(one.student), weights(other.student))


# --- what others see -------------------------------------------------------------------------------------------


def test_samples_show_what_the_student_learned_from() -> None:
    (event,) = of(Samples, events(make(), 1))
    assert event.images.shape == (8, 8, 8, 1) and event.mixture is None and "posterior" not in event.columns
    assert event.columns["clean"].all() and event.columns["features"].shape == (8, 64)


def test_slow_motion_shows_one_update() -> None:
    (event,) = of(Phases, events(make(), 1))
    assert [phase.name for phase in event.phases] == list(Collected.phases)
    assert all(phase.images is not None and phase.images.shape == (12, 8, 8, 1) for phase in event.phases)
    student = event.phases[-1]
    assert student.values["gradient"] > 0 and student.values["student_steps"] == 2
    assert student.values["student_loss"] == pytest.approx(student.values["cross_entropy"] + student.values["kl"])
    assert student.arrays["teacher_probabilities"].shape == student.arrays["student_probabilities"].shape == (12, 10)


def test_metrics_come_when_they_are_due_and_slow_motion_when_somebody_watches() -> None:
    method = make(recording=Recording(log_every=2, samples_every=0, phases_every=0))
    found = events(method, 3)
    assert [bool(metrics) for metrics in values(found)] == [True, True, False]
    assert not of(Samples, found) and not of(Phases, found)
    method.slow = True
    assert len(of(Phases, events(method, 4))) == 1


def test_a_loss_that_is_not_finite_stops_the_run() -> None:
    method = make(recording=Recording(log_every=100))
    events(method, 1)
    torch.nn.init.constant_(method.student.head.weight, math.nan)
    with pytest.raises(NonFiniteError, match="student_loss became nan at step 2"):
        events(method, 2)


def test_recording_does_not_change_the_training() -> None:
    quiet, loud = make(recording=Recording(log_every=5, samples_every=0, phases_every=0)), make()
    events(quiet, 4), events(loud, 4)
    assert same(weights(quiet.student), weights(loud.student))


# --- runs ------------------------------------------------------------------------------------------------------


@pytest.fixture
def collecting(runs: Path) -> dict[str, Any]:
    return {"runs": runs, "method": "collected", "ratio": 0.02, "checkpoint_seconds": 0}


def test_a_stopped_run_resumes_bit_identically(collecting: dict[str, Any]) -> None:
    def new() -> RunFolder:
        return new_run(knobs={**SMALL, "objective": "semckd"}, **collecting)

    whole = new()
    assert execute(whole).state == "done", whole.status().message
    assert_resumes(new, (2,), whole)
    assert len(rows(whole, "step")) == 6 and rows(whole, "evaluated")


@pytest.mark.parametrize("objective", ["kd", "classifier-sharing", "semckd"])
def test_the_state_survives_a_round_trip_whatever_is_trained_beside_the_student(objective: str) -> None:
    straight, first, second = (make(objective=objective) for _ in range(3))
    events(straight, 6), events(first, 3)
    second.load_state_dict(first.state_dict())
    events(second, 6)
    assert same(weights(straight.stage.objective), weights(second.stage.objective))


def test_the_labels_of_collected_images_play_no_part(
    collecting: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    knobs = {**SMALL, "objective": "dkd"}
    as_it_is, shuffled = new_run(knobs=knobs, **collecting), new_run(knobs=knobs, **collecting)
    assert execute(as_it_is).state == "done"
    load = sources.BENCHMARKS["digits"].load

    def mislabelled(train: bool) -> Any:
        data = load(train)
        return type(data)(data.images, (data.labels + 1) % 10) if train else data

    monkeypatch.setattr(type(sources.BENCHMARKS["digits"]), "load", lambda self, train: mislabelled(train))
    assert execute(shuffled).state == "done", shuffled.status().message
    assert student_hash(as_it_is) == student_hash(shuffled)


def test_networks_that_do_not_fit_end_in_a_sentence(collecting: dict[str, Any]) -> None:
    folder = new_run(knobs={**SMALL, "objective": "cat-kd"}, **{**collecting, "student": "lenet5"})
    status = execute(folder)
    assert status.state == "failed"
    assert status.message.startswith("Objective = 'cat-kd': needs networks that average their last feature maps")
