"""DDAD: both discriminators against their formulas, who learns from what."""

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
    own_generator,  # noqa: F401 - in every test here
    same,
    shares,
    weights,
)
from torch import Tensor, nn

from dfkd_core.kit.recording import Recording
from dfkd_core.methods.ddad import DDAD, DDADConfig

TINY = {"epochs": 5, "iterations": 1, "student_steps": 3, "batch_size": 16, "latent": 8, "width": 4}
KNOBS = {term.name: term.knob for term in DDAD.terms}


def make(**changes: Any) -> DDAD:
    problem = collecting_problem(recording=Recording(samples_every=0, health_every=1, phases_every=0))
    return DDAD(problem, DDADConfig.build("demo", {**TINY, **changes}))


def discrepancy(kind: str, student: Tensor, teacher: Tensor) -> Tensor:
    if kind == "l1":
        return (student - teacher).abs().sum() / student.numel()
    p = teacher.softmax(dim=1)
    return (p * (p.log() - student.log_softmax(dim=1))).sum() / len(student)


def statistics(method: DDAD, images: Tensor) -> Tensor:
    """Σ_l ‖μ_l − μ̂_l‖₂ + ‖σ²_l − σ̂²_l‖₂."""
    found, hooks = [], []
    for layer in method.teacher.modules():
        if isinstance(layer, nn.BatchNorm2d):

            def hear(layer: Any, given: tuple[Tensor, ...]) -> None:
                mean, variance = given[0].mean(dim=(0, 2, 3)), given[0].var(dim=(0, 2, 3), unbiased=False)
                found.append((mean - layer.running_mean).square().sum().sqrt())
                found.append((variance - layer.running_var).square().sum().sqrt())

            hooks.append(layer.register_forward_pre_hook(hear))
    method.teacher(images)
    for hook in hooks:
        hook.remove()
    return torch.stack(found).sum()


@pytest.mark.parametrize("kind", ["l1", "kl"])
def test_the_generator_descends_the_statistics_and_minus_the_discrepancy(kind: str) -> None:
    method = make(discrepancy=kind, generator_lr=STILL, bn_weight=0.3, adversarial_weight=0.7)
    torch.manual_seed(5)
    metrics = by_hand(method, method.generator_step)
    torch.manual_seed(5)
    images = method.image.normalise(method.generator(torch.randn(16, 8)))
    adversarial = -0.7 * discrepancy(kind, method.student(images), method.teacher(images))
    distance = 0.3 * statistics(method, images)
    assert metrics["adversarial"] == pytest.approx(adversarial.item(), rel=1e-4)
    assert metrics["bn_statistics"] == pytest.approx(distance.item(), rel=1e-4)
    assert metrics["generator_loss"] == pytest.approx((adversarial + distance).item(), rel=1e-4)
    assert_descended(method.generator, adversarial + distance)
    assert min(shares(metrics).values()) > 0.005


@pytest.mark.parametrize("kind", ["l1", "kl"])
def test_the_student_descends_the_discrepancy(kind: str) -> None:
    method = make(discrepancy=kind, student_lr=STILL, student_steps=1)
    generator = weights(method.generator)
    torch.manual_seed(5)
    metrics = by_hand(method, method.student_phase)
    torch.manual_seed(5)
    images = method.image.normalise(method.generator(torch.randn(16, 8)))
    expected = discrepancy(kind, method.student(images), method.teacher(images))
    assert metrics["student_loss"] == pytest.approx(expected.item(), rel=1e-4)
    assert_descended(method.student, expected)
    assert all(torch.equal(one, generator[name]) for name, one in method.generator.named_parameters())
    assert all(parameter.grad is None for parameter in method.generator.parameters())


@pytest.mark.parametrize("term", KNOBS)
def test_each_term_trains_the_generator_alone(term: str) -> None:
    method = make(**{**dict.fromkeys(KNOBS.values(), 0.0), KNOBS[term]: 1.0})
    student, teacher, generator = (weights(one) for one in (method.student, method.teacher, method.generator))
    assert shares(by_hand(method, method.generator_step)) == {term: 1.0}
    assert same(student, weights(method.student)) and same(teacher, weights(method.teacher))
    assert not same(generator, weights(method.generator))
    assert all(parameter.grad is None for one in (method.student, method.teacher) for parameter in one.parameters())


def test_a_step_is_k_of_the_student_and_one_of_the_generator() -> None:
    method = make()
    modes = modes_of(method.student)
    events(method, 1)
    assert modes == [(True, False)] * 3 + [(False, True)] and method.queries == 4 * 16
