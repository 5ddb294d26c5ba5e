"""Teachers: what each is like, training one from a recipe, bringing one."""

from __future__ import annotations

import streamlit as st

from pages.ui import boot, link, linked, look
from pages.ui.run import steering
from pages.ui.teachers import bring, train, zoo

VIEWS = {"zoo": "All teachers", "train": "Train one", "bring": "Bring one"}


def main() -> None:
    """One script run of the page."""
    if not boot.is_loaded():
        return
    st.session_state.setdefault("teachers:view", linked.one_of("view", VIEWS, "zoo"))
    view = st.segmented_control(
        "View", list(VIEWS), format_func=VIEWS.__getitem__, key="teachers:view", label_visibility="collapsed",
        required=True,
    )  # fmt: skip
    link.say("view", str(view) if view != "zoo" else "")
    with steering.said():
        {"zoo": zoo.show, "train": train.show, "bring": bring.show}[str(view)]()


look.through_app("pages/teachers.py")
main()
