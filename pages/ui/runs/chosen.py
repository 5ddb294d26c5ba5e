"""What can be done with the runs that are chosen: opened, begun again, described, taken home, thrown away."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from dfkd_core.analysis import about
from dfkd_core.analysis.finding import configurations
from dfkd_core.analysis.index import Entry
from dfkd_core.errors import RequestError, StoreError, capitalised, in_words
from dfkd_core.runs.spec import RunSpec, read_spec
from dfkd_core.store import empty_trash, restore, runs_folder, throw_away, thrown_away
from dfkd_core.study import studies_with
from dfkd_core.study.tables import plural
from pages.ui import boot, link
from pages.ui.run import steering
from pages.ui.runs import listing, taking

MOST_SEEDS = 20  # that are begun at once


def actions(chosen: Sequence[Entry], entries: Sequence[Entry]) -> None:
    """A row of buttons."""
    with st.container(horizontal=True, gap="small"):
        if len(chosen) == 1:
            _open(chosen[0])
        _again(chosen, entries)
        _describe(chosen)
        taking.offer(chosen)
        runs = plural(len(chosen), "run")
        st.button(
            "Delete",
            icon=":material/delete:",
            key="runs:delete",
            help=f"Into the trash, out of which {runs} can be taken again.",
            on_click=_delete,
            args=(chosen,),
        )


def _open(entry: Entry) -> None:
    """Buttons to the pages that show this run."""
    generative = steering.is_generative(entry.folder)
    title, page = ("Generative", "pages/generative.py") if generative else ("Distill", "pages/distill.py")
    if st.button(f"Open in {title}", type="primary", icon=":material/open_in_full:"):
        st.switch_page(page, query_params={"run": entry.id})
    if not generative and st.button("Open in Inspect", icon=":material/search:"):
        st.switch_page("pages/inspect.py", query_params={"run": entry.id})


# --- once more -------------------------------------------------------------------------------------------------


def _again(chosen: Sequence[Entry], entries: Sequence[Entry]) -> None:
    whole = [entry for entry in chosen if entry.spec]
    with st.popover("Again", icon=":material/replay:", disabled=not whole):
        groups = configurations(whole)
        st.caption(f"{plural(len(groups), 'configuration')} once more, with seeds that were not used yet.")
        seeds = int(st.number_input("More seeds of each", 1, MOST_SEEDS, 1, key="runs:seeds", width=180))
        total = plural(len(groups) * seeds, "run")
        if st.button(f"Start {total}", type="primary", key="runs:again", icon=":material/play_arrow:"):
            _begin([group[0] for group in groups], seeds, entries)


def _begin(firsts: list[Entry], seeds: int, entries: Sequence[Entry]) -> None:
    booted = boot.start()
    with st.spinner("Starting"):
        booted.begin().ready.wait(60)
    if booted.engine is None:
        st.error(link.plain(booted.error or "The engine is still starting. Try again in a moment."))
        return
    from dfkd_core.runs.request import make_spec

    try:
        specs = []
        for first in firsts:
            spec = read_spec(first.folder)
            fields = {name: getattr(spec, name) for name in ("method", *RunSpec.asked_fields())}
            same = next(group for group in configurations(entries) if first in group)
            begin = 1 + max(entry.values["seed"] for entry in same)
            specs += [make_spec(spec.config, **{**fields, "seed": begin + more}) for more in range(seeds)]
        begun = [booted.engine.submit(spec) for spec in specs]
    except (OSError, RequestError, StoreError) as error:
        st.error(link.plain(in_words(error)))
        return
    listing.choose_anew([*filter(None, link.word("chosen").split(",")), *begun])
    st.rerun()


# --- words -----------------------------------------------------------------------------------------------------


def _describe(chosen: Sequence[Entry]) -> None:
    """Name, group, tags and note; of several runs what they are to share."""
    several = len(chosen) > 1
    with st.popover("Describe", icon=":material/label:"), st.form("runs:describe", border=False):
        said = chosen[0].about
        which = "-".join(entry.id for entry in chosen)[:200]
        name = "" if several else st.text_input("Name", said.name, key=f"runs:name:{which}", max_chars=about.LONGEST)
        group = st.text_input(
            "Group", "" if several else said.group, key=f"runs:group:{which}", max_chars=about.LONGEST
        )
        tags = st.text_input(
            "Tags, between commas" if not several else "More tags, between commas",
            "" if several else ", ".join(said.tags),
            key=f"runs:tags:{which}",
        )
        note = "" if several else st.text_area("Note", said.note, key=f"runs:note:{which}", max_chars=5000)
        if not st.form_submit_button("Keep", type="primary", key="runs:keep"):
            return
        words = tuple(dict.fromkeys(word.strip() for word in (tags or "").split(",") if word.strip()))
        try:
            for entry in chosen:
                if several:
                    more = {"tags": tuple(dict.fromkeys([*entry.about.tags, *words]))}
                    about.say(entry.folder, **more, **({"group": group} if group else {}))
                else:
                    about.say(entry.folder, name=name, group=group, tags=words, note=note)
        except (OSError, RequestError, StoreError) as error:
            st.error(link.plain(in_words(error)))
            return
        st.rerun()


# --- the trash -------------------------------------------------------------------------------------------------


def _delete(chosen: Sequence[Entry]) -> None:
    gone = []
    try:
        for entry in chosen:
            throw_away(entry.folder)
            gone.append(entry.id)
    except StoreError as error:
        st.session_state["runs:problem"] = in_words(error)
    st.session_state["runs:deleted"] = gone
    st.session_state["runs:missed"] = [study.title for study in studies_with(runs_folder(), gone)] if gone else []
    listing.choose_anew([entry.id for entry in chosen if entry.id not in gone])


def undo() -> None:
    """What was deleted just now, with a button that takes it back."""
    if problem := st.session_state.pop("runs:problem", ""):
        st.error(link.plain(f"{capitalised(problem)}."))
    if deleted := st.session_state.get("runs:deleted"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption(f"{plural(len(deleted), 'run')} put into the trash." + _missed())
            if st.button("Undo", icon=":material/undo:", key="runs:undo"):
                _restore(deleted)


def _missed() -> str:
    """What studies lose of which these runs were cells."""
    titles = [link.name(title) for title in st.session_state.get("runs:missed", [])]
    if not titles:
        return ""
    of = f"“{titles[0]}”" if len(titles) == 1 else f"{len(titles)} studies"
    return f" Cells of {of}: figures stay in its table, curves and images do not."


def trash(runs: Path) -> None:
    """A popover with what was deleted; nothing while that is nothing."""
    found = thrown_away(runs)
    if not found:
        st.session_state.pop("runs:deleted", None)
        return
    with st.popover(f"Trash ({len(found)})", icon=":material/delete:"):
        ids = st.multiselect(
            "Runs in the trash", [folder.id for folder in found], key="runs:trashed", format_func=link.legible
        )
        with st.container(horizontal=True):
            if st.button("Restore", key="runs:restore", disabled=not ids, icon=":material/undo:"):
                _restore(ids)
            sure = st.checkbox("for good", key="runs:sure", help="What is emptied cannot be taken back.")
            st.button("Empty", key="runs:empty", disabled=not sure, on_click=empty_trash, args=(runs,))


def _restore(ids: Sequence[str]) -> None:
    try:
        for one in ids:
            restore(runs_folder(), one)
    except StoreError as error:
        st.session_state["runs:problem"] = in_words(error)
    st.session_state.pop("runs:deleted", None)
    listing.choose_anew(ids)
    st.rerun()
