"""A grid that exists: what of it is looked at, and the component in the browser that draws it as runs end."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from statistics import fmean, median
from typing import Any

import pandas as pd
import streamlit as st

from dfkd_core.analysis.export import csv_text
from dfkd_core.errors import RequestError, StoreError
from dfkd_core.quality.score import DISTANCES
from dfkd_core.runs.spec import read_spec
from dfkd_core.store import RunFolder
from dfkd_core.study import Kind, Progress, Study, find
from dfkd_core.study import file as files
from dfkd_core.study import traces as tracing
from dfkd_core.study.grid import series_of
from dfkd_core.study.robustness import compared, places, robustness
from pages.ui import link, linked, recordings
from pages.ui.study import budget, watching
from pages.ui.web import view as web

KIND: Kind[Any] = find("grid")
VIEWS = {
    "map": "Map",
    "strip": "Peaks and ends",
    "curves": "Curves",
    "across": "Across teachers",
    "pair": "Against each other",
}
BLIND_VIEWS = {"map": "Map", "curves": "Curves", "picks": "Picked checkpoints"}
SIGNALS = {
    "sampled_agreement": "agreement on generated samples",
    "coverage": "coverage",
    "student_loss": "student's loss",
    "diversity": "diversity",
}
GOING_ON = (*watching.LIVE, "measuring")
OF_A_ROW = ("teacher", "series", "seed", "final", "best", "seconds", "run")
SHARES = ("score", "sampled_agreement", "coverage")
Traces = dict[str, tracing.Trace]


def offer(study: Study, progress: Progress) -> None:
    """Beside the study's buttons: its table, its file, and the way to add to it."""
    rows = KIND.table(study.settings, progress.cells)
    if not st.session_state.get(f"grid:{study.id}:blind", link.word("blind") == "1"):
        watching.offer_csv(csv_text(pd.DataFrame(rows), digits=6), f"study-{study.id}", not rows)
    try:
        text = files.text_of(study, KIND)
    except (RequestError, StoreError):
        return
    icon, help = ":material/description:", "The study as a file: change it, and run it here or on a command line."
    st.download_button("Study file", text, f"{study.id}.yaml", "application/yaml", icon=icon, help=help)
    if st.button("Add to it", icon=":material/add_circle:", key="add", help="Begin one like it; equal runs count."):
        st.session_state["form:grid:file"] = text
        watching.new()
    if recordings.is_one(study):
        st.caption(f"(trains all {progress.total} again)", width="content")


def show(study: Study, progress: Progress) -> None:
    """Draw the grid, or bring what is drawn up to date. Call it at the same place in every rerun."""
    settings = study.settings
    with st.container(horizontal=True, gap="xsmall", vertical_alignment="center"):
        view, blind = _view(study)
        rows = KIND.table(settings, progress.cells)
        known = _traces(study, rows)
        series = list(dict.fromkeys(row["series"] for row in rows))
        measure = next((row["measure"] for row in rows if row["measure"]), "accuracy")
        said = _asked(view, blind, series, rows)
        compared_rows, at, short = budget.at(said.get("at", ("", None)), rows, known)
    hidden = {"final": None, "best": None, "of_teacher": None}
    shown = [{**row, **hidden} for row in compared_rows] if blind else compared_rows
    facts = watching.facts(study, progress)
    data = {
        **facts,
        "cells": [{**cell, "series": series_of(settings, cell)} for cell in facts["cells"]],
        "view": view,
        "blind": blind,
        "teachers": list(dict.fromkeys(row["teacher"] for row in rows)),
        "series": series,
        "seeds": settings["seeds"],
        "rows": [{name: row[name] for name in OF_A_ROW} for row in shown],
        "vary": list(settings["vary"]),
        "students": settings["students"],
        "places": [asdict(place) for place in places(shown)],
        "refused": settings.get("refused", []),
        "at": at,
        "short": short,
        "measure": measure,
        "score": {"fid": "FID", "mismatch": "mismatch"}.get(measure, measure),
        "is_share": measure not in DISTANCES,
        "lower_is_better": measure in DISTANCES,
        "last": tracing.LAST_EPOCHS,
        "reading": "" if blind else KIND.verdict(settings, progress.cells, compared_rows),
        "live": _live(study, rows, said) if view == "curves" else [],
        **_of_view(study, view, said, shown, known),
    }
    watching.component("grid")(key="grid", data=data)


# --- what is looked at -----------------------------------------------------------------------------------------


def _view(study: Study) -> tuple[str, bool]:
    key = web.of_the_stop(f"grid:{study.id}:blind")
    fresh = f"{key}:first" not in st.session_state
    first = st.session_state.setdefault(f"{key}:first", linked.one_of("blind", ("1",)) == "1")
    help = "Hide every score of test images, as if there were none; then reveal what that costs."
    blind = bool(st.session_state.get(key, first))
    titles = BLIND_VIEWS if blind else VIEWS
    place = web.of_the_stop(f"grid:view:{blind}")
    if st.session_state.get(place) not in titles:  # one of the other readings stands there when one changes to these
        asked = linked.one_of("reading", titles if fresh else {**VIEWS, **BLIND_VIEWS})
        st.session_state[place] = asked if asked in titles else "map"
    view = st.segmented_control(
        "Reading", list(titles), key=place, format_func=titles.__getitem__, required=True, label_visibility="collapsed"
    )
    # The browser takes a toggle's first value from here; one that is set in the session's state it may show as off.
    st.toggle("Without validation data", first, key=key, help=help)
    st.query_params["reading"] = view or "map"
    if blind:
        st.query_params["blind"] = "1"
    else:
        st.query_params.pop("blind", None)
    return view or "map", blind


def _asked(view: str, blind: bool, series: list[str], rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The view's own inputs; each says what it is by what is chosen."""
    said: dict[str, Any] = {}
    if view == "curves":
        axes = {str(name): f"over {title}" for name, title in tracing.AXES.items()}
        st.session_state.setdefault("grid:axis", linked.one_of("over", axes, "step"))
        said["axis"] = _select("Over", "axis", axes)
        link.say("over", said["axis"] if said["axis"] != "step" else "")
        columns = SIGNALS if blind else {"score": "score of test images", **SIGNALS}
        said["column"] = _select("Curve", f"column:{blind}", columns)
        teachers = list(dict.fromkeys(row["teacher"] for row in rows))
        said["teacher"] = _select(
            "Teacher", "teacher", {"": "all teachers", **{name: Path(name).stem for name in teachers}}
        )
    elif view == "picks":
        said["revealed"] = st.toggle("Reveal", key="grid:revealed", help="Show the scores, and what the picks cost.")
    elif not blind:
        said["at"] = budget.asked()
    if view == "pair" and len(series) > 1:
        said["first"] = _select("First", "first", {name: name for name in reversed(series)})
        said["second"] = _select("Second", "second", {name: f"against {name}" for name in series})
    return said


def _select(label: str, name: str, titles: dict[Any, str]) -> Any:
    key = f"grid:{name}"
    if st.session_state.get(key) not in titles:
        st.session_state[key] = next(iter(titles))
    return st.selectbox(
        label, list(titles), format_func=titles.__getitem__, key=key, width=215, label_visibility="collapsed"
    )


# --- what is drawn of it ---------------------------------------------------------------------------------------


def _of_view(
    study: Study, view: str, said: dict[str, Any], rows: list[dict[str, Any]], known: Traces
) -> dict[str, Any]:
    empty: dict[str, Any] = {"curves": [], "across": [], "pair": None, "picks": []}
    if view == "curves":
        column, axis = said["column"], said["axis"]
        title = {"score": "score", **SIGNALS}[column]
        drawn = _curves(rows, known, axis, column, said["teacher"])
        about = {
            "axis": tracing.AXES[axis],
            "column": title,
            "column_is_share": column in SHARES and not _distances(known),
        }
        return empty | about | {"curves": drawn}
    if view == "across":
        return empty | {"across": robustness(rows, _stability(study, known), tracing.spent(known))}
    if view == "pair" and said.get("first") not in (None, said.get("second")):
        found = compared(rows, said["first"], said["second"])
        return empty | {"pair": {**found._asdict(), "first": said["first"], "second": said["second"]}}
    if view == "picks":
        return empty | {"picks": _picks(rows, known, said["revealed"]), "revealed": said["revealed"]}
    return empty


def _distances(known: Traces) -> bool:
    return any(trace["measure"] in DISTANCES for trace in known.values())


def _traces(study: Study, rows: list[dict[str, Any]]) -> Traces:
    """Of the runs that are done, by run."""
    found = {}
    for row in rows:
        if row["state"] == "done" and row["run"]:
            trace = _trace(str(study.runs / row["run"]))
            if trace is not None:
                found[row["run"]] = trace
    return found


@st.cache_data(show_spinner=False, max_entries=4000)
def _trace(path: str) -> tracing.Trace | None:
    try:
        return tracing.trace_of(RunFolder(Path(path)), keep=True)
    except (OSError, StoreError):
        return None


@st.cache_resource(show_spinner=False, max_entries=256)
def _growing(path: str) -> tracing.Growing | None:
    """One a run, shared by all sessions that watch it."""
    try:
        return tracing.Growing(RunFolder(Path(path)))
    except (OSError, StoreError):
        return None


def _live(study: Study, rows: list[dict[str, Any]], said: dict[str, Any]) -> list[dict[str, Any]]:
    """The curves so far of the runs that are not over, which no band counts."""
    found = []
    for row in rows:
        if row["state"] not in GOING_ON or not row["run"] or said["teacher"] not in ("", row["teacher"]):
            continue
        if (growing := _growing(str(study.runs / row["run"]))) is None:
            continue
        with suppress(OSError, StoreError):
            points = tracing.points_of(growing.update(), said["axis"], said["column"])
            who = {name: row[name] for name in ("series", "teacher", "seed")}
            found += [{**who, "points": points}] * (len(points) > 1)
    return found


def _curves(rows: list[dict[str, Any]], known: Traces, axis: Any, column: str, teacher: str) -> list[dict[str, Any]]:
    """A band for each series."""
    of_it = [row for row in rows if teacher in ("", row["teacher"])]
    return [{"name": series, **one._asdict()} for series, one in tracing.bands(of_it, known, axis, column).items()]


def _stability(study: Study, known: Traces) -> dict[str, float]:
    found = {}
    for run, trace in known.items():
        if (value := tracing.stability(trace, _spec(str(study.runs / run)), tracing.LAST_EPOCHS)) is not None:
            found[run] = value
    return found


@st.cache_data(show_spinner=False, max_entries=4000)
def _spec(path: str) -> Any:
    try:
        return read_spec(RunFolder(Path(path)))
    except StoreError:
        return None


def _picks(rows: list[dict[str, Any]], known: Traces, revealed: bool) -> list[dict[str, Any]]:
    """For each series and signal where it picks; scores and regret only when they are revealed."""
    found = []
    for series in dict.fromkeys(row["series"] for row in rows):
        own = [known[row["run"]] for row in rows if row["series"] == series and row["run"] in known]
        for signal, title in tracing.SIGNALS.items():
            picks = [pick for trace in own if (pick := tracing.picked(trace, signal)) is not None]
            if not picks:
                continue
            row = {"series": series, "signal": title, "n": len(picks), "step": int(median(one.step for one in picks))}
            if revealed:
                row |= {name: fmean(getattr(one, name) for one in picks) for name in ("score", "best", "regret")}
                row["most"] = max(one.regret for one in picks)
            found.append(row)
    return found
