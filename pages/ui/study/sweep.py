"""HiDFD's experiments: choosing and beginning one, and one as a component in the browser that fills as runs end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
import streamlit as st

from dfkd_core.errors import RequestError
from dfkd_core.store import RunFolder, runs_folder, runs_in
from dfkd_core.study import CellState, Progress, Study
from dfkd_core.study.estimate import estimated_seconds
from dfkd_core.study.experiments import EXPERIMENTS, METHODS, Experiment
from dfkd_core.study.outcome import experiment_reading, plural, symbol, table
from pages.ui import boot
from pages.ui.study import experiment

if TYPE_CHECKING:
    from pages.ui.form.form import Choice

KIND = "experiment"
SEEDS, MEASURED = 3, 1000
FIGURES = ("final", "best", "seconds", "fid")
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet takes a text for that begins so


# --- one that exists -------------------------------------------------------------------------------------------


def show(study: Study, progress: Progress) -> None:
    """Draw the experiment, or bring what is drawn up to date. Call it at the same place in every rerun."""
    settings = study.settings
    rows = table(progress.cells, settings["reference"])
    done = {state.cell.key: state.record.figures for state in progress.cells if state.state == "done"}
    first = next(iter(done.values()), {})
    data = {
        **experiment.facts(study, progress),
        "settings": settings,
        "symbol": symbol(settings),
        "reading": experiment_reading(settings, rows),
        "rows": rows,
        "figures": {key: {name: figures.get(name) for name in FIGURES} for key, figures in done.items()},
        "live": {state.cell.key: score for state in progress.cells if (score := _so_far(study, state)) is not None},
        "measure": first.get("measure", "accuracy"),
        "fid_label": first.get("label", "FID"),
        "teacher": first.get("teacher"),
    }
    _component()(key="sweep", data=data)


@st.cache_resource(show_spinner=False)
def _component() -> Any:
    return experiment.component("sweep")


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
    rows = table(progress.cells, study.settings["reference"])
    experiment.offer_csv(
        table_csv(rows), f"{study.settings['experiment']}-{study.id}", not any(row["n"] for row in rows)
    )


def table_csv(rows: list[dict[str, Any]]) -> str:
    """The rows of ``outcome.table``; text that a spreadsheet would take for a formula gets an apostrophe before it."""
    plain = [{name: _plain(value) for name, value in row.items()} for row in rows]
    return pd.DataFrame(plain).to_csv(index=False, float_format="%.6g")


def _plain(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


# --- a new one -------------------------------------------------------------------------------------------------


def set_up(choice: Choice | None) -> None:
    """Choose an experiment and start it. ``choice``: what the form says, None while the engine is being started."""
    with st.container(horizontal=True, vertical_alignment="top"):
        name = st.selectbox(
            "Experiment", list(EXPERIMENTS), format_func=lambda key: EXPERIMENTS[key].title, key="sweep:name", width=300
        )
        seeds = st.number_input("Seeds", 1, 20, SEEDS, key="sweep:seeds", width=100, help="Runs for each setting.")
    chosen = EXPERIMENTS[name]
    st.markdown(f"{chosen.question} *{chosen.finding}*")
    asked = _asked(name, chosen, int(seeds), choice)
    specs, problem = _specs(asked)
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button("Start", icon=":material/play_arrow:", type="primary", disabled=asked is None, key="start"):
            assert asked is not None
            _start(asked)
        st.markdown(problem or _size(specs, chosen.measured))
    experiment.problem()


def _asked(name: str, chosen: Experiment, seeds: int, choice: Choice | None) -> dict[str, Any] | None:
    """What ``kinds.experiment`` takes; None while there is no form. Knobs that the experiment varies are its own."""
    benchmark = choice.fields["benchmark"] if choice is not None else "digits"
    with st.container(horizontal=True, vertical_alignment="top"):
        asked: dict[str, Any] = {"values": _values(name, chosen, benchmark)}
        if len(chosen.methods) > 1:
            asked["series"] = _methods(chosen.methods)
        if chosen.measured:
            help = "Of each run's generator, for FID."
            asked["samples"] = int(
                st.number_input("Images measured", 100, 50_000, MEASURED, 100, key="sweep:samples", help=help)
            )
    if choice is None:
        return None
    leads = choice.fields["method"] == METHODS[0]  # another method's preset and knobs are not about this experiment
    own = {*chosen.varied(), "seed", "method"} | (set() if leads else {"preset"})
    fields = {field: value for field, value in choice.fields.items() if field not in own}
    knobs = {knob: value for knob, value in choice.changes.items() if knob not in own}
    first = choice.fields["seed"]
    return {
        "name": name,
        "seeds": list(range(first, first + seeds)),
        "changes": knobs if leads else {},
        **asked,
        **fields,
    }


def _values(name: str, chosen: Experiment, benchmark: str) -> list[Any] | None:
    """The values of x; None: all."""
    usual = [str(value) for value in chosen.usual_values(benchmark)]
    if chosen.scale == "category":
        if not usual:
            return None
        return st.multiselect(chosen.axis.capitalize(), usual, usual, key=f"sweep:{name}:values", width=620)
    words = ", ".join(usual)
    text = st.text_input(
        f"Values of {symbol({'axis': chosen.axis})}", words, key=f"sweep:{name}:{benchmark}:values", width=300
    )
    return [part.strip() for part in text.split(",") if part.strip()]


def _methods(usual: tuple[str, ...]) -> list[str]:
    return st.multiselect(
        "Methods; the others are compared with the first", list(usual), list(usual), key="sweep:series", width=520
    )


def _specs(asked: dict[str, Any] | None) -> tuple[list[dict[str, Any]], str]:
    """Specifications of the runs, and what is wrong with the request."""
    if asked is None:
        return [], ""
    from dfkd_core.study.kinds import experiment_specs

    try:
        found = experiment_specs(**{name: value for name, value in asked.items() if name != "samples"})
    except RequestError as error:
        return [], f":material/error: {error}"
    return [spec.model_dump() for _, spec in found], ""


def _size(specs: list[dict[str, Any]], measured: bool) -> str:
    if not specs:
        return ""
    seconds = estimated_seconds(specs, [*runs_in(runs_folder()), RunFolder(boot.RECORDED)], measured)
    return f"**{plural(len(specs), 'run')}**, one after the other{experiment.duration_words(seconds)}."


def _start(asked: dict[str, Any]) -> None:
    from dfkd_core.study import kinds

    experiment.begin(KIND, lambda: kinds.experiment(runs_folder(), **asked))
