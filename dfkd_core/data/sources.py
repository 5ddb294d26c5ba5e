"""Collected images: real ones from elsewhere, few and without labels, that a method may learn from. No torch.

A source is a benchmark's training images by its name, ``pool`` (20,000 natural images), ``webvision``, ``isic``, some
that come with the lab (``mnist-sample``, ``photo-patches``), any folder as ``folder:PATH``, or an unpacked upload as
``upload:NAME``. Whatever labels or folder names it has are
dropped here: a method gets pixels, and even their order depends on file names and contents only. Files are listed
first, and only those that were chosen, or that the teacher has to look at, are read.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property, lru_cache
from itertools import groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dfkd_core.data.catalogue import BENCHMARKS, LISTED, Benchmark, data_folder, usual_of
from dfkd_core.data.files import Skipped, TooManyError, folder_of, images_in
from dfkd_core.data.uploads import check_name, uploaded, uploads
from dfkd_core.errors import RequestError
from dfkd_core.images import ImageSpec

if TYPE_CHECKING:
    from torch import Tensor

SHEETS = Path(__file__).resolve().parents[2] / "assets" / "collected"  # of images that come with the lab

# --- sources ---------------------------------------------------------------------------------------------------


class Folder:
    """Image files below some folders, at any depth; ``where``: these. Raises ``RequestError`` if there is none."""

    def __init__(self, name: str, title: str, roots: tuple[Path, ...], own: Callable[[], set[str]] = set) -> None:
        self.name, self.title, self.roots, self.own = name, title, roots, own
        self.where = " or ".join(map(str, roots))

    def is_there(self) -> bool:
        """Whether it can be read (looks for the folder, does not read it)."""
        return any(root.is_dir() for root in self.roots)

    def count(self, enough: int | None = None, looked: int | None = None) -> int:
        """How many images it has; stops counting at ``enough``. Raises ``RequestError`` after ``looked`` files and
        folders that were not."""
        return sum(1 for _ in islice(self._listed(looked), enough))

    def read(self, indices: Tensor, image: ImageSpec) -> Tensor:
        """The images of ``indices``, (N, C, H, W) uint8 in the shape of ``image``."""
        return _read(self._paths, indices, image)

    @cached_property
    def _paths(self) -> list[Path]:
        return blind_order(self._listed())

    def paths(self, looked: int | None = None) -> list[Path]:
        """Its image files, in no particular order. Raises ``RequestError`` like ``count``."""
        return list(self._listed(looked))

    def skipped(self, looked: int | None = None) -> str:
        """What of it is no image that is read, in words; empty where nothing is."""
        found = Skipped()
        for _ in self._listed(looked, found):
            pass
        return str(found)

    def _listed(self, looked: int | None = None, skipped: Skipped | None = None) -> Iterator[Path]:
        if not self.is_there():
            raise RequestError("collected", self.name, f"has no images: there is no folder {self.where}.")
        own = self.own()
        try:
            for root in self.roots:
                yield from (path for path, _ in images_in(root, skipped, looked) if path.stem not in own)
        except TooManyError:
            says = (
                f"has more than {looked:,} files and folders; name one nearer to the images. Start looks at them all."
            )
            raise RequestError("collected", self.name, says) from None


class TrainingImages:
    """The training images of a benchmark, without their labels; asked in the same way."""

    def __init__(self, benchmark: Benchmark) -> None:
        self.benchmark, self.name = benchmark, benchmark.name
        self.title = f"{benchmark.title}, training images"
        place = benchmark.place
        self.where = str(place or data_folder() / benchmark.where) if benchmark.where else ""
        self.roots = tuple(filter(None, [place]))

    def is_there(self) -> bool:
        return self.benchmark.is_there()

    def count(self, enough: int | None = None, looked: int | None = None) -> int:
        if self._files is not None:
            return len(self._files)
        return _count(self.name, data_folder(), _changed(self.benchmark.place))

    def read(self, indices: Tensor, image: ImageSpec) -> Tensor:
        from dfkd_core.data.pictures import resize, to_channels

        if self._files is not None:
            return _read(self._files, indices, image)
        return resize(to_channels(self._pixels[indices], image.channels), image.size)

    @cached_property
    def _files(self) -> list[Path] | None:
        files = self.benchmark.files(train=True)
        return None if files is None else blind_order(path for path, _ in files)

    @cached_property
    def _pixels(self) -> Tensor:
        return self.benchmark.load(train=True).images


class Shipped:
    """Images that come with the lab, as squares of ``side`` pixels on one sheet; asked in the same way."""

    roots: tuple[Path, ...] = ()
    where = ""

    def __init__(self, name: str, title: str, sheet: str, side: int, count: int) -> None:
        self.name, self.title, self.sheet, self.side, self.images = name, title, SHEETS / sheet, side, count

    def is_there(self) -> bool:
        return True

    def count(self, enough: int | None = None, looked: int | None = None) -> int:
        return self.images

    def read(self, indices: Tensor, image: ImageSpec) -> Tensor:
        from dfkd_core.data.pictures import resize, to_channels

        return resize(to_channels(self._pixels[indices], image.channels), image.size)

    @cached_property
    def _pixels(self) -> Tensor:
        """(N, C, side, side) uint8, from left to right, line by line."""
        from dfkd_core.data.pictures import squares

        return squares(self.sheet, self.side)[: self.images]


Source = Folder | TrainingImages | Shipped


def _read(paths: list[Path], indices: Tensor, image: ImageSpec) -> Tensor:
    """The files of ``indices``, (N, C, H, W) uint8."""
    from dfkd_core.data.pictures import read_files

    return read_files([(paths[index], 0) for index in indices.tolist()], image).images


@lru_cache(maxsize=32)
def _count(benchmark: str, folder: Path, changed: float) -> int:
    """Counting an archive means reading it, and a form asks at every change."""
    return len(BENCHMARKS[benchmark].load(train=True))


def _changed(path: Path | None) -> float:
    return path.stat().st_mtime if path is not None and path.exists() else 0.0


def blind_order(paths: Iterable[Path]) -> list[Path]:
    """Sorted by file name, size and content, never by folder: folders' names may be labels."""
    named: dict[str, list[Path]] = defaultdict(list)
    for path in paths:
        named[path.name].append(path)
    return [path for name in sorted(named) for path in _by_content(named[name])]


def _by_content(paths: list[Path]) -> Iterator[Path]:
    """Files of one name by size, and by content where that is the same."""
    if len(paths) == 1:
        yield paths[0]
        return
    for _, group in groupby(sorted(paths, key=_size), key=_size):
        alike = list(group)
        yield from sorted(alike, key=lambda path: path.read_bytes()) if len(alike) > 1 else alike


def _size(path: Path) -> int:
    return path.stat().st_size


def available_sources() -> list[Source]:
    """Every source that has a name, whether its images are there or not; then the uploads."""
    names = [*BENCHMARKS, *LISTED["sources"], *(f"upload:{name}" for name in uploaded())]
    return [find_source(name) for name in names]


def find_source(name: str, benchmark: Benchmark | None = None) -> Source:
    """The source ``name``. Where it shares files with ``benchmark`` (ISIC holds the images of HAM10000), these are
    passed over. Raises ``RequestError`` for an unknown name, or none."""
    if name in BENCHMARKS:
        return TrainingImages(BENCHMARKS[name])
    if name == "folder:":
        raise RequestError("collected", name, "should name a folder: folder:PATH.")
    if name.startswith("folder:"):
        root = folder_of(name)
        return Folder(f"folder:{root}", f"Folder {root.name}", (root,))
    if name.startswith("upload:"):
        upload = check_name(name.removeprefix("upload:"))
        return Folder(name, f"Upload {upload}", (uploads() / upload,))
    only_collected = LISTED["sources"]
    if "sheet" in only_collected.get(name, {}):
        return Shipped(name, **only_collected[name])
    if name not in only_collected:
        known = ", ".join([*BENCHMARKS, *only_collected])
        raise RequestError("collected", name, f"should be one of {known}, folder:PATH or upload:NAME.")
    roots = tuple(data_folder() / place for place in only_collected[name]["where"])

    def own() -> set[str]:
        if benchmark is None or name not in benchmark.same_files or not benchmark.is_there():
            return set()
        both = [benchmark.files(train) or [] for train in (True, False)]
        return {path.stem for files in both for path, _ in files}

    return Folder(name, only_collected[name]["title"], roots, own)


# --- what is asked of them -------------------------------------------------------------------------------------


def usual_source(benchmark: str) -> str:
    """What is collected for the benchmark of that name where nobody says it; images that come with the lab, where the
    usual ones are not there, so that everything can be tried at once."""
    usual = usual_of(benchmark)
    return usual.source if find_source(usual.source).is_there() else usual.shipped


def usual_ratio(source: Source, benchmark: Benchmark) -> float:
    """ρ where nobody says it; of images that come with the lab, no more than there are."""
    usual = benchmark.usual.ratio
    return min(usual, _most(source.count(), benchmark)) if isinstance(source, Shipped) else usual


def check_collected(name: str, benchmark: Benchmark, ratio: float, looked: int | None = None) -> str:
    """The source's name (empty: the usual one of ``benchmark``), if it holds the images that ``ratio`` asks for.

    Raises ``RequestError`` with how many it has, and which ratio would fit, or after ``looked`` files and folders.
    """
    name = name or usual_source(benchmark.name)
    checked_count(find_source(name, benchmark), benchmark, ratio, looked)
    return name


def wanted(benchmark: Benchmark, ratio: float) -> int:
    """|D_c| = ρ |D_o|, rounded. Raises ``RequestError`` for less than two images."""
    count = round(ratio * benchmark.original)
    if count < 2:
        least = math.ceil(2e4 / max(benchmark.original, 1)) / 1e4
        says = f"is less than two of {benchmark.title}'s {benchmark.original:,} images; should be at least {least:g}."
        raise RequestError("ratio", ratio, says)
    return count


def checked_count(source: Source, benchmark: Benchmark, ratio: float, looked: int | None = None) -> int:
    """How many images to collect of ``source``. Raises ``RequestError`` where it has fewer."""
    count = wanted(benchmark, ratio)
    if (there := source.count(count, looked)) < count:
        says = f"asks for {count:,} of {source.title}, which has {there:,} images; "
        if there < 2:
            raise RequestError("collected", source.name, f"has {there} images; should have two at least.")
        raise RequestError("ratio", ratio, f"{says}should be at most {_most(there, benchmark):g}.")
    return count


def _most(there: int, benchmark: Benchmark) -> float:
    """The largest ρ that ``there`` images are enough for, with four digits, rounded down."""
    digits = 10 ** (3 - math.floor(math.log10(there / benchmark.original)))
    return math.floor(digits * there / benchmark.original) / digits


def source_facts(name: str, benchmark: Benchmark, ratio: float, collecting: str) -> dict[str, Any]:
    """What is asked for, in words and numbers for people; ``original``: |D_o|."""
    return {
        "source": name,
        "title": find_source(name).title,
        "ratio": ratio,
        "original": benchmark.original,
        "collecting": collecting,
    }
