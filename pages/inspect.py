"""Inspect: why a sample was kept or rejected, step by step, in three views that share one cut and one selection."""

from __future__ import annotations

import re

import streamlit as st

from dfkd_core.errors import StoreError
from dfkd_core.runs.spec import read_spec
from dfkd_core.store import RunFolder, runs_folder, runs_in
from pages.ui import boot, link, look, recordings
from pages.ui.microscope import microscope
from pages.ui.run import steering

MOST = 200  # runs in the list
RECORDED = (recordings.DISTILL, "fig-4", recordings.HYBRID)
PAGE = "pages/inspect.py"


def main() -> None:
    """One script run of the page."""
    folder = _chosen_run()
    with st.sidebar:
        folder = _list_of_runs(folder)
    if folder is None:
        st.info("Nothing to look at yet: there is no run. Go to Distill and press Start.")
        return
    if not steering.shown_elsewhere(folder, "inspect"):
        _live(folder)


# --- which run -------------------------------------------------------------------------------------------------


def _chosen_run() -> RunFolder | None:
    """The run in the address bar; else the newest that has samples; else the recorded one."""
    asked = link.word("run")
    if asked:
        folder = recordings.run(asked)
        if folder is not None:
            return folder
        steering.no_run(asked)
    newest = next((folder for folder in runs_in(runs_folder())[:MOST] if _has_samples(folder)), None)
    folder = newest or recordings.run(recordings.DISTILL)
    if folder is not None:
        st.query_params["run"] = folder.id
    return folder


def _has_samples(folder: RunFolder) -> bool:
    try:
        return not steering.is_generative(folder) and any(
            name.endswith(".npz") for name in folder.files.names("samples")
        )
    except (OSError, StoreError):
        return False


def _list_of_runs(shown: RunFolder | None) -> RunFolder | None:
    """The list in the sidebar. What it says and what the address bar says is always the same."""
    names = [folder.id for folder in runs_in(runs_folder())[:MOST]]
    names += [name for name in RECORDED if recordings.run(name) is not None]
    if shown is not None and shown.id not in names:
        names.append(shown.id)
    if shown is None or not names:
        return shown
    st.session_state["inspect:run"] = shown.id
    picked = st.selectbox("Run", names, key="inspect:run", format_func=_title, on_change=_switch)
    st.caption(link.name(picked))
    return recordings.run(picked)


def _switch() -> None:
    """Another run, looked at in the same way from its newest step on."""
    st.query_params["run"] = st.session_state["inspect:run"]
    for name in ("step", "tau"):
        st.query_params.pop(name, None)


@st.cache_data(show_spinner=False, max_entries=1000)
def _title(name: str) -> str:
    """Never the same for two runs: a list box tells its options apart by what it shows."""
    folder = recordings.run(name)
    try:
        words = read_spec(folder).title if folder is not None else "deleted"
    except StoreError:
        words = "damaged"
    recorded = folder is not None and recordings.is_one(folder)
    return link.legible(f"recorded: {name} · {words}" if recorded else f"{_short(name)} · {words}")


def _short(name: str) -> str:
    """Without the year, where a run is named by its moment."""
    return re.sub(r"^\d{4}(?=\d{4}-\d{6})", "", name)


# --- the page --------------------------------------------------------------------------------------------------


@st.fragment
def _live(folder: RunFolder) -> None:
    """The microscope. The browser asks for a rerun when it lacks something, or to see what is new."""
    if link.word("run") not in ("", folder.id):  # chosen in the same moment: see keep.catch_up
        st.rerun()
    with steering.said("Choose another run on the left."):
        microscope.show(folder, folder.status_seen())
        steering.warn_of_damage(boot.timeline(str(folder.path)))


look.through_app(PAGE)
main()
