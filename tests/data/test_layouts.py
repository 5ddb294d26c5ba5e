"""Benchmarks and sources of collected images, from a few tiny files in the layout that each is usually found in."""

from __future__ import annotations

import gzip
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import write_mnist
from PIL import Image
from torchvision import datasets

from dfkd_core.data.catalogue import BENCHMARKS, Benchmark, find_benchmark
from dfkd_core.data.sources import Source, find_source
from dfkd_core.errors import RequestError
from dfkd_core.images import ImageSpec

SMALL = ImageSpec(3, 8, (0.5,) * 3, (0.5,) * 3, ("cat", "dog"))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The data folder."""
    return tmp_path / "data"


def write(path: Path, level: int = 0) -> None:
    """One real image, of one colour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (12, 9), (level, 100, 200)).save(path)


def small(name: str) -> Benchmark:
    """The benchmark with images of 8 pixels, so that a thousand of them fit anywhere."""
    found = find_benchmark(name)
    return replace(found, image=replace(found.image, size=8))


def levels(images: torch.Tensor) -> list[int]:
    """The red of each image, which ``write`` sets; JPEG may be off by a little."""
    return images[:, 0].float().mean(dim=(1, 2)).round().int().tolist()


def read_all(source: Source) -> torch.Tensor:
    return source.read(torch.arange(source.count()), SMALL)


# --- benchmarks --------------------------------------------------------------------------------------------------


def test_cinic10_is_trained_on_train_and_evaluated_on_test(data: Path) -> None:
    names = find_benchmark("cinic10").image.classes
    for label, name in enumerate(names):
        for split, level in (("train", 0), ("valid", 100), ("test", 200)):
            write(data / "cinic-10" / split / name / f"{name}-{split}.png", level + label)
    train, test = (find_benchmark("cinic10").load(train=split) for split in (True, False))
    assert train.labels.tolist() == test.labels.tolist() == list(range(10)) and names[3] == "cat"
    assert levels(train.images) == list(range(10)) and levels(test.images) == list(range(200, 210))
    assert test.images.shape == (10, 3, 32, 32) and test.images.dtype == torch.uint8


def write_ham(data: Path, lesions: int = 60) -> dict[str, str]:
    """A table like HAM10000's: every third lesion was photographed twice. Image -> lesion."""
    root, classes = data / "ham10000", find_benchmark("ham10000").image.classes
    rows, lesion_of = ["lesion_id,image_id,dx,dx_type,age,sex,localization"], {}
    for number in range(lesions):
        for _ in range(2 if number % 3 == 0 else 1):
            image = f"ISIC_{24306 + len(lesion_of):07d}"
            lesion_of[image] = f"HAM_{number:07d}"
            rows.append(f"{lesion_of[image]},{image},{classes[number % 7]},histo,80.0,male,scalp")
            write(root / f"HAM10000_images_part_{1 + len(lesion_of) % 2}" / f"{image}.jpg", number)
    (root / "HAM10000_metadata.csv").write_text("\n".join(rows) + "\n")
    return lesion_of


def test_ham10000_is_split_by_lesion(data: Path) -> None:
    lesion_of = write_ham(data)
    benchmark = small("ham10000")
    files = {split: benchmark.files(train=split) or [] for split in (True, False)}
    found = {split: {path.stem for path, _ in files[split]} for split in files}
    assert found[True] | found[False] == set(lesion_of) and not found[True] & found[False]
    lesions = {split: {lesion_of[image] for image in found[split]} for split in found}
    assert not lesions[True] & lesions[False], "no lesion is in both"
    assert 0.1 < len(lesions[False]) / 60 < 0.3
    for path, label in files[True] + files[False]:
        assert label == int(lesion_of[path.stem].removeprefix("HAM_")) % 7
    test = benchmark.load(train=False)
    assert test.images.shape == (len(found[False]), 3, 8, 8) and find_benchmark("ham10000").image.size == 224


def test_the_split_of_ham10000_stays_when_images_are_added(data: Path) -> None:
    write_ham(data, 30)
    before = {path.name for path, _ in small("ham10000").files(train=False) or []}
    write_ham(data, 60)
    assert before and before <= {path.name for path, _ in small("ham10000").files(train=False) or []}


def test_an_image_that_ham10000s_table_has_and_the_folders_have_not_is_named(data: Path) -> None:
    write_ham(data)
    path, _ = (small("ham10000").files(train=True) or [])[3]
    path.unlink()
    with pytest.raises(RequestError, match=f"{path.name} is missing"):
        small("ham10000").load(train=True)


def test_imagenet_has_a_thousand_classes_in_the_order_of_their_names(data: Path) -> None:
    names = [f"n{number:08d}" for number in range(1000)]
    tiny = np.zeros((4, 4, 3), np.uint8)
    for name in reversed(names):
        for split in ("train", "val"):
            folder = data / "imagenet" / split / name
            folder.mkdir(parents=True)
            Image.fromarray(tiny).save(folder / f"{name}_{split}.JPEG")
    write(data / "imagenet" / "train" / names[7] / "n_200.JPEG", 250)
    assert [label for _, label in small("imagenet").files(train=False) or []] == list(range(1000))
    train = small("imagenet").load(train=True)
    (bright,) = [index for index, level in enumerate(levels(train.images)) if level > 200]
    assert len(train) == 1001 and train.labels[bright] == 7
    assert find_benchmark("imagenet").image.size == 224 and find_benchmark("imagenet").original == 1_281_167


def test_imagenets_images_without_class_folders_are_refused(data: Path) -> None:
    write(data / "imagenet" / "val" / "ILSVRC2012_val_00000001.JPEG")
    with pytest.raises(RequestError, match="should have 1000 subfolders, one a class; it has 0"):
        small("imagenet").load(train=False)


@pytest.mark.parametrize(("name", "place"), [("tiny-imagenet", "tiny-imagenet-200"), ("tiny-imagenet-10",) * 2])
def test_both_tiny_imagenets_are_read_from_their_own_folder(data: Path, name: str, place: str) -> None:
    root, wnids = data / place, ("n02", "n01")
    for index, wnid in enumerate(wnids):
        write(root / "train" / wnid / "images" / f"{wnid}_0.JPEG", 10 + 100 * index)
        write(root / "val" / "images" / f"val_{index}.JPEG", 20 + 100 * index)
    (root / "wnids.txt").write_text("\n".join(wnids))
    (root / "val" / "val_annotations.txt").write_text("val_1.JPEG\tn01\t0\t0\t1\t1\nval_0.JPEG\tn02\t0\t0\t1\t1\n")
    train, test = (find_benchmark(name).load(train=split) for split in (True, False))
    assert train.labels.tolist() == [0, 1] and np.allclose(levels(train.images), [10, 110], atol=3)
    assert test.labels.tolist() == [1, 0] and np.allclose(levels(test.images), [120, 20], atol=3)


def test_tiny_imagenets_test_images_may_be_sorted_into_folders(data: Path) -> None:
    root = data / "tiny-imagenet-10"
    for level, place in ((10, "n02"), (110, "n01/images")):
        write(root / "val" / place / "val_7.JPEG", level)
    (root / "wnids.txt").write_text("n02\nn01")
    test = find_benchmark("tiny-imagenet-10").load(train=False)
    assert test.labels.tolist() == [0, 1] and np.allclose(levels(test.images), [10, 110], atol=3)


@pytest.mark.parametrize("place", [".", "MNIST", "mnist/raw", "sets/mnist"])
@pytest.mark.parametrize("dash", ["-", "."])
def test_mnist_is_read_packed_and_wherever_it_lies(
    data: Path, place: str, dash: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = write_mnist(data / "made", 6) / "MNIST" / "raw"
    folder = data / place if place != "." else data / "MNIST"
    folder.mkdir(parents=True, exist_ok=True)
    for file in raw.iterdir():
        (folder / f"{file.name.replace('-idx', dash + 'idx')}.gz").write_bytes(gzip.compress(file.read_bytes()))
    shutil.rmtree(data / "made")
    if place == ".":  # the data folder is that of the set
        monkeypatch.setenv("DFKD_DATA", str(folder))
    assert find_benchmark("mnist").is_there() and not find_benchmark("fashion-mnist").is_there()
    assert find_benchmark("mnist").load(train=True).labels.tolist() == list(range(6))


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"", "no file of that kind"), (b"\0\0\x08\x03" + b"\x7f" * 12, "announces"), (b"\0\0\x08\x03\0\0\0\2", "kind")],
)
def test_a_file_of_mnist_that_lies_is_refused(data: Path, content: bytes, says: str) -> None:
    write_mnist(data, 6)
    (data / "MNIST" / "raw" / "t10k-images-idx3-ubyte").write_bytes(content)
    with pytest.raises(RequestError, match=says):
        find_benchmark("mnist").load(train=False)


@pytest.mark.parametrize("place", [".", "cifar10", "archives"])
def test_cifar10s_batches_are_found_wherever_they_lie(data: Path, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (data / place / "cifar-10-batches-py").mkdir(parents=True)
    asked: list[str] = []

    class CIFAR10:
        def __init__(self, root: str, train: bool, download: bool) -> None:
            asked.append(root)
            self.data, self.targets = np.zeros((2, 32, 32, 3), np.uint8), [3, 4]

    monkeypatch.setattr(datasets, "CIFAR10", CIFAR10)
    test = find_benchmark("cifar10").load(train=False)
    assert test.images.shape == (2, 3, 32, 32) and test.labels.tolist() == [3, 4]
    assert [Path(root).resolve() for root in asked] == [(data / place).resolve()]


def test_not_there_is_another_sentence_than_in_another_layout(data: Path) -> None:
    for name in ("cifar10", "cinic10", "mnist"):
        with pytest.raises(RequestError, match="should hold"):
            find_benchmark(name).load(train=False)
    for place in ("cifar10/cifar-10-batches-py/data_batch_1", "cinic-10/images/1.png", "MNIST/t10k.parquet"):
        write(data / f"{place}.png")
    for name in ("cifar10", "cinic10", "mnist"):
        with pytest.raises(RequestError, match="but not in a layout of .* that is known: .*; it holds"):
            find_benchmark(name).load(train=False)


def test_a_layout_without_images_says_where_it_looked(data: Path) -> None:
    (data / "tiny-imagenet-10").mkdir(parents=True)
    (data / "tiny-imagenet-10" / "wnids.txt").write_text("n01\nn02")
    with pytest.raises(RequestError, match="has .*tiny-imagenet-10, but not in a layout .*; it holds wnids.txt"):
        find_benchmark("tiny-imagenet-10").load(train=True)


LARGE = ["ham10000", "imagenet", "cinic10", "tiny-imagenet", "tiny-imagenet-10"]


@pytest.mark.parametrize("name", LARGE)
def test_looking_whether_a_benchmark_is_there_reads_nothing(
    data: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    benchmark = find_benchmark(name)
    assert not benchmark.is_there()
    (data / benchmark.where).mkdir(parents=True)
    for reading in ("iterdir", "glob", "rglob", "open", "read_text", "read_bytes"):
        monkeypatch.setattr(Path, reading, None)
    assert benchmark.is_there()


def test_every_benchmark_says_how_many_images_its_teachers_had() -> None:
    assert all(benchmark.original >= 1000 for benchmark in BENCHMARKS.values())


# --- sources -----------------------------------------------------------------------------------------------------


def test_webvision_is_collected_from_both_of_its_halves(data: Path) -> None:
    write(data / "webvision" / "google" / "q0001" / "a.jpg", 50)
    write(data / "webvision" / "flickr" / "q0002" / "b.jpg", 150)
    write(data / "webvision" / "val_images_256" / "val000001.jpg", 250)
    source = find_source("webvision")
    assert source.count() == 2 and np.allclose(levels(read_all(source)), [50, 150], atol=3)


def test_one_half_of_webvision_serves_too(data: Path) -> None:
    write(data / "webvision" / "google" / "q0001" / "a.jpg", 50)
    assert find_source("webvision").is_there() and find_source("webvision").count() == 1


def test_isic_is_collected_without_the_images_of_ham10000(data: Path) -> None:
    ham = write_ham(data)
    for number, image in enumerate([*ham, "ISIC_0000000", "ISIC_0000001_downsampled"]):
        write(data / "isic" / "ISIC_2019_Training_Input" / f"{image}.jpg", number % 200)
    assert find_source("isic").count() == len(ham) + 2
    others = find_source("isic", find_benchmark("ham10000"))
    assert others.count() == 2 and read_all(others).shape == (2, 3, 8, 8)
    assert find_source("isic", find_benchmark("cifar10")).count() == len(ham) + 2
    (data / "ham10000").rename(data / "elsewhere")
    assert find_source("isic", find_benchmark("ham10000")).count() == len(ham) + 2, "nothing to tell them by"


def test_the_pool_is_collected_without_tiny_imagenets_own_images(data: Path) -> None:
    for place in ("collected-pool/n01", "tiny-imagenet-10/train/n01/images"):
        write(data / place / "n01_1.JPEG", 30)
    write(data / "collected-pool" / "n01" / "n01_2.JPEG", 60)
    (data / "tiny-imagenet-10" / "wnids.txt").write_text("n01")
    (data / "tiny-imagenet-10" / "val" / "images").mkdir(parents=True)
    write(data / "tiny-imagenet-10" / "val" / "images" / "val_0.JPEG")
    (data / "tiny-imagenet-10" / "val" / "val_annotations.txt").write_text("val_0.JPEG\tn01\t0\t0\t1\t1\n")
    assert find_source("pool").count() == 2
    assert np.allclose(levels(read_all(find_source("pool", find_benchmark("tiny-imagenet-10")))), [60], atol=3)


def test_imagenet_is_collected_from_its_training_images_and_only_chosen_ones_are_read(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wnids = [f"n{number:08d}" for number in range(1000)]
    for number, wnid in enumerate(wnids):
        folder = data / "imagenet" / "train" / wnid
        folder.mkdir(parents=True)
        (folder / f"{wnid}_1.JPEG").write_bytes(b"not read")
        if number in (3, 500):
            write(folder / f"{wnid}_1.JPEG", number % 256)
    source = find_source("imagenet")
    assert source.count() == 1000
    assert np.allclose(levels(source.read(torch.tensor([500, 3]), SMALL)), [244, 3], atol=3)


@pytest.mark.parametrize("name", ["pool", "webvision", "isic", "imagenet", "ham10000", "mnist"])
def test_a_source_that_is_missing_names_its_folder(data: Path, name: str) -> None:
    source = find_source(name)
    assert not source.is_there()
    with pytest.raises(RequestError, match=str(data)):
        source.count()


def test_names_of_classes_are_told_apart() -> None:
    for name in LARGE:
        assert max(Counter(find_benchmark(name).image.classes).values()) == 1
