"""The source of a method to be read beside its formulas: comments stand out, and the papers' equations in them."""

from __future__ import annotations

import io
import keyword
import re
import tokenize
from html import escape

EQUATION = re.compile(r"\beqs?\. [A-Z]?\d+(?:(?:, | to | and )\d+)*")
FORMULA = re.compile(r"# +([A-Zα-ω]_\w+) = ")
DEFINES = ("class", "def")


def lines(source: str) -> list[str]:
    """Each line as HTML, its equations marked. Raises ``SyntaxError`` for what is no Python."""
    marks = _marks(source)
    return [_line(text, marks.get(number, [])) for number, text in enumerate(source.splitlines(), start=1)]


def equations(source: str) -> list[tuple[str, int]]:
    """Names of equations in comments and docstrings, and of losses that a comment defines, each at its first line."""
    found: dict[str, int] = {}
    for number, text in enumerate(source.splitlines(), start=1):
        for words in (*EQUATION.findall(text), *FORMULA.findall(text)):
            found.setdefault(words, number)
    return sorted(found.items(), key=lambda one: one[1])


def html(source: str, title: str, begins: int) -> str:
    """The source in a box that scrolls, with a line of links: to where the algorithm ``begins``, and to equations."""
    rows = "".join(
        f'<span class="line" id="source-{number}">{text or " "}</span>'
        for number, text in enumerate(lines(source), start=1)
    )
    places = [("algorithm", begins), *equations(source)]
    links = "".join(f'<a href="#source-{line}">{escape(words)}</a>' for words, line in places)
    jump = f'<nav class="equations" aria-label="Places in the source">In the source: {links}</nav>'
    box = f'<div class="source" tabindex="0" role="region" aria-label="Source of {escape(title)}">'
    return f"{jump}{box}<pre>{rows}</pre></div>"


def _marks(source: str) -> dict[int, list[tuple[int, int, str]]]:
    """By line: from where to where something is a comment, a text, a keyword or a name that is defined."""
    found: dict[int, list[tuple[int, int, str]]] = {}
    before = ""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        (first, start), (last, end) = token.start, token.end
        if token.type == tokenize.COMMENT:
            kind = "comment"
        elif token.type == tokenize.STRING:
            kind = "doc" if token.string.startswith('"""') else "text"
        elif token.type == tokenize.NAME and keyword.iskeyword(token.string):
            kind = "word"
        else:
            kind = "name" if token.type == tokenize.NAME and before in DEFINES else ""
        before = token.string
        if kind:
            for number in range(first, last + 1):
                begin, stop = start if number == first else 0, end if number == last else 10**6
                found.setdefault(number, []).append((begin, stop, kind))
    return found


def _line(text: str, marks: list[tuple[int, int, str]]) -> str:
    parts, at = [], 0
    for start, end, kind in marks:
        inside = escape(text[start:end])
        if kind in ("comment", "doc"):
            inside = EQUATION.sub(lambda found: f"<mark>{found[0]}</mark>", inside)
        parts += [escape(text[at:start]), f'<span class="{kind}">{inside}</span>']
        at = min(end, len(text))
    return "".join([*parts, escape(text[at:])])
