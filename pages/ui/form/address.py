"""The whole configuration of the form in the address bar: a link opens the lab as it was sent."""

from __future__ import annotations

import os
from typing import Any

import streamlit as st

from pages.ui import link
from pages.ui.keep import alive

FOLDER = "folder"
NUMBERS = {"seed": (0, 2**31 - 1), "threads": (1, os.cpu_count() or 1)}
_OF_THE_PAGE = ("run", "step", "slow", "tour", "view")
_IN_ADDRESS = (
    "benchmark", "teacher", "student", "method", "preset", "collecting", "diffusion", "device", "seed", "threads",
    "precision", "compile",
)  # fmt: skip
_WITH_A_KEY_OF_THEIR_OWN = ("collected", "ratio")


def take() -> None:
    """Once per session and page, before any widget is drawn: a link opens the lab as it was sent."""
    if "form:asked" in st.session_state:
        alive()
        return
    given = st.query_params.to_dict()
    for name in _IN_ADDRESS:
        if name in given:
            value = given[name]
            if name in NUMBERS:
                least, most = NUMBERS[name]
                st.session_state[f"form:{name}"] = min(max(link.number(value) or 0, least), most)
            else:
                st.session_state[f"form:{name}"] = value
    if given.get("benchmark", "").startswith("folder:"):
        st.session_state["form:folder"] = given["benchmark"].removeprefix("folder:")
        st.session_state["form:benchmark"] = FOLDER
    if "collected" in given:
        kind, _, path = given["collected"].partition("folder:")
        st.session_state["form:collected"] = kind or FOLDER
        st.session_state["form:collected-folder"] = path
    if given.get("k.source") == "stable-diffusion":
        st.session_state["form:stable-diffusion"] = given.get("diffusion", "")
    ratio = {"ratio": given["ratio"]} if "ratio" in given else {}
    knobs = {name[2:]: value for name, value in given.items() if name.startswith("k.")}
    recorded = {f"record:{name[2:]}": value for name, value in given.items() if name.startswith("r.")}
    st.session_state["form:asked"] = knobs | recorded | ratio


def keep(fields: dict[str, Any], changes: dict[str, Any], recorded: dict[str, Any]) -> None:
    kept = {name: value for name, value in st.query_params.to_dict().items() if name in _OF_THE_PAGE}
    wanted = kept | {name: str(fields[name]) for name in (*_IN_ADDRESS, *_WITH_A_KEY_OF_THEIR_OWN) if name in fields}
    wanted |= {f"k.{name}": str(value) for name, value in changes.items()}
    wanted |= {f"r.{name}": str(value) for name, value in recorded.items()}
    if wanted != st.query_params.to_dict():
        st.query_params.from_dict(wanted)
