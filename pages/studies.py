"""Studies: every kind that the lab has, drawn from what it says about itself; some have a richer page of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
import streamlit as st

from dfkd_core.analysis.export import csv_text
from dfkd_core.store import runs_folder
from dfkd_core.study import Kind, Progress, Study, available, find, studies_in
from pages.ui import keep, link, look, recordings
from pages.ui.study import beginning, composing, grid, watching

if TYPE_CHECKING:
    from pages.ui.form.form import Choice


def main() -> None:
    """One script run of the page."""
    kinds = {grid.KIND.name: grid.KIND, **available()}  # the widest question first
    asked = {study.id: study.kind for place in (runs_folder(), recordings.FOLDER) for study in studies_in(place)}.get(
        link.word("study")
    )
    if asked in kinds:
        st.session_state["studies:kind"] = asked
    titles = {name: kind.title for name, kind in kinds.items()}
    if asked in kinds and link.word("lesson"):  # which asks another question at another stop
        name = asked
    else:
        name = st.selectbox(
            "Question",
            list(titles),
            format_func=titles.__getitem__,
            key="studies:kind",
            width=620,
            on_change=_leave,
            label_visibility="collapsed",
        )
    study = watching.chosen(kinds[name])
    if study is None and name == grid.KIND.name:
        composing.set_up()
        return
    if study is None:
        _set_up(kinds[name])
        return
    facts = {name: value for name, value in study.settings.items() if isinstance(value, str | int) and value}
    watching.begun_with(study, facts)
    if name == grid.KIND.name:
        watching.watch(study, grid.offer, grid.show)
    else:
        watching.watch(study, _offer_csv, _show)


def _leave() -> None:
    """The study that was shown is of another kind, and the form's method was chosen for it."""
    st.query_params.pop("study", None)
    keep.forget("form:method")


def _set_up(kind: Kind[Any]) -> None:
    choice = _form(kind)
    with look.labelled("asked", vertical_alignment="top"):
        first_seed = choice.fields["seed"] if choice is not None else 0
        given = beginning.asked(kind, kind.Request.own(), first_seed)
    beginning.offer(kind, beginning.with_form(kind, given, choice) if choice is not None else None)


def _form(kind: Kind[Any]) -> Choice | None:
    """With the method whose knobs the study takes, where it sets the method itself; None while the engine is being
    started."""
    with st.sidebar:
        if not watching.engine_state():
            return None
    from dfkd_core import methods
    from pages.ui.form import form

    only = kind.method.__eq__ if "method" in kind.varies else None
    return form.show(only, methods.find(kind.method).requires.task)


def _show(study: Study, progress: Progress) -> None:
    """How far it is, the table, and what it says."""
    kind = find(study.kind)
    failed = f", {progress.failed} failed" if progress.failed else ""
    st.progress(
        progress.share, f"{link.name(study.title)}: {progress.state}, {progress.done} / {progress.total} runs{failed}"
    )
    rows = kind.table(study.settings, progress.cells)
    st.markdown(link.plain(kind.verdict(study.settings, progress.cells, rows)))
    st.dataframe(link.table(pd.json_normalize(rows)), hide_index=True)


def _offer_csv(study: Study, progress: Progress) -> None:
    table = pd.json_normalize(find(study.kind).table(study.settings, progress.cells))
    watching.offer_csv(csv_text(table), f"{study.kind}-{study.id}", table.empty)


look.through_app("pages/studies.py")
main()
