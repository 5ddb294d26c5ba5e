"""Distill: choose, press Start, watch the student learn from a teacher without one original image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from dfkd_core.store import RunFolder, RunStatus, runs_folder, runs_in
from pages.ui import boot, look
from pages.ui.run import stage, steering
from pages.ui.words import tour

if TYPE_CHECKING:
    from pages.ui.form.form import Choice


def main() -> None:
    """One script run of the page."""
    steering.watch(steering.Watched("distill", _chosen_run, _show, _empty, beside=tour.button), steering.choose())


def _chosen_run() -> RunFolder | None:
    """The run in the address bar; else one that is going on; else none, and the recorded one is shown."""
    asked = steering.asked_run()
    if asked is not None:
        return asked
    live = (folder for folder in runs_in(runs_folder())[:5] if folder.status().is_live)
    newest = next((folder for folder in live if not steering.is_generative(folder)), None)
    if newest is not None:
        st.query_params["run"] = newest.id
    return newest


def _show(folder: RunFolder, status: RunStatus) -> None:
    tour.card(folder)
    stage.show(folder, status, boot.timeline(str(folder.path)), lambda command: _steer(command, folder))


def _empty(choice: Choice | None) -> None:
    """The recorded run, playing."""
    if not (boot.RECORDED / "spec.json").is_file():
        st.info("Choose on the left, then press Start.")
        return
    recorded = RunFolder(boot.RECORDED)
    tour.card(recorded)
    stage.show(recorded, recorded.status(), boot.timeline(str(recorded.path)), recorded=True)


def _steer(command: str, folder: RunFolder) -> None:
    """What the stage wants of the run."""
    if command == "slow":
        steering.one_more_step(folder)


look.through_app("pages/distill.py")
main()
