"""Fig. 1a as one component in the browser: a panel for each teacher, a curve for each family of methods."""

from __future__ import annotations

from typing import Any

from dfkd_core.errors import RequestError
from dfkd_core.study import CellState, Progress, Study, find
from dfkd_core.teachers.cards import find_card
from pages.ui import boot
from pages.ui.study import watching


def show(study: Study, progress: Progress) -> None:
    """Draw the lesson, or bring what is drawn up to date. Call it at the same place in every rerun."""
    kind, settings = find(study.kind), study.settings
    courses = {state.cell.key: _course(study, state) for state in progress.cells if state.record.run}
    data = {
        **watching.facts(study, progress),
        "reading": kind.verdict(settings, progress.cells),
        "teachers": [{"name": name, "title": _title(name)} for name in settings["teachers"]],
        "variants": settings["variants"],
        "courses": courses,
        "steps": max(_steps(state) for state in progress.cells),
    }
    watching.component("lesson")(key="lesson", data=data)


def _title(teacher: str) -> str:
    try:
        card = find_card(teacher)[0]
    except RequestError:  # it was deleted since
        return teacher
    return card.title if card.accuracy is None else f"{card.title} · {card.accuracy:.1%}"


def _steps(state: CellState) -> int:
    return state.cell.spec.total_steps


def _course(study: Study, state: CellState) -> dict[str, Any]:
    """The student's curve so far, with the newest and the best value."""
    timeline = boot.timeline(str(study.run(state.record).path))
    timeline.update()
    curve = timeline.curves.get(timeline.score)
    values = curve.values if curve else []
    return {
        "curve": curve.thinned() if curve else {"x": [], "y": []},
        "now": values[-1] if values else None,
        "best": max(values, default=None),
        "teacher": timeline.teacher,
        "score": timeline.score,
    }
