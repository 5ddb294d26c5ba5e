"""Distill: choose, press Start, watch the student learn from a teacher without one original image."""

from __future__ import annotations

from functools import partial

from dfkd_core.store import RunFolder, RunStatus
from pages.ui import boot, look, recordings
from pages.ui.run import stage, steering
from pages.ui.words import tour

HEADLINE = "Train a student without one image of the teacher's data"


def main() -> None:
    """One script run of the page."""
    steering.watch(steering.Watched("distill", HEADLINE, _chosen_run, _show, beside=tour.button), steering.choose())


def _chosen_run() -> RunFolder | None:
    """The run in the address bar; else the newest; else the recorded one, playing."""
    return steering.newest_or_asked(lambda folder: not steering.is_generative(folder), recordings.DISTILL)


def _show(folder: RunFolder, status: RunStatus) -> None:
    tour.card(folder)
    stage.show(folder, status, boot.timeline(str(folder.path)), partial(steering.slow_motion, folder=folder))


look.through_app("pages/distill.py")
main()
