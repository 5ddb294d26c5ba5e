"""The class prior's experiment as one component in the browser: charts, and images that follow the pointer."""

from __future__ import annotations

from typing import Any

from dfkd_core.analysis.measured import GENERATED
from dfkd_core.errors import RequestError
from dfkd_core.store import read_sheet
from dfkd_core.study import CellState, Progress, Study, find
from dfkd_core.study.prior import POINT, SCORES
from dfkd_core.teachers.cards import find_card
from pages.ui.study import watching
from pages.ui.web.view import answer, asked

MOST_SHEETS = 8  # sent at once, those wanted last first: they are looked at


def show(study: Study, progress: Progress) -> None:
    """Draw the experiment, or bring what is drawn up to date. Call it at the same place in every rerun."""
    done = {state.cell.key: state for state in progress.cells if state.state == "done"}
    kind, settings = find(study.kind), study.settings
    said = asked("prior", study.id)
    wanted = [key for key in (said or {}).get("want", []) if key in done][-MOST_SHEETS:]
    data = {
        **answer("prior", said),
        **watching.facts(study, progress),
        "label": next((state.record.figures["label"] for state in done.values()), "FID"),
        "reading": kind.verdict(settings, progress.cells),
        "intensities": settings["intensities"],
        "seeds": settings["seeds"],
        "classes": _classes(settings["teacher"]),
        "figures": {key: _figures(state) for key, state in done.items()},
        "sheets": {key: read_sheet(study.run(done[key].record), GENERATED) for key in wanted},
    }
    watching.component("prior")(key="prior", data=data, on_ask_change=lambda: None)


def _figures(state: CellState) -> dict[str, Any]:
    figures = state.record.figures
    return {name: figures[name] for name in (*POINT, *SCORES)} | {
        "counts": figures["counts"],
        "samples": figures["samples"],
    }


def _classes(teacher: str) -> list[str]:
    try:
        return list(find_card(teacher)[0].image.classes)
    except RequestError:  # it was deleted since
        return []
