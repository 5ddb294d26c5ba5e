"""Library: the methods with their algorithm and knobs, the benchmarks."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import pandas as pd
import streamlit as st

from pages.ui import boot, link, look

if TYPE_CHECKING:
    from dfkd_core.kit.method import Method

USUAL = "ta-dfkd"


def main() -> None:
    """One script run of the page."""
    booted = boot.start()
    if not booted.ready.wait(timeout=60) or booted.error:
        starting = "The engine is still starting. Reload the page in a moment."
        st.error(link.plain(booted.error or starting))
        return
    methods, benchmarks = st.tabs(["Methods", "Benchmarks"])
    with methods:
        _methods()
    with benchmarks:
        _benchmarks()


def _methods() -> None:
    from dfkd_core import methods

    known = methods.available()
    asked = link.word("method")
    st.session_state.setdefault("library:method", asked if asked in known else USUAL)
    name = st.selectbox(
        "Method", list(known), key="library:method", format_func=lambda one: known[one].title, width=420
    )
    st.query_params["method"] = name
    _method(known[name])


def _method(method: type[Method[Any, Any]]) -> None:
    module = inspect.getmodule(method)
    assert module is not None
    heading, _, body = (module.__doc__ or "").partition("\n")
    st.subheader(method.title)
    st.markdown(f"**{heading}**")
    st.markdown(body.replace("``", "`"))
    kind = "generative models" if method.requires.task == "generative" else "classifiers"
    needs = f"Distils {kind}. Needs {method.requires.words()}."
    st.caption(f"{needs} `python -m dfkd_core train --method {method.name}`")
    config = method.Config
    rows = []
    for name in config.knobs():
        field = config.model_fields[name]
        about = config.about(name)
        presets = {preset: str(values.get(name, field.default)) for preset, values in config.presets.items()}
        row = {"knob": name, "symbol": about["symbol"], "unit": about["unit"], "what it does": field.description}
        rows.append({**row, **presets})
    with st.expander(f"{len(rows)} knobs, and their values in each preset", icon=":material/tune:"):
        st.dataframe(pd.DataFrame(rows), hide_index=True)
    with st.expander("The code, one file", icon=":material/code:"):
        st.code(inspect.getsource(module), language="python", line_numbers=True)


def _benchmarks() -> None:
    from dfkd_core.data.catalogue import BENCHMARKS, data_folder

    rows = [
        {
            "benchmark": benchmark.title,
            "name": name,
            "images": f"{benchmark.image.channels} × {benchmark.image.size} × {benchmark.image.size}",
            "classes": len(benchmark.image.classes),
            "data": "here" if benchmark.is_there() else f"looked for {data_folder() / benchmark.where}",
        }
        for name, benchmark in BENCHMARKS.items()
    ]
    st.dataframe(pd.DataFrame(rows), hide_index=True)
    st.caption("Data are only for evaluation: no method ever sees them. `DFKD_DATA` says where they lie.")


look.through_app("pages/library.py")
main()
