"""The table of runs as text: Streamlit draws its own on a canvas, of which a screen reader hears little."""

from __future__ import annotations

from html import escape
from typing import Any

import pandas as pd
import streamlit as st

from pages.ui import boot
from pages.ui.runs import listing

STYLE = """<style>
.runs-as-text { max-height: 335px; overflow: auto; }
.runs-as-text table { border-collapse: collapse; font-size: 13.5px; font-variant-numeric: tabular-nums; }
.runs-as-text :is(th, td) { padding: 3px 12px 3px 0; text-align: left; white-space: nowrap; font-weight: 400;
  border-bottom: 1px solid light-dark(#d8dce2, #3a424d); }
.runs-as-text thead th { font-weight: 600; }
</style>"""


def offer(rows: pd.DataFrame) -> None:
    """A switch, and the table while it is on."""
    if rows.empty or not st.toggle(
        "As text", key="runs:as text", help="The table of the page once more, as a screen reader reads one."
    ):
        return
    names = [escape(listing.in_words(name).capitalize()) for name in rows]
    head = "".join(f'<th scope="col">{name}</th>' for name in names)
    body = "".join(_line(list(rows), row) for row in rows.itertuples(index=False))
    table = f"<table><caption>Runs</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    st.html(f'{STYLE}<div class="runs-as-text" tabindex="0" role="region" aria-label="Runs as text">{table}</div>')


def _line(names: list[str], row: Any) -> str:
    run, *values = row
    address = f"{boot.base_path()}/?run={escape(str(run), quote=True)}"
    first = f'<th scope="row"><a href="{address}" target="dfkd-beside">{escape(str(run))}</a></th>'
    cells = (f"<td>{escape(_shown(name, value))}</td>" for name, value in zip(names[1:], values, strict=True))
    return f"<tr>{first}{''.join(cells)}</tr>"


def _shown(name: str, value: Any) -> str:
    if value is None or value == "" or value != value:
        return "–"
    if name in listing.SHARES and isinstance(value, float):
        return f"{value:.1%}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
