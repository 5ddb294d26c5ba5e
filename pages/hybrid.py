"""Hybrid: a few collected images go a long way. A GAN learns from them, then a student from both."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from dfkd_core.analysis.jobs import Job
from dfkd_core.runs.spec import read_spec
from dfkd_core.store import RunFolder, RunStatus
from pages.ui import boot, look
from pages.ui.run import hybrid, steering
from pages.ui.study import sweep, watching

if TYPE_CHECKING:
    from pages.ui.form.form import Choice

VIEWS = {"run": "Run", "experiments": "Experiments"}
EMPTY = (
    "HiDFD learns from a few collected images: a GAN makes more of them under the teacher's eyes, and the student "
    "learns from both. Choose on the left, then press Start: the GAN's images come first, then the student's accuracy."
)


def main() -> None:
    """One script run of the page."""
    if watching.view("hybrid", VIEWS) == "run":
        _run()
    else:
        _experiments()


# --- the view of a run -----------------------------------------------------------------------------------------


def _run() -> None:
    choice = steering.choose(_collects)
    folder = _chosen_run()
    watching = boot.poll_seconds() if folder is not None and _goes_on(folder, folder.status()) else None
    st.fragment(_live, run_every=watching)(choice)


def _collects(method: str) -> bool:
    from dfkd_core import methods

    return methods.find(method).requires.collected


def _chosen_run() -> RunFolder | None:
    return steering.newest_or_asked(lambda folder: bool(read_spec(folder).collected))


def _goes_on(folder: RunFolder, status: RunStatus) -> bool:
    """The run, or the job that measures its distance."""
    return status.is_live or distance_job(folder).state().state == "running"


@steering.said()
def _live(choice: Choice | None) -> None:
    """Buttons and stage; reruns by itself while something goes on."""
    folder = _chosen_run()
    status = folder.status_seen() if folder is not None else None
    steering.buttons(choice, folder, status, lambda: None)
    if folder is None or status is None:
        st.info(EMPTY, icon=":material/merge:")
        return
    if steering.shown_elsewhere(folder, "hybrid"):
        steering.end_polling(folder.id, _goes_on(folder, status))
        return
    spec = read_spec(folder)
    if not spec.collected:
        st.info(f"{spec.method} learned from no collected image; Distill shows more of this run.")
    job = distance_job(folder)
    hybrid.show(
        folder,
        status,
        boot.timeline(str(folder.path)),
        job.state(),
        lambda command: steering.steer(command, folder, distance_job(folder), []),
    )
    steering.end_polling(folder.id, _goes_on(folder, status))


def distance_job(folder: RunFolder) -> Job:
    """What tells synthetic from collected images, in the background."""
    return Job(folder, "distance")


# --- the view of experiments -----------------------------------------------------------------------------------


def _experiments() -> None:
    """The paper's comparisons and ablations, ready to be begun; one that is going on fills a plot live."""
    study = watching.chosen(sweep.KIND)
    if study is None:
        sweep.set_up(steering.choose(_collects))
        return
    names = ("benchmark", "teacher", "student", "preset", "collected", "ratio", "seeds")
    facts = {name: study.settings[name] for name in names if name in study.settings}
    watching.begun_with(study, facts)
    watching.watch(study, sweep.offer_csv, sweep.show)


look.through_app("pages/hybrid.py")
main()
