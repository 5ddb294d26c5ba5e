"""What the pages of studies share where a new one is begun: its inputs, how many runs it takes, and Start."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import streamlit as st

from dfkd_core.errors import RequestError, StoreError
from dfkd_core.runs.spec import RunSpec
from dfkd_core.store import runs_folder, runs_in
from dfkd_core.study import Kind
from dfkd_core.study.estimate import estimated_seconds
from dfkd_core.study.plan import notes_of
from dfkd_core.study.tables import plural
from pages.ui import link, recordings
from pages.ui.form.widgets import bounds
from pages.ui.linked import unseen
from pages.ui.study import watching

if TYPE_CHECKING:
    from pages.ui.form.form import Choice


# --- what is asked ---------------------------------------------------------------------------------------------


def asked(kind: Kind[Any], names: Iterable[str], first_seed: int = 0) -> dict[str, Any]:
    """Draw an input for each of the request's fields ``names``, and return what they say. Seeds count up from the
    first; what is left empty is as usual."""
    said = {name: _input(kind, name, first_seed) for name in names}
    return {name: value for name, value in said.items() if value != ""}


def _input(kind: Kind[Any], name: str, first_seed: int) -> Any:
    field, choices = kind.Request.model_fields[name], kind.Request.about(name)["choices"]
    usual: Any = None if field.is_required() else field.get_default()
    label, key = field.title or name.capitalize(), f"{kind.name}:{name}"
    more: dict[str, Any] = {"key": key, "help": field.description}
    if name == "seeds":
        count = st.number_input(label, 1, value=len(usual), width=110, **more)
        return list(range(first_seed, first_seed + int(count)))
    if choices and isinstance(usual, tuple):
        return st.multiselect(label, list(choices), list(usual), format_func=choices.__getitem__, **more)
    if choices:
        return st.selectbox(label, list(choices), format_func=choices.__getitem__, width=300, **more)
    if field.annotation is int:
        low, high = bounds(field)
        return int(st.number_input(label, int(low or 0), int(high or 2**31), usual, 100, width=170, **more))
    words = ", ".join(map(str, usual)) if isinstance(usual, tuple) else usual or ""
    return st.text_input(label, words, width=160, **more)


def with_form(kind: Kind[Any], given: dict[str, Any], choice: Choice, without: Iterable[str] = ()) -> dict[str, Any]:
    """``given`` and what the form says of every run, ``knobs`` and ``run``, as far as a study of what is given does not
    vary it itself."""
    own = {*kind.varied(given), *without}
    return given | {
        "knobs": {name: value for name, value in choice.changes.items() if name not in own},
        "run": {name: value for name, value in choice.fields.items() if name not in own},
    }


# --- beginning -------------------------------------------------------------------------------------------------


def offer(kind: Kind[Any], given: dict[str, Any] | None) -> None:
    """Start, and beside it how many runs that takes or what is wrong with the request; then the earlier studies.

    ``given``: what the ``Request`` of ``kind`` is built from, None while the engine is being started.
    """
    idle = given is None or unseen()
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button("Start", icon=":material/play_arrow:", type="primary", disabled=idle, key="start"):
            assert given is not None
            _begin(kind, given)
        words, notes = _size(kind, given) if given is not None else ("", [])
        if words:
            st.markdown(words)
    say(notes)
    watching.problem()
    watching.list_earlier(kind)


def say(notes: list[str]) -> None:
    """What is to be said of runs before they start."""
    if notes:
        st.caption("  \n".join(map(link.plain, notes)))


def _size(kind: Kind[Any], given: dict[str, Any]) -> tuple[str, list[str]]:
    """How many runs, about how long they will take by what similar ones took here, or what is wrong; and what is to be
    said of them."""
    try:
        request = kind.Request.build(given)
        specs = [spec for _, spec in kind.specs(request)]
        notes = notes_of(specs)
    except RequestError as error:
        return f":material/error: {link.plain(error)}", []
    return size(specs, kind.samples(request) > 0), notes


def size(specs: Sequence[RunSpec], measured: bool) -> str:
    """How many runs, and about how long they will take by what similar ones took here."""
    judged_by = [*runs_in(runs_folder()), *runs_in(recordings.FOLDER)]
    slots = min(watching.room(specs), len(specs))
    seconds = estimated_seconds(specs, judged_by, measured)
    at_once = f"{slots} at a time" if slots > 1 else "one after the other"
    takes = _duration(None if seconds is None else seconds / slots)
    return f"**{plural(len(specs), 'run')}**, {at_once}{takes}."


def _duration(seconds: float | None) -> str:
    """To go after what the runs are; None: no run is there to judge by."""
    if seconds is None:
        return "; how long they take shows when the first one is done"
    minutes = round(seconds / 60)
    words = f"{minutes} min" if minutes < 90 else f"{seconds / 3600:.1f} hours"
    return f"; about {words if minutes else 'a minute'}, by what similar runs took"


def _begin(kind: Kind[Any], given: dict[str, Any]) -> None:
    """Make the study and start it; one sentence on the page if that is not possible."""
    st.session_state.pop("problem", None)
    try:
        with st.spinner("Checking the request"):
            study = kind.begin(runs_folder(), **given)
        watching.conduct(study)
        watching.open_study(study)
    except (RequestError, StoreError, OSError) as error:
        st.session_state["problem"] = str(error)
    st.rerun()
