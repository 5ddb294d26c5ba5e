"""Glossary: the lab's words, searched, linked among each other, each with a link of its own."""

from __future__ import annotations

import re
from html import escape

import streamlit as st

from pages.ui import link, look
from pages.ui.words import glossary
from pages.ui.words.glossary import Term

# A term that the search leaves out stays on the page, hidden, and shows itself when a link leads to it.
STYLE = """
<style>
.terms article { display: grid; grid-template-columns: 14rem minmax(0, 1fr); gap: 0 1.5rem; max-width: 1120px;
  padding: .75rem .8rem; border-top: 1px solid color-mix(in srgb, currentColor 15%, transparent);
  scroll-margin-top: 3rem; content-visibility: auto; contain-intrinsic-size: auto 5.5rem; }
.contents { display: flex; flex-wrap: wrap; gap: .2rem .9rem; padding: .2rem 0 .8rem; font-weight: 600; }
.contents a { color: light-dark(#0072b2, #56b4e9); }
.terms { --terms-accent: light-dark(#0072b2, #56b4e9); }
.terms article.first, .terms article:target { border: 2px solid var(--terms-accent); border-radius: 10px; }
.terms article.left-out:not(:target) { display: none; }
.terms h3 { font-size: 1rem; font-weight: 650; padding: 0; margin: 0; }
.terms h3 a { color: inherit; text-decoration: none; }
.terms h3 a:hover, .terms h3 a:focus-visible { text-decoration: underline; }
.terms p { margin: 0; }
.terms .about a { color: var(--terms-accent); }
.terms .symbol { font-family: "STIX Two Math", "Cambria Math", Georgia, serif; overflow-wrap: anywhere; }
.terms .about { font-size: .875rem; margin-top: .25rem; color: color-mix(in srgb, currentColor 72%, transparent); }
@media (max-width: 760px) { .terms article { grid-template-columns: minmax(0, 1fr); } }
</style>
"""


def main() -> None:
    """One script run of the page."""
    st.subheader("Glossary")
    asked = link.word("term")
    query = st.text_input("Search", placeholder="A word, then Enter: loss, teacher, τ …", width=420)
    first = None if query else glossary.find(asked)
    if asked and not query and first is None:
        st.warning(f"There is no term “{link.name(asked)}” here. Search for it, or look through the list.")
    found = glossary.matching(query)
    if query:
        st.caption(_count(len(found)))
    st.html(STYLE + _entries(found, first))


def _count(found: int) -> str:
    if not found:
        return "No term holds these words. Try one word of it, or clear the search."
    return f"{found} of {len(glossary.terms())} terms"


def _entries(found: list[Term], first: Term | None) -> str:
    """All terms as HTML: the one asked for, those found, and the rest, which only a link brings up."""
    rest = [term for term in glossary.terms() if term not in found]
    begins = {term.name[0].upper(): term.name for term in reversed(found)}
    letters = (f'<a href="#{glossary.slug(begins[one])}">{escape(one)}</a>' for one in sorted(begins))
    contents = f'<nav class="contents" aria-label="Terms by their first letter">{"".join(letters)}</nav>'
    entries = [_entry(first, "first")] if first is not None else []
    entries += [_entry(term) for term in found if term is not first]
    entries += [_entry(term, "left-out") for term in rest if term is not first]
    return f'{contents}<div class="terms">{"".join(entries)}</div>'


def _entry(term: Term, kind: str = "") -> str:
    facts = [f"{name}: {escape(text)}" for name, text in (("Seen", term.seen), ("Source", term.source)) if text]
    if term.related:
        links = (f'<a href="#{glossary.slug(name)}">{escape(name)}</a>' for name in term.related)
        facts.append(f"See also: {', '.join(links)}")
    symbol = f'<p class="symbol">{_lowered(escape(term.symbol))}</p>' if term.symbol else ""
    return (
        f'<article id="{glossary.slug(term.name)}" class="{kind}">'
        f'<h3><a href="{glossary.path(term.name)}" title="Link to this term">{escape(term.name)}</a></h3>'
        f'<div><p>{escape(term.meaning)}</p>{symbol}<p class="about">{" · ".join(facts)}</p></div></article>'
    )


def _lowered(symbol: str) -> str:
    """``λ_BN`` with its index lowered."""
    return re.sub(r"_(\w+)", r"<sub>\1</sub>", symbol)


look.through_app("pages/glossary.py")
main()
