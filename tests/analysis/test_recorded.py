"""What a run recorded, as Inspect asks for it."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT, TINY, execute
from recording import MIXTURE, Recording

from dfkd_core.analysis.recorded import MAX_SHEETS, Recorded, detail
from dfkd_core.analysis.timeline import Timeline
from dfkd_core.errors import RequestError
from dfkd_core.runs.request import make_spec
from dfkd_core.store import RunFolder


@pytest.fixture
def recording(runs: Path) -> Recording:
    return Recording(runs)


# --- sheets ----------------------------------------------------------------------------------------------------


def test_sheets_come_by_kind_and_step(recording: Recording) -> None:
    for kind, step in (("samples", 1), ("probes", 0), ("samples", 10), ("probes", 10)):
        recording.add(kind, step, count=5 if kind == "probes" else 20)
    recorded = recording.recorded
    assert (recorded.steps("samples"), recorded.steps("probes")) == ([1, 10], [0, 10])
    sheet = recorded.sheet("probes", 10)
    assert sheet is not None and (sheet.kind, sheet.step, len(sheet), recorded.count("probes", 10)) == (
        "probes",
        10,
        5,
        5,
    )
    assert sheet.images[3].tolist() == np.full((4, 4, 1), 3).tolist() and sheet.mixture == MIXTURE
    assert recorded.sheet("probes", 10) is sheet, "kept in memory"
    assert recorded.sheet("samples", 7) is None and recorded.real is None
    assert recorded.classes == ["cat", "=dog", "ship"]


def test_real_images_that_come_later_are_seen(recording: Recording) -> None:
    assert recording.recorded.real is None and recording.recorded.boundary() is None
    recording.add_real([[0, 0], [1, 1]], [2, 2])
    real = recording.recorded.real
    assert real is not None and real.columns["label"].tolist() == [2, 2] and real.classes == 3
    assert recording.recorded.boundary() is not None


def test_what_is_no_kind_is_refused(recording: Recording) -> None:
    with pytest.raises(RequestError, match="kind = 'fake': should be one of samples, probes, real"):
        recording.recorded.sheet("fake", 1)


def test_memory_holds_only_so_many_sheets(recording: Recording) -> None:
    for step in range(1, MAX_SHEETS + 3):
        recording.add("samples", step, count=2)
    first = recording.recorded.sheet("samples", 1)
    for step in recording.recorded.steps("samples"):
        recording.recorded.sheet("samples", step)
    again = recording.recorded.sheet("samples", 1)
    assert first is not None and again is not None and again is not first
    assert np.array_equal(again.images, first.images)


def test_infinite_features_of_half_precision_become_finite(recording: Recording) -> None:
    recording.add("samples", 1, count=2, features=np.array([[np.inf, -np.inf], [np.nan, 1]], np.float16))
    sheet = recording.recorded.sheet("samples", 1)
    assert sheet is not None and sheet.features is not None
    assert sheet.features.tolist() == [[65504, -65504], [0, 1]]


@pytest.mark.parametrize("suffix", ["png", "npz"])
def test_damaged_files_are_no_sheet_and_no_error(recording: Recording, suffix: str) -> None:
    recording.add("samples", 1)
    path = recording.folder.path / "samples" / f"00000001.{suffix}"
    good, dice = path.read_bytes(), random.Random(0)
    for _ in range(150):
        broken = bytearray(good)
        for _ in range(dice.choice([1, 20])):
            broken[dice.randrange(len(good))] = dice.randrange(256)
        path.write_bytes(broken[: dice.choice([len(good), dice.randrange(len(good))])])
        recorded = recording.reopened()
        sheet = recorded.sheet("samples", 1)
        assert sheet is None or all(len(values) == len(sheet) for values in sheet.columns.values())
        recorded.features("samples", 1)
    path.unlink()
    assert recording.reopened().sheet("samples", 1) is None
    path.write_bytes(good)
    assert recording.reopened().sheet("samples", 1) is not None


def test_columns_of_another_length_are_no_sheet(recording: Recording) -> None:
    recording.add("samples", 1, count=4, posterior=np.zeros(3))
    assert recording.recorded.sheet("samples", 1) is None


# --- one sample ------------------------------------------------------------------------------------------------


@pytest.fixture
def line(recording: Recording) -> Recording:
    """Samples at 0, 1, 2 and 9, the second rejected; real images of class 0 at 0 and 1, of class 1 at 8 and 9.5."""
    recording.add_real([[0.0], [1.0], [8.0], [9.5]], [0, 0, 1, 1])
    for kind in ("samples", "probes"):
        recording.add(
            kind, 5, count=4,
            features=np.array([[0], [1], [2], [9]], np.float16),
            clean=np.array([True, False, True, True]),
            label=np.array([0, 0, 0, 1], np.int16),
            teacher_logits=np.log(np.array([[1, 1, 2], [1, 1, 2], [1, 1, 2], [2, 5, 1]])).astype(np.float16),
        )  # fmt: skip
    return recording


def test_a_sample_with_its_neighbours(line: Recording) -> None:
    found = detail(line.recorded, "samples", 5, 2, neighbours=2)
    assert found["nearest_real"] == [[1, 1.0], [0, 2.0]]
    assert found["nearest_clean"] == [[0, 2.0], [3, 7.0]], "neither itself nor the rejected one"
    assert found["teacher"] == pytest.approx([0.25, 0.25, 0.5], abs=1e-3)
    assert sum(found["student"]) == pytest.approx(1, abs=1e-4)
    sheet = line.recorded.sheet("samples", 5)
    assert sheet is not None
    for name in ("loss", "posterior", "label", "confidence", "student_label", "clean"):
        assert found[name] == sheet.columns[name][2].item()
    assert found["inside"] is True
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_inside_follows_the_class_of_the_teachers_label(line: Recording) -> None:
    sheet = line.recorded.sheet("samples", 5)
    assert sheet is not None
    inside = line.recorded.inside(sheet)  # class 0 reaches from -1 to 2, class 1 from 6.5 to 11
    assert inside is not None and inside.tolist() == [True] * 4
    assert [detail(line.recorded, "samples", 5, index)["inside"] for index in range(4)] == [True] * 4
    line.add("samples", 6, count=2, features=np.array([[2.5], [2]], np.float16), label=np.array([0, 1], np.int16))
    assert [detail(line.recorded, "samples", 6, index)["inside"] for index in range(2)] == [False, False]


def test_a_film_shows_the_same_latent_at_all_recorded_steps(line: Recording) -> None:
    line.add("probes", 20, count=4, dimension=1, loss=np.array([0, 1, 2, np.inf], np.float32))
    film = line.recorded.film(3)
    assert [frame["step"] for frame in film] == [5, 20]
    assert film[0]["label"] == 1 and film[1]["loss"] is None, "what JSON cannot say is None"
    (line.folder.path / "probes" / "00000005.npz").unlink()
    assert [frame["step"] for frame in line.reopened().film(0)] == [20]


def test_a_real_image_is_not_its_own_neighbour(line: Recording) -> None:
    found = detail(line.recorded, "real", 0, 1, neighbours=1)
    assert found["nearest_real"] == [[0, 1.0]] and found["nearest_clean"] == []
    assert (found["label"], found["inside"], found["student"], found["loss"]) == (0, None, None, None)


def test_a_run_without_features_has_no_neighbours(recording: Recording) -> None:
    recording.add("samples", 1, features=None, teacher_logits=None, student_logits=None, label=np.full(20, 4, np.int16))
    sheet = recording.recorded.sheet("samples", 1)
    assert sheet is not None and sheet.features is None and sheet.classes == 5
    found = detail(recording.recorded, "samples", 1, 0)
    assert (found["teacher"], found["inside"], found["nearest_real"], found["nearest_clean"]) == (None, None, [], [])
    assert recording.recorded.inside(sheet) is None


@pytest.mark.parametrize(("step", "index", "field"), [(2, 0, "step"), (5, 4, "index"), (5, -1, "index")])
def test_what_is_not_there_is_refused_in_words(line: Recording, step: int, index: int, field: str) -> None:
    with pytest.raises(RequestError) as caught:
        detail(line.recorded, "samples", step, index)
    assert caught.value.field == field


# --- real runs -------------------------------------------------------------------------------------------------


NOISE = {"epochs": 1, "iterations": 6, "student_steps": 2, "batch_size": 16}


@pytest.mark.parametrize(("method", "knobs"), [("ta-dfkd", TINY), ("noise", NOISE)])
def test_a_real_run_can_be_inspected(runs: Path, method: str, knobs: dict[str, Any]) -> None:
    spec = make_spec(knobs, method=method, samples_every=3, probes_every=3, real=40, evaluate_every=6)
    folder = RunFolder.create(runs, spec.model_dump())
    execute(folder)
    recorded = Recorded(Timeline(folder))
    recorded.timeline.update()
    sheet = recorded.sheet("samples", recorded.steps("samples")[-1])
    assert sheet is not None and sheet.features is not None and recorded.real is not None and len(recorded.real) == 40
    inside = recorded.inside(sheet)
    assert inside is not None and inside.shape == (len(sheet),)
    assert (sheet.mixture is None) == (method == "noise")
    kept = sheet.columns["posterior"] > sheet.mixture["threshold"] if sheet.mixture else np.ones(len(sheet), bool)
    assert sheet.columns["clean"].tolist() == kept.tolist()
    found = detail(recorded, "probes", recorded.steps("probes")[-1], 1)
    assert len(recorded.film(1)) == len(recorded.steps("probes")) > 1
    assert len(found["teacher"]) == len(recorded.classes) == 10 and len(found["nearest_real"]) == 8
    json.dumps(found, allow_nan=False)


def test_looking_at_a_run_imports_neither_torch_nor_scikit_learn() -> None:
    """A page opens at once: the heavy imports come when somebody asks for UMAP."""
    modules = "recorded, boundary, layout, audit, tags, export, jobs, timeline"
    code = f"import sys; from dfkd_core.analysis import {modules}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert not {"torch", "sklearn", "umap", "scipy", "pandas"} & set(loaded.split())
