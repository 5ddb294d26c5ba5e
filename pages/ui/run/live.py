"""Knobs that change while a run goes on: a small form between the buttons and the stage, which it does not cover."""

from __future__ import annotations

import streamlit as st

from dfkd_core.analysis.timeline import Timeline
from dfkd_core.errors import RequestError, StoreError
from dfkd_core.kit.config import MethodConfig
from dfkd_core.runs.spec import read_spec
from dfkd_core.store import RunFolder
from pages.ui import boot
from pages.ui.form import widgets

OPEN = "live:open"  # of the session
WIDTH = 140  # pixels of a knob: six beside each other on a laptop
APPLIED = "From the next step on. Each change is kept in the run's log and marked on the curves."
NOT_NOW = "Learning rates, term weights and the threshold can be changed while a run goes on."


def button(enabled: bool) -> None:
    """Opens and closes the form; disabled while there is no run that could hear it."""
    shown = _is_open() and enabled
    st.button(
        "Change knobs",
        icon=f":material/{'close' if shown else 'tune'}:",
        disabled=not enabled,
        help=None if enabled else NOT_NOW,
        shortcut="Esc" if shown else None,
        on_click=_turn,
        key="change-knobs",
    )


def panel(folder: RunFolder | None, timeline: Timeline | None, enabled: bool) -> None:
    """The form with the live knobs of the run's method, when it is open."""
    with st.container(key="live-knobs"):  # always: what comes after it keeps its place
        if enabled and folder is not None and timeline is not None and _is_open():
            _form(folder, timeline)


def _is_open() -> bool:
    return bool(st.session_state.get(OPEN))


def _turn() -> None:
    st.session_state[OPEN] = not _is_open()


def _form(folder: RunFolder, timeline: Timeline) -> None:
    from dfkd_core import methods

    spec = read_spec(folder)
    config = methods.find(spec.method).Config
    now = {**spec.config, **timeline.changed}
    edition = f"live:{folder.id}:{len(timeline.marks)}"  # a change that was made elsewhere starts the form anew
    with st.form(edition), st.container(horizontal=True, vertical_alignment="bottom", gap="xsmall"):
        usual = config.build(spec.preset if spec.preset in config.presets else "")
        asked = {name: _knob(usual, name, now[name], f"{edition}:{name}") for name in config.live_knobs()}
        apply = st.form_submit_button("Apply", type="primary", icon=":material/check:", help=APPLIED)
    if apply:
        _apply(folder, {name: value for name, value in asked.items() if value != now[name]})


def _knob(usual: MethodConfig, name: str, now: float | bool, key: str) -> float | bool:
    """Live knobs are switches and numbers. ``usual``: as the preset has them."""
    field = type(usual).model_fields[name]
    label, help = widgets.described(name, field, usual.about(name), getattr(usual, name))
    if field.annotation is bool:
        return st.toggle(label, bool(now), key=key, help=help, width=WIDTH)
    low, high = widgets.bounds(field)
    step = widgets.increment(now)
    return st.number_input(
        label, float(low or 0), float(high or 1e9), float(now), step, "%g", key=key, help=help, width=WIDTH
    )


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
