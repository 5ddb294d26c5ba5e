"""What a link asks for and the page cannot give: said once, until it was seen; where a form is filled from it, Start
waits for that."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, Literal

import streamlit as st

from pages.ui import link

LINKED = "form:linked"  # of the session: keys of the form that a link filled
KEY, KEY_OF_FORM = "link-wrong", "form-wrong"  # of what is drawn
FORM, PAGE = "form:wrong", "form:wrong:page"  # sentences by what they are about: of the form, of all else on a page
MOST_NAMED = 12


# --- of a page -------------------------------------------------------------------------------------------------


def one_of(name: str, options: Iterable[str], usual: str = "") -> str:
    """What the address says of ``name`` if that is one of ``options``; else the ``usual``, and a sentence where the
    address says something."""
    value, known = link.word(name), list(options)
    if value in known:
        return value
    if value:
        cannot(name, value, _among(known))
    return usual


def several_of(name: str, options: Iterable[str]) -> list[str]:
    """The same of values between commas, of which those are left that are there."""
    values, known = link.several(name), list(options)
    for value in values:
        if value not in known:
            cannot(name, value, _among(known))
            break  # one says what would be right
    return [value for value in values if value in known]


def number_of(name: str, least: float, below: float) -> float | None:
    """A number in the address, from ``least`` up to what is smaller than ``below``; None where it says none."""
    if not (value := link.word(name)):
        return None
    found = link.fraction(value)
    if found is not None and least <= found < below:
        return found
    cannot(name, value, f"should be a number from {least:g} to less than {below:g}.")
    return None


def whole_of(name: str) -> int | None:
    """A whole number in the address; None where it says none."""
    value = link.word(name)
    if value and link.number(value) is None:
        cannot(name, value, "should be a whole number of at most nine digits.")
    return link.number(value)


def cannot(name: str, value: Any, should: str, of: str = PAGE) -> None:
    """A part of the link that is not done; ``should``: what would be right."""
    shown = str(value)[: link.LONGEST].replace("`", "'")
    st.session_state.setdefault(of, {})[name] = f"{name} `{shown}`: {should}"


def _among(options: Collection[str]) -> str:
    if not options:
        return "there is none here."
    more = ", …" if len(options) > MOST_NAMED else ""
    return f"should be one of {', '.join(list(options)[:MOST_NAMED])}{more}."


def say() -> None:
    """Above the page, though it is drawn when all of the page has looked at the address; see ``look.STYLE``."""
    _draw(PAGE, KEY, "The link asks for what is not here; you see the usual instead.", "I have seen it")


# --- of a form -------------------------------------------------------------------------------------------------


def filled(key: str) -> None:
    """A link has said what stands under ``key``."""
    st.session_state.setdefault(LINKED, set()).add(key)


def replaced(name: str, key: str, options: Collection[str]) -> None:
    """What stands under ``key`` is none of the ``options``: to be said where a link has asked for it, for else another
    choice has made it so."""
    if key in st.session_state.get(LINKED, ()):
        cannot(name, st.session_state[key], _among(options), FORM)


def unseen() -> bool:
    """Whether something of the form was not done of which nobody has taken note yet."""
    return bool(st.session_state.get(FORM))


def say_of_form() -> None:
    """Draw what could not be done, with a button that says that it was seen."""
    st.session_state.pop(LINKED, None)  # what the form does from now on, its user does
    head = "The link asks for what is not here; the form has the usual instead."
    _draw(FORM, KEY_OF_FORM, head, "Go on with the usual")


def _draw(of: str, key: str, head: str, seen: str) -> None:
    wrong: dict[str, str] = st.session_state.get(of, {})
    if not wrong:
        return
    with st.container(key=key):
        said = "\n".join(f"- {link.plain(sentence)}" for sentence in wrong.values())
        st.warning(f"{head}\n{said}")
        width: Literal["content", "stretch"] = "content" if of == PAGE else "stretch"
        st.button(seen, key=f"{key}:seen", on_click=wrong.clear, width=width)
