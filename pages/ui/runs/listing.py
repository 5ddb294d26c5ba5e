"""The table of runs: which are shown, in which order, with which columns, and which of them are chosen.

All of it stands in the address, so that a view of many runs can be sent to somebody.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from dfkd_core.analysis.finding import in_order, matching, names_of
from dfkd_core.analysis.index import Entry, RunIndex
from dfkd_core.errors import RequestError
from dfkd_core.quality.score import DISTANCES
from dfkd_core.runs.spec import NOT_DATA_FREE
from pages.ui import link, linked, look

MOST, OFFERED = 1000, 300  # rows of the table; runs that the box offers by name
ROW, TALLEST = 35, 335  # pixels, of the table
NEWEST = "newest"
FILTERS = ("method", "teacher", "student", "benchmark", "state", "group", "tags")
SHARES = ("final", "best", "teacher_score")  # of students that classify
FIGURES = ("distance", "best_distance", "teacher_distance")  # of those that generate
USUAL = ("name", "state", "damaged", "mark", *SHARES, *FIGURES, "method", "teacher", "student", "seed", "benchmark",
         "preset", "seconds", "progress", "tags", "group", "note")  # fmt: skip
RARE = ("name", "damaged", "mark", *SHARES, *FIGURES, "tags", "group", "note", "seconds")
"""Columns that take no room where no run has anything in them."""
LEFT_OUT = ("run", "not_data_free", "step", "total_steps")  # of what can be a column: it stands in another one
COLUMNS: dict[str, Any] = {
    "run": st.column_config.TextColumn("Run", width="medium"),
    "name": "Name",
    "mark": "Mark",
    "final": st.column_config.ProgressColumn("Final", min_value=0, max_value=1, format="percent"),
    "best": st.column_config.NumberColumn("Best", format="percent"),
    "teacher_score": st.column_config.NumberColumn("Teacher's", format="percent"),
    "distance": st.column_config.NumberColumn("Final ↓", format="%.4g", help="FID, or mismatch: lower is better."),
    "best_distance": st.column_config.NumberColumn("Best ↓", format="%.4g", help="Lower is better."),
    "teacher_distance": st.column_config.NumberColumn("Teacher's ↓", format="%.4g", help="Lower is better."),
    "seconds": st.column_config.NumberColumn("Seconds", format="%.0f"),
}
HELP = (
    "Words that stand in a run's name, note, tags, method, teacher …, and comparisons of any field, knob or result: "
    "`method=dafl`, `seed<3`, `best>90%`, `student_lr=0.05`, `tags=good`. A minus is for what should not be so: "
    "`-state=done`."
)


@st.cache_resource(show_spinner=False, max_entries=8)
def _index(runs: str) -> RunIndex:
    """One for all sessions."""
    return RunIndex(Path(runs))


def all_of(runs: Path) -> list[Entry]:
    """All runs, newest first. A folder that is looked at for the first time takes a while, which is shown."""
    bar = st.empty()

    def show(done: int, of: int) -> None:
        if of > 200 and done % 50 == 0:
            bar.progress(done / of, f"Looking at {of:,} runs for the first time: {done:,}")

    found = _index(str(runs.absolute())).entries(show)
    bar.empty()
    return found


def shown(entries: list[Entry]) -> list[Entry]:
    """Search, filters and order, and what they leave of the runs."""
    with look.labelled("search", gap="small"):
        asked = st.text_input(
            "Search",
            key=_key("search"),
            help=HELP,
            placeholder="dafl resnet8 best>90% seed<3",
            icon=":material/search:",
            live=True,
        )
        by, order = _order(entries)
        found = _filters(entries)
        columns_of(entries)
    try:
        found = matching(found, asked or "")
        link.say("search", asked or "")
    except RequestError as error:
        st.warning(link.plain(error), icon=":material/search_off:")
    if by == NEWEST:
        return found[::-1] if order == "↑" else found
    return in_order(found, by, order == "↓") if by in names_of(found) else found


def _key(name: str) -> str:
    """Of a widget that begins with what the address says."""
    key = f"runs:{name}"
    st.session_state.setdefault(key, link.word(name))
    return key


def _filters(entries: list[Entry]) -> list[Entry]:
    found, on = entries, sum(bool(st.session_state.get(f"runs:filter:{name}")) for name in FILTERS)
    with st.popover(f"Filter ({on})" if on else "Filter", icon=":material/filter_alt:"):
        for name in FILTERS:
            known = sorted({value for entry in entries for value in _values(entry, name)}, key=str)
            key = f"runs:filter:{name}"
            if key not in st.session_state:
                st.session_state[key] = linked.several_of(name, known)
            st.session_state[key] = [value for value in st.session_state[key] if value in known]
            if len(known) < 2 and not st.session_state[key]:
                del st.session_state[key]
                link.say(name, "")
                continue
            chosen = st.multiselect(name.capitalize(), known, key=key, format_func=link.legible)
            link.say_several(name, chosen)
            if chosen:
                found = [entry for entry in found if not set(chosen).isdisjoint(_values(entry, name))]
    return found


def _values(entry: Entry, name: str) -> tuple[str, ...]:
    if name == "tags":
        return entry.about.tags
    value = entry.values.get(name)
    return (str(value),) if value else ()


def _order(entries: list[Entry]) -> tuple[str, str]:
    """By what, and whether the largest comes first."""
    names = [name for name in names_of(entries) if name not in LEFT_OUT]
    st.session_state.setdefault("runs:sort", linked.one_of("sort", names, NEWEST))
    if st.session_state["runs:sort"] not in names:
        st.session_state["runs:sort"] = NEWEST
    st.session_state.setdefault("runs:order", "↑" if linked.one_of("order", ("up", "down")) == "up" else "↓")
    by = st.selectbox("Sort by", [NEWEST, *names], key="runs:sort", format_func=in_words, width=170)
    order = st.segmented_control(
        "Order", ["↓", "↑"], key="runs:order", label_visibility="collapsed", required=True, width="content"
    )
    link.say("sort", by if by != NEWEST else "")
    link.say("order", "up" if order == "↑" else "")
    return by, str(order)


def in_words(name: str) -> str:
    """Of a field or knob, for people."""
    return name.replace("_", " ")


# --- the table -------------------------------------------------------------------------------------------------


def table(entries: list[Entry], all_entries: list[Entry]) -> tuple[list[Entry], pd.DataFrame]:
    """The table with the box above it. Returns the runs that are chosen, by their ids, which the address keeps (a list
    that grows at its top moves none), and what the table shows."""
    by_id = {entry.id: entry for entry in all_entries}
    chosen = linked.several_of("chosen", by_id)
    choose(chosen)
    ids = [entry.id for entry in entries[:MOST]]
    _named(chosen, ids, by_id)
    rows = _table(entries[:MOST])
    with st.container(height=min(TALLEST, ROW * (len(ids) + 1) + 5), border=False):  # kept free while the table comes
        event = st.dataframe(
            rows,
            hide_index=True,
            column_config=COLUMNS | {name: in_words(name).capitalize() for name in rows if name not in COLUMNS},
            placeholder="",
            on_select="rerun",
            selection_mode="multi-row",
            selection_default={"selection": {"rows": [ids.index(one) for one in chosen if one in ids]}},
            key=f"runs:{zlib.crc32(' '.join(ids).encode())}:{st.session_state.get('runs:edition', 0)}",
        )
    kept = [one for one in chosen if one not in ids]  # a search hides what was chosen, and forgets nothing
    ticked = [ids[index] for index in event.selection.rows]
    if set(kept + ticked) != set(chosen):
        choose(kept + ticked)
        st.rerun()  # so that the box names them
    return [by_id[one] for one in chosen], rows


def choose(ids: Sequence[str]) -> None:
    """Have these runs chosen."""
    link.say("chosen", ",".join(ids))


def choose_anew(ids: Sequence[str]) -> None:
    """The same from elsewhere than the table: one of its own has them ticked from the beginning."""
    choose(ids)
    st.session_state["runs:edition"] = st.session_state.get("runs:edition", 0) + 1


def _named(chosen: list[str], ids: list[str], by_id: dict[str, Entry]) -> None:
    """Chosen runs are ticked in the table, which is a picture to whoever does not see it, or named in this box."""
    st.session_state["runs:named"] = chosen
    look.labelled("chosen").multiselect(
        "Chosen runs",
        list(dict.fromkeys([*chosen, *ids[:OFFERED]])),
        key="runs:named",
        format_func=lambda one: _words(by_id[one]),
        placeholder="Name runs here, or tick them in the table",
        on_change=lambda: choose_anew(st.session_state["runs:named"]),
        select_all=False,
    )


def _words(entry: Entry) -> str:
    return link.legible(f"{entry.title} · {entry.fields.get('method', '?')}, {entry.status.state}")


def _table(entries: list[Entry]) -> pd.DataFrame:
    asked = link.several("columns")
    rows = pd.DataFrame([_row(entry, asked) for entry in entries], columns=["run", *(asked or USUAL)])
    empty = [name for name in RARE if name in rows and not asked and _is_empty(rows[name])]
    return link.table(rows.drop(columns=empty))


def _is_empty(column: pd.Series[Any]) -> bool:
    return bool(column.isna().all() or (column == "").all())


def _row(entry: Entry, asked: Sequence[str]) -> dict[str, Any]:
    values, status = dict(entry.values), entry.status
    if status.result.get("measure") in DISTANCES:
        for figure, share in zip(FIGURES, SHARES, strict=True):
            values[figure] = values.pop(share)
    values["progress"] = f"{status.step} / {status.total_steps}"
    values["mark"] = NOT_DATA_FREE if values.get("not_data_free") else None
    values["damaged"] = values["damaged"] or None
    row = {name: values.get(name) for name in ("run", *(asked or USUAL))}
    return {name: str(value) if isinstance(value, list | dict) else value for name, value in row.items()}


def columns_of(entries: list[Entry]) -> None:
    """Which columns the table has."""
    names = [name for name in names_of(entries) if name not in LEFT_OUT]
    offered = list(dict.fromkeys([*USUAL, *names]))
    st.session_state.setdefault("runs:columns", linked.several_of("columns", offered))
    with st.popover("Columns", icon=":material/view_column:"):
        chosen = st.multiselect(
            "Columns",
            offered,
            key="runs:columns",
            format_func=in_words,
            placeholder="The usual ones; or choose any field, knob or result",
        )
    link.say("columns", ",".join(chosen))
