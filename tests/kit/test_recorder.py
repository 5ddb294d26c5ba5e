"""What a step leaves to look at: only what is due, nothing twice, and never something that is not a number."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from stepping import (
    events,
    of,
    own_generator,  # noqa: F401 - in every test here
    shares,
    values,
)
from torch import Tensor
from toy import SILENT, Toy, toy

from dfkd_core.errors import NonFiniteError
from dfkd_core.events import ClassShares, Epoch, Phase, Phases, Samples, Step
from dfkd_core.kit.recorder import Seen
from dfkd_core.kit.recording import SHOWN, Recording
from dfkd_core.networks.classifiers import Features
from dfkd_core.selection.mixture import judge, select
from dfkd_core.synthesis.guided import Film


def counted(value: Any = 1.0) -> tuple[Callable[[], Any], list[int]]:
    """A function that gives ``value``, and a list that grows with each call."""
    calls: list[int] = []
    return lambda: (calls.append(1), value)[1], calls


def watched() -> tuple[Toy, Seen]:
    """A method, and its first step in slow motion."""
    method = toy()
    method.slow = True
    return method, next(method.steps())


def phases_of(seen: Seen) -> dict[str, Phase]:
    (shown,) = of(Phases, list(seen.events()))
    return {phase.name: phase for phase in shown.phases}


def answered(method: Toy, count: int = 20) -> tuple[Tensor, Features]:
    """Normalised images, and what the teacher sees in them."""
    images = torch.randn(count, 1, 8, 8)
    return images, method.teacher.features(images)


# --- what is due -----------------------------------------------------------------------------------------------


def test_something_is_due_every_so_many_steps_and_at_the_first() -> None:
    def due(every: int) -> list[int]:
        return [step for step in range(1, 9) if Recording().due(every, step)]

    assert due(3) == [1, 3, 6] and due(1) == list(range(1, 9)) and due(100) == [1] and due(0) == []


def test_each_kind_of_event_comes_as_often_as_its_recording_says() -> None:
    recording = Recording(log_every=3, samples_every=4, health_every=5, phases_every=6)
    found = events(toy(recording, student_steps=6), 8)
    assert [event.step for event in of(Samples, found)] == [1, 4, 8]
    assert [event.step for event in of(Phases, found)] == [1, 6]
    metrics = dict(enumerate(values(found), start=1))
    assert [step for step, named in metrics.items() if named] == [1, 3, 5, 6], "measured shares are told, too"
    assert [step for step, named in metrics.items() if shares(named)] == [1, 5]


@pytest.mark.parametrize("due", [True, False])
def test_what_is_not_due_is_not_computed(due: bool) -> None:
    every = 1 if due else 0
    method = toy(Recording(log_every=every, samples_every=every, health_every=0, phases_every=every))
    seen, asked = next(method.steps()), []
    number, numbers = counted()
    drawn, draws = counted()
    method.student.register_forward_hook(lambda *_: asked.append(1))
    images, answers = answered(method)
    seen.note(number=number)
    seen.phase("move", values={"drawn": drawn})
    seen.samples(answers, method.student, images=images)
    assert not numbers + draws + asked, "nothing before the step is over"
    found = list(seen.events())
    assert [len(numbers), len(draws), len(asked), len(found)] == ([1, 1, 1, 3] if due else [0, 0, 0, 1])
    assert values(found) == [{"number": 1.0} if due else {}]


@pytest.mark.parametrize("due", [True, False])
def test_a_sheet_is_made_where_it_is_due(due: bool) -> None:
    seen = next(toy(Recording(samples_every=int(due), phases_every=0)).steps())
    images, sheets = counted(torch.zeros(1, 1, 8, 8))
    seen.sheet(images)
    assert [len(of(Samples, list(seen.events()))), len(sheets)] == [int(due)] * 2


def test_gradients_are_not_measured_where_nobody_asks() -> None:
    for recording, slow, times in ((SILENT, False, 0), (SILENT, True, 2), (Recording(health_every=1), False, 2)):
        method = toy(recording)
        method.slow, calls = slow, []
        method.vector.register_hook(calls.append)
        method.weighed(next(method.steps()))
        assert len(calls) == times, "once a term"


def test_measuring_leaves_gradients_and_the_graph_alone() -> None:
    method = toy(Recording(health_every=1))
    loss = method.weighed(next(method.steps()))
    assert method.vector.grad is None
    loss.backward()
    assert method.vector.grad.tolist() == [3.0 - 2.0, 4.0 - 2.0]


def test_gradients_are_measured_in_the_last_round_only() -> None:
    method, calls = toy(Recording(health_every=1)), []
    seen = next(method.steps())
    method.vector.register_hook(calls.append)
    measured = []
    for outer in seen.repeat(2):
        for inner in seen.repeat(3):
            before = len(calls)
            method.weighed(seen)
            measured += [(outer, inner)] if len(calls) > before else []
        before = len(calls)
        method.weighed(seen)  # what comes after the inner rounds is in a last round of its own
        measured += [(outer, "after")] if len(calls) > before else []
    assert measured == [(1, 2), (1, "after")]


def test_what_is_said_last_counts() -> None:
    method = toy()
    seen = next(method.steps())
    for round in seen.repeat(3):
        seen.note(round=round)
        seen.student_loss(torch.tensor(float(round)))
    (metrics,) = values(list(seen.events()))
    assert metrics["round"] == metrics["student_loss"] == 2


# --- terms -----------------------------------------------------------------------------------------------------


def test_the_loss_is_the_sum_of_the_terms_and_shares_are_those_of_its_gradient() -> None:
    method = toy(Recording(health_every=1))
    seen = next(method.steps())
    loss = method.weighed(seen)
    seen.weigh([method.vector], verdict=method.vector.sum())
    (metrics,) = values(list(seen.events()))
    assert (metrics["pull"], metrics["push"]) == (12.5, -14.0)
    assert metrics["generator_loss"] == loss.item() == -1.5 and metrics["discriminator_loss"] == 7.0
    pull, push = 5.0, math.hypot(2, 2)
    expected = {"pull": pull / (pull + push), "push": push / (pull + push), "verdict": 1.0}
    assert shares(metrics) == pytest.approx(expected), "each is a share in who it moves"


@pytest.mark.parametrize(("teacher", "there"), [("lenet5-half", False), ("lenet5-half-bn", True)])
def test_a_term_of_batch_norm_is_off_where_the_teacher_has_none(teacher: str, there: bool) -> None:
    method = toy(Recording(health_every=1), teacher)
    (metrics,) = values(events(method, 1))
    assert ("bn_statistics" in metrics) is ("share/bn_statistics" in metrics) is method.is_on("bn_statistics") is there


def test_a_weight_of_zero_switches_its_term_off() -> None:
    method = toy(Recording(health_every=1), push_weight=0.0)
    (metrics,) = values(events(method, 1))
    assert not method.is_on("push") and "push" not in metrics and shares(metrics) == {"pull": 1.0}
    assert method.vector.tolist() == pytest.approx([2.7, 3.6])


def test_without_any_term_there_is_nothing_to_descend() -> None:
    method = toy(Recording(health_every=1), push_weight=0.0, pull_weight=0.0)
    (metrics,) = values(events(method, 1))
    assert metrics["generator_loss"] == metrics["student_loss"] == 0 and not shares(metrics)
    assert isinstance(metrics["generator_loss"], float)
    assert method.vector.tolist() == [3.0, 4.0] and method.vector.grad is None


def test_a_term_that_is_not_declared_is_named() -> None:
    with pytest.raises(ValueError, match="declares no term 'pul'; it has pull, push"):
        toy(Recording()).is_on("pul")


def test_terms_of_the_student_are_told_where_there_are_several() -> None:
    method = toy()
    seen = next(method.steps())
    one, other = torch.tensor(1.0), torch.tensor(2.0)
    seen.student_loss(one + other, {"align": one, "contrast": other})
    (metrics,) = values(list(seen.events()))
    assert metrics.items() >= {"student_loss": 3.0, "align": 1.0, "contrast": 2.0}.items()
    seen = next(method.steps())
    seen.student_loss(one, {"align": one})
    (metrics,) = values(list(seen.events()))
    assert metrics == {"student_loss": 1.0}


def test_metrics_of_a_batch_and_of_a_step() -> None:
    method = toy()
    seen = next(method.steps())
    seen.anneal(method.optimizer, done=1)
    method.queries = 7
    sure = 1000.0 * torch.eye(10)[[2, 2, 5, 5]]
    seen.judged(Features(sure, torch.eye(4), {}))
    (metrics,) = values(list(seen.events()))
    assert metrics == pytest.approx({"coverage": 0.2, "diversity": 0.75, "queries": 7.0, "learning_rate": 0.05})
    assert method.optimizer.param_groups[0]["lr"] == 0.05


# --- what is not a number --------------------------------------------------------------------------------------


@pytest.mark.parametrize("log_every", [1, 100], ids=["logging", "not logging"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("said", ["weigh", "student_loss", "check"])
def test_what_is_not_finite_stops_the_step_before_it_says_anything(log_every: int, value: float, said: str) -> None:
    method = toy(Recording(log_every=log_every, samples_every=1, phases_every=1))
    events(method, 1)
    seen, bad = next(method.steps()), torch.tensor(value)
    images, calls = counted(torch.zeros(1, 1, 8, 8))
    seen.sheet(images)
    seen.phase("move")
    name = {"weigh": "pull", "student_loss": "student_loss", "check": "bound"}[said]
    if said == "weigh":
        seen.weigh(None, pull=bad)
    elif said == "student_loss":
        seen.student_loss(bad)
    else:
        seen.check(bound=bad)
    with pytest.raises(NonFiniteError) as caught:
        next(seen.events())
    assert (caught.value.step, caught.value.term) == (2, name) and not calls
    assert caught.value.last == {"pull": 12.5, "push": -14.0, "student_loss": -1.5}


# --- samples ---------------------------------------------------------------------------------------------------


def test_samples_hold_the_first_images_as_teacher_and_student_saw_them() -> None:
    method = toy(Recording(samples_every=1, samples=5, phases_every=0))
    images, answers = answered(method)
    verdict = select(judge(answers.logits), 0.5)
    seen = next(method.steps())
    seen.samples(answers, method.student, verdict, images=images, columns={"wanted": torch.arange(20)})
    seen.columns(collected=torch.ones(20, dtype=torch.bool))
    (sheet,) = of(Samples, list(seen.events()))
    pixels = (255 * method.image.to_pixels(images[:5]).clamp(0, 1)).round().byte().permute(0, 2, 3, 1)
    assert np.abs(sheet.images.astype(int) - pixels.numpy()).max() <= 1
    assert all(len(column) == 5 for column in sheet.columns.values())
    assert sheet.columns["wanted"].tolist() == [0, 1, 2, 3, 4] and sheet.columns["collected"].all()
    assert sheet.columns["label"].tolist() == answers.logits[:5].argmax(dim=1).tolist()
    assert sheet.columns["clean"].tolist() == verdict.clean[:5].tolist() and sheet.mixture == verdict.summary()
    method.student.eval()
    expected = method.student(method.image.normalise(method.image.to_pixels(images[:5]))).argmax(dim=1)
    assert sheet.columns["student_label"].tolist() == expected.tolist()
    assert sheet.columns["features"].shape == (5, answers.pooled.shape[1])


def test_features_are_left_out_where_they_are_not_wanted() -> None:
    method = toy(Recording(samples_every=1, features=False, phases_every=0))
    images, answers = answered(method)
    seen = next(method.steps())
    seen.samples(answers, answers.logits, images=images)
    (sheet,) = of(Samples, list(seen.events()))
    assert not {"features", "teacher_logits", "student_logits", "posterior"} & set(sheet.columns)
    assert len(sheet.images) == 20 and sheet.mixture is None and sheet.columns["clean"].all()


def test_some_sheets_and_shares_always_come() -> None:
    method = toy()
    seen = next(method.steps())
    seen.sheet(lambda: torch.zeros(2, 1, 8, 8), panel=np.array([1, 2]))
    seen.class_shares(made=torch.tensor([0.5, 0.5]))
    assert [type(event) for event in seen.events()] == [Step]
    seen = next(method.steps())
    seen.sheet(lambda: torch.zeros(2, 1, 8, 8), always=True, panel=np.array([1, 2]))
    seen.class_shares(always=True, made=torch.tensor([0.25, 0.75]))
    sheet, classes, _ = seen.events()
    assert isinstance(sheet, Samples) and sheet.columns["panel"].tolist() == [1, 2]
    assert isinstance(classes, ClassShares) and classes.shares == {"made": [0.25, 0.75]}


# --- slow motion -----------------------------------------------------------------------------------------------


def test_a_step_is_shown_in_slow_motion_while_somebody_watches_and_no_longer() -> None:
    method = toy()
    found = events(method, 1)
    method.slow = True
    found += events(method, 2)
    method.slow = False
    found += events(method, 3)
    assert [event.step for event in of(Phases, found)] == [2]


def test_phases_come_in_the_methods_order_and_only_those_that_happened() -> None:
    _, seen = watched()
    seen.phase("end"), seen.phase("start")
    assert list(phases_of(seen)) == ["start", "end"]


def test_a_phase_tells_what_its_network_learned_from() -> None:
    method, seen = watched()
    seen.anneal(method.optimizer)
    method.weighed(seen)
    images, answers = answered(method)
    student_logits = method.student(images)
    loss = (student_logits - answers.logits).abs().mean()
    loss.backward()
    seen.student_loss(loss)
    seen.phase("move", of="generator", pixels=torch.ones(20, 1, 8, 8), arrays={"latents": torch.arange(3)})
    shown = {"teacher": answers.logits, "student": student_logits.detach()}
    seen.phase("end", of="student", network=method.student, images=images, **shown, values={"steps": 3.0})
    phases = phases_of(seen)
    move, end = phases["move"], phases["end"]
    gradients = {"gradient/pull": 5.0, "gradient/push": math.hypot(2, 2)}
    assert move.values == pytest.approx({"pull": 12.5, "push": -14.0, **gradients})
    assert move.images is not None and move.images.shape == (SHOWN, 8, 8, 1) and (move.images == 255).all()
    assert move.arrays["latents"].tolist() == [0, 1, 2]
    norm = math.sqrt(sum(one.grad.square().sum().item() for one in method.student.parameters()))
    told = {"student_loss": loss.item(), "gradient": norm, "learning_rate": 0.1, "steps": 3.0}
    assert end.values == pytest.approx(told, rel=1e-4)
    for who, logits in shown.items():
        assert end.arrays[f"{who}_label"].tolist() == logits[:SHOWN].argmax(dim=1).tolist()
        assert np.allclose(end.arrays[f"{who}_probabilities"], logits[:SHOWN].softmax(dim=1), atol=1e-6)


def test_a_phase_tells_how_a_verdict_came_about() -> None:
    _, seen = watched()
    losses = torch.cat([0.01 * torch.rand(30), 2 + torch.rand(10)])
    seen.phase("move", verdict=select(losses, 0.5))
    phase = phases_of(seen)["move"]
    assert phase.values["kept"] == 0.75 and phase.values["batch"] == 40 and phase.arrays["clean"].sum() == 30
    assert phase.arrays["means"].shape == phase.arrays["weights"].shape == (2,)


@pytest.mark.parametrize(("always", "shown"), [(False, []), (True, ["synthesis"])])
def test_a_film_is_shown_to_who_watches_unless_it_always_is(
    always: bool, shown: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Toy, "phases", ("synthesis", *Toy.phases))
    method = toy()
    film = Film(torch.tensor([999, 499]), torch.tensor([3.0, 1.0]), torch.zeros(2, 3, 1, 8, 8))
    seen = next(method.steps())
    seen.film(film, always=always)
    found = of(Phases, list(seen.events()))
    assert [phase.name for event in found for phase in event.phases] == shown
    method.slow = True
    seen = next(method.steps())
    seen.film(film, always=always)
    phase = phases_of(seen)["synthesis"]
    assert phase.values == {"guidance": 1.0, "guidance_first": 3.0} and phase.arrays["shown"].tolist() == [2, 3]
    assert phase.images is not None and len(phase.images) == 6 and phase.arrays["timestep"].tolist() == [999, 499]


# --- the end of a step -----------------------------------------------------------------------------------------


def test_a_step_ends_with_its_row_and_an_epoch_just_before_it() -> None:
    found = events(toy(Recording(samples_every=1, phases_every=1)), 6)
    usual = [Samples, Phases, Step]
    assert [type(event) for event in found] == 2 * [*usual, *usual, Samples, Phases, Epoch, Step]
    assert [(event.step, event.epoch) for event in of(Epoch, found)] == [(3, 1), (6, 2)]
    assert of(Epoch, found)[0].learning_rate == values(found)[2]["learning_rate"]


def test_events_are_plain_values() -> None:
    found = events(toy(Recording(samples_every=1, health_every=1, phases_every=1)), 1)
    assert all(type(value) is float for value in values(found)[0].values())
    (sheet,), (shown,) = of(Samples, found), of(Phases, found)
    assert isinstance(sheet.images, np.ndarray) and sheet.images.dtype == np.uint8
    assert all(type(value) is float for phase in shown.phases for value in phase.values.values())
