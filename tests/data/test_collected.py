"""Collected images: few, chosen as asked, without labels; what a run keeps of them."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import TEACHER, eventually, execute, new_run, student_hash, tiny_spec, write_mnist
from PIL import Image
from tampering import content
from torch import Tensor

from dfkd_core.cli.main import main
from dfkd_core.data import collecting
from dfkd_core.data.catalogue import find_benchmark
from dfkd_core.data.collecting import Collected, collect
from dfkd_core.data.pictures import to_channels
from dfkd_core.data.sources import (
    SHEETS,
    Shipped,
    available_sources,
    blind_order,
    check_collected,
    find_source,
    usual_source,
)  # fmt: skip
from dfkd_core.data.uploads import unpack, uploads
from dfkd_core.errors import RequestError
from dfkd_core.runs.assemble import assemble, config_of
from dfkd_core.runs.request import make_spec, why_not_data_free
from dfkd_core.runs.spec import RunSpec
from dfkd_core.runs.survey import COLLECTED
from dfkd_core.selection.collected import (
    Predictor,
    class_adaptive,
    class_histogram,
)  # fmt: skip
from dfkd_core.store import EventReader, RunFolder, read_samples, runs_in
from dfkd_core.teachers.cards import find_card
from dfkd_core.teachers.load import load_teacher

DIGITS = find_benchmark("digits")


@pytest.fixture(scope="module")
def teacher() -> Predictor:
    network, card = load_teacher(TEACHER)
    return Predictor(network, card.image.spec(), torch.device("cpu"))


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """400 different images in three folders, at different depths; all file names differ."""
    root = tmp_path / "pets"
    random = np.random.default_rng(0)
    for index in range(400):
        folder = root / ("cat", "dog/small", "emu")[index % 3]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = random.integers(0, 256, (10, 10, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"image-{index}.png")
    return root


def keys(images: Tensor | None) -> list[bytes]:
    return [] if images is None else [image.numpy().tobytes() for image in images]


# --- sources -----------------------------------------------------------------------------------------------------


def test_a_folder_is_listed_at_any_depth_without_what_is_no_image(pets: Path) -> None:
    (pets / "notes.txt").write_text("no image")
    (pets / ".thumbnails").mkdir()
    shutil.copy(pets / "cat" / "image-0.png", pets / ".thumbnails" / "image-0.png")
    (pets / "cat" / "._image-0.png").write_bytes(b"no image")
    source = find_source(f"folder:{pets}")
    assert (source.count(), source.count(7), source.is_there()) == (400, 7, True)


def test_only_the_chosen_files_are_read(pets: Path, teacher: Predictor) -> None:
    name, ratio = f"folder:{pets}", 10 / 1198
    chosen = collect(name, DIGITS, ratio, 0, "random", teacher)
    kept = set(keys(chosen.images) + keys(chosen.unseen))
    for path in pets.rglob("*.png"):
        pixels = np.asarray(Image.open(path).convert("L").resize((8, 8), Image.Resampling.BILINEAR))
        if pixels.tobytes() not in kept:
            path.write_bytes(b"damaged")
    again = collect(name, DIGITS, ratio, 0, "random", teacher)
    assert len(kept) == 266 and torch.equal(chosen.images, again.images)
    with pytest.raises(RequestError, match="cannot be read"):
        collect(name, DIGITS, ratio, 1, "random", teacher)


@pytest.mark.parametrize("collecting", ["random", "cross-entropy", "confidence"])
def test_the_seed_decides_and_unseen_images_are_others(pets: Path, teacher: Predictor, collecting: str) -> None:
    def with_seed(seed: int) -> Collected:
        return collect(f"folder:{pets}", DIGITS, 0.1, seed, collecting, teacher)

    first, again, other = with_seed(0), with_seed(0), with_seed(1)
    assert first.images.shape == (120, 1, 8, 8) and first.images.dtype == torch.uint8
    assert torch.equal(first.images, again.images) and keys(first.unseen) == keys(again.unseen)
    assert keys(first.images) != keys(other.images)
    assert not set(keys(first.images)) & set(keys(first.unseen)) and len(keys(first.unseen)) == 256
    assert len(set(keys(first.images))) == 120, "each at most once"


def test_without_others_nothing_is_unseen(pets: Path, teacher: Predictor) -> None:
    found = collect(f"folder:{pets}", DIGITS, 400 / 1198, 0, "random", teacher)
    assert len(found.images) == 400 and found.unseen is None


def test_the_teacher_chooses_what_it_is_surest_of(pets: Path, teacher: Predictor) -> None:
    everything = collect(f"folder:{pets}", DIGITS, 400 / 1198, 0, "random", teacher).images
    chosen = collect(f"folder:{pets}", DIGITS, 40 / 1198, 0, "cross-entropy", teacher).images
    confidence = teacher.predict(everything).logits.softmax(dim=1).amax(dim=1)
    surest = {keys(everything)[index] for index in confidence.argsort(descending=True)[:40].tolist()}
    assert set(keys(chosen)) == surest
    passes = class_adaptive(teacher.predict(everything).logits).tolist()
    passing = {key for key, passed in zip(keys(everything), passes, strict=True) if passed}
    assert len(passing) > 20
    chosen = collect(f"folder:{pets}", DIGITS, 20 / 1198, 0, "confidence", teacher).images
    assert set(keys(chosen)) < passing
    chosen = collect(f"folder:{pets}", DIGITS, (len(passing) + 10) / 1198, 0, "confidence", teacher).images
    assert set(keys(chosen)) > passing


def test_of_a_large_source_the_teacher_looks_at_a_part(
    pets: Path, teacher: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collecting, "UNSEEN", 5)
    asked: list[int] = []
    predict = Predictor.predict
    monkeypatch.setattr(
        Predictor, "predict", lambda self, images: (asked.append(len(images)), predict(self, images))[1]
    )
    collect(f"folder:{pets}", DIGITS, 10 / 1198, 0, "confidence", teacher)
    assert sum(asked) == 200


@pytest.mark.parametrize("names", [("x", "y/z", "w"), ("same", "same", "same"), ("cat/dog", ".", "emu")])
def test_the_names_of_folders_change_nothing(
    pets: Path, tmp_path: Path, teacher: Predictor, names: tuple[str, ...]
) -> None:
    before = collect(f"folder:{pets}", DIGITS, 0.1, 0, "random", teacher)
    for old, new in zip(("cat", "dog", "emu"), names, strict=True):
        (tmp_path / "others" / new).mkdir(parents=True, exist_ok=True)
        for path in (pets / old).rglob("*.png"):
            shutil.copy(path, tmp_path / "others" / new / path.name)
    after = collect(f"folder:{tmp_path / 'others'}", DIGITS, 0.1, 0, "random", teacher)
    assert keys(before.images) == keys(after.images) and keys(before.unseen) == keys(after.unseen)


def test_files_of_one_name_are_told_apart_by_their_contents(tmp_path: Path) -> None:
    contents = [b"bb", b"aa", b"c"]
    for folders in ("xyz", "zxy"):
        for folder, inside in zip(folders, contents, strict=True):
            (tmp_path / folders / folder).mkdir(parents=True)
            (tmp_path / folders / folder / "0.png").write_bytes(inside)
        order = blind_order((tmp_path / folders).rglob("*.png"))
        assert [path.read_bytes() for path in order] == [b"c", b"aa", b"bb"]


def test_digits_and_mnist_serve_each_other(tmp_path: Path, teacher: Predictor) -> None:
    write_mnist(tmp_path / "data", 300)
    mnist = find_benchmark("mnist")
    assert check_collected("", DIGITS, 0.05) == "mnist" and check_collected("", mnist, 0.01) == "digits"
    here = collect("mnist", DIGITS, 0.05, 0, "random", teacher)
    assert here.images.shape == (60, 1, 8, 8) and here.unseen is not None and here.unseen.shape == (240, 1, 8, 8)
    there = collect("digits", mnist, 0.01, 0, "random", replace(teacher, image=mnist.image))
    assert there.images.shape == (600, 1, 32, 32)
    colours = collect("digits", mnist, 0.01, 0, "random", replace(teacher, image=find_benchmark("cifar10").image))
    assert torch.equal(colours.images, there.images.expand(-1, 3, -1, -1))


def test_a_benchmark_is_counted_again_when_it_changes(tmp_path: Path) -> None:
    for count in (12, 30):
        shutil.rmtree(tmp_path / "data", ignore_errors=True)
        write_mnist(tmp_path / "data", count)
        assert find_source("mnist").count() == count


def test_channels_are_made_from_what_is_there() -> None:
    grey = torch.randint(0, 256, (2, 1, 3, 3)).byte()
    colours = torch.tensor([[255, 0, 0], [0, 255, 0], [0, 0, 255]]).byte()[:, :, None, None]
    assert torch.equal(to_channels(grey, 3), grey.repeat(1, 3, 1, 1)) and torch.equal(to_channels(grey, 1), grey)
    assert to_channels(colours, 1).flatten().tolist() == pytest.approx([76, 150, 29], abs=1)
    assert to_channels(colours, 4)[:, 3].unique().tolist() == [255] and torch.equal(
        to_channels(colours, 4)[:, :3], colours
    )
    assert to_channels(grey, 2).shape == (2, 2, 3, 3)


def test_an_upload_is_a_source(pets: Path, teacher: Predictor) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path in pets.rglob("*.png"):
            archive.write(path, str(path.relative_to(pets)))
    unpack(buffer, "mine", uploads())
    assert "upload:mine" in [source.name for source in available_sources()]
    assert collect("upload:mine", DIGITS, 0.1, 0, "random", teacher).images.shape == (120, 1, 8, 8)


# --- what is asked for -------------------------------------------------------------------------------------------


def test_the_usual_ratio_is_written_into_the_specification(tmp_path: Path, pets: Path) -> None:
    write_mnist(tmp_path / "data", 100)
    spec = make_spec(method="collected", teacher=TEACHER)
    assert (spec.ratio, spec.collected, spec.collecting) == (0.05, "mnist", "random")
    assert make_spec(method="collected", teacher=TEACHER, ratio=0.2, collected=f"folder:{pets}").ratio == 0.2
    assert RunSpec.model_validate(spec.model_dump()) == spec


def test_a_run_that_collects_nothing_does_not_depend_on_it() -> None:
    assert tiny_spec(ratio=0.5, collected="nowhere", collecting="confidence") == tiny_spec()


def test_of_a_folder_the_training_images_are_the_original_ones(tmp_path: Path, pets: Path) -> None:
    for split, each in (("train", 4), ("test", 2)):
        for index in range(10 * each):
            folder = tmp_path / "mine" / split / str(index % 10)
            folder.mkdir(parents=True, exist_ok=True)
            Image.new("L", (8, 8), index).save(folder / f"{index}.png")
    assert find_benchmark(f"folder:{tmp_path / 'mine'}", DIGITS.image).original == 40
    assert find_benchmark(f"folder:{tmp_path / 'mine' / 'test'}", DIGITS.image).original == 20
    spec = make_spec(
        method="collected", teacher=TEACHER, benchmark=f"folder:{tmp_path / 'mine'}", collected=f"folder:{pets}"
    )
    assert spec.ratio == 0.1 and len(collected_by(spec)) == 4


def collected_by(spec: RunSpec) -> Tensor:
    _, problem, _ = assemble(spec)
    assert problem.collected is not None
    return problem.collected


WRONG: dict[str, tuple[dict[str, Any], str, str]] = {
    "an unknown source": ({"collected": "omniglot"}, "collected", "should be one of digits, mnist"),
    "no such folder": ({"collected": "folder:/does/not/exist"}, "collected", "there is no folder /does/not/exist"),
    "no such upload": ({"collected": "upload:nothing"}, "collected", "there is no folder"),
    "an upload elsewhere": ({"collected": "upload:../../etc"}, "name", "letters, digits"),
    "one that is missing": ({"collected": "mnist"}, "DFKD_DATA", "download mnist"),
    "a pool that is missing": ({"collected": "pool"}, "collected", "collected-pool"),
    "more than there are": ({"ratio": 2}, "ratio", "asks for 2,396 of Digits 8×8, training images, which has 1,198 "
                            "images; should be at most 1."),
    "less than two": ({"ratio": 0.001}, "ratio", "should be at least 0.0017"),
    "a negative ratio": ({"ratio": -1}, "ratio", "greater than or equal to 0"),
    "another way to choose": ({"collecting": "best"}, "collecting", "'random', 'cross-entropy' or 'confidence'"),
}  # fmt: skip


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_request_gets_one_sentence(kind: str) -> None:
    fields, field, says = WRONG[kind]
    with pytest.raises(RequestError) as caught:
        make_spec(**{"method": "collected", "teacher": TEACHER, "collected": "digits", "not_data_free": True, **fields})
    assert caught.value.field == field and says in caught.value.expected and "\n" not in str(caught.value)


def test_the_ratios_that_are_named_fit() -> None:
    for ratio in (1.0, 0.0017):
        spec = make_spec(method="collected", teacher=TEACHER, collected="digits", ratio=ratio, not_data_free=True)
        assert spec.ratio == ratio
    mnist = find_benchmark("mnist")
    with pytest.raises(RequestError, match="should be at most 0.0199"):
        check_collected("digits", mnist, 0.02)  # 1,198 of 60,000 is 0.01997
    assert check_collected("digits", mnist, 0.0199) == "digits"


# --- that come with the lab --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "count", "shape"), [("mnist-sample", 300, (1, 28)), ("photo-patches", 320, (3, 32))])
def test_images_that_come_with_the_lab_are_there_all_different(name: str, count: int, shape: tuple[int, int]) -> None:
    source, (channels, side) = find_source(name), shape
    image = replace(DIGITS.image, channels=channels, size=side, mean=(0.5,) * channels, std=(0.5,) * channels)
    images = source.read(torch.arange(source.count()), image)
    assert source.is_there() and images.shape == (count, channels, side, side) and images.dtype == torch.uint8
    assert len(images.flatten(1).unique(dim=0)) == count
    assert (images.flatten(1).float().std(dim=1) > 10).all(), "none is blank"
    small = source.read(torch.tensor([5, 2]), DIGITS.image)
    assert small.shape == (2, 1, 8, 8)


def test_they_are_few_bytes_and_their_licences_are_named() -> None:
    files = [path for path in SHEETS.iterdir() if path.suffix != ".md"]
    licences = (SHEETS / "LICENCES.md").read_text()
    assert sum(path.stat().st_size for path in files) <= 300_000
    assert {path.name for path in files} == {
        source.sheet.name for source in available_sources() if isinstance(source, Shipped)
    }
    assert all(f"`{path.name}`" in licences for path in files) and "CC BY-SA 3.0" in licences


def test_the_sample_is_of_mnists_own_images_in_no_order(teacher: Predictor) -> None:
    seen = teacher.predict(find_source("mnist-sample").read(torch.arange(300), DIGITS.image)).logits.argmax(dim=1)
    assert len(seen[:20].unique()) > 4, "as a teacher of digits sees them"
    assert why_not_data_free("mnist-sample", find_card("mnist-lenet5-plain")[0], find_benchmark("mnist"))
    assert not why_not_data_free("mnist-sample", find_card(TEACHER)[0], DIGITS)


def test_without_any_data_they_are_what_is_collected() -> None:
    digits = make_spec(method="collected", teacher=TEACHER)
    assert (digits.collected, digits.ratio) == ("mnist-sample", 0.05) and len(collected_by(digits)) == 60
    colour = make_spec(method="collected", benchmark="cifar10")
    assert colour.collected == "photo-patches" and len(collected_by(colour)) == 320 == round(50_000 * colour.ratio)
    with pytest.raises(RequestError, match="asks for 500 of Pieces .+ 320 images; should be at most 0.0064"):
        make_spec(method="collected", benchmark="cifar10", ratio=0.01)


def test_the_usual_source_is_taken_where_it_is_there(tmp_path: Path) -> None:
    write_mnist(tmp_path / "data", 70)
    assert usual_source("digits") == "mnist" and make_spec(method="collected", teacher=TEACHER).collected == "mnist"


def test_hidfd_starts_on_a_machine_without_data(tmp_path: Path, start: Callable[..., Any]) -> None:
    """As it is typed, in an empty data folder, until it has done its first steps."""
    command = ["-m", "dfkd_core", "train", "--method", "hidfd", "--benchmark", "digits", "--preset", "demo"]
    process = start(*command, "--runs", str(tmp_path / "runs"))

    def steps() -> list[dict[str, Any]]:
        assert process.poll() is None, process.communicate()[1]
        return [row for run in runs_in(tmp_path / "runs") for row in EventReader(run).read() if row["type"] == "step"]

    assert eventually(steps) and not list((tmp_path / "data").glob("*"))


# --- in a run ----------------------------------------------------------------------------------------------------


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
