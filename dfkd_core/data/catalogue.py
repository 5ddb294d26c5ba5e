"""The benchmarks by name, and any folder of images by class as ``folder:PATH``: what is known of each. No torch.

They stand in ``catalogue.toml``. Images are held as uint8, (N, C, H, W), and normalised on the way to a network, so
that a whole data set fits in memory and nothing depends on worker processes.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from dfkd_core.data import archives, layouts
from dfkd_core.data.files import Files, folder_of, is_junk
from dfkd_core.data.layouts import Listing
from dfkd_core.errors import RequestError
from dfkd_core.images import ImageSpec

if TYPE_CHECKING:
    from dfkd_core.data.labelled import LabelledImages

STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, config=STRICT)
class Usual:
    """What a form begins with, and a request that says nothing gets."""

    teacher: str = ""  # a classifier; empty: the first that there is
    teacher_network: str = "resnet34"  # that teachers of it mostly are in papers
    student: str = "resnet18"
    source: str = "pool"  # of collected images
    shipped: str = "photo-patches"  # the same where that is not there
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
    layout: str = ""  # one of ``layouts.LISTED``
    archive: str = ""
    megabytes: int = 0  # of the download
    usual: Usual = Usual()
    overlaps: tuple[str, ...] = ()  # benchmarks and sources that have images in common with it
    same_files: tuple[str, ...] = ()  # sources that hold its very files, by their names

    def load(self, train: bool) -> LabelledImages:
        """The training or the test split. Raises ``RequestError`` naming the folder if the data are not there."""
        from dfkd_core.data.pictures import read_files, resize, to_channels

        files = self.files(train)
        if files is not None:
            return read_files(files, self.image)
        try:
            data = archives.read_archive(self.archive, data_folder(), train)
        except FileNotFoundError:
            raise self._missing() from None
        except archives.UnknownFilesError as error:
            raise self._unknown(archives.find_archive(self.archive, data_folder()), f"{error}") from None
        return replace(data, images=to_channels(resize(data.images, self.image.size), self.image.channels))

    def files(self, train: bool) -> Files | None:
        """The files of a split with their labels, without reading them; None where it is kept in one archive."""
        found = self.listing(train)
        return None if found is None else found.files

    def listing(self, train: bool) -> Listing | None:
        """The same with how they were read.

        Raises ``RequestError`` naming the folder if the data are not there, or are laid out in a way that is not known.
        """
        if not self.layout:
            return None
        root = data_folder() / self.where
        try:
            found = layouts.LISTED[self.layout](root, train, self.image)
        except FileNotFoundError:
            if self.archive and archives.find_archive(self.archive, data_folder()):
                return None
            raise self._missing() from None
        if not found.files:
            raise RequestError("benchmark", self.name, f"has no {'training' if train else 'test'} images in {root}.")
        return found

    def doubts(self) -> list[str]:
        """What is doubtful in how its test images lie on disk. Raises ``RequestError`` as ``listing``."""
        found = self.listing(train=False)
        return [] if found is None else found.doubts

    @property
    def download(self) -> Callable[[Path], Any] | None:
        """What fetches the data into a data folder, where that is possible."""
        return partial(archives.download, self.archive) if self.megabytes else None

    def _missing(self) -> RequestError:
        """It is not there; or it is, but not as any layout has it."""
        folder = data_folder()
        place = folder / self.where
        if any(not is_junk(name) for name in _names(place)):
            return self._unknown(place, f"should hold {self.expected}")
        hint = f"has no {self.title}: {place} should hold {self.expected}. Put it there, give another folder"
        hint += f"{self._fetch()}."
        return RequestError("DFKD_DATA", str(folder), hint)

    def _unknown(self, place: Path | None, amiss: str) -> RequestError:
        names = [name for name in _names(place) if not is_junk(name)] if place else []
        there = ", ".join(names[:6]) + (" …" if len(names) > 6 else "") or "nothing"
        says = f"has {place}, but not in a layout of {self.title} that is known: {amiss}; it holds {there}"
        return RequestError("DFKD_DATA", str(data_folder()), f"{says}. Lay it out so{self._fetch()}.")

    @property
    def expected(self) -> str:
        """What the data folder's ``where`` should hold, in words."""
        as_files, as_archive = layouts.EXPECTED.get(self.layout, ""), archives.EXPECTED.get(self.archive, "")
        return f"{as_files} (or {as_archive})" if as_files and as_archive else as_files or as_archive

    def _fetch(self) -> str:
        return f", or fetch it: python -m dfkd_core benchmarks download {self.name}" if self.megabytes else ""

    @property
    def place(self) -> Path | None:
        """Where its data are; None if they are not there, or come with a library. Looks for it, reads nothing."""
        place = data_folder() / self.where
        if not self.where or (self.layout and place.exists()):
            return place if self.where else None
        found = archives.find_archive(self.archive, data_folder())
        return found or (place if place.exists() else None)

    def is_there(self) -> bool:
        """Whether evaluation data can be read (looks for the folder, does not read it)."""
        return not self.where or self.place is not None


def _names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


_DATA: ContextVar[Path | None] = ContextVar("data folder", default=None)


@contextmanager
def data_in(folder: str | Path) -> Iterator[None]:
    """Within it, and only in this thread, data lie in ``folder``; nothing changes if it is empty."""
    token = _DATA.set(Path(folder).expanduser().absolute()) if str(folder) else None
    try:
        yield
    finally:
        if token is not None:
            _DATA.reset(token)


def data_folder() -> Path:
    """Where data lie: what ``data_in`` says, else ``DFKD_DATA``, else ``data`` in the current folder."""
    return _DATA.get() or Path(os.environ.get("DFKD_DATA") or "data").expanduser()


def find_benchmark(name: str, image: ImageSpec | None = None) -> Benchmark:
    """The benchmark ``name``, with the images that ``image`` (the teacher's) says; a benchmark's own classes stay its
    own. ``folder:PATH`` takes it from there, or else from its class folders and its first image."""
    if name.startswith("folder:"):
        return _folder_benchmark(name, image)
    if name not in BENCHMARKS:
        raise RequestError("benchmark", name, f"should be one of {', '.join(BENCHMARKS)}, or folder:PATH.")
    found = BENCHMARKS[name]
    return found if image is None else replace(found, image=replace(image, classes=found.image.classes))


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
    root = folder_of(name)
    if not root.is_dir() or name == "folder:":
        raise RequestError("benchmark", name, "should name a folder that exists, with one subfolder a class.")
    image = image or layouts.folder_image(root)
    count = layouts.training_images(root)
    return Benchmark(f"folder:{root}", f"Folder {root.name}", image, count, where=str(root), layout="one-folder")


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
