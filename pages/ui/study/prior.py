"""The class prior's experiment as one component in the browser: charts, and images that follow the pointer."""

from __future__ import annotations

import base64
from typing import Any

import streamlit as st

from dfkd_core.analysis.measured import GENERATED
from dfkd_core.errors import RequestError, StoreError
from dfkd_core.store import RunFolder, read_samples
from dfkd_core.study import CellState, Progress, Study, find
from dfkd_core.study.prior import POINT, SCORES
from dfkd_core.teachers.cards import find_card
from pages.ui.study import watching

MOST_SHEETS = 8  # sent at once


def show(study: Study, progress: Progress) -> None:
    """Draw the experiment, or bring what is drawn up to date. Call it at the same place in every rerun."""
    done = {state.cell.key: state for state in progress.cells if state.state == "done"}
    kind, settings = find(study.kind), study.settings
    data = {
        **watching.facts(study, progress),
        "label": next((state.record.figures["label"] for state in done.values()), "FID"),
        "reading": kind.reading(settings, kind.table(settings, progress.cells)),
        "intensities": settings["intensities"],
        "seeds": settings["seeds"],
        "classes": _classes(settings["teacher"]),
        "figures": {key: _figures(state) for key, state in done.items()},
        "sheets": {key: _sheet(study.run(done[key].record)) for key in _wanted(study.id) if key in done},
    }
    _component()(key="prior", data=data, on_ask_change=lambda: None)


@st.cache_resource(show_spinner=False)
def _component() -> Any:
    return watching.component("prior")


def _wanted(study_id: str) -> list[str]:
    """The cells whose images the browser lacks."""
    state = st.session_state.get("prior")
    asked = (state.get("ask") if state else None) or {}
    if asked.get("study") != study_id or st.session_state.get("prior:answered") == asked["nonce"]:
        return []
    st.session_state["prior:answered"] = asked["nonce"]
    return list(asked["want"])[:MOST_SHEETS]


def _figures(state: CellState) -> dict[str, Any]:
    figures = state.record.figures
    return {name: figures[name] for name in (*POINT, *SCORES)} | {
        "counts": figures["counts"],
        "samples": figures["samples"],
    }


def _classes(teacher: str) -> list[str]:
    try:
        return list(find_card(teacher)[0].image.classes)
    except RequestError:  # it was deleted since
        return []


def _sheet(folder: RunFolder) -> dict[str, Any] | None:
    """The images that were kept, with their labels; None if they are gone."""
    try:
        images, columns = read_samples(folder, GENERATED)
        sheet = folder.files.read(f"{GENERATED}.png")
    except (OSError, StoreError):
        return None
    _, height, width, _ = images.shape
    return {
        "sheet": base64.b64encode(sheet).decode(),
        "width": width,
        "height": height,
        "label": columns["label"].tolist(),
    }
