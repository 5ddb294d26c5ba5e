"""Library: the methods with their algorithm and knobs, the benchmarks, the teachers."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import pandas as pd
import streamlit as st

from pages.ui import boot, link, look

if TYPE_CHECKING:
    from dfkd_core.kit.method import Method

USUAL = "ta-dfkd"
TASKS = {"classifier": "classifier", "generative": "generative", "diffusion": "diffusion model"}


def main() -> None:
    """One script run of the page."""
    booted = boot.start()
    if not booted.ready.wait(timeout=60) or booted.error:
        starting = "The engine is still starting. Reload the page in a moment."
        st.error(link.plain(booted.error or starting))
        return
    methods, benchmarks, teachers = st.tabs(["Methods", "Benchmarks", "Teachers"])
    with methods:
        _methods()
    with benchmarks:
        _benchmarks()
    with teachers:
        _teachers()


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


def _teachers() -> None:
    from dfkd_core.teachers.cards import available_teachers

    cards = [card for task in TASKS for card in available_teachers(None, task).values()]
    rows = [
        {
            "teacher": card.name,
            "kind": TASKS[card.task],
            "benchmark": card.benchmark,
            "network": card.network,
            "recipe": card.recipe.kind if card.recipe else "imported",
            "accuracy": card.accuracy,
            "ELBO": card.elbo,
            "seed": card.seed,
        }
        for card in cards
    ]
    config = {
        "accuracy": st.column_config.NumberColumn("accuracy", format="percent"),
        "ELBO": st.column_config.NumberColumn("ELBO, nats", format="%.2f", help="Of a test image; higher is better."),
    }
    st.dataframe(link.table(pd.DataFrame(rows)), hide_index=True, column_config=config)
    st.caption(
        "All well trained, by recipes that differ in kind. Diffusion models teach nobody: they help to make images, "
        "and their benchmark is what they learned from. `python -m dfkd_core teacher import` brings your own."
    )


look.through_app("pages/library.py")
main()
