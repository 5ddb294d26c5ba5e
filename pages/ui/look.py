"""Little that the theme cannot say: style sheets that stand in every page from the first moment on."""

from __future__ import annotations

from typing import Any, Literal

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

STYLE = """
<style>
header[data-testid="stHeader"] { height: 1.6rem; min-height: 1.6rem; background: transparent; }
[data-testid="stMainBlockContainer"] { padding: 1.3rem 1.6rem 1rem; max-width: 1780px; }
[data-testid="stSidebarHeader"] { height: 3rem; padding-block: 0.5rem 0; }
[data-testid="stSidebarUserContent"] { padding-top: 0.4rem; padding-bottom: 2rem; }
section[data-testid="stSidebar"] [data-testid="stVerticalBlock"] { gap: 0.5rem; }
[data-testid="stMain"] [data-testid="stVerticalBlock"] { gap: 0.6rem; }
/* Its own colour for what is chosen cannot be read on a dark ground where white on it can. */
.stApp button[role="radio"][aria-checked="true"] { color: inherit !important; font-weight: 600; }
/* Its captions, a shade of the text, cannot be read on what is not white; nor can its code on a dark ground. */
.stApp [data-testid="stCaptionContainer"], .stApp [data-testid="stCaptionContainer"] :is(p, strong, li) {
  color: light-dark(#565e68, #adb5bf); opacity: 1; }
.stApp [data-testid="stCaptionContainer"] code { font-size: .9em; }
.stApp :is(p, li, td) code { color: light-dark(#0d6b3a, #5cd68d); }
/* What has the keyboard's attention, wherever it is. */
.stApp :is(a, button, summary, [tabindex="0"]):focus-visible { outline-offset: 2px;
  outline: 2px solid light-dark(#0072b2, #56b4e9) !important; }
/* Room for the logo and the button that opens the menu, which are above the page where it is narrow. */
@media (max-width: 767px) {
  header[data-testid="stHeader"] { height: 3rem; background: inherit; }
  [data-testid="stMainBlockContainer"] { padding: 3.3rem 1rem 1rem; }
}
/* What is chosen is cut with a sign that it is; among what can be chosen it stands whole. */
.stApp input[role="combobox"] { text-overflow: ellipsis; }
[role="listbox"] [role="option"] * { white-space: normal; overflow-wrap: anywhere; }
/* The page's name for those who hear it; the menu shows it to all others. */
.st-key-page-name { position: absolute; width: 1px; }
.page-name { position: absolute; width: 1px; height: 1px; margin: 0; overflow: hidden; clip-path: inset(50%); }
/* Streamlit greys out what a rerun has not reached yet; on a page that looks for news every second that flickers. */
[data-stale="true"] { opacity: 1 !important; transition: none !important; }
/* What a link asks for and is not here: drawn when the page has looked at the address, and above it. */
[data-testid="stMain"] [data-testid="stVerticalBlock"] > :has(> .st-key-link-wrong) { order: -1; }
/* What pages/ui/web/server.js says when the server is gone, instead of what Streamlit says. */
.lab-gone { position: fixed; inset: auto 1rem 1rem; z-index: 9999999; padding: .8rem 1.2rem; border-radius: 10px;
  border-left: 6px solid #e08a3c; background: #1b2430; color: #fff; font: 16px/1.45 "Source Sans", sans-serif;
  box-shadow: 0 6px 28px rgb(0 0 0 / .4); }
.lab-is-gone [data-testid="stDialog"] { display: none; }
/* What was pressed, until the server answers (pages/ui/web/pressed.js). */
button[data-pressed] { cursor: progress; opacity: .6; outline: 2px solid light-dark(#0072b2, #56b4e9); }
/* The button that loads a run into the form comes late, and so does what a stage is made of: for a moment between
   what stands for it and itself there is neither. */
.st-key-showing { min-height: 2.5rem; }
:is(.st-key-stage, [class*="st-key-stage-"], .st-key-hybrid, .st-key-microscope, .st-key-generative,
  .st-key-lesson, .st-key-methods) { min-height: 75vh; }
.st-key-live-knobs label p { font-size: 13px; }
/* What a row is made of comes late, one after the other, each as wide as it is: the row is shown when all is there. */
[data-testid="stHorizontalBlock"]:has(> [data-testid="stElementContainer"] > [data-testid="stSkeleton"]) {
  visibility: hidden; }
/* A box to choose from, or a row of them, with their labels. */
[class*="st-key-form-"]:has(> [data-testid="stSkeleton"]), [class*="st-key-labelled-"] { min-height: 68px; }
.st-key-teacher-facts { min-height: 76px; }
/* The page Methods: the source is below the text where there is no room beside. */
.st-key-method-lead { min-height: 140px; }
@media (max-width: 1500px) {
  .st-key-method-beside [data-testid="stHorizontalBlock"] { flex-direction: column; }
  .st-key-method-beside [data-testid="stColumn"] { width: 100%; flex: none; }
  .st-key-method-text { min-height: 90vh; }
}
</style>
"""
# Until something is there, by the name of the sheet, which pages/ui/web/server.js then takes away. A rule that looked
# whether it is there (:has) would be looked at again for every label that plotly measures, for all of the page.
UNTIL = {
    "stSidebar": """
@media (min-width: 768px) {
  [data-testid="stAppViewContainer"] > :has([data-testid="stMain"]):not([data-testid="stSidebar"] ~ *) {
    margin-left: 300px; } }
""",
    "stSidebarNav": """
[data-testid="stSidebarContent"] [data-testid="stSidebarUserContent"] { margin-top: 405px; }
""",
}


def through_app(page: str) -> None:
    """Come in by ``app.py``. Until it has run once, Streamlit takes ``pages/`` for pages of their own, and a link to
    one of them would show it without the lab around it."""
    if "in_app" not in st.session_state:
        st.session_state["wanted_page"] = page
        st.switch_page("app.py", query_params=st.query_params.to_dict())


def labelled(name: str, vertical_alignment: Literal["top", "bottom"] = "bottom", **more: Any) -> DeltaGenerator:
    """A row of boxes with their labels, whose room is there before they are. ``name``: its own on the page."""
    return st.container(key=f"labelled-{name}", horizontal=True, vertical_alignment=vertical_alignment, **more)


def name(page: str) -> None:
    """The heading of a page, the first of all."""
    with st.container(key="page-name"):
        st.html(f'<h1 class="page-name">{page}</h1>')
