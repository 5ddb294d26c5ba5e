"""Collected images: where they come from, how they are chosen, what is refused."""

from __future__ import annotations

import io
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import TEACHER, collected_by, eventually, keys, tiny_spec, write_mnist
from PIL import Image

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
)
from dfkd_core.data.uploads import unpack, uploads
from dfkd_core.errors import RequestError
from dfkd_core.runs.request import make_spec, why_not_data_free
from dfkd_core.runs.spec import RunSpec
from dfkd_core.selection.collected import Predictor, class_adaptive
from dfkd_core.store import EventReader, runs_in
from dfkd_core.teachers.cards import find_card
from dfkd_core.teachers.load import load_teacher

DIGITS = find_benchmark("digits")


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


def test_the_sample_is_of_mnists_own_images_in_no_order() -> None:
    network, card = load_teacher("digits-resnet20-plain")
    sees = Predictor(network, card.image.spec(), torch.device("cpu"))
    seen = sees.predict(find_source("mnist-sample").read(torch.arange(300), DIGITS.image)).logits.argmax(dim=1)
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
