"""The noise baseline: it teaches the student, repeats exactly, resumes bit-identically."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from dfkd_core.engine import InlineEngine
from dfkd_core.events import Epoch, Samples, Step
from dfkd_core.images import ImageSpec
from dfkd_core.kit.contract import Problem
from dfkd_core.methods.noise import Noise, NoiseConfig
from dfkd_core.networks.classifiers import build_classifier, freeze
from dfkd_core.runs.request import make_spec
from dfkd_core.store import EventReader, RunFolder

IMAGE = ImageSpec(1, 8, (0.3,), (0.37,), tuple("0123456789"))
SMALL = {"epochs": 2, "iterations": 3, "student_steps": 2, "batch_size": 16}


@pytest.fixture(autouse=True)
def own_generator():
    torch.set_num_threads(1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def make(**changes) -> Noise:
    torch.manual_seed(1)
    teacher = freeze(build_classifier("resnet8", IMAGE))
    student = build_classifier("lenet5-bn", IMAGE)
    config = NoiseConfig.build("", {**SMALL, **changes})
    return Noise(Problem(teacher, student, IMAGE, torch.device("cpu")), config)


def steps(method: Noise, until: int) -> list:
    """Events up to and including step ``until``, each step seeded as ``run`` does it."""
    events, stream = [], method.train()
    while method.step < until:
        torch.manual_seed(method.step + 1)
        for event in stream:
            events.append(event)
            if isinstance(event, Step):
                break
    return events


def weights(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(tensor, other[name]) for name, tensor in one.items())


@pytest.mark.parametrize("kind", ["gaussian", "uniform"])
def test_every_student_weight_learns_and_the_teacher_stays(kind):
    method = make(kind=kind)
    student, teacher = weights(method.student), weights(method.teacher)
    steps(method, 1)
    for name, parameter in method.student.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        assert parameter.grad.norm() > 0 and not torch.equal(parameter, student[name]), name
    assert same(teacher, weights(method.teacher))


def test_the_student_comes_closer_to_the_teacher():
    events = steps(make(epochs=10, iterations=10, student_lr=0.05), 100)
    losses = [event.values["student_loss"] for event in events if isinstance(event, Step)]
    assert sum(losses[-10:]) < 0.5 * sum(losses[:10])


def test_same_seed_same_events():
    rows = [[event.values for event in steps(make(), 6) if isinstance(event, Step)] for _ in range(2)]
    assert rows[0] == rows[1]


def test_every_query_is_counted_and_epochs_close():
    method = make()
    asked = []
    method.teacher.register_forward_pre_hook(lambda module, inputs: asked.append(len(inputs[0])))
    features = method.teacher.features
    method.teacher.features = lambda images: asked.append(len(images)) or features(images)  # type: ignore[method-assign]
    events = steps(method, 6)
    assert [event.values["queries"] for event in events if isinstance(event, Step)][-1] == sum(asked) == 6 * 2 * 16
    assert [event.epoch for event in events if isinstance(event, Epoch)] == [1, 2]


@pytest.mark.parametrize("kind", ["gaussian", "uniform"])
def test_images(kind):
    """Gaussian images have the moments of normalised data, uniform ones are pixels; samples show them."""
    method = make(kind=kind)
    images = method.synthesize(500, torch.Generator().manual_seed(0))
    assert torch.equal(images, method.synthesize(500, torch.Generator().manual_seed(0)))
    if kind == "gaussian":
        assert abs(float(images.mean())) < 0.03 and abs(float(images.std()) - 1) < 0.03
    else:
        pixels = images * 0.37 + 0.3
        assert -1e-6 < float(pixels.min()) < 0.01 and 0.99 < float(pixels.max()) < 1 + 1e-6
    sample = next(event for event in steps(method, 1) if isinstance(event, Samples))
    assert sample.images.shape == (16, 8, 8, 1) and sample.images.std() > 50
    assert sample.columns["clean"].all() and (sample.columns["loss"] >= 0).all() and sample.mixture is None


def test_state_round_trip():
    straight = make()
    steps(straight, 6)
    first = make()
    steps(first, 4)
    stored = first.state_dict()
    second = make()
    second.load_state_dict({**stored, "student": {name: tensor.clone() for name, tensor in stored["student"].items()}})
    steps(second, 6)
    assert same(weights(straight.student), weights(second.student))


def test_a_stopped_run_resumes_bit_identically(tmp_path: Path):
    spec = make_spec(SMALL, method="noise", evaluate_every=3).model_dump()
    whole = InlineEngine(tmp_path / "whole")
    whole_folder = RunFolder(tmp_path / "whole" / whole.submit(spec))
    engine: InlineEngine
    engine = InlineEngine(tmp_path / "parts", lambda event: stop_at(engine, event, 4))
    run_id = engine.submit(spec)
    folder = RunFolder(tmp_path / "parts" / run_id)
    assert folder.status().state == "stopped" and folder.status().step == 4
    InlineEngine(tmp_path / "parts").resume(run_id)
    assert folder.status().state == "done", folder.status().message
    stored = [(run.path / "student.safetensors").read_bytes() for run in (whole_folder, folder)]
    assert stored[0] == stored[1]
    assert training_rows(whole_folder) == training_rows(folder)


def stop_at(engine: InlineEngine, event: object, step: int) -> None:
    if isinstance(event, Step) and event.step == step:
        engine.stop(next(iter(engine.poll())))


def training_rows(folder: RunFolder) -> list[str]:
    rows = [row for row in EventReader(folder).read() if row["type"] in ("step", "epoch", "evaluated", "samples")]
    return [json.dumps({key: value for key, value in row.items() if key not in ("seq", "elapsed")}) for row in rows]
