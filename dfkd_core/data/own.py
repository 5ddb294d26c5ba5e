"""Whether collected images are the teacher's own data: by name, by folder, and by what is seen on them.

Images are compared by thumbnails of 8×8 grey values, so that a copy is known again that was renamed, saved in another
format or made smaller. Of a large set a part is looked at: of a folder that holds the teacher's data, many would be
found. Blank images, which look alike, say nothing.
"""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from dfkd_core.data.archives import UnknownFilesError, read_archive
from dfkd_core.data.catalogue import Benchmark, data_folder, overlap
from dfkd_core.data.files import folder_of
from dfkd_core.data.sources import Folder, Source
from dfkd_core.errors import RequestError
from dfkd_core.images import ImageSpec

if TYPE_CHECKING:
    from torch import Tensor

COMPARED = 500  # images of a source
LOOKED_AT, LEAST_FILES = 2 << 20, 400  # of the teacher's own image files of each split: bytes, however large they are
SIDE = 8  # of a thumbnail
CLOSE = 2.0  # root mean square difference of grey values, from 0 to 255
LEAST_CONTRAST = 6.0  # standard deviation of a thumbnail's grey values
SHARE = 0.01  # of the images that are compared


def saw_data_of(one: str, other: str) -> bool:
    """Whether two names of benchmarks or sources stand for data that are the same, or have images in common."""
    if one.startswith("folder:") and other.startswith("folder:"):
        return _nested(folder_of(one), folder_of(other))
    return one == other or overlap(one, other)


def own_data(source: Source, trained_on: str, benchmark: Benchmark, looked: int | None = None) -> str:
    """Why ``source`` holds the teacher's own data, in words; empty where nothing says so.

    ``trained_on``: the benchmark on the teacher's card. ``benchmark``: that of the run, whose data stand for it.
    Raises ``RequestError`` after ``looked`` files and folders of the source.
    """
    for own in dict.fromkeys((trained_on, benchmark.name)):
        passed_over = own == benchmark.name and source.name in benchmark.same_files
        if not passed_over and saw_data_of(source.name, own):
            return f"holds the teacher's own data ({own})"
    places = [benchmark.place, folder_of(trained_on) if trained_on.startswith("folder:") else None]
    for place in filter(None, places):
        if any(_nested(root, place) for root in source.roots):
            return f"lies in the folder of the teacher's own data, or holds it ({place})"
    if not isinstance(source, Folder):
        return ""
    found, compared = _seen_again(source, benchmark, looked)
    return f"shows images of the teacher's own data: {found} of {compared} that were compared" if found else ""


def _nested(one: Path, other: Path) -> bool:
    """Whether one lies within the other, wherever links lead."""
    one, other = one.expanduser().resolve(), other.expanduser().resolve()
    return one.is_relative_to(other) or other.is_relative_to(one)


# --- by what is seen on them -----------------------------------------------------------------------------------------


def _seen_again(source: Folder, benchmark: Benchmark, looked: int | None) -> tuple[int, int]:
    """How many of a sample of ``source`` are among the benchmark's own images, 0 if that may be chance; of how many."""
    import torch

    own = _own_images(benchmark, data_folder(), _changed(benchmark.place))
    paths = evenly(sorted(source.paths(looked)), COMPARED) if len(own.thumbnails) else []
    ours = _thumbnails(_read(paths, own.image))
    if not len(ours):
        return 0, 0
    nearest = torch.cdist(ours, own.thumbnails).amin(dim=1)
    found = int((nearest <= CLOSE * SIDE).sum())
    return (found if found >= max(1, math.ceil(SHARE * own.share * len(ours))) else 0), len(ours)


@dataclass(frozen=True)
class _Own:
    """``thumbnails`` of a ``share`` of the images, which were read in the shape of ``image``."""

    thumbnails: Tensor
    share: float
    image: ImageSpec


@lru_cache(maxsize=8)
def _own_images(benchmark: Benchmark, folder: Path, changed: float) -> _Own:
    """Of the training and the test images; none where the data are not there."""
    import torch

    image, parts, read, there = benchmark.image, [torch.empty(0, SIDE**2)], 0, 0
    for train in (True, False):
        with suppress(RequestError, OSError, UnknownFilesError):
            files = benchmark.files(train)
            if files is None:
                images = read_archive(benchmark.archive, folder, train).images
                image = replace(image, size=images.shape[-1])
            else:
                paths = evenly([path for path, _ in files], _affordable([path for path, _ in files]))
                images = _read(paths, image)
            read, there = read + len(images), there + len(images if files is None else files)
            parts.append(_thumbnails(images))
    return _Own(torch.cat(parts), read / max(there, 1), image)


def _affordable(paths: list[Path]) -> int:
    """How many files of that size are read."""
    sizes = [path.stat().st_size for path in evenly(paths, 50)]
    return max(LEAST_FILES, int(LOOKED_AT * len(sizes) / max(sum(sizes), 1)))


def evenly(paths: list[Path], count: int) -> list[Path]:
    """At most ``count`` of them, at even distances."""
    return paths if len(paths) <= count else [paths[index * len(paths) // count] for index in range(count)]


def _read(paths: list[Path], image: ImageSpec) -> Tensor:
    """(N, C, H, W) uint8, of those that can be read."""
    import torch

    from dfkd_core.data.pictures import read_files

    parts = [torch.empty(0, image.channels, image.size, image.size, dtype=torch.uint8)]
    for path in paths:
        with suppress(RequestError):
            parts.append(read_files([(path, 0)], image).images)
    return torch.cat(parts)


def _thumbnails(images: Tensor) -> Tensor:
    """(N, C, H, W) uint8 -> grey values of those that are not blank, (M, SIDE²)."""
    import torch
    from torch.nn.functional import adaptive_avg_pool2d

    parts = [adaptive_avg_pool2d(part[:, :3].float().mean(dim=1), SIDE).flatten(1) for part in images.split(4096)]
    grey = torch.cat(parts)
    return grey[grey.std(dim=1, correction=0) >= LEAST_CONTRAST]


def _changed(place: Path | None) -> float:
    return place.stat().st_mtime if place is not None and place.exists() else 0.0
