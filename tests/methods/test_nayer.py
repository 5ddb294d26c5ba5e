"""NAYER: the noisy layer, what the generator descends, and when it begins anew."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from stepping import (
    events,
    maker,
    own_generator,  # noqa: F401 - in every test here
    same,
    shares,
    values,
    weights,
)
from torch import Tensor

from dfkd_core.methods.nayer import NAYER

TINY = {
    "synthesis_steps": 2, "synthesis_size": 24, "warm_steps": 0, "distill_steps": 6, "updates": 1, "batch_size": 16,
    "latent": 8, "width": 4, "pool_size": 60, "embedding_length": 6, "generator_life": 3,
}  # fmt: skip
KNOBS = {term.name: term.knob for term in NAYER.terms}
ALL_OFF = dict.fromkeys(KNOBS.values(), 0.0)
make = maker(NAYER, TINY, taught=True)


def test_the_terms_are_those_of_the_equation() -> None:
    method = make(synthesis_steps=1, synthesis_size=20, bn_weight=0.5, class_prior_weight=2.0, adversarial_weight=3.0)
    student = weights(method.student)
    seen: list[tuple[Tensor, Tensor, Tensor]] = []
    observe = method.statistics.observe

    def told(images: Tensor) -> Any:
        answers, distance = observe(images)
        seen.append((images.detach(), answers.logits.detach(), distance.detach()))
        return answers, distance

    method.statistics.observe = told  # type: ignore[method-assign]
    (row,) = values(events(method, 1))
    ((images, logits, distance),) = seen
    assert row["bn_statistics"] == pytest.approx(0.5 * distance.item(), rel=1e-5)
    wanted = torch.arange(20) % 10  # every class in turn
    by_hand = -logits.log_softmax(dim=1)[torch.arange(20), wanted].mean()
    assert row["class_prior"] == pytest.approx(2 * by_hand.item(), rel=1e-5)
    method.student.load_state_dict(student)
    method.student.eval()
    own = method.student(images).detach()
    agree = own.argmax(dim=1) == logits.argmax(dim=1)
    p = logits.double().softmax(dim=1)
    divergence = (p * (p.log() - own.double().log_softmax(dim=1))).sum(dim=1)
    assert row["adversarial"] == pytest.approx(-3 * (divergence * agree).sum().item() / 20, rel=1e-3, abs=1e-6)
    assert row["generator_loss"] == pytest.approx(sum(row[term] for term in KNOBS), rel=1e-4)


@pytest.mark.parametrize("term", KNOBS)
def test_each_term_moves_the_generator_and_its_noisy_layers_and_nothing_else(term: str) -> None:
    method = make(**{**ALL_OFF, KNOBS[term]: 1.0}, synthesis_steps=1)
    student, teacher, before = weights(method.student), weights(method.teacher), []
    renew = method.generator.renew

    def told() -> None:
        renew()
        before.append(weights(method.generator))

    method.generator.renew = told  # type: ignore[method-assign]
    seen = next(method.steps())
    method.synthesise(seen)
    (row,) = values(list(seen.events()))
    assert shares(row) == {term: 1.0}
    after = weights(method.generator)
    for part in ("noisy.0.weight", "noisy.2.weight", "project.weight", "decode.3.weight"):
        assert not torch.equal(before[0][part], after[part]), part
    assert torch.equal(before[0]["embeddings"], after["embeddings"]), "what a class is stays"
    assert same(student, weights(method.student)) and same(teacher, weights(method.teacher))


def test_each_batch_has_other_noise_and_each_life_another_generator() -> None:
    method = make(generator_lr=1e-12)
    noise, generators = [], []
    for step in range(1, 7):
        events(method, step)
        noise.append(method.generator.noisy[0].weight.detach().clone())
        generators.append(method.generator.project.weight.detach().clone())
    assert all(not torch.allclose(one, other) for one, other in zip(noise, noise[1:], strict=False))
    assert all(weight.std() == pytest.approx(1, rel=0.4) for weight in noise)
    alike = [torch.allclose(one, other, atol=1e-8) for one, other in zip(generators, generators[1:], strict=False)]
    assert alike == [True, True, False, True, True]


def test_in_the_warm_up_a_generator_lives_longer_and_nobody_disagrees() -> None:
    method = make(warm_steps=4, generator_lr=1e-12)
    rows, generators = [], []
    for step in range(1, 6):
        rows += values(events(method, step))
        generators.append(method.generator.project.weight.detach().clone())
    alike = [torch.allclose(one, other, atol=1e-8) for one, other in zip(generators, generators[1:], strict=False)]
    assert alike == [True, True, True, False]
    assert ["adversarial" in row for row in rows] == [False] * 4 + [True]


@pytest.mark.parametrize(("embedding", "length"), [("random", 6), ("one-hot", 10)])
def test_classes_are_embedded_once(embedding: str, length: int) -> None:
    method = make(embedding=embedding)
    embeddings = method.generator.embeddings.clone()
    assert embeddings.shape == (10, length) and len({tuple(row) for row in embeddings.tolist()}) == 10
    events(method, 2)
    assert torch.equal(method.generator.embeddings, embeddings)
    assert "embeddings" in method.state_dict()["generator"]


def test_queries_are_counted() -> None:
    method = make(warm_steps=1, updates=2)
    events(method, 3)
    assert method.queries == 3 * 2 * 24 + 2 * 2 * 16
