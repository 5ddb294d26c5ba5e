"""What stands around an algorithm: its steps and stages, its learning rates, what a checkpoint holds of it."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from conftest import tiny_spec
from stepping import (
    events,
    own_generator,  # noqa: F401 - in every test here
    same,
    values,
    weights,
)
from torch import nn
from toy import IMAGE, Toy, toy

from dfkd_core import methods
from dfkd_core.errors import RequestError
from dfkd_core.kit.config import EpochConfig
from dfkd_core.kit.gan_stage import GanConfig
from dfkd_core.kit.generative_stage import DistillConfig
from dfkd_core.kit.method import descend
from dfkd_core.kit.student_stage import StudentConfig
from dfkd_core.runs.assemble import assemble
from dfkd_core.runs.request import make_spec, notes
from dfkd_core.study.plan import notes_of

# --- steps and stages ------------------------------------------------------------------------------------------


def test_a_run_goes_through_its_stages_step_by_step() -> None:
    method = toy(warm_steps=2, student_steps=4)
    seen = [(one.step, one.stage, one.done, one.progress, method.student_learns) for one in method.steps()]
    warm = [(1, "warm", 0, 0.0, False), (2, "warm", 1, 0.5, False)]
    assert seen == [*warm, *((3 + done, "student", done, done / 4, True) for done in range(4))]
    assert method.step == method.total_steps == 6 and not list(method.steps())


def test_a_run_goes_on_where_it_stopped() -> None:
    method = toy()
    method.load_state_dict({**method.state_dict(), "step": 4})
    assert [(one.step, one.stage, one.done) for one in method.steps()] == [(5, "student", 2), (6, "student", 3)]


@pytest.mark.parametrize(
    ("config", "stages"),
    [
        (EpochConfig(epochs=3, iterations=7), {"student": 21}),
        (StudentConfig(distill_steps=30), {"student": 30}),
        (GanConfig(gan_steps=20, distill_steps=30), {"gan": 20, "student": 30}),
        (DistillConfig(distill_steps=40), {"student": 40}),
    ],
)
def test_the_steps_of_a_run_are_those_of_its_stages(config: Any, stages: dict[str, int]) -> None:
    assert {stage.name: stage.steps for stage in config.stages()} == stages
    assert config.total_steps == sum(stages.values()) and all(stage.title for stage in config.stages())


@pytest.mark.parametrize(
    ("method", "ratio", "changes", "steps"),
    [
        ("hidfd", 0.1, {}, 500 * 2 / 10),  # 120 images, batches of 100, ten updates a step
        ("hidfd", 1.0, {}, 500 * 12 / 10),
        ("hidfd", 1.0, {"discriminator_steps": 3}, 500 * 12 / 30),
        ("hidfd", 1.0, {"gan_steps": 40}, 40),
        ("degan", 1.0, {}, 200 * 10 / 10),
    ],
)
def test_where_the_paper_counts_epochs_a_run_is_as_long_as_there_are_images(
    method: str, ratio: float, changes: dict[str, Any], steps: float
) -> None:
    asked: dict[str, Any] = {"collected": "digits", "ratio": ratio, "not_data_free": True}
    spec = make_spec(changes, benchmark="digits", method=method, preset="paper", **asked)
    again = make_spec(spec.config, benchmark="digits", method=method, preset="paper", **asked)
    assert spec.steps_of("gan") == again.steps_of("gan") == steps
    assert spec.total_steps == steps + spec.config["distill_steps"]


@pytest.mark.parametrize("name", methods.available())
def test_what_a_method_declares_is_there(name: str) -> None:
    _, _, method = assemble(tiny_spec(method=name))
    config = type(method).Config
    terms = [term.name for term in method.declared_terms]
    assert len(set(terms)) == len(terms) and len(set(method.phases)) == len(method.phases) > 0
    for term in method.declared_terms:
        assert not term.knob or config.model_fields[term.knob].annotation in (float, bool), term
        assert method.is_on(term.name) in (True, False) and term.title
    assert set(method.state_dict()) == {"step", "queries", *method.saved}
    assert set(method.rates.values()) <= set(config.live_knobs())
    assert method.total_steps == sum(stage.steps for stage in method.stages)
    assert method.synthesize(2, torch.Generator()).shape == (2, 1, 8, 8)


# --- what is said before a run starts --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "teacher", "changes", "idle", "left"),
    [
        ("ta-dfkd", "digits-lenet5-long", {}, "BN statistics", "adversarial"),
        ("deepinversion", "digits-lenet5-long", {"adversarial_weight": 0}, "BN statistics",
         "class prior, total variation, image norm"),
        ("ddad", "digits-lenet5-long", {"adversarial_weight": 0}, "BN statistics", "nothing"),
        ("ta-dfkd", "digits-lenet5-long", {"bn_weight": 0}, "", ""),
        ("ta-dfkd", "digits-lenet5-bn-mixup", {}, "", ""),
    ],
)  # fmt: skip
def test_what_a_teacher_without_batch_norm_leaves_is_said_beforehand(
    method: str, teacher: str, changes: dict[str, Any], idle: str, left: str
) -> None:
    spec = make_spec(changes, benchmark="digits", method=method, teacher=teacher)
    lacks = "for this teacher has no BatchNorm layers; left to guide the images"
    said = [f"{idle} cannot act, {lacks}: {left}."] if idle else []
    assert [one for one in notes(spec) if "BatchNorm" in one] == said
    where = [f"{method} on {teacher}: {one}" for one in said]
    assert notes_of([spec, spec.model_copy(update={"seed": 1})]) == where, "once for all seeds"


@pytest.mark.parametrize("method", ["collected", "hidfd"])
@pytest.mark.parametrize(
    ("preset", "changes", "rate"),
    [("demo", {}, 0.02), ("demo", {"student_lr": 0.1}, 0.1), ("demo", {"student_lr": 0.01}, 0.01), ("paper", {}, 0.05)],
)
def test_an_objective_that_diverges_brings_its_rate_and_says_so(
    method: str, preset: str, changes: dict[str, Any], rate: float
) -> None:
    asked: dict[str, Any] = {"benchmark": "digits", "method": method, "preset": preset}
    spec = make_spec({"objective": "semckd", **changes}, **asked)
    assert spec.config["student_lr"] == rate and make_spec(spec.config, **asked) == spec
    said = [one for one in notes(spec) if "diverged" in one]
    assert len(said) == (rate >= 0.02) and (not said or said[0].startswith(f"student_lr is {rate:g}: "))
    assert not any("diverged" in one for one in notes(make_spec(**asked)))


# --- learning rates --------------------------------------------------------------------------------------------


def test_with_epochs_the_rate_is_a_cosine_that_stands_still_within_each() -> None:
    config = EpochConfig(epochs=4, iterations=3, student_lr=0.2)
    expected = [0.1 * (1 + math.cos(math.pi * epoch / 4)) for epoch in (0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3)]
    assert [config.student_rate(done) for done in range(12)] == pytest.approx(expected)
    assert [config.epoch_at(step) for step in range(1, 7)] == [None, None, 1, None, None, 2]


def test_in_a_student_stage_the_rate_falls_at_three_milestones_or_along_a_cosine() -> None:
    stepwise = StudentConfig(distill_steps=240, student_lr=0.05, schedule="step")
    rates = [stepwise.student_rate(done) for done in (0, 149, 150, 179, 180, 209, 210, 239)]
    assert rates == pytest.approx([0.05, 0.05, 5e-3, 5e-3, 5e-4, 5e-4, 5e-5, 5e-5])
    cosine = StudentConfig(distill_steps=240, student_lr=0.05, schedule="cosine")
    rates = [cosine.student_rate(done) for done in (0, 60, 120, 240)]
    assert rates == pytest.approx([0.05, 0.05 * (1 + math.sqrt(0.5)) / 2, 0.025, 0.0])


def test_of_a_generative_student_the_rate_stays_or_follows_a_cosine() -> None:
    constant = DistillConfig(distill_steps=10, student_lr=1e-3, schedule="constant")
    assert [constant.student_rate(done) for done in (0, 5, 9)] == [1e-3] * 3
    cosine = DistillConfig(distill_steps=10, student_lr=1e-3, schedule="cosine")
    expected = [5e-4 * (1 + math.cos(math.pi * done / 10)) for done in range(11)]
    assert [cosine.student_rate(done) for done in range(11)] == pytest.approx(expected, abs=1e-12)


def test_the_students_rate_is_a_function_of_the_step_alone() -> None:
    method = toy(student_lr=0.6)
    assert [metrics["learning_rate"] for metrics in values(events(method, 4))] == pytest.approx([0.6, 0.3, 0.6, 0.3])
    resumed = toy(student_lr=0.6)
    resumed.load_state_dict(method.state_dict())
    assert [metrics["learning_rate"] for metrics in values(events(resumed, 6))] == pytest.approx([0.2, 0.15])


class Rated(Toy):
    """With a learning rate of its own, of an optimizer inside of a part."""

    rates = {"part.optimizer": "pull_weight"}

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.part = nn.Linear(2, 2)
        self.part.optimizer = torch.optim.Adam(self.part.parameters(), 0.5)  # type: ignore[assignment]


def test_live_knobs_change_rates_and_terms_from_the_next_step_on() -> None:
    base = toy()
    method = Rated(base.problem, base.config)
    (before,) = values(events(method, 1))
    method.reconfigure(method.config.change({"pull_weight": 3.0, "push_weight": 0.0}))
    assert method.part.optimizer.param_groups[0]["lr"] == 3.0
    vector = method.vector.detach().clone()
    (after,) = values(events(method, 2))
    assert "push" in before and "push" not in after
    assert after["pull"] == pytest.approx(1.5 * vector.square().sum().item())


def test_other_knobs_do_not_change_while_a_run_goes_on() -> None:
    config = toy().config
    with pytest.raises(RequestError, match="cannot change while a run goes on; these can: student_lr, pull_weight, pu"):
        config.change({"warm_steps": 3})
    with pytest.raises(RequestError, match="less than or equal to 100"):
        config.change({"pull_weight": 101.0})


# --- what a checkpoint holds -----------------------------------------------------------------------------------


class Keeper(Toy):
    """Keeps one of everything."""

    saved = ("student", "optimizer", "vector", "there", "later", "never", "count", "share")

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.optimizer = torch.optim.SGD(self.student.parameters(), 0.1, momentum=0.9)
        self.vector = nn.Parameter(torch.zeros(2))
        self.there, self.later, self.never = torch.zeros(3), None, None
        self.count, self.share = 0, 0.0

    def live(self) -> None:
        """Something happened to all of them but one."""
        self.step, self.queries = 3, 40
        descend(self.student(torch.randn(4, 1, 8, 8)).sum(), self.optimizer)
        self.there, self.later = torch.arange(3.0), torch.ones(2, dtype=torch.uint8)
        self.count, self.share = 7, 0.25


def keeper() -> Keeper:
    base = toy()
    return Keeper(base.problem, base.config)


def test_what_is_saved_comes_back_whatever_it_is() -> None:
    lived, fresh = keeper(), keeper()
    lived.live()
    fresh.load_state_dict(copy.deepcopy(lived.state_dict()))
    assert (fresh.step, fresh.queries, fresh.count, fresh.share) == (3, 40, 7, 0.25)
    assert same(weights(lived.student), weights(fresh.student)) and fresh.never is None
    assert torch.equal(lived.there, fresh.there) and torch.equal(lived.later, fresh.later)
    for one, other in zip(lived.optimizer.state.values(), fresh.optimizer.state.values(), strict=True):
        assert torch.equal(one["momentum_buffer"], other["momentum_buffer"]) and one["momentum_buffer"].any()
    fresh.load_state_dict(copy.deepcopy(keeper().state_dict()))
    assert fresh.later is None and (fresh.step, fresh.count) == (0, 0), "back to the start"


def test_tensors_come_back_onto_the_device_and_those_that_are_elsewhere_stay_there() -> None:
    lived, fresh = keeper(), keeper()
    lived.live()
    fresh.device = torch.device("meta")
    fresh.load_state_dict(lived.state_dict())
    assert fresh.later is not None and fresh.later.device.type == "meta" and fresh.there.device.type == "cpu"


# --- what algorithms are made of -------------------------------------------------------------------------------


def test_a_step_down_the_gradient_moves_what_its_optimizers_hold_and_nothing_else() -> None:
    one, other, alone = (nn.Parameter(torch.ones(2)) for _ in range(3))
    optimizers = [torch.optim.SGD([one], 0.1), torch.optim.SGD([other], 0.01)]
    one.grad = torch.full((2,), 9.0)  # of a step before
    descend((2 * one + 3 * other + alone).sum(), *optimizers)
    assert one.tolist() == pytest.approx([0.8, 0.8]) and other.tolist() == pytest.approx([0.97, 0.97])
    assert alone.grad is None and alone.tolist() == [1.0, 1.0]


def test_a_loss_that_depends_on_nothing_moves_nothing() -> None:
    weight = nn.Parameter(torch.ones(2))
    descend(torch.zeros(()), torch.optim.SGD([weight], 0.1, weight_decay=0.5))
    assert weight.tolist() == [1.0, 1.0] and weight.grad is None


def test_bytes_are_seen_as_the_networks_take_them() -> None:
    images = torch.randint(0, 256, (5, 1, 8, 8), dtype=torch.uint8)
    assert torch.allclose(toy().see(images), (images / 255 - IMAGE.mean[0]) / IMAGE.std[0])
