"""Two methods beside each other, what differs marked."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

import streamlit as st

from dfkd_core.kit.portrait import Portrait
from pages.ui import link
from pages.ui.form import widgets
from pages.ui.methods import facts

NONE = "—"
Row = tuple[str, str, str]


def show(one: Portrait, other: Portrait, preset: str) -> None:
    """Draw the comparison, and hide the knobs that are the same."""
    tables = [
        _table("What they need and do", one, other, of_facts(one, other, preset)),
        _table("Terms, each with its weight", one, other, terms(one, other)),
        _table("A step, phase by phase", one, other, [phases(one, other)]),
    ]
    differing, same = split(knobs(one, other))
    tables.append(_table("Knobs that differ", one, other, differing))
    st.html(f'<div class="methods-page two">{"".join(tables)}</div>')
    if same:
        st.caption(f"{len(same)} knobs are the same: {link.plain(', '.join(name for name, *_ in same))}.")


def of_facts(one: Portrait, other: Portrait, preset: str) -> list[Row]:
    """What is said of both."""
    first, second = facts.rows(one, preset), facts.rows(other, preset)
    return [(name, first[name], second[name]) for name in first]


def terms(one: Portrait, other: Portrait) -> list[Row]:
    """The terms of both, by name, with what each weighs and moves."""

    def said(found: Portrait) -> dict[str, tuple[str, str]]:
        values = found.config.model_dump()
        weighs = {term.name: f"{values[term.knob]:g}" if term.knob else "1" for term in found.terms}
        return {term.name: (term.title, f"× {weighs[term.name]}, moves the {term.of}") for term in found.terms}

    first, second = said(one), said(other)
    names = [*first, *(name for name in second if name not in first)]
    return [
        ((first.get(name) or second[name])[0], first.get(name, ("", NONE))[1], second.get(name, ("", NONE))[1])
        for name in names
    ]


def phases(one: Portrait, other: Portrait) -> Row:
    """What a step consists of, in order."""
    first, second = (" → ".join(found.phases).replace("_", " ") for found in (one, other))
    return "in order", first, second


def knobs(one: Portrait, other: Portrait) -> Iterator[Row]:
    """The knobs of both, with their values."""
    first, second = one.config.model_dump(), other.config.model_dump()
    for name in [*type(one.config).knobs(), *(name for name in type(other.config).knobs() if name not in first)]:
        words = " ".join(widgets.SPELLED.get(part, part) for part in name.split("_"))
        yield words, str(first.get(name, NONE)), str(second.get(name, NONE))


def split(found: Iterator[Row]) -> tuple[list[Row], list[Row]]:
    """Those rows that differ, and those that do not."""
    every = list(found)
    return [row for row in every if row[1] != row[2]], [row for row in every if row[1] == row[2]]


def _table(caption: str, one: Portrait, other: Portrait, rows: list[Row]) -> str:
    heads = "".join(f'<th scope="col">{_text(found.title)}</th>' for found in (one, other))
    body = "".join(
        f'<tr class="{"differs" if first != second else ""}"><th scope="row">{_text(name)}</th>'
        f"<td>{_text(first)}</td><td>{_text(second)}</td></tr>"
        for name, first, second in rows
    )
    return (
        f"<table><caption>{caption}</caption><thead><tr><th></th>{heads}</tr></thead><tbody>{body}</tbody></table>"
    ).replace("<th></th>", "<td></td>")


def _text(words: str) -> str:
    return escape(link.legible(words))
