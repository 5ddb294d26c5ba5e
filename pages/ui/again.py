"""What is drawn again while something goes on and somebody looks: how often, and for whom."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from dfkd_core.errors import RequestError, StoreError

SESSION_SECONDS, LOOK_SECONDS = 25.0, 0.7
FULL_CLASS = 50  # sessions
HIDDEN = "hidden"  # of the session: nobody looks; web/mount.js says when that changes, web/view.py hears it


def again(draw: Callable[[], None], goes_on: Callable[[], bool]) -> None:
    """What ``draw`` draws; again and again while ``goes_on`` says so, unless the browser's tab is hidden. When either
    changes, the whole page runs once more."""

    def is_due() -> bool:
        with suppress(OSError, RequestError, StoreError):  # what is wrong there, ``draw`` says
            return goes_on() and not st.session_state.get(HIDDEN)
        return False

    def drawn() -> None:
        draw()
        if is_due() != due:
            st.rerun()

    due = is_due()
    st.fragment(drawn, run_every=poll_seconds() if due else None)()


def poll_seconds() -> float:
    """How often a page reruns while a run goes on: every second, less often the more sessions are watching. What is new
    of the run the browser fetches meanwhile."""
    return max(1.0, 0.2 * _watching())


def look_seconds() -> float:
    """Between two looks of a browser at what is new of a live run; beyond a full class so much longer that the server
    answers no more of them."""
    return LOOK_SECONDS * max(1.0, _watching() / FULL_CLASS)


def _watching() -> int:
    """Sessions that watch something, this one too."""
    seen, now = _sessions(), time.monotonic()
    context = get_script_run_ctx()
    seen[context.session_id if context else "none"] = now
    return sum(now - last < SESSION_SECONDS for last in seen.values())


@st.cache_resource(show_spinner=False)
def _sessions() -> dict[str, float]:
    return {}
