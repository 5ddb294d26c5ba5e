"""DFND: which images it keeps, its noise adaptation against the formula, and a run that resumes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from stepping import (
    collecting_problem,
    digits,
    events,
    of,
    overhear,
    own_generator,  # noqa: F401 - in every test here
    same,
    values,
    weights,
)
from torch import Tensor, nn

from dfkd_core.errors import RequestError
from dfkd_core.events import Phases
from dfkd_core.losses import student as losses
from dfkd_core.methods.dfnd import DFND, DFNDConfig, NoiseAdaptation
from dfkd_core.networks.classifiers import Features
from dfkd_core.selection.mixture import judge

SMALL = {"distill_steps": 6, "updates": 2, "batch_size": 16}


def make(collected: Tensor | None = None, **changes: Any) -> DFND:
    return DFND(collecting_problem(collected), DFNDConfig.build("demo", {**SMALL, **changes}))


# --- the choice ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("share", "count"), [(0.3, 18), (1.0, 60), (0.001, 1)])
def test_the_images_of_lowest_loss_are_kept(share: float, count: int) -> None:
    noise = torch.randint(0, 256, (30, 1, 8, 8), dtype=torch.uint8)
    images = torch.cat([digits(30), noise])
    method = make(images, kept_share=share)
    with torch.no_grad():
        loss = judge(method.teacher(method.image.normalise(images.float() / 255)))
    kept = {image.numpy().tobytes() for image in method.images}
    lowest = {images[index].numpy().tobytes() for index in loss.argsort()[:count]}
    assert len(method.images) == count and kept == lowest


def test_only_kept_images_are_learned_from() -> None:
    method = make(kept_share=0.25, augmentation="none", batch_size=64)
    learned_from: list[Tensor] = []
    learn = method.stage.objective.forward

    def spy(images: Tensor, seen: Features) -> tuple[dict[str, Tensor], Tensor]:
        learned_from.append(images)
        return learn(images, seen)

    method.stage.objective.forward = spy  # type: ignore[method-assign]
    events(method, 2)
    kept = method.image.normalise(method.images.float() / 255)
    where = [(image == kept).flatten(1).all(dim=1) for image in torch.cat(learned_from)]
    assert len(where) == 256 and torch.stack(where).sum(dim=1).tolist() == [1] * 256
    assert torch.stack(where).any(dim=0).all(), "all five of them"


# --- the noise adaptation --------------------------------------------------------------------------------------


def test_the_noise_matrix_is_row_stochastic_around_a_fixed_diagonal() -> None:
    adaptation = NoiseAdaptation(4, 0.9)
    assert torch.allclose(adaptation().exp(), torch.full((4, 4), 0.1 / 3) + (0.9 - 0.1 / 3) * torch.eye(4))
    nn.init.normal_(adaptation.scores)
    matrix = adaptation().exp()
    assert torch.allclose(matrix.sum(dim=1), torch.ones(4)) and torch.allclose(matrix.diag(), torch.full((4,), 0.9))


def test_its_scores_are_those_of_the_other_classes_in_their_order() -> None:
    adaptation = NoiseAdaptation(3, 0.7)
    with torch.no_grad():
        adaptation.scores.copy_(torch.tensor([[5.0, 0.0], [0.0, 5.0], [0.0, 5.0]]))
    assert adaptation().masked_fill(torch.eye(3, dtype=torch.bool), -9).argmax(dim=1).tolist() == [1, 2, 1]


def test_the_noisy_label_loss_is_finite_where_the_student_is_surely_wrong() -> None:
    logits = torch.tensor([[400.0, -400.0]], requires_grad=True)
    loss = losses.noisy_label_loss(logits, NoiseAdaptation(2, 0.99)(), torch.tensor([1]))
    loss.backward()
    assert loss.item() == pytest.approx(4.605, abs=1e-3) and logits.grad is not None and logits.grad.isfinite().all()


def test_without_noise_it_is_the_cross_entropy_with_the_labels() -> None:
    logits, labels = torch.randn(5, 3), torch.tensor([0, 2, 1, 1, 0])
    exact = torch.nn.functional.cross_entropy(logits, labels)
    loss = losses.noisy_label_loss(logits, NoiseAdaptation(3, 1 - 1e-6)(), labels)
    assert loss.item() == pytest.approx(exact.item(), rel=1e-4)


def test_the_adaptation_learns_which_class_is_taken_for_which() -> None:
    """A student sure of class 0 where the label is 2: row 0 moves its mass to column 2."""
    adaptation = NoiseAdaptation(3, 0.9)
    optimizer = torch.optim.Adam(adaptation.parameters(), 0.1)
    for _ in range(50):
        optimizer.zero_grad()
        losses.noisy_label_loss(200 * torch.eye(3)[[0] * 4], adaptation(), torch.tensor([2] * 4)).backward()
        optimizer.step()
    matrix = adaptation().exp()
    assert matrix[0, 2] > 0.095 and matrix[0, 1] < 0.005 and matrix[1, 2].item() == pytest.approx(0.05)


# --- what learns -----------------------------------------------------------------------------------------------


def test_every_term_reaches_the_student_and_the_labels_loss_reaches_the_matrix() -> None:
    method = make()
    images = method.image.normalise(digits(16).float() / 255)
    with torch.no_grad():
        seen = method.teacher.features(images)
    terms, logits = method.stage.objective(images, seen)
    assert set(terms) == {"kl", "noisy_labels"}
    p, q = (torch.softmax(each.double() / 4, dim=1) for each in (seen.logits, logits))
    assert terms["kl"].item() == pytest.approx((16 * (p * (p.log() - q.log())).sum(dim=1).mean()).item(), rel=1e-3)
    norms = {}
    for name, term in terms.items():
        gradients = torch.autograd.grad(term, list(method.student.parameters()), retain_graph=True)
        norms[name] = torch.cat([gradient.flatten() for gradient in gradients]).norm().item()
    assert min(norms.values()) > 0.005 * sum(norms.values()), norms
    torch.stack(list(terms.values())).sum().backward()
    assert method.stage.objective.noise.scores.grad.norm() > 0
    assert all(parameter.grad is None for parameter in method.teacher.parameters())


def test_the_matrix_has_an_optimizer_of_its_own_and_the_student_the_other() -> None:
    method = make(noise_lr=0.01)
    matrix = method.stage.objective.noise
    before, scores = weights(method.student), matrix.scores.clone()
    in_sgd = [id(parameter) for group in method.stage.optimizer.param_groups for parameter in group["params"]]
    assert id(matrix.scores) not in in_sgd and len(in_sgd) == len(list(method.student.parameters()))
    events(method, 1)
    moved = (matrix.scores - scores).abs().max().item()
    assert 0.01 < moved < 0.0201, "two updates of Adam"
    assert not same(before, weights(method.student))


def test_a_weight_of_zero_leaves_plain_distillation() -> None:
    method = make(noise_weight=0.0)
    scores = method.stage.objective.noise.scores.clone()
    assert not any("noisy_labels" in metrics for metrics in values(events(method, 2)))
    assert torch.equal(scores, method.stage.objective.noise.scores)


def test_live_knobs_take_effect() -> None:
    method = make()
    events(method, 1)
    method.reconfigure(method.config.change({"noise_weight": 0.0, "noise_lr": 0.5, "student_lr": 0.3}))
    (metrics,) = values(events(method, 2))
    assert "noisy_labels" not in metrics and metrics["learning_rate"] > 0.2
    assert method.noise_optimizer.param_groups[0]["lr"] == 0.5


def test_the_teacher_stays_as_it_is() -> None:
    method = make()
    before = weights(method.teacher)
    events(method, method.total_steps)
    assert same(before, weights(method.teacher)) and not method.teacher.training


def test_every_query_is_counted() -> None:
    problem = collecting_problem()
    heard = overhear(problem.teacher)
    method = DFND(problem, DFNDConfig.build("demo", SMALL))
    last = values(events(method, 3))[-1]
    assert last["queries"] == sum(len(images) for images, _ in heard) == 20 + 3 * 2 * 16


def test_slow_motion_shows_kept_and_rejected_images_with_their_loss() -> None:
    method = make(digits(20), kept_share=0.5)
    method.slow = True
    (shown,) = of(Phases, events(method, 1))
    first = shown.phases[0]
    assert [phase.name for phase in shown.phases] == list(DFND.phases)
    clean, loss = first.arrays["clean"], first.arrays["loss"]
    assert len(first.images) == 12 and clean[:12].tolist() == [True] * 6 + [False] * 6
    assert loss[clean].max() <= loss[~clean].min() and len(loss) == 20 and first.values["kept"] == 0.5


def test_synthesize_chooses_among_the_kept_images() -> None:
    method = make(kept_share=0.5)
    images = [method.synthesize(25, torch.Generator().manual_seed(3)) for _ in range(2)]
    assert torch.equal(*images) and images[0].shape == (25, 1, 8, 8)
    kept = method.image.normalise(method.images.float() / 255)
    assert all((image == kept).flatten(1).all(dim=1).any() for image in images[0])


@pytest.mark.parametrize(
    ("knob", "value"), [("kept_share", 0.0), ("assumed_accuracy", 1.0), ("temperature", 0.0), ("noise_lr", 2.0)]
)
def test_knobs_out_of_bounds_are_refused(knob: str, value: float) -> None:
    with pytest.raises(RequestError, match=knob):
        DFNDConfig.build("", {knob: value})
