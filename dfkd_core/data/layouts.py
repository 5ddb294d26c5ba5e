"""How data sets lie on disk: files in folders, files by a table, scikit-learn's and torchvision's archives.

A layout lists the files of a split with their labels, or, where the data are kept in one archive, reads it. What is
needed to read is imported only then.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from dfkd_core.errors import RequestError
from dfkd_core.images import ImageSpec

if TYPE_CHECKING:
    from dfkd_core.data.labelled import LabelledImages

FORMATS = "PNG, JPEG, BMP, WebP, TIFF"  # that are read
SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff"}

Files = list[tuple[Path, int]]  # with their labels


# --- archives --------------------------------------------------------------------------------------------------


def read_archive(dataset: str, folder: Path, train: bool) -> LabelledImages:
    """What that of torchvision's class ``dataset`` in the data ``folder`` holds, in its own size.

    ``digits`` are scikit-learn's 1,797: every third image (599) is test data, the other 1,198 are for training.
    """
    import numpy as np
    import torch

    from dfkd_core.data.labelled import LabelledImages

    if dataset == "digits":
        from sklearn.datasets import load_digits

        bunch = load_digits()
        pixels = np.round(bunch.images * (255 / 16)).astype(np.uint8)[:, None]
        chosen = (np.arange(len(pixels)) % 3 != 0) == train
        return LabelledImages(torch.from_numpy(pixels[chosen]), torch.from_numpy(bunch.target[chosen]).long())
    from torchvision import datasets

    data = getattr(datasets, dataset)(str(folder), train=train, download=False)
    pixels = torch.as_tensor(np.asarray(data.data))
    pixels = pixels[:, None] if pixels.ndim == 3 else pixels.permute(0, 3, 1, 2).contiguous()
    return LabelledImages(pixels, torch.as_tensor(data.targets).long())


def download(dataset: str, folder: Path) -> None:
    """Fetch both splits of torchvision's class ``dataset`` into a data folder."""
    from torchvision import datasets

    for train in (True, False):
        getattr(datasets, dataset)(str(folder), train=train, download=True)


# --- files -----------------------------------------------------------------------------------------------------


def class_folders(root: Path, train: bool, image: ImageSpec, test_split: str = "test") -> Files:
    """Two folders with one subfolder a class each: CINIC-10 (its valid/ stays unused), ImageNet (val/ in folders)."""
    return _by_class(root / ("train" if train else test_split), image)


def one_folder(root: Path, train: bool, image: ImageSpec) -> Files:
    """One subfolder a class, in train/ and test/ or, without these, the same for both."""
    inside = root / ("train" if train else "test")
    return _by_class(inside if inside.is_dir() else root, image)


def training_images(root: Path) -> int:
    """How many images ``one_folder`` has to train on."""
    inside = root / "train"
    return sum(path.suffix.lower() in SUFFIXES for path in (inside if inside.is_dir() else root).glob("*/*"))


def _by_class(root: Path, image: ImageSpec) -> Files:
    """One subfolder a class, in alphabetical order."""
    if not root.is_dir():
        raise FileNotFoundError(root)
    names = sorted(path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    if len(names) != len(image.classes):
        raise RequestError(
            "benchmark", str(root), f"should have {len(image.classes)} subfolders, one a class; it has {len(names)}."
        )
    files = [
        (path, label)
        for label, name in enumerate(names)
        for path in sorted((root / name).iterdir())
        if path.suffix.lower() in SUFFIXES
    ]
    if not files:
        raise RequestError("benchmark", str(root), "should hold images (PNG, JPEG, BMP, WebP or TIFF).")
    return files


def tiny_imagenet(root: Path, train: bool, image: ImageSpec) -> Files:
    """TinyImageNet's own layout: train/<wnid>/images/*.JPEG, val/val_annotations.txt; classes as in wnids.txt."""
    names = (root / "wnids.txt").read_text().split()
    if train:
        found = [(sorted((root / "train" / name).rglob("*.JPEG")), names.index(name)) for name in names]
        return [(path, label) for paths, label in found for path in paths]
    rows = [line.split("\t") for line in (root / "val" / "val_annotations.txt").read_text().splitlines()]
    return [(root / "val" / "images" / row[0], names.index(row[1])) for row in rows if row[1] in names]


def ham10000(root: Path, train: bool, image: ImageSpec) -> Files:
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
    return [(places[row["image_id"]], image.classes.index(row["dx"])) for row in rows]


def _is_test_lesion(lesion: str) -> bool:
    return int(hashlib.sha256(lesion.encode()).hexdigest(), 16) % 5 == 0


LISTED: dict[str, Callable[[Path, bool, ImageSpec], Files]] = {
    "train-test": class_folders,
    "train-val": partial(class_folders, test_split="val"),
    "one-folder": one_folder,
    "tiny-imagenet": tiny_imagenet,
    "ham10000": ham10000,
}
"""The files of the training or the test split below a folder; raises ``FileNotFoundError`` where they are missing."""
