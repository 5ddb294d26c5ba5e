"""Fetching a data set when the user asks for it, with a progress bar."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path

import streamlit as st

from dfkd_core.data.catalogue import Benchmark, data_folder


@dataclass
class _Download:
    """One download on a thread of its own."""

    target: Path
    done: threading.Event = field(default_factory=threading.Event)
    error: str = ""


@st.cache_resource(show_spinner=False)
def _downloads() -> dict[str, _Download]:
    return {}


def offer(benchmark: Benchmark, without: str = "The run works without; it then reports agreement.") -> None:
    """Say where the data are missing, and what happens ``without``; offer to fetch them, show how far that is, and
    why it failed."""
    running = _downloads().get(benchmark.name)
    if running is not None and not running.done.is_set():
        _progress(benchmark.name, benchmark.megabytes)
        return
    text = f"No {benchmark.title} in `{data_folder()}`. {without}"
    if running is not None and running.error:
        text += f" The download failed: {running.error}"
    st.info(text)
    if benchmark.download is not None and st.button(f"Download {benchmark.title} ({benchmark.megabytes} MB)"):
        _begin(benchmark)
        st.rerun()


def _begin(benchmark: Benchmark) -> None:
    target = data_folder()
    running = _downloads()[benchmark.name] = _Download(target)

    def fetch() -> None:
        try:
            assert benchmark.download is not None
            benchmark.download(target)
        except Exception as error:  # whatever the server did; the user reads it
            running.error = str(error)[:300] or type(error).__name__
        running.done.set()

    threading.Thread(target=fetch, name="dfkd-download", daemon=True).start()


@st.fragment(run_every=1.0)
def _progress(name: str, megabytes: int) -> None:
    running = _downloads()[name]
    if running.done.is_set():
        st.rerun()
    here = sum(path.stat().st_size for path in _files(running.target)) / 1e6
    st.progress(min(0.99, here / max(1, megabytes)), f"Downloading: {here:.0f} of about {megabytes} MB")


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()] if folder.is_dir() else []
