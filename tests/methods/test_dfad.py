"""DFAD: both losses against their formula, who learns from what, the schedule."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from stepping import (
    STILL,
    assert_descended,
    by_hand,
    collecting_problem,
    events,
    modes_of,
    overhear,
    own_generator,  # noqa: F401 - in every test here
    same,
    shares,
    values,
    weights,
)
from torch import Tensor

from dfkd_core.kit.recording import Recording
from dfkd_core.methods.dfad import DFAD, DFADConfig

TINY = {"epochs": 10, "iterations": 1, "student_steps": 3, "batch_size": 16, "latent": 8, "width": 4}


def make(**changes: Any) -> DFAD:
    recording = Recording(samples_every=0, health_every=1, phases_every=0)
    return DFAD(collecting_problem(recording=recording), DFADConfig.build("demo", {**TINY, **changes}))


def by_formula(method: DFAD) -> Tensor:
    """D = E[mean |T(x̂) − S(x̂)|] on images of the latents that come next."""
    images = method.image.normalise(method.generator(torch.randn(16, 8)))
    return (method.teacher(images) - method.student(images)).abs().sum() / (16 * 10)


@pytest.mark.parametrize("kind", ["l1", "log"])
def test_the_generator_descends_minus_the_discrepancy_or_its_logarithm(kind: str) -> None:
    method = make(generator_loss=kind, generator_lr=STILL)
    torch.manual_seed(5)
    metrics = by_hand(method, method.generation)
    torch.manual_seed(5)
    discrepancy = by_formula(method)
    expected = -discrepancy if kind == "l1" else -torch.log(discrepancy + 1)
    assert metrics["adversarial"] == metrics["generator_loss"] == pytest.approx(expected.item(), rel=1e-5)
    assert_descended(method.generator, expected)


def test_the_student_descends_the_discrepancy() -> None:
    method = make(student_lr=STILL, student_steps=1)
    torch.manual_seed(5)
    metrics = by_hand(method, method.imitation)
    torch.manual_seed(5)
    expected = by_formula(method)
    assert metrics["student_loss"] == pytest.approx(expected.item(), rel=1e-5)
    assert_descended(method.student, expected)


def test_imitation_moves_the_student_alone() -> None:
    method = make()
    student, teacher, generator = (weights(one) for one in (method.student, method.teacher, method.generator))
    by_hand(method, method.imitation)
    assert not same(student, weights(method.student)) and same(teacher, weights(method.teacher))
    assert all(torch.equal(one, generator[name]) for name, one in method.generator.named_parameters())
    assert all(parameter.grad is None for parameter in method.generator.parameters())


def test_generation_moves_the_generator_alone() -> None:
    method = make()
    student, teacher, generator = (weights(one) for one in (method.student, method.teacher, method.generator))
    assert shares(by_hand(method, method.generation)) == {"adversarial": 1.0}
    assert same(student, weights(method.student)) and same(teacher, weights(method.teacher))
    assert not same(generator, weights(method.generator))
    assert all(parameter.grad is None for one in (method.student, method.teacher) for parameter in one.parameters())


def test_a_step_is_k_of_the_student_on_new_images_each_and_one_of_the_generator() -> None:
    method = make()
    modes, heard = modes_of(method.student), overhear(method.teacher)
    judged = modes_of(method.teacher)
    events(method, 1)
    assert modes == [(True, False)] * 3 + [(False, True)] and method.queries == 4 * 16
    assert len(heard) == 4 and not any(training for training, _ in judged)
    batches = [images for images, _ in heard]
    assert not any(torch.equal(one, other) for one, other in zip(batches, batches[1:], strict=False))


def test_it_learns_to_be_right_where_its_generator_looks() -> None:
    method = make(iterations=30, epochs=1, student_steps=5, student_lr=0.1, batch_size=32)
    losses = [metrics["student_loss"] for metrics in values(events(method, 30))]
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [("step", [1, 1, 0.1, 0.1, *[0.01] * 6]), ("cosine", [1, 0.97553, 0.90451, 0.79389, 0.65451])],
)
def test_both_rates_fall(schedule: str, rates: list[float]) -> None:
    method = make(schedule=schedule, student_lr=0.1, generator_lr=0.02)
    for step, rate in enumerate(rates, start=1):
        (metrics,) = values(events(method, step))
        assert metrics["learning_rate"] == pytest.approx(0.1 * rate, rel=1e-4)
        assert method.generator_optimizer.param_groups[0]["lr"] == pytest.approx(0.02 * rate, rel=1e-4)


def test_a_sigmoid_bounds_the_pixels() -> None:
    bounded, released = (make(head=head).generator(torch.randn(64, 8)) for head in ("sigmoid", "standardised"))
    assert bounded.min() >= 0 and bounded.max() <= 1
    assert released.min() < 0 or released.max() > 1
