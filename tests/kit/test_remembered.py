"""BatchNorm statistics with a memory, against what they are by hand."""

from __future__ import annotations

import pytest
import torch
from stepping import (
    SMALL_TEACHER,
    own_generator,  # noqa: F401 - in every test here
)
from torch import Tensor, nn

from dfkd_core.kit.remembered import RememberedStatistics
from dfkd_core.losses.bn_statistics import observe
from dfkd_core.networks.classifiers import Classifier
from dfkd_core.teachers.load import load_teacher


@pytest.fixture
def teacher() -> Classifier:
    return load_teacher(SMALL_TEACHER)[0]


def layers_of(teacher: Classifier) -> list[nn.BatchNorm2d]:
    return [module for module in teacher.modules() if isinstance(module, nn.BatchNorm2d)]


def statistics(teacher: Classifier, images: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Mean and variance of what enters each layer."""
    inputs: dict[nn.Module, Tensor] = {}
    hooks = [
        layer.register_forward_pre_hook(lambda layer, given: inputs.update({layer: given[0]}))
        for layer in layers_of(teacher)
    ]
    teacher(images)
    for hook in hooks:
        hook.remove()
    found = [inputs[layer].movedim(1, 0).flatten(1) for layer in layers_of(teacher)]
    return [(one.mean(dim=1), one.var(dim=1, unbiased=False)) for one in found]


def by_hand(teacher: Classifier, parts: list[tuple[float, list[tuple[Tensor, Tensor]]]]) -> Tensor:
    """Σ ‖Σ_i w_i μ_i − μ̂‖ + the same of the variances."""
    total = torch.zeros(())
    for index, layer in enumerate(layers_of(teacher)):
        for which, stored in enumerate((layer.running_mean, layer.running_var)):
            mixed = torch.stack([weight * found[index][which] for weight, found in parts]).sum(dim=0)
            total = total + (mixed - stored).norm()
    return total


def batches(count: int = 3) -> list[Tensor]:
    return [torch.randn(12, 1, 8, 8) * (1 + index) for index in range(count)]


def test_earlier_batches_count_with_momentum(teacher: Classifier) -> None:
    first, second, third = batches()
    memory = RememberedStatistics(teacher, 0.9)
    torch.testing.assert_close(memory.observe(first)[1], observe(teacher, first)[1])
    memory.remember()
    one = statistics(teacher, first)
    expected = by_hand(teacher, [(0.1, statistics(teacher, second)), (0.9, one)])
    torch.testing.assert_close(memory.observe(second)[1], expected, rtol=1e-4, atol=1e-4)
    memory.remember()
    earlier = [(0.1, statistics(teacher, third)), (0.9 * 0.1, statistics(teacher, second)), (0.9 * 0.9, one)]
    torch.testing.assert_close(memory.observe(third)[1], by_hand(teacher, earlier), rtol=1e-4, atol=1e-4)


def test_the_gradient_is_that_of_the_formula(teacher: Classifier) -> None:
    first, second, _ = batches()
    memory = RememberedStatistics(teacher, 0.5)
    memory.observe(first)
    memory.remember()
    ours, theirs = (second.clone().requires_grad_() for _ in range(2))
    memory.observe(ours)[1].backward()
    before = [(mean.detach(), variance.detach()) for mean, variance in statistics(teacher, first)]
    by_hand(teacher, [(0.5, statistics(teacher, theirs)), (0.5, before)]).backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-3, atol=1e-5)


def test_answers_are_those_of_the_teacher_and_others_observe_it_as_ever(teacher: Classifier) -> None:
    first, second, _ = batches()
    before, memory = observe(teacher, first), RememberedStatistics(teacher, 0.9)
    seen, _ = memory.observe(second)
    torch.testing.assert_close(seen.logits, teacher(second))
    after = observe(teacher, first)
    assert torch.equal(before[1], after[1]) and torch.equal(before[0].logits, after[0].logits)


def test_what_iterations_within_a_batch_see_is_not_remembered(teacher: Classifier) -> None:
    first, second, third = batches()
    memory, plain = RememberedStatistics(teacher, 0.9), RememberedStatistics(teacher, 0.9)
    memory.observe(second)
    for one in (memory, plain):
        one.observe(first)
        one.remember()
    assert torch.equal(memory.observe(third)[1], plain.observe(third)[1])


def test_one_that_was_saved_goes_on_as_the_other(teacher: Classifier) -> None:
    first, second, third = batches()
    memory, other = RememberedStatistics(teacher, 0.9), RememberedStatistics(teacher, 0.9)
    other.load_state_dict(memory.state_dict())
    assert torch.equal(memory.observe(first)[1], other.observe(first)[1])
    for images in (first, second):
        memory.observe(images)
        memory.remember()
    other.load_state_dict({name: kept.clone() for name, kept in memory.state_dict().items()})
    assert torch.equal(memory.observe(third)[1], other.observe(third)[1])


def test_without_momentum_and_without_batch_norm_it_is_the_plain_distance(teacher: Classifier) -> None:
    first, second, _ = batches()
    memory = RememberedStatistics(teacher, 0.0)
    memory.observe(first)
    memory.remember()
    assert torch.equal(memory.observe(second)[1], observe(teacher, second)[1]) and memory.state_dict() == {}
