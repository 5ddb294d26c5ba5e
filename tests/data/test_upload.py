"""ZIP uploads: real images come in under own names; whatever else gets one sentence and leaves nothing behind."""

from __future__ import annotations

import io
import stat
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dfkd_core.data import pictures
from dfkd_core.data import uploads as upload
from dfkd_core.data.uploads import unpack, uploaded, uploads
from dfkd_core.errors import RequestError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "collected"


def image_bytes(level: int = 100, kind: str = "PNG", size: tuple[int, int] = (8, 6), mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size, (level, 10, 20)[: len(mode)] if mode == "RGB" else level).save(buffer, kind)
    return buffer.getvalue()


def zipped(files: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def everything_below(path: Path) -> set[str]:
    return {str(found.relative_to(path)) for found in path.rglob("*")}


# --- what is taken -----------------------------------------------------------------------------------------------


def test_images_of_every_format_become_png_files_under_own_names(folder: Path) -> None:
    files = {f"photos/{kind}.{ending}": image_bytes(50, kind) for kind, ending in FORMATS.items()}
    assert unpack(zipped(files), "mine", folder) == len(FORMATS)
    made = sorted((folder / "mine").iterdir())
    assert [path.name for path in made] == [f"{number:06d}.png" for number in range(1, len(FORMATS) + 1)]
    for path in made:
        with Image.open(path) as picture:
            assert (picture.format, picture.mode, picture.size) == ("PNG", "RGB", (8, 6))
            assert np.abs(np.asarray(picture).astype(int) - (50, 10, 20)).max() <= 3
    assert everything_below(folder.parent) == {"collected", "collected/mine"} | {
        f"collected/mine/{p.name}" for p in made
    }


FORMATS = {"PNG": "png", "JPEG": "JPG", "BMP": "bmp", "WEBP": "webp", "TIFF": "tif"}


def test_a_file_is_taken_like_bytes_and_listed_where_uploads_lie() -> None:
    unpack(io.BytesIO(zipped({"a.png": image_bytes()})), "a", uploads())
    (uploads() / ".upload-left-over").mkdir()
    assert uploaded() == ["a"]


PASSED_OVER = {
    "__MACOSX/._a.png": b"\0\5\x16\7",
    "__MACOSX/photos/a.png": b"\0\5\x16\7",
    "photos/.DS_Store": b"\0",
    "Thumbs.db": b"\0",
    "labels.csv": b"a.png,cat",
    "README": b"hello",
    "more.zip": zipped({"b.png": image_bytes()}),
    "photos/": b"",
    "run.py": b"import os",
    ".hidden.png": b"no image",
}


def test_what_does_not_claim_to_be_an_image_is_passed_over(folder: Path) -> None:
    assert unpack(zipped({"photos/a.png": image_bytes(), **PASSED_OVER}), "mine", folder) == 1
    assert everything_below(folder) == {"mine", "mine/000001.png"}


NAMES = [
    "../../evil.png",
    "/tmp/evil.png",
    "C:\\evil.png",
    "..\\..\\evil.png",
    "a/../../evil.png",
    "evil\n\0.png",
    "=1+1.png",
]


def test_no_name_of_the_archive_becomes_a_path(folder: Path) -> None:
    before = everything_below(folder.parent)
    count = unpack(zipped({name: image_bytes(index) for index, name in enumerate(NAMES)}), "mine", folder)
    names = {f"collected/mine/{number:06d}.png" for number in range(1, count + 1)}
    assert everything_below(folder.parent) - before == {"collected", "collected/mine"} | names
    assert count >= len(NAMES) - 1, "zipfile itself cuts a name off at its NUL"


def test_only_pixels_are_kept(folder: Path) -> None:
    buffer, exif = io.BytesIO(), Image.Exif()
    exif[0x010E], exif[0x0112] = "taken at home", 6  # a description; and turned to the right
    Image.new("RGB", (8, 6), (1, 2, 3)).save(buffer, "JPEG", exif=exif, comment=b"secret", icc_profile=b"profile")
    unpack(zipped({"a.jpg": buffer.getvalue() + b"appended secret"}), "mine", folder)
    content = (folder / "mine" / "000001.png").read_bytes()
    assert not any(word in content for word in (b"home", b"secret", b"profile"))
    with Image.open(io.BytesIO(content)) as picture:
        assert picture.size == (6, 8) and not picture.info


def test_large_images_are_kept_at_a_size_that_serves(folder: Path) -> None:
    unpack(zipped({"a.png": image_bytes(size=(2000, 1000))}), "mine", folder)
    with Image.open(folder / "mine" / "000001.png") as picture:
        assert picture.size == (1024, 512)


def test_sixteen_bits_a_pixel_become_eight_without_clipping(folder: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.array([[0, 256, 0x8000, 0xFFFF]], np.uint16)).save(buffer, "PNG")
    unpack(zipped({"a.png": buffer.getvalue()}), "mine", folder)
    assert np.asarray(Image.open(folder / "mine" / "000001.png")).tolist() == [[0, 1, 128, 255]]


def test_the_folders_of_an_archive_change_nothing(folder: Path) -> None:
    """Their names may be labels."""
    pixels = {f"{index}.png": image_bytes(20 * index) for index in range(3)}
    for number, classes in enumerate((("cat", "dog", "emu"), ("z", "y", "x"), ("same",) * 3)):
        files = {f"{label}/{name}": content for label, (name, content) in zip(classes, pixels.items(), strict=True)}
        unpack(zipped(dict(sorted(files.items()))), f"set{number}", folder)
        files = {f"{label}/1.png": content for label, content in zip(classes, pixels.values(), strict=True)}
        unpack(zipped(dict(sorted(files.items()))), f"alike{number}", folder) if number < 2 else None
    sets = [[path.read_bytes() for path in sorted((folder / f"set{number}").iterdir())] for number in range(3)]
    assert len(sets[0]) == 3 and sets[0] == sets[1] == sets[2]
    alike = [[path.read_bytes() for path in sorted((folder / f"alike{number}").iterdir())] for number in range(2)]
    assert len(alike[0]) == 3 and alike[0] == alike[1]


# --- what is refused ---------------------------------------------------------------------------------------------


def png(width: int, height: int, rows: bytes = b"\0" * 100) -> bytes:
    """A PNG that announces so many grey pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def overlapping() -> bytes:
    """Many names for the same bytes, as in a bomb without recursion."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", image_bytes())
        (entry,) = archive.infolist()
        for number in range(50):
            copy = zipfile.ZipInfo(f"{number}.png")
            for what in ("CRC", "compress_size", "file_size", "compress_type", "header_offset"):
                setattr(copy, what, getattr(entry, what))
            archive.filelist.append(copy)
            archive.NameToInfo[copy.filename] = copy
    return buffer.getvalue()


def with_sizes(content: bytes, packed: int | None = None, unpacked: int | None = None) -> bytes:
    """An archive of one image whose directory lies about its size, before and after unpacking."""
    data = bytearray(zipped({"a.png": content}))
    entry = data.rindex(b"PK\x01\x02")
    for offset, lie in ((20, packed), (24, unpacked)):
        if lie is not None:
            data[entry + offset : entry + offset + 4] = struct.pack("<I", lie)
    return bytes(data)


def encrypted() -> bytes:
    data = bytearray(zipped({"a.png": image_bytes()}))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + offset] |= 1
    return bytes(data)


def linked() -> bytes:
    entry = zipfile.ZipInfo("a.png")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(entry, "/etc/passwd")
    return buffer.getvalue()


def damaged(compression: int, place: int) -> bytes:
    data = bytearray(zipped({"a.png": image_bytes()}, compression))
    data[place] = 0xFF  # deflate knows no such kind of block
    return bytes(data)


GOOD = {"good.png": image_bytes()}
REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "nothing": (lambda: b"", "should be a ZIP file"),
    "text": (lambda: b"not a zip at all" * 100, "should be a ZIP file"),
    "an image": (image_bytes, "should be a ZIP file"),
    "half a ZIP": (lambda: zipped(GOOD)[:60], "should be a ZIP file"),
    "no files": (lambda: zipped({}), "holds no images"),
    "only text": (lambda: zipped({"a.txt": b"hello"}), "holds no images"),
    "only a ZIP": (lambda: zipped({"a.zip": zipped(GOOD)}), "holds no images"),
    "encrypted": (encrypted, "encrypted"),
    "another compression": (lambda: zipped(GOOD, zipfile.ZIP_LZMA), "deflate is"),
    "a bomb of zeros": (
        lambda: zipped({**GOOD, "zeros.txt": bytes(10 << 20)}),
        "times its size; should be at most 200",
    ),
    "zeros as an image": (lambda: zipped({"zeros.png": bytes(10 << 20)}), "times its size"),
    "a PNG that announces too much": (lambda: zipped({"a.png": png(50_000, 50_000)}), "at most 25,000,000 pixels"),
    "a PNG that has less": (lambda: zipped({"a.png": png(4_000, 4_000)}), "cannot be read"),
    "too many files": (lambda: zipped({f"{number}": b"" for number in range(50_001)}), "at most 50,000"),
    "overlapping files": (overlapping, "overlap"),
    "a packed size beyond the end": (lambda: with_sizes(image_bytes(), packed=10**6), "overlap"),
    "an unpacked size too large": (
        lambda: with_sizes(image_bytes(), unpacked=2**31 - 1),
        "should hold at most 2,048 MiB",
    ),
    "an unpacked size too small": (lambda: with_sizes(image_bytes(), unpacked=20), "'a.png': is damaged"),
    "another byte": (lambda: damaged(zipfile.ZIP_STORED, 80), "'a.png': is damaged"),
    "a broken stream": (lambda: damaged(zipfile.ZIP_DEFLATED, 35), "'a.png': is damaged"),
    "a link": (linked, "is a link"),
    "text as an image": (lambda: zipped({**GOOD, "cat.jpg": b"hello"}), "'cat.jpg': cannot be read: it is none of PNG"),
    "an image cut off": (lambda: zipped({"a.png": image_bytes()[:50]}), "'a.png': cannot be read"),
    "another format": (
        lambda: zipped({**GOOD, "a.gif": image_bytes(kind="GIF")}),
        "'a.gif': cannot be read: it is none of",
    ),
    "another format in disguise": (lambda: zipped({"a.png": image_bytes(kind="GIF")}), "none of PNG, JPEG, BMP"),
    "PostScript in disguise": (lambda: zipped({"a.jpg": b"%!PS-Adobe-3.0 EPSF-3.0\n"}), "none of PNG"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_bad_archive_gets_one_sentence_and_leaves_nothing(
    folder: Path, kind: str, recwarn: pytest.WarningsRecorder
) -> None:
    make, says = REFUSED[kind]
    with pytest.raises(RequestError) as caught:
        unpack(make(), "mine", folder)
    assert says in str(caught.value) and "\n" not in str(caught.value) and str(caught.value).endswith(".")
    assert str(folder) not in str(caught.value) and not recwarn.list
    assert everything_below(folder) == set()


@pytest.mark.parametrize(
    ("limit", "value", "says"),
    [
        ("MAX_TOTAL_PIXELS", 100, "more than 100 pixels"),
        ("MAX_FILES", 2, "at most 2"),
        ("MAX_BYTES", 200, "at most 0 MiB"),
    ],
)
def test_every_bound_holds_for_images_too(
    folder: Path, monkeypatch: pytest.MonkeyPatch, limit: str, value: int, says: str
) -> None:
    archive = zipped({f"{level}.png": image_bytes(level) for level in range(3)})
    assert unpack(archive, "before", folder) == 3
    monkeypatch.setattr(upload, limit, value)
    with pytest.raises(RequestError, match=says):
        unpack(archive, "mine", folder)
    assert everything_below(folder) == {"before"} | {f"before/{number:06d}.png" for number in (1, 2, 3)}


BIGGEST = """
import io, resource, sys, zipfile
from pathlib import Path
from dfkd_core.data import pictures, uploads

archive = sys.argv[1] + ".zip"
with zipfile.ZipFile(archive, "w") as made:
    made.write(sys.argv[1], "a." + sys.argv[1][-4:].strip("."))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert uploads.unpack(Path(archive).read_bytes(), "mine", Path(archive).parent) == 1
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


@pytest.mark.parametrize(("suffix", "most"), [pytest.param("png", 256, marks=pytest.mark.slow), ("webp", 416)])
def test_the_largest_image_that_is_taken_fills_no_memory(tmp_path: Path, suffix: str, most: int) -> None:
    side = int(pictures.MAX_PIXELS**0.5)
    file = tmp_path / f"large.{suffix}"
    turned = Image.Exif()
    turned[0x0112] = 6  # by a quarter: Pillow's way copies the pixels
    Image.new("RGBA", (side, side), (1, 2, 3, 128)).save(file, lossless=True, method=0, exif=turned)
    assert file.stat().st_size < 200_000
    done = subprocess.run([sys.executable, "-c", BIGGEST, str(file)], capture_output=True, text=True, check=True)
    assert float(done.stdout) < most  # MiB


@pytest.mark.parametrize("name", ["", "..", "../x", "a/b", ".hidden", "a b", "x" * 65, "nul\0"])
def test_an_upload_has_a_name_that_is_no_path(folder: Path, name: str) -> None:
    with pytest.raises(RequestError, match="should be 1 to 64 letters"):
        unpack(zipped(GOOD), name, folder)
    assert not folder.exists()


def test_an_upload_never_replaces_another(folder: Path) -> None:
    unpack(zipped(GOOD), "mine", folder)
    with pytest.raises(RequestError, match="another upload"):
        unpack(zipped({"a.png": image_bytes(1), "b.png": image_bytes(2)}), "mine", folder)
    assert everything_below(folder) == {"mine", "mine/000001.png"}


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RequestError, match="cannot be written to"):
        unpack(zipped(GOOD), "mine", tmp_path / "file")
