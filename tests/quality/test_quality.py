"""Figures of generated images, against closed forms, torchmetrics' own calls and examples worked by hand."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from bringing import write_card
from points import gaussian, line, of_features
from scipy.linalg import sqrtm
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance

from dfkd_core.data.catalogue import find_benchmark
from dfkd_core.data.labelled import LabelledImages
from dfkd_core.errors import RequestError
from dfkd_core.quality import measures as quality
from dfkd_core.teachers.cards import available_teachers, find_card


class Flat(nn.Module):
    """Pixels are features; counts how many images it has seen."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.num_features, self.seen = size, 0

    def forward(self, images: Tensor) -> Tensor:
        self.seen += len(images)
        return images.flatten(1).float()


def flat(size: int = 4, identity: str = "flat") -> quality.Extractor:
    return quality.Extractor("flat", "flat", identity, Flat(size))


def images(count: int, seed: int = 0, classes: int = 2) -> LabelledImages:
    """Random 2×2 images whose labels take turns."""
    drawn = torch.randint(0, 256, (count, 1, 2, 2), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    return LabelledImages(drawn, torch.arange(count) % classes)


# --- FID -------------------------------------------------------------------------------------------------------


def test_fid_of_gaussians_is_the_closed_form_of_their_moments() -> None:
    real, generated = gaussian(4000, 0.0, 1.0, 1), gaussian(3000, 0.7, 1.6, 2)
    means = [values.numpy().mean(axis=0) for values in (real, generated)]
    covariances = [np.cov(values.numpy(), rowvar=False) for values in (real, generated)]
    closed = np.sum((means[0] - means[1]) ** 2)
    closed += np.trace(covariances[0] + covariances[1] - 2 * sqrtm(covariances[0] @ covariances[1]).real)
    assert quality.frechet_distance(of_features(real), generated) == pytest.approx(closed, rel=1e-9)


def test_fid_of_a_set_against_itself_is_zero() -> None:
    features = gaussian(500, 3.0, 2.0, 3)
    assert quality.frechet_distance(of_features(features), features) == pytest.approx(0.0, abs=1e-6)


def test_fid_from_the_stored_reference_is_torchmetrics_own(tmp_path: Path) -> None:
    real, generated, extractor = images(40), images(60, seed=1), flat()
    quality.reference(real, extractor, 30, tmp_path)
    stored = quality.reference(real, flat(), 30, tmp_path)  # from the file
    metric = FrechetInceptionDistance(Flat(4))
    metric.update(real.images[:30], real=True)  # labels take turns: the first 30 are even
    metric.update(generated.images, real=False)
    ours = quality.frechet_distance(stored, extractor.features(generated.images))
    assert ours == pytest.approx(float(metric.compute()), rel=1e-5)


# --- the reference ---------------------------------------------------------------------------------------------


def test_a_reference_is_computed_once_for_data_extractor_and_number(tmp_path: Path) -> None:
    data, other_data = images(40), images(40, seed=5)

    def seen(data: LabelledImages, count: int, identity: str = "flat") -> int:
        extractor = flat(identity=identity)
        quality.reference(data, extractor, count, tmp_path)
        return extractor.module.seen

    assert [seen(data, 20), seen(data, 20)] == [20, 0]
    assert [seen(data, 30), seen(data, 20, "another"), seen(other_data, 20)] == [30, 20, 20]
    assert [seen(data, 400), seen(data, 500)] == [40, 0], "there are only 40"


def test_a_damaged_reference_is_computed_again(tmp_path: Path) -> None:
    first = quality.reference(images(20), flat(), 20, tmp_path)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-9])
    again = quality.reference(images(20), flat(), 20, tmp_path)
    assert torch.equal(first.features, again.features) and first.identity == again.identity
    assert quality._read(path) is not None


def test_too_few_real_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="at least 6"):
        quality.reference(images(5), flat(), 20, tmp_path)


# --- neighbourhoods, worked by hand ----------------------------------------------------------------------------


REAL = line(0, 1, 2, 3, 4, 5)  # distances to the 5th neighbour: 5 4 3 3 4 5; to the 3rd: 3 2 2 2 2 3


def test_density_counts_the_balls_that_a_generated_point_is_in() -> None:
    # −4 is in the ball of 0 only; 2.4 in all six; 8 in those of 4 and 5 (at their very edge and inside); 20 in none.
    found = quality.neighbourhoods(REAL, line(-4, 2.4, 8, 20))
    assert found["density"] == pytest.approx((1 + 6 + 2 + 0) / (5 * 4))
    assert found["coverage"] == 1.0
    assert found["precision"] == pytest.approx(2 / 4), "2.4, and 8 at the edge of the ball of 5"


def test_coverage_counts_the_real_points_with_company() -> None:
    # 9 is within 5 of 5 (4 away) but not within 4 of 4 (5 away); the others are far from everything.
    found = quality.neighbourhoods(REAL, line(9, 50, 60, 70))
    assert found["coverage"] == pytest.approx(1 / 6) and found["density"] == pytest.approx(1 / 20)
    assert found["precision"] == 0.0


def test_recall_counts_the_real_points_in_the_balls_of_generated_ones() -> None:
    # The four around 5 have balls of 0.2 and 0.3, which reach no other real point; 30 reaches back 25, to 5.
    assert quality.neighbourhoods(REAL, line(4.9, 5, 5.1, 5.2, 30))["recall"] == pytest.approx(1 / 6)


def test_neighbourhoods_come_out_the_same_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    from sklearn import metrics

    real, generated = gaussian(200, 0.0, 1.0, 1), gaussian(200, 0.2, 1.0, 4)
    whole = quality.neighbourhoods(real, generated)
    parts = metrics.pairwise_distances_chunked
    monkeypatch.setattr(
        metrics, "pairwise_distances_chunked", lambda one, other: parts(one, other, working_memory=0.02)
    )
    assert len(list(metrics.pairwise_distances_chunked(generated.numpy(), real.numpy()))) > 5
    assert quality.neighbourhoods(real, generated) == whole


# --- classes ---------------------------------------------------------------------------------------------------


def test_diversity_is_the_mean_distance_within_a_class() -> None:
    features = torch.tensor([[0.0, 0], [3, 4], [0, 0], [0, 2], [0, 4], [9, 9]])
    labels = torch.tensor([0, 0, 1, 1, 1, 2])  # distances 5; 2, 2, 4; a class of one has none
    assert quality.within_class_diversity(features, labels) == pytest.approx((5 + 8 / 3) / 2)
    assert quality.within_class_diversity(features[:3], torch.tensor([0, 1, 2])) is None


@pytest.mark.parametrize(
    ("counts", "balance"),
    [([5, 5, 5, 5], 1.0), ([20, 0, 0, 0], 0.25), ([10, 10, 0, 0], 0.5), ([3, 1], math.exp(0.5623351446) / 2)],
)
def test_class_balance(counts: list[int], balance: float) -> None:
    assert quality.class_balance(torch.tensor(counts)) == pytest.approx(balance)


# --- extractors ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("under_test", "usual"),
    [
        ("digits-resnet20-plain", "teacher:digits-lenet5-bn-mixup"),
        ("digits-lenet5-long", "teacher:digits-resnet20-smooth"),
        ("mnist-lenet5-plain", "teacher:mnist-resnet8-strong"),
        ("mnist-resnet8-strong", "teacher:mnist-lenet5-bn-smooth"),
    ],
)
def test_the_usual_extractor_is_the_most_accurate_teacher_of_another_kind(under_test: str, usual: str) -> None:
    assert quality.usual_extractor(find_card(under_test)[0]) == usual


@pytest.mark.parametrize("network", ["lvae-32", "conv-vae-8", "resnet20-vae"])
def test_a_generative_teacher_is_judged_by_the_most_accurate_classifier(network: str) -> None:
    card = find_card("digits-resnet20-plain")[0]
    generative = card.model_copy(update={"task": "generative", "network": network, "sha256": "0" * 64})
    known = available_teachers("digits")
    judge = quality.find_extractor("", generative)
    assert judge.name == "teacher:" + max(known, key=lambda name: known[name].accuracy or 0)
    with pytest.raises(RequestError, match="no classifier of nothing"):
        quality.find_extractor("", generative.model_copy(update={"benchmark": "nothing"}))


def test_an_extractor_gives_what_the_classifiers_last_layer_sees() -> None:
    extractor = quality.find_extractor("teacher:digits-lenet5-bn-mixup", find_card("digits-resnet20-plain")[0])
    data = find_benchmark("digits").load(train=False)
    features = extractor.features(data.images[:20])
    network = extractor.module.network
    logits = network(extractor.module.image.normalise(data.images[:20].float() / 255))
    assert features.shape == (20, extractor.module.num_features)
    assert torch.allclose(network.head(features.float()), logits, atol=1e-5)
    assert "digits-lenet5-bn-mixup" in extractor.describe(599, 2000) and "2,000 generated" in extractor.describe(
        1, 2000
    )


@pytest.mark.parametrize("network", ["onnx", "torch-export"])
def test_a_program_is_no_extractor_however_accurate_it_is(network: str) -> None:
    write_card(network=network)
    generative = find_card("digits-lvae-32")[0]
    assert quality.usual_extractor(generative) == quality.find_extractor("", generative).name != "teacher:mine"
    with pytest.raises(RequestError, match="teacher:mine.*is a program"):
        quality.find_extractor("teacher:mine", generative)


def test_a_classifier_that_cannot_be_read_is_passed_over() -> None:
    generative = find_card("digits-lvae-32")[0]
    best = quality.find_extractor("", generative).name
    write_card()
    assert quality.find_extractor("", generative).name == best
    with pytest.raises(RequestError, match="mine.safetensors"):
        quality.find_extractor("teacher:mine", generative)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("teacher:digits-resnet20-plain", "is the teacher that the images were made from"),
        ("teacher:mnist-lenet5-plain", "was made for mnist; take one of digits"),
        ("teacher:nobody", "should be one of"),
        ("resnet", "should be inception, or teacher:NAME"),
    ],
)
def test_other_extractors_are_refused(name: str, why: str) -> None:
    with pytest.raises(RequestError, match=why):
        quality.find_extractor(name, find_card("digits-resnet20-plain")[0])


def test_where_there_is_no_other_kind_of_network_the_way_out_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    card = find_card("digits-resnet20-plain")[0]
    monkeypatch.setattr(quality, "available_teachers", lambda benchmark: {card.name: card})
    with pytest.raises(RequestError, match="import one, or take inception"):
        quality.find_extractor("", card)


class _FakeInception(nn.Module):
    def __init__(self, name: str, layers: list[str]) -> None:
        super().__init__()

    def forward(self, images: Tensor) -> Tensor:
        assert images.dtype == torch.uint8 and images.shape[1] == 3
        return images.float().mean(dim=(1, 2, 3))[:, None]


def test_inception_sees_grey_images_in_three_channels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torchmetrics.image.fid.NoTrainInceptionV3", _FakeInception)
    extractor = quality.find_extractor("inception", find_card("digits-resnet20-plain")[0])
    assert extractor.features(images(3).images).shape == (3, 1)
    assert "Inception-v3" in extractor.describe(1, 1)


@pytest.mark.parametrize(
    ("problem", "why"),
    [(ModuleNotFoundError("no torch-fidelity"), "needs the package"), (OSError("no network"), "its weights")],
)
def test_inception_without_package_or_weights_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, problem: Exception, why: str
) -> None:
    def missing(*arguments: object) -> None:
        raise problem

    monkeypatch.setattr("torchmetrics.image.fid.NoTrainInceptionV3", missing)
    with pytest.raises(RequestError, match=why):
        quality.find_extractor("inception", find_card("digits-resnet20-plain")[0])
