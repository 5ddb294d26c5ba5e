"""Runs: all of them, found, compared, described, begun again, taken home, thrown away and brought back."""

from __future__ import annotations

import streamlit as st

from dfkd_core.store import orphans_in, remove_orphans, runs_folder
from dfkd_core.study.tables import plural
from pages.ui import exchange, link, look
from pages.ui.run import steering
from pages.ui.runs import as_text, chosen, listing, overlay


def main() -> None:
    """One script run of the page."""
    runs = runs_folder()
    heading = st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute")
    entries = listing.all_of(runs)
    with heading:
        st.subheader(f"Runs · {len(entries):,}" if entries else "Runs")
        with st.container(horizontal=True, width="content"):
            chosen.trash(runs)
            exchange.offer_import()
    _orphans({entry.id for entry in entries})
    chosen.undo()
    if not entries:
        st.info(f"No runs in {link.plain(runs)} yet. Go to Distill and press Start.")
        return
    found = listing.shown(entries)
    said = f"{len(found):,} of {plural(len(entries), 'run')}" if len(found) < len(entries) else ""
    cut = f"the first {listing.MOST:,} are shown, in this order" if len(found) > listing.MOST else ""
    if said or cut:
        st.caption("; ".join(filter(None, [said, cut])) + ".")
    ticked, rows = listing.table(found, entries)
    as_text.offer(rows)
    if not ticked:
        st.caption("Tick one run to open it, several to lay their curves over each other.")
        return
    with steering.said():
        chosen.actions(ticked, entries)
        overlay.show(ticked)
        overlay.differ(ticked)


def _orphans(known: set[str]) -> None:
    """What starts that were killed have left, with a button that removes it. ``known``: ids of runs."""
    if found := orphans_in(runs_folder(), known):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption(f"{plural(len(found), 'start')} killed before anything was written down.")
            st.button("Remove", key="orphans", on_click=remove_orphans, args=(runs_folder(),))


look.through_app("pages/runs.py")
main()
