"""Notes: what the lecturer says at the stop that is shown in the other window, and what comes next."""

from __future__ import annotations

import streamlit as st

from pages.ui import link, look
from pages.ui.present import presenter


@st.fragment(run_every=1.0)
def main() -> None:
    """Follows the lesson, whichever window of this lab gives it."""
    name = link.word("of")
    here = presenter.boards().get(name)
    if here is None:
        st.info(f"The lesson {link.name(name)} is not being given; begin it on the page Lessons.")
        return
    st.markdown(f"# {here.clock()}")
    st.markdown(f"### {here.number} / {len(here.lesson.stops)} · {link.plain(here.stop.title)}")
    st.caption(f"{here.stop.minutes:g} minutes for this stop")
    st.markdown(here.stop.notes or "*No notes for this stop.*")
    for question in here.stop.ask:
        st.markdown(f"- {question}")
    if here.number < len(here.lesson.stops):
        st.caption(f"Next: {link.plain(here.lesson.stops[here.number].title)}")


look.through_app("pages/notes.py")
main()
