"""One HTML file that is read without the lab and without a network: its style, text, tables. No script is in it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape

STYLE = """
:root { color-scheme: light dark; --faint: light-dark(#e3e6ea, #343b44); --soft: light-dark(#5b636e, #a3acb8); }
body { font: 16px/1.55 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1.2rem;
  background: light-dark(#fff, #14181e); color: light-dark(#1b2027, #e8ebef); }
h1 { font-size: 1.7rem; line-height: 1.25; margin-bottom: .2rem; } h2 { margin: 2.4rem 0 .6rem; font-size: 1.25rem; }
.lead { font-size: 1.12rem; } .soft, figcaption, .legend { color: var(--soft); font-size: .9rem; }
.warn { border-left: 5px solid #d55e00; padding: .3rem .9rem; background: light-dark(#fff4ec, #2a211b); }
.key { display: flex; flex-wrap: wrap; gap: .8rem; margin: 1.2rem 0; padding: 0; }
.key div { border: 1px solid var(--faint); border-radius: 8px; padding: .5rem .9rem; }
.key b { display: block; font-size: 1.45rem; line-height: 1.3; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(26rem, 1fr)); gap: 1rem 1.5rem; }
figure { margin: 0; } svg { width: 100%; height: auto; } svg text { fill: var(--soft); font-size: 12px; }
.grid { stroke: var(--faint); } .curve { fill: none; stroke-width: 1.8; stroke-linejoin: round; }
.main { max-width: 46rem; } .words p { white-space: pre-line; }
.legend { margin: .1rem 0 0; } .legend span { margin-right: 1rem; white-space: nowrap; }
.legend i { display: inline-block; width: 1.4em; margin-right: .4em; vertical-align: middle; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; }
th, td { text-align: left; vertical-align: top; padding: .28rem .7rem .28rem 0; border-bottom: 1px solid var(--faint);
  overflow-wrap: anywhere; }
td.changed { font-weight: 650; } img { max-width: 100%; image-rendering: pixelated; border-radius: 4px; }
pre { background: light-dark(#f3f5f7, #1f252d); padding: .8rem 1rem; border-radius: 8px; white-space: pre-wrap;
  overflow-wrap: anywhere; } .sheets { display: flex; flex-wrap: wrap; gap: 1.2rem; align-items: flex-start; }
table.map td { padding: .5rem .7rem; } details { margin: 2.4rem 0; } summary { cursor: pointer; }
@media print { body { max-width: none; } h2 { break-after: avoid; } figure { break-inside: avoid; } }
"""


def document(title: str, parts: Iterable[str]) -> str:
    """The whole file."""
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{text(title)}</title>'
    head = f"<head>{head}<style>{STYLE}</style></head>"
    return f'<!doctype html>\n<html lang="en">{head}<body>{"".join(parts)}</body></html>\n'


def text(value: object) -> str:
    """As text and nothing else; marks that cannot be seen, or turn the order of writing around, are shown as such."""
    shown = str(value)
    return escape(
        shown if shown.isprintable() else "".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in shown)
    )


def table(rows: Iterable[Sequence[object]], heads: Sequence[str] = ()) -> str:
    head = f"<tr>{''.join(f'<th>{text(cell)}</th>' for cell in heads)}</tr>" if heads else ""
    body = "".join(f"<tr>{''.join(f'<td>{text(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table>{head}{body}</table>"


def key_figures(cells: Iterable[tuple[str, str]]) -> str:
    """Names and values in boxes."""
    return '<div class="key">' + "".join(f"<div><b>{text(b)}</b>{text(a)}</div>" for a, b in cells) + "</div>"


def marked(words: str) -> str:
    """As text, with what stands between backticks as code."""
    return re.sub(r"``([^`]+)``|`([^`]+)`", lambda found: f"<code>{found[1] or found[2]}</code>", text(words))
