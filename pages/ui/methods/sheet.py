"""One method: what its paper and its page say, its knobs, and its source beside the formulas."""

from __future__ import annotations

import inspect
from html import escape
from typing import Any

import pandas as pd
import streamlit as st

from dfkd_core import methods
from dfkd_core.kit.method import Method
from pages.ui import link, linked
from pages.ui.methods import document, facts, gradients, source

PARTS = {
    "method": "Objective and steps", "facts": "Needs and costs", "knobs": "Knobs", "results": "Results",
    "numbers": "Logged numbers", "gradients": "Gradients",
}  # fmt: skip
ALWAYS = ("facts", "knobs", "gradients")  # nobody has to write them


def show(name: str, preset: str) -> None:
    """Draw the method ``name``; of its parts only the one that is looked at."""
    method = methods.find(name)
    written = document.read(name)
    parts = [part for part in PARTS if part in ALWAYS or (written is not None and getattr(written, part))]
    with st.container(key="method-beside"):
        left, right = st.columns([4, 5])
        with left, st.container(key="method-text"):
            _text(method, written, parts, preset)
        with right, st.container(key="method-source"):
            _source(method, written)


def _text(method: type[Method[Any, Any]], written: document.Document | None, parts: list[str], preset: str) -> None:
    with st.container(key="method-lead"):
        st.subheader(method.title)
        st.markdown(written.lead if written is not None else _docstring(method))
    part = _part(method.name, parts)
    if part == "facts":
        _facts(method.name, preset)
    elif part == "knobs":
        _knobs(method)
    elif part == "gradients":
        gradients.show(method.name)
    else:
        st.markdown(getattr(written, part))


def _part(name: str, parts: list[str]) -> str:
    """Which part is looked at; all but the first stand in the address."""
    key = f"methods:part:{name}"
    st.session_state.setdefault(key, linked.one_of("part", parts, parts[0]))
    part = st.segmented_control(
        "Part", parts, key=key, format_func=PARTS.__getitem__, label_visibility="collapsed", required=True
    )
    if part in (None, parts[0]):
        st.query_params.pop("part", None)
    else:
        st.query_params["part"] = part
    return part or parts[0]


def _docstring(method: type[Method[Any, Any]]) -> str:
    module = inspect.getmodule(method)
    return (getattr(module, "__doc__", None) or "").replace("``", "`")


def _facts(name: str, preset: str) -> None:
    one = facts.of(name, preset)
    rows = "".join(
        f'<tr><th scope="row">{escape(heading)}</th><td>{escape(link.legible(words))}</td></tr>'
        for heading, words in facts.rows(one, preset).items()
    )
    st.html(f'<div class="methods-page"><table><tbody>{rows}</tbody></table></div>')


def _knobs(method: type[Method[Any, Any]]) -> None:
    """Every knob, with its value in each preset."""
    config, rows = method.Config, []
    for name in config.knobs():
        field, about = config.model_fields[name], config.about(name)
        values = {preset: str(given.get(name, field.default)) for preset, given in config.presets.items()}
        words = {"knob": name, "symbol": about["symbol"], "what it does": field.description, "unit": about["unit"]}
        rows.append({**words, **(values or {"default": str(field.default)})})
    st.dataframe(pd.DataFrame(rows), hide_index=True, height=35 * (len(rows) + 1) + 3)


def _source(method: type[Method[Any, Any]], written: document.Document | None) -> None:
    module = inspect.getmodule(method)
    assert module is not None
    text = inspect.getsource(module)
    file = f"{module.__name__.replace('.', '/')}.py"
    page = f" · its page: `docs/methods/{method.name}.md`" if written is not None else ""
    st.caption(f"`{file}`, {len(text.splitlines())} lines{page} · `python -m dfkd_core train --method {method.name}`")
    st.html(source.html(text, method.title, inspect.getsourcelines(method)[1]))
