"""DFKD Lab: data-free knowledge distillation to watch, to teach and to take apart. ``streamlit run app.py``."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import streamlit as st
from starlette.middleware import Middleware

from pages.ui import boot, gate, keep, linked, look, shell
from pages.ui.present import presenter


def _is_loopback(address: str | None) -> bool:
    if address in (None, "", "localhost"):
        return address == "localhost"
    try:
        return ipaddress.ip_address(str(address)).is_loopback
    except ValueError:
        return False


def _has_login() -> bool:
    try:
        return "auth" in st.secrets
    except FileNotFoundError:
        return False


def main() -> None:
    """Register the pages. Anybody who reaches the lab can start trainings, so a public address needs a login."""
    st.set_page_config("DFKD Lab", "🔬", layout="wide", initial_sidebar_state="auto")
    st.logo(str(Path(__file__).parent / "assets" / "logo.svg"), size="large")
    if not _is_loopback(st.get_option("server.address")):
        if not _has_login():
            st.error("server.address is not this machine only. Configure a login ([auth] in secrets.toml) to serve it.")
            st.stop()
        if not st.user.is_logged_in:
            st.login()
            st.stop()
    boot.start()
    page = st.navigation(
        [
            st.Page("pages/distill.py", title="Distill", icon=":material/science:", default=True),
            st.Page("pages/inspect.py", title="Inspect", icon=":material/search:"),
            st.Page("pages/hybrid.py", title="Hybrid", icon=":material/merge:"),
            st.Page("pages/generative.py", title="Generative", icon=":material/auto_awesome:"),
            st.Page("pages/prior.py", title="Class prior", icon=":material/tune:"),
            st.Page("pages/lessons.py", title="Lessons", icon=":material/school:"),
            st.Page("pages/studies.py", title="Studies", icon=":material/account_tree:"),
            st.Page("pages/runs.py", title="Runs", icon=":material/list:"),
            st.Page("pages/methods.py", title="Methods", icon=":material/menu_book:"),
            st.Page("pages/teachers.py", title="Teachers", icon=":material/psychology:"),
            st.Page("pages/glossary.py", title="Glossary", icon=":material/dictionary:"),
            st.Page("pages/notes.py", title="Notes", icon=":material/speaker_notes:", visibility="hidden"),
        ]
    )
    st.session_state["in_app"] = True
    wanted = st.session_state.pop("wanted_page", None)
    if wanted is not None:
        st.switch_page(wanted, query_params=st.query_params.to_dict())
    lesson = presenter.given()
    if lesson is not None and (opened := presenter.wanted(page.url_path)) is not None:
        st.switch_page(opened[0], query_params=opened[1])
    if said := boot.few_handles():
        st.sidebar.warning(said, icon=":material/warning:")
    with keep.page(page.url_path):
        if lesson is not None:
            presenter.card(lesson, page.url_path)
        page.run()
        linked.say()
    look.name(page.title)  # behind all else, which it would move while it comes
    if lesson is not None:
        st.query_params.update(presenter.in_address(lesson, page.url_path))


if __name__ == "__main__":  # Streamlit runs this file so, for each session
    main()
else:  # and its server imports it, once
    app = st.App(
        __file__, lifespan=gate.announced, middleware=[Middleware(gate.Gate, token=gate.TOKEN), Middleware(shell.Shell)]
    )
