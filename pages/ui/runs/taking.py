"""Chosen runs taken home: a popover with the formats that there are of them."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from dfkd_core.analysis import student
from dfkd_core.analysis.formats import FORMATS, make
from dfkd_core.analysis.index import Entry
from dfkd_core.errors import RequestError, StoreError
from dfkd_core.store import RunFolder
from pages.ui import command, exchange, link

ZIP = "zip"


def offer(chosen: Sequence[Entry]) -> None:
    """The popover; what takes seconds is made first, in a process of its own, and then saved."""
    folders = [entry.folder for entry in chosen]
    kinds = [kind for kind, known in FORMATS.items() if len(folders) == 1 or known.many]
    kinds = kinds if all(entry.spec for entry in chosen) else []
    titles = {ZIP: "All of it, for another lab (ZIP)"} | {kind: FORMATS[kind].title for kind in kinds}
    with st.popover("Export", icon=":material/download:"):
        offered = list(titles) if len(folders) == 1 else kinds
        if not offered:
            st.caption("Nothing of these runs can be read.")
            return
        kind = st.selectbox("As", offered, format_func=titles.__getitem__, key="runs:as", width=340)
        if kind == ZIP:
            st.caption(exchange.HELP)
            exchange.offer_export(folders[0])
            return
        st.caption(FORMATS[kind].what)
        if FORMATS[kind].loads and not folders[0].files.exists(student.WEIGHTS):
            st.caption("There is no student yet: it is kept when the run is done.")
            return
        try:
            if FORMATS[kind].quick:
                _save(kind, folders, make(kind, folders))
            else:
                _made(kind, folders)
        except (RequestError, StoreError) as error:
            st.error(link.plain(error))


def _save(kind: str, folders: list[RunFolder], data: bytes) -> None:
    name = FORMATS[kind].name(folders)
    st.download_button(
        f"Save {FORMATS[kind].ending.rpartition('.')[2].upper()}", data, name, icon=":material/download:",
        type="primary", key=f"runs:save:{kind}", on_click="ignore",
    )  # fmt: skip
    if FORMATS[kind].loads:
        st.caption("It is loaded so:")
        try:
            st.code(student.snippet(folders[0], FORMATS[kind].loads), language="python")
        except (RequestError, StoreError) as error:
            st.caption(link.plain(error))


def _made(kind: str, folders: list[RunFolder]) -> None:
    statuses = [folder.status() for folder in folders]  # a run that goes on is another file in a minute
    asked = (kind, *(f"{one.id} {now.state} {now.step}" for one, now in zip(folders, statuses, strict=True)))
    kept: tuple[tuple[str, ...], bytes] = st.session_state.get("runs:made", ((), b""))
    if kept[0] == asked:
        _save(kind, folders, kept[1])
        return
    if not st.button("Make the file", key="runs:make", type="primary"):
        return
    with st.spinner("Making it", show_time=True):
        st.session_state["runs:made"] = (asked, by_command(kind, folders))
    st.rerun()


def by_command(kind: str, folders: list[RunFolder]) -> bytes:
    """What ``python -m dfkd_core export`` makes, which may import what a server should not. Raises ``RequestError``
    with its sentence."""
    if len(folders) > 1:
        return make(kind, folders)
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "made"
        words = ["export", folders[0].id, str(file), "--as", kind, "--runs", str(folders[0].path.parent.absolute())]
        if (said := command.carry_out(*words, field="as", value=kind)).status:
            raise StoreError(said.sentence)
        return file.read_bytes()
