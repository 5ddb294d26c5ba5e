"""TA-DFKD: who learns from what, bounds, repeatability."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
from conftest import STUDENT, TEACHER, TINY, tiny_method
from torch import nn

from dfkd_core.errors import NonFiniteError
from dfkd_core.events import Epoch, Event, Phases, Samples, Step
from dfkd_core.kit.augmentation import augment, random_crop, random_flip
from dfkd_core.losses import generator as losses
from dfkd_core.methods import ta_dfkd
from dfkd_core.methods.ta_dfkd import TADFKD
from dfkd_core.selection.mixture import Selection, judge

WEIGHTS = [name for name in TADFKD.Config.model_fields if name.endswith("_weight")]
ALL_ON = dict.fromkeys(WEIGHTS, 1.0)
ALL_OFF = dict.fromkeys(WEIGHTS, 0.0)


def snapshot(network: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def same(network: nn.Module, before: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def train(method: Any, steps: int = 3, seed: int = 0) -> list[Event]:
    """The events of so many steps, seeded per step as ``run`` does."""
    events, stream = [], method.train()
    for _ in range(steps):
        torch.manual_seed(1000 * seed + method.step + 1)
        for event in stream:
            events.append(event)
            if isinstance(event, Step):
                break
    return events


def comparable(event: Event) -> Any:
    return {
        key: {name: column.tolist() for name, column in value.items()}
        if key == "columns"
        else (value.tolist() if isinstance(value, np.ndarray) else value)
        for key, value in vars(event).items()
    }


# --- gradients -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weight", WEIGHTS)
@pytest.mark.parametrize("selection", [True, False], ids=["with selection", "without"])
def test_each_term_trains_the_generator_and_nobody_else(weight: str, selection: bool) -> None:
    method = tiny_method({**ALL_OFF, weight: 1.0, "selection": selection})
    teacher, student = snapshot(method.teacher), snapshot(method.student)
    torch.manual_seed(3)
    explored = method._generator_step()
    assert len(explored.terms) == 1
    gradients = [parameter.grad for parameter in method.generator.parameters()]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)
    assert sum(gradient.norm().item() for gradient in gradients) > 1e-6
    assert all(
        parameter.grad is None for network in (method.teacher, method.student) for parameter in network.parameters()
    )
    assert same(method.teacher, teacher) and same(method.student, student)


@pytest.mark.parametrize("adversarial", losses.DISCREPANCIES)
def test_every_kind_of_adversarial_term_reaches_the_generator(adversarial: str) -> None:
    method = tiny_method({**ALL_OFF, "adversarial_weight": 1.0, "adversarial": adversarial, "selection": False})
    method._generator_step()
    assert sum(parameter.grad.norm().item() for parameter in method.generator.parameters()) > 1e-7


def test_no_term_is_dead_or_negligible_when_all_are_on() -> None:
    method = tiny_method(ALL_ON, health_every=1)
    values = next(event for event in train(method, 1) if isinstance(event, Step)).values
    shares = {name: value for name, value in values.items() if name.startswith("share/")}
    assert len(shares) == len(WEIGHTS) and sum(shares.values()) == pytest.approx(1)
    assert min(shares.values()) > 0


def test_without_any_term_the_generator_stays_as_it_is() -> None:
    method = tiny_method(ALL_OFF)
    before = [parameter.clone() for parameter in method.generator.parameters()]
    events = train(method, 2)
    assert all(torch.equal(*pair) for pair in zip(before, method.generator.parameters(), strict=True))
    assert all(math.isfinite(value) for event in events if isinstance(event, Step) for value in event.values.values())


def test_the_student_loss_trains_the_student_only() -> None:
    method = tiny_method()
    teacher, student = snapshot(method.teacher), snapshot(method.student)
    weights = [parameter.clone() for parameter in method.generator.parameters()]
    method._student_phase()
    assert not same(method.student, student) and same(method.teacher, teacher)
    assert all(torch.equal(*pair) for pair in zip(weights, method.generator.parameters(), strict=True))
    assert all(parameter.grad is None for parameter in method.generator.parameters())


def test_the_teacher_is_bit_identical_and_frozen_after_training() -> None:
    method = tiny_method({"augmentation": "crop+flip"})
    before = snapshot(method.teacher)
    train(method, 6)
    assert same(method.teacher, before) and not method.teacher.training
    assert not any(parameter.requires_grad or parameter.grad is not None for parameter in method.teacher.parameters())


def test_weights_of_the_image_priors_hold_for_any_batch_size() -> None:
    """As many times the images, at the same weight: the same L2 term but for the different images drawn."""
    terms = {}
    for size in (16, 256):
        method = tiny_method({**ALL_OFF, "l2_weight": 1.0, "tv_weight": 1.0, "batch_size": size})
        torch.manual_seed(0)
        terms[size] = {name: term.item() for name, term in method._generator_step().terms.items()}
    assert terms[256] == pytest.approx(terms[16], rel=0.1)


# --- modes -----------------------------------------------------------------------------------------------------


def test_the_student_is_in_eval_mode_while_the_generator_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    method = tiny_method(phases_every=0)  # slow motion asks the student once more, to show its answers
    modes, original = [], method.student.forward

    def forward(images: torch.Tensor) -> torch.Tensor:
        modes.append((method.student.training, images.requires_grad))
        return original(images)

    monkeypatch.setattr(method.student, "forward", forward)
    train(method, 2)
    assert set(modes) == {(True, False), (False, True)}


def test_recording_and_synthesising_leave_the_state_untouched() -> None:
    method = tiny_method()
    train(method, 1)
    before = [snapshot(network) for network in (method.generator, method.student, method.teacher)]
    explored_before = method.generator.training
    images = method.synthesize(32, torch.Generator().manual_seed(0))
    assert images.shape == (32, 1, 8, 8) and images.isfinite().all()
    after = (method.generator, method.student, method.teacher)
    assert all(same(network, state) for network, state in zip(after, before, strict=True))
    assert method.generator.training is explored_before
    assert torch.equal(images, method.synthesize(32, torch.Generator().manual_seed(0)))


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
    usual, other = tiny_method(), tiny_method(**recording)
    train(usual, 4), train(other, 4)
    assert same(other.student, snapshot(usual.student)) and same(other.generator, snapshot(usual.generator))


# --- selection -------------------------------------------------------------------------------------------------


def reject(monkeypatch: pytest.MonkeyPatch, clean_of_a_batch: int) -> list[int]:
    """Only so many samples of each batch are clean. Returns a list that grows with each verdict."""
    verdicts: list[int] = []
    original = ta_dfkd.select

    def select(judged: torch.Tensor, threshold: float) -> Selection:
        verdicts.append(len(judged))
        clean = torch.arange(len(judged)) < clean_of_a_batch
        return dataclasses.replace(original(judged, threshold), clean=clean)

    monkeypatch.setattr(ta_dfkd, "select", select)
    return verdicts


def watch_student_batches(method: Any) -> list[int]:
    sizes: list[int] = []
    method.student.register_forward_pre_hook(
        lambda module, inputs: sizes.append(len(inputs[0])) if module.training else None
    )
    return sizes


def test_the_adversarial_term_sees_clean_samples_only(monkeypatch: pytest.MonkeyPatch) -> None:
    reject(monkeypatch, 5)
    seen = []

    def discrepancy(student: torch.Tensor, teacher: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        seen.append((mask.clone(), losses.l1_discrepancy(student, teacher, mask), student, teacher))
        return seen[-1][1]

    monkeypatch.setitem(losses.DISCREPANCIES, "l1", discrepancy)
    method = tiny_method({**ALL_OFF, "adversarial_weight": 2.0})
    explored = method._generator_step()
    ((mask, value, student, teacher),) = seen
    assert mask.tolist() == [True] * 5 + [False] * 11
    assert value.item() == pytest.approx(losses.l1_discrepancy(student[:5], teacher[:5]).item())
    assert explored.terms["adversarial"].item() == pytest.approx(-2 * value.item()), "the generator maximises it"


@pytest.mark.parametrize("clean", [0, 1])
def test_draws_are_bounded_when_almost_nothing_is_clean(monkeypatch: pytest.MonkeyPatch, clean: int) -> None:
    verdicts = reject(monkeypatch, clean)
    method = tiny_method({"max_draws": 4})
    learned = method._student_phase()
    assert len(verdicts) == learned.drawn == 4 * TINY["student_steps"]
    assert learned.kept == clean * learned.drawn and learned.loss.isfinite()
    values = train(method, 1)[-1].values
    assert values["kept"] == pytest.approx(clean / 16) and values["draws"] == 4


def test_clean_samples_beyond_the_batch_are_kept_for_the_next_student_step(monkeypatch: pytest.MonkeyPatch) -> None:
    verdicts = reject(monkeypatch, 12)
    method = tiny_method({"student_steps": 3})
    sizes = watch_student_batches(method)
    learned = method._student_phase()
    assert sizes == [16, 16, 16] and len(verdicts) == learned.drawn == 4, "12 + 12 | 8 + 12 | 4 + 12"


def test_one_draw_is_enough_when_all_of_it_is_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    reject(monkeypatch, 16)
    assert tiny_method()._student_phase().drawn == TINY["student_steps"]


def test_without_selection_every_sample_is_learned_from(monkeypatch: pytest.MonkeyPatch) -> None:
    reject(monkeypatch, 0)
    method = tiny_method({"selection": False})
    sizes = watch_student_batches(method)
    learned = method._student_phase()
    assert sizes == [16, 16] and learned.kept == learned.drawn * 16


def test_the_student_learns_the_teachers_answers_on_the_very_images_it_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    method = tiny_method({"augmentation": "crop+flip"})
    pairs = []

    def l1_loss(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        pairs.append(teacher)
        return (student - teacher).abs().mean()

    images = []
    method.student.register_forward_pre_hook(
        lambda module, inputs: images.append(inputs[0]) if module.training else None
    )
    monkeypatch.setattr(ta_dfkd.F, "l1_loss", l1_loss)
    method._student_phase()
    for seen, answered in zip(images, pairs, strict=True):
        torch.testing.assert_close(method.teacher(seen), answered)


def test_the_judged_loss_is_the_cross_entropy_with_the_own_argmax() -> None:
    logits = torch.randn(16, 10, dtype=torch.float64) * 5
    expected = nn.functional.cross_entropy(logits, logits.argmax(dim=1), reduction="none")
    torch.testing.assert_close(judge(logits), expected)


# --- repeatability ---------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_events_and_another_seed_others() -> None:
    first, again, other = (
        [comparable(event) for event in train(tiny_method(seed=seed, phases_every=0), 4, seed)] for seed in (0, 0, 1)
    )
    assert first == again
    assert first != other


def test_the_state_survives_a_round_trip() -> None:
    whole, begun, resumed = tiny_method(), tiny_method(), tiny_method(seed=9)
    expected = train(whole, 5)[-1]
    train(begun, 2)
    resumed.load_state_dict(begun.state_dict())
    assert resumed.step == 2 and train(resumed, 3)[-1] == expected
    assert same(resumed.student, snapshot(whole.student))


def test_events_come_in_order_and_steps_close_them() -> None:
    method = tiny_method({"epochs": 2, "iterations": 2}, samples_every=2, phases_every=3)
    events = train(method, 4)
    assert list(method.train()) == [], "nothing comes after the last step"
    assert [type(event) for event in events] == [
        Phases, Samples, Step, Samples, Epoch, Step, Phases, Step, Samples, Epoch, Step,
    ]  # fmt: skip
    assert [event.epoch for event in events if isinstance(event, Epoch)] == [1, 2]


def test_the_learning_rate_follows_a_cosine_over_the_epochs() -> None:
    peak = TADFKD.Config.build("demo").student_lr
    events = train(tiny_method({"epochs": 4, "iterations": 1}), 4)
    rates = [event.values["learning_rate"] for event in events if isinstance(event, Step)]
    assert rates == pytest.approx([peak * (1 + math.cos(math.pi * epoch / 4)) / 2 for epoch in range(4)])


def test_samples_show_the_batch_as_the_teacher_judged_it() -> None:
    (samples,) = [event for event in train(tiny_method(samples=10, samples_every=1), 1) if isinstance(event, Samples)]
    assert samples.images.shape == (10, 8, 8, 1) and samples.images.dtype == np.uint8
    assert all(len(column) == 10 for column in samples.columns.values())
    confident = samples.columns["confidence"]
    np.testing.assert_allclose(samples.columns["loss"], -np.log(confident), rtol=1e-3, atol=1e-5)
    np.testing.assert_array_equal(samples.columns["clean"], samples.columns["posterior"] > 0.5)


def test_a_sheet_holds_no_more_than_the_batch() -> None:
    (samples,) = [event for event in train(tiny_method(samples=2048, samples_every=1), 1) if isinstance(event, Samples)]
    assert len(samples.images) == TINY["batch_size"]


# --- what goes wrong -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("recording", [{}, {"log_every": 100}], ids=["logging", "not logging"])
def test_a_term_that_becomes_nan_ends_the_run_with_its_name(recording: dict[str, int]) -> None:
    method = tiny_method({"tv_weight": 1.0}, **recording)
    stream = method.train()
    while method.step < 2:
        next(stream)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(losses, "total_variation", lambda images: images.sum() * math.nan)
        with pytest.raises(NonFiniteError) as caught:
            for _ in stream:
                pass
    assert (caught.value.step, caught.value.term) == (3, "tv") and math.isnan(caught.value.value)
    assert caught.value.last["student_loss"] > 0 and "tv became nan at step 3" in str(caught.value)


def test_an_absurd_learning_rate_ends_in_a_sentence_even_when_samples_are_due() -> None:
    method = tiny_method({"student_lr": 10.0, "momentum": 0.99, "iterations": 300}, samples_every=1)
    for group in method.student_optimizer.param_groups:
        group["lr"] = 1e30
    method._anneal = lambda: 1e30
    with pytest.raises(NonFiniteError):
        train(method, 100)


# --- augmentation ----------------------------------------------------------------------------------------------

RAMP = torch.arange(2 * 3 * 8 * 8, dtype=torch.float32).view(2, 3, 8, 8) + 1


def test_a_crop_is_a_shifted_window_of_the_padded_image_drawn_per_sample() -> None:
    images = RAMP[:1].repeat(64, 1, 1, 1)
    cropped = random_crop(images, 1)
    padded = nn.functional.pad(images[0], [1] * 4)
    windows = [padded[:, top : top + 8, left : left + 8] for top in range(3) for left in range(3)]
    found = [[torch.equal(image, window) for window in windows].index(True) for image in cropped]
    assert len(set(found)) > 3


def test_a_flip_mirrors_some_samples_and_not_others() -> None:
    images = RAMP[:1].repeat(64, 1, 1, 1)
    flipped = [torch.equal(image, images[0].flip(2)) for image in random_flip(images)]
    untouched = [torch.equal(image, images[0]) for image in random_flip(images)]
    assert 10 < sum(flipped) < 54 and 10 < sum(untouched) < 54


@pytest.mark.parametrize("kind", ["none", "crop", "crop+flip"])
def test_an_augmentation_keeps_the_shape_and_lets_gradients_through(kind: str) -> None:
    images = RAMP.clone().requires_grad_()
    augmented = augment(images, kind)
    augmented.sum().backward()
    assert augmented.shape == images.shape and images.grad is not None and images.grad.sum() > 0
    assert (augmented is images) == (kind == "none")


def test_the_tiny_networks_have_what_these_tests_need() -> None:
    method = tiny_method()
    for network in (method.teacher, method.student):
        assert any(isinstance(module, nn.BatchNorm2d) for module in network.modules()), (TEACHER, STUDENT)
