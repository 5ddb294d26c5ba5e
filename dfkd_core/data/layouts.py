"""How data sets lie on disk as files: in folders by class, or by a table.

A layout lists the files of a split with their labels, and says how it came to them. No torch.
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from dfkd_core.data.files import FORMATS, Files, Skipped, images_in, is_image, is_junk
from dfkd_core.data.matching import MismatchError, are_placeholders, match
from dfkd_core.errors import RequestError
from dfkd_core.images import ImageSpec

TO_TRAIN, TO_TEST = ("train", "training"), ("test", "testing", "val", "valid", "validation", "dev")
SPLITS = TO_TRAIN + TO_TEST
"""What people call the folders of a split."""
SYNSET = re.compile(r"n\d{8}")  # a class folder of ImageNet
NO_SPLIT = "There is no train/ and no test/: the same images are learned from and tested on"
LISTED_CLASSES = 20  # at most, with how many images each has


@dataclass(frozen=True)
class Listing:
    """The files of one split with their labels, and how they were read. ``labels``: the class of each folder, where
    folders say it; ``warning``: what a person should look at; ``notes``: what else is worth a word."""

    files: Files
    labels: dict[str, int] = field(default_factory=dict)
    warning: str = ""
    notes: tuple[str, ...] = ()

    def words(self, title: str, classes: Sequence[str]) -> list[str]:
        """What there is, and how it was read, in sentences: counts, the warning, the notes."""
        counts = self.counts(classes)
        few = ", ".join(f"{name} {count:,}" for name, count in counts.items())
        least, most = min(counts.values()), max(counts.values())
        each = few if len(counts) <= LISTED_CLASSES else f"{len(counts):,} classes with {least:,} to {most:,} each"
        return [f"{title}: {len(self.files):,} images: {each}", *filter(None, [self.warning]), *self.notes]

    @property
    def doubts(self) -> list[str]:
        """What makes it doubtful how good a network is that was measured on them."""
        return [*filter(None, [self.warning]), *(note for note in self.notes if note == NO_SPLIT)]

    def counts(self, classes: Sequence[str]) -> dict[str, int]:
        """How many images there are of each class."""
        found = Counter(label for _, label in self.files)
        return {name: found[label] for label, name in enumerate(classes)}


# --- folders by class ------------------------------------------------------------------------------------------


def class_folders(root: Path, train: bool, image: ImageSpec, test_split: str = "test") -> Listing:
    """Two folders with one subfolder a class each: CINIC-10 (its valid/ stays unused), ImageNet (val/ in folders)."""
    found = _by_class(root / ("train" if train else test_split), image)
    # In alphabetical order is how ImageNet's synsets are numbered.
    in_order = are_placeholders(image.classes) or all(map(SYNSET.fullmatch, found.labels))
    return replace(found, warning="") if in_order else found


def one_folder(root: Path, train: bool, image: ImageSpec) -> Listing:
    """One subfolder a class, in train/ and test/ or, without these, the same for both."""
    splits = _splits(root, image.classes)
    if not splits:
        found = _by_class(root, image)
        return replace(found, notes=(*found.notes, NO_SPLIT))
    wanted = "train" if train else "test"
    if wanted not in splits:
        there = " and ".join(f"{path.name}/" for path in splits.values())
        meant = [name for name in (TO_TRAIN if train else TO_TEST) if name in splits]
        nearest = splits[next(iter(meant or splits))]
        says = f"has {there} but no {wanted}/; rename one, or name the folder to use: folder:{nearest}."
        raise RequestError("benchmark", str(root), says)
    return _by_class(splits[wanted], image)


def training_images(root: Path) -> int:
    """How many images ``one_folder`` has to train on."""
    inside = _splits(root, ()).get("train", root)
    return sum(1 for folder in _subfolders(inside).values() for _ in images_in(folder))


def folder_image(root: Path) -> ImageSpec:
    """What the images of a folder are where nobody has said it: its class folders' names, and size and channels of the
    first image. Raises ``RequestError`` where there is none."""
    from dfkd_core.data.pictures import decode

    inside = _holds_classes(root)
    classes = sorted(_subfolders(inside), key=lambda name: (name.casefold(), name))
    first = min((path for name in classes for path, _ in images_in(inside / name)), default=None)
    if first is None:
        raise RequestError("benchmark", str(root), f"should hold images ({FORMATS}), in one subfolder a class.")
    picture = decode(first, str(first))
    channels, size = (1 if picture.mode in ("L", "LA") else 3), min(max(min(picture.size), 4), 256)
    return ImageSpec(channels, size, (0.5,) * channels, (0.5,) * channels, tuple(classes))


def class_names(root: Path) -> tuple[str, ...]:
    """Names of the class folders of ``root``, or of its splits, in the order in which torchvision numbers them. Raises
    ``FileNotFoundError`` where there is no such folder."""
    return tuple(sorted(_subfolders(_holds_classes(root))))


def _holds_classes(root: Path) -> Path:
    """Where the class folders of ``root`` lie: in one of its splits, or at once below it."""
    splits = _splits(root, ())
    return splits.get("train") or splits.get("test") or next(iter(splits.values()), root)


def _subfolders(root: Path) -> dict[str, Path]:
    """By name. Raises ``FileNotFoundError`` where there is no such folder."""
    if not root.is_dir():
        raise FileNotFoundError(root)
    return {path.name: path for path in sorted(root.iterdir()) if not is_junk(path.name) and path.is_dir()}


def _splits(root: Path, classes: Sequence[str]) -> dict[str, Path]:
    """The folders of splits below ``root``, in small letters; empty where the folders are classes. Only train and test
    are taken for what they are called: what a val/ is for is not ours to say, but for ImageNet's, whose classes are
    synsets: that is what everybody tests on."""
    found = _subfolders(root)
    if set(found) <= set(classes):
        return {}
    splits = {name.casefold(): path for name, path in found.items() if name.casefold() in SPLITS and _subfolders(path)}
    if set(splits) == {"train", "val"} and all(SYNSET.fullmatch(name) for name in _subfolders(splits["val"])):
        return {"train": splits["train"], "test": splits["val"]}
    return splits if {"train", "test"} & set(splits) or len(splits) == len(found) else {}


def _by_class(root: Path, image: ImageSpec) -> Listing:
    """One subfolder a class; images may lie deeper. Raises ``RequestError`` for what would be read wrongly."""
    folders = _subfolders(root)
    skipped, deeper, found = Skipped(), 0, {}
    for name, folder in folders.items():
        images = list(images_in(folder, skipped))
        _check_no_splits(root, folder)
        found[name] = sorted(path for path, _ in images)
        deeper += sum(depth > 0 for _, depth in images)
    try:
        matched = match(list(folders), image.classes)
    except MismatchError as error:
        raise RequestError("benchmark", str(root), str(error)) from None
    _check_images(root, found, skipped)
    files = [(path, label) for name, label in _in_order(matched.labels) for path in found[name]]
    beside = sum(is_image(path.name) for path in root.iterdir() if path.is_file())
    notes = (
        f"{deeper:,} images lie deeper than their class's folder" if deeper else "",
        f"{beside:,} images beside the class folders were passed over" if beside else "",
        f"passed over: {skipped}" if str(skipped) else "",
    )
    return Listing(files, matched.labels, matched.warning, tuple(filter(None, notes)))


def _in_order(labels: dict[str, int]) -> list[tuple[str, int]]:
    return sorted(labels.items(), key=lambda pair: pair[1])


def _check_no_splits(root: Path, folder: Path) -> None:
    """Raises ``RequestError`` where the splits lie within the classes: training images would be test images."""
    if len({name.casefold() for name in _subfolders(folder)} & set(SPLITS)) > 1:
        says = f"has train/ and test/ within {folder.name}/; should have one subfolder a class within train/ and test/."
        raise RequestError("benchmark", str(root), says)


def _check_images(root: Path, found: dict[str, list[Path]], skipped: Skipped) -> None:
    """Raises ``RequestError`` where a class has none, or some are in formats that are not read."""
    others = ", ".join(f"{count:,} {suffix}" for suffix, count in skipped.other_images.items())
    empty = [name for name, paths in found.items() if not paths]
    if len(empty) == len(found):
        more = f"; it has {others}" if others else ""
        raise RequestError("benchmark", str(root), f"should hold images ({FORMATS}){more}.")
    if others:
        says = f"has {others} files, which are not read: make them one of {FORMATS}, or take them out."
        raise RequestError("benchmark", str(root), says)
    if empty:
        names = ", ".join(f"'{name}'" for name in empty[:12])
        raise RequestError("benchmark", str(root), f"should hold images of every class; there are none in {names}.")


# --- other layouts ---------------------------------------------------------------------------------------------


def tiny_imagenet(root: Path, train: bool, image: ImageSpec) -> Listing:
    """TinyImageNet's own layout, train/<wnid>/images/*.JPEG with val/val_annotations.txt, or its test images sorted
    into val/<wnid> as many do; classes as in wnids.txt."""
    names = (root / "wnids.txt").read_text().split()
    table, flat = root / "val" / "val_annotations.txt", root / "val" / "images"
    if not train and flat.is_dir() and table.is_file():
        rows = [line.split("\t") for line in table.read_text().splitlines()]
        return Listing([(flat / row[0], names.index(row[1])) for row in rows if row[1] in names])
    inside = root / ("train" if train else "val")
    if not inside.is_dir() or not (train or any((inside / name).is_dir() for name in names)):
        raise FileNotFoundError(inside)
    found = [(sorted(path for path, _ in images_in(inside / name)), label) for label, name in enumerate(names)]
    return Listing([(path, label) for paths, label in found for path in paths])


def ham10000(root: Path, train: bool, image: ImageSpec) -> Listing:
    """HAM10000's own layout: HAM10000_metadata.csv beside HAM10000_images_part_1 and _2.

    There is no official split, and HiDFD (8,000 / 2,000) draws its own at random. Ours is fixed and goes by lesion,
    since many were photographed several times: a fifth of the lesions, by a hash of their name, is test data.
    """
    with open(root / "HAM10000_metadata.csv", newline="") as table:
        rows = [row for row in csv.DictReader(table) if _is_test_lesion(row["lesion_id"]) != train]
    places = {path.stem: path for path in root.glob("HAM10000_images_part_*/*.jpg")}
    missing = [row["image_id"] for row in rows if row["image_id"] not in places]
    if missing:
        raise RequestError("benchmark", str(root), f"should hold all images of its table; {missing[0]}.jpg is missing.")
    return Listing([(places[row["image_id"]], image.classes.index(row["dx"])) for row in rows])


def _is_test_lesion(lesion: str) -> bool:
    return int(hashlib.sha256(lesion.encode()).hexdigest(), 16) % 5 == 0


LISTED: dict[str, Callable[[Path, bool, ImageSpec], Listing]] = {
    "train-test": class_folders,
    "train-val": partial(class_folders, test_split="val"),
    "one-folder": one_folder,
    "tiny-imagenet": tiny_imagenet,
    "ham10000": ham10000,
}
"""The files of the training or the test split below a folder; raises ``FileNotFoundError`` where they are missing."""
EXPECTED = {
    "train-test": "train/ and test/, each with one subfolder a class",
    "train-val": "train/ and val/, each with one subfolder a class",
    "one-folder": "one subfolder a class",
    "tiny-imagenet": "wnids.txt, train/ with one subfolder a class, val/ with val_annotations.txt and images/ or with "
    "one subfolder a class",
    "ham10000": "HAM10000_metadata.csv, HAM10000_images_part_1/ and HAM10000_images_part_2/",
}
"""The same in words."""
