"""The slides' table as a study: choosing and beginning one, and one as a component that fills as runs end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
import streamlit as st

from dfkd_core.errors import RequestError
from dfkd_core.store import RunFolder, runs_folder, runs_in
from dfkd_core.study import Progress, Study, generative
from dfkd_core.study.estimate import estimated_seconds
from dfkd_core.study.outcome import plural
from pages.ui import boot
from pages.ui.study import experiment

if TYPE_CHECKING:
    from pages.ui.form.form import Choice

KIND = "generative"
SEEDS, MEASURED = 3, 1024
PLOTTED = ("fid", "root_fid", "emd", "mmd_squared", "root_mmd", "one_nn", "mse")  # against size
ABOUT = (
    "How much is lost without the teacher's data, and how much by being small? Students of several widths H, with data "
    "and without, each measured against test images. *The slides' central claim: without data the student is as good "
    "as with it, FID 5.27 against 5.24 on their scale, on CIFAR-10.*"
)


# --- one that exists -------------------------------------------------------------------------------------------


def show(study: Study, progress: Progress) -> None:
    """Draw the table, or bring what is drawn up to date. Call it at the same place in every rerun."""
    settings, rows = study.settings, generative.table(progress.cells)
    head, *texts = generative.text_table(rows, settings["benchmark"])
    done = {state.cell.key: state.record.figures for state in progress.cells if state.state == "done"}
    data = {
        **experiment.facts(study, progress),
        "settings": settings,
        "reading": generative.reading(rows),
        "titles": {name: generative.ARMS[name].title for name in settings["series"]},
        "columns": [column._asdict() for column in generative.COLUMNS],
        "plotted": list(PLOTTED),
        "head": head,
        "rows": [{**row, "text": text} for row, text in zip(rows, texts[: len(rows)], strict=True)],
        "published": texts[len(rows) :],
        "notes": generative.notes(progress.cells),
        "seeds": {key: {name: figures["student"][name] for name in PLOTTED} for key, figures in done.items()},
    }
    _component()(key="generative_table", data=data)


@st.cache_resource(show_spinner=False)
def _component() -> Any:
    return experiment.component("generative_table")


def offer_csv(study: Study, progress: Progress) -> None:
    """A button that saves the table. Its words come from the program, so no cell is a formula."""
    rows = generative.table(progress.cells)
    experiment.offer_csv(table_csv(rows), f"generative-{study.id}", not any(row["n"] for row in rows))


def table_csv(rows: list[dict[str, Any]]) -> str:
    """The rows of ``study.generative.table``: means by name, each with its standard deviation beside it."""
    flat = []
    for row in rows:
        figures: dict[str, Any] = {}
        for name, value in row["values"].items():
            figures |= {name: value, f"{name}_spread": row["spreads"][name]}
        rest = ("ratio", "ratio_low", "ratio_high", "pairs")
        flat.append(
            {"series": row["series"], "width": row["x"], "runs": row["n"]} | figures | {n: row[n] for n in rest}
        )
    return pd.DataFrame(flat).to_csv(index=False, float_format="%.6g")


# --- a new one -------------------------------------------------------------------------------------------------


def set_up(choice: Choice | None) -> None:
    """Choose widths and arms and start it. ``choice``: what the form says, None while the engine is being started."""
    st.markdown(ABOUT)
    asked = _asked(choice)
    specs, problem = _specs(asked)
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button("Start", icon=":material/play_arrow:", type="primary", disabled=asked is None, key="start"):
            assert asked is not None
            _start(asked)
        st.markdown(problem or _size(specs))
    experiment.problem()


def _asked(choice: Choice | None) -> dict[str, Any] | None:
    """What ``kinds.generative`` takes; None while there is no form. What tells the students apart is its own."""
    with st.container(horizontal=True, vertical_alignment="top"):
        words = st.text_input(
            "Students' widths H", ", ".join(map(str, generative.WIDTHS)), key="table:widths", width=160
        )
        seeds = st.number_input(
            "Seeds", 1, 20, SEEDS, key="table:seeds", width=110, help="Runs for each arm and each width."
        )
        help = "Test images, and as many of each network, that the figures are computed from; at most what there is."
        samples = st.number_input(
            "Images measured", 100, 5000, MEASURED, 100, key="table:samples", width=170, help=help
        )
    titles = {name: arm.title for name, arm in generative.ARMS.items()}
    arms = st.multiselect("Students", list(titles), list(titles), format_func=titles.__getitem__, key="table:arms")
    if choice is None:
        return None
    own = {"student", "seed", "method"}
    if choice.changes.get("source") != "diffusion":
        own.add("diffusion")  # what the form says there is about another source
    first = choice.fields["seed"]
    return {
        "seeds": list(range(first, first + int(seeds))),
        "widths": [part.strip() for part in words.split(",") if part.strip()],
        "arms": arms,
        "samples": int(samples),
        "changes": {name: value for name, value in choice.changes.items() if name not in generative.VARIED},
        **{name: value for name, value in choice.fields.items() if name not in own},
    }


def _specs(asked: dict[str, Any] | None) -> tuple[list[dict[str, Any]], str]:
    """Specifications of the runs, and what is wrong with the request."""
    if asked is None:
        return [], ""
    from dfkd_core.study.kinds import generative_specs

    try:
        found = generative_specs(**{name: value for name, value in asked.items() if name != "samples"})
    except RequestError as error:
        return [], f":material/error: {error}"
    return [spec.model_dump() for _, spec in found], ""


def _size(specs: list[dict[str, Any]]) -> str:
    if not specs:
        return ""
    seconds = estimated_seconds(specs, [*runs_in(runs_folder()), RunFolder(boot.RECORDED)], measured=True)
    return f"**{plural(len(specs), 'run')}**, one after the other{experiment.duration_words(seconds)}."


def _start(asked: dict[str, Any]) -> None:
    from dfkd_core.study import kinds

    experiment.begin(KIND, lambda: kinds.generative(runs_folder(), **asked))
