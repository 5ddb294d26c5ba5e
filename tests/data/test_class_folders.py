"""Folders of images as people have them: matched with their classes, counted, or refused in one sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import call
from conftest import TEACHER
from PIL import Image

from dfkd_core.data.catalogue import Benchmark, find_benchmark
from dfkd_core.data.layouts import NO_SPLIT
from dfkd_core.errors import RequestError
from dfkd_core.images import ImageSpec
from dfkd_core.teachers.cards import find_card

ANIMALS = ("cat", "dog", "Egyptian goose")
DIGITS = tuple("0123456789")


def image_of(classes: tuple[str, ...]) -> ImageSpec:
    return ImageSpec(1, 8, (0.5,), (0.5,), classes)


def write(root: Path, *folders: str, each: int = 2, suffix: str = ".png") -> Path:
    """Images whose grey value is 10 × the number of their folder."""
    for number, folder in enumerate(folders):
        (root / folder).mkdir(parents=True, exist_ok=True)
        for index in range(each):
            Image.new("L", (8, 8), 10 * number).save(root / folder / f"{index}{suffix}")
    return root


def benchmark(root: Path, classes: tuple[str, ...]) -> Benchmark:
    return find_benchmark(f"folder:{root}", image_of(classes))


def labels(root: Path, classes: tuple[str, ...]) -> list[int]:
    """The label of each folder that ``write`` made, in its order."""
    data = benchmark(root, classes).load(train=False)
    found = dict(zip((data.images[:, 0, 0, 0] // 10).tolist(), data.labels.tolist(), strict=True))
    return [found[number] for number in sorted(found)]


def warning(root: Path, classes: tuple[str, ...]) -> str:
    listing = benchmark(root, classes).listing(train=False)
    assert listing is not None
    return listing.warning


# --- which class is which ----------------------------------------------------------------------------------------

TOLD = {
    "by name": (("dog", "Egyptian goose", "cat"), ANIMALS, [1, 2, 0]),
    "whatever the case and the dashes": (("DOG", "egyptian_goose", "Cat"), ANIMALS, [1, 2, 0]),
    "with numbers in front": (("0_dog", "1_cat", "2.egyptian goose"), ANIMALS, [1, 0, 2]),
    "numbers as names": (("9", "3", *"01245678"), DIGITS, [9, 3, 0, 1, 2, 4, 5, 6, 7, 8]),
    "by number": (("2", "0", "1"), ANIMALS, [2, 0, 1]),
    "by number in a name": (("n2 größe", "n0 größe", "n1 größe"), ANIMALS, [2, 0, 1]),
    "by a number before its name": (("2.Sooty", "0.Laysan", "1.Black"), ("x", "y", "z"), [2, 0, 1]),
    "by a word": (
        ("two", "zero", "one", "three", "four", "five", "six", "seven", "eight", "nine"),
        DIGITS,
        [2, 0, 1, 3, 4, 5, 6, 7, 8, 9],
    ),
}


@pytest.mark.parametrize("kind", TOLD)
def test_folders_are_matched_by_what_they_say(tmp_path: Path, kind: str) -> None:
    folders, classes, expected = TOLD[kind]
    root = write(tmp_path / "pets", *folders)
    assert labels(root, classes) == expected and warning(root, classes) == ""


DOUBTFUL = {
    "numbers from 1": (("10", *"123456789"), DIGITS, [9, 0, 1, 2, 3, 4, 5, 6, 7, 8], "10 is 9"),
    "other names": (("pear", "apple", "fig"), ANIMALS, [2, 0, 1], "apple is cat, fig is dog, pear is Egyptian goose"),
    "capitals and small ones": (("B", "a", "C"), ANIMALS, [1, 0, 2], "ImageFolder"),
    "numbers with gaps": (("7", "3", "11"), ANIMALS, [2, 1, 0], "11 is cat"),
}


@pytest.mark.parametrize("kind", DOUBTFUL)
def test_what_folders_do_not_say_is_said_with_the_mapping(tmp_path: Path, kind: str) -> None:
    folders, classes, expected, says = DOUBTFUL[kind]
    root = write(tmp_path / "pets", *folders)
    assert labels(root, classes) == expected and says in warning(root, classes)


def test_cifar10_is_read_by_name_where_its_folders_lie_in_another_order(tmp_path: Path) -> None:
    classes = find_benchmark("cifar10").image.classes
    root = write(tmp_path / "mine", *reversed(classes))
    assert labels(root, classes) == list(range(9, -1, -1))


# --- what lies there ---------------------------------------------------------------------------------------------

ALSO: dict[str, Callable[[Path], Any]] = {
    "a Mac's": lambda root: (root / "cat" / "._0.png").write_bytes(b"\0\5\x16\7Mac OS X"),
    "an archive's": lambda root: write(root, "__MACOSX"),
    "a notebook's": lambda root: (write(root, ".ipynb_checkpoints"), write(root, "cat/.ipynb_checkpoints")),
    "Windows'": lambda root: ((root / "cat" / "Thumbs.db").write_bytes(b"\xd0"), (root / "desktop.ini").touch()),
    "a NAS's": lambda root: write(root, "cat/@eaDir"),
}


@pytest.mark.parametrize("whose", ALSO)
def test_what_systems_leave_is_passed_over_without_a_word(tmp_path: Path, whose: str) -> None:
    root = write(tmp_path / "pets", *ANIMALS)
    ALSO[whose](root)
    listing = benchmark(root, ANIMALS).listing(train=False)
    assert listing is not None and len(listing.files) == 6 and listing.notes == (NO_SPLIT,)


def test_images_are_counted_and_what_is_passed_over_is_said(tmp_path: Path) -> None:
    root = write(tmp_path / "pets", "cat", "dog/more", "egyptian-goose")
    write(root / "cat", "deep/er", each=3)
    (root / "cat" / "labels.csv").touch()
    (root / "dog" / "link").symlink_to(root / "cat")
    write(root, ".", each=1)
    found = benchmark(root, ANIMALS)
    listing = found.listing(train=False)
    assert listing is not None and listing.counts(ANIMALS) == {"cat": 5, "dog": 2, "Egyptian goose": 2}
    said = " ".join(listing.words(found.title, ANIMALS))
    assert "9 images: cat 5, dog 2, Egyptian goose 2" in said and "5 images lie deeper" in said
    assert "1 images beside the class folders" in said and "1 .csv file, 1 link to a folder" in said


def test_class_folders_may_be_links(tmp_path: Path) -> None:
    write(tmp_path / "elsewhere", *ANIMALS)
    (tmp_path / "pets").mkdir()
    for name in ANIMALS:
        (tmp_path / "pets" / name).symlink_to(tmp_path / "elsewhere" / name)
    assert labels(tmp_path / "pets", ANIMALS) == [0, 1, 2]


@pytest.mark.parametrize("names", [("train", "test"), ("Train", "Test"), ("test",)], ids=str)
def test_a_split_is_taken_whatever_its_case(tmp_path: Path, names: tuple[str, ...]) -> None:
    for name in names:
        write(tmp_path / "pets" / name, *ANIMALS, each=3 if name.lower() == "train" else 1)
    assert len(benchmark(tmp_path / "pets", ANIMALS).load(train=False)) == 3


REFUSED: dict[str, tuple[Callable[[Path], Any], str]] = {
    "some names of classes, some others": (lambda root: write(root, "cat", "hound", "Egyptian goose"), "'hound'"),
    "a class that is missing": (lambda root: write(root, "cat", "dog"), "it has 2: there is none for 'Egyptian goose'"),
    "one that is too many": (lambda root: write(root, *ANIMALS, "unlabelled"), "'unlabelled' should not be there"),
    "a class without images": (lambda root: (write(root, *ANIMALS[:2]), (root / ANIMALS[2]).mkdir()), "none in 'Egypt"),
    "GIF files only": (lambda root: write(root, *ANIMALS, suffix=".gif"), "it has 6 .gif"),
    "some GIF files": (lambda root: (write(root, *ANIMALS), write(root, "cat", suffix=".gif")), "has 2 .gif files"),
    "a val/ beside train/": (lambda root: [write(root / s, *ANIMALS) for s in ("train", "val")], "but no test/"),
    "other words for it": (lambda root: [write(root / s, *ANIMALS) for s in ("training", "testing")], "but no test/"),
    "only train/": (lambda root: write(root / "train", *ANIMALS), "has train/ but no test/"),
    "splits within classes": (
        lambda root: write(root, *(f"{name}/{split}" for name in ANIMALS for split in ("train", "test"))),
        "has train/ and test/ within",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_would_be_read_wrongly_is_refused_in_one_sentence(tmp_path: Path, kind: str) -> None:
    make, says = REFUSED[kind]
    make(tmp_path / "pets")
    with pytest.raises(RequestError) as caught:
        benchmark(tmp_path / "pets", ANIMALS).load(train=False)
    assert says in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("splits", [("train", "val"), ("training", "testing"), ("Train", "dev", "val")], ids=str)
def test_images_to_test_on_are_proposed_for_it(tmp_path: Path, splits: tuple[str, ...]) -> None:
    for split in splits:
        write(tmp_path / split, *ANIMALS)
    with pytest.raises(RequestError, match=f"name the folder to use: folder:{tmp_path / splits[-1]}\\."):
        benchmark(tmp_path, ANIMALS).load(train=False)


def test_a_folder_needs_no_teacher_to_be_read(tmp_path: Path) -> None:
    write(tmp_path / "pets", "b", "a", "C")
    image = find_benchmark(f"folder:{tmp_path / 'pets'}").image
    assert (image.classes, image.channels, image.size) == (("a", "b", "C"), 1, 8)


def test_a_pasted_path_may_have_blanks_and_quotes(tmp_path: Path) -> None:
    root = write(tmp_path / "my pets", *ANIMALS)
    for pasted in (f"{root} ", f"'{root}'", f' "{root}"\n'):
        assert find_benchmark(f"folder:{pasted}", image_of(ANIMALS)).name == f"folder:{root}"


# --- on the command line -----------------------------------------------------------------------------------------


def test_looking_counts_and_train_says_what_is_doubtful(capsys: Any, tmp_path: Path) -> None:
    root = write(tmp_path / "mine", *(f"digit_{number}" for number in range(1, 11)))
    asked = ("benchmarks", "look", f"folder:{root}", "--teacher", TEACHER)
    status, out, err = call(capsys, *asked)
    assert status == 0 and "0         2  from digit_1/" in out and "digit_10 is 9" in err
    brief = ("--method", "noise", "--student", "lenet5-half", "--epochs", "1", "--iterations", "1", "--batch-size", "8")
    asked = ("train", "--benchmark", f"folder:{root}", "--teacher", TEACHER, *brief, "--runs", str(tmp_path / "runs"))
    status, out, err = call(capsys, *asked)
    assert status == 0 and "20 images: 0 2, 1 2" in err and "digit_10 is 9" in err


def test_a_teacher_of_images_that_it_learned_from_is_doubtful(
    capsys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DFKD_TEACHERS", str(tmp_path / "teachers"))
    root = write(tmp_path / "pets", "cat", "dog", each=4)
    about = {
        "name": "mine",
        "title": "Mine",
        "network": "lenet5",
        "recipe": {"kind": "brief", "epochs": 1, "batch_size": 4},
    }
    image = {"channels": 1, "size": 28, "mean": [0.5], "std": [0.5], "classes": ["cat", "dog"]}
    card = tmp_path / "card.json"
    card.write_text(json.dumps(about | {"benchmark": f"folder:{root}", "image": image}))
    status, out, _ = call(capsys, "teacher", "train", str(card))
    assert status == 0 and f"warning: {NO_SPLIT}" in out and find_card("mine")[0].doubts == (NO_SPLIT,)


# --- one reading of a picture ------------------------------------------------------------------------------------

INK = np.zeros((8, 8), np.uint8)
INK[1:4, 2:7] = 200  # neither upright nor centred alike
RGB = ImageSpec(3, 8, (0.5,) * 3, (0.5,) * 3, ("cat", "dog"))


def _rgba(array: np.ndarray) -> Image.Image:
    return Image.fromarray(np.dstack([array, array, array, np.full_like(array, 255)]))


def _on_nothing(array: np.ndarray) -> Image.Image:
    """Grey ink; where there is white, nothing."""
    return Image.fromarray(np.dstack([array, np.where(array == 255, 0, 255).astype(np.uint8)]), "LA")


def _wide(array: np.ndarray) -> Image.Image:
    wide = np.zeros((8, 24), np.uint8)
    wide[:, 8:16] = array
    return Image.fromarray(wide)


def _turned(array: np.ndarray, path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.rot90(array).copy()).save(path, exif=exif)


PICTURES: dict[str, Callable[[np.ndarray, Path], Any]] = {
    "grey": lambda array, path: Image.fromarray(array).save(path),
    "colour": lambda array, path: Image.fromarray(array).convert("RGB").save(path),
    "opaque": lambda array, path: _rgba(array).save(path),
    "transparent": lambda array, path: _on_nothing(np.where(array == 0, 255, array)).save(path),
    "wide": lambda array, path: _wide(array).save(path),
    "turned by EXIF": _turned,
    "16 bits": lambda array, path: Image.fromarray(array.astype(np.uint16) * 257).save(path),
    "a palette": lambda array, path: Image.fromarray(array).convert("P").save(path),
}


@pytest.mark.parametrize("kind", PICTURES)
@pytest.mark.parametrize("image", [image_of(("cat", "dog")), RGB], ids=["grey", "colour"])
def test_a_picture_is_read_as_it_is_seen(tmp_path: Path, kind: str, image: ImageSpec) -> None:
    for name in image.classes:
        (tmp_path / "pets" / name).mkdir(parents=True)
        PICTURES[kind](INK, tmp_path / "pets" / name / "0.png")
    (first, _) = find_benchmark(f"folder:{tmp_path / 'pets'}", image).load(train=False).images
    expected = np.where(INK == 0, 255, INK) if kind == "transparent" else INK
    assert all(np.array_equal(channel, expected) for channel in first.numpy())


UNREADABLE: dict[str, tuple[Callable[[np.ndarray], Image.Image], str]] = {
    "12 of 16 bits": (lambda array: Image.fromarray(array.astype(np.uint16) * 16), "has 16 bits a pixel"),
    "8 of 16 bits": (lambda array: Image.fromarray(array.astype(np.uint16)), "has 16 bits a pixel"),
    "white ink on nothing": (
        lambda array: Image.fromarray(np.dstack([np.full_like(array, 255), array]), "LA"),
        "is transparent",
    ),
    "nothing at all": (lambda array: Image.new("RGBA", (8, 8)), "is transparent"),
}


@pytest.mark.parametrize("kind", UNREADABLE)
def test_a_picture_that_would_come_out_black_or_blank_is_refused(tmp_path: Path, kind: str) -> None:
    make, says = UNREADABLE[kind]
    for name in ("cat", "dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        make(INK).save(tmp_path / "pets" / name / "0.png")
    with pytest.raises(RequestError, match=says) as caught:
        benchmark(tmp_path / "pets", ("cat", "dog")).load(train=False)
    assert caught.value.value == str(tmp_path / "pets" / "cat" / "0.png")


def test_one_dark_16_bit_file_among_others_is_no_sign(tmp_path: Path) -> None:
    write(tmp_path / "pets", "cat", "dog")
    for value, name in ((200, "cat"), (65_000, "dog")):
        Image.fromarray(np.full((8, 8), value, np.uint16)).save(tmp_path / "pets" / name / "deep.png")
    assert len(benchmark(tmp_path / "pets", ("cat", "dog")).load(train=False)) == 6
