"""DAFL: its terms against their formulas, who learns from what, the schedule."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from stepping import (
    assert_descended,
    collecting_problem,
    events,
    overhear,
    own_generator,  # noqa: F401 - in every test here
    same,
    shares,
    values,
    weights,
)
from torch import Tensor
from torch.nn import functional

from dfkd_core.kit.recording import Recording
from dfkd_core.methods.dafl import DAFL, DAFLConfig

TINY = {"epochs": 5, "iterations": 2, "batch_size": 16, "latent": 8, "width": 4}
KNOBS = {term.name: term.knob for term in DAFL.terms}
ALL_OFF = dict.fromkeys(KNOBS.values(), 0.0)
STILL = 1e-60  # a learning rate that leaves every weight as it is


def make(student: str = "lenet5-bn", **changes: Any) -> DAFL:
    problem = collecting_problem(student=student, recording=Recording(samples_every=0, health_every=1, phases_every=0))
    return DAFL(problem, DAFLConfig.build("demo", {**TINY, **changes}))


def test_the_terms_are_those_of_the_equations() -> None:
    method = make(class_prior_weight=1.0, class_balance_weight=5.0, activation_weight=0.1)
    heard = overhear(method.teacher)
    (metrics,) = values(events(method, 1))
    logits = heard[0][1].logits.detach()
    features = list(heard[0][1].maps.values())[-1].detach().mean(dim=(2, 3))
    mean = logits.softmax(dim=1).mean(dim=0)
    assert metrics["class_prior"] == pytest.approx(functional.cross_entropy(logits, logits.argmax(dim=1)).item())
    assert metrics["class_balance"] == pytest.approx(5 * (mean * mean.log()).sum().item(), rel=1e-4)
    assert metrics["activation"] == pytest.approx(-0.1 * features.abs().mean().item(), rel=1e-4)
    assert metrics["generator_loss"] == pytest.approx(sum(metrics[term] for term in KNOBS), rel=1e-4)


def test_the_generator_descends_the_equations() -> None:
    method, drawn = make(activation_weight=2.0, generator_lr=STILL), list[Tensor]()
    latents = method.latents
    method.latents = lambda: drawn.append(latents()) or drawn[-1]  # type: ignore[method-assign, func-returns-value]
    events(method, 1)
    answers = method.teacher.features(method.image.normalise(method.generator(drawn[0])))
    p, features = answers.logits.softmax(dim=1), list(answers.maps.values())[-1].mean(dim=(2, 3))
    mean = p.mean(dim=0)
    loss = -p.amax(dim=1).log().mean() + 5 * (mean * mean.log()).sum() - 2 * features.abs().mean()
    assert_descended(method.generator, loss)


@pytest.mark.parametrize("term", KNOBS)
def test_each_term_trains_the_generator(term: str) -> None:
    method = make(**{**ALL_OFF, KNOBS[term]: 1.0, "student_lr": STILL})
    generator, student = weights(method.generator), weights(method.student)
    (metrics,) = values(events(method, 1))
    assert shares(metrics) == {term: 1.0}
    assert not same(generator, weights(method.generator))
    parameters = dict(method.student.named_parameters())
    assert all(torch.equal(parameter, student[name]) for name, parameter in parameters.items())


def test_the_student_learns_from_the_images_of_the_step_and_the_generator_not_from_it() -> None:
    method = make(**ALL_OFF)
    generator, teacher = list(map(torch.clone, method.generator.parameters())), weights(method.teacher)
    student = weights(method.student)
    (metrics,) = values(events(method, 1))
    assert metrics["student_loss"] > 0 and method.queries == 16
    assert not same(student, weights(method.student)) and same(teacher, weights(method.teacher))
    assert all(map(torch.equal, generator, method.generator.parameters()))


def test_the_released_entropy_has_base_ten() -> None:
    natural, released = (values(events(make(logarithm=base), 1))[0]["class_balance"] for base in ("natural", "10"))
    assert natural == pytest.approx(released * math.log(10), rel=1e-5)


def test_a_sigmoid_bounds_the_pixels() -> None:
    bounded, released = (make(head=head).generator(torch.randn(64, 8)) for head in ("sigmoid", "standardised"))
    assert bounded.min() >= 0 and bounded.max() <= 1
    assert released.min() < 0 or released.max() > 1


def test_the_rate_falls_to_a_tenth_after_two_and_four_fifths_of_the_epochs() -> None:
    method = make(schedule="step", student_lr=0.1)
    rates = [metrics["learning_rate"] for metrics in values(events(method, 10))]
    assert rates == pytest.approx([0.1] * 4 + [0.01] * 4 + [0.001] * 2)
