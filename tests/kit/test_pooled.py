"""What methods with a pool share: the course of a run, the best of a synthesis, labels, what a checkpoint weighs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import execute, new_run
from stepping import (
    collecting_problem,
    events,
    of,
    own_generator,  # noqa: F401 - in every test here
    same,
    values,
    weights,
)
from torch import Tensor

from dfkd_core.events import ClassShares, Samples
from dfkd_core.kit.pooled import Best, PoolConfig, PooledMethod
from dfkd_core.kit.recorder import Seen
from dfkd_core.kit.recording import Recording
from dfkd_core.runs.assemble import config_of
from dfkd_core.runs.spec import read_spec
from dfkd_core.teachers.load import load_teacher

SMALL = {"warm_steps": 2, "distill_steps": 3, "updates": 2, "batch_size": 8, "synthesis_size": 6, "pool_size": 20}


class Painter(PooledMethod[PoolConfig]):
    """Its images are as bright as the step's number."""

    name, title, Config = "painter", "Painter", PoolConfig
    phases = ("batch", "answer", "student")

    def synthesise(self, seen: Seen) -> Tensor:
        self.student.eval()
        return torch.full((6, 1, 8, 8), self.step / 10)


def painter(**knobs: Any) -> Painter:
    problem = collecting_problem(recording=Recording(samples_every=1, phases_every=0))
    return Painter(replace(problem, collected=None), PoolConfig.build("", {**SMALL, **knobs}))


def test_images_join_the_pool_before_the_student_learns_from_it() -> None:
    method = painter()
    untouched = weights(method.student)
    warm = values(events(method, 2))
    assert [row["images"] for row in warm] == [6, 12] and "student_loss" not in warm[1]
    assert same(untouched, weights(method.student)) and method.queries == 0
    (row,) = values(events(method, 3))
    assert row["student_loss"] > 0 and row["images"] == 18 and method.queries == 2 * 8
    assert not same(untouched, weights(method.student))
    assert values(events(method, 5))[-1]["images"] == 20, "it is full"


def test_the_student_learns_from_images_of_the_pool() -> None:
    method = painter()
    events(method, 2)
    known = {0.1, 0.2}
    assert {round(pixel, 1) for pixel in method.draw().flatten().tolist()} == known
    assert method.draw().shape == (8, 1, 8, 8)


def test_its_stages_are_the_warm_up_and_the_student_whose_rate_begins_with_it() -> None:
    assert [(stage.name, stage.steps) for stage in painter().config.stages()] == [("warm-up", 2), ("student", 3)]
    assert [stage.name for stage in painter(warm_steps=0).config.stages()] == ["student"]
    rates = [row.get("learning_rate") for row in values(events(painter(student_lr=0.4), 5))]
    assert rates == [None, None, pytest.approx(0.4), pytest.approx(0.3), pytest.approx(0.1)]


def test_samples_are_what_joined_the_pool() -> None:
    found = events(painter(), 3)
    shown = of(Samples, found)
    assert [len(one.images) for one in shown] == [6] * 3
    assert [round(one.images.mean() / 255, 1) for one in shown] == [0.1, 0.2, 0.3]
    assert all(sum(one.shares["made"]) == pytest.approx(1) for one in of(ClassShares, found))


def test_what_is_synthesised_on_request_is_of_the_pool_and_before_it_noise() -> None:
    method = painter()
    before = method.image.to_pixels(method.synthesize(4, torch.Generator().manual_seed(0)))
    assert before.shape == (4, 1, 8, 8) and before.std() > 0.2 and before.min() >= -1e-5 and before.max() <= 1 + 1e-5
    events(method, 2)
    first, second = (method.synthesize(15, torch.Generator().manual_seed(0)) for _ in range(2))
    assert torch.equal(first, second)
    assert {round(pixel, 1) for pixel in method.image.to_pixels(first).flatten().tolist()} == {0.1, 0.2}


@pytest.mark.parametrize("count", [4, 10, 25])
def test_labels_are_every_class_in_turn(count: int) -> None:
    counts = painter().classes(count).bincount(minlength=10)
    assert counts.sum() == count and counts.min() >= count // 10


@pytest.mark.parametrize(("losses", "best"), [([3, 1, 2], 1), ([1, 2, 3], 0), ([3, 2, 1], 2), ([1, 1], 0)])
def test_the_best_is_a_copy_of_what_came_with_the_lowest_loss(losses: list[float], best: int) -> None:
    found, images = Best(), torch.zeros(2, 1, requires_grad=True)
    for step, loss in enumerate(losses):
        with torch.no_grad():
            images.fill_(step)  # in place, as an optimizer does it
        found.keep(torch.tensor(float(loss), requires_grad=True), images, images + 10)
    one, other = found.made
    assert one.tolist() == [[best]] * 2 and other.tolist() == [[best + 10]] * 2
    assert not one.requires_grad


def test_what_its_checkpoints_weigh_is_foretold(runs: Path) -> None:
    """Of the run of a pool that is full: what they hold beside networks and optimizers."""
    few, many = (checkpoint_bytes(runs, size) for size in (16, 800))
    assert many[1] - few[1] == pytest.approx(many[0] - few[0], rel=0.3)


def checkpoint_bytes(runs: Path, size: int) -> tuple[int, int]:
    """What a run with a pool and a bank of ``size`` foretells to record, and what its checkpoints take."""
    knobs = {"pool_size": size, "bank_size": size, "synthesis_size": size, "synthesis_steps": 1, "warm_steps": 1}
    folder = new_run(runs, {**knobs, "negatives": 0}, method="cmi", samples=8)
    execute(folder)
    spec, (network, card) = read_spec(folder), load_teacher("digits-resnet20-plain")
    foretold = spec.recorded_bytes(config_of(spec), card.image.spec(), network.head.in_features, original=0)
    files = list((folder.path / "checkpoints").glob("*.safetensors"))
    return foretold, 2 * max(path.stat().st_size for path in files)
