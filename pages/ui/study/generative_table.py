"""The slides' table as a study: choosing and beginning one, and one as a component that fills as runs end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
import streamlit as st

from dfkd_core.analysis.export import csv_text
from dfkd_core.study import Progress, Study, find
from dfkd_core.study.generative_table import ARMS, COLUMNS, notes, text_table
from pages.ui import look
from pages.ui.study import beginning, watching

if TYPE_CHECKING:
    from pages.ui.form.form import Choice

KIND = find("generative")
PLOTTED = ("fid", "root_fid", "emd", "mmd_squared", "root_mmd", "one_nn", "mse")  # against size
ABOUT = (
    "How much is lost without the teacher's data, and how much by being small? Students of several widths H, with data "
    "and without, each measured against test images. *The slides' central claim: without data the student is as good "
    "as with it, FID 5.27 against 5.24 on their scale, on CIFAR-10.*"
)


# --- one that exists -------------------------------------------------------------------------------------------


def show(study: Study, progress: Progress) -> None:
    """Draw the table, or bring what is drawn up to date. Call it at the same place in every rerun."""
    settings = study.settings
    rows = KIND.table(settings, progress.cells)
    head, *texts = text_table(rows, settings["benchmark"])
    done = {state.cell.key: state.record.figures for state in progress.cells if state.state == "done"}
    data = {
        **watching.facts(study, progress),
        "settings": settings,
        "reading": KIND.verdict(settings, progress.cells, rows),
        "titles": {name: ARMS[name].title for name in settings["series"]},
        "columns": [column._asdict() for column in COLUMNS],
        "plotted": list(PLOTTED),
        "head": head,
        "rows": [{**row, "text": text} for row, text in zip(rows, texts[: len(rows)], strict=True)],
        "published": texts[len(rows) :],
        "notes": notes(progress.cells),
        "seeds": {key: {name: figures["student"][name] for name in PLOTTED} for key, figures in done.items()},
    }
    watching.component("generative_table")(key="generative_table", data=data)


def offer_csv(study: Study, progress: Progress) -> None:
    """A button that saves the table."""
    rows = KIND.table(study.settings, progress.cells)
    watching.offer_csv(table_csv(rows), f"generative-{study.id}", not any(row["n"] for row in rows))


def table_csv(rows: list[dict[str, Any]]) -> str:
    """The rows of the table: means by name, each with its standard deviation beside it."""
    flat = []
    for row in rows:
        figures: dict[str, Any] = {}
        for name, value in row["values"].items():
            figures |= {name: value, f"{name}_spread": row["spreads"][name]}
        rest = ("ratio", "ratio_low", "ratio_high", "pairs")
        flat.append(
            {"series": row["series"], "width": row["x"], "runs": row["n"]} | figures | {n: row[n] for n in rest}
        )
    return csv_text(pd.DataFrame(flat), digits=6)


# --- a new one -------------------------------------------------------------------------------------------------


def set_up(choice: Choice | None) -> None:
    """Choose widths and arms and start it. ``choice``: what the form says, None while the engine is being started."""
    st.markdown(ABOUT)
    first_seed = choice.fields["seed"] if choice is not None else 0
    with look.labelled("asked", vertical_alignment="top"):
        given = beginning.asked(KIND, ("widths", "seeds", "measured"), first_seed)
    given |= beginning.asked(KIND, ("arms",))
    if choice is not None:  # what the form says there is about another source
        beside = () if choice.changes.get("source") == "diffusion" else ("diffusion",)
        given = beginning.with_form(KIND, given, choice, beside)
    beginning.offer(KIND, given if choice is not None else None)
