"""What was set on a page, and what was looked at there, is still so when one comes back to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import streamlit as st

SET = ("form:", "knob:")  # keys of what somebody sets on a page
HOME = "distill"  # the page without a name in the address
OF_A_LESSON = ("lesson", "stop")  # parts of the address that are no page's own


def alive() -> dict[str, Any]:
    """What is set; Streamlit forgets widgets that a run did not draw, unless they are set again."""
    here = _set()
    st.session_state.update(here)
    return here


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
    state, here = st.session_state, alive()
    before, addresses = state.get("page"), state.setdefault("addresses", {})
    settings = state.setdefault("settings", {})
    if before != name:
        settings[before] = settings.get(before, {}) | here  # Streamlit may have forgotten widgets on the way
        for key in here:
            del state[key]
        state.update(settings.get(name, {}))
        state["page"] = name
        if not st.query_params.to_dict():
            st.query_params.from_dict(addresses.get(name, {}))
    try:
        yield
    finally:
        settings[name], said = _set(), st.query_params.to_dict()
        addresses[name] = {part: value for part, value in said.items() if part not in OF_A_LESSON}
