"""DFQ: its terms against their formulas, the warm-up, who learns from what."""

from __future__ import annotations

import math
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
    values,
    weights,
)
from torch import Tensor, nn

from dfkd_core.kit.recorder import Seen
from dfkd_core.kit.recording import Recording
from dfkd_core.losses.bn_statistics import observe
from dfkd_core.methods.dfq import DFQ, DFQConfig

TINY = {
    "warm_up": 2, "epochs": 5, "iterations": 2, "student_steps": 3, "batch_size": 16, "latent": 8, "width": 4,
}  # fmt: skip
KNOBS = {term.name: term.knob for term in DFQ.terms}


def make(**changes: Any) -> DFQ:
    problem = collecting_problem(recording=Recording(samples_every=0, health_every=1, phases_every=0))
    return DFQ(problem, DFQConfig.build("demo", {**TINY, **changes}))


def after(method: DFQ) -> DFQ:
    """Past the warm-up, with nothing learned."""
    method.step = method.config.warm_up
    return method


def divergence(method: DFQ, images: Tensor) -> Tensor:
    """Σ_l,c KL(N(μ, σ²) ‖ N(μ̂, σ̂²)), variances with BatchNorm's epsilon."""
    found, hooks = [], []
    for layer in method.teacher.modules():
        if isinstance(layer, nn.BatchNorm2d):

            def hear(layer: Any, given: tuple[Tensor, ...]) -> None:
                mean, variance = given[0].mean(dim=(0, 2, 3)), given[0].var(dim=(0, 2, 3), unbiased=False) + 1e-5
                stored = layer.running_var + 1e-5
                apart = ((mean - layer.running_mean) ** 2 + variance) / (2 * stored)
                found.append((apart - 0.5 * (variance / stored).log() - 0.5).sum())

            hooks.append(layer.register_forward_pre_hook(hear))
    method.teacher(images)
    for hook in hooks:
        hook.remove()
    return torch.stack(found).sum()


def kl(student: Tensor, teacher: Tensor) -> Tensor:
    p = teacher.softmax(dim=1)
    return (p * (p.log() - student.log_softmax(dim=1))).sum() / len(student)


def auxiliary(method: DFQ, images: Tensor) -> dict[str, Tensor]:
    p = method.teacher(images).softmax(dim=1)
    mean = p.mean(dim=0)
    return {
        "bn_statistics": divergence(method, images),
        "entropy": -(p * p.log()).sum() / len(p),
        "class_balance": (mean * mean.log()).sum(),
    }


def test_the_generator_descends_minus_the_divergence_and_the_auxiliary_loss() -> None:
    weighed = {"bn_weight": 0.02, "entropy_weight": 0.3, "class_balance_weight": 0.4, "adversarial_weight": 0.7}
    method = after(make(generator_lr=STILL, **weighed))
    torch.manual_seed(5)
    metrics = by_hand(method, method.generator_step)
    torch.manual_seed(5)
    images = method.image.normalise(method.generator(torch.randn(16, 8)))
    expected = {name: weighed[KNOBS[name]] * term for name, term in auxiliary(method, images).items()}
    expected["adversarial"] = -0.7 * kl(method.student(images), method.teacher(images))
    for name, term in expected.items():
        assert metrics[name] == pytest.approx(term.item(), rel=1e-3), name
    assert metrics["generator_loss"] == pytest.approx(sum(term.item() for term in expected.values()), rel=1e-3)
    assert_descended(method.generator, sum(expected.values()))
    assert min(shares(metrics).values()) > 0.005


def test_in_the_warm_up_the_generator_learns_alone_and_is_not_told_of_the_student() -> None:
    method = make()
    student, generator = weights(method.student), weights(method.generator)
    modes = modes_of(method.student)
    first, second = values(events(method, 2))
    assert set(shares(first)) == set(KNOBS) - {"adversarial"} and "student_loss" not in first
    assert not modes and method.queries == 2 * 16 and not method.student_learns
    assert same(student, weights(method.student)) and not same(generator, weights(method.generator))
    assert "adversarial" in values(events(method, 3))[0] and method.student_learns
    assert modes == [(False, True)] + [(True, False)] * 3 and method.queries == 2 * 16 + 4 * 16


def test_the_student_descends_the_divergence_with_nesterov() -> None:
    method = after(make(student_lr=STILL, student_steps=1))
    generator = weights(method.generator)
    torch.manual_seed(5)
    metrics = by_hand(method, method.student_phase)
    torch.manual_seed(5)
    images = method.image.normalise(method.generator(torch.randn(16, 8)))
    expected = kl(method.student(images), method.teacher(images))
    assert metrics["student_loss"] == pytest.approx(expected.item(), rel=1e-4)
    assert_descended(method.student, expected)
    assert method.student_optimizer.param_groups[0]["nesterov"]
    assert all(torch.equal(one, generator[name]) for name, one in method.generator.named_parameters())
    assert all(parameter.grad is None for parameter in method.generator.parameters())


@pytest.mark.parametrize("term", KNOBS)
def test_each_term_trains_the_generator_alone(term: str) -> None:
    method = after(make(**{**dict.fromkeys(KNOBS.values(), 0.0), KNOBS[term]: 1.0}))
    student, teacher, generator = (weights(one) for one in (method.student, method.teacher, method.generator))
    assert shares(by_hand(method, method.generator_step)) == {term: 1.0}
    assert same(student, weights(method.student)) and same(teacher, weights(method.teacher))
    assert not same(generator, weights(method.generator))
    assert all(parameter.grad is None for one in (method.student, method.teacher) for parameter in one.parameters())


def test_the_norms_of_others_are_a_switch() -> None:
    method = make(bn_measure="norms", bn_weight=1.0, generator_lr=STILL)
    torch.manual_seed(5)

    def step(seen: Seen) -> None:
        method.generator_step(seen)

    metrics = by_hand(method, step)
    torch.manual_seed(5)
    images = method.image.normalise(method.generator(torch.randn(16, 8)))
    assert metrics["bn_statistics"] == pytest.approx(observe(method.teacher, images)[1].item(), rel=1e-4)


def test_epochs_and_rates_begin_after_the_warm_up() -> None:
    method = make(student_lr=0.1, generator_lr=0.02)
    assert [method.config.epoch_at(step) for step in (3, 4, 5, 6)] == [None, 1, None, 2]
    events(method, 2)
    assert method.generator_optimizer.param_groups[0]["lr"] == 0.02
    rates = [metrics["learning_rate"] for metrics in values(events(method, 6))]
    assert rates == pytest.approx([0.1, 0.1] + [0.05 * (1 + math.cos(math.pi / 5))] * 2)
    assert method.generator_optimizer.param_groups[0]["lr"] == pytest.approx(0.2 * rates[-1])
