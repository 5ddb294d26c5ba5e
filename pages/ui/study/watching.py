"""What the pages of studies share where one exists: which one is shown, its buttons, the list of earlier ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import pandas as pd
import streamlit as st

from dfkd_core.errors import StoreError
from dfkd_core.runs.spec import RunSpec
from dfkd_core.store import RunFolder, runs_folder
from dfkd_core.study import CellState, Conductor, Kind, Progress, Study, studies_in, unreadable_in
from pages.ui import boot, exchange, keep, link, linked, recordings
from pages.ui.again import again
from pages.ui.form import address
from pages.ui.run import steering
from pages.ui.web import view as web

if TYPE_CHECKING:
    from dfkd_core.engine import Engine

WIDTH = 116  # pixels, for both faces of the button that stops and continues
MOST_DAMAGED = 3  # studies that are named
LIVE = ("queued", "running", "paused")
Draw = Callable[[Study, Progress], None]
SHOWN = ("title", "state", "runs", "begun")


def component(name: str) -> Callable[..., Any]:
    """The view of ``NAME.js`` and ``NAME.css``."""
    return web.view(name, f"study/{name}.js", "study/experiment.css", f"study/{name}.css")


def view(page: str, titles: dict[str, str]) -> str:
    """Which of the two views of ``page`` is shown, that of a run or that of its studies; the second stands in the
    address."""
    first, second = titles
    key = web.of_the_stop(f"{page}:view")
    if key not in st.session_state:
        asked = linked.one_of("view", titles, first)
        st.session_state[key] = second if "study" in st.query_params else asked
    with st.container(key="view"):
        shown: str | None = st.segmented_control(
            "View", list(titles), key=key, format_func=titles.__getitem__, label_visibility="collapsed", required=True
        )
    if shown == second:
        st.query_params["view"] = second
    else:
        for name in ("view", "study"):
            st.query_params.pop(name, None)
    return shown or first


# --- which study -----------------------------------------------------------------------------------------------


def chosen(kind: Kind[Any]) -> Study | None:
    """The study in the address bar; else, unless a new one was asked for, one that is going on; else, unless the
    address says what a new one shall be, the newest, or the first that is recorded."""
    own, recorded = studies_in(runs_folder(), kind.name), recordings.studies(kind)
    if asked := link.word("study"):
        if (found := next((study for study in (*recorded, *own) if study.id == asked), None)) is not None:
            return found
        linked.cannot("study", asked, f"is no study in {runs_folder()}.")
        del st.query_params["study"]
    if link.word("new"):
        return None
    found = next((study for study in own if study.is_conducted()), None)
    if found is None and not address.speaks():
        found = next(iter([*own, *recorded]), None)
    if found is not None:
        open_study(found)
    return found


def open_study(study: Study) -> None:
    """Into the address bar; what the form has put there belongs to the next study."""
    st.query_params.from_dict({"study": study.id})


def new() -> None:
    """To the settings of a study that does not exist yet."""
    st.query_params.from_dict({"new": "1"})
    st.rerun()  # all of the page: the button is in a part of it


def list_earlier(kind: Kind[Any]) -> None:
    """A table of the studies of ``kind``, those of this machine before the recorded ones; a tick opens one."""
    studies = [*studies_in(runs_folder(), kind.name), *recordings.studies(kind)]
    for study in unreadable_in(runs_folder())[:MOST_DAMAGED]:
        words = f"Study {study.id} is damaged: {study.unreadable}"
        st.warning(link.plain(words), icon=":material/heart_broken:")
    if not studies:
        return
    st.markdown("**Earlier studies**")
    rows = []
    for study in studies:
        begun = f"{study.id[:4]}-{study.id[4:6]}-{study.id[6:8]} {study.id[9:11]}:{study.id[11:13]}"
        begun = f"recorded: {study.id}" if recordings.is_one(study) else begun
        rows.append(dict(zip(SHOWN, (study.title, *_so_far(study), begun), strict=True)))
    event = st.dataframe(
        link.table(pd.DataFrame(rows)),
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        key=f"{kind.name}:earlier",
    )
    if event.selection.rows:
        open_study(studies[event.selection.rows[0]])
        st.rerun()


def _so_far(study: Study) -> tuple[str, str]:
    """Its state, and how many of its runs are done."""
    try:
        progress = study.progress()
    except StoreError as error:
        return "damaged", str(error)
    return progress.state, f"{progress.done} / {progress.total}" + f", {progress.failed} failed" * bool(progress.failed)


# --- stopping, going on ----------------------------------------------------------------------------------------


def engine() -> Engine | None:
    """None while it is still being started."""
    booted = boot.start()
    return booted.engine if booted.ready.is_set() else None


def room(specs: Sequence[RunSpec]) -> int:
    """How many of these runs the engine trains at once on each device; one while it is still being started."""
    started = engine()
    return started.room(specs) if started is not None else 1


def engine_state() -> bool:
    """Whether the engine is there; if not, says why, or waits for it, where it is called."""
    booted = boot.start()
    if booted.error:
        st.error(link.plain(booted.error))
    elif not booted.ready.is_set():
        boot.wait_for_engine()
    return engine() is not None


def problem() -> None:
    if "problem" in st.session_state:
        st.error(link.plain(st.session_state["problem"]))


def buttons(study: Study, progress: Progress) -> None:
    """Stop or Continue, one button that stays put, and the way to a new study; of a recorded one, that is all."""
    if recordings.is_one(study):
        if st.button("Run it here", icon=":material/play_arrow:", type="primary", key="new"):
            new()
        _other_recordings(study)
        return
    if progress.state == "stopped" or (progress.state == "done" and progress.failed):
        label, icon = ("Continue", "play_arrow") if progress.state == "stopped" else ("Try again", "replay")
        idle = engine() is None
        if st.button(label, icon=f":material/{icon}:", type="primary", disabled=idle, key="continue", width=WIDTH):
            _go_on(study)
        if progress.failed and progress.total - progress.done > 1:
            _try_one(study, progress)
    elif st.button("Stop", icon=":material/stop:", disabled=progress.state != "running", key="stop", width=WIDTH):
        study.ask_to_stop()
        st.rerun()
    if st.button("New study", icon=":material/add:", key="new"):
        new()


def _go_on(study: Study, only: str = "") -> None:
    st.session_state.pop("problem", None)
    try:
        conduct(study, only=only)
    except StoreError as error:
        st.session_state["problem"] = str(error)
    st.rerun()


def _try_one(study: Study, progress: Progress) -> None:
    """Where Continue, or Try again, would carry out more than the one run that failed."""
    failed = {state.cell.key: state for state in progress.cells if state.state == "failed"}
    with st.popover("Try one again", icon=":material/replay:"):
        key = st.selectbox("Which failed", list(failed), key="retry:which", format_func=link.legible, width=420)
        st.caption(link.plain(failed[key].message))
        if st.button("Try this one", type="primary", disabled=engine() is None, key="retry"):
            _go_on(study, key)


def _other_recordings(study: Study) -> None:
    """The recorded studies of this kind side by side, one of which is shown."""
    ids = [one.id for one in studies_in(recordings.FOLDER, study.kind)[::-1]]
    if len(ids) > 1:
        key = f"recorded:{study.id}"
        shown = st.segmented_control(
            "Recorded", ids, default=study.id, key=key, label_visibility="collapsed", required=True
        )
        if shown not in (None, study.id):
            st.query_params.from_dict({"study": shown})
            st.rerun()


def conduct(study: Study, slots: int | None = None, only: str = "") -> None:
    """Have it carried out in the background, as many runs at a time as fit unless ``slots`` says how many; ``only``:
    the cell of that key alone. Raises ``StoreError`` if it is already."""
    started = engine()
    assert started is not None
    Conductor(study, started, as_jobs=True, slots=slots, only=only).start()


def begun_with(study: Study, facts: dict[str, Any]) -> None:
    """In the sidebar: what the study was begun with, and the command that shows it."""
    with st.sidebar:
        st.markdown("**This study**")
        st.markdown("\n".join(f"- {name}: {link.name(value)}" for name, value in facts.items()))
        if not recordings.is_one(study):
            st.caption(link.code(f"python -m dfkd_core study show {study.id}"))


def watch(study: Study, beside: Draw, show: Draw) -> None:
    """Buttons with what the page puts ``beside`` them, and what it ``show``s of the study; again and again while
    something goes on."""
    with st.sidebar:
        engine_state()
    again(partial(_draw, study, beside, show), partial(_goes_on, study))


@steering.said()
def _draw(study: Study, beside: Draw, show: Draw) -> None:
    keep.catch_up()
    progress = progress_of(study)
    if not (recordings.is_one(study) and link.word("lesson")):  # whose card says what to do
        with st.container(horizontal=True, gap="small", vertical_alignment="center"):
            buttons(study, progress)
            beside(study, progress)
            if link.word("blind") != "1":  # it holds every score
                exchange.offer_report(study)
            exchange.offer_export(study)
        problem()
    if progress.state == "running" and progress.message:
        st.caption(link.plain(progress.message))
    show(study, progress)


def offer_csv(text: str, name: str, empty: bool, label: str = "Table as CSV") -> None:
    """A button that saves ``text`` as NAME.csv."""
    icon = ":material/download:"
    st.download_button(label, text, file_name=f"{name}.csv", mime="text/csv", icon=icon, disabled=empty)


def _goes_on(study: Study) -> bool:
    """It is carried out, or a run that a conductor left behind is alive."""
    return study.is_conducted() or any(cell.state in LIVE for cell in study.progress().cells)


# --- what is told about it -------------------------------------------------------------------------------------


def progress_of(study: Study) -> Progress:
    """With the live run's steps from its log."""

    def step(folder: RunFolder) -> int:
        timeline = boot.timeline(str(folder.path))
        timeline.update()
        return timeline.step

    return study.progress(step)


def facts(study: Study, progress: Progress) -> dict[str, Any]:
    """What every study's component is told."""
    return {
        "study": study.id,
        "base": boot.base_path(),
        "title": study.title,
        "state": progress.state,
        "badge": "recorded" if recordings.is_one(study) else progress.state,
        "plays": recordings.is_one(study),
        "message": _message(progress),
        "done": progress.done,
        "failed": progress.failed,
        "total": progress.total,
        "share": round(progress.share, 4),
        "left": progress.seconds_left,
        "cells": [_cell(state) for state in progress.cells],
    }


def _message(progress: Progress) -> str:
    if progress.state != "stopped":
        return ""
    where = f"Stopped at {progress.done} / {progress.total} runs. Continue goes on from there."
    alone = (
        " A run that was left behind is still training." if any(cell.state in LIVE for cell in progress.cells) else ""
    )
    return f"{progress.message} {where}{alone}".strip()


def _cell(state: CellState) -> dict[str, Any]:
    return {
        **state.cell.labels,
        "key": state.cell.key,
        "state": state.state,
        "share": round(state.share, 4),
        "message": state.message,
        "run": state.record.run,
    }
