"""What an address says, whoever wrote it, and how pages show what somebody else has named.

A link is input like a run's folder: it may be mistyped, or made to do harm. Every page reads it through here.
"""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Iterable
from typing import TYPE_CHECKING

import streamlit as st

if TYPE_CHECKING:
    import pandas as pd

LONGEST = 200  # characters of a name that are shown
MARKUP = re.compile(r"([\\*_{}\[\]<>!|~$&^@]|:(?=//|[\w/+-]+[:\[])|(?<=www)\.|^[#+=-])", re.IGNORECASE)
NUMBERED = re.compile(r"^(\d+)([.)])")  # the beginning of a list


def word(name: str) -> str:
    """The text of one part of the address; empty where it has no such part."""
    return str(st.query_params.get(name, ""))


def several(name: str) -> list[str]:
    """The texts of a part that ``say_several`` wrote, or somebody with commas between them; empty ones are none."""
    return [value for line in csv.reader(word(name).splitlines()) for value in line if value]


def say_several(name: str, values: Iterable[str]) -> None:
    """Have one part of the address say all ``values``, in quotation marks where one has a comma."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(values)
    say(name, line.getvalue())


def say(name: str, value: str) -> None:
    """Have one part of the address say ``value``; one that says nothing is left out."""
    if value:
        st.query_params[name] = value
    else:
        st.query_params.pop(name, None)


def number(text: str) -> int | None:
    """A whole number of at most nine digits; None for everything else."""
    return int(text) if re.fullmatch("[0-9]{1,9}", text) else None


def fraction(text: str) -> float | None:
    """A plain number such as 0.25 or 1e6; None for everything else."""
    return float(text) if re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,12})?(e[0-9]{1,2})?", text) else None


def legible(text: object) -> str:
    """``text`` as it is written: control marks, and those that turn its order around, become a replacement sign."""
    if str(text).isprintable():  # most are, and a table has many
        return str(text)
    return "".join("\ufffd" if unicodedata.category(one) in ("Cc", "Cf", "Cs") else one for one in str(text))


def table(rows: pd.DataFrame) -> pd.DataFrame:
    """The same with every text ``legible``; what a table shows is no Markdown."""
    return rows.map(lambda cell: legible(cell) if isinstance(cell, str) else cell)


def plain(text: object) -> str:
    """``text`` for Streamlit's Markdown, as nothing but itself: no picture, link, formula or HTML comes of it. What
    stands between backticks stays code. Control and direction marks become a replacement character.
    """
    shown = str(text)
    shown = shown if len(shown) <= 5 * LONGEST else shown[: 5 * LONGEST] + "…"
    shown = legible(" ".join(shown.split()))
    parts = shown.split("`")
    if len(parts) % 2 == 0:  # an odd backtick
        parts = [r"\`".join(parts)]
    escaped = (part if index % 2 else MARKUP.sub(r"\\\1", part) for index, part in enumerate(parts))
    return NUMBERED.sub(r"\1\\\2", "`".join(escaped))


def code(text: object) -> str:
    """``text`` as Markdown's code, whatever marks stand in it."""
    return f"`{legible(text).replace('`', chr(39))}`"


def name(text: object) -> str:
    """A name that somebody else gave, short and ``plain``."""
    shown = str(text).replace("`", "'")
    return plain(shown if len(shown) <= LONGEST else shown[:LONGEST] + "…")
