"""The BatchNorm term, hooks included."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from dfkd_core.images import ImageSpec
from dfkd_core.losses.bn_statistics import distance as distance_of
from dfkd_core.losses.bn_statistics import divergence as divergence_of
from dfkd_core.losses.bn_statistics import observe, observe_divergence
from dfkd_core.networks.classifiers import Classifier, build_classifier
from dfkd_core.teachers.load import load_teacher


@pytest.fixture(scope="module")
def teacher() -> Classifier:
    return load_teacher("digits-resnet20-plain")[0].double()


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(12, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def distance(network: Classifier, images: torch.Tensor) -> torch.Tensor:
    return observe(network, images)[1]


def test_it_is_the_sum_of_both_norms_over_all_layers(teacher: Classifier, images: torch.Tensor) -> None:
    inputs: dict[str, torch.Tensor] = {}
    layers = {name: layer for name, layer in teacher.named_modules() if isinstance(layer, nn.BatchNorm2d)}
    hooks = [
        layer.register_forward_hook(lambda module, given, _, name=name: inputs.update({name: given[0]}))
        for name, layer in layers.items()
    ]
    teacher(images)
    for hook in hooks:
        hook.remove()
    expected = 0.0
    for name, layer in layers.items():
        seen = inputs[name].detach().numpy()
        mean, variance = seen.mean(axis=(0, 2, 3)), seen.var(axis=(0, 2, 3))
        expected += ((layer.running_mean.numpy() - mean) ** 2).sum() ** 0.5
        expected += ((layer.running_var.numpy() - variance) ** 2).sum() ** 0.5
    assert len(layers) > 5
    assert distance(teacher, images).item() == pytest.approx(expected, rel=1e-10)


def test_its_gradient_reaches_the_images_and_not_the_teacher(teacher: Classifier, images: torch.Tensor) -> None:
    distance(teacher, images.requires_grad_()).backward()
    assert images.grad is not None and images.grad.isfinite().all() and images.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_what_it_sees_is_what_the_network_sees(teacher: Classifier, images: torch.Tensor) -> None:
    seen, expected = observe(teacher, images)[0], teacher.features(images)
    assert torch.equal(seen.logits, expected.logits) and torch.equal(seen.pooled, expected.pooled)


@pytest.mark.parametrize("size", [8, 1], ids=["all layers", "the last maps of one pixel"])
def test_its_gradient_is_autograds(teacher: Classifier, size: int) -> None:
    layers = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU(), nn.BatchNorm2d(3))
    layers.double().eval()
    images = torch.rand(4, 1, size, size, dtype=torch.float64, requires_grad=True)

    def of_layers(images: torch.Tensor) -> torch.Tensor:
        hidden, total = images, torch.zeros((), dtype=torch.float64)
        for layer in layers:
            if isinstance(layer, nn.BatchNorm2d):
                total = total + distance_of(hidden, layer.running_mean, layer.running_var)
            hidden = layer(hidden)
        return total

    assert torch.autograd.gradcheck(of_layers, images)


def test_layers_that_match_exactly_have_no_gradient() -> None:
    features = torch.tensor([-1.0, 1.0]).view(2, 1, 1, 1).expand(2, 2, 1, 1).clone().requires_grad_()
    found = distance_of(features, torch.zeros(2), torch.ones(2))
    found.backward()
    assert found.item() == 0 and features.grad is not None and not features.grad.any()


@pytest.mark.parametrize("broken", [False, True], ids=["another forward", "an exception"])
def test_what_comes_between_is_not_counted(teacher: Classifier, images: torch.Tensor, broken: bool) -> None:
    alone = distance(teacher, images)
    try:
        teacher(3 * images) if not broken else observe(teacher, images[:, :, 0])
    except (RuntimeError, ValueError):
        assert broken
    assert torch.equal(distance(teacher, images), alone)


def test_the_stored_statistics_are_only_read(teacher: Classifier, images: torch.Tensor) -> None:
    before = {name: buffer.clone() for name, buffer in teacher.named_buffers()}
    distance(teacher, images)
    assert all(torch.equal(buffer, before[name]) for name, buffer in teacher.named_buffers())


def test_the_divergence_is_that_of_gaussians_channel_by_channel(teacher: Classifier, images: torch.Tensor) -> None:
    heard: list[tuple[torch.Tensor, nn.BatchNorm2d]] = []
    layers = [layer for layer in teacher.modules() if isinstance(layer, nn.BatchNorm2d)]
    hooks = [layer.register_forward_hook(lambda layer, given, _: heard.append((given[0], layer))) for layer in layers]
    teacher(images)
    for hook in hooks:
        hook.remove()
    expected = 0.0
    for features, layer in heard:
        for channel in range(features.shape[1]):
            values = features[:, channel].detach().numpy()
            mean, variance = values.mean(), values.var() + 1e-5
            stored_mean, stored = layer.running_mean[channel].item(), layer.running_var[channel].item() + 1e-5
            expected += ((mean - stored_mean) ** 2 + variance) / (2 * stored) - 0.5 * np.log(variance / stored) - 0.5
    assert observe_divergence(teacher, images)[1].item() == pytest.approx(expected, rel=1e-9)


def test_the_divergence_by_hand_and_its_gradient() -> None:
    """−1 and 3 have mean 1 and variance 4; stored are 0 and 1, to which epsilon is added: KL = 2 − log 2."""
    features = torch.tensor([-1.0, 3.0], dtype=torch.float64).view(2, 1, 1, 1).requires_grad_()
    found = divergence_of(features, torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64))
    found.backward()
    assert found.item() == pytest.approx(2 - np.log(2), rel=1e-4)
    by_mean, by_variance = 1 / 2, (0.5 - 0.125) * np.array([-2, 2])  # (μ − μ̂)/σ̂²/n; (1/2σ̂² − 1/2σ²)·2(f − μ)/n
    assert features.grad is not None
    assert features.grad.flatten().numpy() == pytest.approx(by_mean + by_variance, rel=1e-4)


def test_the_divergence_of_what_is_stored_is_zero_and_of_a_constant_channel_finite() -> None:
    same = torch.tensor([-1.0, 1.0], dtype=torch.float64).view(2, 1, 1, 1)
    stored = torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    assert divergence_of(same, *stored).item() == pytest.approx(0, abs=1e-12)
    constant = torch.zeros(2, 1, 1, 1, dtype=torch.float64, requires_grad=True)
    found = divergence_of(constant, *stored)
    found.backward()
    assert 5 < found.item() < 6 and constant.grad is not None and constant.grad.isfinite().all()


def test_the_gradient_of_the_divergence_is_autograds() -> None:
    features = torch.rand(4, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    stored = torch.rand(3, dtype=torch.float64), torch.rand(3, dtype=torch.float64) + 0.5
    assert torch.autograd.gradcheck(lambda images: divergence_of(images, *stored), features)


def test_one_measure_does_not_leave_the_other_behind(teacher: Classifier, images: torch.Tensor) -> None:
    alone = distance(teacher, images)
    observe_divergence(teacher, images)
    assert torch.equal(distance(teacher, images), alone)


def test_a_network_without_batchnorm_gives_zero() -> None:
    plain = build_classifier("lenet5", ImageSpec(1, 8, (0.0,), (1.0,), tuple("0123456789")))
    images = torch.randn(4, 1, 8, 8)
    assert distance(plain, images).item() == 0 and observe_divergence(plain, images)[1].item() == 0
