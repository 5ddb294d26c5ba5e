"""Distill: choose, press Start, watch the student learn from a teacher without one original image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from dfkd_core.errors import RequestError, StoreError
from dfkd_core.store import RunFolder, RunStatus, runs_folder, runs_in
from pages.ui import boot, live, look, stage, tour

if TYPE_CHECKING:
    from pages.ui.form import Choice

LIVE = ("queued", "running", "paused")
WIDTH = 116  # pixels, for both faces of the button that pauses and resumes


def main() -> None:
    """One script run of the page."""
    booted = boot.start()
    choice = None
    if not booted.ready.is_set():
        with st.sidebar:
            boot.wait_for_engine()
    elif booted.error:
        st.sidebar.error(booted.error)
    else:
        from pages.ui import form

        choice = form.show()
    folder = _chosen_run()
    goes_on = folder is not None and folder.status().is_live
    watching = boot.poll_seconds() if goes_on else None
    st.fragment(_live, run_every=watching)(choice)


def _chosen_run() -> RunFolder | None:
    """The run in the address bar; else one that is going on; else none, and the recorded one is shown."""
    runs = runs_folder()
    asked = st.query_params.get("run", "")
    if asked:
        folder = RunFolder(runs / asked)
        if "/" not in asked and (folder.path / "spec.json").is_file():
            return folder
        st.warning(f"There is no run {asked} in {runs}; here is the recorded one.")
        del st.query_params["run"]
    newest = next((folder for folder in runs_in(runs)[:5] if folder.status().is_live), None)
    if newest is not None:
        st.query_params["run"] = newest.id
    return newest


def _live(choice: Choice | None) -> None:
    """Buttons and stage; reruns by itself while the run goes on."""
    folder = _chosen_run()
    status = folder.status_seen() if folder is not None else None
    _buttons(choice, folder, status)
    if folder is not None and status is not None:
        tour.card(folder)
        stage.show(folder, status, boot.timeline(str(folder.path)), lambda command: _steer(command, folder))
        was_live = st.session_state.get("watched") == folder.id
        st.session_state["watched"] = folder.id if status.is_live else None
        if was_live and not status.is_live:
            st.rerun()  # ends the polling
    elif (boot.RECORDED / "spec.json").is_file():
        recorded = RunFolder(boot.RECORDED)
        tour.card(recorded)
        stage.show(recorded, recorded.status(), boot.timeline(str(recorded.path)), recorded=True)
    else:
        st.info("Choose on the left, then press Start.")


def _buttons(choice: Choice | None, folder: RunFolder | None, status: RunStatus | None) -> None:
    state = status.state if status is not None else ""
    ready = choice is not None
    paused = state == "paused"
    begin = state in ("paused", "stopped", "interrupted", "failed")
    label, command = ("Resume", "resume") if begin else ("Pause", "pause")
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        if st.button("Start", icon=":material/play_arrow:", type="primary", disabled=not ready, key="start"):
            assert choice is not None
            _start(choice)
        # One button with two faces: two that take turns would move the next ones under the pointer. What the
        # face said when it was pressed counts, so the command is bound when it is drawn.
        st.button(
            label,
            icon=f":material/{command}:",
            disabled=not ready or not (begin or state == "running"),
            key="pause_or_resume",
            width=WIDTH,
            on_click=lambda: st.session_state.update(pressed=command),
        )
        if pressed := st.session_state.pop("pressed", ""):
            _tell(pressed, folder)
        if st.button("One step", icon=":material/skip_next:", disabled=not ready or not paused, key="step"):
            _tell("one_step", folder)
        if st.button("Stop", icon=":material/stop:", disabled=not ready or state not in LIVE, key="stop"):
            _tell("stop", folder)
        timeline = boot.timeline(str(folder.path)) if folder is not None else None
        live.button(folder, timeline, ready and state in ("running", "paused"))
        if folder is None:
            st.caption("**Start** trains your own on this machine.")
        tour.button()
    if "problem" in st.session_state:
        st.error(st.session_state["problem"])


def _start(choice: Choice) -> None:
    from dfkd_core.spec import make_spec

    engine = boot.start().engine
    assert engine is not None
    st.session_state.pop("problem", None)
    try:
        spec = make_spec(choice.changes, **choice.fields)
        st.query_params["run"] = engine.submit(spec.model_dump())
        st.query_params.pop("step", None)
    except (RequestError, StoreError, OSError) as error:
        st.session_state["problem"] = str(error)
    st.rerun()


def _steer(command: str, folder: RunFolder) -> None:
    """What the stage wants of the run: ``slow`` is one more step to look at, paused before and after."""
    engine = boot.start().engine
    if command == "slow" and engine is not None and folder.status_seen().is_live:
        if folder.status().state != "paused":
            engine.pause(folder.id)
        engine.one_step(folder.id)


def _tell(command: str, folder: RunFolder | None) -> None:
    engine = boot.start().engine
    assert engine is not None and folder is not None
    st.session_state.pop("problem", None)
    try:
        getattr(engine, command)(folder.id)
    except (RequestError, StoreError) as error:
        st.session_state["problem"] = str(error)
    st.rerun()


look.through_app("pages/distill.py")
main()
