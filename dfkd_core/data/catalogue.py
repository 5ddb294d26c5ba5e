"""The benchmarks by name, and any folder of images by class as ``folder:PATH``.

Images are held as uint8, (N, C, H, W), and normalised on the way to a network, so that a whole data set fits in
memory and nothing depends on worker processes.
"""

from __future__ import annotations

import csv
import hashlib
import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from dfkd_core.errors import RequestError
from dfkd_core.images import ImageSpec


@dataclass(frozen=True)
class LabelledImages:
    """``images``: (N, C, H, W) uint8; ``labels``: (N,) int64."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def fingerprint(self) -> str:
        """SHA-256 of the pixels and labels."""
        digest = hashlib.sha256(self.images.contiguous().numpy().tobytes())
        digest.update(self.labels.numpy().tobytes())
        return digest.hexdigest()


def evenly_by_class(labels: Tensor, count: int) -> Tensor:
    """Indices of up to ``count`` of (N,) ``labels``: the first of each class in turn, so that classes are even."""
    rank = torch.zeros_like(labels)
    for label in labels.unique():
        members = labels == label
        rank[members] = torch.arange(int(members.sum()))
    return rank.argsort(stable=True)[:count].sort().values


Loader = Callable[[Path, bool, ImageSpec], LabelledImages]
Files = list[tuple[Path, int]]  # with their labels
Lister = Callable[[Path, bool, ImageSpec], Files | None]


@dataclass(frozen=True)
class Benchmark:
    """A task with its data. ``load_split(folder, train, image)`` reads one split, or ``list_split(folder, train,
    image)`` lists its files; they raise ``FileNotFoundError`` where the data are missing. ``download`` fetches them,
    where that is possible."""

    name: str
    title: str
    image: ImageSpec
    load_split: Loader | None = None
    download: Callable[[Path], Any] | None = None
    where: str = ""  # what the data folder should hold, for the user
    megabytes: int = 0  # of the download
    also: tuple[str, ...] = ()  # other places within the data folder
    original: int = 0  # |D_o|, images that its teachers were trained on
    list_split: Lister | None = None

    def load(self, train: bool) -> LabelledImages:
        """The training or the test split. Raises ``RequestError`` naming the folder if the data are not there."""
        files = self.files(train)
        if files is not None:
            return read_files(files, self.image)
        assert self.load_split is not None, "a benchmark without a list of files has a reader"
        load = self.load_split
        return self._found(lambda: load(data_folder(), train, self.image))

    def files(self, train: bool) -> Files | None:
        """The files of a split with their labels, without reading them; None where it is kept in one archive.

        Raises ``RequestError`` naming the folder if the data are not there.
        """
        if self.list_split is None:
            return None
        listing = self.list_split
        files = self._found(lambda: listing(data_folder(), train, self.image))
        if files is not None and not files:
            split = "training" if train else "test"
            raise RequestError("benchmark", self.name, f"has no {split} images in {data_folder() / self.where}.")
        return files

    def _found(self, reading: Callable[[], Any]) -> Any:
        """What ``reading`` gives, or where it should have been looking."""
        folder = data_folder()
        try:
            return reading()
        except (FileNotFoundError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and "not found" not in str(error).lower():
                raise
            hint = f"has no {self.title} (looked for {folder / self.where}). "
            hint += "Give another folder" + (
                f", or fetch it: python -m dfkd_core benchmarks download {self.name}" if self.download else ""
            )
            raise RequestError("DFKD_DATA", str(folder), hint + ".") from None

    def is_there(self) -> bool:
        """Whether evaluation data can be read (looks for the folder, does not read it)."""
        return not self.where or any((data_folder() / place).exists() for place in (self.where, *self.also))


def data_folder() -> Path:
    """Where data lie: ``DFKD_DATA``, else ``data`` in the current folder."""
    return Path(os.environ.get("DFKD_DATA") or "data").expanduser()


def find_benchmark(name: str, image: ImageSpec | None = None) -> Benchmark:
    """The benchmark ``name``; ``folder:PATH`` takes its image specification from ``image`` (the teacher's)."""
    if name.startswith("folder:"):
        return _folder_benchmark(name, image)
    if name not in BENCHMARKS:
        raise RequestError("benchmark", name, f"should be one of {', '.join(BENCHMARKS)}, or folder:PATH.")
    return BENCHMARKS[name]


# --- readers ---------------------------------------------------------------------------------------------------


def _digits(folder: Path, train: bool, image: ImageSpec) -> LabelledImages:
    """scikit-learn's 1,797 digits: every third image (599) is test data, the other 1,198 are for training."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    pixels = np.round(bunch.images * (255 / 16)).astype(np.uint8)[:, None]
    chosen = (np.arange(len(pixels)) % 3 != 0) if train else (np.arange(len(pixels)) % 3 == 0)
    return LabelledImages(torch.from_numpy(pixels[chosen]), torch.from_numpy(bunch.target[chosen]).long())


def _torchvision(dataset: str, **options: Any) -> Loader:
    def load(folder: Path, train: bool, image: ImageSpec) -> LabelledImages:
        from torchvision import datasets

        data = getattr(datasets, dataset)(str(folder), train=train, download=False)
        pixels = torch.as_tensor(np.asarray(data.data))
        pixels = pixels[:, None] if pixels.ndim == 3 else pixels.permute(0, 3, 1, 2).contiguous()
        return LabelledImages(resize(pixels, image.size), torch.as_tensor(data.targets).long())

    return load


def _downloader(dataset: str) -> Callable[[Path], Any]:
    def download(folder: Path) -> None:
        from torchvision import datasets

        for train in (True, False):
            getattr(datasets, dataset)(str(folder), train=train, download=True)

    return download


def _cifar10(folder: Path, train: bool, image: ImageSpec) -> Files | None:
    """A copy as image folders below ``cifar10/``, if there is one beside, or instead of, torchvision's archive."""
    copy = folder / "cifar10" / ("train" if train else "test")
    return _image_folder(copy, image) if copy.is_dir() else None


def _tiny_imagenet(place: str) -> Lister:
    """TinyImageNet's own layout: train/<wnid>/images/*.JPEG, val/val_annotations.txt; classes as in wnids.txt."""

    def listed(folder: Path, train: bool, image: ImageSpec) -> Files:
        root = folder / place
        names = (root / "wnids.txt").read_text().split()
        if train:
            found = [(sorted((root / "train" / name).rglob("*.JPEG")), names.index(name)) for name in names]
            return [(path, label) for paths, label in found for path in paths]
        rows = [line.split("\t") for line in (root / "val" / "val_annotations.txt").read_text().splitlines()]
        return [(root / "val" / "images" / row[0], names.index(row[1])) for row in rows if row[1] in names]

    return listed


def _splits(place: str, train_split: str, test_split: str) -> Lister:
    """Two folders with one subfolder a class each: CINIC-10 (its valid/ stays unused), ImageNet (val/ in folders)."""

    def listed(folder: Path, train: bool, image: ImageSpec) -> Files:
        return _image_folder(folder / place / (train_split if train else test_split), image)

    return listed


def _ham10000(folder: Path, train: bool, image: ImageSpec) -> Files:
    """HAM10000's own layout: HAM10000_metadata.csv beside HAM10000_images_part_1 and _2.

    There is no official split, and HiDFD (8,000 / 2,000) draws its own at random. Ours is fixed and goes by lesion,
    since many were photographed several times: a fifth of the lesions, by a hash of their name, is test data.
    """
    root = folder / "ham10000"
    with open(root / "HAM10000_metadata.csv", newline="") as table:
        rows = [row for row in csv.DictReader(table) if _is_test_lesion(row["lesion_id"]) != train]
    places = {path.stem: path for path in root.glob("HAM10000_images_part_*/*.jpg")}
    missing = [row["image_id"] for row in rows if row["image_id"] not in places]
    if missing:
        raise RequestError("benchmark", str(root), f"should hold all images of its table; {missing[0]}.jpg is missing.")
    return [(places[row["image_id"]], image.classes.index(row["dx"])) for row in rows]


def _is_test_lesion(lesion: str) -> bool:
    return int(hashlib.sha256(lesion.encode()).hexdigest(), 16) % 5 == 0


def _image_folder(root: Path, image: ImageSpec) -> Files:
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


SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff"}
MAX_PIXELS = 64_000_000  # of one image file; Pillow itself only warns
FORMATS = "PNG, JPEG, BMP, WebP, TIFF"
MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}


def read_files(files: Sequence[tuple[Path, int]], image: ImageSpec) -> LabelledImages:
    """Image files with their labels, brought to the shape of ``image``. Raises ``RequestError`` naming a bad one."""
    images = np.empty((len(files), image.size, image.size, image.channels), np.uint8)
    for index, (path, _) in enumerate(files):
        images[index] = _read_image(path, image)
    labels = torch.tensor([label for _, label in files])
    return LabelledImages(torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(), labels)


def _read_image(path: Path, image: ImageSpec) -> np.ndarray:
    """One file as (H, W, C) uint8. Raises ``RequestError`` for one that is damaged, or a bomb."""
    picture = decode(path, str(path)).convert(MODES[image.channels])
    if picture.size != (image.size, image.size):
        picture = picture.resize((image.size, image.size), Image.Resampling.BILINEAR)
    return np.asarray(picture).reshape(image.size, image.size, image.channels)


def decode(file: Path | BinaryIO, name: str) -> Image.Image:
    """The image, in one of ``MODES``. Raises ``RequestError`` (image ``name``) for one that is damaged, or a bomb."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the cap below is the stricter one
            opened = Image.open(file, formats=FORMATS.upper().split(", "))
        with opened:
            if opened.width * opened.height > MAX_PIXELS:
                raise Image.DecompressionBombError
            opened.load()
            return opened if opened.mode in MODES.values() else _plain(opened)
    except Image.DecompressionBombError:
        raise RequestError("image", name, f"should have at most {MAX_PIXELS:,} pixels.") from None
    except UnidentifiedImageError:
        raise RequestError("image", name, f"cannot be read: it is none of {FORMATS}.") from None
    except Exception as error:  # damaged files make Pillow raise nearly anything
        raise RequestError("image", name, f"cannot be read: {error}.") from None


def _plain(picture: Image.Image) -> Image.Image:
    """Palettes, CMYK and the like as one of ``MODES``."""
    if picture.mode.startswith("I;16"):  # Pillow would clip, and leave white
        return Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    if picture.mode in ("I", "F"):
        raise ValueError("it has more than 16 bits a pixel")
    if picture.mode == "1":
        return picture.convert("L")
    return picture.convert("RGBA" if picture.has_transparency_data else "RGB")


def resize(pixels: Tensor, size: int) -> Tensor:
    """(N, C, H, W) uint8 -> (N, C, size, size)."""
    if pixels.shape[-1] == size:
        return pixels
    from torchvision.transforms.v2 import functional

    return torch.cat([functional.resize(part, [size, size], antialias=True) for part in pixels.split(4096)])


def _folder_benchmark(name: str, image: ImageSpec | None) -> Benchmark:
    root = Path(name.removeprefix("folder:")).expanduser()
    if not root.is_dir():
        raise RequestError("benchmark", name, "should name a folder that exists, with one subfolder a class.")
    if image is None:
        raise RequestError("teacher", None, "a folder of images needs a teacher, which says what its images are.")

    def split(_folder: Path, train: bool, spec: ImageSpec) -> Files:
        inside = root / ("train" if train else "test")
        return _image_folder(inside if inside.is_dir() else root, spec)

    return Benchmark(name, f"Folder {root.name}", image, original=_images_in(root), list_split=split)


def _images_in(root: Path) -> int:
    """Images in the subfolders of a folder's training split."""
    inside = root / "train"
    return sum(path.suffix.lower() in SUFFIXES for path in (inside if inside.is_dir() else root).glob("*/*"))


# --- the list --------------------------------------------------------------------------------------------------

_TEN = tuple(str(digit) for digit in range(10))
_FASHION = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
_CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_TINY_TEN = (
    "Egyptian cat", "golden retriever", "king penguin", "bullfrog", "sports car", "school bus", "lifeboat", "gazelle",
    "pizza", "seashore",
)  # fmt: skip
_CIFAR_MEAN, _CIFAR_STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def _numbered(count: int) -> tuple[str, ...]:
    return tuple(f"class {index}" for index in range(count))


BENCHMARKS: dict[str, Benchmark] = {
    benchmark.name: benchmark
    for benchmark in (
        Benchmark("digits", "Digits 8×8", ImageSpec(1, 8, (0.3,), (0.37,), _TEN), _digits, original=1198),
        Benchmark(
            "mnist",
            "MNIST",
            ImageSpec(1, 32, (0.1307,), (0.3081,), _TEN),
            _torchvision("MNIST"),
            _downloader("MNIST"),
            "MNIST/raw",
            12,
            original=60_000,
        ),
        Benchmark(
            "fashion-mnist",
            "Fashion-MNIST",
            ImageSpec(1, 32, (0.2860,), (0.3530,), _FASHION),
            _torchvision("FashionMNIST"),
            _downloader("FashionMNIST"),
            "FashionMNIST/raw",
            31,
            original=60_000,
        ),
        Benchmark(
            "cifar10",
            "CIFAR-10",
            ImageSpec(3, 32, _CIFAR_MEAN, _CIFAR_STD, _CIFAR10),
            _torchvision("CIFAR10"),
            _downloader("CIFAR10"),
            "cifar10",
            170,
            ("cifar-10-batches-py",),
            original=50_000,
            list_split=_cifar10,
        ),
        Benchmark(
            "cifar100",
            "CIFAR-100",
            ImageSpec(3, 32, _CIFAR_MEAN, _CIFAR_STD, _numbered(100)),
            _torchvision("CIFAR100"),
            _downloader("CIFAR100"),
            "cifar-100-python",
            169,
            original=50_000,
        ),
        Benchmark(
            "tiny-imagenet",
            "TinyImageNet",
            ImageSpec(3, 64, _IMAGENET_MEAN, _IMAGENET_STD, _numbered(200)),
            where="tiny-imagenet-200",
            original=100_000,
            list_split=_tiny_imagenet("tiny-imagenet-200"),
        ),
        Benchmark(
            "tiny-imagenet-10",
            "TinyImageNet, ten classes",
            ImageSpec(3, 64, _IMAGENET_MEAN, _IMAGENET_STD, _TINY_TEN),
            where="tiny-imagenet-10",
            original=5_000,
            list_split=_tiny_imagenet("tiny-imagenet-10"),
        ),
        Benchmark(
            "cinic10",
            "CINIC-10",
            ImageSpec(3, 32, (0.4789, 0.4723, 0.4305), (0.2421, 0.2383, 0.2587), _CIFAR10),
            where="cinic-10",
            original=90_000,
            list_split=_splits("cinic-10", "train", "test"),
        ),
        Benchmark(
            "ham10000",
            "HAM10000",
            ImageSpec(3, 224, (0.5,) * 3, (0.5,) * 3, ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")),
            where="ham10000",
            original=8_000,  # HiDFD's; the split by lesion comes close
            list_split=_ham10000,
        ),
        Benchmark(
            "imagenet",
            "ImageNet",
            ImageSpec(3, 224, _IMAGENET_MEAN, _IMAGENET_STD, _numbered(1000)),
            where="imagenet",
            original=1_281_167,
            list_split=_splits("imagenet", "train", "val"),
        ),
    )
}
