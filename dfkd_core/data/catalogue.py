"""The benchmarks by name, and any folder of images by class as ``folder:PATH``: what is known of each. No torch.

A new benchmark is one entry in the list below, with its fields. Images are held as uint8, (N, C, H, W), and normalised
on the way to a network, so that a whole data set fits in memory and nothing depends on worker processes.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dfkd_core.data import layouts
from dfkd_core.data.layouts import Files, Lister, Loader
from dfkd_core.errors import RequestError
from dfkd_core.images import ImageSpec

if TYPE_CHECKING:
    from dfkd_core.data.labelled import LabelledImages


@dataclass(frozen=True)
class Usual:
    """What a form begins with, and a request that says nothing gets."""

    teacher: str = ""  # a classifier; empty: the first that there is
    student: str = "resnet18"
    source: str = "pool"  # of collected images
    ratio: float = 0.1  # ρ = |D_c| / |D_o|
    generative_student: str = "lvae-8"

    def student_of(self, task: str) -> str:
        """The student of a teacher of ``task``."""
        return self.student if task == "classifier" else self.generative_student


@dataclass(frozen=True)
class Benchmark:
    """A task with its data, in one of the ``layouts``: ``list_split`` where they are files below ``where``, else
    ``load_split``. Both raise ``FileNotFoundError`` where the data are missing; ``download`` fetches them, where that
    is possible."""

    name: str
    title: str
    image: ImageSpec
    original: int  # |D_o|, images that its teachers were trained on
    where: str = ""  # what the data folder should hold, for the user
    also: tuple[str, ...] = ()  # other places within the data folder
    list_split: Lister | None = None
    load_split: Loader | None = None
    download: Callable[[Path], Any] | None = None
    megabytes: int = 0  # of the download
    usual: Usual = Usual()
    overlaps: tuple[str, ...] = ()  # benchmarks and sources that have images in common with it
    same_files: tuple[str, ...] = ()  # sources that hold its very files, by their names

    def load(self, train: bool) -> LabelledImages:
        """The training or the test split. Raises ``RequestError`` naming the folder if the data are not there."""
        from dfkd_core.data.pictures import read_files, resize

        files = self.files(train)
        if files is not None:
            return read_files(files, self.image)
        assert self.load_split is not None, "a benchmark without a list of files has a reader"
        data = self._found(partial(self.load_split, data_folder(), train))
        return replace(data, images=resize(data.images, self.image.size))

    def files(self, train: bool) -> Files | None:
        """The files of a split with their labels, without reading them; None where it is kept in one archive.

        Raises ``RequestError`` naming the folder if the data are not there.
        """
        if self.list_split is None:
            return None
        files = self._found(partial(self.list_split, data_folder() / self.where, train, self.image))
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


def usual_of(name: str) -> Usual:
    """What is usual for the benchmark ``name``; for ``folder:PATH`` that of any other."""
    return BENCHMARKS[name].usual if name in BENCHMARKS else Usual()


def overlap(one: str, other: str) -> bool:
    """Whether two benchmarks, or a benchmark and a source of collected images, have images in common. It is enough
    that one of the two says so."""

    def says(name: str) -> tuple[str, ...]:
        return BENCHMARKS[name].overlaps + BENCHMARKS[name].same_files if name in BENCHMARKS else ()

    return other in says(one) or one in says(other)


def _folder_benchmark(name: str, image: ImageSpec | None) -> Benchmark:
    root = Path(name.removeprefix("folder:")).expanduser()
    if not root.is_dir():
        raise RequestError("benchmark", name, "should name a folder that exists, with one subfolder a class.")
    if image is None:
        raise RequestError("teacher", None, "a folder of images needs a teacher, which says what its images are.")

    def split(_root: Path, train: bool, spec: ImageSpec) -> Files:
        return layouts.one_folder(root, train, spec)

    return Benchmark(name, f"Folder {root.name}", image, layouts.training_images(root), list_split=split)


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
        Benchmark(
            "digits",
            "Digits 8×8",
            ImageSpec(1, 8, (0.3,), (0.37,), _TEN),
            original=1198,
            load_split=layouts.digits,
            usual=Usual(teacher="digits-resnet20-plain", student="resnet8", source="mnist", ratio=0.05),
        ),
        Benchmark(
            "mnist",
            "MNIST",
            ImageSpec(1, 32, (0.1307,), (0.3081,), _TEN),
            original=60_000,
            where="MNIST/raw",
            load_split=layouts.archive("MNIST"),
            download=layouts.download("MNIST"),
            megabytes=12,
            usual=Usual(teacher="mnist-lenet5-plain", student="lenet5-half", source="digits", ratio=0.01),
        ),
        Benchmark(
            "fashion-mnist",
            "Fashion-MNIST",
            ImageSpec(1, 32, (0.2860,), (0.3530,), _FASHION),
            original=60_000,
            where="FashionMNIST/raw",
            load_split=layouts.archive("FashionMNIST"),
            download=layouts.download("FashionMNIST"),
            megabytes=31,
            usual=Usual(student="lenet5-half", source="mnist"),
        ),
        Benchmark(
            "cifar10",
            "CIFAR-10",
            ImageSpec(3, 32, _CIFAR_MEAN, _CIFAR_STD, _CIFAR10),
            original=50_000,
            where="cifar10",
            also=("cifar-10-batches-py",),
            list_split=layouts.class_folders("train", "test", optional=True),
            load_split=layouts.archive("CIFAR10"),
            download=layouts.download("CIFAR10"),
            megabytes=170,
            usual=Usual(teacher="cifar10-resnet20-shift"),
        ),
        Benchmark(
            "cifar100",
            "CIFAR-100",
            ImageSpec(3, 32, _CIFAR_MEAN, _CIFAR_STD, _numbered(100)),
            original=50_000,
            where="cifar-100-python",
            load_split=layouts.archive("CIFAR100"),
            download=layouts.download("CIFAR100"),
            megabytes=169,
        ),
        Benchmark(
            "tiny-imagenet",
            "TinyImageNet",
            ImageSpec(3, 64, _IMAGENET_MEAN, _IMAGENET_STD, _numbered(200)),
            original=100_000,
            where="tiny-imagenet-200",
            list_split=layouts.tiny_imagenet,
            usual=Usual(source="webvision"),
            overlaps=("imagenet",),
            same_files=("pool",),
        ),
        Benchmark(
            "tiny-imagenet-10",
            "TinyImageNet, ten classes",
            ImageSpec(3, 64, _IMAGENET_MEAN, _IMAGENET_STD, _TINY_TEN),
            original=5_000,
            where="tiny-imagenet-10",
            list_split=layouts.tiny_imagenet,
            overlaps=("imagenet", "tiny-imagenet"),
            same_files=("pool",),
        ),
        Benchmark(
            "cinic10",
            "CINIC-10",
            ImageSpec(3, 32, (0.4789, 0.4723, 0.4305), (0.2421, 0.2383, 0.2587), _CIFAR10),
            original=90_000,
            where="cinic-10",
            list_split=layouts.class_folders("train", "test"),
            overlaps=("cifar10", "imagenet", "tiny-imagenet", "tiny-imagenet-10", "pool"),
        ),
        Benchmark(
            "ham10000",
            "HAM10000",
            ImageSpec(3, 224, (0.5,) * 3, (0.5,) * 3, ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")),
            original=8_000,  # HiDFD's; the split by lesion comes close
            where="ham10000",
            list_split=layouts.ham10000,
            usual=Usual(source="isic"),
            same_files=("isic",),
        ),
        Benchmark(
            "imagenet",
            "ImageNet",
            ImageSpec(3, 224, _IMAGENET_MEAN, _IMAGENET_STD, _numbered(1000)),
            original=1_281_167,
            where="imagenet",
            list_split=layouts.class_folders("train", "val"),
            usual=Usual(source="webvision"),
            overlaps=("pool",),
        ),
    )
}
