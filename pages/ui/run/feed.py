"""What all who watch a run want of it, as files: each is written once, whoever asks first, and their browsers keep it.

With fifty viewers the curves alone, sent to each in every rerun, would be all that the server does. So a rerun names
versions, and the browser fetches what it lacks: a whole of all curves, and what was added from one version to the next.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import streamlit as st

from dfkd_core.analysis.timeline import Timeline
from dfkd_core.errors import StoreError
from pages.ui import boot

NOW = "now.json"
PADDED = 1024  # bytes
EVERY_SECONDS = 0.5  # news are written
ALONE_SECONDS = 15.0  # after the last look nobody is thought to watch
MOST_STEPS = 30  # versions from one whole to the next
KEPT_WHOLES = 4  # for browsers that come late with what they were told
AT_ONCE = 64  # frames that are written for one look
MOST_NAMES = 500  # that are told in every rerun; later frames are asked for


class Feed:
    """The files of one run, below ``folder``; any number of pages may share it."""

    def __init__(self, timeline: Timeline, folder: Path) -> None:
        self._timeline, self._folder = timeline, folder
        self._lock = threading.Lock()
        self._looked = 0.0
        self._teller: threading.Thread | None = None
        self._lengths: dict[str, int] = {}  # of the curves, as far as they were written
        self._versions: list[int] = []  # a whole, and what was added since
        self._written: list[list[Path]] = []  # by whole
        self._turns = 0
        self._sheets: dict[int, str] = {}
        self._names: dict[int, str | None] = {}

    def tell(self, news: Callable[[], dict[str, Any]]) -> None:
        """Keep ``now.json`` at what ``news`` gives, as long as this is called again: somebody watches."""
        self._looked = time.monotonic()
        self._names.clear()  # a frame may come to hold more
        if self._teller is None or not self._teller.is_alive():
            self._teller = threading.Thread(target=self._keep_telling, args=(news,), name="dfkd-feed", daemon=True)
            self._teller.start()

    def _keep_telling(self, news: Callable[[], dict[str, Any]]) -> None:
        told = ""
        while time.monotonic() - self._looked < ALONE_SECONDS:
            with suppress(StoreError, OSError):  # the page says what is wrong
                text = json.dumps(news())
                if text != told:  # of a length that seldom changes: a server tells it before it opens the file
                    self._write(NOW, text.ljust(-(-len(text) // PADDED) * PADDED))
                told = text
            time.sleep(EVERY_SECONDS)

    def curves(self) -> list[int]:
        """Versions that can be had: ``N.json`` is all curves at the first, and ``N-M.json`` what M has more than N."""
        with self._lock:
            version = self._timeline.update()
            if self._turns != self._timeline.turns:  # curves were cut, and sheets will be other ones
                self._turns, self._versions = self._timeline.turns, []
                self._sheets.clear()
            if not self._versions or len(self._versions) > MOST_STEPS:
                self._whole(version)
            elif version != self._versions[-1]:
                self._addition(version)
            return list(self._versions)

    def sheet(self, step: int) -> str | None:
        """The name of the file of a recorded sheet; None where it cannot be read."""
        if step not in self._sheets:
            name = self.file(self._timeline.frame(step))
            if name is None:
                return None
            self._sheets[step] = name
        return self._sheets[step]

    def names(self, steps: list[int], frame_of: Callable[[int], dict[str, Any] | None]) -> dict[int, str | None]:
        """The files of the frames of a run that has ended, for browsers that play it without asking: those that are
        written, and ``AT_ONCE`` more. None stands for what cannot be read."""
        for step in [step for step in steps[:MOST_NAMES] if step not in self._names][:AT_ONCE]:
            self._names[step] = self.file(frame_of(step))
        return dict(self._names)

    def file(self, item: dict[str, Any] | None) -> str | None:
        """The name of a file of ``item``, which its content decides."""
        if item is None:
            return None
        text = json.dumps(item)
        name = f"{hashlib.sha256(text.encode()).hexdigest()[:20]}.json"
        if not (self._folder / name).exists():
            self._write(name, text)
        return name

    def _whole(self, version: int) -> None:
        curves = self._timeline.curves
        path = self._write(f"{version}.json", json.dumps({name: curve.thinned() for name, curve in curves.items()}))
        self._lengths = {name: len(curve.steps) for name, curve in curves.items()}
        self._versions = [version]
        self._written.append([path])
        for old in self._written[:-KEPT_WHOLES]:
            for file in old:
                file.unlink(missing_ok=True)
        del self._written[:-KEPT_WHOLES]

    def _addition(self, version: int) -> None:
        added = {}
        for name, curve in self._timeline.curves.items():
            begin, end = self._lengths.get(name, 0), len(curve.steps)
            if end > begin:
                values = [round(value, 6) for value in curve.values[begin:end]]
                added[name] = {"x": curve.steps[begin:end], "y": values}
            self._lengths[name] = end
        self._written[-1].append(self._write(f"{self._versions[-1]}-{version}.json", json.dumps(added)))
        self._versions.append(version)

    def _write(self, name: str, text: str) -> Path:
        self._folder.mkdir(parents=True, exist_ok=True)
        part = self._folder / f"{name}.{threading.get_ident()}.part"
        part.write_text(text)
        part.rename(self._folder / name)
        return self._folder / name


@st.cache_resource(show_spinner=False, max_entries=64, on_release=lambda feed: shutil.rmtree(feed._folder, True))
def feed_of(path: str) -> Feed:
    """One a run, shared by all sessions that watch it."""
    return Feed(boot.timeline(path), _root() / hashlib.sha256(path.encode()).hexdigest()[:20])


def address_of(feed: Feed) -> str:
    """Where the browser finds its files."""
    return f"{boot.base_path()}/app/static/{feed._folder.relative_to(boot.STATIC)}"


@st.cache_resource(show_spinner=False)
def _root() -> Path:
    """The folder of this server's feeds; those of servers that are gone are removed."""
    for old in boot.STATIC.glob("feed-*"):
        owner = re.fullmatch(r"feed-(\d+)", old.name)
        if owner is None or not psutil.pid_exists(int(owner[1])) or int(owner[1]) == os.getpid():
            shutil.rmtree(old, ignore_errors=True)
    return boot.STATIC / f"feed-{os.getpid()}"
