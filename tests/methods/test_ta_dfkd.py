"""TA-DFKD: who learns from what, bounds, repeatability."""

from __future__ import annotations

import dataclasses
import math
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from conftest import STUDENT, TEACHER, TINY, tiny_method
from stepping import (
    by_hand,
    events,
    of,
    own_generator,  # noqa: F401 - in every test here
    same,
    shares,
    values,
    weights,
)
from torch import Tensor, nn

from dfkd_core.errors import NonFiniteError
from dfkd_core.events import Epoch, Event, Phases, Samples, Step
from dfkd_core.losses import generator as losses
from dfkd_core.methods import ta_dfkd
from dfkd_core.methods.ta_dfkd import TADFKD
from dfkd_core.selection.mixture import Selection, judge

KNOBS = {term.name: term.knob for term in TADFKD.terms}
ALL_ON = dict.fromkeys(KNOBS.values(), 1.0)
ALL_OFF = dict.fromkeys(KNOBS.values(), 0.0)


def comparable(event: Event) -> Any:
    return {
        key: {name: column.tolist() for name, column in value.items()}
        if key == "columns"
        else (value.tolist() if isinstance(value, np.ndarray) else value)
        for key, value in vars(event).items()
    }


# --- gradients -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("term", KNOBS)
@pytest.mark.parametrize("selection", [True, False], ids=["with selection", "without"])
def test_each_term_trains_the_generator_and_nobody_else(term: str, selection: bool) -> None:
    method = tiny_method({**ALL_OFF, KNOBS[term]: 1.0, "selection": selection}, health_every=1)
    teacher, student = weights(method.teacher), weights(method.student)
    assert shares(by_hand(method, method.generator_step)) == {term: 1.0}
    gradients = [parameter.grad for parameter in method.generator.parameters()]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)
    assert sum(gradient.norm().item() for gradient in gradients) > 1e-6
    assert all(
        parameter.grad is None for network in (method.teacher, method.student) for parameter in network.parameters()
    )
    assert same(teacher, weights(method.teacher)) and same(student, weights(method.student))


@pytest.mark.parametrize("adversarial", losses.DISCREPANCIES)
def test_every_kind_of_adversarial_term_reaches_the_generator(adversarial: str) -> None:
    method = tiny_method({**ALL_OFF, "adversarial_weight": 1.0, "adversarial": adversarial, "selection": False})
    by_hand(method, method.generator_step)
    assert sum(parameter.grad.norm().item() for parameter in method.generator.parameters()) > 1e-7


def test_no_term_is_dead_or_negligible_when_all_are_on() -> None:
    found = shares(values(events(tiny_method(ALL_ON, health_every=1), 1))[0])
    assert found.keys() == KNOBS.keys() and sum(found.values()) == pytest.approx(1)
    assert min(found.values()) > 0


def test_without_any_term_the_generator_stays_as_it_is() -> None:
    method = tiny_method(ALL_OFF)
    before = [parameter.clone() for parameter in method.generator.parameters()]
    found = values(events(method, 2))
    assert all(torch.equal(*pair) for pair in zip(before, method.generator.parameters(), strict=True))
    assert all(math.isfinite(value) for metrics in found for value in metrics.values())


def test_the_student_loss_trains_the_student_only() -> None:
    method = tiny_method()
    teacher, student = weights(method.teacher), weights(method.student)
    before = [parameter.clone() for parameter in method.generator.parameters()]
    by_hand(method, method.student_phase)
    assert not same(student, weights(method.student)) and same(teacher, weights(method.teacher))
    assert all(torch.equal(*pair) for pair in zip(before, method.generator.parameters(), strict=True))
    assert all(parameter.grad is None for parameter in method.generator.parameters())


def test_the_teacher_is_bit_identical_and_frozen_after_training() -> None:
    method = tiny_method({"augmentation": "crop+flip"})
    before = weights(method.teacher)
    events(method, 6)
    assert same(before, weights(method.teacher)) and not method.teacher.training
    assert not any(parameter.requires_grad or parameter.grad is not None for parameter in method.teacher.parameters())


def test_weights_of_the_image_priors_hold_for_any_batch_size() -> None:
    """As many times the images, at the same weight: the same L2 term but for the different images drawn."""
    terms = {}
    for size in (16, 256):
        method = tiny_method({**ALL_OFF, "l2_weight": 1.0, "tv_weight": 1.0, "batch_size": size})
        metrics = by_hand(method, method.generator_step)
        terms[size] = {name: metrics[name] for name in ("l2", "tv")}
    assert terms[256] == pytest.approx(terms[16], rel=0.1)


# --- modes -----------------------------------------------------------------------------------------------------


def test_the_student_is_in_eval_mode_while_the_generator_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    method = tiny_method(phases_every=0)
    modes, original = [], method.student.forward

    def forward(images: Tensor) -> Tensor:
        modes.append((method.student.training, images.requires_grad))
        return original(images)

    monkeypatch.setattr(method.student, "forward", forward)
    events(method, 2)
    assert set(modes) == {(True, False), (False, True)}


def test_recording_and_synthesising_leave_the_state_untouched() -> None:
    method = tiny_method()
    events(method, 1)
    networks = (method.generator, method.student, method.teacher)
    before, training = [weights(network) for network in networks], method.generator.training
    images = method.synthesize(32, torch.Generator().manual_seed(0))
    assert images.shape == (32, 1, 8, 8) and images.isfinite().all()
    assert all(same(state, weights(network)) for network, state in zip(networks, before, strict=True))
    assert method.generator.training is training
    assert torch.equal(images, method.synthesize(32, torch.Generator().manual_seed(0)))


@cache
def usual() -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Student and generator after four steps that are recorded as usual."""
    method = tiny_method()
    events(method, 4)
    return weights(method.student), weights(method.generator)


@pytest.mark.parametrize(
    "recording",
    [
        {"log_every": 5},
        {"samples_every": 1},
        {"samples_every": 0},
        {"samples": 3, "samples_every": 1},
        {"health_every": 1},
        {"health_every": 0},
    ],
    ids=str,
)
def test_how_often_it_records_does_not_change_the_training(recording: dict[str, int]) -> None:
    other = tiny_method(**recording)
    events(other, 4)
    for one, network in zip(usual(), (other.student, other.generator), strict=True):
        assert same(one, weights(network))


# --- selection -------------------------------------------------------------------------------------------------


def reject(monkeypatch: pytest.MonkeyPatch, clean_of_a_batch: int) -> list[int]:
    """Only so many samples of each batch are clean. Returns a list that grows with each verdict."""
    verdicts: list[int] = []
    original = ta_dfkd.select

    def select(judged: Tensor, threshold: float, labels: Tensor | None) -> Selection:
        verdicts.append(len(judged))
        clean = torch.arange(len(judged)) < clean_of_a_batch
        return dataclasses.replace(original(judged, threshold), clean=clean, chosen=clean.nonzero()[:, 0])

    monkeypatch.setattr(ta_dfkd, "select", select)
    return verdicts


def watch_student_batches(method: Any) -> list[Tensor]:
    """A list that grows with each batch that the student learns from."""
    batches: list[Tensor] = []
    method.student.register_forward_pre_hook(
        lambda module, inputs: batches.append(inputs[0]) if module.training else None
    )
    return batches


def test_the_adversarial_term_sees_clean_samples_only(monkeypatch: pytest.MonkeyPatch) -> None:
    reject(monkeypatch, 5)
    seen = []

    def discrepancy(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
        seen.append((mask.clone(), losses.l1_discrepancy(student, teacher, mask), student, teacher))
        return seen[-1][1]

    monkeypatch.setitem(losses.DISCREPANCIES, "l1", discrepancy)
    method = tiny_method({**ALL_OFF, "adversarial_weight": 2.0})
    metrics = by_hand(method, method.generator_step)
    ((mask, value, student, teacher),) = seen
    assert mask.tolist() == [True] * 5 + [False] * 11
    assert value.item() == pytest.approx(losses.l1_discrepancy(student[:5], teacher[:5]).item())
    assert metrics["adversarial"] == pytest.approx(-2 * value.item()), "the generator maximises it"
    assert metrics["generator_loss"] == metrics["adversarial"]


@pytest.mark.parametrize("clean", [0, 1])
def test_draws_are_bounded_when_almost_nothing_is_clean(monkeypatch: pytest.MonkeyPatch, clean: int) -> None:
    verdicts = reject(monkeypatch, clean)
    method = tiny_method({"max_draws": 4})
    metrics = by_hand(method, method.student_phase)
    assert len(verdicts) == 4 * TINY["student_steps"] and method.queries == 16 * len(verdicts)
    assert metrics["kept"] == pytest.approx(clean / 16) and metrics["draws"] == 4
    assert math.isfinite(metrics["student_loss"])
    assert values(events(method, 2))[0].items() >= {"kept": clean / 16, "draws": 4}.items()


def test_clean_samples_beyond_the_batch_are_kept_for_the_next_student_step(monkeypatch: pytest.MonkeyPatch) -> None:
    verdicts = reject(monkeypatch, 12)
    method = tiny_method({"student_steps": 3})
    batches = watch_student_batches(method)
    by_hand(method, method.student_phase)
    assert [len(batch) for batch in batches] == [16, 16, 16]
    assert len(verdicts) == 4 and method.queries == 4 * 16, "12 + 12 | 8 + 12 | 4 + 12"


def test_one_draw_is_enough_when_all_of_it_is_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    verdicts, method = reject(monkeypatch, 16), tiny_method()
    assert by_hand(method, method.student_phase)["draws"] == 1 and len(verdicts) == TINY["student_steps"]


def test_a_warm_up_learns_from_every_sample_until_it_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    reject(monkeypatch, clean_of_a_batch=2)
    method = tiny_method({"selection_after": 0.5}, samples_every=1, phases_every=1)
    found = events(method, method.total_steps)
    kept, half = [metrics["kept"] for metrics in values(found)], method.total_steps // 2
    assert set(kept[:half]) == {1.0} and max(kept[half:]) < 1
    assert [sheet.mixture["applied"] for sheet in of(Samples, found)] == [share < 1 for share in kept]
    framed = ["clean" in one.phases[-1].arrays for one in of(Phases, found)]
    assert framed == [False] * half + [True] * half, "what the generator did not go by frames nothing"


def test_latents_that_are_judged_before_the_first_step_are_so_as_in_it() -> None:
    logits = torch.randn(16, 10, generator=torch.Generator().manual_seed(0))
    knobs = ({}, {"selection": False}, {"selection_after": 0.5})
    assert [tiny_method(one).verdict(logits).applied for one in knobs] == [True, False, False]


def test_a_cut_by_class_judges_each_class_by_itself() -> None:
    """Class 1 is harder than class 0 altogether: one mixture rejects it whole, and one for each class does not."""
    generator = torch.Generator().manual_seed(0)
    margin = torch.cat([torch.full((32,), 9.0), torch.full((32,), 1.5)]) + 0.2 * torch.rand(64, generator=generator)
    margin[::8] -= 1.0  # of either class a few are worse than the others
    logits = torch.zeros(64, 10)
    logits[:32, 0], logits[32:, 1] = margin[:32], margin[32:]
    batch, by_class = (tiny_method({"cut": cut}).verdict(logits).clean for cut in ("batch", "class"))
    assert batch[:32].float().mean() > 0.8 and not batch[32:].any()
    assert by_class[32:].float().mean() > 0.8 and not by_class[::8].any()


@pytest.mark.parametrize("augmentation", ["none", "crop"])
def test_every_image_that_the_teacher_judges_is_a_query(augmentation: str) -> None:
    method = tiny_method({"augmentation": augmentation})
    judged = []
    first = next(iter(method.teacher.stages.values()))
    first.register_forward_pre_hook(lambda _, given: judged.append(len(given[0])))
    events(method, 2)
    assert method.queries == sum(judged)


def test_without_selection_every_sample_is_learned_from(monkeypatch: pytest.MonkeyPatch) -> None:
    reject(monkeypatch, 0)
    method = tiny_method({"selection": False})
    batches = watch_student_batches(method)
    assert by_hand(method, method.student_phase)["kept"] == 1
    assert [len(batch) for batch in batches] == [16, 16]


def test_the_student_learns_the_teachers_answers_on_the_very_images_it_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    method = tiny_method({"augmentation": "crop+flip"})
    answers, images = [], watch_student_batches(method)

    def l1_loss(student: Tensor, teacher: Tensor) -> Tensor:
        answers.append(teacher)
        return (student - teacher).abs().mean()

    monkeypatch.setattr(ta_dfkd.F, "l1_loss", l1_loss)
    by_hand(method, method.student_phase)
    assert len(images) == TINY["student_steps"]
    for seen, answered in zip(images, answers, strict=True):
        torch.testing.assert_close(method.teacher(seen), answered)


def test_the_judged_loss_is_the_cross_entropy_with_the_own_argmax() -> None:
    logits = torch.randn(16, 10, dtype=torch.float64) * 5
    expected = nn.functional.cross_entropy(logits, logits.argmax(dim=1), reduction="none")
    torch.testing.assert_close(judge(logits), expected)


# --- repeatability ---------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_events_and_another_seed_others() -> None:
    first, again, other = (
        [comparable(event) for event in events(tiny_method(seed=seed, phases_every=0), 4)] for seed in (0, 0, 1)
    )
    assert first == again
    assert first != other


def test_the_state_survives_a_round_trip() -> None:
    whole, begun, resumed = tiny_method(), tiny_method(), tiny_method(seed=9)
    expected = events(whole, 5)[-1]
    events(begun, 2)
    resumed.load_state_dict(begun.state_dict())
    assert resumed.step == 2 and events(resumed, 5)[-1] == expected
    assert same(weights(whole.student), weights(resumed.student))


def test_events_come_in_order_and_steps_close_them() -> None:
    method = tiny_method({"epochs": 2, "iterations": 2}, samples_every=2, phases_every=3)
    found = events(method, 4)
    assert list(method.train()) == [], "nothing comes after the last step"
    assert [type(event) for event in found] == [
        Samples, Phases, Step, Samples, Epoch, Step, Phases, Step, Samples, Epoch, Step,
    ]  # fmt: skip
    assert [event.epoch for event in of(Epoch, found)] == [1, 2]


def test_the_learning_rate_follows_a_cosine_over_the_epochs() -> None:
    peak = TADFKD.Config.build("demo").student_lr
    rates = [metrics["learning_rate"] for metrics in values(events(tiny_method({"epochs": 4, "iterations": 1}), 4))]
    assert rates == pytest.approx([peak * (1 + math.cos(math.pi * epoch / 4)) / 2 for epoch in range(4)])


def test_samples_show_the_batch_as_the_teacher_judged_it() -> None:
    (samples,) = of(Samples, events(tiny_method(samples=10, samples_every=1), 1))
    assert samples.images.shape == (10, 8, 8, 1) and samples.images.dtype == np.uint8
    assert all(len(column) == 10 for column in samples.columns.values())
    confident = samples.columns["confidence"]
    np.testing.assert_allclose(samples.columns["loss"], -np.log(confident), rtol=1e-3, atol=1e-5)
    np.testing.assert_array_equal(samples.columns["clean"], samples.columns["posterior"] > 0.5)


def test_a_sheet_holds_no_more_than_the_batch() -> None:
    (samples,) = of(Samples, events(tiny_method(samples=2048, samples_every=1), 1))
    assert len(samples.images) == TINY["batch_size"]


# --- what goes wrong -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("recording", [{}, {"log_every": 100}], ids=["logging", "not logging"])
def test_a_term_that_becomes_nan_ends_the_run_with_its_name(
    recording: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    method = tiny_method({"tv_weight": 1.0}, **recording)
    events(method, 2)
    monkeypatch.setattr(losses, "total_variation", lambda images: images.sum() * math.nan)
    with pytest.raises(NonFiniteError) as caught:
        events(method, 3)
    assert (caught.value.step, caught.value.term) == (3, "tv") and math.isnan(caught.value.value)
    assert caught.value.last["student_loss"] > 0 and "tv became nan at step 3" in str(caught.value)


def test_an_absurd_learning_rate_ends_in_a_sentence_even_when_samples_are_due(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TADFKD.Config, "student_rate", lambda config, done: 1e30)
    with pytest.raises(NonFiniteError):
        events(tiny_method({"iterations": 300}, samples_every=1), 100)


def test_the_tiny_networks_have_what_these_tests_need() -> None:
    method = tiny_method()
    for network in (method.teacher, method.student):
        assert any(isinstance(module, nn.BatchNorm2d) for module in network.modules()), (TEACHER, STUDENT)
