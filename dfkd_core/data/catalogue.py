"""The benchmarks by name, and any folder of images by class as ``folder:PATH``: what is known of each. No torch.

They stand in ``catalogue.toml``. Images are held as uint8, (N, C, H, W), and normalised on the way to a network, so
that a whole data set fits in memory and nothing depends on worker processes.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from dfkd_core.data import layouts
from dfkd_core.data.layouts import Files
from dfkd_core.errors import RequestError
from dfkd_core.images import ImageSpec

if TYPE_CHECKING:
    from dfkd_core.data.labelled import LabelledImages

STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, config=STRICT)
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


@dataclass(frozen=True, config=STRICT)
class Benchmark:
    """A task with its data: files below ``where`` in one of the ``layouts``, or else torchvision's ``archive`` (the
    name of its class), which can be fetched."""

    name: str
    title: str
    image: ImageSpec
    original: int  # |D_o|, images that its teachers were trained on
    where: str = ""  # what the data folder should hold, for the user
    also: tuple[str, ...] = ()  # other places within the data folder
    layout: str = ""  # one of ``layouts.LISTED``
    archive: str = ""
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
        try:
            data = layouts.read_archive(self.archive, data_folder(), train)
        except (FileNotFoundError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and "not found" not in str(error).lower():
                raise
            raise self._missing() from None
        return replace(data, images=resize(data.images, self.image.size))

    def files(self, train: bool) -> Files | None:
        """The files of a split with their labels, without reading them; None where it is kept in one archive.

        Raises ``RequestError`` naming the folder if the data are not there.
        """
        if not self.layout:
            return None
        root = data_folder() / self.where
        try:
            files = layouts.LISTED[self.layout](root, train, self.image)
        except FileNotFoundError:
            if self.archive:
                return None
            raise self._missing() from None
        if not files:
            raise RequestError("benchmark", self.name, f"has no {'training' if train else 'test'} images in {root}.")
        return files

    @property
    def download(self) -> Callable[[Path], Any] | None:
        """What fetches the data into a data folder, where that is possible."""
        return partial(layouts.download, self.archive) if self.megabytes else None

    def _missing(self) -> RequestError:
        folder = data_folder()
        fetch = f", or fetch it: python -m dfkd_core benchmarks download {self.name}" if self.megabytes else ""
        hint = f"has no {self.title} (looked for {folder / self.where}). Give another folder{fetch}."
        return RequestError("DFKD_DATA", str(folder), hint)

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
    count = layouts.training_images(root)
    return Benchmark(name, f"Folder {root.name}", image, count, where=str(root.absolute()), layout="one-folder")


# --- the list --------------------------------------------------------------------------------------------------

LISTED = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))


def _image(mean: list[float], classes: int | str | list[str], **fields: Any) -> ImageSpec:
    """An image specification as the list has it."""
    if isinstance(classes, int):
        classes = [f"class {index}" for index in range(classes)]
    names = LISTED["classes"][classes] if isinstance(classes, str) else classes
    return ImageSpec(len(mean), mean=tuple(mean), std=tuple(fields.pop("std")), classes=tuple(names), **fields)


BENCHMARKS: dict[str, Benchmark] = {
    name: Benchmark(**{**fields, "name": name, "image": _image(**fields["image"])})
    for name, fields in LISTED["benchmarks"].items()
}
