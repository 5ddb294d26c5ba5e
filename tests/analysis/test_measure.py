"""Measuring runs: figures on disk, images that nobody picked, one sentence where it cannot be done."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command import call, refused
from conftest import execute, new_run, rows
from tampering import content, copied, edit
from torchmetrics.image.fid import FrechetInceptionDistance

from dfkd_core.analysis import measure as measuring
from dfkd_core.analysis.measure import measure
from dfkd_core.analysis.measured import GENERATED, MEASURED
from dfkd_core.data.catalogue import find_benchmark
from dfkd_core.errors import RequestError, StoreError
from dfkd_core.quality import measures as quality
from dfkd_core.runs.assemble import assemble
from dfkd_core.runs.spec import read_spec
from dfkd_core.store import RunFolder, read_samples
from dfkd_core.store.checkpoints import load_checkpoint

SAMPLES = 120


@pytest.fixture(scope="module")
def carried_out(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = new_run(tmp_path_factory.mktemp("measured"), {"iterations": 20})
    execute(folder)
    return folder


@pytest.fixture
def done(runs: Path, carried_out: RunFolder) -> RunFolder:
    return copied(carried_out, runs / carried_out.id)


@pytest.fixture
def cache(runs: Path) -> Path:
    return runs / "analysis-cache"


def generated(folder: RunFolder) -> tuple[torch.Tensor, torch.Tensor]:
    """What the newest checkpoint's generator makes, and the teacher's labels."""
    _, problem, method = assemble(read_spec(folder))
    found = load_checkpoint(folder)
    assert found is not None
    method.load_state_dict(found[1]["method"])
    images, labels, _ = measuring._generate(method, problem, SAMPLES)
    return images, labels


def test_the_figures_are_those_of_the_newest_checkpoints_images(done: RunFolder, cache: Path) -> None:
    figures = measure(done, cache, SAMPLES)
    images, labels = generated(done)
    assert content(done.files, MEASURED) == figures
    assert figures["extractor"] == "teacher:digits-resnet20-smooth" and figures["real"] == SAMPLES
    assert figures["label"] == "FID in digits-resnet20-smooth features, n = 120 real, 120 generated"
    assert figures["counts"] == torch.bincount(labels, minlength=10).tolist()

    extractor = quality.find_extractor("", assemble(read_spec(done))[0])
    data = find_benchmark("digits").load(train=False)
    metric = FrechetInceptionDistance(extractor.module)
    with torch.no_grad():
        metric.update(data.images[quality.evenly_by_class(data.labels, SAMPLES)], real=True)
        metric.update(images, real=False)
    assert figures["fid"] == pytest.approx(float(metric.compute()), rel=1e-4)


def test_scores_and_share_kept_come_from_the_log(done: RunFolder, cache: Path) -> None:
    figures, result = measure(done, cache, SAMPLES), done.status().result
    assert {name: figures[name] for name in ("measure", "final", "best", "teacher")} == {
        name: result[name] for name in ("measure", "final", "best", "teacher")
    }
    late = [row["values"]["kept"] for row in rows(done, "step") if row["step"] > 18]  # the last 10 % of 20 steps
    assert figures["kept"] == pytest.approx(np.mean(late)) and len(late) == 2


def test_of_each_class_the_first_images_are_kept(done: RunFolder, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "SHOWN", 3)
    measure(done, cache, SAMPLES)
    kept, columns = read_samples(done, GENERATED)
    images, labels = generated(done)
    wanted = [index for label in range(10) for index in (labels == label).nonzero()[:3, 0].tolist()]
    assert columns["label"].tolist() == labels[wanted].tolist() and max(np.bincount(columns["label"])) <= 3
    assert np.array_equal(kept, images[wanted].permute(0, 2, 3, 1).numpy())


def test_the_same_is_not_measured_twice(done: RunFolder, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    real = measuring._generate
    monkeypatch.setattr(measuring, "_generate", lambda *given: made.append(given[2]) or real(*given))
    first = measure(done, cache, SAMPLES)
    assert measure(done, cache, SAMPLES) == first and made == [SAMPLES]
    measure(done, cache, SAMPLES, force=True)
    measure(done, cache, SAMPLES + 1)
    measure(done, cache, SAMPLES + 1, "teacher:digits-lenet5-long")
    assert made == [SAMPLES, SAMPLES, SAMPLES + 1, SAMPLES + 1]


def test_measuring_leaves_the_callers_generators_alone(done: RunFolder, cache: Path) -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    measure(done, cache, SAMPLES)
    assert torch.equal(torch.rand(4), expected)


def test_noise_is_measured_without_a_share_kept(runs: Path, cache: Path) -> None:
    knobs = {"epochs": 1, "iterations": 2, "student_steps": 1, "batch_size": 16}
    from dfkd_core.runs.request import make_spec

    folder = RunFolder.create(runs, make_spec(knobs, method="noise", evaluate_every=1).model_dump())
    execute(folder)
    figures = measure(folder, cache, SAMPLES)
    assert figures["kept"] is None and figures["fid"] > 0 and sum(figures["counts"]) == SAMPLES


def test_a_run_of_a_gpu_is_measured_where_there_is_none(done: RunFolder, cache: Path) -> None:
    edit(done.files, "spec.json", lambda spec: spec.update(device="cuda:63"))
    assert measure(done, cache, SAMPLES)["samples"] == SAMPLES


def test_a_run_without_a_checkpoint_or_data_says_so(runs: Path, cache: Path, done: RunFolder) -> None:
    with pytest.raises(StoreError, match="no checkpoint yet"):
        measure(new_run(runs), cache, SAMPLES)
    with pytest.raises(RequestError, match="should be from 6"):
        measure(done, cache, 2)


# --- the command line ------------------------------------------------------------------------------------------


def test_measure_on_the_command_line(capsys: Any, done: RunFolder) -> None:
    status, out, _ = call(capsys, "measure", done.id, "--samples", str(SAMPLES))
    figures = content(done.files, MEASURED)
    assert status == 0 and out.startswith(f"{figures['fid']:.3f}: FID in digits-resnet20-smooth features")
    status, out, _ = call(capsys, "measure", done.id, "--samples", str(SAMPLES), "--json")
    assert json.loads(out) == figures


def test_a_bad_request_to_measure_is_one_line(capsys: Any, done: RunFolder) -> None:
    assert "should be inception, or teacher:NAME" in refused(capsys, "measure", done.id, "--extractor", "vgg")
    assert "is not the id of a run" in refused(capsys, "measure", "nothing")
