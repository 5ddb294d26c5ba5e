"""Notes: what the lecturer says at the stop that is shown in the other window, and what comes next."""

from __future__ import annotations

import streamlit as st

from pages.ui import link, look
from pages.ui.present import presenter


@st.fragment(run_every=1.0)
def main() -> None:
    """Follows the lesson that its address names, in whichever window of this lab it is given."""
    here = presenter.boards().get(link.word("of"))
    if here is None:
        st.info("This lesson is over. Begin one on the page Lessons; *Notes* on its card opens what you say.")
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
