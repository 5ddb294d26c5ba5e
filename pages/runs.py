"""Runs: all of them, laid over each other, opened, taken home as CSV."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from dfkd_core.analysis.export import csv_text
from dfkd_core.analysis.timeline import Timeline
from dfkd_core.errors import StoreError
from dfkd_core.quality.score import DISTANCES
from dfkd_core.runs.spec import NOT_DATA_FREE, read_spec
from dfkd_core.store import LOG, RunFolder, damage, orphans_in, remove_orphans, runs_folder, runs_in
from dfkd_core.study.tables import plural
from pages.ui import boot, exchange, link, look
from pages.ui.run import steering

MOST = 500
ROW, TALLEST = 35, 405  # pixels, of the table
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6BB1", "#999999")
SHARES = ("score", "best", "teacher accuracy")  # of students that classify
FIGURES = ("distance", "best distance", "teacher distance")  # of those that generate
COLUMNS = {
    "run": st.column_config.TextColumn("Run", width="medium"),
    "score": st.column_config.ProgressColumn("Final", min_value=0, max_value=1, format="percent"),
    "best": st.column_config.NumberColumn("Best", format="percent"),
    "teacher accuracy": st.column_config.NumberColumn("Teacher", format="percent"),
    "distance": st.column_config.NumberColumn("Final ↓", format="%.4g", help="FID, or mismatch: lower is better."),
    "best distance": st.column_config.NumberColumn("Best ↓", format="%.4g", help="Lower is better."),
    "teacher distance": st.column_config.NumberColumn("Teacher ↓", format="%.4g", help="Lower is better."),
    "seconds": st.column_config.NumberColumn("Seconds", format="%.0f"),
}


def main() -> None:
    """One script run of the page."""
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.subheader("Runs")
        exchange.offer_import()
    _orphans()
    known = runs_in(runs_folder())
    folders = known[:MOST]
    if not folders:
        st.info(f"No runs in {link.plain(runs_folder())} yet. Go to Distill and press Start.")
        return
    table = link.table(pd.DataFrame([_row(folder) for folder in folders]))
    for kind in (SHARES, FIGURES, ("damaged",), ("mark",)):  # a kind that no run has takes no room
        if table[list(kind)].isna().all(axis=None):
            table = table.drop(columns=list(kind))
    if len(known) > MOST:
        st.caption(f"The newest {MOST} of {len(known):,} runs; `python -m dfkd_core runs` lists them all.")
    chosen = _chosen(table, folders)
    if not chosen:
        st.caption("Tick one run to open it, several to lay their curves over each other.")
        return
    with steering.said():
        _actions(chosen)
        _overlay([(folder, boot.timeline(str(folder.path))) for folder in chosen])


def _orphans() -> None:
    """What starts that were killed have left, with a button that removes it."""
    if found := orphans_in(runs_folder()):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption(f"{plural(len(found), 'start')} killed before anything was written down.")
            st.button("Remove", key="orphans", on_click=remove_orphans, args=(runs_folder(),))


def _chosen(table: pd.DataFrame, folders: list[RunFolder]) -> list[RunFolder]:
    """The runs that are chosen, by their ids, which the address keeps: a list that grows at its top moves none.

    They are ticked in the table, which is a picture to whoever does not see it, or named in the box above.
    """
    ids = [folder.id for folder in folders]
    chosen = [one for one in link.word("chosen").split(",") if one in ids]
    st.session_state["runs:named"] = chosen
    words = {row.run: f"{row.run} · {row.method}, {row.state}" for row in table.itertuples()}
    st.multiselect(
        "Chosen runs",
        ids,
        key="runs:named",
        format_func=lambda one: words[one],
        placeholder="Name runs here, or tick them in the table",
        on_change=_named,
    )
    with st.container(height=min(TALLEST, ROW * (len(ids) + 1) + 5), border=False):  # kept free while the table comes
        event = st.dataframe(
            table,
            hide_index=True,
            column_config=COLUMNS,
            on_select="rerun",
            selection_mode="multi-row",
            selection_default={"selection": {"rows": [ids.index(one) for one in chosen]}},
            key=f"runs:{ids[0]}:{len(ids)}:{st.session_state.get('runs:edition', 0)}",
        )
    ticked = [ids[index] for index in event.selection.rows]
    if set(ticked) != set(chosen):
        _choose(ticked)
        st.rerun()  # so that the box names them
    return [folders[ids.index(one)] for one in chosen]


def _choose(ids: list[str]) -> None:
    if ids:
        st.query_params["chosen"] = ",".join(ids)
    else:
        st.query_params.pop("chosen", None)


def _named() -> None:
    """Runs were named in the box: a table of its own has them ticked from the beginning."""
    _choose(st.session_state["runs:named"])
    st.session_state["runs:edition"] = st.session_state.get("runs:edition", 0) + 1


def _row(folder: RunFolder) -> dict[str, Any]:
    status = folder.status_seen()
    try:
        spec = read_spec(folder).model_dump()
    except StoreError:
        spec = {}
    result = status.result
    scores = [result.get(name) for name in ("final", "best", "teacher")]
    shares, figures = ([None] * 3, scores) if result.get("measure") in DISTANCES else (scores, [None] * 3)
    return {
        "run": folder.id,
        "state": status.state,
        "damaged": _damaged(folder),
        "mark": NOT_DATA_FREE if spec.get("not_data_free") else None,
        **dict(zip(SHARES, shares, strict=True)),
        **dict(zip(FIGURES, figures, strict=True)),
        "measure": result.get("measure"),
        "seconds": result.get("seconds"),
        "method": spec.get("method"),
        "preset": spec.get("preset"),
        "teacher": spec.get("teacher"),
        "student": spec.get("student"),
        "seed": spec.get("seed"),
        "benchmark": spec.get("benchmark"),
        "step": f"{status.step} / {status.total_steps}",
    }


def _damaged(folder: RunFolder) -> str | None:
    try:
        names = [folder.attempt_file(number, LOG) for number in folder.attempts()]
        stamps = tuple(folder.files.changed(name) for name in (*folder.small_files(), *names))
    except (OSError, StoreError) as error:
        return str(error)
    return _damage(str(folder.path), stamps)


@st.cache_data(show_spinner=False, max_entries=2000)
def _damage(path: str, stamps: tuple[int | None, ...]) -> str | None:
    """Where it begins; ``stamps``: when its files were written."""
    return next(iter(damage(RunFolder(Path(path)))), None)


def _actions(chosen: list[RunFolder]) -> None:
    with st.container(horizontal=True):
        if len(chosen) == 1:
            _open(chosen[0])
            exchange.offer_export(chosen[0])
            exchange.offer_weights(chosen[0])
        st.download_button(
            "Metrics as CSV",
            csv_text(_metrics(chosen)),
            file_name="metrics.csv",
            mime="text/csv",
            icon=":material/download:",
        )


def _open(folder: RunFolder) -> None:
    """Buttons to the pages that show this run."""
    generative = steering.is_generative(folder)
    title, page = ("Generative", "pages/generative.py") if generative else ("Distill", "pages/distill.py")
    if st.button(f"Open in {title}", type="primary", icon=":material/open_in_full:"):
        st.switch_page(page, query_params={"run": folder.id})
    if not generative and st.button("Open in Inspect", icon=":material/search:"):
        st.switch_page("pages/inspect.py", query_params={"run": folder.id})


def _metrics(chosen: list[RunFolder]) -> pd.DataFrame:
    """Long format: run, metric, step, value."""
    parts = []
    for folder in chosen:
        timeline = boot.timeline(str(folder.path))
        timeline.update()
        for name, curve in timeline.curves.items():
            parts.append(pd.DataFrame({"run": folder.id, "metric": name, "step": curve.steps, "value": curve.values}))
    return pd.concat(parts) if parts else pd.DataFrame(columns=["run", "metric", "step", "value"])


def _overlay(chosen: list[tuple[RunFolder, Timeline]]) -> None:
    for _, timeline in chosen:
        timeline.update()
    names = sorted({name for _, timeline in chosen for name in timeline.curves})
    if not names:
        st.info("These runs have no rows yet.")
        return
    usual = next((name for name in ("accuracy", "fid", "mismatch") if name in names), names[0])
    if st.session_state.get("runs:metric") not in names:
        st.session_state["runs:metric"] = usual
    metric = st.selectbox("Metric", names, key="runs:metric")
    figure = go.Figure()
    for index, (folder, timeline) in enumerate(chosen):
        if metric in timeline.curves:
            curve = timeline.curves[metric].thinned()
            label = html.escape(link.legible(f"{folder.id} · {read_spec(folder).title}"))  # plotly takes some tags
            line = {"color": PALETTE[index % len(PALETTE)], "dash": "solid" if index < len(PALETTE) else "dot"}
            figure.add_scatter(x=curve["x"], y=curve["y"], name=label, mode="lines", line=line)
    figure.update_layout(
        height=420,
        margin={"l": 50, "r": 10, "t": 10, "b": 40},
        xaxis_title="training step",
        yaxis_title=metric.replace("_", " ") + (", lower is better" if metric in DISTANCES else ""),
        legend={"orientation": "h", "y": -0.2},
        hovermode="x unified",
    )
    st.plotly_chart(figure, key=f"overlay-{metric}")


look.through_app("pages/runs.py")
main()
