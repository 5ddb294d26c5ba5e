"""Chosen runs laid over each other: curves, with bands over seeds, and what differs between their configurations."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from dfkd_core.analysis.bands import band, smoothed
from dfkd_core.analysis.finding import configurations, differences
from dfkd_core.analysis.index import Entry
from dfkd_core.analysis.svg import PALETTE
from dfkd_core.analysis.timeline import Timeline
from dfkd_core.quality.score import DISTANCES
from pages.ui import boot, link, linked, look
from pages.ui.runs import listing

USUAL = ("accuracy", "fid", "mismatch")
DASHES = ("solid", "dot", "dash", "dashdot")
NAMED = 3  # of what differs, in a legend
MANY = 40  # lines of which each is drawn by itself


def timelines(chosen: Sequence[Entry]) -> dict[str, Timeline]:
    """By id, as they are now."""
    found = {entry.id: boot.timeline(str(entry.folder.path)) for entry in chosen}
    for timeline in found.values():
        timeline.update()
    return found


def show(chosen: Sequence[Entry]) -> None:
    """The curves of one metric."""
    known = timelines(chosen)
    names = sorted({name for timeline in known.values() for name in timeline.curves})
    if not names:
        st.info("These runs have no rows yet.")
        return
    usual = next((name for name in USUAL if name in names), names[0])
    if st.session_state.get("runs:metric", "") not in names:
        asked = "" if "runs:metric" in st.session_state else linked.one_of("metric", names)
        st.session_state["runs:metric"] = asked or usual
    groups = configurations(chosen)
    seeds = any(len(group) > 1 for group in groups)
    with look.labelled("curves"):
        metric = st.selectbox("Metric", names, key="runs:metric", width=300)
        link.say("metric", metric if metric != usual else "")
        st.session_state.setdefault("runs:bands", linked.one_of("bands", ("off",)) != "off")
        bands = seeds and st.toggle(
            "Seeds as a band",
            key="runs:bands",
            help="Mean over the seeds of one configuration, from the least to the greatest.",
        )
        log = st.toggle("Logarithmic", key="runs:log")
        smooth = st.number_input(
            "Smooth", 0.0, 0.99, 0.0, 0.1, key="runs:smooth", width=130,
            help="An exponential moving average; the raw curve stays behind it, faint.",
        )  # fmt: skip
    link.say("bands", "off" if seeds and not bands else "")
    figure = _figure(groups if bands else [[entry] for entry in chosen], known, metric, smooth)
    figure.update_layout(
        height=420,
        margin={"l": 50, "r": 10, "t": 10, "b": 40},
        xaxis_title="training step",
        yaxis_title=metric.replace("_", " ") + (", lower is better" if metric in DISTANCES else ""),
        yaxis_type="log" if log else "linear",
        legend={"orientation": "h", "y": -0.2},
        hovermode="x unified" if len(figure.data) <= MANY else "closest",
    )
    st.plotly_chart(figure, key=f"overlay-{metric}")


def _figure(groups: list[list[Entry]], known: dict[str, Timeline], metric: str, smooth: float) -> go.Figure:
    figure, names = go.Figure(), _labels(groups)
    for index, group in enumerate(groups):
        curves = [known[entry.id].curves[metric] for entry in group if metric in known[entry.id].curves]
        if not curves:
            continue
        colour, name = PALETTE[index % len(PALETTE)], html.escape(names[index])  # plotly takes some tags
        line = {"color": colour, "dash": DASHES[index // len(PALETTE) % len(DASHES)]}
        if len(curves) == 1:
            curve = curves[0].thinned()
            _line(figure, curve["x"], curve["y"], smooth, name=name, line=line)
            continue
        drawn = band(curves)
        x = [*drawn.steps, *drawn.steps[::-1]]
        y = [*drawn.high, *drawn.low[::-1]]
        shade: dict[str, Any] = {"fill": "toself", "fillcolor": _faint(colour), "line": {"width": 0}}
        figure.add_scatter(x=x, y=y, mode="lines", showlegend=False, hoverinfo="skip", legendgroup=str(index), **shade)
        title = f"{name} · {drawn.seeds} seeds"
        _line(figure, drawn.steps, drawn.mean, smooth, name=title, line=line, legendgroup=str(index))
    return figure


def _line(figure: go.Figure, x: Any, y: Any, smooth: float, **look: Any) -> None:
    """A curve; smoothed, the raw one stays behind it."""
    if smooth:
        figure.add_scatter(x=x, y=y, mode="lines", opacity=0.25, showlegend=False, hoverinfo="skip", line=look["line"])
        y = smoothed(y, smooth)
    figure.add_scatter(x=x, y=y, mode="lines", **look)


def _faint(colour: str) -> str:
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.2)"


def _labels(groups: list[list[Entry]]) -> list[str]:
    """What tells each from the others; a run by its name or id where only the seed does."""
    differ = [name for name in differences([group[0] for group in groups]) if name != "seed"][:NAMED]
    labels = []
    for group in groups:
        first, values = group[0], group[0].values
        told = [f"{values.get(name)}" if name in listing.FILTERS else f"{name} {values.get(name)}" for name in differ]
        what = ", ".join(told or [str(values.get("method", ""))])
        alone = [] if len(group) > 1 else [first.title, f"seed {values.get('seed')}"]
        labels.append(link.legible(" · ".join([*alone[:1], what, *alone[1:]])))
    return labels


def differ(chosen: Sequence[Entry]) -> None:
    """What differs between the configurations of the runs, a row each."""
    found = differences(chosen)
    if len(chosen) < 2:
        return
    if not found:
        st.caption("These runs have one configuration and one seed.")
        return
    with st.expander(
        f"What differs: {', '.join(map(listing.in_words, found))}"[:160], icon=":material/compare_arrows:"
    ):
        rows = pd.DataFrame(
            [["–" if value is None else str(value) for value in values] for values in found.values()],
            index=pd.Index(map(listing.in_words, found), name="setting"),
            columns=_unique([link.legible(entry.title) for entry in chosen]),
        )
        st.dataframe(link.table(rows))


def _unique(names: list[str]) -> list[str]:
    return [name if names.count(name) == 1 else f"{name} ({index + 1})" for index, name in enumerate(names)]
