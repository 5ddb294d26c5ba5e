"""Driving a method without a run around it: problems on digits, events step by step, weights to compare."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import pytest
import torch
from conftest import execute, metric_rows, student_hash
from torch import Tensor, nn

from dfkd_core.data.catalogue import find_benchmark
from dfkd_core.events import Step
from dfkd_core.images import ImageSpec
from dfkd_core.kit.contract import GenerativeProblem, ImageModel, Problem
from dfkd_core.kit.method import Method
from dfkd_core.kit.recorder import Seen
from dfkd_core.kit.recording import Recording
from dfkd_core.networks.classifiers import Classifier, Features, build_classifier
from dfkd_core.networks.latent import build_latent_model
from dfkd_core.store import RunFolder
from dfkd_core.synthesis.guided import Film, Loss
from dfkd_core.teachers.load import load_latent_model, load_teacher

SMALL_TEACHER = "digits-resnet8-adam"  # as deep as the tests of methods need


@pytest.fixture(autouse=True)
def own_generator() -> Iterator[None]:
    """torch's generators are the test's own, seeded. A module that imports it has it in every test."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def digits(count: int = 20) -> Tensor:
    """The first training images, (count, 1, 8, 8) uint8."""
    return find_benchmark("digits").load(train=True).images[:count]


def collecting_problem(
    collected: Tensor | None = None,
    unseen: Tensor | None = None,
    student: str = "lenet5-bn",
    recording: Recording | None = None,
) -> Problem:
    """A student to distil on digits from a shipped teacher; recorded is nothing unless asked for."""
    teacher, card = load_teacher(SMALL_TEACHER)
    torch.manual_seed(1)
    image = card.image.spec()
    network = build_classifier(student, image)
    images = digits() if collected is None else collected
    silent = Recording(samples_every=0, phases_every=0)
    return Problem(teacher, network, image, torch.device("cpu"), images, unseen, recording=recording or silent)


def generative_problem(
    student: str = "lvae-4",
    original: Tensor | None = None,
    source: ImageModel | None = None,
    recording: Recording | None = None,
) -> GenerativeProblem:
    """A latent-variable student to distil on digits from the shipped teacher."""
    teacher, card = load_latent_model("digits-lvae-32")
    torch.manual_seed(1)
    image = card.image.spec()
    network = build_latent_model(student, image)
    silent = Recording(samples_every=0, phases_every=0)
    return GenerativeProblem(teacher, network, image, torch.device("cpu"), original, source, recording or silent)


def events(method: Method[Any, Any], until: int) -> list[Any]:
    """Events up to and including step ``until``, each step seeded as ``run`` does it."""
    found, stream = [], method.train()
    while method.step < until:
        torch.manual_seed(method.step + 1)
        for event in stream:
            found.append(event)
            if isinstance(event, Step):
                break
    return found


def of(kind: type, found: list[Any]) -> list[Any]:
    return [event for event in found if isinstance(event, kind)]


def values(found: list[Any]) -> list[dict[str, float]]:
    """The metrics of each step."""
    return [step.values for step in of(Step, found)]


def by_hand(method: Method[Any, Any], part: Callable[[Seen], Any]) -> dict[str, float]:
    """The metrics of the method's next step, of which only ``part`` is taken."""
    seen = next(method.steps())
    part(seen)
    return values(list(seen.events()))[0]


def shares(metrics: dict[str, float]) -> dict[str, float]:
    """Each term's share of the gradient, where it is measured."""
    return {name.removeprefix("share/"): share for name, share in metrics.items() if name.startswith("share/")}


M = TypeVar("M", bound=Method[Any, Any])


def maker(kind: type[M], tiny: dict[str, Any], student: str = "resnet8", taught: bool = False) -> Callable[..., M]:
    """What makes a ``kind`` of the demo preset with the ``tiny`` knobs and others, measured and shown in each step; its
    student is ``nearly_taught`` or not."""

    def make(student: str = student, **changes: Any) -> M:
        recording = Recording(samples_every=0, health_every=1, phases_every=1)
        method = kind(
            collecting_problem(student=student, recording=recording), kind.Config.build("demo", tiny | changes)
        )
        if taught:
            nearly_taught(method)
        return method

    return make


def overhear(teacher: Classifier) -> list[tuple[Tensor, Features]]:
    """A list that grows with each batch (B, C, H, W) that the teacher is asked about, and its answer."""
    heard: list[tuple[Tensor, Features]] = []
    features = teacher.features

    def told(images: Tensor) -> Features:
        heard.append((images, features(images)))
        return heard[-1][1]

    teacher.features = told  # type: ignore[method-assign]
    return heard


class Overheard:
    """A model of images that writes down which classes it is ``asked`` for, and after how many images, by batch."""

    def __init__(self, source: ImageModel) -> None:
        self.source, self.names = source, source.names
        self.asked: list[list[int]] = []
        self.made: list[int] = []

    def guided(
        self,
        loss: Loss,
        labels: Tensor,
        steps: int,
        strength: float,
        class_guidance: float,
        image: ImageSpec,
        made: int = 0,
    ) -> tuple[Tensor, Film]:
        self.asked.append(labels.tolist())
        self.made.append(made)
        return self.source.guided(loss, labels, steps, strength, class_guidance, image, made)


STILL = 1e-60  # a learning rate that leaves every weight as it is


def assert_descended(network: nn.Module, loss: Tensor) -> None:
    """What ``network`` holds from its last step is the gradient of ``loss``, and not of nothing."""
    parameters = list(network.parameters())
    expected = torch.autograd.grad(loss, parameters, allow_unused=True)
    for parameter, gradient in zip(parameters, expected, strict=True):
        wanted = torch.zeros_like(parameter) if gradient is None else gradient
        torch.testing.assert_close(torch.zeros_like(parameter) if parameter.grad is None else parameter.grad, wanted)
    assert any(gradient is not None and gradient.any() for gradient in expected)


def modes_of(network: nn.Module) -> list[tuple[bool, bool]]:
    """A list that grows with each batch that ``network`` is given: whether it is training, and whether the images
    have a gradient."""
    modes: list[tuple[bool, bool]] = []
    network.register_forward_pre_hook(lambda module, given: modes.append((module.training, given[0].requires_grad)))
    return modes


def weights(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


@torch.no_grad()
def nearly_taught(method: Method[Any, Any]) -> None:
    """Give a student of the teacher's kind its weights, with a preference for the first class: they agree on most
    images, though never quite."""
    method.student.load_state_dict(method.teacher.state_dict())
    method.student.head.weight.mul_(0.7)
    method.student.head.bias[0] += 0.5


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def assert_resumes(new: Callable[[], RunFolder], stops: tuple[int, ...], whole: RunFolder) -> None:
    """A run of ``new`` stopped after the steps ``stops`` ends as ``whole``, row for row and bit for bit."""
    folder = new()
    for stop in stops:

        def halt(event: Any, stop: int = stop) -> None:
            if isinstance(event, Step) and event.step == stop:
                folder.command("stop")

        assert execute(folder, halt).state == "stopped"
    assert execute(folder).state == "done"
    assert metric_rows(folder) == metric_rows(whole) and student_hash(folder) == student_hash(whole)
