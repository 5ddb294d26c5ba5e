"""What a link asks for and the form cannot give: said beside the form, and Start waits until it was seen."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import streamlit as st

from pages.ui import link

LINKED, WRONG = "form:linked", "form:wrong"  # of the session: keys that a link filled; sentences by what they are about
MOST_NAMED = 12


def filled(key: str) -> None:
    """A link has said what stands under ``key``."""
    st.session_state.setdefault(LINKED, set()).add(key)


def cannot(name: str, value: Any, should: str) -> None:
    """A part of the link that is not done; ``should``: what would be right."""
    shown = str(value)[: link.LONGEST].replace("`", "'")
    st.session_state.setdefault(WRONG, {})[name] = f"{name} `{shown}`: {should}"


def replaced(name: str, key: str, options: Collection[str]) -> None:
    """What stands under ``key`` is none of the ``options``: to be said where a link has asked for it, for else another
    choice has made it so."""
    if key in st.session_state.get(LINKED, ()):
        more = ", …" if len(options) > MOST_NAMED else ""
        cannot(name, st.session_state[key], f"should be one of {', '.join(list(options)[:MOST_NAMED])}{more}.")


def unseen() -> bool:
    """Whether something was not done of which nobody has taken note yet."""
    return bool(st.session_state.get(WRONG))


def say() -> None:
    """Draw what could not be done, with a button that says that it was seen."""
    st.session_state.pop(LINKED, None)  # what the form does from now on, its user does
    wrong: dict[str, str] = st.session_state.get(WRONG, {})
    if not wrong:
        return
    with st.container(key="form-wrong"):
        said = "\n".join(f"- {link.plain(sentence)}" for sentence in wrong.values())
        st.warning(f"The link asks for what is not here; the form has the usual instead.\n{said}")
        st.button("Go on with the usual", key="seen", on_click=wrong.clear, width="stretch")
