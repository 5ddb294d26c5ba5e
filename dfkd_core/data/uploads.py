"""Uploaded collections of images: ZIP files, read with suspicion, become folders of PNG files under own names.

Nothing of an archive is ever extracted as it is: no name in it becomes a path, every image is decoded within bounds
and written again from its pixels alone. What does not claim to be an image (text, folders, further archives) is passed
over. An archive is taken whole or not at all.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import stat
import tempfile
import zipfile
import zlib
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO

from dfkd_core.data.files import FORMATS, OTHER_FORMATS, SUFFIXES, is_junk, suffix_of
from dfkd_core.errors import RequestError

if TYPE_CHECKING:
    from PIL import Image

NAME_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
MAX_FILES = 50_000  # in an archive, images or not
MAX_BYTES = 2 << 30  # of its files, uncompressed
MAX_IMAGE_BYTES = 128 << 20  # of one of them
MAX_RATIO = 200  # uncompressed to compressed; images hardly shrink in an archive
MAX_TOTAL_PIXELS = 10_000_000_000
SIDE = 512  # the shorter one of larger images is made this long; no network here takes more than 256
ENTRY = b"PK\x01\x02"  # begins each entry of an archive's directory
LOCAL_HEADER = 30  # bytes before a file's name and contents, at least


def uploads() -> Path:
    """Where unpacked uploads lie: ``DFKD_COLLECTED``, else ``collected`` in the current folder."""
    return Path(os.environ.get("DFKD_COLLECTED") or "collected").expanduser()


def uploaded() -> list[str]:
    """Names of the unpacked uploads."""
    folder = uploads()
    if not folder.is_dir():
        return []
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and re.fullmatch(NAME_PATTERN, path.name))


def check_name(name: str) -> str:
    """The name of an upload. Raises ``RequestError`` unless it can be a folder's name."""
    if not re.fullmatch(NAME_PATTERN, name):
        says = "should be 1 to 64 letters, digits, dots, dashes or underscores, the first a letter or digit."
        raise RequestError("name", name, says)
    return name


def unpack(archive: bytes | BinaryIO, name: str, folder: Path) -> int:
    """Put the images of a ZIP file into ``folder``/``name`` as 000001.png …; returns how many there are.

    Their order depends on file names and contents, never on the folders in the archive. Raises ``RequestError`` with
    the first thing that is wrong, and then leaves nothing behind.
    """
    target = folder / check_name(name)
    if target.exists():
        raise RequestError("name", name, "is the name of another upload; choose a new one.")
    file = io.BytesIO(archive) if isinstance(archive, bytes) else archive
    try:
        folder.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=".upload-", dir=folder))
    except OSError as error:
        raise RequestError("DFKD_COLLECTED", str(folder), f"cannot be written to ({error.strerror}).") from None
    try:
        count = _unpack_into(beside, file, name)
        beside.chmod(0o755)  # mkdtemp's are private
        beside.rename(target)
    except OSError as error:
        raise RequestError("upload", name, f"could not be unpacked ({error.strerror or error}).") from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return count


def _unpack_into(folder: Path, file: BinaryIO, name: str) -> int:
    """Write the images of the archive called ``name``; returns how many."""
    from dfkd_core.data.pictures import SixteenBits, opaque

    if _entries(file) > MAX_FILES:
        raise RequestError("upload", name, f"holds too many files; should be at most {MAX_FILES:,}.")
    try:
        with zipfile.ZipFile(file) as archive:
            entries = _checked(archive.infolist(), file.seek(0, os.SEEK_END), name)
            pixels, deep = 0, SixteenBits()
            for count, entry in enumerate(entries, start=1):
                picture = _picture(archive, entry)
                deep.see(picture, entry.filename)
                pixels += picture.width * picture.height
                if pixels > MAX_TOTAL_PIXELS:
                    says = f"has more than {MAX_TOTAL_PIXELS:,} pixels in all; take fewer or smaller images."
                    raise RequestError("upload", name, says)
                bare = _bare(picture)
                opaque(bare, entry.filename)  # refuses what would be read as an empty image
                bare.save(folder / f"{count:06d}.png")
            deep.check()
    except zipfile.BadZipFile:
        raise RequestError("upload", name, "should be a ZIP file; this is none, or it is damaged.") from None
    return len(entries)


def _entries(file: BinaryIO) -> int:
    """At most so many entries will be found. Counted before anything is parsed: a directory of millions fills the
    memory, and what the archive says about itself may be a lie."""
    file.seek(0)
    found, tail = 0, b""
    while chunk := file.read(1 << 20):
        found += (tail + chunk).count(ENTRY)
        tail = chunk[-3:]  # shorter than a match, so none is counted twice
    return found


def _checked(entries: list[zipfile.ZipInfo], size: int, name: str) -> list[zipfile.ZipInfo]:
    """The entries that claim to be images, in an order that no folder's name changes. Reads nothing yet."""
    for entry in entries:
        if entry.flag_bits & 1:
            raise RequestError("upload", entry.filename, "is encrypted; should be a ZIP file without a password.")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise RequestError("upload", entry.filename, "is compressed in a way that is not read; deflate is.")
    if _overlap(entries, size):
        raise RequestError("upload", name, "is no honest archive: its files overlap.")
    unpacked, packed = (sum(getattr(entry, what) for entry in entries) for what in ("file_size", "compress_size"))
    if unpacked > MAX_BYTES or any(entry.file_size > MAX_IMAGE_BYTES for entry in entries):
        says = f"should hold at most {MAX_BYTES >> 20:,} MiB, and {MAX_IMAGE_BYTES >> 20} a file; it would unpack to "
        raise RequestError("upload", name, says + f"{unpacked / 2**20:,.0f} MiB.")
    if unpacked > MAX_RATIO * max(packed, 1):
        says = f"would unpack to {unpacked // max(packed, 1):,} times its size; should be at most {MAX_RATIO} times."
        raise RequestError("upload", name, says)
    images = sorted(filter(_claims_to_be_an_image, entries), key=lambda entry: (_name(entry), entry.CRC))
    if not images:
        raise RequestError("upload", name, f"holds no images; should be some ({FORMATS}).")
    return images


def _overlap(entries: list[zipfile.ZipInfo], size: int) -> bool:
    """Whether two files share bytes of the archive, or reach beyond its ``size``: so do bombs without recursion."""
    spans = sorted((entry.header_offset, entry.header_offset + LOCAL_HEADER + entry.compress_size) for entry in entries)
    return any(end > start for (_, end), (start, _) in pairwise([*spans, (size, size)]))


def _name(entry: zipfile.ZipInfo) -> str:
    return PurePosixPath(entry.filename.replace("\\", "/")).name


def _claims_to_be_an_image(entry: zipfile.ZipInfo) -> bool:
    """By its ending. What systems leave beside is none."""
    parts = PurePosixPath(entry.filename.replace("\\", "/")).parts
    junk = any(is_junk(part) for part in parts if part not in (".", ".."))
    return not entry.is_dir() and not junk and suffix_of(_name(entry)) in SUFFIXES | OTHER_FORMATS


def _picture(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Image.Image:
    """One image, decoded. Raises ``RequestError`` naming what is none."""
    from dfkd_core.data.pictures import decode

    if stat.S_ISLNK(entry.external_attr >> 16):
        raise RequestError("upload", entry.filename, "is a link; should be an image.")
    try:
        with archive.open(entry) as packed:
            content = packed.read(MAX_IMAGE_BYTES)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError):
        raise RequestError("upload", entry.filename, "is damaged; make the ZIP file again.") from None
    return decode(io.BytesIO(content), entry.filename)


def _bare(picture: Image.Image) -> Image.Image:
    """The pixels alone, not larger than they are needed: no comments, places or profiles."""
    from PIL import Image

    scale = SIDE / min(picture.size)
    if scale < 1:
        picture.thumbnail((round(scale * picture.width), round(scale * picture.height)))
    return Image.frombytes(picture.mode, picture.size, picture.tobytes())
