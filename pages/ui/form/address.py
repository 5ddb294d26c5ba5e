"""The whole configuration of the form in the address bar: a link opens the lab as it was sent."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import streamlit as st

from pages.ui import link, linked
from pages.ui.keep import OF_A_LESSON, carry_over, forget

if TYPE_CHECKING:
    from dfkd_core.runs.spec import RunSpec

FOLDER = "folder"
NUMBERS = {"seed": (0, 2**31 - 1), "threads": (1, os.cpu_count() or 1)}
_OF_THE_PAGE = ("run", "step", "slow", "tour", "view", "new", "beside", *OF_A_LESSON)
_IN_ADDRESS = (
    "benchmark", "teacher", "student", "method", "preset", "collecting", "diffusion", "device", "seed", "threads",
    "precision", "compile",
)  # fmt: skip
_WITH_A_KEY_OF_THEIR_OWN = ("collected", "ratio")


def take() -> None:
    """Once per session and page, before any widget is drawn: a link opens the lab as it was sent."""
    if "form:asked" in st.session_state:
        carry_over()
        return
    given = st.query_params.to_dict()
    for name in _IN_ADDRESS:
        if name in given:
            value = given[name]
            if name not in NUMBERS:
                st.session_state[f"form:{name}"] = value
                linked.filled(f"form:{name}")
                continue
            least, most = NUMBERS[name]
            number = link.number(value)
            if number is not None and least <= number <= most:
                st.session_state[f"form:{name}"] = number
            else:
                linked.cannot(name, value, f"should be a whole number from {least} to {most:,}.", linked.FORM)
    if given.get("benchmark", "").startswith("folder:"):
        st.session_state["form:folder"] = given["benchmark"].removeprefix("folder:")
        st.session_state["form:benchmark"] = FOLDER
    if "collected" in given:
        kind, _, path = given["collected"].partition("folder:")
        st.session_state["form:collected"] = kind or FOLDER
        linked.filled("form:collected")
        st.session_state["form:collected-folder"] = path
    if given.get("k.source") == "stable-diffusion":
        st.session_state["form:stable-diffusion"] = given.get("diffusion", "")
    ratio = {"ratio": given["ratio"]} if "ratio" in given else {}
    knobs = {name[2:]: value for name, value in given.items() if name.startswith("k.")}
    recorded = {f"record:{name[2:]}": value for name, value in given.items() if name.startswith("r.")}
    st.session_state["form:asked"] = knobs | recorded | ratio


def speaks() -> bool:
    """Whether the address says something about the form."""
    return any(name in _IN_ADDRESS or name.startswith(("k.", "r.")) for name in st.query_params)


def keep(fields: dict[str, Any], changes: dict[str, Any], recorded: dict[str, Any]) -> None:
    """The address says what the form says."""
    kept = {name: value for name, value in st.query_params.to_dict().items() if name in _OF_THE_PAGE}
    wanted = kept | _parts(fields, changes, recorded)
    if wanted != st.query_params.to_dict():
        st.query_params.from_dict(wanted)


def take_over(run_id: str, spec: RunSpec) -> None:
    """The address of a form that says what a run's specification says; the form is filled from it anew."""
    from dfkd_core import methods
    from pages.ui.form.recording import KNOBS

    forget()
    preset = methods.find(spec.method).Config.build(spec.preset).model_dump()
    knobs = {name: value for name, value in spec.config.items() if value != preset.get(name)}
    fields = type(spec).model_fields
    recorded = {name: getattr(spec, name) for name in KNOBS if getattr(spec, name) != fields[name].default}
    said = {name: value for name, value in spec.model_dump().items() if value or name == "seed"}
    st.query_params.from_dict({"run": run_id} | _parts(said, knobs, recorded))


def _parts(fields: dict[str, Any], changes: dict[str, Any], recorded: dict[str, Any]) -> dict[str, str]:
    """What the form says, as parts of an address."""
    parts = {name: str(fields[name]) for name in (*_IN_ADDRESS, *_WITH_A_KEY_OF_THEIR_OWN) if name in fields}
    parts |= {f"k.{name}": str(value) for name, value in changes.items()}
    return parts | {f"r.{name}": str(value) for name, value in recorded.items()}
