"""Which files are images, and which belong to nobody: declared once, for benchmarks, collected images and uploads."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

FORMATS = "PNG, JPEG, BMP, WebP, TIFF"  # that are read
SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff"}
OTHER_FORMATS = {
    ".gif", ".heic", ".heif", ".avif", ".svg", ".jp2", ".psd", ".ppm", ".pgm", ".pnm", ".jxl", ".dng", ".exr", ".dcm",
}  # fmt: skip
"""Images, but none that are read."""
_JUNK = {
    "__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "@eadir", "$recycle.bin",
    "system volume information", "lost+found",
}  # fmt: skip

Files = list[tuple[Path, int]]  # with their labels


def is_junk(name: str) -> bool:
    """Whether a file or folder is what systems and programs leave beside the user's own: hidden ones, and some more."""
    return name.startswith(".") or name.casefold() in _JUNK


def is_image(name: str) -> bool:
    """Whether a file of that name is an image that is read."""
    return not is_junk(name) and suffix_of(name) in SUFFIXES


def suffix_of(name: str) -> str:
    """In small letters, with its dot; empty where there is none."""
    return os.path.splitext(name)[1].lower()


@dataclass
class Skipped:
    """What was passed over below a folder, by kind; nothing of it is an image that is read, and junk does not count."""

    kinds: Counter[str] = field(default_factory=Counter)

    def file(self, name: str) -> None:
        suffix = suffix_of(name)
        self.kinds[f"{suffix} file" if suffix else "file without an ending"] += 1

    def link(self) -> None:
        self.kinds["link to a folder"] += 1

    @property
    def other_images(self) -> dict[str, int]:
        """Endings of images in other formats, and how many there are of each."""
        found = {kind.removesuffix(" file"): count for kind, count in self.kinds.items()}
        return {suffix: count for suffix, count in found.items() if suffix in OTHER_FORMATS}

    def __str__(self) -> str:
        """Empty where nothing was."""
        return ", ".join(f"{count:,} {kind}{'s' * (count != 1)}" for kind, count in sorted(self.kinds.items()))


class TooManyError(Exception):
    """More files and folders than were to be looked at."""


def images_in(root: Path, skipped: Skipped | None = None, most: int | None = None) -> Iterator[tuple[Path, int]]:
    """Image files below ``root`` with how many folders deep they lie, in no particular order. Junk is passed over
    without a word, everything else goes to ``skipped``; links to folders are not followed. Raises ``TooManyError``
    once more than ``most`` files and folders have been seen."""
    skipped, seen = Skipped() if skipped is None else skipped, 0
    for folder, inner, names in os.walk(root):
        seen += len(inner) + len(names)
        if most is not None and seen > most:
            raise TooManyError
        inner[:] = [name for name in inner if not is_junk(name)]
        for name in inner:
            if os.path.islink(os.path.join(folder, name)):
                skipped.link()
        depth = len(Path(folder).relative_to(root).parts)
        for name in names:
            if is_image(name):
                yield Path(folder, name), depth
            elif not is_junk(name):
                skipped.file(name)


def folder_of(name: str) -> Path:
    """The folder of ``folder:PATH``, absolute; blanks and quotes around a pasted path are dropped where that helps."""
    text = name.removeprefix("folder:")
    given, bare = (Path(path).expanduser().absolute() for path in (text, text.strip().strip("'\"")))
    return given if given.exists() else bare


def full_name(name: str) -> str:
    """The name of a benchmark or a source of images; ``folder:PATH`` with its path as ``folder_of`` has it."""
    return f"folder:{folder_of(name)}" if name.startswith("folder:") else name
