"""SpaceshipNet: its pools of features, what is made of them, and where the student is held to look."""

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

from dfkd_core.methods import spaceshipnet
from dfkd_core.methods.spaceshipnet import SpaceshipNet

TINY = {
    "synthesis_steps": 2, "synthesis_size": 20, "warm_steps": 0, "distill_steps": 4, "updates": 1, "batch_size": 16,
    "latent": 8, "width": 4, "pool_size": 30,
}  # fmt: skip
KNOBS = {term.name: term.knob for term in SpaceshipNet.terms}
make = maker(SpaceshipNet, TINY)


def test_the_generators_terms_are_those_of_the_paper() -> None:
    method = make(synthesis_steps=1, class_prior_weight=2.0, bn_weight=0.5)
    found: list[Tensor] = []
    view = method.view
    method.view = lambda pixels: found.append(view(pixels)) or found[-1]  # type: ignore[method-assign, func-returns-value]
    (row,) = values(events(method, 1))
    logits = method.teacher(found[0]).detach()
    by_hand = -logits.log_softmax(dim=1)[torch.arange(20), torch.arange(20) % 10].mean()
    assert row["class_prior"] == pytest.approx(2 * by_hand.item(), rel=1e-4)
    assert row["bn_statistics"] == pytest.approx(
        0.5 * spaceshipnet.observe(method.teacher, found[0])[1].item(), rel=1e-4
    )
    assert row["generator_loss"] == pytest.approx(row["class_prior"] + row["bn_statistics"], rel=1e-4)


@pytest.mark.parametrize("term", KNOBS)
def test_each_term_moves_the_generator_and_not_the_student(term: str) -> None:
    method = make(**{**dict.fromkeys(KNOBS.values(), 0.0), KNOBS[term]: 1.0})
    generator, student = weights(method.generator), weights(method.student)
    seen = next(method.steps())
    method.synthesise(seen)
    (row,) = values(list(seen.events()))
    assert shares(row) == {term: 1.0}
    assert not same(generator, weights(method.generator)) and same(student, weights(method.student))


def test_the_student_descends_three_terms_and_the_generator_stands_still() -> None:
    method = make()
    events(method, 1)
    generator, student = weights(method.generator), weights(method.student)
    seen = next(method.steps())
    method.stage.learn(seen, method.draw)
    (row,) = values(list(seen.events()))
    assert row["student_loss"] == pytest.approx(row["kl"] + row["cam"] + row["grad_cam"], rel=1e-5)
    assert min(row["kl"], row["cam"], row["grad_cam"]) > 0
    assert same(generator, weights(method.generator)) and not same(student, weights(method.student))


def test_the_students_terms_have_the_papers_temperature_and_weights() -> None:
    """T²·KL at T 30, and λ times the squared difference of class activation maps, those of each Grad-CAM alike."""
    method = make(cam_weight=0.5, grad_cam_weight=2.0)
    objective, images = method.objective(), torch.randn(16, 1, 8, 8)
    objective.eval()
    terms, _ = objective(images, objective.ask(method.teacher, images))
    ours, theirs = (network.features(images) for network in (method.student, method.teacher))
    p, q = (seen.logits.double().div(30).softmax(dim=1) for seen in (theirs, ours))
    assert terms["kl"].item() == pytest.approx(900 * (p * (p / q).log()).sum(dim=1).mean().item(), rel=1e-3)
    maps = []
    for network, seen in ((method.student, ours), (method.teacher, theirs)):
        last = list(seen.maps.values())[-1]
        maps.append((last.permute(0, 2, 3, 1) @ network.head.weight.t()).detach())
    assert maps[0].shape == maps[1].shape
    assert terms["cam"].item() == pytest.approx(0.5 * (maps[0] - maps[1]).square().mean().item(), rel=1e-4)
    other = make(cam_weight=0.5, grad_cam_weight=1.0)
    other.student.load_state_dict(method.student.state_dict())
    objective = other.objective().eval()
    halved = objective(images, objective.ask(method.teacher, images))[0]["grad_cam"]
    assert terms["grad_cam"].item() == pytest.approx(2 * halved.item(), rel=1e-5)


@pytest.mark.parametrize("term", ["cam", "grad_cam"])
def test_what_maps_are_weighed_with_is_constant(term: str) -> None:
    """The student learns where to look by its features, not by its last layer."""
    method = make()
    objective, images = method.objective(), torch.randn(16, 1, 8, 8)
    terms, _ = objective(images, objective.ask(method.teacher, images))
    head, first = method.student.head.weight, next(method.student.parameters())
    at_head, at_first = torch.autograd.grad(terms[term], [head, first], allow_unused=True)
    assert at_head is None and at_first.abs().max() > 0


def test_features_of_three_stages_join_their_pools(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[tuple[Tensor, ...]] = []

    class Told(spaceshipnet.Best):
        def keep(self, loss: Tensor, *made: Tensor) -> None:
            kept.append(tuple(one.detach().clone() for one in made))
            super().keep(torch.tensor(float(len(kept))), *made)  # the first is the best

    monkeypatch.setattr(spaceshipnet, "Best", Told)
    method = make()
    made = method.synthesise(next(method.steps()))
    assert torch.equal(made, kept[0][0])
    assert [ring.rows.shape for ring in method.rings] == [(20, 8, 2, 2), (20, 8, 4, 4), (20, 4, 8, 8)]
    assert all(torch.equal(ring.rows, rows.half()) for ring, rows in zip(method.rings, kept[0][1:], strict=True))
    events(method, 2)
    assert [len(ring) for ring in method.rings] == [30, 30, 30] and method.rings[0].added == 40


def test_without_exchange_images_come_back_from_the_features_of_any_stage() -> None:
    method = make(exchange=0.0, generator_lr=1e-12)
    method.synthesise(next(method.steps()))
    known = [method.generator.from_features(ring.rows.float(), stage) for stage, ring in enumerate(method.rings)]
    torch.testing.assert_close(known[0], known[1], atol=0.2, rtol=0)  # eval mode in between, and half precision
    drawn = torch.cat([method.draw() for _ in range(6)])
    everything = torch.cat(known)
    nearest = torch.cdist(drawn.flatten(1), everything.flatten(1)).min(dim=1).values
    assert nearest.max() < 1e-2


def test_with_exchange_some_come_from_two() -> None:
    method = make(exchange=1.0)
    method.synthesise(next(method.steps()))
    known = torch.cat(
        [method.generator.from_features(ring.rows.float(), stage) for stage, ring in enumerate(method.rings)]
    )
    drawn = torch.cat([method.draw() for _ in range(6)])
    assert torch.cdist(drawn.flatten(1), known.flatten(1)).min(dim=1).values.median() > 1e-2


def test_a_student_without_averaging_is_matched_by_its_answers_alone() -> None:
    """LeNet's stages have other names, and a hidden layer stands behind its last map."""
    method = make(student="lenet5-bn")
    assert [term.name for term in method.student_terms] == ["kl"]
    assert "student_loss" in values(events(method, 1))[0]


def test_queries_are_counted() -> None:
    method = make(warm_steps=1, updates=2)
    events(method, 3)
    assert method.queries == 3 * 2 * 20 + 2 * 2 * 16
