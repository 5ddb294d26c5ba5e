"""The BatchNorm term, hooks included."""

from __future__ import annotations

import pytest
import torch
from conftest import TEACHER
from torch import nn

from dfkd_core.images import ImageSpec
from dfkd_core.losses.bn_statistics import collect_statistics
from dfkd_core.networks.classifiers import build_classifier
from dfkd_core.teachers.load import load_teacher


@pytest.fixture(scope="module")
def teacher() -> nn.Module:
    return load_teacher(TEACHER)[0].double()


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(12, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def distance(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    with collect_statistics(network) as statistics:
        network(images)
    return statistics.distance(images)


def test_it_is_the_sum_of_both_norms_over_all_layers(teacher: nn.Module, images: torch.Tensor) -> None:
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


def test_its_gradient_reaches_the_images_and_not_the_teacher(teacher: nn.Module, images: torch.Tensor) -> None:
    distance(teacher, images.requires_grad_()).backward()
    assert images.grad is not None and images.grad.isfinite().all() and images.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_a_forward_outside_the_block_is_not_counted(teacher: nn.Module, images: torch.Tensor) -> None:
    alone = distance(teacher, images)
    teacher(3 * images)
    with collect_statistics(teacher) as statistics:
        teacher(images)
    teacher(3 * images)
    assert torch.equal(statistics.distance(images), alone)


@pytest.mark.parametrize("broken", [False, True], ids=["after the block", "after an exception in it"])
def test_no_hook_is_left(teacher: nn.Module, images: torch.Tensor, broken: bool) -> None:
    try:
        with collect_statistics(teacher):
            teacher(images if not broken else images[:, :, 0])
    except (RuntimeError, ValueError):
        assert broken
    assert not any(module._forward_pre_hooks for module in teacher.modules())


def test_the_stored_statistics_are_only_read(teacher: nn.Module, images: torch.Tensor) -> None:
    before = {name: buffer.clone() for name, buffer in teacher.named_buffers()}
    distance(teacher, images)
    assert all(torch.equal(buffer, before[name]) for name, buffer in teacher.named_buffers())


def test_a_network_without_batchnorm_gives_zero() -> None:
    plain = build_classifier("lenet5", ImageSpec(1, 8, (0.0,), (1.0,), tuple("0123456789")))
    assert distance(plain, torch.randn(4, 1, 8, 8)).item() == 0
