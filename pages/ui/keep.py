"""What was set on a page, and what was looked at there, is still so when one comes back to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from pages.ui import boot

SET = ("form:", "knob:")  # keys of what somebody sets on a page
HOME = "distill"  # the page without a name in the address
OF_A_LESSON = ("lesson", "stop", "giving")  # parts of the address that are no page's own


def forget(*keys: str) -> None:
    """What is set on the page that is open, or only ``keys`` of it: the form is filled anew."""
    state = st.session_state
    kept = state.get("settings", {}).get(state.get("page"), {})
    for key in keys or _set():
        state.pop(key, None)
        kept.pop(key, None)


def carry_over() -> None:
    """To Streamlit a widget of the same name on another page is another one: what is set is set for it, once."""
    context = get_script_run_ctx()
    page = context.page_script_hash if context is not None else ""
    if st.session_state.get("set on") != page:
        st.session_state.update(_set())
        st.session_state["set on"] = page


def catch_up() -> None:
    """For a fragment that redraws itself: run the whole page again where something was set since that it does not show.

    Streamlit's front end sends changes that come in the same moment as one: what somebody sets while a component of
    the fragment asks for something reruns the fragment alone, and the rest of the page stays as it was.
    """
    state = st.session_state
    if boot.alone() and _set() != state.get("settings", {}).get(state.get("page")):
        st.rerun()


def _set() -> dict[str, Any]:
    return {str(key): st.session_state[key] for key in st.session_state if str(key).startswith(SET)}


def fill(page: str, chosen: dict[str, str]) -> None:
    """The form of ``page`` has ``chosen`` when it is visited next; what else was set there stays."""
    name = "" if page == HOME else page
    if kept := st.session_state.get("settings", {}).get(name):
        kept.update({f"form:{key}": value for key, value in chosen.items()})


@contextmanager
def page(name: str) -> Iterator[None]:
    """Around the run of the page ``name``. Each page has settings and an address of its own; a link that says something
    is followed, the menu leads back to where one was."""
    state = st.session_state
    before, addresses = state.get("page"), state.setdefault("addresses", {})
    settings = state.setdefault("settings", {})
    if before != name:
        here = _set()
        settings[before] = settings.get(before, {}) | here  # Streamlit may have forgotten widgets on the way
        for key in here:
            del state[key]
        state["page"] = name
        if not st.query_params.to_dict():
            st.query_params.from_dict(addresses.get(name, {}))
    # Streamlit forgets widgets that a run did not draw. Only those are set: the browser is told to show what is set,
    # and would undo what somebody chose since.
    for key, value in settings.get(name, {}).items():
        if key not in state:
            state[key] = value
    try:
        yield
    finally:
        settings[name], said = _set(), st.query_params.to_dict()
        addresses[name] = {part: value for part, value in said.items() if part not in OF_A_LESSON}
