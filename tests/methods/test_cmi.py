"""CMI: its terms against their formulas, what they move, its bank, and the best of its iterations."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from stepping import (
    events,
    maker,
    of,
    overhear,
    own_generator,  # noqa: F401 - in every test here
    same,
    shares,
    values,
    weights,
)

from dfkd_core.events import Phases
from dfkd_core.losses.bn_statistics import observe
from dfkd_core.methods import cmi
from dfkd_core.methods.cmi import CMI, stage_means

TINY = {
    "synthesis_steps": 1, "synthesis_size": 12, "distill_steps": 4, "updates": 1, "batch_size": 16, "latent": 8,
    "width": 4, "negatives": 10, "pool_size": 40, "bank_size": 30, "head_width": 5,
}  # fmt: skip
KNOBS = {term.name: term.knob for term in CMI.terms}
ALL_OFF = dict.fromkeys(KNOBS.values(), 0.0)
make = maker(CMI, TINY, taught=True)


def test_the_terms_are_those_of_the_equations(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the second step, when the bank has something."""
    weighed = {"bn_weight": 0.5, "class_prior_weight": 2.0, "adversarial_weight": 3.0, "contrast_weight": 0.7}
    method = make(**weighed, contrast_temperature=0.3)
    events(method, 1)
    bank, drawn = method.bank.rows.clone(), []
    draw, randint = method.bank.draw, torch.randint
    monkeypatch.setattr(method.bank, "draw", lambda count: drawn.append(draw(count)) or drawn[-1])
    labels = []
    monkeypatch.setattr(torch, "randint", lambda *given, **more: labels.append(randint(*given, **more)) or labels[-1])
    heads = {name: kept.clone() for name, kept in method.head.state_dict().items()}
    student = weights(method.student)
    heard = overhear(method.teacher)
    seen: list[Any] = []
    told_apart = method.told_apart
    monkeypatch.setattr(method, "told_apart", lambda pixels, whole: seen.append(whole) or told_apart(pixels, whole))
    (row,) = values(events(method, 2))[-1:]

    logits, part = seen[0].logits.detach(), heard[1][1]  # the whole images come first
    wanted = labels[0]
    by_hand = -logits.log_softmax(dim=1)[torch.arange(12), wanted].mean()
    assert row["class_prior"] == pytest.approx(2 * by_hand.item(), rel=1e-4)
    assert row["bn_statistics"] == pytest.approx(0.5 * observe(method.teacher, heard[0][0])[1].item(), rel=1e-4)

    method.student.load_state_dict(student)
    method.student.eval()
    own = method.student(heard[0][0]).detach()
    agree = own.argmax(dim=1) == logits.argmax(dim=1)
    p = logits.double().softmax(dim=1)
    divergence = (p * (p.log() - own.double().log_softmax(dim=1))).sum(dim=1)
    assert agree.any() and row["adversarial"] == pytest.approx(-3 * (divergence * agree).sum().item() / 12, rel=1e-3)

    assert len(drawn[0]) == 10 and all((bank == chosen).all(dim=1).any() for chosen in drawn[0])
    method.head.load_state_dict(heads)
    features = torch.cat([torch.cat([stage_means(part), stage_means(seen[0])], dim=1).detach(), drawn[0].float()])
    half = features.shape[1] // 2
    one, other = (F.normalize(method.head(views), dim=1) for views in (features[:, :half], features[:, half:]))
    found = (one @ other.t() / 0.3).log_softmax(dim=1).diagonal()
    assert row["contrast"] == pytest.approx(-0.7 * (found[:12].mean() + found[12:].mean()).item(), rel=1e-3)
    assert row["generator_loss"] == pytest.approx(sum(row[term] for term in KNOBS), rel=1e-4)


@pytest.mark.parametrize("term", KNOBS)
def test_each_term_moves_the_generator(term: str) -> None:
    method = make(**{**ALL_OFF, KNOBS[term]: 1.0})
    head, teacher = weights(method.head), weights(method.teacher)
    (row,) = values(events(method, 1))
    assert shares(row) == {term: 1.0} and set(KNOBS) & set(row) == {term}
    assert same(head, weights(method.head)) == (term != "contrast"), "the head learns by the contrast alone"
    assert same(teacher, weights(method.teacher))


def test_no_term_is_negligible_beside_the_others() -> None:
    found = shares(values(events(make(adversarial_weight=5.0), 3))[-1])
    assert set(found) == set(KNOBS) and min(found.values()) > 0.005, found


def test_the_student_is_left_alone_while_images_are_made() -> None:
    method = make()
    seen = next(method.steps())
    before = weights(method.student)
    method.synthesise(seen)
    assert same(before, weights(method.student)) and all(one.grad is None for one in method.student.parameters())


def test_each_batch_begins_with_another_generator() -> None:
    method = make(generator_lr=1e-12)
    found = []
    for step in (1, 2):
        events(method, step)
        found.append(method.generator.project.weight.detach().clone())
    assert not torch.allclose(*found) and all(weight.std() == pytest.approx(0.02, rel=0.2) for weight in found)


def test_what_joins_pool_and_bank_is_of_the_iteration_of_lowest_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    method = make(synthesis_steps=4)
    kept: list[Any] = []

    class Told(cmi.Best):
        def keep(self, loss: torch.Tensor, *made: torch.Tensor) -> None:
            kept.append((loss.item(), *(one.detach().clone() for one in made)))
            super().keep(torch.tensor(float(abs(len(kept) - 2))), *made)  # the second is the best

    monkeypatch.setattr(cmi, "Best", Told)
    made = method.synthesise(next(method.steps()))
    assert len(kept) == 4 and torch.equal(made, kept[1][1])
    assert torch.equal(method.bank.rows, kept[1][2].half())


def test_the_bank_is_a_ring_and_every_forward_of_the_teacher_is_a_query() -> None:
    method = make(synthesis_steps=3)
    events(method, 3)
    assert method.bank.added == 36 and len(method.bank) == 30
    assert method.queries == 3 * (3 * 2 * 12 + 16)
    alone = make(synthesis_steps=3, contrast_weight=0)
    events(alone, 3)
    assert len(alone.bank) == 0 and alone.queries == 3 * (3 * 12 + 16)


def test_slow_motion_shows_latents_as_they_were_drawn() -> None:
    method = make(generator_lr=1.0)
    (shown,) = of(Phases, events(method, 1))
    latents = shown.phases[0].arrays["latents"]
    assert abs(latents.mean()) < 0.5 and latents.shape == (12, 8)
