"""Every term against its formula in float64, and one property each."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax
from stepping import own_generator  # noqa: F401 - in every test here

from dfkd_core.losses import generator as losses

GENERATOR = np.random.default_rng(0)
STUDENT, TEACHER = GENERATOR.normal(0, 3, (2, 24, 10))
IMAGES = GENERATOR.normal(0, 1, (6, 3, 8, 8))
FEATURES = GENERATOR.normal(0.5, 1, (24, 32))
MASK = GENERATOR.random(24) < 0.6


def kl(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    return (p * (np.log(p) - np.log(q))).sum(axis=1)


def js(student: np.ndarray, teacher: np.ndarray) -> np.ndarray:
    s, t = softmax(student, axis=1), softmax(teacher, axis=1)
    return 0.5 * kl(t, (s + t) / 2) + 0.5 * kl(s, (s + t) / 2)


def js_of_the_released_code(student: np.ndarray, teacher: np.ndarray) -> np.ndarray:
    s, t = softmax(student / 3, axis=1), softmax(teacher / 3, axis=1)
    middle = np.clip((s + t) / 2, 0.01, 0.99)
    s, t = np.clip(s, 0.01, 0.99), np.clip(t, 0.01, 0.99)
    return (0.5 * middle * np.log(middle / t) + 0.5 * middle * np.log(middle / s)).mean(axis=1)


PER_SAMPLE = {
    "l1": lambda s, t: np.abs(s - t).mean(axis=1),
    "kl": lambda s, t: kl(softmax(t, axis=1), softmax(s, axis=1)),
    "js": js,
    "js-released": js_of_the_released_code,
}


def tensors(*arrays: np.ndarray) -> list[torch.Tensor]:
    return [torch.from_numpy(array) for array in arrays]


def test_every_discrepancy_has_a_formula_here() -> None:
    assert PER_SAMPLE.keys() == losses.DISCREPANCIES.keys()


@pytest.mark.parametrize("name", PER_SAMPLE)
@pytest.mark.parametrize("mask", [None, MASK], ids=["all samples", "masked"])
def test_a_discrepancy_is_its_formula_over_the_samples_that_count(name: str, mask: np.ndarray | None) -> None:
    expected = PER_SAMPLE[name](STUDENT, TEACHER)[slice(None) if mask is None else mask].mean()
    given = None if mask is None else torch.from_numpy(mask)
    assert losses.DISCREPANCIES[name](*tensors(STUDENT, TEACHER), given).item() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("name", PER_SAMPLE)
def test_a_discrepancy_is_zero_where_both_agree_and_positive_elsewhere(name: str) -> None:
    same, other = tensors(TEACHER, STUDENT)
    assert losses.DISCREPANCIES[name](same, same).item() == pytest.approx(0, abs=1e-12)
    assert losses.DISCREPANCIES[name](other, same).item() > 1e-4


@pytest.mark.parametrize("name", PER_SAMPLE)
def test_a_mask_without_samples_gives_zero_and_a_zero_gradient(name: str) -> None:
    student, teacher = tensors(STUDENT, TEACHER)
    student.requires_grad_()
    loss = losses.DISCREPANCIES[name](student, teacher, torch.zeros(24, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0 and student.grad is not None and not student.grad.any()


@pytest.mark.parametrize("temperature", [1.0, 4.0, 20.0])
def test_kl_is_scaled_by_the_squared_temperature(temperature: float) -> None:
    teacher, student = softmax(TEACHER / temperature, axis=1), softmax(STUDENT / temperature, axis=1)
    value = losses.kl_discrepancy(*tensors(STUDENT, TEACHER), temperature=temperature)
    assert value.item() == pytest.approx(temperature**2 * kl(teacher, student).mean(), rel=1e-10)


def confident(classes: int, lead: float = 1000.0) -> list[torch.Tensor]:
    """Two networks that are sure, by ``lead`` logits, and never of the same class."""
    sure = lead * torch.eye(classes, dtype=torch.float64)
    return [sure, sure.roll(1, dims=0)]


def test_js_reaches_log_2_at_full_disagreement_and_is_never_above() -> None:
    assert losses.js_discrepancy(*confident(10)).item() == pytest.approx(np.log(2), rel=1e-9)
    assert losses.js_discrepancy(*tensors(100 * STUDENT, 100 * TEACHER)).item() <= np.log(2)


@pytest.mark.parametrize(
    ("classes", "lead", "worth"), [(10, 12, 0.116), (100, 12, 0.004), (10, 1000, 0.161), (100, 1000, 0.016)]
)
def test_the_released_js_is_nearly_inert_at_full_disagreement(classes: int, lead: float, worth: float) -> None:
    assert losses.js_released(*confident(classes, lead)).item() == pytest.approx(worth, abs=6e-4)


def test_the_class_prior_is_the_cross_entropy_with_the_own_argmax() -> None:
    expected = -log_softmax(TEACHER, axis=1).max(axis=1).mean()
    assert losses.class_prior(*tensors(TEACHER)).item() == pytest.approx(expected, rel=1e-10)
    assert losses.class_prior(*tensors(100 * TEACHER)).item() < 1e-3, "a sure teacher has nothing left to gain"


def test_class_balance_is_the_negative_entropy_of_the_mean_prediction() -> None:
    mean = softmax(TEACHER, axis=1).mean(axis=0)
    assert losses.class_balance(*tensors(TEACHER)).item() == pytest.approx((mean * np.log(mean)).sum(), rel=1e-10)


def test_class_balance_is_least_where_all_classes_are_equally_frequent() -> None:
    balanced, one_sided = confident(10)[0], torch.zeros(10, 10, dtype=torch.float64).index_fill(1, torch.tensor(3), 1e3)
    assert losses.class_balance(balanced).item() == pytest.approx(-np.log(10))
    assert losses.class_balance(one_sided).item() == pytest.approx(0), "and a class that never comes is no NaN"


def test_coverage_is_the_effective_share_of_the_classes() -> None:
    mean = softmax(TEACHER, axis=1).mean(axis=0)
    expected = np.prod(mean**-mean) / len(mean)
    assert losses.coverage(*tensors(TEACHER)) == pytest.approx(expected, rel=1e-10)
    one_sided = torch.zeros(6, 4).index_fill(1, torch.tensor(3), 1e3)
    assert losses.coverage(torch.zeros(6, 4)) == pytest.approx(1) and losses.coverage(one_sided) == pytest.approx(0.25)


def test_the_prediction_entropy_by_hand_and_at_its_ends() -> None:
    logits = torch.randn(7, 5, dtype=torch.double)
    by_hand = 0.0
    for row in logits.tolist():
        exponentials = [math.exp(value) for value in row]
        shares = [value / sum(exponentials) for value in exponentials]
        by_hand -= sum(share * math.log(share) for share in shares)
    assert losses.prediction_entropy(logits).item() == pytest.approx(by_hand / 7)
    assert losses.prediction_entropy(torch.zeros(3, 5)).item() == pytest.approx(math.log(5))
    assert losses.prediction_entropy(1e4 * torch.eye(5)).item() == pytest.approx(0.0, abs=1e-6)


def test_sure_predictions_of_all_classes_satisfy_both_terms_and_of_one_class_only_the_first() -> None:
    varied, collapsed = 50 * torch.eye(5), 50 * torch.eye(5)[[2] * 5]
    assert losses.prediction_entropy(varied) == losses.prediction_entropy(collapsed)
    assert losses.class_balance(varied).item() == pytest.approx(-math.log(5))
    assert losses.class_balance(collapsed).item() == pytest.approx(0.0, abs=1e-6)


def test_activation_is_the_negative_mean_of_the_absolute_features() -> None:
    assert losses.activation(*tensors(FEATURES)).item() == pytest.approx(-np.abs(FEATURES).mean(), rel=1e-12)
    assert losses.activation(*tensors(-2 * FEATURES)).item() == pytest.approx(-2 * np.abs(FEATURES).mean())


def test_total_variation_is_the_sum_of_four_norms_of_differences() -> None:
    x = IMAGES
    differences = [
        x[..., :, 1:] - x[..., :, :-1],
        x[..., 1:, :] - x[..., :-1, :],
        x[..., 1:, 1:] - x[..., :-1, :-1],
        x[..., 1:, :-1] - x[..., :-1, 1:],
    ]
    expected = sum(np.sqrt((difference**2).sum()) for difference in differences)
    assert losses.total_variation(*tensors(x)).item() == pytest.approx(expected, rel=1e-12)
    assert losses.total_variation(torch.ones(2, 3, 8, 8)).item() == 0


def test_the_image_norm_is_the_norm_of_the_whole_batch() -> None:
    assert losses.image_norm(*tensors(IMAGES)).item() == pytest.approx(np.sqrt((IMAGES**2).sum()), rel=1e-12)


@pytest.mark.parametrize("prior", [losses.total_variation, losses.image_norm])
def test_image_priors_grow_with_the_root_of_the_batch(prior) -> None:
    images = torch.from_numpy(IMAGES)
    assert prior(torch.cat([images] * 4)).item() == pytest.approx(2 * prior(images).item(), rel=1e-12)


def test_diversity_is_one_minus_the_mean_pairwise_cosine() -> None:
    unit = FEATURES / np.linalg.norm(FEATURES, axis=1, keepdims=True)
    pairwise = np.mean([[a @ b for a in unit] for b in unit])
    assert losses.diversity(*tensors(FEATURES)).item() == pytest.approx(1 - pairwise, rel=1e-10)
    assert losses.diversity(torch.ones(8, 5)).item() == pytest.approx(0, abs=1e-6)
    assert losses.diversity(torch.zeros(8, 5)).item() == 0, "a teacher that sees nothing in any of them"
    half = torch.cat([torch.zeros(4, 5), torch.ones(4, 5)])
    assert losses.diversity(half).item() == pytest.approx(0.5)


# --- of methods with a pool ------------------------------------------------------------------------------------


def test_the_decision_adversarial_term_counts_agreement_only_and_divides_by_all() -> None:
    """Golden: two of three agree, (0.6, 0.4) ‖ (0.8, 0.2) and equal distributions."""
    teacher = torch.tensor([[0.6, 0.4], [0.9, 0.1], [0.3, 0.7]]).log()
    student = torch.tensor([[0.8, 0.2], [0.9, 0.1], [0.6, 0.4]]).log().requires_grad_()
    found = losses.decision_adversarial(student, teacher)
    assert found.item() == pytest.approx(-(0.6 * math.log(0.6 / 0.8) + 0.4 * math.log(0.4 / 0.2)) / 3, rel=1e-5)
    found.backward()
    assert student.grad is not None
    expected = torch.tensor([[0.6 - 0.8, 0.4 - 0.2], [0, 0], [0, 0]]) / 3  # −∇KL = (p^T − p^S)
    torch.testing.assert_close(student.grad, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("earlier", [0, 2])
def test_instance_discrimination_is_info_nce_of_parts_among_wholes(earlier: int) -> None:
    local, whole = FEATURES[:6, :4], FEATURES[6:12, :4]
    one, other = (views / np.linalg.norm(views, axis=1, keepdims=True) for views in (local, whole))
    per_image = -np.diag(log_softmax(one @ other.T / 0.2, axis=1))
    expected = per_image[: 6 - earlier].mean() + (per_image[6 - earlier :].mean() if earlier else 0)
    parts, wholes = (torch.tensor(views, requires_grad=True) for views in (local, whole))
    found = losses.instance_discrimination(parts, wholes, 0.2, earlier)
    assert found.item() == pytest.approx(expected)
    found.backward()
    assert wholes.grad is None and parts.grad is not None
    for place in ((0, 0), (5, 3)):  # against finite differences of the formula
        moved = [local.copy() for _ in range(2)]
        for sign, views in zip((1, -1), moved, strict=True):
            views[place] += sign * 1e-6
        values = []
        for views in moved:
            unit = views / np.linalg.norm(views, axis=1, keepdims=True)
            ones = -np.diag(log_softmax(unit @ other.T / 0.2, axis=1))
            values.append(ones[: 6 - earlier].mean() + (ones[6 - earlier :].mean() if earlier else 0))
        assert parts.grad[place].item() == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-4, abs=1e-8)


def test_instances_that_are_told_apart_cost_nothing_and_equal_ones_log_of_their_number() -> None:
    apart = torch.eye(4)
    assert losses.instance_discrimination(apart, apart, 0.01).item() == pytest.approx(0, abs=1e-6)
    alike = torch.ones(4, 3)
    assert losses.instance_discrimination(alike, alike, 0.1).item() == pytest.approx(math.log(4), rel=1e-5)
