"""Runs and studies as one ZIP file, to take to another lab: a slice of a folder of runs. Does not import torch.

An archive is input like any other folder from somebody: it is looked through before anything is written, and put in
place whole or not at all. What it holds is judged when it is opened, as every run's folder is.
"""

from __future__ import annotations

import errno
import lzma
import os
import re
import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from dfkd_core.errors import RequestError, StoreError
from dfkd_core.runs.spec import read_spec
from dfkd_core.store import Place, RunFolder, is_plain
from dfkd_core.store.listing import CACHE
from dfkd_core.store.queue import FOLDER as CLUSTER
from dfkd_core.study.folder import FOLDER, Study

MOST_FILES, MOST_BYTES, MOST_RATIO = 200_000, 8 << 30, 200
CHUNK = 1 << 20
KEPT = (CLUSTER, CACHE)  # by the lab, beside the runs
SHIPPED = Path(__file__).resolve().parents[2] / "assets" / "recorded"  # whose names are taken
LEFT_OUT = re.compile(r"(^|/)(lock|owner\.json|heartbeat|stop|\..*)$|\.job(/|$)")  # of the machine, not of the run
OF_A_RUN = r"(samples|probes|real|collected|phases|analysis|checkpoints)/[\w.-]+\.(png|npz|json|safetensors)"
OF_AN_ATTEMPT = r"attempts/\d{1,9}/(events\.jsonl|control\.jsonl|environment\.json|worker\.log)"
KNOWN = re.compile(rf"(spec|spec\.copy|status|manifest)\.json|\w+\.safetensors|{OF_A_RUN}|{OF_AN_ATTEMPT}")
KNOWN_OF_A_STUDY = re.compile(r"(study|conductor)\.json|cells/[^/]+\.json")


def pack(what: RunFolder | Study, target: BinaryIO) -> None:
    """Write a run, or a study with all its runs that are there, as a ZIP file. What is a link, or no file of theirs, is
    left out, and what a run that goes on deletes meanwhile."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for place, below, known in _places(what):
            for name in place.walk():
                if known.fullmatch(name) and not LEFT_OUT.search(name):
                    with suppress(FileNotFoundError):
                        archive.writestr(f"{below}/{name}", place.read(name))


def _places(what: RunFolder | Study) -> Iterator[tuple[Place, str, re.Pattern[str]]]:
    if isinstance(what, RunFolder):
        yield what.files, what.id, KNOWN
        return
    yield what.files, f"{FOLDER}/{what.id}", KNOWN_OF_A_STUDY
    for folder in what.folders():
        yield folder.files, folder.id, KNOWN


def unpack(source: BinaryIO, runs: Path) -> list[str]:
    """Put the runs and studies of a ZIP file that ``pack`` wrote into the folder ``runs``; returns their ids, studies
    first. Raises ``RequestError`` with what is wrong, and then leaves nothing behind."""
    try:
        runs.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".import-", dir=runs) as beside, zipfile.ZipFile(source) as archive:
            tops = _extract(archive, Path(beside))
            _check(Path(beside), tops, runs)
            _put(Path(beside), tops, runs)
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError, UnicodeDecodeError):
        raise RequestError(
            "import", "the file", "should be a ZIP file that a lab exported; it is none, or damaged."
        ) from None
    except OSError as error:
        raise RequestError("import", str(runs), f"could not be written to ({error.strerror or error}).") from None
    return [Path(top).name for top in tops]


def _put(beside: Path, tops: Iterable[str], runs: Path) -> None:
    """All of them, or none."""
    done: list[str] = []
    try:
        for top in tops:
            (runs / top).parent.mkdir(exist_ok=True)
            os.rename(beside / top, runs / top)
            done.append(top)
    except OSError as error:
        for put in done:
            os.rename(runs / put, beside / put)
        if error.errno in (errno.EEXIST, errno.ENOTEMPTY):
            raise _taken(top, runs) from None
        raise


def _taken(top: str, runs: Path) -> RequestError:
    return RequestError("import", Path(top).name, f"is already in {runs}; nothing was imported.")


def _extract(archive: zipfile.ZipFile, folder: Path) -> list[str]:
    """Write its files; returns the folders of runs and studies that they are in."""
    entries = [entry for entry in archive.infolist() if not entry.is_dir()]
    size, packed = (sum(getattr(entry, name) for entry in entries) for name in ("file_size", "compress_size"))
    if len(entries) > MOST_FILES or size > MOST_BYTES or size > MOST_RATIO * max(packed, CHUNK):
        says = f"should hold at most {MOST_FILES:,} files of {MOST_BYTES >> 30} GiB together, and be no bomb."
        raise RequestError("import", f"{len(entries):,} files of {size / 2**30:.1f} GiB", says)
    tops = {entry.filename: _top(entry) for entry in entries}
    for entry in entries:
        target = folder / entry.filename
        target.parent.mkdir(parents=True, exist_ok=True)
        with archive.open(entry) as read, target.open("xb") as file:
            shutil.copyfileobj(read, file, CHUNK)
    return sorted(set(tops.values()), key=lambda top: (not top.startswith(FOLDER), top))


def _top(entry: zipfile.ZipInfo) -> str:
    """The run or study that a file belongs to. Raises ``RequestError`` for a name that no lab gives."""
    first, _, rest = entry.filename.partition("/")
    known, top = KNOWN, first
    if first == FOLDER:
        second, _, rest = rest.partition("/")
        known, top = KNOWN_OF_A_STUDY, f"{FOLDER}/{second}"
    link = stat.S_ISLNK(entry.external_attr >> 16)
    parts = entry.filename.split("/")
    if link or not known.fullmatch(rest) or not all(is_plain(one) and not one.startswith(".") for one in parts):
        raise RequestError("import", entry.filename, "is no file of a run or a study.")
    return top


def _check(folder: Path, tops: Iterable[str], runs: Path) -> None:
    if not tops:
        raise RequestError("import", "the file", "holds no run and no study.")
    for top in tops:
        if top in KEPT:
            raise RequestError("import", top, "is a name that the lab keeps for itself; nothing was imported.")
        if (runs / top).exists():
            raise _taken(top, runs)
        if (SHIPPED / top).exists():
            says = "is the name of a recording that comes with the lab; nothing was imported."
            raise RequestError("import", Path(top).name, says)
        try:
            _ = Study(folder / top).cells if top.startswith(FOLDER) else read_spec(RunFolder(folder / top))
        except StoreError as error:
            raise RequestError("import", Path(top).name, f"cannot be read: {error}.") from None
