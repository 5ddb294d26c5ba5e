"""Knobs that change while a run goes on: a small form beside the buttons."""

from __future__ import annotations

import streamlit as st

from dfkd_core.analysis.timeline import Timeline
from dfkd_core.errors import RequestError, StoreError
from dfkd_core.kit.config import MethodConfig
from dfkd_core.runs.spec import read_spec
from dfkd_core.store import RunFolder
from pages.ui import boot
from pages.ui.form import widgets

NOT_NOW = "Learning rates, term weights and the threshold can be changed while a run goes on."


def button(folder: RunFolder | None, timeline: Timeline | None, enabled: bool) -> None:
    """A popover with the live knobs of the run's method; disabled while there is none that could hear it."""
    label, icon = "Change knobs", ":material/tune:"
    if not enabled or folder is None or timeline is None:
        st.button(label, icon=icon, disabled=True, help=NOT_NOW, key="no-live-knobs")
        return
    with st.popover(label, icon=icon):
        _form(folder, timeline)


def _form(folder: RunFolder, timeline: Timeline) -> None:
    from dfkd_core import methods

    spec = read_spec(folder)
    config = methods.find(spec.method).Config
    now = {**spec.config, **timeline.changed}
    edition = f"live:{folder.id}:{len(timeline.marks)}"  # a change that was made elsewhere starts the form anew
    with st.form(edition, border=False):
        st.caption("From the next step on. Each change is kept in the run's log and marked on the curves.")
        apply = st.form_submit_button("Apply", type="primary", icon=":material/check:")  # in sight without scrolling
        columns = st.columns(2)
        asked = {}
        for index, name in enumerate(config.live_knobs()):
            with columns[index % 2]:
                asked[name] = _knob(config, name, now[name], f"{edition}:{name}")
        if apply:
            _apply(folder, {name: value for name, value in asked.items() if value != now[name]})


def _knob(config: type[MethodConfig], name: str, now: float | bool, key: str) -> float | bool:
    """Live knobs are switches and numbers."""
    field = config.model_fields[name]
    label, help = widgets.described(name, field, config.about(name), field.default)
    if field.annotation is bool:
        return st.toggle(label, bool(now), key=key, help=help)
    low, high = widgets.bounds(field)
    step = widgets.increment(now)
    return st.number_input(label, float(low or 0), float(high or 1e9), float(now), step, "%g", key=key, help=help)


def _apply(folder: RunFolder, changes: dict[str, object]) -> None:
    from dfkd_core.runs.request import check_change

    engine = boot.start().engine
    if engine is None or not changes:
        return
    st.session_state.pop("problem", None)
    try:
        engine.change(folder.id, check_change(read_spec(folder), changes))
    except (RequestError, StoreError) as error:
        st.session_state["problem"] = str(error)
