"""Hybrid: a few collected images go a long way. A GAN learns from them, then a student from both."""

from __future__ import annotations

from functools import partial

import streamlit as st

from dfkd_core.analysis.jobs import Job
from dfkd_core.runs.spec import read_spec
from dfkd_core.store import RunFolder, RunStatus
from pages.ui import boot, link, look, recordings
from pages.ui.run import hybrid, steering
from pages.ui.study import sweep, watching

VIEWS = {"run": "Run", "experiments": "Studies"}
HEADLINE = "A few collected images go a long way: a GAN makes more, a student learns from both"


def main() -> None:
    """One script run of the page."""
    if watching.view("hybrid", VIEWS) == "run":
        steering.watch(steering.Watched("hybrid", HEADLINE, _chosen_run, _show, _goes_on), steering.choose(_collects))
    else:
        _experiments()


# --- the view of a run -----------------------------------------------------------------------------------------


def _collects(method: str) -> bool:
    from dfkd_core import methods

    return methods.find(method).requires.collected


def _chosen_run() -> RunFolder | None:
    return steering.newest_or_asked(lambda folder: bool(read_spec(folder).collected), recordings.HYBRID)


def _goes_on(folder: RunFolder, status: RunStatus) -> bool:
    """The run, or the job that measures its distance."""
    return status.is_live or distance_job(folder).state().state == "running"


def _show(folder: RunFolder, status: RunStatus) -> None:
    spec, job = read_spec(folder), distance_job(folder)
    if not spec.collected:
        st.info(f"{link.name(spec.method)} learned from no collected image; Distill shows more of this run.")
    steer = partial(steering.steer, folder=folder, job=job, asked=[])
    hybrid.show(folder, status, boot.timeline(str(folder.path)), job.state(), steer)


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
