"""Widgets of the form, made from the fields of pydantic models."""

from __future__ import annotations

import math
from typing import Annotated, Any, get_args, get_origin

import annotated_types
import streamlit as st
from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from dfkd_core.errors import explain
from pages.ui import linked
from pages.ui.words import glossary

SPELLED = {"bn": "BatchNorm", "gan": "GAN", "tv": "TV", "l2": "L2", "kl": "KL"}  # of the names of knobs


def select(label: str, key: str, options: list[str], usual: str, title: Any = str) -> str:
    """A select box whose state survives a page change and starts from the address bar."""
    help = glossary.help_of(key)
    key = f"form:{key}"
    if st.session_state.get(key) not in options:
        linked.replaced(label.lower(), key, options)
        st.session_state[key] = usual if usual in options else options[0]
    return st.selectbox(label, options, key=key, format_func=title, help=help)


def knob(name: str, field: FieldInfo, about: dict[str, Any], key: str, start: Any) -> Any:
    label, help = described(name, field, about, start)
    low, high = bounds(field)
    if get_origin(field.annotation) is not None:
        return st.selectbox(label, get_args(field.annotation), key=key, help=help)
    if field.annotation is bool:
        return st.toggle(label, key=key, help=help)
    if field.annotation is int:
        return st.number_input(label, int(low or 0), int(high or 2**31), key=key, step=1, help=help)
    return st.number_input(
        label, float(low or 0), float(high or 1e9), key=key, step=increment(start), format="%g", help=help
    )


def increment(start: float) -> float:
    """What one press of + adds to a knob that begins at ``start``."""
    return 10.0 ** math.floor(math.log10(start)) if start else 0.1


def described(name: str, field: FieldInfo, about: dict[str, Any], start: Any) -> tuple[str, str]:
    """Label and help of one knob; ``start`` is the preset's value."""
    words, symbol = " ".join(SPELLED.get(part, part) for part in name.split("_")), about["symbol"]
    label = f"{words} ({symbol})" if len(symbol) == 1 else words
    label += f", {about['unit']}" if about["unit"] and about["unit"] not in words else ""
    low, high = bounds(field)
    limits = "" if low is None and high is None else f" From {low:g} to {high:g}."
    written = f" In formulas {symbol}." if len(symbol) > 1 else ""
    return label, glossary.help_of(name, f"{field.description}{written}{limits} Preset: {start}.")


def bounds(field: FieldInfo) -> tuple[float | None, float | None]:
    """The least and the largest value that a knob takes; None where there is no such bound."""
    low = high = None
    for bound in field.metadata:
        if isinstance(bound, annotated_types.Ge | annotated_types.Gt):
            low = getattr(bound, "ge", getattr(bound, "gt", None))
        if isinstance(bound, annotated_types.Le | annotated_types.Lt):
            high = getattr(bound, "le", getattr(bound, "lt", None))
    return low, high


def parsed(name: str, field: FieldInfo, text: str | None, otherwise: Any) -> Any:
    """A knob's value from a link, read as the command line reads it; ``otherwise``, with a sentence, what cannot be."""
    if text is None:
        return otherwise
    kind: Any = Annotated[field.annotation, field]
    try:
        return TypeAdapter(kind).validate_python(text)
    except ValidationError as error:
        linked.cannot(name.replace("_", " "), text, explain(error).expected, linked.FORM)
        return otherwise
