"""The noise baseline: it teaches the student, repeats exactly, resumes bit-identically."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from stepping import (
    events,
    of,
    overhear,
    own_generator,  # noqa: F401 - in every test here
    same,
    values,
    weights,
)

from dfkd_core.events import Epoch, Samples
from dfkd_core.images import ImageSpec
from dfkd_core.kit.contract import Problem
from dfkd_core.methods.noise import Noise, NoiseConfig
from dfkd_core.networks.classifiers import build_classifier, freeze

IMAGE = ImageSpec(1, 8, (0.3,), (0.37,), tuple("0123456789"))
SMALL = {"epochs": 2, "iterations": 3, "student_steps": 2, "batch_size": 16}


def make(**changes: Any) -> Noise:
    torch.manual_seed(1)
    teacher = freeze(build_classifier("resnet8", IMAGE))
    student = build_classifier("lenet5-bn", IMAGE)
    config = NoiseConfig.build("", {**SMALL, **changes})
    return Noise(Problem(teacher, student, IMAGE, torch.device("cpu")), config)


@pytest.mark.parametrize("kind", ["gaussian", "uniform"])
def test_every_student_weight_learns_and_the_teacher_stays(kind: str) -> None:
    method = make(kind=kind)
    student, teacher = weights(method.student), weights(method.teacher)
    events(method, 1)
    for name, parameter in method.student.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        assert parameter.grad.norm() > 0 and not torch.equal(parameter, student[name]), name
    assert same(teacher, weights(method.teacher))


def test_the_student_comes_closer_to_the_teacher() -> None:
    method = make(epochs=10, iterations=10, student_lr=0.05)
    losses = [metrics["student_loss"] for metrics in values(events(method, 100))]
    assert sum(losses[-10:]) < 0.5 * sum(losses[:10])


def test_same_seed_same_metrics() -> None:
    assert values(events(make(), 6)) == values(events(make(), 6))


def test_every_query_is_counted_and_epochs_close() -> None:
    method = make()
    heard = overhear(method.teacher)
    found = events(method, 6)
    assert values(found)[-1]["queries"] == sum(len(images) for images, _ in heard) == 6 * 2 * 16
    assert [event.epoch for event in of(Epoch, found)] == [1, 2]


@pytest.mark.parametrize("kind", ["gaussian", "uniform"])
def test_images(kind: str) -> None:
    """Gaussian images have the moments of normalised data, uniform ones are pixels; samples show them."""
    method = make(kind=kind)
    images = method.synthesize(500, torch.Generator().manual_seed(0))
    assert torch.equal(images, method.synthesize(500, torch.Generator().manual_seed(0)))
    if kind == "gaussian":
        assert abs(float(images.mean())) < 0.03 and abs(float(images.std()) - 1) < 0.03
    else:
        pixels = images * 0.37 + 0.3
        assert -1e-6 < float(pixels.min()) < 0.01 and 0.99 < float(pixels.max()) < 1 + 1e-6
    (sample,) = of(Samples, events(method, 1))
    assert sample.images.shape == (16, 8, 8, 1) and sample.images.std() > 50
    assert sample.columns["clean"].all() and (sample.columns["loss"] >= 0).all() and sample.mixture is None


def test_the_state_survives_a_round_trip() -> None:
    straight, first, second = make(), make(), make()
    events(straight, 6), events(first, 4)
    second.load_state_dict(first.state_dict())
    events(second, 6)
    assert same(weights(straight.student), weights(second.student))
