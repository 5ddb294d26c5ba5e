"""The gradient audit of a method: which of its terms pulls at which network, as it was measured, or measured here."""

from __future__ import annotations

import json
from html import escape
from pathlib import Path
from typing import Any

import streamlit as st

from dfkd_core import methods
from dfkd_core.errors import RequestError
from dfkd_core.teachers.cards import available_teachers
from pages.ui import boot, command, link

SHIPPED = boot.ROOT / "assets" / "gradients.json"
"""Written by ``python -m benchmarks.gradients``: teacher, and what the audit found, by method; digits, ``demo``."""
FIRST, LATER = 3, 20  # steps that are looked at, and steps between; as in what ships
VERDICTS = {
    "alive": "It takes part.",
    "drowned": "Below 1 % of the gradient at its own network, all along: the other terms decide.",
    "dead": "No gradient at all: it does nothing.",
    "leaking": "The student's loss reaches what makes the images; they should be detached.",
    "off": "Its weight is 0, or the teacher has not what it needs.",
}
ABOUT = (
    "Several released programs of this field have terms that do nothing: computed without gradients, averaged away, or "
    "drowned by the others. A loss's curve does not show that; the gradient at the network that it trains does."
)


def show(name: str) -> None:
    """What was found of the method ``name``, and a button that finds it with another teacher."""
    st.caption(ABOUT)
    teachers, usual = _teachers(name)
    chosen, beside = st.columns([3, 2], vertical_alignment="bottom")
    teacher = chosen.selectbox("Teacher", teachers, teachers.index(usual), key=f"methods:audited:{name}")
    examine = beside.button("Examine it here", icon=":material/troubleshoot:", key="audit", help="Half a minute.")
    found = _shipped(name, teacher)
    if examine or (name, teacher) in st.session_state.get("methods:audits", {}):
        found = _measured(name, teacher)
    if found is None:
        st.info("It was not examined with this teacher yet.")
        return
    st.html(_table(name, found))
    for words in found["warnings"]:
        st.warning(link.plain(words))
    used = dict.fromkeys(pull["verdict"] for pull in found["pulls"])
    st.caption("  \n".join(f"**{verdict}**: {VERDICTS[verdict]}" for verdict in VERDICTS if verdict in used))
    st.caption(
        f"Digits, preset `demo`, seed 0 · `python -m dfkd_core audit {name} --teacher {teacher} --later {LATER}`"
    )


def _teachers(name: str) -> tuple[list[str], str]:
    """Those of digits that it can have, and the one that it was examined with."""
    teachers = list(available_teachers("digits", methods.find(name).requires.task))
    usual = _read(SHIPPED).get(name, {}).get("teacher")
    return teachers, usual if usual in teachers else teachers[0]


# --- what was found --------------------------------------------------------------------------------------------


def _shipped(name: str, teacher: str) -> dict[str, Any] | None:
    known = _read(SHIPPED).get(name, {})
    return known["found"] if known.get("teacher") == teacher else None


@st.cache_data(show_spinner=False)
def _read(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text())) if path.is_file() else {}


def _measured(name: str, teacher: str) -> dict[str, Any] | None:
    """By the command, in a process of its own; kept for as long as the visitor stays."""
    kept = st.session_state.setdefault("methods:audits", {})
    if (name, teacher) not in kept:
        steps = ["--steps", str(FIRST), "--later", str(LATER)]
        words = ["audit", name, "--teacher", teacher, *steps, "--json"]
        with st.spinner("Training its first steps, and looking at every loss", show_time=True):
            try:
                said = command.carry_out(*words, field="method", value=name)
            except RequestError as error:
                st.error(link.plain(error))
                return None
        if not said.out.strip():  # its status tells of terms that are dead, too
            st.error(link.plain(said.sentence))
            return None
        kept[name, teacher] = json.loads(said.out)
    return dict(kept[name, teacher])


# --- as a table ------------------------------------------------------------------------------------------------


def _table(name: str, found: dict[str, Any]) -> str:
    titles = {term.name: term.title for term in methods.find(name).terms}
    staged = len({pull["stage"] for pull in found["pulls"] if pull["stage"]}) > 1
    heads = [*(["Stage"] if staged else []), "Term", "Pulls at", "At the start", "Later", ""]
    head = "".join(f'<th scope="col">{one}</th>' for one in heads)
    rows = "".join(_row(pull, titles, staged) for pull in found["pulls"])
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    return f'<div class="methods-page audit">{table}</div>'


def _row(pull: dict[str, Any], titles: dict[str, str], staged: bool) -> str:
    title = titles.get(pull["term"], pull["term"].replace("_", " "))
    stage = f"<td>{escape(pull['stage'].replace('_', ' '))}</td>" if staged else ""
    shares = "".join(_share(pull["share"].get(when), pull["norm"].get(when)) for when in ("start", "later"))
    verdict = pull["verdict"]
    return (
        f'<tr>{stage}<th scope="row">{escape(title)}</th><td>{escape(pull["of"])}</td>{shares}'
        f'<td><span class="verdict {verdict}" title="{VERDICTS[verdict]}">{verdict}</span></td></tr>'
    )


def _share(share: float | None, norm: float | None) -> str:
    """A bar, in per cent of the gradient at that network; its norm where the pointer rests."""
    if share is None or norm is None:
        return "<td>–</td>"
    return f'<td title="norm {norm:.3g}"><i class="bar" style="--share: {share:.4f}"></i>{share:.1%}</td>'
