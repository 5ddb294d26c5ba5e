"""Glossary: the lab's words, searched, linked among each other, each with a link of its own."""

from __future__ import annotations

from itertools import groupby

import streamlit as st

from pages.ui import boot, link, linked, look
from pages.ui.words import glossary
from pages.ui.words.glossary import Term

STYLE = boot.ROOT / "pages" / "ui" / "words" / "terms.css"


def main() -> None:
    """One script run of the page: what the search finds, or the term in the address, and the names of all."""
    st.subheader("Glossary")
    asked = link.word("term")
    query = st.text_input("Search", placeholder="A word, then Enter: loss, teacher, τ …", width=420)
    first = None if query else glossary.find(asked)
    if asked and not query and first is None:
        linked.cannot("term", asked, "is no term here. Search for it, or look through the list.")
        link.say("term", "")
    found = glossary.matching(query) if query else []
    if query:
        st.caption(_count(len(found)))
    st.html(STYLE)
    entries = [glossary.entry(first, "first")] if first is not None else [glossary.entry(term) for term in found]
    st.html(f'<div class="terms">{"".join(entries)}</div>{"" if query else _contents()}')


def _count(found: int) -> str:
    if not found:
        return "No term holds these words. Try one word of it, or clear the search."
    return f"{found} of {len(glossary.terms())} terms"


def _contents() -> str:
    """The names of all terms by their first letter; each opens beside them."""

    def letter(term: Term) -> str:
        return term.name[0].upper()

    groups = groupby(sorted(glossary.terms(), key=letter), key=letter)
    parts = (
        f"<section><h2>{one}</h2>{''.join(glossary.anchor(term.name) for term in terms)}</section>"
        for one, terms in groups
    )
    return f'<nav class="contents" aria-label="All terms">{"".join(parts)}</nav>'


look.through_app("pages/glossary.py")
main()
