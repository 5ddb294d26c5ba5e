"""Collected images in a run and on the command line: what is kept of them, and that no label comes with them."""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import TEACHER, collected_by, execute, keys, new_run, student_hash, tiny_spec, write_mnist
from PIL import Image
from tampering import content
from torch import Tensor

from dfkd_core.cli.main import main
from dfkd_core.data.catalogue import find_benchmark
from dfkd_core.data.collecting import collect
from dfkd_core.data.sources import find_source
from dfkd_core.runs.assemble import assemble, config_of
from dfkd_core.runs.request import make_spec
from dfkd_core.runs.survey import COLLECTED
from dfkd_core.selection.collected import Predictor, class_histogram
from dfkd_core.store import RunFolder, read_samples

DIGITS = find_benchmark("digits")


@pytest.fixture
def run_on(runs: Path, pets: Path) -> Callable[..., RunFolder]:
    """Makes a finished tiny run on the pets, or on what it is given."""

    def run_on(**fields: Any) -> RunFolder:
        given = {"method": "collected", "collected": f"folder:{pets}", "ratio": 0.1, **fields}
        folder = new_run(runs, {"distill_steps": 2, "updates": 1}, **given)
        assert execute(folder).state == "done"
        return folder

    return run_on


def test_a_run_keeps_its_collected_images_as_the_teacher_sees_them(
    run_on: Callable[..., RunFolder], pets: Path, teacher: Predictor
) -> None:
    folder = run_on()
    images = collect(f"folder:{pets}", DIGITS, 0.1, 0, "random", teacher).images
    seen = teacher.predict(images)
    confidence, label = seen.logits.softmax(dim=1).max(dim=1)
    kept, columns = read_samples(folder, COLLECTED)
    assert np.array_equal(kept, images.permute(0, 2, 3, 1).numpy())
    assert set(columns) == {"label", "confidence", "features"}
    assert columns["label"].dtype == np.int16 and columns["label"].tolist() == label.tolist()
    assert np.allclose(columns["confidence"], confidence) and columns["features"].dtype == np.float16
    assert content(folder.files, f"{COLLECTED}.json") == {
        "source": f"folder:{pets}", "title": "Folder pets", "ratio": 0.1, "original": 1198, "collecting": "random",
        "count": 120, "unseen": 256, "histogram": torch.bincount(label, minlength=10).tolist(),
        "mean_confidence": pytest.approx(confidence.mean().item()),
        "sha256": hashlib.sha256(images.numpy().tobytes()).hexdigest(),
    }  # fmt: skip
    manifest = json.loads((folder.path / "manifest.json").read_text())
    assert {f"{COLLECTED}.{ending}" for ending in ("png", "npz", "json")} <= manifest.keys()


def test_features_are_left_out_where_nobody_wants_them(run_on: Callable[..., RunFolder]) -> None:
    assert set(read_samples(run_on(features=False), COLLECTED)[1]) == {"label", "confidence"}


def test_a_run_without_collected_images_keeps_none(tiny: RunFolder) -> None:
    execute(tiny)
    assert not (tiny.path / "collected").exists()


def fingerprint_of(folder: RunFolder) -> str:
    return folder.environment()["fingerprint"]


def test_the_collected_pixels_are_part_of_a_runs_fingerprint(run_on: Callable[..., RunFolder], pets: Path) -> None:
    first, same = run_on(), run_on()
    assert fingerprint_of(first) == fingerprint_of(same)
    for path in pets.rglob("*.png"):
        Image.new("RGB", (10, 10), (int(path.stem.removeprefix("image-")) % 256, 0, 0)).save(path)
    assert fingerprint_of(run_on()) != fingerprint_of(first)


def test_no_label_of_a_source_reaches_a_method(run_on: Callable[..., RunFolder], pets: Path, tmp_path: Path) -> None:
    """Folders may be named by class: under other names the run is the same, bit by bit."""
    spec = make_spec(method="collected", teacher=TEACHER, collected=f"folder:{pets}", collecting="confidence")
    _, problem, _ = assemble(spec)
    for given in (problem.collected, problem.unseen):
        assert type(given) is Tensor and given.dtype == torch.uint8 and given.dim() == 4 and not vars(given)
    first = run_on(collecting="confidence")
    flat = tmp_path / "flat"
    flat.mkdir()
    for path in sorted(pets.rglob("*.png")):
        path.rename(flat / path.name)
    shutil.rmtree(pets)
    flat.rename(pets)
    second = run_on(collecting="confidence")
    assert torch.equal(collected_by(spec), problem.collected)
    assert student_hash(first) == student_hash(second) and fingerprint_of(first) == fingerprint_of(second)


def test_no_label_of_a_benchmark_reaches_a_method(run_on: Callable[..., RunFolder], tmp_path: Path) -> None:
    raw = write_mnist(tmp_path / "data", 200) / "MNIST" / "raw" / "train-labels-idx1-ubyte"
    first = run_on(collected="mnist")
    raw.write_bytes(raw.read_bytes()[:8] + bytes(reversed(raw.read_bytes()[8:])))
    assert student_hash(run_on(collected="mnist")) == student_hash(first)


def test_no_class_of_a_benchmark_in_folders_reaches_a_method(tmp_path: Path, teacher: Predictor) -> None:
    train = tmp_path / "data" / "cifar10" / "train"
    names = find_benchmark("cifar10").image.classes
    for number, name in enumerate(names):
        (train / name).mkdir(parents=True)
        for index in range(4):
            Image.new("RGB", (32, 32), (20 * number, 60 * index, 9)).save(train / name / f"{index}.png")
    before = collect("cifar10", DIGITS, 0.01, 0, "random", teacher)
    (train / "cat").rename(train / "aside")
    (train / "ship").rename(train / "cat")
    (train / "aside").rename(train / "ship")
    after = collect("cifar10", DIGITS, 0.01, 0, "random", teacher)
    assert keys(before.images) == keys(after.images) and len(before.images) == 12


def test_a_run_does_not_go_on_with_other_collected_images(runs: Path, pets: Path) -> None:
    fields = {"method": "collected", "collected": f"folder:{pets}", "ratio": 0.1}
    folder = new_run(runs, {"distill_steps": 3, "updates": 1}, **fields)
    for _ in range(2):
        assert execute(folder, lambda event: folder.command("stop")).state == "stopped"
    (pets / "cat" / "image-0.png").unlink()
    status = execute(folder)
    assert status.state == "failed" and "no longer gives the collected images that the run began with" in status.message


def test_the_disk_that_collected_images_take_is_foreseen(run_on: Callable[..., RunFolder], pets: Path) -> None:
    with_them = tiny_spec(method="collected", collected=f"folder:{pets}", ratio=0.1)
    without = with_them.model_copy(update={"collected": ""})
    config, original = config_of(with_them), find_benchmark("digits").original
    with_images, none = (spec.recorded_bytes(config, DIGITS.image, 64, original) for spec in (with_them, without))
    foreseen = with_images - none
    taken = sum(path.stat().st_size for path in (run_on().path / "collected").iterdir())
    assert 0.5 * taken < foreseen < 2 * taken


# --- the command line --------------------------------------------------------------------------------------------


def call(capsys: Any, *arguments: str) -> tuple[int, str, str]:
    status = main(["collected", *arguments])
    return status, *capsys.readouterr()


def test_the_sources_are_listed_with_what_is_there(capsys: Any, tmp_path: Path) -> None:
    write_mnist(tmp_path / "data", 12)
    (tmp_path / "data" / "imagenet").mkdir()
    status, out, _ = call(capsys)
    lines = {line.split()[0]: line for line in out.splitlines()}
    assert status == 0 and {"pool", "webvision", "isic", "imagenet", "digits"} <= lines.keys()
    assert "1,198 images" in lines["digits"] and "12 images in " in lines["mnist"]
    assert f"not in {tmp_path / 'data' / 'collected-pool'}" in lines["pool"] and "should hold" in lines["imagenet"]
    assert call(capsys, "list")[1] == out


def test_looking_shows_the_classes_that_the_teacher_sees(capsys: Any, pets: Path, teacher: Predictor) -> None:
    asked = ["look", f"folder:{pets}", "--benchmark", "digits", "--teacher", TEACHER, "--ratio", "0.1", "--seed", "2"]
    status, out, _ = call(capsys, *asked, "--collecting", "confidence", "--json")
    facts = json.loads(out)
    images = collect(f"folder:{pets}", DIGITS, 0.1, 2, "confidence", teacher).images
    assert (
        status == 0 and facts["histogram"] == class_histogram(teacher.predict(images).logits.argmax(dim=1), 10).tolist()
    )
    status, out, _ = call(capsys, *asked, "--collecting", "confidence")
    first, *lines = out.splitlines()
    assert "Folder pets: 120 images, 0.1 of 1,198, chosen by confidence" in first and len(lines) == 10
    assert [int(line.split()[1]) for line in lines] == facts["histogram"]
    assert max(lines, key=lambda line: line.count("█")).count("█") == 30


def test_a_zip_is_added_from_the_command_line(capsys: Any, pets: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "pets.zip", "w") as archive:
        archive.write(pets / "cat" / "image-0.png", "a.png")
    status, out, _ = call(capsys, "add", str(tmp_path / "pets.zip"), "--name", "pets")
    assert status == 0 and out.startswith("upload:pets: 1 images") and find_source("upload:pets").count() == 1
    for file, says in (("pets.zip", "another upload"), ("nothing.zip", "No such file"), ("runs", "")):
        status, out, err = call(capsys, "add", str(tmp_path / file), "--name", "pets")
        assert (status, out) == (2, "") and says in err and err.count("\n") == 1


def test_train_takes_what_is_collected_from_the_command_line(capsys: Any, pets: Path, runs: Path) -> None:
    asked = ["--collected", f"folder:{pets}", "--ratio", "0.1", "--collecting", "cross-entropy"]
    knobs = ["--method", "collected", "--distill-steps", "1", "--updates", "1", "--batch-size", "8"]
    assert main(["train", "--student", "lenet5-half", "--runs", str(runs), *knobs, *asked, "--json"]) == 0
    spec = json.loads(capsys.readouterr().out)["spec"]
    assert (spec["ratio"], spec["collecting"]) == (0.1, "cross-entropy")
