"""Runs and studies as one file: a button that saves one, and a place to bring one."""

from __future__ import annotations

import io
from functools import partial
from pathlib import Path

import streamlit as st

from dfkd_core.analysis import student
from dfkd_core.errors import RequestError, StoreError, in_words
from dfkd_core.store import RunFolder, runs_folder
from dfkd_core.study import Study
from dfkd_core.study.exchange import pack, unpack
from dfkd_core.study.report import report
from pages.ui import link

OF_WEIGHTS = "As safetensors, which PyTorch and others read; a chart is saved by the camera that the pointer brings up."
HELP = "Everything of it as one ZIP file, which another lab imports on its page Runs."


def offer_export(what: RunFolder | Study) -> None:
    """A button that saves it; the file is made when it is pressed."""

    def packed() -> bytes:
        target = io.BytesIO()
        pack(what, target)
        return target.getvalue()

    icon, name = ":material/archive:", f"{what.id}.zip"
    st.download_button(
        "Export", packed, name, "application/zip", icon=icon, help=HELP, key=f"export:{what.id}", on_click="ignore"
    )


def offer_report(study: Study) -> None:
    """A button that saves what the study says as one page; the file is made when it is pressed."""
    st.download_button(
        "Report", lambda: report(study), f"{study.id}.html", "text/html", icon=":material/summarize:",
        help="One page with the study's tables, curves and runs, to be read anywhere.", key=f"report:{study.id}",
        on_click="ignore",
    )  # fmt: skip


def offer_weights(folder: RunFolder) -> None:
    """A button that saves the student's weights; of weights that are damaged, or gone, why there is none."""
    if problem := _problem_of_weights(str(folder.path), folder.files.changed(student.WEIGHTS)):
        st.caption(f":material/heart_broken: {link.plain(problem)}")
        return
    name, icon = f"{folder.id}-{student.WEIGHTS}", ":material/download:"
    st.download_button(
        "Student's weights", partial(student.weights, folder), name, icon=icon, help=OF_WEIGHTS, key="weights",
        on_click="ignore",
    )  # fmt: skip


@st.cache_data(show_spinner=False, max_entries=64)
def _problem_of_weights(path: str, changed: int | None) -> str:
    """Why weights that were written when they ``changed`` last cannot be saved; empty where they can."""
    try:
        student.weights(RunFolder(Path(path)))
    except (OSError, RequestError, StoreError) as error:
        return in_words(error)
    return ""


def offer_import() -> None:
    """A popover that takes a ZIP file in."""
    with st.popover("Import", icon=":material/unarchive:"):
        st.caption("A run or a study that a lab exported, as a ZIP file.")
        given = st.file_uploader("ZIP file", type="zip", key="import", label_visibility="collapsed")
        if given is None or st.session_state.get("imported") == given.file_id:
            return
        st.session_state["imported"] = given.file_id
        try:
            found = unpack(given, runs_folder())
        except (RequestError, StoreError, OSError) as error:
            st.error(link.plain(in_words(error)))
            return
        st.toast(f"Imported {link.name(', '.join(found))}.", icon=":material/unarchive:")
        st.rerun()
