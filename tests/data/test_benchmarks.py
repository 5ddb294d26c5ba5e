"""Readers of data: what they give, and what they say about data that cannot be read."""

from __future__ import annotations

import pickle
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import TEACHER, execute, new_run, write_mnist
from PIL import Image
from scipy.io import savemat

from dfkd_core.data.catalogue import BENCHMARKS, find_benchmark
from dfkd_core.errors import RequestError
from dfkd_core.images import ImageSpec
from dfkd_core.runs.request import usual_student, usual_teacher

TWO = ImageSpec(1, 8, (0.5,), (0.5,), ("cat", "dog"))
COLOUR = ImageSpec(3, 8, (0.5,) * 3, (0.5,) * 3, ("cat", "dog"))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The data folder."""
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


def picture(path: Path, level: int = 100, size: tuple[int, int] = (8, 8), mode: str = "L") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, level if mode == "L" else (level, 0, 255 - level)).save(path)


def image_folder(root: Path, classes: tuple[str, ...] = ("cat", "dog"), each: int = 3) -> Path:
    for label, name in enumerate(classes):
        for index in range(each):
            picture(root / name / f"{index}.png", 50 * label + index)
    return root


# --- digits ----------------------------------------------------------------------------------------------------


def test_digits_are_split_without_overlap() -> None:
    from sklearn.datasets import load_digits

    train, test = (find_benchmark("digits").load(train=split) for split in (True, False))
    assert (len(train), len(test)) == (1198, 599) and train.images.shape[1:] == (1, 8, 8)
    assert train.images.dtype == torch.uint8 and int(train.images.max()) == 255
    everything = torch.cat([train.images, test.images]).flatten(1).sort(dim=0).values
    original = torch.from_numpy(np.round(load_digits().images * (255 / 16))).to(torch.uint8).flatten(1)
    assert torch.equal(everything, original.sort(dim=0).values), "every image is in one of the two"
    seen = {image.numpy().tobytes() for image in train.images}
    assert not any(image.numpy().tobytes() in seen for image in test.images)
    assert set(test.labels.tolist()) == set(train.labels.tolist()) == set(range(10))


def test_a_fingerprint_tells_data_apart() -> None:
    train, test = (find_benchmark("digits").load(train=split) for split in (True, False))
    assert train.fingerprint() != test.fingerprint() == find_benchmark("digits").load(train=False).fingerprint()


def test_normalised_pixels_have_the_moments_that_the_specification_promises() -> None:
    digits = find_benchmark("digits")
    stored = digits.load(train=True).images
    images = digits.image.from_bytes(stored)
    assert torch.equal(digits.image.to_pixels(images).mul(255).round().byte(), stored)
    assert images.mean().item() == pytest.approx(0, abs=0.1) and images.std().item() == pytest.approx(1, abs=0.1)


# --- torchvision's -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "dataset"), [("mnist", "MNIST"), ("fashion-mnist", "FashionMNIST")])
def test_mnist_files_are_read_and_resized(data: Path, name: str, dataset: str) -> None:
    benchmark = find_benchmark(name)
    assert not benchmark.is_there()
    write_mnist(data, 12, dataset)
    assert benchmark.is_there()
    train, test = (benchmark.load(train=split) for split in (True, False))
    assert train.images.shape == (12, 1, 32, 32) and train.images.dtype == torch.uint8
    assert test.labels.tolist() == [0, 1, 2, 3, 4, 5] and test.labels.dtype == torch.int64


def test_cifar10_is_read_from_image_folders(data: Path) -> None:
    names = BENCHMARKS["cifar10"].image.classes
    for split in ("train", "test"):
        for label, name in enumerate(names):
            picture(data / "cifar10" / split / name / "0.png", 10 * label, (32, 32), "RGB")
    assert find_benchmark("cifar10").is_there()
    test = find_benchmark("cifar10").load(train=False)
    assert test.images.shape == (10, 3, 32, 32) and test.labels.tolist() == list(range(10))
    assert test.images[3, :, 5, 5].tolist() == [30, 0, 225]


@pytest.mark.parametrize("place", ["cifar10", "cifar-10-batches-py"])
def test_cifar10_is_found_in_torchvisions_place_too(data: Path, place: str) -> None:
    (data / place).mkdir()
    assert find_benchmark("cifar10").is_there()


def test_tiny_imagenet_is_read_from_its_own_layout(data: Path) -> None:
    root, names = data / "tiny-imagenet-200", ("n02", "n01")
    for index, name in enumerate(names):
        picture(root / "train" / name / "images" / f"{name}_0.JPEG", 40, (64, 64), "RGB")
        picture(root / "val" / "images" / f"val_{index}.JPEG", 40, (64, 64), "RGB")
    (root / "wnids.txt").write_text("\n".join(names))
    rows = [f"val_{index}.JPEG\t{name}\t0\t0\t1\t1\n" for index, name in enumerate(reversed(names))]
    (root / "val" / "val_annotations.txt").write_text("".join(rows))
    benchmark = find_benchmark("tiny-imagenet")
    assert benchmark.load(train=True).labels.tolist() == [0, 1]
    test = benchmark.load(train=False)
    assert test.labels.tolist() == [1, 0] and test.images.shape == (2, 3, 64, 64)


def write_svhn(data: Path, split: str, pixels: np.ndarray, labels: list[int]) -> None:
    (data / "svhn").mkdir(exist_ok=True)
    columns = {"X": pixels, "y": np.array(labels, np.uint8)[:, None]}
    savemat(data / "svhn" / f"{split}_32x32.mat", columns, do_compression=True)


def test_svhn_is_read_from_its_mat_files(data: Path) -> None:
    """Images stand in their last dimension; the digit 0 is labelled 10."""
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3, 4), dtype=np.uint8)
    write_svhn(data, "train", pixels, [1, 10, 9, 5])
    write_svhn(data, "test", pixels[..., :2], [10, 2])
    benchmark = find_benchmark("svhn")
    assert benchmark.is_there() and benchmark.files(train=True) is None
    train, test = (benchmark.load(train=split) for split in (True, False))
    assert train.labels.tolist() == [1, 0, 9, 5] and test.labels.tolist() == [0, 2]
    assert train.images.shape == (4, 3, 32, 32) and train.images.dtype == torch.uint8
    assert train.images[2, 1, 7, 30] == pixels[7, 30, 1, 2]


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda file: file.unlink(), "it has no test_32x32.mat"),
        (lambda file: file.write_bytes(b"not a matrix" * 40), "test_32x32.mat cannot be read"),
        (
            lambda file: savemat(file, {"X": np.zeros((32, 32, 3, 3)), "y": np.ones((3, 1))}),
            "should have X of 32×32×3",
        ),
        (lambda file: savemat(file, {"y": np.ones((3, 1))}), "test_32x32.mat cannot be read (KeyError: 'X')"),
    ],
)
def test_what_is_amiss_in_svhns_files_is_said(data: Path, spoil: Callable[[Path], object], says: str) -> None:
    for split in ("train", "test"):
        write_svhn(data, split, np.zeros((32, 32, 3, 1), np.uint8), [1])
    spoil(data / "svhn" / "test_32x32.mat")
    with pytest.raises(RequestError) as caught:
        find_benchmark("svhn").load(train=False)
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_cifar100_is_read_as_it_is_unpacked(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision import datasets

    root = data / "cifar-100-python"
    root.mkdir()
    for name, count in (("train", 3), ("test", 2)):
        rows = np.arange(count * 3072, dtype=np.uint32).astype(np.uint8).reshape(count, 3072)
        content = {"data": rows, "fine_labels": [99, 0, 7][:count], "coarse_labels": [1, 2, 3][:count]}
        (root / name).write_bytes(pickle.dumps(content))
    (root / "meta").write_bytes(pickle.dumps({"fine_label_names": ["apple"]}))
    monkeypatch.setattr(datasets.CIFAR100, "_check_integrity", lambda self: True)  # those are not the published bytes
    monkeypatch.setattr(datasets.cifar, "check_integrity", lambda *given: True)
    benchmark = find_benchmark("cifar100")
    train, test = (benchmark.load(train=split) for split in (True, False))
    assert train.images.shape == (3, 3, 32, 32) and train.labels.tolist() == [99, 0, 7] and len(test) == 2
    names = benchmark.image.classes
    assert len(names) == 100 == len(set(names)) and list(names) == sorted(names) and names[99] == "worm"


SYNSETS = ("n01440764", "n02102040", "n02979186")


def write_imagenet(root: Path, synsets: tuple[str, ...]) -> None:
    for split, each in (("train", 2), ("val", 1)):
        for label, name in enumerate(synsets):
            for index in range(each):
                picture(root / split / name / f"{split}_{name}_{index}.JPEG", 60 * label, (20, 16), "RGB")


def test_imagenets_layout_with_a_part_of_its_classes(data: Path) -> None:
    """As a folder: its synsets are the classes, val/ is what one tests on."""
    write_imagenet(data / "part", SYNSETS)
    benchmark = find_benchmark(f"folder:{data / 'part'}")
    assert benchmark.image.classes == SYNSETS and benchmark.original == 6
    assert benchmark.load(train=True).labels.tolist() == [0, 0, 1, 1, 2, 2]
    test = benchmark.listing(train=False)
    assert test is not None and [label for _, label in test.files] == [0, 1, 2]
    assert all("val" in path.parts for path, _ in test.files)


def test_imagenette_has_ten_synsets_in_order(data: Path) -> None:
    synsets = (*SYNSETS, "n03000684", "n03028079", "n03394916", "n03417042", "n03425413", "n03445777", "n03888257")
    write_imagenet(data / "imagenette2", synsets)
    listing = find_benchmark("imagenette").listing(train=False)
    assert listing is not None and not listing.warning and listing.labels["n03888257"] == 9
    assert find_benchmark("imagenette").image.classes[9] == "parachute"


def test_a_folder_of_large_images_gets_a_student_for_them(data: Path) -> None:
    assert usual_student("folder:anywhere", size=224) == "resnet18+7x7+maxpool" == usual_student("imagenet", size=224)
    assert usual_student("folder:anywhere", size=32) == "resnet18" == usual_student("cifar100", size=32)


def test_without_a_teacher_one_is_told_which_papers_take() -> None:
    with pytest.raises(RequestError, match="no classifier one for svhn; import one, of papers mostly a WRN-40-2: "):
        usual_teacher("svhn")


@pytest.mark.parametrize("name", [name for name, benchmark in BENCHMARKS.items() if benchmark.where])
@pytest.mark.parametrize("empty", [False, True], ids=["no folder", "an empty folder"])
def test_missing_data_are_answered_with_the_folder_and_how_to_get_them(data: Path, name: str, empty: bool) -> None:
    benchmark = find_benchmark(name)
    if empty:
        (data / benchmark.where).mkdir(parents=True)
    with pytest.raises(RequestError) as caught:
        benchmark.load(train=False)
    assert caught.value.field == "DFKD_DATA" and str(data) in str(caught.value)
    said = str(caught.value)
    assert f"should hold {benchmark.expected}" in said or (empty and "but not in a layout" in said)
    assert (f"download {name}" in str(caught.value)) == (benchmark.download is not None)


# --- folders ---------------------------------------------------------------------------------------------------


def folder_benchmark(root: Path, image: ImageSpec = TWO):
    return find_benchmark(f"folder:{root}", image)


def test_a_folder_of_images_by_class_is_read_in_alphabetical_order(tmp_path: Path) -> None:
    root = image_folder(tmp_path / "pets", ("dog", "cat"))
    picture(root / "dog" / "big.jpg", 200, (50, 20))
    (root / "dog" / "notes.txt").write_text("not an image")
    (root / ".thumbnails").mkdir()
    data = folder_benchmark(root).load(train=False)
    assert data.images.shape == (7, 1, 8, 8) and data.labels.tolist() == [0, 0, 0, 1, 1, 1, 1]
    assert data.images[0].unique().tolist() == [50] and data.images[3].unique().tolist() == [0]


def test_a_folder_may_have_its_own_split(tmp_path: Path) -> None:
    image_folder(tmp_path / "pets" / "train", each=4), image_folder(tmp_path / "pets" / "test", each=2)
    benchmark = folder_benchmark(tmp_path / "pets")
    assert (len(benchmark.load(train=True)), len(benchmark.load(train=False))) == (8, 4)


@pytest.mark.parametrize(("image", "mode"), [(TWO, "RGB"), (COLOUR, "L")], ids=["grey from colour", "colour from grey"])
def test_images_are_brought_to_the_teachers_channels(tmp_path: Path, image: ImageSpec, mode: str) -> None:
    for name in ("cat", "dog"):
        picture(tmp_path / "pets" / name / "0.png", 120, mode=mode)
    assert folder_benchmark(tmp_path / "pets", image).load(train=True).images.shape == (2, image.channels, 8, 8)


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few hundred bytes that announces so many pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = zlib.compress(b"\0" * 1000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


BAD_IMAGES: dict[str, tuple[bytes, str]] = {
    "text": (b"not an image at all", "cannot be read"),
    "empty": (b"", "cannot be read"),
    "cut off": (bomb(40, 40)[:80], "cannot be read"),
    "fewer pixels than announced": (bomb(4000, 4000), "cannot be read"),
    "a bomb": (bomb(9_000, 9_000), "at most 25,000,000 pixels"),
    "a large bomb": (bomb(60_000, 60_000), "at most 25,000,000 pixels"),
    "of another format": (b"P5\n8 8\n255\n" + b"\0" * 64, "cannot be read"),
}


@pytest.mark.parametrize("kind", BAD_IMAGES)
def test_a_bad_image_is_named_and_not_opened(tmp_path: Path, kind: str, recwarn: pytest.WarningsRecorder) -> None:
    content, says = BAD_IMAGES[kind]
    path = image_folder(tmp_path / "pets") / "cat" / "bad.png"
    path.write_bytes(content)
    with pytest.raises(RequestError) as caught:
        folder_benchmark(tmp_path / "pets").load(train=False)
    assert (caught.value.field, caught.value.value) == ("image", str(path)) and says in caught.value.expected
    assert "\n" not in str(caught.value) and not recwarn.list


BAD_FOLDERS: dict[str, tuple[Callable[[Path], object], str]] = {
    "one class too many": (lambda root: image_folder(root, ("cat", "dog", "emu")), "should have 2 subfolders"),
    "one class too few": (lambda root: image_folder(root, ("cat",)), "it has 1"),
    "no classes": (lambda root: root.mkdir(), "it has 0"),
    "classes without images": (
        lambda root: [(root / name).mkdir(parents=True) for name in ("cat", "dog")],
        "hold images",
    ),
}


@pytest.mark.parametrize("kind", BAD_FOLDERS)
def test_a_bad_folder_is_named(tmp_path: Path, kind: str) -> None:
    make, says = BAD_FOLDERS[kind]
    make(tmp_path / "pets")
    with pytest.raises(RequestError) as caught:
        folder_benchmark(tmp_path / "pets").load(train=False)
    assert caught.value.field == "benchmark" and "pets" in str(caught.value) and says in caught.value.expected


@pytest.mark.parametrize(
    ("name", "image", "field", "says"),
    [
        ("folder:/does/not/exist", TWO, "benchmark", "a folder that exists"),
        ("folder:", TWO, "benchmark", "a folder that exists"),
        ("omniglot", TWO, "benchmark", "should be one of digits"),
    ],
)
def test_a_benchmark_that_is_not_there_is_named(name: str, image: ImageSpec | None, field: str, says: str) -> None:
    with pytest.raises(RequestError) as caught:
        find_benchmark(name, image)
    assert caught.value.field == field and says in caught.value.expected


def test_a_run_evaluates_on_a_folder(tmp_path: Path, runs: Path) -> None:
    root = image_folder(tmp_path / "mine", tuple(str(digit) for digit in range(10)), each=1)
    folder = new_run(runs, {"iterations": 1}, benchmark=f"folder:{root}", teacher=TEACHER)
    assert execute(folder).result["measure"] == "accuracy"
    (root / "3" / "0.png").write_bytes(b"no longer an image")
    folder = new_run(runs, {"iterations": 1}, benchmark=f"folder:{root}", teacher=TEACHER)
    status = execute(folder)
    assert status.state == "failed" and status.message.startswith("Image = ") and "cannot be read" in status.message
