"""ZSKT: its losses against their formulas, one batch for all, whose attention is matched."""

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
from dfkd_core.methods.zskt import ZSKT, ZSKTConfig, shared_layers
from dfkd_core.networks.classifiers import Features

TINY = {"epochs": 5, "iterations": 1, "student_steps": 4, "batch_size": 16, "latent": 8, "width": 4}


def make(student: str = "resnet8", **changes: Any) -> ZSKT:
    problem = collecting_problem(student=student, recording=Recording(samples_every=0, health_every=1, phases_every=0))
    return ZSKT(problem, ZSKTConfig.build("demo", {**TINY, **changes}))


def kl(student: Tensor, teacher: Tensor) -> Tensor:
    p = teacher.softmax(dim=1)
    return (p * (p.log() - student.log_softmax(dim=1))).sum() / len(student)


def attention(method: ZSKT, images: Tensor) -> Tensor:
    """Σ_l mean (A_l^S − A_l^T)² over the three stages that follow the stem."""
    total = torch.zeros(())
    ours, theirs = (network.features(images).maps for network in (method.problem.student, method.teacher))
    for name in ("stage1", "stage2", "stage3"):
        energies = [(one[name] ** 2).mean(dim=1).flatten(1) for one in (ours, theirs)]
        mine, other = (energy / energy.square().sum(dim=1, keepdim=True).sqrt() for energy in energies)
        total = total + ((mine - other) ** 2).mean()
    return total


@pytest.mark.parametrize(("class_mean", "share"), [(False, 1.0), (True, 0.1)])
def test_the_generator_descends_minus_the_divergence(class_mean: bool, share: float) -> None:
    method = make(generator_lr=STILL, class_mean=class_mean)
    student, teacher = weights(method.student), weights(method.teacher)
    latents = torch.randn(16, 8)
    metrics = by_hand(method, lambda seen: method.generator_step(seen, latents))
    images = method.image.normalise(method.generator(latents))
    expected = -share * kl(method.student(images), method.teacher(images))
    assert metrics["adversarial"] == metrics["generator_loss"] == pytest.approx(expected.item(), rel=1e-4)
    assert_descended(method.generator, expected)
    assert shares(metrics) == {"adversarial": 1.0}
    assert same(student, weights(method.student)) and same(teacher, weights(method.teacher))
    assert all(parameter.grad is None for one in (method.student, method.teacher) for parameter in one.parameters())


@pytest.mark.parametrize(("class_mean", "share"), [(False, 1.0), (True, 0.1)])
def test_the_student_descends_the_divergence_and_the_attention(class_mean: bool, share: float) -> None:
    method = make(student_lr=STILL, student_steps=1, attention_weight=30.0, class_mean=class_mean)
    generator = weights(method.generator)
    latents = torch.randn(16, 8)
    metrics = by_hand(method, lambda seen: method.student_phase(seen, latents))
    images = method.image.normalise(method.generator(latents)).detach()
    divergence, attended = share * kl(method.student(images), method.teacher(images)), 30 * attention(method, images)
    assert metrics["divergence"] == pytest.approx(divergence.item(), rel=1e-4)
    assert metrics["attention"] == pytest.approx(attended.item(), rel=1e-4)
    assert metrics["student_loss"] == pytest.approx((divergence + attended).item(), rel=1e-4)
    assert_descended(method.student, divergence + attended)
    assert all(torch.equal(one, generator[name]) for name, one in method.generator.named_parameters())
    assert all(parameter.grad is None for parameter in method.generator.parameters())


def test_without_attention_the_divergence_is_all() -> None:
    (metrics,) = values(events(make(attention_weight=0.0), 1))
    assert metrics["student_loss"] > 0 and not {"attention", "divergence"} & set(metrics)


def test_a_step_takes_one_batch_of_latents_and_asks_the_teacher_twice() -> None:
    method = make(student_lr=STILL)
    heard, shown = overhear(method.teacher), []
    modes = modes_of(method.student)
    features = method.problem.student.features
    method.problem.student.features = lambda images: shown.append(images) or features(images)  # type: ignore
    torch.manual_seed(1)
    latents = torch.randn(16, 8)
    events(method, 1)
    assert method.queries == 32 and len(heard) == 2 and modes == [(False, True)]
    first, *learned = shown
    assert len(learned) == 4 and all(images is learned[0] for images in learned)
    assert not torch.equal(first, learned[0]), "the generator has learned in between"
    torch.testing.assert_close(method.image.normalise(method.generator(latents)), learned[0])


def maps(*sizes: int) -> Features:
    found = {f"layer{index}": torch.zeros(2, 3, size, size) for index, size in enumerate(sizes)}
    return Features(torch.zeros(2, 10), torch.zeros(2, 3), found)


def test_the_last_layers_of_a_common_size_are_matched() -> None:
    student, teacher = maps(8, 8, 4, 1), maps(8, 4, 4, 2, 1)
    pairs = shared_layers(student, teacher)
    assert [one.shape[2] for one, _ in pairs] == [8, 4]
    assert pairs[0][0] is student.maps["layer1"] and pairs[0][1] is teacher.maps["layer0"]
    assert pairs[1][1] is teacher.maps["layer2"]
    assert shared_layers(maps(28, 14), maps(12, 4)) == []


def test_the_student_has_adam_and_both_rates_fall_along_a_cosine() -> None:
    method = make(student_lr=2e-3, generator_lr=1e-3)
    assert isinstance(method.student_optimizer, torch.optim.Adam)
    assert method.student_optimizer.param_groups[0]["betas"] == (0.9, 0.999)
    for step, rate in enumerate((1, 0.90451, 0.65451), start=1):
        (metrics,) = values(events(method, step))
        assert metrics["learning_rate"] == pytest.approx(2e-3 * rate, rel=1e-4)
        assert method.generator_optimizer.param_groups[0]["lr"] == pytest.approx(1e-3 * rate, rel=1e-4)
