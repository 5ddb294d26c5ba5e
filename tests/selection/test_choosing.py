"""Choosing among collected images by hand, and the teacher as it looks at them."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from conftest import TEACHER
from torch import Tensor, nn

from dfkd_core.data.catalogue import find_benchmark
from dfkd_core.images import ImageSpec
from dfkd_core.selection.collected import (
    Predictor,
    class_adaptive,
    class_histogram,
    class_thresholds,
    lowest_cross_entropy,
    most_confident,
)  # fmt: skip
from dfkd_core.teachers.load import load_teacher


@pytest.fixture(scope="module")
def teacher() -> Predictor:
    network, card = load_teacher(TEACHER)
    return Predictor(network, card.image.spec(), torch.device("cpu"))


def test_the_lowest_cross_entropy_is_to_the_teachers_own_argmax() -> None:
    logits = torch.tensor([[2.0, 0.0], [0.0, 5.0], [1.0, 1.0], [0.0, 3.0]])
    entropies = [math.log(1 + math.exp(-gap)) for gap in (2, 5, 0, 3)]
    assert lowest_cross_entropy(logits, 3).tolist() == sorted(range(4), key=lambda index: entropies[index])[:3]
    by_torch = nn.functional.cross_entropy(logits, logits.argmax(dim=1), reduction="none")
    assert by_torch.tolist() == pytest.approx(entropies, abs=1e-6)


def test_equal_cross_entropies_keep_their_order() -> None:
    assert lowest_cross_entropy(torch.zeros(50, 3), 20).tolist() == list(range(20))


def test_the_threshold_of_a_class_falls_with_its_share() -> None:
    """KD3's rule by hand: 4, 2 and 1 images, and a class that nothing is taken for."""
    labels = torch.tensor([0, 0, 0, 0, 1, 1, 2])
    shares = [1, 0.5, 0.25, 0]
    expected = [0.95 * share / (2 - share) for share in shares]
    assert class_thresholds(labels, 4).tolist() == pytest.approx(expected, abs=1e-6)
    assert class_thresholds(labels, 4, 0.5).tolist() == pytest.approx([value * 0.5 / 0.95 for value in expected])


def confident(*pairs: tuple[int, float]) -> Tensor:
    """Logits of three classes, each image with its class and how confident."""
    rows = []
    for label, confidence in pairs:
        row = [(1 - confidence) / 2] * 3
        row[label] = confidence
        rows.append(row)
    return torch.tensor(rows).log()


def test_a_rare_class_passes_with_less_confidence() -> None:
    logits = confident((0, 0.94), (0, 0.96), (0, 0.99), (0, 0.5), (1, 0.5), (1, 0.4), (1, 0.3334), (2, 0.37))
    # shares 1, 3/4, 1/4: thresholds 0.95, 0.57, 0.1357
    assert class_adaptive(logits).tolist() == [False, True, True, False, False, False, False, True]
    assert class_adaptive(logits, 0.6).tolist() == [True, True, True, False, True, True, False, True]


def test_those_that_pass_are_drawn_at_random_and_the_next_fill_up() -> None:
    logits = confident((0, 0.94), (0, 0.96), (0, 0.99), (0, 0.5), (1, 0.5), (1, 0.4), (1, 0.3334), (2, 0.37))
    drawn = [most_confident(logits, 3, torch.Generator().manual_seed(seed)).tolist() for seed in range(20)]
    assert {tuple(sorted(indices)) for indices in drawn} == {(1, 2, 7)}
    assert len({indices[0] for indices in drawn}) == 3, "who passes is not ranked any further"
    first = {
        tuple(sorted(most_confident(logits, 2, torch.Generator().manual_seed(seed)).tolist())) for seed in range(20)
    }
    assert first == {(1, 2), (1, 7), (2, 7)}
    # then by confidence over threshold: 0.94/0.95, 0.5/0.57, 0.4/0.57, 0.3334/0.57, 0.5/0.95
    order = most_confident(logits, 8, torch.Generator().manual_seed(0)).tolist()
    assert order[3:] == [0, 4, 5, 6, 3]


def test_a_histogram_counts_every_class() -> None:
    assert class_histogram(torch.tensor([3, 3, 0], dtype=torch.int16), 5).tolist() == [1, 0, 0, 2, 0]


def test_predicting_leaves_the_teacher_and_torchs_generators_alone(teacher: Predictor) -> None:
    before = torch.random.get_rng_state()
    teacher.network.train().requires_grad_(True)
    seen = teacher.predict(torch.randint(0, 256, (700, 1, 8, 8), generator=torch.Generator().manual_seed(0)).byte())
    assert teacher.network.training and torch.equal(before, torch.random.get_rng_state())
    teacher.network.eval().requires_grad_(False)
    again = teacher.predict(torch.randint(0, 256, (700, 1, 8, 8), generator=torch.Generator().manual_seed(0)).byte())
    assert torch.equal(seen.logits, again.logits) and seen.logits.shape == (700, 10) and not seen.logits.requires_grad


def test_the_image_specification_of_the_teacher_is_what_it_predicts_by(teacher: Predictor) -> None:
    brighter = replace(teacher, image=ImageSpec(1, 8, (0.0,), (0.1,), teacher.image.classes))
    digits = find_benchmark("digits").load(train=True)
    images = digits.images[:20]
    assert not torch.equal(brighter.predict(images).logits, teacher.predict(images).logits)
    assert teacher.predict(images).logits.argmax(dim=1).tolist() == digits.labels[:20].tolist()
