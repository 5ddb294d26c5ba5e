"""The with-data baseline: it learns from the teacher's own images, and is else as UKD without them."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from bringing import own_copy
from conftest import execute, new_run, rows, student_hash, tiny_knobs
from stepping import (
    assert_resumes,
    by_hand,
    digits,
    events,
    generative_problem,
    own_generator,  # noqa: F401 - in every test here
    same,
    values,
    weights,
)
from torch import Tensor

from dfkd_core.data.catalogue import find_benchmark
from dfkd_core.errors import RequestError
from dfkd_core.kit.generative_stage import WARMUP, DistillConfig, GenerativeStage
from dfkd_core.kit.recorder import Seen
from dfkd_core.losses import latent as losses
from dfkd_core.methods.ukd import UKDConfig
from dfkd_core.methods.with_data import WithData, WithDataConfig
from dfkd_core.store import RunFolder
from dfkd_core.teachers.cards import ElboRecipe, find_card

pytestmark = pytest.mark.usefixtures("few_judged")


def make(original: Tensor | None = None, **changes: Any) -> WithData:
    problem = generative_problem(original=digits(40) if original is None else original)
    return WithData(problem, WithDataConfig.build("demo", {**tiny_knobs("with-data"), **changes}))


@pytest.mark.parametrize("preset", WithDataConfig.presets)
def test_student_and_schedule_are_those_of_ukd(preset: str) -> None:
    """Else the two could not be compared."""
    one, other = WithDataConfig.build(preset), UKDConfig.build(preset)
    shared = list(DistillConfig.model_fields)
    assert {name: getattr(one, name) for name in shared} == {name: getattr(other, name) for name in shared}
    assert set(WithDataConfig.model_fields) == set(shared)


@pytest.mark.parametrize("objective", ["ukd", "elbo"])
def test_it_learns_from_the_original_images_and_what_the_teacher_sees_in_them(
    objective: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[tuple[tuple[Tensor, ...], Tensor]] = []
    learn = GenerativeStage.learn

    def spy(stage: GenerativeStage, seen: Seen, noise: tuple[Tensor, ...], images: Tensor) -> None:
        given.append((noise, images))
        learn(stage, seen, noise, images)

    monkeypatch.setattr(GenerativeStage, "learn", spy)
    method = make(objective=objective)
    events(method, 2)
    known = {image.numpy().tobytes() for image in digits(40)}
    for noise, images in given:
        pixels = (255 * method.image.to_pixels(images)).round().to(torch.uint8)
        assert len(pixels) == 16 and {image.numpy().tobytes() for image in pixels} <= known
        again = method.teacher.generate(noise).images
        assert (again - images).square().mean() < 0.5 * (again - images.flip(0)).square().mean(), "of these images"
    assert not torch.equal(given[0][1], given[1][1])


def test_with_the_elbo_the_student_learns_as_a_vae_and_the_kl_warms_up() -> None:
    method = make(objective="elbo", distill_steps=10)
    (first,) = values(events(method, 1))
    assert set(first) == {"student_loss", "reconstruction", "kl", "learning_rate"}
    assert first["kl"] == 0, "its weight rises from 0"
    weight = (1 / 10) / WARMUP
    images = method.image.normalise(digits(16).float() / 255)
    twin, noise = copy.deepcopy(method.student).train(), method.stage.infer(images)
    torch.manual_seed(3)
    metrics = by_hand(method, lambda seen: method.stage.learn(seen, noise, images))
    torch.manual_seed(3)
    drawn = tuple(torch.randn(16, *shape) for shape in twin.noise_shapes)
    expected = losses.negative_elbo(images, twin.infer(images, drawn), weight)
    assert 0 < weight < 1 and metrics["kl"] > 0
    for name, term in expected.items():
        assert metrics[name] == pytest.approx(term.item(), rel=1e-4)


@pytest.mark.parametrize("objective", ["ukd", "elbo"])
def test_a_student_learns(objective: str) -> None:
    method = make(objective=objective, distill_steps=20, student_lr=1e-2)
    name = "output_kl" if objective == "ukd" else "reconstruction"
    teacher, found = weights(method.teacher), [metrics[name] for metrics in values(events(method, 20))]
    assert sum(found[-3:]) < sum(found[:3]) - 0.3 * abs(sum(found[:3]))
    assert same(teacher, weights(method.teacher))


def test_with_the_elbo_it_resumes_bit_identically(runs: Path) -> None:
    def new() -> RunFolder:
        return new_run(runs, {"objective": "elbo"}, method="with-data", probes_every=0)

    whole = new()
    assert execute(whole).state == "done", whole.status().message
    assert_resumes(new, (2,), whole)


def test_it_is_given_the_training_images_without_labels_and_no_test_image(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []
    original = WithData.__init__
    monkeypatch.setattr(
        WithData, "__init__", lambda self, problem, config: (given.append(problem), original(self, problem, config))[1]
    )
    assert execute(new_run(runs, method="with-data", probes_every=0)).state == "done"
    (problem,) = given
    assert torch.equal(problem.original, find_benchmark("digits").load(train=True).images)
    assert problem.source is None


def test_without_images_it_is_refused() -> None:
    for original in (None, digits(0)):
        problem = generative_problem(original=original)
        with pytest.raises(RequestError, match="there is no image to learn from"):
            WithData(problem, WithDataConfig.build("demo"))


def test_beta_is_the_teachers_unless_another_is_given(runs: Path, few_judged: None) -> None:
    """Of the training and of the ELBO; the teacher's own ELBO is always of its own."""
    recipe = find_card("digits-lvae-32")[0].recipe
    assert isinstance(recipe, ElboRecipe) and recipe.beta == 0.1
    own_copy("digits-lvae-32", recipe=recipe.model_copy(update={"beta": 0.5}))
    students, begins = [], []  # of the same weights, so that only β tells their ELBO apart
    for teacher, beta in (("mine", 0.0), ("digits-lvae-32", 0.5), ("digits-lvae-32", 0.0)):
        folder = new_run(runs, {"objective": "elbo", "beta": beta}, method="with-data", teacher=teacher)
        assert execute(folder).state == "done", folder.status().message
        students.append(student_hash(folder))
        begins.append(rows(folder, "quality")[0])
    assert students[0] == students[1] != students[2]
    elbos = [(begin["values"]["elbo"], begin["teacher"]["elbo"]) for begin in begins]
    assert elbos[0][0] == elbos[1][0] != elbos[2][0] and elbos[0][1] != elbos[1][1] == elbos[2][1]
