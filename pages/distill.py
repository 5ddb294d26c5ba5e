"""Distill: choose, press Start, watch the student learn from a teacher without one original image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from dfkd_core.store import RunFolder, runs_folder, runs_in
from pages.ui import boot, look
from pages.ui.run import stage, steering
from pages.ui.words import tour

if TYPE_CHECKING:
    from pages.ui.form.form import Choice


def main() -> None:
    """One script run of the page."""
    choice = steering.choose()
    folder = _chosen_run()
    goes_on = folder is not None and folder.status().is_live
    watching = boot.poll_seconds() if goes_on else None
    st.fragment(_live, run_every=watching)(choice)


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


@steering.said()
def _live(choice: Choice | None) -> None:
    """Buttons and stage; reruns by itself while the run goes on."""
    folder = _chosen_run()
    status = folder.status_seen() if folder is not None else None
    steering.buttons(choice, folder, status, tour.button)
    if folder is not None and status is not None:
        if not steering.shown_elsewhere(folder, "distill"):
            tour.card(folder)
            stage.show(folder, status, boot.timeline(str(folder.path)), lambda command: _steer(command, folder))
        steering.end_polling(folder.id, status.is_live)
    elif (boot.RECORDED / "spec.json").is_file():
        recorded = RunFolder(boot.RECORDED)
        tour.card(recorded)
        stage.show(recorded, recorded.status(), boot.timeline(str(recorded.path)), recorded=True)
    else:
        st.info("Choose on the left, then press Start.")


def _steer(command: str, folder: RunFolder) -> None:
    """What the stage wants of the run."""
    if command == "slow":
        steering.one_more_step(folder)


look.through_app("pages/distill.py")
main()
