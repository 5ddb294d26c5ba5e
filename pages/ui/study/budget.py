"""Runs compared when each has used up the same: as far as all came, or an amount that somebody asks for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import streamlit as st

from dfkd_core.study import traces as tracing
from dfkd_core.study.tables import plural
from pages.ui import link, linked

MOST = 1e12  # of anything
NAMED = 6  # runs that are missing


def asked() -> tuple[Any, float | None]:
    """The axis, empty for the end of each run, and how much of it; None for as far as all came. Both stand in the
    address."""
    ends = {"": "at the end of each run", **{str(name): f"at equal {title}" for name, title in tracing.AXES.items()}}
    key = "grid:at"
    linked_to = key not in st.session_state
    st.session_state.setdefault(key, linked.one_of("at", get_args(tracing.Axis)))
    axis: Any = st.selectbox(
        "Compared", list(ends), format_func=ends.__getitem__, key=key, width=180, label_visibility="collapsed"
    )
    link.say("at", axis)
    if not axis:
        link.say("budget", "")
        return axis, None
    amounts = f"grid:budget:{axis}"  # 300 steps are not 300 seconds
    st.session_state.setdefault(amounts, linked.number_of("budget", 0, MOST) if linked_to else None)
    amount = st.number_input(
        f"How many {tracing.AXES[axis]}", 0.0, MOST, None, format="%g", key=amounts, width=180,
        placeholder="as far as all came", label_visibility="collapsed",
        help=f"How many {tracing.AXES[axis]} each run may use up; what did not come so far is missing then.",
    )  # fmt: skip
    link.say("budget", f"{amount:.12g}" if amount else "")
    return axis, amount or None


def at(
    said: tuple[Any, float | None], rows: list[dict[str, Any]], known: dict[str, tracing.Trace]
) -> tuple[list[dict[str, Any]], str, str]:
    """Rows at what was ``asked``, what that is in words, and which runs did not come so far or could not be read."""
    axis, amount = said
    done = sum(row["final"] is not None for row in rows)
    if not axis or not done:
        return rows, "", ""
    budget = amount or tracing.common_budget(known.values(), axis)
    if not budget:
        return rows, f"{tracing.AXES[axis]} were not logged by all runs", ""
    how = "" if amount else ", as far as all came"
    found = tracing.at_budget(rows, known, axis, budget)
    short = [row for row in found if row["state"] == "short"]
    late, unread = [row for row in short if row["run"] in known], [row for row in short if row["run"] not in known]
    missing = [_missing(late, done, "did not come so far"), _missing(unread, done, "could not be read")]
    return found, f"at {budget:,.0f} {tracing.AXES[axis]}{how}", " ".join(filter(None, missing))


def _missing(rows: Sequence[dict[str, Any]], total: int, why: str) -> str:
    if not rows:
        return ""
    names = [f"{row['series']} from {Path(row['teacher']).stem}, seed {row['seed']}" for row in rows[:NAMED]]
    more = f"; and {len(rows) - NAMED} more" if len(rows) > NAMED else ""
    head = f"{len(rows)} of {plural(total, 'run')} {why}, and {'is' if len(rows) == 1 else 'are'} missing here"
    return f"{head}: {'; '.join(names)}{more}."
