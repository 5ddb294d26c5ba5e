"""What ships with the lab to be looked at before anything was trained here: runs and studies, in a folder of their own.

They are found by their ids like those of this machine; nothing of them can be steered.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dfkd_core.store import RunFolder, run_in, runs_folder
from dfkd_core.study import Kind, Study, studies_in

FOLDER = Path(__file__).parent.parent.parent / "assets" / "recorded"
DISTILL, HYBRID, GENERATIVE = "ta-dfkd", "hidfd", "ukd"  # what these pages open on


def run(run_id: str) -> RunFolder | None:
    """A run of this machine, or a recorded one; None if there is neither."""
    return run_in(runs_folder(), run_id) or run_in(FOLDER, run_id)


def studies(kind: Kind[Any]) -> list[Study]:
    """The recorded ones of a kind, in the order of their names."""
    return studies_in(FOLDER, kind.name)[::-1]


def is_one(what: RunFolder | Study) -> bool:
    """Whether it is recorded."""
    return FOLDER in what.path.parents
