"""Generative: a model that makes images is distilled without its data; teacher and student side by side."""

from __future__ import annotations

from functools import partial

from dfkd_core.analysis.jobs import Job
from dfkd_core.store import RunFolder, RunStatus
from pages.ui import boot, look, recordings
from pages.ui.run import generative, steering
from pages.ui.study import generative_table, watching

VIEWS = {"run": "Run", "table": "Studies"}
HEADLINE = "Make a model that makes images small, without one image of its training data"


def main() -> None:
    """One script run of the page."""
    if watching.view("generative", VIEWS) == "run":
        watched = steering.Watched("generative", HEADLINE, _chosen_run, _show, _goes_on)
        steering.watch(watched, steering.choose(task="generative"))
    else:
        _table()


# --- the view of a run -----------------------------------------------------------------------------------------


def _chosen_run() -> RunFolder | None:
    return steering.newest_or_asked(steering.is_generative, recordings.GENERATIVE)


def _goes_on(folder: RunFolder, status: RunStatus) -> bool:
    """The run, or the job that measures it."""
    return status.is_live or measuring(folder).state().state == "running"


def _show(folder: RunFolder, status: RunStatus) -> None:
    job = measuring(folder)
    steer = partial(steering.steer, folder=folder, job=job, asked=["--force"])
    generative.show(folder, status, boot.timeline(str(folder.path)), job.state(), steer)


def measuring(folder: RunFolder) -> Job:
    """What compares teacher and student with test images, in the background."""
    return Job(folder, "measure")


# --- the view of the table -------------------------------------------------------------------------------------


def _table() -> None:
    """Students of several widths, with data and without, beside their teacher; it fills as runs end."""
    study = watching.chosen(generative_table.KIND)
    if study is None:
        generative_table.set_up(steering.choose(task="generative"))
        return
    names = ("benchmark", "teacher", "preset", "diffusion", "values", "seeds", "samples", "extractor")
    titles = {"values": "widths H", "samples": "images measured"}
    facts = {titles.get(name, name): study.settings[name] for name in names if study.settings[name]}
    watching.begun_with(study, facts)
    watching.watch(study, generative_table.offer_csv, generative_table.show)


look.through_app("pages/generative.py")
main()
