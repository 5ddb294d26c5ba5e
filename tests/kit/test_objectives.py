"""What a student matches of its teacher: every pair of networks works or is refused, every term reaches the student."""

from __future__ import annotations

import copy
from functools import cache
from itertools import product
from typing import get_args

import pytest
import torch
import torch.nn.functional as F
from _pytest.mark import ParameterSet
from stepping import own_generator  # noqa: F401 - in every test here
from torch import Tensor, nn

from dfkd_core.errors import RequestError
from dfkd_core.images import ImageSpec
from dfkd_core.kit.contract import Problem
from dfkd_core.kit.layer_objectives import CrossLayer, OneForAll
from dfkd_core.kit.objective import Objective
from dfkd_core.kit.objectives import ObjectiveName, build_objective
from dfkd_core.kit.shared_classifier import SharedClassifier
from dfkd_core.kit.terms import gradient_norms
from dfkd_core.losses import generator as losses
from dfkd_core.losses import student as student_losses
from dfkd_core.networks.classifiers import CLASSIFIERS, Classifier, Features, build_classifier, freeze, students

NAMES = get_args(ObjectiveName)
SHARING = ("classifier-sharing", "simkd")
B = 8
IMAGE = ImageSpec(1, 8, (0.3,), (0.37,), tuple("0123456789"))
WIDE = ImageSpec(3, 32, (0.5,) * 3, (0.25,) * 3, tuple("0123456789"))
KINDS = ("lenet5", "resnet8", "resnet20")  # the others are longer, wider, or have other layers between the same maps


@cache
def fresh(name: str, image: ImageSpec) -> Classifier:
    torch.manual_seed(len(name))
    return build_classifier(name, image)


def problem_of(teacher: str = "resnet20", student: str = "resnet8", image: ImageSpec = IMAGE) -> Problem:
    networks = freeze(copy.deepcopy(fresh(teacher, image))), copy.deepcopy(fresh(student, image))
    return Problem(*networks, image, torch.device("cpu"))


def batch(image: ImageSpec = IMAGE) -> Tensor:
    return torch.randn(B, image.channels, image.size, image.size)


def applied(objective: Objective, problem: Problem, images: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    with torch.no_grad():
        seen = problem.teacher.features(images)
    return objective(images, seen)


def stages(objective: Objective) -> list[nn.Parameter]:
    """What of the student every objective trains."""
    network = objective.student.network if isinstance(objective.student, SharedClassifier) else objective.student
    assert isinstance(network, Classifier)
    return list(network.stages.parameters())


# --- networks that fit, and networks that do not ---


def works(name: str, problem: Problem) -> None:
    objective = build_objective(name, problem, B).train()
    terms, logits = applied(objective, problem, batch(problem.image))
    torch.stack(list(terms.values())).sum().backward()
    assert logits.shape == (B, 10) and not logits.isnan().any()
    assert not problem.teacher.training and all(one.grad is None for one in problem.teacher.parameters())
    for key, parameter in objective.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, key
    assert all(one.grad is not None and one.grad.isfinite().all() for one in stages(objective))
    one = objective.student.eval()(batch(problem.image)[:1])
    assert one.shape == (1, 10) and one.isfinite().all()


def pairs() -> list[ParameterSet]:
    """Those that suit digits, which take minutes together; in every suite those of every kind, and one that ends in
    one pixel."""
    usual = {*product(KINDS, KINDS), ("resnet18", "lenet5-half-bn")}
    found = product(students(8), students(8))
    return [pytest.param(*pair, marks=[] if pair in usual else [pytest.mark.slow]) for pair in found]


@pytest.mark.parametrize(("teacher", "student"), pairs())
def test_every_pair_works_or_is_refused_in_a_sentence(teacher: str, student: str) -> None:
    """ResNet-18 and -34 bring digits down to one pixel; CAT-KD refuses that, and every LeNet."""
    for name in NAMES:
        problem = problem_of(teacher, student)
        if name == "cat-kd" and any(one.startswith(("lenet", "resnet18", "resnet34")) for one in (teacher, student)):
            with pytest.raises(RequestError, match=r"^objective = 'cat-kd': needs .+ the (student|teacher) .+\.$"):
                build_objective(name, problem, B)
        else:
            works(name, problem)


@pytest.mark.parametrize(
    ("teacher", "student"), [("resnet34", "resnet18"), ("resnet20", "lenet5"), ("lenet5", "resnet8")]
)
def test_colour_images_of_32_pixels(teacher: str, student: str) -> None:
    for name in ("cat-kd",) if teacher == "resnet34" else [name for name in NAMES if name != "cat-kd"]:
        works(name, problem_of(teacher, student, WIDE))


INSIDE = ("classifier-sharing", "semckd", "cat-kd", "ofa-kd", "rkd")
OTHERS = [name for name in CLASSIFIERS if name not in students(8)]
SLOW = ("resnet44", "resnet56", "resnet50", "resnet101", "resnet152", "resnet116", "resnet110x2")
SLOW += ("vgg13-bn", "vgg16-bn", "vgg19-bn", "mobilenetv2", "resnet32x4", "resnet110", "wrn-40-2")
SLOW += ("shufflenetv1", "shufflenetv2")
"""As deep or as wide as others are not, but built as one that is tried in every suite."""
WIDE_ONES, OF_WIDE_ONES = ("mobilenetv2-half", "vgg11-bn"), ("classifier-sharing", "cat-kd")
"""Each a second an objective: two are tried in every suite."""


def inside() -> list[ParameterSet]:
    """Networks and objectives that look into them."""
    late = [*product(SLOW, INSIDE), *product(WIDE_ONES, set(INSIDE) - set(OF_WIDE_ONES))]
    return [pytest.param(*one, marks=[pytest.mark.slow] * (one in late)) for one in product(OTHERS, INSIDE)]


@pytest.mark.parametrize(("name", "objective"), inside())
def test_networks_for_larger_images_work_as_teacher_and_as_student(name: str, objective: str) -> None:
    """With HiDFD's classifier sharing and those of its rivals that look into a network; of their maps CAT-KD needs two
    pixels a side."""
    small = ImageSpec(1, 16, (0.3,), (0.37,), tuple("0123456789"))
    for teacher, student in ((name, "resnet8"), ("resnet8", name)):
        works(objective, problem_of(teacher, student, small))


def test_what_cat_kd_refuses() -> None:
    with pytest.raises(RequestError, match="average their last feature maps, as ResNets do; the student does not"):
        build_objective("cat-kd", problem_of("resnet20", "lenet5"), B)
    with pytest.raises(RequestError, match="of 2 pixels a side or more; the teacher has 1"):
        build_objective("cat-kd", problem_of("resnet18", "resnet8"), B)


def test_an_unknown_objective() -> None:
    with pytest.raises(RequestError, match="objective = 'hints': should be one of classifier-sharing, simkd, kd"):
        build_objective("hints", problem_of(), B)


# --- who learns ---


@pytest.mark.parametrize("name", NAMES)
def test_every_term_pulls_at_the_student(name: str) -> None:
    """Each by itself, and none so weakly that it would not matter beside the others."""
    problem = problem_of()
    objective = build_objective(name, problem, B).train()
    terms, _ = applied(objective, problem, batch())
    norms = gradient_norms(terms, stages(objective))
    assert min(norms.values()) > 1e-3 * sum(norms.values()) > 0


@pytest.mark.parametrize("name", NAMES)
def test_an_update_leaves_the_teacher_as_it_was_and_moves_everything_else(name: str) -> None:
    problem = problem_of()
    before = copy.deepcopy(problem.teacher.state_dict())
    objective = build_objective(name, problem, B).train()
    trained = [one for one in objective.parameters() if one.requires_grad]
    start = [one.detach().clone() for one in trained]
    optimizer = torch.optim.SGD(trained, 0.05)
    for _ in range(2):  # behind a ReLU that lets nothing through there is no gradient
        terms, _ = applied(objective, problem, batch())
        optimizer.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        optimizer.step()
    assert not any(torch.equal(one, other) for one, other in zip(trained, start, strict=True))
    assert not problem.teacher.training
    assert all(torch.equal(tensor, before[key]) for key, tensor in problem.teacher.state_dict().items())


@pytest.mark.parametrize("name", NAMES)
def test_an_objective_holds_no_teacher(name: str) -> None:
    """``train()`` must not reach it, and no checkpoint needs to keep it; sharing copies the classifier alone."""
    problem = problem_of()
    objective = build_objective(name, problem, B)
    assert problem.student.training and not problem.teacher.training  # looking at shapes changed no mode
    assert not set(objective.modules()) & set(problem.teacher.modules())
    of_teacher = {id(one) for one in problem.teacher.state_dict(keep_vars=True).values()}
    assert not of_teacher & {id(one) for one in objective.state_dict(keep_vars=True).values()}
    stored = {key for key in objective.state_dict() if "classifier" in key}
    assert stored == ({"student.classifier.head.weight", "student.classifier.head.bias"} if name in SHARING else set())
    shapes = {tuple(one.shape) for key, one in objective.state_dict().items() if not key.startswith("student.")}
    assert name in ("semckd", "ofa-kd") or not shapes


@pytest.mark.parametrize("name", NAMES)
def test_the_student_comes_closer(name: str) -> None:
    problem = problem_of()
    images = batch()
    objective = build_objective(name, problem, B).train()
    optimizer = torch.optim.SGD([one for one in objective.parameters() if one.requires_grad], 0.01, 0.9)
    totals = []
    for _ in range(12):
        terms, _ = applied(objective, problem, images)
        total = torch.stack(list(terms.values())).sum()
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(total.item())
    assert sum(totals[-3:]) < 0.98 * sum(totals[:3])  # what NKD takes away stands on an entropy that stays


@pytest.mark.parametrize("name", NAMES)
def test_a_restored_objective_goes_on_the_same(name: str) -> None:
    problem, images = problem_of(), batch()
    objective = build_objective(name, problem, B).train()
    applied(objective, problem, images)  # moves the running statistics
    torch.manual_seed(7)
    other = build_objective(name, problem_of(), B).train()
    other.load_state_dict(objective.state_dict())
    (ours, _), (theirs, _) = (applied(one, problem, images) for one in (objective, other))
    assert all(torch.equal(ours[term], theirs[term]) for term in ours)


# --- weights, and what is trained beside the student ---


def published(name: str, ours: Features, theirs: Features) -> dict[str, Tensor]:
    """Each term with the weight of its paper, from the pure functions."""
    labels = theirs.logits.argmax(dim=1)
    logits, pooled = (ours.logits, theirs.logits), (ours.pooled, theirs.pooled)
    hard = F.cross_entropy(ours.logits, labels)
    soft = losses.kl_discrepancy(*logits, temperature=4.0)
    terms = {
        "kd": {"cross_entropy": 0.1 * hard, "kl": 0.9 * soft},
        "dkd": {
            "cross_entropy": hard,
            "target_class": student_losses.target_class_divergence(*logits, labels, 4.0),
            "other_classes": 8 * student_losses.non_target_divergence(*logits, labels, 4.0),
        },
        "nkd": {
            "cross_entropy": hard,
            "target_class": student_losses.soft_target(*logits, labels),
            "other_classes": 3.5 * student_losses.normalised_non_target(*logits, labels, 3.0),
        },
        "rkd": {
            "cross_entropy": hard,
            "pair_distances": 25 * student_losses.relational_distance(*pooled),
            "angles": 50 * student_losses.relational_angle(*pooled),
        },
        "cc": {
            "cross_entropy": 0.1 * hard,
            "kl": 0.9 * soft,
            "correlation": 100 * student_losses.correlation_congruence(*pooled),
        },
    }
    return terms[name]


@pytest.mark.parametrize("name", ["kd", "dkd", "nkd", "rkd", "cc"])
def test_published_weights(name: str) -> None:
    problem, images = problem_of(), batch()
    objective = build_objective(name, problem, B).eval()
    terms, _ = applied(objective, problem, images)
    expected = published(name, problem.student.features(images), problem.teacher.features(images))
    assert {key: pytest.approx(term.item(), rel=1e-5) for key, term in expected.items()} == {
        key: term.item() for key, term in terms.items()
    }


def test_class_activation_maps_average_to_the_logits() -> None:
    """With a student that is the teacher the term is zero; the maps' means and the bias are the logits."""
    problem = problem_of("resnet8", "resnet8")
    objective = build_objective("cat-kd", problem, B).eval()
    terms, _ = applied(objective, problem, batch())
    assert terms["class_attention"].item() == pytest.approx(0, abs=1e-9)
    with torch.no_grad():
        problem.student.head.weight.neg_()  # every map points the other way: squared difference 4, over 4 pixels
    terms, _ = applied(objective, problem, batch())
    assert terms["class_attention"].item() == pytest.approx(50.0, rel=1e-4)


def test_classifier_sharing_measures_a_distance_and_simkd_its_square() -> None:
    problem, images = problem_of(), batch()
    sharing = build_objective("classifier-sharing", problem, B).eval()
    assert isinstance(sharing.student, SharedClassifier)
    (align, logits), theirs = applied(sharing, problem, images), problem.teacher.features(images)
    difference = sharing.student.project_map(images) - theirs.maps["stage3"]
    assert align["align"].item() == pytest.approx(difference.flatten(1).norm(dim=1).mean().item(), rel=1e-5)
    simkd = build_objective("simkd", problem, B)
    simkd.load_state_dict(sharing.state_dict())
    terms, _ = applied(simkd.eval(), problem, images)
    assert terms["align"].item() == pytest.approx(difference.square().mean().item(), rel=1e-5)
    assert torch.equal(logits, sharing.student(images))
    assert torch.allclose(sharing.student.classify(theirs.maps["stage3"]), theirs.logits, atol=1e-5)


@pytest.mark.parametrize(
    ("teacher", "student", "layers"), [("resnet20", "lenet5", (3, 3)), ("lenet5", "resnet8", (3, 3))]
)
def test_every_sample_attends_to_every_layer(teacher: str, student: str, layers: tuple[int, int]) -> None:
    problem, images = problem_of(teacher, student), batch()
    objective = build_objective("semckd", problem, B)
    assert isinstance(objective, CrossLayer)
    maps = [
        [one for name, one in network.features(images).maps.items() if name != "stem"]
        for network in (problem.student, problem.teacher)
    ]
    attention = objective.attention(*maps)
    assert attention.shape == (B, *layers)
    assert torch.allclose(attention.sum(dim=2), torch.ones(B, layers[0])) and (attention > 0).all()
    assert not torch.allclose(attention[0], attention[1], atol=1e-4)


def test_ofa_kd_leaves_at_every_stage() -> None:
    problem, images = problem_of("resnet20", "resnet8"), batch()
    objective = build_objective("ofa-kd", problem, B).train()
    assert isinstance(objective, OneForAll) and len(objective.exits) == 3
    terms, _ = applied(objective, problem, images)
    theirs = problem.teacher(images)
    maps = list(problem.student.features(images).maps.values())[1:]
    answers = [leave(one) for leave, one in zip(objective.exits, maps, strict=True)]
    assert all(answer.shape == (B, 10) for answer in answers)
    each = [student_losses.enhanced_target(answer, theirs, theirs.argmax(dim=1), 1.5) for answer in answers]
    assert terms["early_exits"].item() == pytest.approx(sum(one.item() for one in each), rel=1e-4)
