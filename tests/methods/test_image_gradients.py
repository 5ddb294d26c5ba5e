"""What moves the images of methods that fill a pool: the gradient at the images, against one by other code."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from stepping import (
    events,
    maker,
    own_generator,  # noqa: F401 - in every test here
    weights,
)
from torch import Tensor, nn

from dfkd_core import methods
from dfkd_core.methods import deepinversion

B = 20
TINY = {"synthesis_steps": 1, "synthesis_size": B, "distill_steps": 4, "updates": 1, "batch_size": 16, "pool_size": 40}
OF_GENERATOR = {"latent": 8, "width": 4}
WEIGHTS = {"bn_weight": 0.5, "class_prior_weight": 2.0}
KNOBS: dict[str, dict[str, Any]] = {
    "cmi": {"adversarial_weight": 3.0, "contrast_weight": 0.0, "bank_size": 30, "head_width": 5, "negatives": 10},
    "fast": {"adversarial_weight": 3.0, "warm_steps": 0},
    "nayer": {"adversarial_weight": 3.0, "warm_steps": 0, "embedding_length": 6},
    "spaceshipnet": {"warm_steps": 0},
}


def statistics_apart(teacher: Any, images: Tensor) -> tuple[Tensor, Tensor]:
    """The teacher's logits, and Σ_l ‖μ_l(x̂) − μ̂_l‖ + ‖σ²_l(x̂) − σ̂²_l‖."""
    found: list[Tensor] = []

    def hear(layer: Any, given: tuple[Tensor, ...]) -> None:
        values = given[0].transpose(0, 1).flatten(1)
        mean = values.mean(dim=1)
        variance = (values - mean[:, None]).pow(2).mean(dim=1)
        for own, kept in ((mean, layer.running_mean), (variance, layer.running_var)):
            found.append((own - kept).pow(2).sum().sqrt())

    hooks = [one.register_forward_pre_hook(hear) for one in teacher.modules() if isinstance(one, nn.BatchNorm2d)]
    logits = type(teacher).features.__wrapped__(teacher, images).logits
    for hook in hooks:
        hook.remove()
    return logits, torch.stack(found).sum()


def log_p(logits: Tensor) -> Tensor:
    return logits - logits.exp().sum(dim=1, keepdim=True).log()


def prior_and_statistics(teacher: Any, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The teacher's logits, and 0.5 of the distance of statistics with twice the cross-entropy."""
    logits, apart = statistics_apart(teacher, images)
    return logits, 0.5 * apart - 2 * log_p(logits)[torch.arange(B), labels].mean()


@pytest.mark.parametrize("name", KNOBS)
def test_images_descend_the_terms_of_the_equations(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    method = maker(methods.find(name), TINY | OF_GENERATOR | WEIGHTS | KNOBS[name], taught=True)()
    student, view = weights(method.student), method.view
    seen: list[Tensor] = []
    gradients: list[Tensor] = []
    labels: list[Tensor] = []

    def told(pixels: Tensor) -> Tensor:
        images = view(pixels)
        if images.requires_grad:
            images.register_hook(gradients.append)
            seen.append(images.detach().clone())
        return images

    def answered(logits: Tensor, wanted: Tensor, **more: Any) -> Tensor:
        labels.append(wanted)
        return cross_entropy(logits, wanted, **more)

    cross_entropy = F.cross_entropy
    monkeypatch.setattr(method, "view", told)
    monkeypatch.setattr(F, "cross_entropy", answered)
    events(method, 1)

    images = seen[0].requires_grad_()
    logits, loss = prior_and_statistics(method.teacher, images, labels[0])
    if "adversarial_weight" in KNOBS[name]:
        method.student.load_state_dict(student)
        method.student.eval()
        own = method.student(images)
        agree = own.argmax(dim=1) == logits.argmax(dim=1)
        divergence = (log_p(logits).exp() * (log_p(logits) - log_p(own))).sum(dim=1)
        assert agree.any()
        loss = loss - 3 * (divergence * agree).sum() / B
    (expected,) = torch.autograd.grad(loss, [images])
    torch.testing.assert_close(gradients[-1], expected, rtol=1e-3, atol=1e-6)
    assert expected.any()


def test_pixels_descend_all_five_terms_of_deep_inversion(monkeypatch: pytest.MonkeyPatch) -> None:
    knobs = {**WEIGHTS, "tv_weight": 0.3, "l2_weight": 0.2, "adversarial_weight": 4.0, "jitter": "none"}
    method = maker(deepinversion.DeepInversion, TINY | knobs, "lenet5-bn")()
    held: list[Tensor] = []
    descend = deepinversion.descend

    def told(loss: Tensor, optimizer: torch.optim.Optimizer) -> None:
        (images,) = optimizer.param_groups[0]["params"]
        held.append(images.detach().clone())
        descend(loss, optimizer)
        held.append(images.grad.clone())

    monkeypatch.setattr(deepinversion, "descend", told)
    method.synthesise(next(method.steps()))  # in which the student stands still
    x = held[0].requires_grad_()
    method.student.eval()
    logits, loss = prior_and_statistics(method.teacher, x, torch.arange(B) % 10)
    p, q = log_p(logits).exp(), log_p(method.student(x)).exp()
    middle = (p + q) / 2
    js = (p * (p / middle).log() + q * (q / middle).log()).sum() / (2 * B)
    steps = (x[..., 1:] - x[..., :-1], x[..., 1:, :] - x[..., :-1, :], x[..., 1:, 1:] - x[..., :-1, :-1],
             x[..., 1:, :-1] - x[..., :-1, 1:])  # fmt: skip
    tv, l2, scale = sum(one.pow(2).sum().sqrt() for one in steps), x.pow(2).sum().sqrt(), math.sqrt(B / 256)
    (expected,) = torch.autograd.grad(loss + (0.3 * tv + 0.2 * l2) / scale - 4 * js, [x])
    torch.testing.assert_close(held[1], expected, rtol=1e-3, atol=1e-6)
