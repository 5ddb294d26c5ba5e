"""Every term a student can match against its formula in float64, written out with loops, and a property each."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
import torch
from scipy.special import softmax
from stepping import own_generator  # noqa: F401 - in every test here
from torch import Tensor

from dfkd_core.losses import student as student_losses

GENERATOR = np.random.default_rng(0)
B, K = 6, 5
STUDENT, TEACHER = GENERATOR.normal(0, 3, (2, B, K))
LABELS = TEACHER.argmax(axis=1)
OURS, THEIRS = GENERATOR.normal(0.5, 1, (B, 4)), GENERATOR.normal(0.5, 1, (B, 7))  # pooled features
OUR_MAPS, THEIR_MAPS = GENERATOR.normal(0, 1, (2, B, 3, 4, 4))
LAYERS = [[GENERATOR.normal(0, 1, (2, B, 2 + j, 3 - i, 3 - i)) for j in range(3)] for i in range(2)]
ATTENTION = softmax(GENERATOR.normal(0, 1, (B, 2, 3)), axis=2)


def tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array)


def huber(difference: float) -> float:
    return 0.5 * difference**2 if abs(difference) < 1 else abs(difference) - 0.5


def without(probabilities: np.ndarray, label: int) -> np.ndarray:
    rest = np.delete(probabilities, label)
    return rest / rest.sum()


# --- the formulas ---


def target_class(temperature: float) -> float:
    total = 0.0
    for student, teacher, label in zip(STUDENT, TEACHER, LABELS, strict=True):
        s, t = softmax(student / temperature)[label], softmax(teacher / temperature)[label]
        total += t * math.log(t / s) + (1 - t) * math.log((1 - t) / (1 - s))
    return temperature**2 * total / B


def non_target(temperature: float) -> float:
    total = 0.0
    for student, teacher, label in zip(STUDENT, TEACHER, LABELS, strict=True):
        s, t = without(softmax(student / temperature), label), without(softmax(teacher / temperature), label)
        total += sum(t * np.log(t / s))
    return temperature**2 * total / B


def soft_target() -> float:
    rows = zip(softmax(STUDENT, axis=1), softmax(TEACHER, axis=1), LABELS, strict=True)
    return sum(-t[label] * math.log(s[label]) for s, t, label in rows) / B


def normalised(temperature: float) -> float:
    total = 0.0
    for student, teacher, label in zip(STUDENT, TEACHER, LABELS, strict=True):
        s, t = without(softmax(student / temperature), label), without(softmax(teacher / temperature), label)
        total -= sum(t * np.log(s))
    return temperature**2 * total / B


def enhanced(gamma: float) -> float:
    total = 0.0
    for s, t, label in zip(softmax(STUDENT, axis=1), softmax(TEACHER, axis=1), LABELS, strict=True):
        for c in range(K):
            total -= ((1 + t[c]) ** gamma if c == label else t[c]) * math.log(s[c])
    return total / B


def distance() -> float:
    def relative(features: np.ndarray) -> np.ndarray:
        distances = np.array([[math.dist(one, other) for other in features] for one in features])
        return distances / (distances.sum() / (B * B - B))

    return sum(map(huber, (relative(OURS) - relative(THEIRS)).ravel())) / B**2


def angle() -> float:
    def cosine(features: np.ndarray, i: int, j: int, k: int) -> float:
        to_i, to_k = features[i] - features[j], features[k] - features[j]
        lengths = np.linalg.norm(to_i) * np.linalg.norm(to_k)
        return float(to_i @ to_k / lengths) if lengths else 0.0

    triples = product(range(B), repeat=3)
    return sum(huber(cosine(OURS, *triple) - cosine(THEIRS, *triple)) for triple in triples) / B**3


def congruence(gamma: float) -> float:
    def kernel(features: np.ndarray, i: int, j: int) -> float:
        one, other = (features[index] / np.linalg.norm(features[index]) for index in (i, j))
        dot = 2 * gamma * float(one @ other)
        return math.exp(-2 * gamma) * (1 + dot + dot**2 / 2)

    pairs = product(range(B), repeat=2)
    return sum((kernel(OURS, *pair) - kernel(THEIRS, *pair)) ** 2 for pair in pairs) / B**2


def attended() -> float:
    total = 0.0
    for sample, i, j in product(range(B), range(2), range(3)):
        ours, theirs = LAYERS[i][j]
        total += ATTENTION[sample, i, j] * ((ours[sample] - theirs[sample]) ** 2).mean()
    return total / (B * 2)


def class_attention() -> float:
    total = 0.0
    for sample, c in product(range(B), range(3)):
        halves = []
        for maps in (OUR_MAPS, THEIR_MAPS):
            pooled = np.array([[maps[sample, c, y : y + 2, x : x + 2].mean() for x in (0, 2)] for y in (0, 2)])
            halves.append(pooled / np.linalg.norm(pooled))
        total += ((halves[0] - halves[1]) ** 2).mean()
    return total / (B * 3)


def feature_distance() -> float:
    return sum(np.linalg.norm((ours - theirs).ravel()) for ours, theirs in zip(OUR_MAPS, THEIR_MAPS, strict=True)) / B


def feature_mse() -> float:
    return float(((OUR_MAPS - THEIR_MAPS) ** 2).sum() / OUR_MAPS.size)


# --- the terms: (of the student's part, of the teacher's part) -> loss ---

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def of_logits(loss: Callable[..., torch.Tensor], *more: float) -> Loss:
    return lambda ours, theirs: loss(ours, theirs, tensor(LABELS), *more)


def over_layers(ours: torch.Tensor, theirs: torch.Tensor) -> torch.Tensor:
    """The maps of all pairs of layers come in one row, and go out in their shapes."""
    shapes = [layer[0].shape for row in LAYERS for layer in row]

    def rows(flat: torch.Tensor) -> list[list[torch.Tensor]]:
        parts = flat.split([math.prod(shape) for shape in shapes])
        maps = [part.view(shape) for part, shape in zip(parts, shapes, strict=True)]
        return [maps[:3], maps[3:]]

    return student_losses.attended_layers(rows(ours), rows(theirs), tensor(ATTENTION))


ALL_LAYERS = [np.concatenate([layer[side].ravel() for row in LAYERS for layer in row]) for side in (0, 1)]
TERMS: dict[str, tuple[Loss, np.ndarray, np.ndarray, float]] = {
    "target-class": (of_logits(student_losses.target_class_divergence, 4.0), STUDENT, TEACHER, target_class(4.0)),
    "non-target": (of_logits(student_losses.non_target_divergence, 4.0), STUDENT, TEACHER, non_target(4.0)),
    "soft-target": (of_logits(student_losses.soft_target), STUDENT, TEACHER, soft_target()),
    "normalised": (of_logits(student_losses.normalised_non_target, 3.0), STUDENT, TEACHER, normalised(3.0)),
    "enhanced": (of_logits(student_losses.enhanced_target, 1.5), STUDENT, TEACHER, enhanced(1.5)),
    "distance": (student_losses.relational_distance, OURS, THEIRS, distance()),
    "angle": (student_losses.relational_angle, OURS, THEIRS, angle()),
    "congruence": (student_losses.correlation_congruence, OURS, THEIRS, congruence(0.4)),
    "attended": (over_layers, *ALL_LAYERS, attended()),
    "class-attention": (student_losses.class_attention, OUR_MAPS, THEIR_MAPS, class_attention()),
    "feature-distance": (student_losses.feature_distance, OUR_MAPS, THEIR_MAPS, feature_distance()),
    "feature-mse": (student_losses.feature_mse, OUR_MAPS, THEIR_MAPS, feature_mse()),
}
CROSS_ENTROPIES = ("soft-target", "normalised", "enhanced")  # what is least at the teacher is not 0 there


@pytest.mark.parametrize("name", TERMS)
def test_formula(name: str) -> None:
    loss, ours, theirs, expected = TERMS[name]
    assert expected > 1e-3
    assert loss(tensor(ours), tensor(theirs)).item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("name", TERMS)
def test_the_gradient_reaches_the_student_and_follows_the_formula(name: str) -> None:
    loss, ours, theirs, _ = TERMS[name]
    student = tensor(ours).requires_grad_()
    assert torch.autograd.gradcheck(lambda values: loss(values, tensor(theirs)), (student,))
    loss(student, tensor(theirs)).backward()
    assert student.grad is not None and student.grad.norm() > 1e-2


@pytest.mark.parametrize("name", [name for name in TERMS if name not in CROSS_ENTROPIES])
def test_it_is_zero_where_the_student_is_the_teacher_and_nowhere_else(name: str) -> None:
    loss, ours, theirs, _ = TERMS[name]
    assert loss(tensor(theirs), tensor(theirs)).item() == pytest.approx(0, abs=1e-12)
    assert loss(tensor(ours), tensor(theirs)).item() > 1e-3


# --- a property each ---


def test_the_two_parts_of_dkd_make_up_the_kl_divergence() -> None:
    """KL = TCKD + (1 − p^T_ŷ)·NCKD for each sample (DKD, eq. 6): here for one sample at a time, T = 1."""
    for student, teacher, label in zip(STUDENT, TEACHER, LABELS, strict=True):
        one = (tensor(student[None]), tensor(teacher[None]), tensor(label[None]), 1.0)
        s, t = softmax(student), softmax(teacher)
        parts = student_losses.target_class_divergence(*one) + (1 - t[label]) * student_losses.non_target_divergence(
            *one
        )
        assert parts.item() == pytest.approx(float((t * np.log(t / s)).sum()), rel=1e-9)


def test_nkd_differs_from_nckd_by_what_no_student_changes() -> None:
    def difference(student: np.ndarray) -> float:
        given = (tensor(student), tensor(TEACHER), tensor(LABELS), 3.0)
        return float(student_losses.normalised_non_target(*given) - student_losses.non_target_divergence(*given))

    assert difference(STUDENT) == pytest.approx(difference(STUDENT[::-1].copy()), rel=1e-9)


def test_the_sure_teacher_enhances_the_target() -> None:
    """Without enhancement: the cross-entropies with the label and with the teacher; a sure teacher weighs 2^γ."""
    student, labels = tensor(STUDENT), tensor(LABELS)
    plain = student_losses.enhanced_target(student, tensor(TEACHER), labels, 1.0)
    soft = torch.nn.functional.cross_entropy(student, tensor(TEACHER).softmax(dim=1))
    assert plain.item() == pytest.approx((soft + torch.nn.functional.cross_entropy(student, labels)).item(), rel=1e-9)
    sure = 100.0 * torch.nn.functional.one_hot(labels, K).double()
    hard = torch.nn.functional.cross_entropy(student, labels).item()
    assert student_losses.enhanced_target(student, sure, labels, 2.0).item() == pytest.approx(4 * hard, rel=1e-9)


def test_relations_know_neither_scale_nor_place() -> None:
    moved = tensor(3 * OURS + 5)
    for loss in (student_losses.relational_distance, student_losses.relational_angle):
        assert loss(moved, tensor(THEIRS)).item() == pytest.approx(loss(tensor(OURS), tensor(THEIRS)).item(), rel=1e-9)


@pytest.mark.parametrize("loss", [student_losses.relational_distance, student_losses.relational_angle])
@pytest.mark.parametrize("same", [2, B])
def test_equal_samples_break_no_relation(loss: Loss, same: int) -> None:
    """Few collected images come twice in a batch; a student that is new may see the same in all of them."""
    student = tensor(np.concatenate([np.repeat(OURS[:1], same, axis=0), OURS[same:]])).requires_grad_()
    loss(student, tensor(THEIRS)).backward()
    assert student.grad is not None and student.grad.isfinite().all() and student.grad.abs().max() < 1e3


def test_congruence_approaches_the_gaussian_kernel() -> None:
    def gaussian(features: np.ndarray) -> np.ndarray:
        unit = features / np.linalg.norm(features, axis=1, keepdims=True)
        return np.exp(-0.4 * ((unit[:, None] - unit[None]) ** 2).sum(axis=2))

    exact = ((gaussian(OURS) - gaussian(THEIRS)) ** 2).mean()
    loss = [
        student_losses.correlation_congruence(tensor(OURS), tensor(THEIRS), order=order).item() for order in (2, 12)
    ]
    assert loss[1] == pytest.approx(exact, rel=1e-9) and abs(loss[0] - exact) > 1e-6


def test_class_attention_looks_at_where_not_at_how_much() -> None:
    louder = student_losses.class_attention(tensor(7 * OUR_MAPS), tensor(THEIR_MAPS))
    assert louder.item() == pytest.approx(class_attention(), rel=1e-9)
    assert student_losses.class_attention(-tensor(THEIR_MAPS), tensor(THEIR_MAPS)).item() == pytest.approx(1.0)


def test_a_layer_without_attention_does_not_count() -> None:
    alone = torch.zeros(B, 2, 3, dtype=torch.float64)
    alone[:, :, 1] = 1
    ours, theirs = ([[tensor(layer[side]) for layer in row] for row in LAYERS] for side in (0, 1))
    expected = np.mean([((row[1][0] - row[1][1]) ** 2).mean() for row in LAYERS])
    assert student_losses.attended_layers(ours, theirs, alone).item() == pytest.approx(expected, rel=1e-9)


# --- noisy labels, and images of another distribution ---


def test_the_noisy_label_loss_by_hand() -> None:
    logits, matrix = torch.randn(6, 4), torch.rand(4, 4).softmax(dim=1)
    labels = torch.tensor([0, 1, 2, 3, 0, 1])
    by_hand = 0.0
    for row, label in zip(logits, labels, strict=True):
        shares = row.softmax(dim=0)
        by_hand -= torch.log(sum(shares[k] * matrix[k, label] for k in range(4))).item() / 6
    assert student_losses.noisy_label_loss(logits, matrix.log(), labels).item() == pytest.approx(by_hand, rel=1e-5)


def test_weights_and_weighted_mse_by_hand() -> None:
    ours, theirs, scale = torch.randn(3, 4), torch.randn(3, 4), torch.rand(3)
    by_hand = [1 / (1 + math.exp(-math.dist(a, b))) for a, b in zip(ours.tolist(), theirs.tolist(), strict=True)]
    assert student_losses.distance_weights(ours, theirs).tolist() == pytest.approx(by_hand, rel=1e-5)
    assert student_losses.distance_weights(ours, ours).tolist() == [0.5] * 3
    one, other = torch.randn(3, 2, 2, 2), torch.randn(3, 2, 2, 2)
    by_hand = sum(scale[i] * sum((one[i] - other[i]).flatten() ** 2) / 8 for i in range(3)) / 3
    assert student_losses.weighted_mse(one, other, scale).item() == pytest.approx(by_hand.item(), rel=1e-5)


def test_contrast_by_hand() -> None:
    one, other = torch.randn(4, 6, dtype=torch.double), torch.randn(4, 6, dtype=torch.double)
    views = [*one, *other]

    def alike(a: Tensor, b: Tensor) -> float:
        return math.exp((a @ b / (a.norm() * b.norm())).item() / 0.3)

    by_hand = 0.0
    for i, view in enumerate(views):
        rivals = sum(alike(view, views[j]) for j in range(8) if j != i)
        by_hand -= math.log(alike(view, views[(i + 4) % 8]) / rivals) / 8
    assert student_losses.instance_contrast(one, other, 0.3).item() == pytest.approx(by_hand)


def test_contrast_is_low_for_pairs_and_high_for_strangers() -> None:
    views = torch.randn(8, 32)
    paired = student_losses.instance_contrast(views, views, 0.3)
    strangers = student_losses.instance_contrast(views, views.roll(1, dims=0), 0.3)
    assert paired < 0.5 * strangers and strangers > math.log(15)


def test_mixed_images_have_mixed_statistics_and_their_own_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.randn(5, 3, 8, 8) * (torch.rand(5, 3, 1, 1) + 0.5) + torch.randn(5, 3, 1, 1)
    share, other = torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0]), torch.tensor([4, 0, 3, 1, 2])
    monkeypatch.setattr(torch.distributions.Beta, "sample", lambda self, shape: share.view(5, 1, 1, 1))
    monkeypatch.setattr(torch, "randperm", lambda count: other)
    mixed = student_losses.mix_distribution(images, 0.1)
    for statistic in (torch.mean, torch.std):
        before, after = (statistic(each, dim=(2, 3)) for each in (images, mixed))
        expected = share[:, None] * before + (1 - share[:, None]) * before[other]
        assert torch.allclose(after, expected, atol=1e-4)
    shapes = [(each - each.mean((2, 3), keepdim=True)) / each.std((2, 3), keepdim=True) for each in (images, mixed)]
    assert torch.allclose(*shapes, atol=1e-3)


def test_mixing_survives_images_of_one_colour() -> None:
    flat = torch.ones(4, 1, 8, 8) * torch.arange(4.0).view(4, 1, 1, 1)
    mixed = student_losses.mix_distribution(flat, 0.1)
    assert mixed.isfinite().all() and torch.allclose(mixed.std(dim=(2, 3)), torch.zeros(4, 1), atol=1e-5)


def test_shares_of_two_images_are_mostly_near_0_or_1() -> None:
    lone = torch.zeros(2000, 1, 2, 2)
    lone[1000:] = 1.0
    means = student_losses.mix_distribution(lone, 0.1).mean(dim=(1, 2, 3))
    between = ((means > 0.2) & (means < 0.8)).float().mean()
    assert 0 < between < 0.2


def test_attention_transfer_by_hand_and_its_gradient() -> None:
    """Energies (9, 16) and (1, 0) of two pixels are (0.49, 0.87) and (1, 0) when scaled to length 1."""
    ours = torch.tensor([3.0, 4.0], dtype=torch.double).view(1, 1, 1, 2).requires_grad_()
    theirs = torch.tensor([1.0, 0.0], dtype=torch.double).view(1, 1, 1, 2)
    found = student_losses.attention_transfer([(ours, theirs)])
    found.backward()
    length = math.sqrt(9**2 + 16**2)
    assert found.item() == pytest.approx(((9 / length - 1) ** 2 + (16 / length) ** 2) / 2)
    # (2 − 2 a₁/|a|)/2 by the energies a: −(1/|a| − a₁²/|a|³) and a₁a₂/|a|³, times 2f
    expected = [-(1 / length - 81 / length**3) * 6, 9 * 16 / length**3 * 8]
    assert ours.grad is not None and ours.grad.flatten().tolist() == pytest.approx(expected)


def test_attention_transfer_sums_over_layers_of_any_width_and_does_not_mind_their_scale() -> None:
    one, other = torch.randn(4, 3, 5, 5, dtype=torch.double), torch.randn(4, 7, 5, 5, dtype=torch.double)
    alone = student_losses.attention_transfer([(one, other)])
    assert student_losses.attention_transfer([(one, other)] * 2).item() == pytest.approx(2 * alone.item())
    assert student_losses.attention_transfer([(3 * one, other)]).item() == pytest.approx(alone.item())
    assert student_losses.attention_transfer([(one, -2 * one)]).item() == pytest.approx(0, abs=1e-12)


# --- SpaceshipNet ----------------------------------------------------------------------------------------------


def test_grad_cam_weighs_channels_by_the_mean_gradient_of_the_label() -> None:
    """Golden: two channels, logit k of image i is Σ_d c_kd · mean of channel d, so that the weight is c_kd / pixels."""
    maps = torch.tensor([[[[1.0, 2.0]], [[3.0, 5.0]]], [[[4.0, 0.0]], [[1.0, 1.0]]]], requires_grad=True)
    head = torch.tensor([[1.0, 0.0], [2.0, -1.0]])
    logits = maps.mean(dim=(2, 3)) @ head.t()
    (found,) = student_losses.grad_cams(logits, [maps], torch.tensor([1, 0]))
    expected = torch.tensor([[[2 * 1.0 - 3, 2 * 2.0 - 5]], [[4.0, 0.0]]]) / 2
    torch.testing.assert_close(found, expected)
    found.sum().backward()
    weights = torch.tensor([[2.0, -1.0], [1.0, 0.0]])[:, :, None, None] / 2
    torch.testing.assert_close(maps.grad, weights.expand_as(maps))  # the weights themselves are constants


def test_regions_are_compared_at_the_smaller_of_their_sides() -> None:
    ours = torch.tensor([[[1.0, 3.0], [5.0, 7.0]]], requires_grad=True)
    found = student_losses.region_mse(ours, torch.tensor([[[2.0]]]))
    assert found.item() == pytest.approx(4.0)  # (4 − 2)²
    found.backward()
    torch.testing.assert_close(ours.grad, torch.full((1, 2, 2), 2 * 2 / 4))
    assert student_losses.region_mse(ours, ours.detach() + 2).item() == pytest.approx(4.0)
