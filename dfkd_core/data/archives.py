"""Data sets that are kept in one archive: scikit-learn's digits, MNIST's files, SVHN's, torchvision's CIFAR."""

from __future__ import annotations

import gzip
import os
import re
import time
from collections.abc import Iterator
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from dfkd_core.data.files import is_junk

if TYPE_CHECKING:
    import numpy as np

    from dfkd_core.data.labelled import LabelledImages

DEEP = 2  # folders below the data folder, in which a data set's own is looked for
COARSE_SECONDS = 3.0  # a folder may change twice within one tick of its file system's clock
MOST_BYTES = 1 << 30  # of one of MNIST's files
OWN_FOLDER = {
    "MNIST": "mnist", "FashionMNIST": "fashion mnist", "CIFAR10": "cifar-10-batches-py", "CIFAR100": "cifar-100-python",
    "SVHN": "svhn",
}  # fmt: skip
"""What the folder is called; case and dashes do not matter."""
IDX = "train-images-idx3-ubyte, train-labels-idx1-ubyte, and the same two of t10k, or each as .gz"
EXPECTED = {
    "MNIST": IDX,
    "FashionMNIST": IDX,
    "CIFAR10": "beside it cifar-10-batches-py/ as the published archive unpacks it",
    "CIFAR100": "train, test and meta as the published archive, cifar-100-python.tar.gz, unpacks them",
    "SVHN": "train_32x32.mat and test_32x32.mat",
}
"""What it should hold, in words."""


class UnknownFilesError(Exception):
    """The data set's folder is there, but what it holds is not what is read; the sentence says what is amiss."""


@lru_cache(maxsize=1)
def _digits() -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn's file: 64 grey values from 0 to 16 and the class, a line each, as (N, 1, 8, 8) bytes and (N,)
    labels. Read without importing it, which takes longer than a run's first ten steps."""
    import numpy as np

    package = find_spec("sklearn")
    if package is None or package.origin is None:
        raise FileNotFoundError("scikit-learn, which the digits come with")
    table = np.loadtxt(Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz", delimiter=",")
    pixels = np.round(table[:, :-1].reshape(-1, 1, 8, 8) * (255 / 16)).astype(np.uint8)
    return pixels, table[:, -1].astype(np.int64)


def read_archive(dataset: str, folder: Path, train: bool) -> LabelledImages:
    """What that of torchvision's class ``dataset`` in the data ``folder`` holds, in its own size.

    ``digits`` are scikit-learn's 1,797: every third image (599) is test data, the other 1,198 are for training.
    Raises ``FileNotFoundError`` where it is not there, and ``UnknownFilesError``.
    """
    import numpy as np
    import torch

    from dfkd_core.data.labelled import LabelledImages

    if dataset == "digits":
        pixels, labels = _digits()
        chosen = (np.arange(len(pixels)) % 3 != 0) == train
        return LabelledImages(torch.from_numpy(pixels[chosen]), torch.from_numpy(labels[chosen]))
    place = find_archive(dataset, folder)
    if place is None:
        raise FileNotFoundError(folder)
    if dataset.endswith("MNIST"):
        pixels, labels = (_idx(place, train, what) for what in ("images", "labels"))
        if pixels.ndim != 3 or labels.shape != pixels.shape[:1]:
            raise UnknownFilesError("its images and labels are not as many")
        return LabelledImages(torch.from_numpy(pixels[:, None]), torch.from_numpy(labels).long())
    if dataset == "SVHN":
        return _svhn(place / f"{'train' if train else 'test'}_32x32.mat")
    from torchvision import datasets

    try:
        data = getattr(datasets, dataset)(str(place.parent), train=train, download=False)
    except RuntimeError as error:
        if "not found" not in str(error).lower():
            raise
        raise UnknownFilesError("a file is missing, or not the published one (its checksum differs)") from None
    return LabelledImages(
        torch.from_numpy(np.asarray(data.data)).permute(0, 3, 1, 2).contiguous(), torch.as_tensor(data.targets).long()
    )


def find_archive(dataset: str, folder: Path) -> Path | None:
    """The folder of a data set: the data ``folder`` itself, or one in it, or up to ``DEEP`` deeper. Of CIFAR it has to
    bear its own name, since torchvision asks for it. Reads no file."""
    name = OWN_FOLDER.get(dataset)
    if name is None:
        return None
    exact = dataset.startswith("CIFAR")
    return next((one for one in _folders(folder, DEEP) if (one.name if exact else _plain(one.name)) == name), None)


def download(dataset: str, folder: Path) -> None:
    """Fetch both splits of torchvision's class ``dataset`` into a data folder."""
    from torchvision import datasets

    if dataset == "SVHN":
        for split in ("train", "test"):
            datasets.SVHN(str(folder / OWN_FOLDER[dataset]), split=split, download=True)
        return
    for train in (True, False):
        getattr(datasets, dataset)(str(folder), train=train, download=True)


def _folders(folder: Path, deep: int) -> Iterator[Path]:
    """``folder``, and those in it, the nearest first."""
    level = [folder.absolute()]
    for _ in range(deep + 1):
        yield from level
        level = [Path(entry) for one in level for entry in _inside(one)]


def _inside(folder: Path) -> tuple[str, ...]:
    try:
        changed = folder.stat().st_mtime
        just_now = abs(time.time() - changed) < COARSE_SECONDS
        return (_listed.__wrapped__ if just_now else _listed)(str(folder), changed)
    except OSError:
        return ()


@lru_cache(maxsize=1024)
def _listed(folder: str, changed: float) -> tuple[str, ...]:
    """A form asks for every data set in turn, and the folders of some hold thousands of images: a folder is read once
    until what is in it has ``changed``."""
    with os.scandir(folder) as entries:
        return tuple(sorted(entry.path for entry in entries if entry.is_dir() and not is_junk(entry.name)))


def _plain(name: str) -> str:
    """Case, dashes and the like aside: FashionMNIST, fashion-mnist."""
    return re.sub(r"[\s_\-]+", " ", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)).casefold()


# --- SVHN's files ------------------------------------------------------------------------------------------------


def _svhn(path: Path) -> LabelledImages:
    """``X`` (32, 32, 3, N) and ``y`` (N, 1), where 10 is the digit 0."""
    import torch
    from scipy.io import loadmat

    from dfkd_core.data.labelled import LabelledImages

    if not path.is_file():
        raise UnknownFilesError(f"it has no {path.name}")
    if path.stat().st_size > MOST_BYTES:
        raise UnknownFilesError(f"{path.name} is larger than {MOST_BYTES:,} bytes")
    try:
        found = loadmat(str(path), variable_names=("X", "y"))
        pixels, labels = found["X"], found["y"].ravel()
    except Exception as error:  # damaged files make scipy raise nearly anything
        raise UnknownFilesError(f"{path.name} cannot be read ({type(error).__name__}: {error})") from None
    if pixels.dtype != "uint8" or pixels.ndim != 4 or pixels.shape[2] != 3 or pixels.shape[3] != len(labels):
        raise UnknownFilesError(f"{path.name} should have X of 32×32×3×N bytes and y of N labels")
    images = torch.from_numpy(pixels.transpose(3, 2, 0, 1).copy())
    return LabelledImages(images, torch.from_numpy(labels.astype("int64") % 10))


# --- MNIST's files -----------------------------------------------------------------------------------------------


def _idx(place: Path, train: bool, what: str) -> np.ndarray:
    """One of MNIST's four files, unpacked or as .gz, below ``place`` or in its raw/: a header, then bytes."""
    dimensions = 3 if what == "images" else 1
    start, end = f"{'train' if train else 't10k'}-{what}", f"idx{dimensions}-ubyte"
    names = [f"{start}{dash}{end}{packed}" for packed in ("", ".gz") for dash in "-."]
    places = (folder / name for folder in (place / "raw", place) for name in names)
    found = next(filter(Path.is_file, places), None)
    if found is None:
        raise UnknownFilesError(f"it has no {names[0]}, nor {names[0]}.gz")
    try:
        with (gzip.open if found.suffix == ".gz" else open)(found, "rb") as file:
            return _values(file, dimensions)
    except (OSError, EOFError, ValueError) as error:
        raise UnknownFilesError(f"{found.name} cannot be read ({error})") from None


def _values(file: BinaryIO | gzip.GzipFile, dimensions: int) -> np.ndarray:
    import numpy as np

    header = np.frombuffer(file.read(4 * (1 + dimensions)), ">i4")
    if len(header) != 1 + dimensions or header[0] != 0x800 + dimensions or (header[1:] < 0).any():
        raise ValueError("it is no file of that kind")
    shape = tuple(map(int, header[1:]))
    size = int(np.prod(shape, dtype=np.float64))
    if size > MOST_BYTES:
        raise ValueError(f"it announces {size:,} bytes")
    data = file.read(size)
    if len(data) != size:
        raise ValueError("it ends too early")
    return np.frombuffer(data, np.uint8).reshape(shape).copy()
