"""The lab's words: every term that its pages show, with its meaning, the paper's symbol, and where it comes from.

They stand in ``glossary.toml``; what a method calls its own and no text explains has the method's own words. Pages link
to one with ``link``; the page ``glossary`` finds and shows them, ``pages/ui/web/beside.js`` one beside any page.
"""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import replace
from functools import cache
from html import escape
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import streamlit as st
from pydantic import ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass

from dfkd_core.analysis.alarms import DEAD, DROWNING
from dfkd_core.methods.index import listed

Word = Annotated[str, Field(min_length=1)]
NUMBERS = {"dead": f"{100 * DEAD:g}", "drowning": f"{100 * DROWNING:g}"}
"""What a meaning may quote: percentages of the generator's gradient."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Term:
    """One entry. ``also``: other names, those of knobs, metrics and headings among them, that lead here.
    ``related``: names of other terms. ``seen``: the pages and panels that show it."""

    name: Word
    meaning: Word
    seen: Word
    symbol: str = ""
    source: str = ""
    related: tuple[Word, ...] = ()
    also: tuple[Word, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """All that it is found by."""
        return (self.name, *self.also)


def read(text: str) -> tuple[Term, ...]:
    """The terms of a glossary in TOML, in its order.

    Raises ``ValueError`` in one sentence for a field that is missing or unknown, a source or a related term that is
    not there, or a name that two terms have.
    """
    stored = tomllib.loads(text)
    terms = tuple(_term(name, fields, stored["sources"]) for name, fields in stored["terms"].items())
    owners: dict[str, str] = {}
    for term in terms:
        for name in map(slug, term.names):
            if not name or name in owners:
                raise ValueError(f"the term “{term.name}” has a name that is not its own: “{name}”")
            owners[name] = term.name
    for term in terms:
        for name in term.related:
            if name == term.name or owners.get(slug(name)) != name:
                raise ValueError(f"the term “{term.name}” is related to “{name}”, which is the name of no other term")
    return terms


def _term(name: str, fields: dict[str, Any], sources: dict[str, str]) -> Term:
    try:
        term = Term(name=name, **fields)
        meaning = " ".join(term.meaning.format_map(NUMBERS).split())
        return replace(term, meaning=meaning, source=term.source.format_map(sources))
    except KeyError as error:
        raise ValueError(f"the term “{name}” quotes {error}, which is not there") from None
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"the term “{name}”, {first['loc'][0]}: {first['msg']}") from None


def slug(text: str) -> str:
    """``BN statistics`` and ``bn_statistics`` -> ``bn-statistics``, as it stands in a link."""
    return re.sub(r"[\W_]+", "-", text.casefold()).strip("-")


WRITTEN = read(Path(__file__).with_suffix(".toml").read_text("utf-8"))
_BY_SLUG = {slug(name): term for term in WRITTEN for name in term.names}


@cache
def declared() -> dict[str, Term]:
    """By slug, what methods call their own and no text explains: knobs, groups of them, loss terms."""
    found: dict[str, Term] = {}
    for method in listed():
        seen = f"Form and stage of {method.title}"
        for word in method.words:
            names = {slug(name) for name in (word.name, word.also) if name} - _BY_SLUG.keys() - found.keys()
            term = Term(word.name, word.meaning, seen, also=(word.also,) if word.also else ())
            found |= dict.fromkeys(names, term)
    return found


def terms() -> list[Term]:
    """All of them, in alphabetical order."""
    return sorted({*WRITTEN, *declared().values()}, key=lambda term: slug(term.name))


def find(text: str) -> Term | None:
    """The term of that name, or of that other name; ``share/tv`` is found as ``share``."""
    name = slug(text.split("/")[0])
    return _BY_SLUG.get(name) or declared().get(name)


def matching(query: str) -> list[Term]:
    """The terms that hold every word of ``query``; those that hold them in one of their names come first."""
    words = query.casefold().split()
    found = [term for term in terms() if _holds(words, *term.names, term.symbol, term.meaning, term.source)]
    return sorted(found, key=lambda term: not _holds(words, *term.names))


def _holds(words: list[str], *texts: str) -> bool:
    text = " ".join(texts).casefold()
    return all(word in text for word in words)


def entry(term: Term, kind: str = "") -> str:
    """A term as HTML."""
    facts = [f"{name}: {escape(text)}" for name, text in (("Seen", term.seen), ("Source", term.source)) if text]
    if term.related:
        facts.append(f"See also: {', '.join(map(anchor, term.related))}")
    symbol = f'<p class="symbol">{_lowered(escape(term.symbol))}</p>' if term.symbol else ""
    return (
        f'<article class="{kind}"><h3>{anchor(term.name)}</h3>'
        f'<div><p>{escape(term.meaning)}</p>{symbol}<p class="about">{" · ".join(facts)}</p></div></article>'
    )


def anchor(name: str) -> str:
    """HTML that leads to a term."""
    return f'<a href="{escape(path(name))}">{escape(name)}</a>'


def _lowered(symbol: str) -> str:
    """``λ_BN`` with its index lowered."""
    return re.sub(r"_(\w+)", r"<sub>\1</sub>", symbol)


def as_json() -> str:
    """All terms for the browser: the entries, and the number of each by the slugs that it is found by."""
    places = {term: number for number, term in enumerate(terms())}
    names = {name: places[term] for name, term in {**declared(), **_BY_SLUG}.items()}
    return json.dumps({"entries": [entry(term) for term in places], "names": names})


def path(name: str) -> str:
    """The address of a term on this server."""
    base = st.get_option("server.baseUrlPath").strip("/")
    return f"{'/' + base if base else ''}/glossary?term={quote(slug(name))}"


def link(name: str, label: str = "") -> str:
    """Markdown that leads from ``label`` (else ``name``) to the term. Raises ``KeyError`` where there is none."""
    if find(name) is None:
        raise KeyError(name)
    return f"[{label or name}]({path(name)})"


def help_of(name: str, text: str = "") -> str:
    """The help ``text`` of a widget (else what the term means), and a link to the term where there is one."""
    term = find(name)
    if term is None:
        return text
    return f"{text or term.meaning} {link(term.name, f'Glossary: {term.name}')}"
