"""Links and names that somebody else made: no page fails by them, and what they say is text."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from streamlit.testing.v1 import AppTest

from pages.ui import link

HARMFUL = (
    "![p](http://outside.example/p.png)", "<img src=http://outside.example/p.png onerror=alert(1)>",
    "[a](javascript:alert(1))",
    "$\\href{http://outside.example}{x}$", ":material/delete: :red[x]", "\u202egnp.exe", "http://outside.example",
    "`![p](http://outside.example)", "a\n\n# A heading\n- a list",
)  # fmt: skip
NUMBERS = ("²", "1.²", "9" * 5000, "-1", "1e99", "٣", "NaN", "0x10", " 1", "")
PARTS = ("run", "study", "step", "slow", "seed", "term", "tau", "threads", "k.epochs", "ratio")
MARKDOWN = MarkdownIt("commonmark", {"html": True})
PAGES = ("distill", "inspect", "hybrid", "generative", "prior", "lessons", "studies", "glossary", "runs")


@given(st.text())
@example("²")
@example("9" * 5000)
def test_a_number_is_read_or_refused(text: str) -> None:
    found = link.number(text)
    assert found is None or (0 <= found < 10**9 and text.isascii() and text.isdigit())


@given(st.text())
@example("`")
@example("``![p](http://x)`")
@example("![p](http://x)")
@example("1. one")
@example("12) two")
@example("- three")
@example("# four")
def test_a_name_is_text_and_nothing_else(text: str) -> None:
    for said in (f"A run {link.name(text)} here.", link.name(text)):
        for token in MARKDOWN.parse(said):
            assert token.type in ("paragraph_open", "inline", "paragraph_close")
            kinds = {child.type for child in token.children or ()}
            assert kinds <= {"text", "text_special"}, kinds


@pytest.mark.parametrize("page", PAGES)
def test_no_page_fails_by_its_address_or_shows_more_than_text(app: AppTest, page: str) -> None:
    for text in (*NUMBERS[:3], HARMFUL, HARMFUL[::-1], "x" * 300):
        for part in PARTS:
            app.query_params[part] = text if isinstance(text, str) else text[PARTS.index(part) % len(text)]
        app.switch_page(f"pages/{page}.py").run()
        assert not app.exception, text
        for box in (*app.warning, *app.error, *app.info, *app.markdown, *app.caption):
            tokens = [child for token in MARKDOWN.parse(box.value) for child in token.children or ()]
            assert not [token for token in tokens if "outside" in str(token.attrs) or "html" in token.type]
