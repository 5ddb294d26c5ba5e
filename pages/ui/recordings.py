"""What ships with the lab to be looked at before anything was trained here: runs and studies, in a folder of their own.

They are found by their ids like those of this machine; nothing of them can be steered.
"""

from __future__ import annotations

from typing import Any

from dfkd_core.store import RunFolder, run_in, runs_folder
from dfkd_core.study import Kind, Study, studies_in
from dfkd_core.study.exchange import SHIPPED

FOLDER = SHIPPED
DISTILL, HYBRID, GENERATIVE = "ta-dfkd", "hidfd", "ukd"  # what these pages open on


def run(run_id: str) -> RunFolder | None:
    """A recorded run, or one of this machine; None if there is neither. What is recorded is what lessons and pages
    speak of, so nothing of the same name takes its place."""
    return run_in(FOLDER, run_id) or run_in(runs_folder(), run_id)


def studies(kind: Kind[Any]) -> list[Study]:
    """The recorded ones of a kind, in the order of their names."""
    return studies_in(FOLDER, kind.name)[::-1]


def is_one(what: RunFolder | Study) -> bool:
    """Whether it is recorded."""
    return FOLDER in what.path.parents
