"""The stage of a run that learns from collected images: one component for the whole way, collected set to student."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from dfkd_core.analysis.jobs import JobState
from dfkd_core.analysis.measured import read_distance
from dfkd_core.analysis.timeline import Timeline
from dfkd_core.errors import StoreError
from dfkd_core.runs.spec import read_spec
from dfkd_core.store import COLLECTED, RunFolder, RunStatus, read_facts, read_samples
from dfkd_core.store.sheets import in_rows, png, sheet
from pages.ui.run import stage
from pages.ui.web.view import view

OF_A_CLASS = 12  # collected images that are sent, at most
MOST = 1200  # of all classes together


def show(folder: RunFolder, status: RunStatus, timeline: Timeline, job: JobState, steer: Callable[[str], None]) -> None:
    """Draw the run, or bring what is drawn up to date. Call it at the same place in every rerun.

    ``job`` is how far the measurement of its distance is; ``steer`` carries out what the stage wants of the run.
    """
    asked = stage.what_is_asked("hybrid", folder, steer)
    data = stage.data_of("hybrid", folder, status, timeline, asked) | {
        "border": read_spec(folder).steps_of("gan"),
        "collected": read_facts(folder),
        "beside": _images(folder, asked.get("has")),
        "mix": _mix(folder),
        "distance": read_distance(folder),
        "job": {"state": job.state, "share": job.share, "message": job.message, "left": job.seconds_left()},
        "measurable": _measurable(folder, timeline),
    }
    styles = ("run/player.css", "run/staged.css", "run/hybrid.css")
    view("hybrid", "run/hybrid.js", *styles)(key="hybrid", data=data, on_ask_change=lambda: None)


def _images(folder: RunFolder, known: float | None = None) -> dict[str, Any] | None:
    """Up to ``OF_A_CLASS`` collected images of each class as one sheet; None where the browser has them, or the run
    kept none."""
    changed = folder.files.changed(f"{COLLECTED}.npz")
    return None if changed is None or stage.seconds(changed) == known else _sheet(str(folder.path), changed)


@st.cache_data(show_spinner=False, max_entries=16)
def _sheet(path: str, changed: int) -> dict[str, Any] | None:
    """``changed``: when the images were written; others are other images."""
    try:
        images, columns = read_samples(RunFolder(Path(path)), COLLECTED)
    except StoreError:
        return None
    label = columns["label"]
    chosen = np.concatenate([np.flatnonzero(label == one)[:OF_A_CLASS] for one in np.unique(label)])[:MOST]
    short = {name: columns[name][chosen] for name in ("label", "confidence")}
    return sheet(png(in_rows(images[chosen])), images[chosen].shape, short, version=stage.seconds(changed))


def _mix(folder: RunFolder) -> dict[str, int] | None:
    """Sizes of the hybrid set: collected, synthetic, inflation N; None where the student learns from no such set."""
    spec, facts = read_spec(folder), read_facts(folder)
    inflation = spec.knob("inflation")
    if facts is None or inflation is None:
        return None
    collected, synthetic = facts["count"], spec.knob("synthetic")
    usual = max(1, synthetic // collected)
    return {"collected": collected, "synthetic": synthetic, "inflation": inflation or usual, "usual": usual}


def _measurable(folder: RunFolder, timeline: Timeline) -> bool:
    """The GAN has learned, and a checkpoint holds it."""
    gan_steps = read_spec(folder).steps_of("gan")
    kept = read_facts(folder) is not None and folder.has_checkpoint()
    return gan_steps > 0 and kept and timeline.step > gan_steps
