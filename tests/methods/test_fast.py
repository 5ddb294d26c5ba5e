"""Fast: what the copy descends, what the meta-generator learns of it, and when the student joins in."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from stepping import (
    events,
    maker,
    overhear,
    own_generator,  # noqa: F401 - in every test here
    same,
    shares,
    values,
    weights,
)
from torch import Tensor

from dfkd_core.kit import pooled
from dfkd_core.methods.fast import Fast

TINY = {
    "synthesis_steps": 3, "synthesis_size": 12, "warm_steps": 0, "distill_steps": 4, "updates": 1, "batch_size": 16,
    "latent": 8, "width": 4, "pool_size": 40,
}  # fmt: skip
KNOBS = {term.name: term.knob for term in Fast.terms}
ALL_OFF = dict.fromkeys(KNOBS.values(), 0.0)
make = maker(Fast, TINY, taught=True)


def test_the_terms_are_those_of_the_equations(monkeypatch: pytest.MonkeyPatch) -> None:
    method = make(synthesis_steps=1, bn_weight=0.5, class_prior_weight=2.0, adversarial_weight=3.0)
    student = weights(method.student)
    seen: list[tuple[Tensor, Tensor, Tensor]] = []
    observe = method.statistics.observe

    def told(images: Tensor) -> Any:
        answers, distance = observe(images)
        seen.append((images.detach(), answers.logits.detach(), distance.detach()))
        return answers, distance

    labels: list[Tensor] = []
    randint = torch.randint
    monkeypatch.setattr(method.statistics, "observe", told)
    monkeypatch.setattr(torch, "randint", lambda *given, **more: labels.append(randint(*given, **more)) or labels[-1])
    (row,) = values(events(method, 1))
    (images, logits, distance), *_ = seen
    assert row["bn_statistics"] == pytest.approx(0.5 * distance.item(), rel=1e-5)
    by_hand = -logits.log_softmax(dim=1)[torch.arange(12), labels[0]].mean()
    assert row["class_prior"] == pytest.approx(2 * by_hand.item(), rel=1e-5)
    method.student.load_state_dict(student)
    method.student.eval()
    own = method.student(images).detach()
    agree = own.argmax(dim=1) == logits.argmax(dim=1)
    p = logits.double().softmax(dim=1)
    divergence = (p * (p.log() - own.double().log_softmax(dim=1))).sum(dim=1)
    assert row["adversarial"] == pytest.approx(-3 * (divergence * agree).sum().item() / 12, rel=1e-3, abs=1e-6)
    assert row["generator_loss"] == pytest.approx(sum(row[term] for term in KNOBS), rel=1e-4)


@pytest.mark.parametrize("term", KNOBS)
def test_each_term_moves_copy_and_meta_generator_and_nothing_else(term: str) -> None:
    method = make(**{**ALL_OFF, KNOBS[term]: 1.0})
    generator, student, teacher = weights(method.generator), weights(method.student), weights(method.teacher)
    seen = next(method.steps())
    method.synthesise(seen)
    (row,) = values(list(seen.events()))
    assert shares(row) == {term: 1.0}
    assert not same(generator, weights(method.generator))
    assert same(student, weights(method.student)) and same(teacher, weights(method.teacher))


def test_no_term_is_negligible_beside_the_others() -> None:
    found = shares(values(events(make(adversarial_weight=5.0, bn_momentum=0.0), 2))[-1])
    assert set(found) == set(KNOBS) and min(found.values()) > 0.003, found


def gradients_met(method: Fast) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """θ before a batch; the gradients of all iterations, added up; where the copy ended."""
    start = [parameter.detach().clone() for parameter in method.generator.parameters()]
    met: list[list[Tensor]] = []
    learn_start = method.learn_start

    def told(gradients: list[Tensor]) -> None:
        met.append([one.clone() for one in gradients])
        learn_start(gradients)

    method.learn_start = told  # type: ignore[method-assign]
    method.synthesise(next(method.steps()))
    return start, met[0], [parameter.detach() for parameter in method.copy.parameters()]


def test_without_any_term_the_meta_generator_stays_where_it_is() -> None:
    method = make(**ALL_OFF)
    before = weights(method.generator)
    events(method, 1)
    assert same(weights(method.generator), before)


def test_by_fomaml_the_meta_generator_descends_the_gradients_that_its_copy_met() -> None:
    """Of one iteration it is the plain gradient; Adam's first step is η·sign of it, η the copy's rate times k."""
    method = make(synthesis_steps=1, adversarial_weight=0, bn_weight=0, class_prior_weight=1.0, generator_lr=1e-3)
    heard = overhear(method.teacher)
    start, met, _ = gradients_met(method)
    assert heard and any(one.abs().max() > 0 for one in met)
    for before, gradient, after in zip(start, met, method.generator.parameters(), strict=True):
        sure = gradient.abs() > 1e-5
        torch.testing.assert_close((before - after)[sure], 1e-3 * gradient[sure].sign(), rtol=1e-2, atol=1e-6)


def test_fomaml_adds_up_all_iterations(monkeypatch: pytest.MonkeyPatch) -> None:
    method, found = make(adversarial_weight=0), []
    keep = pooled.Best.keep

    def told(self: pooled.Best, loss: Tensor, *made: Tensor) -> None:
        found.append(torch.autograd.grad(loss, list(method.copy.parameters()), retain_graph=True, allow_unused=True))
        keep(self, loss, *made)

    monkeypatch.setattr(pooled.Best, "keep", told)
    _, met, _ = gradients_met(method)
    assert len(found) == 3
    for index, total in enumerate(met):
        expected = torch.stack([step[index] for step in found]).sum(dim=0)
        torch.testing.assert_close(total, expected, rtol=1e-3, atol=1e-5)


def test_the_first_layer_begins_anew_once() -> None:
    """At the share of the student's steps, warm-up not counted; from N(0, 0.02²), and nothing else with it."""
    method = make(warm_steps=2, distill_steps=5, reset_at=0.6, generator_lr=1e-9)
    events(method, 4)
    before = weights(method.generator)
    events(method, 5)
    after = weights(method.generator)
    begun = [name for name in before if not torch.allclose(before[name], after[name], atol=1e-3)]
    assert {name for name in begun if "running" not in name} == {"project.weight", "project.bias", "decode.0.weight"}
    assert after["project.weight"].std().item() == pytest.approx(0.02, rel=0.2)
    assert after["decode.0.weight"].abs().max() < 0.1 and after["project.bias"].abs().max() < 1e-3
    events(method, 7)
    assert torch.allclose(after["project.weight"], weights(method.generator)["project.weight"], atol=1e-3)


def test_by_reptile_it_goes_towards_where_the_copy_ended() -> None:
    method = make(meta="reptile", adversarial_weight=0, generator_lr=1e-3)
    start, _, end = gradients_met(method)
    for before, copied, after in zip(start, end, method.generator.parameters(), strict=True):
        way = copied - before
        sure = way.abs() > 1e-4
        torch.testing.assert_close((after - before)[sure], 3e-3 * way[sure].sign(), rtol=1e-2, atol=1e-6)


def test_by_reptile_a_resumed_run_ends_as_one_that_never_stopped() -> None:
    whole, first, resumed = (make(meta="reptile") for _ in range(3))
    events(whole, 3)
    events(first, 1)
    resumed.load_state_dict(first.state_dict())
    events(resumed, 3)
    assert same(weights(whole.generator), weights(resumed.generator))
    assert same(weights(whole.student), weights(resumed.student))


def test_a_batch_begins_where_the_meta_generator_is() -> None:
    method = make(generator_lr=1e-12, latent_lr=1e-12)
    with torch.no_grad():
        for parameter in method.copy.parameters():
            parameter.zero_()
    method.synthesise(next(method.steps()))
    for ours, theirs in zip(method.copy.parameters(), method.generator.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_the_student_and_the_adversarial_term_join_in_after_the_warm_up() -> None:
    rows = values(events(make(warm_steps=2), 4))
    assert [("adversarial" in row, "student_loss" in row) for row in rows] == [(False, False)] * 2 + [(True, True)] * 2


def test_queries_and_rates() -> None:
    method = make(warm_steps=1, updates=2)
    events(method, 3)
    assert method.queries == 3 * 3 * 12 + 2 * 2 * 16
    method.reconfigure(method.config.change({"generator_lr": 0.5}))
    assert [group["lr"] for group in method.meta_optimizer.param_groups] == [1.5]


def test_the_student_learns_softened_answers() -> None:
    method = make(temperature=4.0)
    events(method, 1)
    images, seen = torch.randn(5, 1, 8, 8), method.teacher.features(torch.randn(5, 1, 8, 8))
    method.student.eval()
    terms, logits = method.stage.objective(images, seen)
    expected = 16 * F.kl_div((logits / 4).log_softmax(1), (seen.logits / 4).softmax(1), reduction="batchmean")
    torch.testing.assert_close(terms["kl"], expected)
