"""Little that the theme cannot say."""

from __future__ import annotations

import streamlit as st

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
/* Streamlit greys out what a rerun has not reached yet; on a page that looks for news every second that flickers. */
[data-stale="true"] { opacity: 1 !important; transition: none !important; }
</style>
"""


def through_app(page: str) -> None:
    """Come in by ``app.py``. Until it has run once, Streamlit takes ``pages/`` for pages of their own, and a link to
    one of them would show it without the lab around it."""
    if "in_app" not in st.session_state:
        st.session_state["wanted_page"] = page
        st.switch_page("app.py", query_params=st.query_params.to_dict())


def apply() -> None:
    """Less empty space above, so that a laptop shows the curve and the images without scrolling."""
    st.html(STYLE)
