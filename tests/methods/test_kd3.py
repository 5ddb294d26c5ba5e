"""KD3: its selection, weights, mixing and contrast against their formulas, what each trains, and a run that resumes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import execute, new_run, rows
from PIL import Image
from stepping import (
    assert_resumes,
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
from torch import Tensor

from dfkd_core.events import ClassShares, Phases
from dfkd_core.kit.terms import gradient_norms
from dfkd_core.methods.kd3 import KD3, KD3Config, teacher_share
from dfkd_core.networks.classifiers import Features, students
from dfkd_core.store import RunFolder

SMALL = {"distill_steps": 6, "updates": 2, "batch_size": 16, "selections": 3}


def mixed_pool() -> Tensor:
    """Digits that the teacher is sure of, and others under noise."""
    noise = torch.randint(0, 256, (30, 1, 8, 8), generator=torch.Generator().manual_seed(0))
    return torch.cat([digits(30), ((digits(60)[30:] + 2 * noise) / 3).to(torch.uint8)])


def make(collected: Tensor | None = None, student: str = "lenet5-bn", **changes: Any) -> KD3:
    return KD3(collecting_problem(collected, student=student), KD3Config.build("demo", {**SMALL, **changes}))


# --- dynamic selection -----------------------------------------------------------------------------------------


def test_the_teachers_share_falls_and_then_the_student_chooses_alone() -> None:
    """The released schedule: 1 − exp(−5((e + 1)/160 − 1)²) for e < 120 of 240 epochs, then 0."""
    for epoch in (0, 1, 60, 118):
        released = 1 - math.exp(-5 * ((epoch + 1) / 160 - 1) ** 2)
        assert teacher_share((epoch + 1) / 240) == pytest.approx(released)
    shares = [teacher_share(progress / 100) for progress in range(101)]
    assert shares == sorted(shares, reverse=True) and shares[0] > 0.99 and shares[50:] == [0.0] * 51


def test_an_image_is_kept_where_its_confidence_exceeds_the_threshold_of_its_class() -> None:
    method = make(mixed_pool())
    method.student.eval()
    with torch.no_grad():
        images = method.image.normalise(mixed_pool().float() / 255)
        joint = 0.7 * method.teacher(images) + 0.3 * method.student(images)
    method.student.train()
    method.select(0.7)
    assert torch.allclose(method.joint, joint, atol=1e-4), "judged in eval mode"
    confidence, labels = joint.softmax(dim=1).max(dim=1)
    counts = [labels.tolist().count(label) for label in range(10)]
    expected = []
    for sure, label in zip(confidence.tolist(), labels.tolist(), strict=True):
        share = counts[label] / max(counts)
        expected.append(sure > 0.95 * share / (2 - share))
    assert method.kept.tolist() == expected and 0 < sum(expected) < 60


def test_the_student_has_a_say() -> None:
    method = make(mixed_pool())
    method.select(1.0)
    teachers = method.kept.clone()
    assert torch.allclose(method.joint, method.teacher_logits)
    method.select(0.0)
    assert not torch.equal(teachers, method.kept)
    assert torch.equal(method.joint.argmax(dim=1), method.student(method.image.normalise(mixed_pool() / 255)).argmax(1))


def test_all_are_kept_where_none_is_sure() -> None:
    method = make()
    for parameter in method.student.classifier.head.parameters():
        parameter.data.zero_()  # every class alike
    method.select(0.0)
    assert method.kept.all()


@pytest.mark.parametrize(
    ("selections", "steps"), [(1, [1]), (3, [1, 3, 5]), (4, [1, 3, 4, 6]), (6, [1, 2, 3, 4, 5, 6]), (99, range(1, 7))]
)
def test_the_selections_are_spread_evenly_over_the_run(selections: int, steps: list[int]) -> None:
    method = make(selections=selections)
    found = of(ClassShares, events(method, 6))
    assert [event.step for event in found] == list(steps)
    assert all(sum(event.shares["kept"]) == pytest.approx(1) for event in found)


def test_only_kept_images_are_learned_from() -> None:
    method = make(mixed_pool(), augmentation="none", batch_size=64, selections=1)
    learned_from: list[Tensor] = []
    forward = method.stage.objective.forward

    def spy(images: Tensor, seen: Features) -> tuple[dict[str, Tensor], Tensor]:
        learned_from.append(images)
        return forward(images, seen)

    method.stage.objective.forward = spy  # type: ignore[method-assign]
    (metrics,) = values(events(method, 1))
    images = method.image.normalise(mixed_pool()[method.kept].float() / 255)
    where = torch.stack([(image == images).flatten(1).all(dim=1) for image in torch.cat(learned_from)])
    assert 0 < method.kept.sum() < 60 and where.any(dim=1).all()
    assert metrics["kept"] == pytest.approx(method.kept.float().mean().item())


# --- what learns -----------------------------------------------------------------------------------------------


def seen_by(method: KD3, count: int = 16) -> tuple[Tensor, Features]:
    images = method.image.normalise(digits(count).float() / 255)
    with torch.no_grad():
        return images, method.teacher.features(images)


def test_both_terms_reach_the_students_features_and_none_the_teacher() -> None:
    method = make(contrast_weight=0.1)
    objective = method.stage.objective
    terms, _ = objective(*seen_by(method))
    found = gradient_norms(terms, list(objective.student.network.stages.parameters()))
    assert list(found) == ["align", "contrast"] and min(found.values()) > 0.005 * sum(found.values()), found
    torch.stack(list(terms.values())).sum().backward()
    for part in (objective.student.network.stages, objective.student.project, objective.embed):
        assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in part.parameters())
    for frozen in (method.teacher, objective.student.classifier):
        assert all(parameter.grad is None for parameter in frozen.parameters())


def test_alignment_is_the_mean_squared_error_weighted_by_the_distance_of_the_logits() -> None:
    method = make()
    images, seen = seen_by(method)
    method.stage.objective.eval()
    terms, logits = method.stage.objective(images, seen)
    projected = method.student.project_map(images)
    target = torch.nn.functional.adaptive_avg_pool2d(list(seen.maps.values())[-1], projected.shape[-1])
    by_hand = 0.0
    for index in range(16):
        weight = torch.sigmoid((logits[index] - seen.logits[index]).norm())
        by_hand += (weight * (projected[index] - target[index]).square().mean() / 16).item()
    assert terms["align"].item() == pytest.approx(by_hand, rel=1e-4)
    assert torch.allclose(logits, method.student(images), atol=1e-5)


def test_the_classifier_is_the_teachers_and_stays_so() -> None:
    method = make()
    teacher, student = weights(method.teacher), weights(method.stage.objective.student.network.stages)
    events(method, method.total_steps)
    assert same(teacher, weights(method.teacher)) and not method.teacher.training
    assert same(weights(method.student.classifier.head), weights(method.teacher.head))
    assert not same(student, weights(method.stage.objective.student.network.stages))


def test_a_classifier_with_dropout_judges_as_the_teachers() -> None:
    method = make()
    classifier = method.student.classifier
    classifier.head = torch.nn.Sequential(torch.nn.Dropout(0.5), classifier.head)
    method.stage.objective.train()
    projected = method.student.project_map(seen_by(method)[0])
    assert torch.equal(method.student.classify(projected), method.student.classify(projected))


def test_without_contrast_nothing_is_mixed() -> None:
    method = make(contrast_weight=0.0)
    terms, _ = method.stage.objective(*seen_by(method))
    assert set(terms) == {"align"}


def test_live_knobs_take_effect() -> None:
    method = make(mixed_pool(), selections=6)
    events(method, 1)
    method.reconfigure(method.config.change({"confidence_cut": 0.0, "contrast_weight": 0.0}))
    (metrics,) = values(events(method, 2))
    assert metrics["kept"] == 1.0 and "contrast" not in metrics


@pytest.mark.parametrize("student", list(students(8)))
def test_every_student_fits_under_the_teachers_classifier(student: str) -> None:
    method = make(student=student, batch_size=4, updates=1, distill_steps=1)
    (metrics,) = values(events(method, 1))
    assert math.isfinite(metrics["align"]) and math.isfinite(metrics["contrast"])


def test_every_query_is_counted() -> None:
    problem = collecting_problem()
    heard = overhear(problem.teacher)
    method = KD3(problem, KD3Config.build("demo", SMALL))
    last = values(events(method, 3))[-1]
    asked = sum(len(images) for images, _ in heard)
    assert last["queries"] == 20 + 3 * 2 * 16
    assert asked == last["queries"] + 1, "and one blank image, to see the size of its maps"


def test_slow_motion_shows_kept_and_rejected_images() -> None:
    method = make(mixed_pool())
    method.slow = True
    (shown,) = of(Phases, events(method, 1))
    first = shown.phases[0]
    assert [phase.name for phase in shown.phases] == list(KD3.phases)
    assert first.arrays["clean"][:6].all() and not first.arrays["clean"][6:12].any()
    confidence = method.joint.softmax(dim=1).amax(dim=1)
    assert sorted(first.arrays["loss"]) == pytest.approx(sorted((-confidence.log()).tolist()), abs=1e-5)


def test_synthesize_chooses_among_the_collected_images() -> None:
    method = make()
    images = [method.synthesize(25, torch.Generator().manual_seed(3)) for _ in range(2)]
    assert torch.equal(*images) and images[0].shape == (25, 1, 8, 8)
    known = method.image.normalise(digits(20).float() / 255)
    assert all((image == known).flatten(1).all(dim=1).any() for image in images[0])


# --- the run ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pool")
    for index, image in enumerate(mixed_pool()):
        Image.fromarray(image[0].numpy()).save(folder / f"{index}.png")
    return folder


def small_run(runs: Path, pool: Path) -> RunFolder:
    return new_run(runs, SMALL, method="kd3", collected=f"folder:{pool}", ratio=0.04)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, pool: Path) -> RunFolder:
    folder = small_run(tmp_path_factory.mktemp("whole"), pool)
    assert execute(folder).state == "done"
    return folder


def test_a_run_stopped_between_two_selections_resumes_bit_identically(runs: Path, pool: Path, whole: RunFolder) -> None:
    """What was kept must not be chosen again with a later student."""
    assert_resumes(lambda: small_run(runs, pool), (2,), whole)


def test_the_log_holds_every_selection(whole: RunFolder) -> None:
    assert [row["step"] for row in rows(whole, "classshares")] == [1, 3, 5]
    kept = [row["values"]["kept"] for row in rows(whole, "step")]
    assert 0 < min(kept) < 1 and kept[0::2] == kept[1::2]
