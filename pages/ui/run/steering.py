"""What the pages of a live run share: which run is shown, the buttons that start and steer it, and looking again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import streamlit as st

from dfkd_core.analysis.timeline import Timeline
from dfkd_core.errors import RequestError, StoreError, capitalised, in_words
from dfkd_core.runs.spec import read_spec
from dfkd_core.store import RunFolder, RunStatus, runs_folder, runs_in
from dfkd_core.study import studies_in
from pages.ui import boot, keep, link, linked, recordings
from pages.ui.again import again
from pages.ui.linked import unseen
from pages.ui.run import live, showing

if TYPE_CHECKING:
    from dfkd_core.analysis.jobs import Job
    from pages.ui.form.form import Choice

LIVE = ("queued", "running", "paused")
DOING = {"start": "Starting", "pause": "Pausing", "resume": "Resuming", "one_step": "One step", "stop": "Stopping"}
SHOWS = {  # states that show that a command was carried out
    "pause": ("paused", "done", "failed", "stopped", "interrupted"),
    "resume": ("running", "done", "failed"),
    "one_step": ("paused", "done", "failed", "stopped", "interrupted"),
    "stop": ("stopped", "done", "failed", "interrupted"),
}
TOLD = 0.02  # seconds, in which the server sends what was drawn before something is done that keeps it busy
PATIENCE = 30.0  # seconds for a command to show; after that the button may be pressed again
SLOW_MOTION = ("slow", "go on")  # what it wants of a run
LOOKED_THROUGH = 50  # of the newest runs, for one that fits a page
WIDTH = 116  # pixels, for both faces of the button that pauses and resumes


def choose(
    only: Callable[[str], bool] | None = None, task: Literal["classifier", "generative"] = "classifier"
) -> Choice | None:
    """The form in the sidebar, with the methods of ``task`` that ``only`` lets through; None while the engine is being
    started."""
    booted = boot.start()
    if not booted.ready.is_set():
        with st.sidebar:
            boot.wait_for_engine()
        return None
    if booted.error:
        st.sidebar.error(booted.error)
        return None
    from pages.ui.form import form

    return form.show(only, task)


@contextmanager
def said(advice: str = "") -> Iterator[None]:
    """What is wrong with a run's folder is a sentence on the page; ``advice`` is one more."""
    try:
        yield
    except (OSError, RequestError, StoreError) as error:
        text = in_words(error).removesuffix(".")
        st.error(link.plain(f"{capitalised(text)}. {advice}"))


def warn_of_damage(timeline: Timeline) -> None:
    """Name what of a run's folder is damaged; the rest is shown all the same."""
    if found := timeline.damaged:
        more = f", and {len(found) - 1} more" if len(found) > 1 else ""
        command = link.code(f"python -m dfkd_core verify {timeline.folder.id}")
        st.warning(f"Damaged: {link.plain(found[0])}{more}. {command} names all.", icon=":material/heart_broken:")


def asked_run() -> RunFolder | None:
    """The run in the address bar; one that does not exist is taken out of it, with a sentence."""
    asked = link.word("run")
    if not asked:
        return None
    if (folder := recordings.run(asked)) is not None:
        return folder
    no_run(asked)
    return None


def no_run(asked: str) -> None:
    """Take it out of the address, and say so."""
    linked.cannot("run", asked, f"is no run in {runs_folder()}.")
    del st.query_params["run"]


def is_generative(folder: RunFolder) -> bool:
    """Whether a run distils a latent-variable model."""
    try:
        return read_spec(folder).is_generative
    except StoreError:
        return False


def _is_readable(folder: RunFolder) -> bool:
    """Whether it can be told what the run is; else it cannot go on."""
    try:
        read_spec(folder)
    except (OSError, StoreError):
        return False
    return True


def newest_or_asked(fits: Callable[[RunFolder], bool], recorded: str) -> RunFolder | None:
    """The run in the address bar; else the newest of those that fit, a live one first, which goes into it; else the
    ``recorded`` one. Runs of a study are looked at from there."""
    asked = asked_run()
    if asked is not None:
        return asked
    found, of_studies = [], _of_studies()
    for folder in runs_in(runs_folder())[:LOOKED_THROUGH]:
        with suppress(OSError, StoreError):
            found += [folder] * (folder.id not in of_studies and fits(folder))
    newest = next((folder for folder in found if folder.status().is_live), found[0] if found else None)
    if newest is None:
        return recordings.run(recorded)
    st.query_params["run"] = newest.id
    return newest


def _of_studies() -> set[str]:
    """The runs of the newest studies."""
    found: set[str] = set()
    for study in studies_in(runs_folder())[:LOOKED_THROUGH]:
        with suppress(OSError, StoreError):
            found |= {study.record(cell).run for cell in study.cells}
    return found


def steer(command: str, folder: RunFolder, job: Job, asked: list[str]) -> None:
    """What a stage wants of its run, or of the ``job`` whose name is the command; ``asked``: the job's flags."""
    if command in SLOW_MOTION:
        slow_motion(command, folder)
    elif command == job.name:
        try:
            job.start([job.name, folder.id, "--runs", str(folder.path.parent), *asked])
        except (OSError, StoreError) as error:
            st.session_state["problem"] = in_words(error)
        st.rerun()  # so that polling begins
    elif command == f"stop {job.name}":
        job.stop()
        st.rerun()


def shown_elsewhere(folder: RunFolder, page: Literal["distill", "inspect", "hybrid", "generative"]) -> bool:
    """Whether ``page`` has nothing to show of this run; then a sentence leads to the page that has."""
    generative = is_generative(folder)
    if generative == (page == "generative"):
        return False
    kind, title, path = ("a classifier", "Distill", "")
    if generative:
        kind, title, path = ("a generative model", "Generative", "generative")
    words = f"This run of {link.name(read_spec(folder).method)} distilled {kind}"
    address = f"{boot.base_path()}/{path}?run={folder.id}"
    st.info(f"{words}: [the page {title} shows it]({address}).", icon=":material/info:")
    return True


@dataclass(frozen=True)
class _Told:
    """A command that a run was given, and when it is no longer waited for."""

    command: str
    run_id: str
    until: float


@dataclass(frozen=True)
class Watched:
    """What a page of runs is made of.

    ``headline``: what the page is about, over a recorded run; ``chosen``: which run is shown; ``draw``: its stage;
    ``goes_on``: whether to look again; ``beside``: what follows the buttons.
    """

    page: Literal["distill", "hybrid", "generative"]
    headline: str
    chosen: Callable[[], RunFolder | None]
    draw: Callable[[RunFolder, RunStatus], None]
    goes_on: Callable[[RunFolder, RunStatus], bool] = lambda folder, status: status.is_live
    beside: Callable[[], None] = lambda: None


def watch(watched: Watched, choice: Choice | None) -> None:
    """Buttons and stage; again and again while something goes on."""

    def goes_on() -> bool:
        folder = watched.chosen()
        return folder is not None and watched.goes_on(folder, folder.status())

    again(partial(_draw, watched, choice), goes_on)


@said()
def _draw(watched: Watched, choice: Choice | None) -> None:
    keep.catch_up()
    folder = watched.chosen()
    status = folder.status_seen() if folder is not None else None
    recorded = folder is not None and recordings.is_one(folder)
    if not (link.word("beside") or (recorded and link.word("lesson"))):  # whose card says what to do
        if recorded:
            st.markdown(f"#### {watched.headline}")
        buttons(choice, folder, status, watched.beside)
        if folder is not None and status is not None:
            showing.strip(folder, status, choice)
    if folder is None or status is None:
        st.info("Choose on the left, then press Start.")
        return
    if not shown_elsewhere(folder, watched.page):
        watched.draw(folder, status)
        warn_of_damage(boot.timeline(str(folder.path)))


def buttons(
    choice: Choice | None, folder: RunFolder | None, status: RunStatus | None, beside: Callable[[], None]
) -> None:
    """Start, pause or resume, one step, stop, change knobs; what ``beside`` draws comes after them in the row.

    A button that was pressed says so at once, before anything is done about it, and until the run has done it.
    """
    state = status.state if status is not None else ""
    ready, run_id = choice is not None, folder.id if folder is not None else ""
    begin = state in ("paused", "stopped", "interrupted", "failed")
    whole = folder is not None and _is_readable(folder)
    label, command = ("Resume", "resume") if begin else ("Pause", "pause")
    pressed, doing = st.session_state.pop("pressed", ""), _doing(run_id, state)
    busy = pressed or doing
    can = {
        "start": ready and not unseen(),
        "pause_or_resume": ready and whole and (begin or state == "running"),
        "step": ready and state == "paused",
        "stop": ready and state in LIVE,
    }

    def button(key: str, does: str, label: str, icon: str, **look: Any) -> None:
        label = DOING[does] if busy == does else label
        off = not can[key] or busy == does or pressed != ""
        said: Any = {"on_click": st.session_state.update, "kwargs": {"pressed": does}}  # as its face was when pressed
        st.button(label, key=key, icon=f":material/{icon}:", disabled=off, **said, **look)

    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        button("start", "start", "Start", "play_arrow", type="secondary" if state in LIVE else "primary")
        # One button with two faces: two that take turns would move the next ones under the pointer.
        button("pause_or_resume", command, label, command, width=WIDTH)
        button("step", "one_step", "One step", "skip_next")
        button("stop", "stop", "Stop", "stop", width=WIDTH)
        changeable = ready and state in ("running", "paused")
        live.button(changeable)
        beside()
    live.panel(folder, boot.timeline(str(folder.path)) if folder is not None else None, changeable)
    if pressed:
        time.sleep(TOLD)
        _do(pressed, choice, folder)
    if "problem" in st.session_state:
        st.error(link.plain(st.session_state["problem"]))


def _doing(run_id: str, state: str) -> str:
    """The command that was given to this run and that its state does not show yet; empty if there is none."""
    told: _Told | None = st.session_state.get("told")
    if told is None or told.run_id != run_id or state in SHOWS[told.command] or time.monotonic() > told.until:
        st.session_state.pop("told", None)
        return ""
    return told.command


def _do(command: str, choice: Choice | None, folder: RunFolder | None) -> None:
    """What a button says. What is wrong with it is one sentence on the page."""
    engine = boot.start().engine
    assert engine is not None
    st.session_state.pop("problem", None)
    try:
        if command == "start":
            from dfkd_core.runs.request import make_spec

            assert choice is not None
            st.query_params["run"] = engine.submit(make_spec(choice.changes, **choice.fields))
            st.query_params.pop("step", None)
        else:
            assert folder is not None
            getattr(engine, command)(folder.id)
            st.session_state["told"] = _Told(command, folder.id, time.monotonic() + PATIENCE)
    except (OSError, RequestError, StoreError) as error:
        st.session_state["problem"] = in_words(error)
    st.rerun()


def slow_motion(command: str, folder: RunFolder) -> None:
    """``slow``: one more step to look at, paused before and after; ``go on``: it was left, and the run goes on."""
    engine = boot.start().engine
    if engine is None or not folder.status_seen().is_live:
        return
    if command == "go on":
        engine.resume(folder.id)
    else:
        if folder.status().state != "paused":
            engine.pause(folder.id)
        engine.one_step(folder.id)
