"""The engine, started once per server and in the background: importing torch takes seconds, the first page does not."""

from __future__ import annotations

import gc
import importlib
import os
import shutil
import threading
import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from dfkd_core.analysis.recorded import Recorded
from dfkd_core.analysis.timeline import Timeline
from dfkd_core.errors import RequestError
from dfkd_core.store import RunFolder, runs_folder
from pages.ui import link
from pages.ui.words import glossary

try:
    import resource
except ImportError:  # Windows, which has no such limit
    resource = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from dfkd_core.engine import Engine

ROOT = Path(__file__).parent.parent.parent
STATIC = ROOT / "static"
PLOTLY = ROOT / "assets" / "plotly-basic.min.js"
HEAD_START_SECONDS = 4.0  # of a page, before the engine is loaded unasked
FILES_SECONDS = 0.2  # for those of the page's run, which a browser asks for when it shows the page
LATER = ("pyarrow", "pandas", "torchvision.models.resnet")  # for what the pages behind the first would wait
FEW_HANDLES = 0.8  # of the limit


class Boot:
    """Imports the engine on a thread of its own; ``engine`` is there when ``ready`` is set.

    It begins when a page waits for it that a browser shows already: importing torch holds the interpreter's lock, for
    which a page that is being drawn, and the files of its run, would have to wait.
    """

    def __init__(self) -> None:
        self.ready, self._wanted = threading.Event(), threading.Event()
        self.error = ""
        self.engine: Engine | None = None
        threading.Thread(target=self._load, name="dfkd-boot", daemon=True).start()

    def begin(self) -> Boot:
        """Somebody needs it now."""
        self._wanted.set()
        return self

    def _load(self) -> None:
        self._wanted.wait(HEAD_START_SECONDS)
        try:
            from dfkd_core import engine as engines
            from dfkd_core import methods

            methods.available()
            _lay_out_words()
            self.engine = engines.find("", runs_folder())  # behind it: its idle worker imports torch, too
            gc.freeze()  # what was imported stays: no collection need walk it
        except RequestError as error:
            self.error = f"The engine did not start: {error}"
        except Exception as error:  # shown on the page, with what to do
            self.error = f"The engine did not start: {type(error).__name__}: {error}"
        self.ready.set()
        if self.engine is not None:
            from dfkd_core.study import take_up_left

            take_up_left(runs_folder(), self.engine)
        time.sleep(HEAD_START_SECONDS)  # the page is drawn with its form meanwhile
        for name in LATER:
            importlib.import_module(name)


def _lay_out_words() -> None:
    """The glossary, for pages/ui/web/beside.js."""
    part = STATIC / f".glossary-{os.getpid()}"
    part.write_text(glossary.as_json())
    part.replace(STATIC / "glossary.json")


@cache
def start() -> Boot:
    """The one engine of this server, which begins to be loaded. Also lays out plotly's script, which the stage loads
    from here: of plotly.js the part with lines and bars, which a browser reads in half the time of the whole."""
    STATIC.mkdir(exist_ok=True)
    target = STATIC / PLOTLY.name
    raise_handles()
    if not target.exists() or target.stat().st_size != PLOTLY.stat().st_size:
        shutil.copyfile(PLOTLY, target)
    return Boot()


def raise_handles() -> None:
    """As many open files as the system allows: a session takes several, and some are never given back."""
    if resource is not None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft != hard:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def few_handles() -> str:
    """A sentence when the files that this server may still open are few; each visit takes some, and when none is left
    nobody is served any more. Empty while there are enough."""
    if resource is None:
        return ""
    used, limit = psutil.Process().num_fds(), resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit == resource.RLIM_INFINITY or used < FEW_HANDLES * limit:
        return ""
    advice = "Start the lab again, which runs do not mind; or first raise the limit with `ulimit -n`."
    return f"This server has {used:,} of at most {limit:,} files open, and serves nobody when all are. {advice}"


def is_loaded() -> bool:
    """Whether a page can be drawn that needs the engine; if not, what is drawn instead says why."""
    booted = start()
    if not booted.ready.is_set():
        wait_for_engine()
    elif booted.error:
        st.error(link.plain(booted.error))
    return booted.ready.is_set() and not booted.error


def alone() -> bool:
    """Whether a fragment redraws itself, without the page around it: a browser shows that already."""
    context = get_script_run_ctx()
    return context is not None and bool(context.fragment_ids_this_run)


@st.fragment(run_every=0.3)
def wait_for_engine() -> None:
    """Say that it is being started, and run the page again when it is."""
    if start().ready.is_set():
        st.rerun()
    if alone() and time.monotonic() > st.session_state.setdefault("boot:from", time.monotonic() + FILES_SECONDS):
        start().begin()
    st.caption("Starting the engine: importing torch…")
    st.progress(50)


@st.cache_resource(show_spinner=False, max_entries=64)
def timeline(path: str) -> Timeline:
    """One timeline a run, shared by all sessions that watch it."""
    return Timeline(RunFolder(Path(path)))


@st.cache_resource(show_spinner=False, max_entries=64)
def recorded(path: str) -> Recorded:
    """The recorded sheets of one run, shared by all sessions that look at them."""
    return Recorded(timeline(path))


def base_path() -> str:
    """What stands before every path of the lab in the browser: empty, or ``/PATH``."""
    path = st.get_option("server.baseUrlPath").strip("/")
    return f"/{path}" if path else ""
