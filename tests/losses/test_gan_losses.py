"""The GANs' terms, HiDFD's and DeGAN's, against their formulas, written out with probabilities and loops."""

from __future__ import annotations

import math

import pytest
import torch
from stepping import own_generator  # noqa: F401 - in every test here
from torch import Tensor

from dfkd_core.losses import gan as gan_losses


def probabilities(logits: Tensor) -> list[list[float]]:
    return [[math.exp(v - max(row)) / sum(math.exp(w - max(row)) for w in row) for v in row] for row in logits.tolist()]


def test_the_log_form_is_that_of_equation_1() -> None:
    real, fake = torch.randn(7), torch.randn(7)
    says = [[1 / (1 + math.exp(-value)) for value in logits.tolist()] for logits in (real, fake)]
    expected = -sum(math.log(p) for p in says[0]) / 7 - sum(math.log(1 - p) for p in says[1]) / 7
    assert gan_losses.log_discriminator(real, fake).item() == pytest.approx(expected, rel=1e-5)
    assert gan_losses.log_generator(fake).item() == pytest.approx(sum(math.log(1 - p) for p in says[1]) / 7, rel=1e-5)


def test_the_hinge_form_by_hand() -> None:
    real, fake = torch.tensor([2.0, 0.5, -1.0]), torch.tensor([-3.0, 0.0, 1.0])
    assert gan_losses.hinge_discriminator(real, fake).item() == pytest.approx((0 + 0.5 + 2) / 3 + (0 + 1 + 2) / 3)
    assert gan_losses.hinge_generator(fake).item() == pytest.approx(2 / 3)


def test_the_log_forms_generator_is_stuck_where_the_discriminator_is_sure() -> None:
    """Equation 6, the reason for the feature integration."""
    fake = torch.tensor([-12.0], requires_grad=True)
    gan_losses.log_generator(fake).backward()
    assert abs(fake.grad.item()) < 1e-4
    gan_losses.hinge_generator(fake).backward()
    assert abs(fake.grad.item()) > 0.9


def test_degans_form_is_the_logarithm_of_being_taken_for_real() -> None:
    fake = torch.randn(50, dtype=torch.double)
    by_hand = sum(-math.log(1 / (1 + math.exp(-logit))) for logit in fake.tolist()) / 50
    assert gan_losses.non_saturating(fake).item() == pytest.approx(by_hand)


def test_degans_form_pulls_hardest_where_the_discriminator_is_sure() -> None:
    """The saturating form, log(1 − σ), would pull least there."""
    fake = torch.tensor([-9.0, 0.0, 9.0], requires_grad=True)
    gan_losses.non_saturating(fake).backward()
    assert fake.grad is not None
    assert (3 * fake.grad).tolist() == pytest.approx([-1.0, -0.5, 0.0], abs=1e-3)


def test_the_classifier_of_twice_the_classes_on_a_worked_example() -> None:
    """Two classes: outputs are cat-real, dog-real, cat-fake, dog-fake."""
    logits = torch.tensor([[math.log(4.0), math.log(2.0), math.log(1.0), math.log(1.0)]])  # ½, ¼, ⅛, ⅛
    cat, dog = torch.tensor([0]), torch.tensor([1])
    assert gan_losses.class_real(logits, cat).item() == pytest.approx(-math.log(1 / 2))
    assert gan_losses.class_real(logits, dog).item() == pytest.approx(-math.log(1 / 4))
    assert gan_losses.class_fake(logits, dog).item() == pytest.approx(-math.log(1 / 8))
    assert gan_losses.class_generator(logits, cat).item() == pytest.approx(-math.log(1 / 2) + math.log(1 / 8))


def test_the_class_terms_against_the_softmax_of_equation_1() -> None:
    logits, labels = torch.randn(6, 10), torch.randint(5, (6,))
    says = probabilities(logits)
    real = -sum(math.log(row[y]) for row, y in zip(says, labels.tolist(), strict=True)) / 6
    fake = -sum(math.log(row[5 + y]) for row, y in zip(says, labels.tolist(), strict=True)) / 6
    assert gan_losses.class_real(logits, labels).item() == pytest.approx(real, rel=1e-5)
    assert gan_losses.class_fake(logits, labels).item() == pytest.approx(fake, rel=1e-5)
    assert gan_losses.class_generator(logits, labels).item() == pytest.approx(real - fake, rel=1e-4)


def test_the_discriminator_that_descends_learns_to_classify() -> None:
    """With the plus signs that equation 1 prints it would learn to be wrong."""
    logits = torch.zeros(1, 4, requires_grad=True)
    gan_losses.class_real(logits, torch.tensor([1])).backward()
    assert logits.grad[0, 1] < 0 and (logits.grad[0, [0, 2, 3]] > 0).all()


def distance(one: Tensor, other: Tensor) -> float:
    pairs = zip(one.tolist(), other.tolist(), strict=True)
    return sum(math.sqrt(sum((a - b) ** 2 for a, b in zip(*pair, strict=True))) for pair in pairs) / len(one)


def test_blend_crosses_real_and_fake_and_transfer_does_not() -> None:
    teacher_real, teacher_fake, real, fake = torch.randn(4, 5, 3).unbind()
    crossed = distance(teacher_real, fake) + distance(teacher_fake, real)
    straight = distance(teacher_real, real) + distance(teacher_fake, fake)
    assert gan_losses.blend(teacher_real, teacher_fake, real, fake).item() == pytest.approx(crossed, rel=1e-5)
    assert gan_losses.transfer(teacher_real, teacher_fake, real, fake).item() == pytest.approx(straight, rel=1e-5)


def test_the_frequencies_follow_the_recurrence_by_hand() -> None:
    counts = torch.tensor([4.0, 4.0])
    for drawn, expected in (([8.0, 0.0], [6.0, 2.0]), ([2.0, 6.0], [4.0, 4.0]), ([0.0, 8.0], [2.0, 6.0])):
        counts = gan_losses.smoothed(counts, torch.tensor(drawn), 0.5)
        assert counts.tolist() == expected
    assert gan_losses.class_frequencies(counts).tolist() == [0.25, 0.75]
    assert gan_losses.smoothed(counts, torch.tensor([10.0, 0.0]), 0.1).tolist() == pytest.approx([2.8, 5.4])


def test_a_class_that_died_out_has_a_floor() -> None:
    frequencies = gan_losses.class_frequencies(torch.tensor([0.0, 8.0]))
    assert frequencies.tolist() == pytest.approx([1 / 200, 1.0])


def test_the_regulariser_against_equation_12() -> None:
    logits, frequencies = torch.randn(9, 3), torch.tensor([0.2, 0.5, 0.3])
    mean = [sum(row[c] for row in probabilities(logits)) / 9 for c in range(3)]
    expected = sum(p * math.log(p) / n for p, n in zip(mean, frequencies.tolist(), strict=True))
    assert gan_losses.frequency_regulariser(logits, frequencies).item() == pytest.approx(expected, rel=1e-5)


def test_a_class_that_is_gone_leaves_the_gradient_finite() -> None:
    logits = torch.tensor([[200.0, 0.0, 0.0]]).repeat(4, 1).requires_grad_(True)
    gan_losses.frequency_regulariser(logits, torch.full((3,), 1 / 3)).backward()
    assert logits.grad.isfinite().all()


def test_a_rarely_made_class_pulls_harder() -> None:
    """Even predictions: what the loss gains by making more of a class is inverse to its frequency."""
    mean = torch.full((3,), 1 / 3).log().expand(4, 3).clone().requires_grad_(True)
    gan_losses.frequency_regulariser(mean, torch.tensor([0.1, 0.45, 0.45])).backward()
    pull = -mean.grad.sum(dim=0)
    assert pull[0] > 0 > pull[1] and pull[1].item() == pytest.approx(pull[2].item())
