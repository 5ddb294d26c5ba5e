"""DeepInversion: its terms against their formulas, the pixels that they move, and what joins the pool."""

from __future__ import annotations

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

from dfkd_core.losses.bn_statistics import observe
from dfkd_core.methods import deepinversion
from dfkd_core.methods.deepinversion import DeepInversion

TINY = {
    "synthesis_steps": 1, "synthesis_size": 16, "distill_steps": 3, "updates": 1, "batch_size": 16, "pool_size": 40,
}  # fmt: skip
KNOBS = {term.name: term.knob for term in DeepInversion.terms}
ALL_OFF = dict.fromkeys(KNOBS.values(), 0.0)
make = maker(DeepInversion, TINY, "lenet5-bn")


def first_images(method: DeepInversion) -> tuple[Tensor, dict[str, float]]:
    """The noise that a step begins with, and its metrics after one iteration."""
    torch.manual_seed(1)
    noise = torch.randn(16, 1, 8, 8)
    return noise, values(events(method, 1))[0]


def test_the_terms_are_those_of_the_equations() -> None:
    method = make(
        class_prior_weight=2.0, bn_weight=0.5, tv_weight=0.3, l2_weight=0.2, adversarial_weight=4.0, jitter="none"
    )
    student = weights(method.student)
    noise, row = first_images(method)
    method.student.load_state_dict(student)
    method.student.eval()
    logits, own = method.teacher(noise).detach().double(), method.student(noise).detach().double()
    assert row["bn_statistics"] == pytest.approx(0.5 * observe(method.teacher, noise)[1].item(), rel=1e-4)
    right, down = noise[..., :-1] - noise[..., 1:], noise[..., :-1, :] - noise[..., 1:, :]
    rising, falling = noise[..., 1:, :-1] - noise[..., :-1, 1:], noise[..., :-1, :-1] - noise[..., 1:, 1:]
    norms = sum(part.square().sum().sqrt().item() for part in (right, down, rising, falling))
    assert row["tv"] == pytest.approx(0.3 * norms / 0.25, rel=1e-4)  # √(16/256)
    assert row["l2"] == pytest.approx(0.2 * noise.square().sum().sqrt().item() / 0.25, rel=1e-4)
    p, q = logits.softmax(dim=1), own.softmax(dim=1)
    middle = (p + q) / 2
    js = 0.5 * ((p * (p / middle).log()).sum(1) + (q * (q / middle).log()).sum(1)).mean()
    assert row["adversarial"] == pytest.approx(-4 * js.item(), rel=1e-3)
    assert row["guidance"] == pytest.approx(sum(row[term] for term in KNOBS), rel=1e-4)


def test_the_class_prior_is_the_cross_entropy_with_every_class_in_turn() -> None:
    method = make(**{**ALL_OFF, "class_prior_weight": 1.0}, synthesis_size=20, jitter="none")
    torch.manual_seed(1)
    noise = torch.randn(20, 1, 8, 8)
    (row,) = values(events(method, 1))
    log_p = method.teacher(noise).log_softmax(dim=1)
    by_hand = -log_p[torch.arange(20), torch.arange(20) % 10].mean()
    assert row["class_prior"] == pytest.approx(by_hand.item(), rel=1e-5)


def test_the_released_divergence_is_cut_warm_and_the_other_way_round() -> None:
    method = make(divergence="released")
    images = torch.randn(16, 1, 8, 8)
    method.student.eval()
    q, p = ((network(images) / 3).softmax(dim=1) for network in (method.student, method.teacher))
    middle = ((p + q) / 2).clamp(0.01, 0.99)
    p, q = p.clamp(0.01, 0.99), q.clamp(0.01, 0.99)
    by_hand = 0.5 * (middle * (middle / p).log() + middle * (middle / q).log()).sum(dim=1).mean()
    assert method.competition(images, method.teacher(images)).item() == pytest.approx(by_hand.item(), rel=1e-4)


@pytest.mark.parametrize("term", KNOBS)
def test_each_term_moves_the_images_and_nothing_else(term: str) -> None:
    method = make(**{**ALL_OFF, KNOBS[term]: 1.0}, synthesis_steps=2)
    student, teacher = weights(method.student), weights(method.teacher)
    seen = next(method.steps())
    first = method.synthesise(seen)
    row = values(list(seen.events()))[0]
    assert shares(row) == {term: 1.0}
    assert same(student, weights(method.student)) and same(teacher, weights(method.teacher))
    assert first.shape == (16, 1, 8, 8) and first.min() >= 0 and first.max() <= 1


def test_every_iteration_lowers_the_loss_of_the_images() -> None:
    """From noise the loss falls far; a single iteration leaves nearly all of it."""
    one, many = (values(events(make(synthesis_steps=steps), 1))[0]["guidance"] for steps in (1, 40))
    assert many < 0.6 * one


def test_what_joins_the_pool_is_the_batch_of_lowest_loss_not_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """The released code keeps a reference, which goes on descending."""
    kept: list[Tensor] = []

    class Told(deepinversion.Best):
        def keep(self, loss: Tensor, *made: Tensor) -> None:
            kept.append(made[0].detach().clone())
            super().keep(torch.tensor(float(abs(len(kept) - 2))), *made)  # the second is the best

    monkeypatch.setattr(deepinversion, "Best", Told)
    method = make(synthesis_steps=4)
    made = method.synthesise(next(method.steps()))
    expected = method.image.to_pixels(kept[1]).clamp(0, 1)
    assert torch.equal(made, expected) and not torch.equal(kept[1], kept[3])


@pytest.mark.parametrize(("jitter", "ways"), [("none", 1), ("shift", 9), ("shift+flip", 18)])
def test_the_images_shift_around_their_edges_and_are_mirrored(jitter: str, ways: int) -> None:
    method, images = make(jitter=jitter), torch.rand(2, 1, 8, 8)
    found = {tuple(method.moved(images).flatten().tolist()) for _ in range(300)}
    assert len(found) == ways
    assert all(sorted(one) == sorted(images.flatten().tolist()) for one in found)


def test_without_competition_it_is_plain_deep_inversion() -> None:
    method = make(adversarial_weight=0, warm_steps=1)
    rows = values(events(method, 3))
    assert all("adversarial" not in row for row in rows)
    assert "adversarial" not in values(events(make(warm_steps=1), 1))[0], "nor while the student does not learn"


def test_queries_are_counted() -> None:
    method = make(synthesis_steps=5, updates=2)
    events(method, 2)
    assert method.queries == 2 * (5 * 16 + 2 * 16)
