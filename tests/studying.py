"""Small studies, and carrying them out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from conftest import STUDENT, TINY, tiny_spec

from dfkd_core.engine import InlineEngine
from dfkd_core.events import Event, Step
from dfkd_core.study import Cell, Conductor, Record, Study, find

FIELDS = {"student": STUDENT, "evaluate_every": 2, "samples_every": 3}
SAMPLES = 60


def tiny_study(runs: Path, intensities: list[float] | None = None, seeds: list[int] | None = None) -> Study:
    return find("prior").begin(
        runs, intensities=intensities or [0.0, 1.0], seeds=seeds or [0], knobs=TINY, measured=SAMPLES, run=FIELDS
    )


def plain_study(runs: Path, count: int = 2) -> Study:
    """Of runs that are not measured."""
    cells = [Cell(f"cell-{seed}", {"seed": seed}, tiny_spec(seed=seed)) for seed in range(count)]
    return Study.create(runs, "plain", "A plain one", {"samples": 0}, cells)


def conduct(study: Study, progress: Callable[[Event], None] | None = None) -> None:
    Conductor(study, InlineEngine(study.runs, progress)).conduct()


def stop_at(study: Study, step: int) -> Callable[[Event], None]:
    """Ask the study to stop when its run comes to ``step``, once."""
    asked: list[int] = []

    def progress(event: Event) -> None:
        if isinstance(event, Step) and event.step == step and not asked:
            asked.append(step)
            study.ask_to_stop()

    return progress


def states(study: Study) -> list[str]:
    return [state.state for state in study.progress().cells]


def records(study: Study) -> list[Record]:
    return [study.record(cell) for cell in study.cells]
