"""PRE-DFKD: its terms against their formulas, who learns from what, the memory."""

from __future__ import annotations

import copy
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
from torch import Tensor
from torch.nn import functional

from dfkd_core.kit.recording import Recording
from dfkd_core.methods.pre_dfkd import PREDFKD, PREDFKDConfig

TINY = {
    "epochs": 5, "iterations": 2, "student_steps": 3, "memory_steps": 2, "batch_size": 16, "latent": 8, "width": 4,
    "memory_width": 4,
}  # fmt: skip
KNOBS = {term.name: term.knob for term in PREDFKD.terms}
OF_GENERATOR = [term.name for term in PREDFKD.terms if term.of == "generator"]
OF_MEMORY = [term.name for term in PREDFKD.terms if term.of == "memory"]
ALL_OFF = dict.fromkeys(KNOBS.values(), 0.0)


def make(**changes: Any) -> PREDFKD:
    problem = collecting_problem(recording=Recording(samples_every=0, health_every=1, phases_every=0))
    return PREDFKD(problem, PREDFKDConfig.build("demo", {**TINY, **changes}))


def balance(logits: Tensor, base: float = math.e) -> Tensor:
    """Σ_c p̄_c log p̄_c."""
    mean = logits.softmax(dim=1).mean(dim=0)
    return (mean * mean.log()).sum() / math.log(base)


def js(one: Tensor, other: Tensor) -> Tensor:
    p, q = one.softmax(dim=1), other.softmax(dim=1)
    middle = (p + q) / 2
    return (p * (p / middle).log() + q * (q / middle).log()).sum() / (2 * len(p))


def test_the_generator_descends_dafls_terms_and_minus_the_divergence() -> None:
    method = make(generator_lr=STILL, logarithm="10", adversarial_weight=0.7)
    torch.manual_seed(5)
    metrics = by_hand(method, method.generation)
    torch.manual_seed(5)
    images = method.image.normalise(method.generator(torch.randn(16, 8)))
    answers = method.teacher.features(images)
    expected = {
        "class_prior": -answers.logits.log_softmax(dim=1).max(dim=1).values.mean(),
        "class_balance": 5 * balance(answers.logits, 10),
        "activation": -0.1 * list(answers.maps.values())[-1].mean(dim=(2, 3)).abs().mean(),
        "adversarial": -0.7 * js(method.student(images), answers.logits),
    }
    assert {name: metrics[name] for name in expected} == pytest.approx(
        {name: term.item() for name, term in expected.items()}, rel=1e-4
    )
    assert_descended(method.generator, sum(expected.values()))
    found = shares(metrics)
    assert found.keys() == set(OF_GENERATOR) and min(found.values()) > 1e-3


@pytest.mark.parametrize("term", OF_GENERATOR)
def test_each_of_its_terms_trains_the_generator_alone(term: str) -> None:
    method = make(**{**ALL_OFF, KNOBS[term]: 1.0})
    others = (method.student, method.teacher, method.memory)
    before, generator = [weights(one) for one in others], weights(method.generator)
    assert shares(by_hand(method, method.generation)) == {term: 1.0}
    assert not same(generator, weights(method.generator))
    assert all(same(one, weights(network)) for one, network in zip(before, others, strict=True))
    assert all(parameter.grad is None for network in others for parameter in network.parameters())


def remembered(method: PREDFKD) -> tuple[Tensor, Tensor, dict[str, float]]:
    """What the memory was shown in one update, the teacher's logits on it, and the metrics."""
    images = torch.randn(6, 1, 8, 8)
    logits = method.teacher(images)
    torch.manual_seed(7)
    return images, logits, by_hand(method, lambda seen: method.remember(seen, images, logits))


def test_the_memory_descends_the_errors_of_answers_and_pixels_and_the_divergence() -> None:
    method = make(memory_lr=STILL, kl_weight=0.01)
    images, logits, metrics = remembered(method)
    torch.manual_seed(7)
    noise = torch.randn(6, 64, 1, 1)
    mean, std = method.memory.infer(images, (noise,)).posterior[0]
    again = method.memory.generate((mean + std * noise,)).images
    expected = {
        "memory_answer": (method.teacher(again) - logits).abs().sum() / 60,
        "memory_pixel": (again - images).abs().sum() / (6 * 64),
        "memory_kl": 0.01 * 0.5 * (mean**2 + std**2 - 2 * std.log() - 1).sum() / 6,
    }
    assert {name: metrics[name] for name in expected} == pytest.approx(
        {name: term.item() for name, term in expected.items()}, rel=1e-4
    )
    assert metrics["memory_loss"] == pytest.approx(sum(term.item() for term in expected.values()), rel=1e-4)
    assert_descended(method.memory, sum(expected.values()))


@pytest.mark.parametrize("term", OF_MEMORY)
def test_each_of_its_terms_trains_the_memory_alone(term: str) -> None:
    method = make(**{**ALL_OFF, KNOBS[term]: 1.0})
    others = (method.student, method.teacher, method.generator)
    before, memory = [weights(one) for one in others], weights(method.memory)
    assert set(remembered(method)[2]) >= {term, "memory_loss"}
    assert not same(memory, weights(method.memory))
    assert all(same(one, weights(network)) for one, network in zip(before, others, strict=True))
    assert all(parameter.grad is None for network in others for parameter in network.parameters())


def test_what_is_replayed_comes_from_latents_one_step_down_the_imbalance() -> None:
    method = make(generator_lr=0.05)
    memory = weights(method.memory)
    torch.manual_seed(3)
    images = method.replay()
    torch.manual_seed(3)
    latents = torch.randn(2, 64, 1, 1, requires_grad=True)
    logits = method.teacher(method.memory.generate((latents,)).images)
    moments = (latents.var(dim=0) - 1).square().mean() + latents.mean(dim=0).square().mean()
    prior = functional.cross_entropy(logits, logits.argmax(dim=1))
    (gradient,) = torch.autograd.grad(prior + 5 * balance(logits) + moments, latents)
    moved = latents - 0.05 * gradient / (gradient.abs() + 1e-8)  # Adam's first step
    torch.testing.assert_close(images, method.memory.generate((moved,)).images, rtol=1e-4, atol=1e-5)
    assert not images.requires_grad and method.queries == 2
    assert same(memory, weights(method.memory)) and all(one.grad is None for one in method.memory.parameters())


def test_the_student_learns_from_new_and_replayed_images() -> None:
    method = make(student_lr=STILL, student_steps=1, memory_steps=1, memory_lr=STILL)
    shown: list[Tensor] = []
    method.student.register_forward_pre_hook(lambda module, given: shown.append(given[0]))
    metrics = by_hand(method, method.distillation)
    (images,) = shown
    assert len(images) == 2 + 16 and not images.requires_grad
    error = method.student(images) - method.teacher(images)
    assert metrics["student_loss"] == pytest.approx(error.abs().mean().item(), rel=1e-5)
    assert_descended(method.student, error.abs().mean())
    assert all(parameter.grad is None for parameter in method.generator.parameters())


def test_a_step_is_one_of_the_generator_k_of_the_student_and_those_of_the_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    method = make()
    modes, shown = modes_of(method.student), []
    original = method.remember

    def remember(seen: Any, images: Tensor, logits: Tensor) -> None:
        torch.testing.assert_close(logits, method.teacher(images))
        shown.append(len(images))
        original(seen, images, logits)

    monkeypatch.setattr(method, "remember", remember)
    events(method, 1)
    assert modes == [(False, True)] + [(True, False)] * 3 and shown == [2 + 8] * 2
    assert method.queries == 16 + 3 * (2 + 18) + 2 * 10


def test_the_memory_learns_what_is_generated() -> None:
    method = make(generator_lr=STILL, memory_lr=3e-3, batch_size=32, student_steps=2, iterations=30, epochs=1)
    losses = [metrics["memory_loss"] for metrics in values(events(method, 30))]
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])


def test_a_checkpoint_holds_the_memory() -> None:
    method, other = make(), make()
    events(method, 2)
    state = copy.deepcopy(method.state_dict())
    other.load_state_dict(state)
    for one in (method, other):
        events(one, 4)
    assert same(weights(method.memory), weights(other.memory)) and same(weights(method.student), weights(other.student))
