"""Which run is on the stage, whose it is, and what the form would start instead."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from dfkd_core.errors import StoreError
from dfkd_core.runs.spec import RunSpec, read_spec
from dfkd_core.store import RunFolder, RunStatus
from pages.ui import exchange, link, recordings
from pages.ui.form import address

if TYPE_CHECKING:
    from pages.ui.form.form import Choice

WORDS = {"queued": "waiting", "failed": "failed"}
COMPARED = (
    "benchmark",
    "teacher",
    "student",
    "method",
    "preset",
    "collected",
    "ratio",
    "collecting",
    "diffusion",
    "seed",
)
MOST = 4  # differences that are named


def strip(folder: RunFolder, status: RunStatus, choice: Choice | None) -> None:
    """One line: the run, whether it is recorded or one's own, how the form differs from it, and a way to take the run's
    settings into the form."""
    try:
        spec = read_spec(folder)
    except StoreError:
        return
    state = WORDS.get(status.state, status.state)
    whose = "recorded" if recordings.is_one(folder) else f"yours, {state}"
    with st.container(horizontal=True, gap="small", vertical_alignment="center", key="showing"):
        st.caption(f"Showing **{link.name(folder.id)}** ({whose}){_form_says(spec, choice)}")
        if choice is not None and _differences(spec, choice):
            st.button(
                "Load into form",
                key="load",
                type="tertiary",
                icon=":material/input:",
                on_click=address.take_over,
                args=(folder.id, spec),
                help="The form gets the settings of this run: change one thing, and press Start.",
            )
        if status.state == "done" and not recordings.is_one(folder):  # which keeps no weights
            exchange.offer_weights(folder)


def _form_says(spec: RunSpec, choice: Choice | None) -> str:
    if choice is None:
        return ""
    if not (found := _differences(spec, choice)):
        return " · the form says the same"
    more = f" and {len(found) - MOST} more" if len(found) > MOST else ""
    return f" · the form differs in {', '.join(found[:MOST])}{more}"


def _differences(spec: RunSpec, choice: Choice) -> list[str]:
    """Names of what the form says otherwise. What it leaves to the usual is not compared."""
    fields = {**spec.model_dump(), **choice.fields}
    found = [name for name in COMPARED if fields[name] and fields[name] != getattr(spec, name)]
    if "method" not in found:
        found += [name.replace("_", " ") for name in _knobs_that_differ(spec, choice)]
    return found


def _knobs_that_differ(spec: RunSpec, choice: Choice) -> list[str]:
    from dfkd_core import methods

    config: Any = methods.find(spec.method).Config
    asked = {**config.build(choice.fields["preset"]).model_dump(), **choice.changes}
    had = {**config.build(spec.preset).model_dump(), **spec.config}  # a knob that came later was as it begins
    return [name for name, value in asked.items() if value != had.get(name)]
