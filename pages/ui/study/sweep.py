"""HiDFD's experiments: choosing and beginning one, and one as a component in the browser that fills as runs end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
import streamlit as st

from dfkd_core.analysis.export import csv_text
from dfkd_core.study import CellState, Progress, Study, find
from dfkd_core.study.hidfd_experiments import EXPERIMENTS, Experiment, symbol
from pages.ui import boot, look
from pages.ui.study import beginning, watching

if TYPE_CHECKING:
    from pages.ui.form.form import Choice

KIND = find("experiment")
FIGURES = ("final", "best", "seconds", "fid")


# --- one that exists -------------------------------------------------------------------------------------------


def show(study: Study, progress: Progress) -> None:
    """Draw the experiment, or bring what is drawn up to date. Call it at the same place in every rerun."""
    settings = study.settings
    rows = KIND.table(settings, progress.cells)
    done = {state.cell.key: state.record.figures for state in progress.cells if state.state == "done"}
    first = next(iter(done.values()), {})
    data = {
        **watching.facts(study, progress),
        "settings": settings,
        "symbol": symbol(settings),
        "reading": KIND.verdict(settings, progress.cells, rows),
        "rows": rows,
        "figures": {key: {name: figures.get(name) for name in FIGURES} for key, figures in done.items()},
        "live": {state.cell.key: score for state in progress.cells if (score := _so_far(study, state)) is not None},
        "measure": first.get("measure", "accuracy"),
        "fid_label": first.get("label", "FID"),
        "teacher": first.get("teacher"),
    }
    watching.component("sweep")(key="sweep", data=data)


def _so_far(study: Study, state: CellState) -> float | None:
    """The newest score of a run that goes on."""
    if state.state not in ("running", "paused"):
        return None
    timeline = boot.timeline(str(study.run(state.record).path))
    timeline.update()
    curve = timeline.curves.get(timeline.score)
    return curve.values[-1] if curve and curve.values else None


def offer_csv(study: Study, progress: Progress) -> None:
    """A button that saves the table."""
    rows = KIND.table(study.settings, progress.cells)
    watching.offer_csv(table_csv(rows), f"{study.settings['experiment']}-{study.id}", not any(row["n"] for row in rows))


def table_csv(rows: list[dict[str, Any]]) -> str:
    """The rows of the table."""
    return csv_text(pd.DataFrame(rows), digits=6)


# --- a new one -------------------------------------------------------------------------------------------------


def set_up(choice: Choice | None) -> None:
    """Choose an experiment and start it. ``choice``: what the form says, None while the engine is being started."""
    first_seed = choice.fields["seed"] if choice is not None else 0
    with look.labelled("first", vertical_alignment="top"):
        given = beginning.asked(KIND, ("experiment", "seeds"), first_seed)
    name = given["experiment"]
    chosen = EXPERIMENTS[name]
    st.markdown(f"{chosen.question} *{chosen.finding}*")
    with look.labelled("second", vertical_alignment="top"):
        given["values"] = _values(name, chosen, choice.fields["benchmark"] if choice is not None else "digits")
        if len(chosen.methods) > 1:
            label, usual = "Methods; the others are compared with the first", list(chosen.methods)
            given["series"] = st.multiselect(label, usual, usual, key="experiment:series", width=520)
        if chosen.measured:
            given |= beginning.asked(KIND, ("measured",))
    beginning.offer(KIND, _with_form(given, choice) if choice is not None else None)


def _with_form(given: dict[str, Any], choice: Choice) -> dict[str, Any]:
    """Another method's preset and knobs are not about this experiment."""
    if choice.fields["method"] == KIND.method:
        return beginning.with_form(KIND, given, choice)
    return beginning.with_form(KIND, given, choice, ["preset"]) | {"knobs": {}}


def _values(name: str, chosen: Experiment, benchmark: str) -> Any:
    """The values of x; None: all."""
    usual = [str(value) for value in chosen.usual_values(benchmark)]
    if chosen.scale == "category":
        if not usual:
            return None
        return st.multiselect(chosen.axis.capitalize(), usual, usual, key=f"experiment:{name}:values", width=620)
    label = f"Values of {symbol({'axis': chosen.axis})}"
    return st.text_input(label, ", ".join(usual), key=f"experiment:{name}:{benchmark}:values", width=300)
