"""What tables say of a method is what it does: teacher and student see as many images as is declared."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from conftest import tiny_spec
from torch import nn

from dfkd_core import methods
from dfkd_core.data.catalogue import find_benchmark
from dfkd_core.events import Step
from dfkd_core.kit.contract import Term
from dfkd_core.kit.portrait import portrait
from dfkd_core.runs.assemble import assemble, config_of
from dfkd_core.runs.loop import borrowed

TASK = "classifier"
CASES: dict[str, list[dict[str, Any]]] = {  # beside the preset's knobs, what changes how often the teacher is asked
    "ta-dfkd": [{"augmentation": "crop"}, {"selection": False}],
    "cmi": [{"contrast_weight": 0.0}],
    "hidfd": [{"guidance_weight": 0.0}, {"transfer": False, "discriminator_steps": 2}],
    "pre-dfkd": [{"memory_steps": 1, "replayed": 0.5}],
}


@pytest.mark.parametrize(
    ("name", "knobs"), [(name, knobs) for name in methods.available() for knobs in [{}, *CASES.get(name, [])]]
)
def test_the_teacher_is_asked_as_often_as_is_declared(name: str, knobs: dict[str, Any]) -> None:
    spec = tiny_spec(knobs, method=name, samples_every=0, probes_every=0, phases_every=0)
    config = config_of(spec)
    names = [stage.name for stage in config.stages() for _ in range(stage.steps)]
    with borrowed(spec):
        _, _, method = assemble(spec)
        asked = [method.queries, *(method.queries for event in method.train() if isinstance(event, Step))]
    for stage, (before, after) in zip(names, pairwise(asked), strict=True):
        declared = config.queries(stage)
        if declared is None:
            assert after == before, "nobody counts"
        else:
            assert declared[0] <= after - before <= declared[1], stage


@pytest.mark.parametrize("name", [name for name, one in methods.available().items() if one.requires.task == TASK])
def test_the_student_learns_from_as_many_images_as_is_declared(name: str) -> None:
    knobs = {"contrast_weight": 0.0} if name == "kd3" else {}  # which mixes each batch with itself
    spec = tiny_spec(knobs, method=name, samples_every=0, probes_every=0, phases_every=0)
    with borrowed(spec):
        _, _, method = assemble(spec)
        met: list[int] = []
        first = next(module for module in method.student.modules() if isinstance(module, nn.Conv2d))
        first.register_forward_pre_hook(
            lambda layer, given: met.append(len(given[0])) if layer.training and torch.is_grad_enabled() else None
        )
        learned = [sum(met) for event in method.train() if isinstance(event, Step)]
    assert learned == [spec.learned_by(step) for step in range(1, spec.total_steps + 1)]


@pytest.mark.parametrize("name", methods.available())
@pytest.mark.parametrize("preset", ["demo", "cpu", "paper"])
def test_every_method_has_a_portrait_of_each_preset(name: str, preset: str) -> None:
    found = portrait(methods.find(name), preset)
    assert all((found.images, found.student, found.chosen, found.kept, found.needs)) and "{" not in found.kept
    assert found.stages and found.updates >= 1
    assert (found.asked is None) == (found.asked_in_all is None)
    if found.asked is not None and found.asked_in_all is not None:
        assert 0 < found.asked[0] <= found.asked[1] <= found.asked_in_all[1]


def test_a_portrait_is_of_the_presets_knobs() -> None:
    cmi = methods.find("cmi")
    demo, paper = portrait(cmi, "demo"), portrait(cmi, "paper")
    assert demo.asked == (2 * 40 * 64 + 50 * 128,) * 2 and demo.asked_in_all == (230_400,) * 2
    assert paper.kept == "a pool of 51,200 images, a bank of features of 40,960"
    assert paper.kept_bytes(find_benchmark("cifar10").image, 64) > 51_200 * 3 * 32 * 32
    assert [term.name for term in paper.batch_norm] == ["bn_statistics"]


def test_a_term_without_a_weight_is_none_of_it() -> None:
    assert "class_prior" not in [term.name for term in portrait(methods.find("ta-dfkd"), "demo").terms]
    assert isinstance(portrait(methods.find("dafl"), "demo").terms[0], Term)


def test_stages_count_each_with_its_own_questions() -> None:
    nayer = portrait(methods.find("nayer"), "demo")
    assert nayer.asked_in_all == (45 * 10 * 64 + 40 * 30 * 128,) * 2
