"""The form's group for methods that collect: where the images come from, how many, and how they are chosen."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import PurePath
from typing import Any, get_args

import streamlit as st

from dfkd_core.data.catalogue import BENCHMARKS, Benchmark, data_folder, data_in, find_benchmark, usual_of
from dfkd_core.data.sources import (
    Folder,
    available_sources,
    check_collected,
    find_source,
    usual_ratio,
    usual_source,
    wanted,
)
from dfkd_core.data.uploads import unpack, uploaded, uploads
from dfkd_core.errors import RequestError
from dfkd_core.runs.request import why_not_data_free
from dfkd_core.runs.spec import RunSpec
from dfkd_core.teachers.cards import available_teachers
from pages.ui import link
from pages.ui.form import download, widgets
from pages.ui.form.address import FOLDER
from pages.ui.words import glossary

UPLOAD = "upload"
NAME, PROBLEM = "form:upload-name", "form:upload-problem"  # of the ZIP that was given last
SECONDS = 20  # for which a folder is not looked through again
LOOKED = 100_000  # files and folders, unasked: a link may name the whole disk
OTHERS = {FOLDER: "Folder of images…", UPLOAD: "Upload a ZIP…"}


def choose(benchmark: str, teacher: str) -> dict[str, Any]:
    """Draw the group, and return the fields of the run that it says."""
    source = _source(benchmark)
    if source in BENCHMARKS and not BENCHMARKS[source].is_there():
        download.offer(BENCHMARKS[source], "Fetch it, or collect from elsewhere.")
    ratio = _ratio(benchmark, source)
    ways = list(get_args(RunSpec.model_fields["collecting"].annotation))
    titles = {"random": "At random", "cross-entropy": "Lowest cross-entropy", "confidence": "Confident for their class"}
    collecting = widgets.select("Chosen", "collecting", ways, ways[0], lambda way: titles.get(way, way))
    if not source.endswith(":"):  # it has been named
        with suppress(RequestError):  # a benchmark's folder that is not there: Start says what is wrong
            _say_count(source, find_benchmark(benchmark), ratio)
    insisted = {"not_data_free": True} if _insists(source, teacher, benchmark) else {}
    return {"collected": source, "ratio": ratio, "collecting": collecting, **insisted}


def count(benchmark: str, ratio: float) -> int:
    """How many images ``ratio`` asks for; 0 where nobody can tell, or none are collected."""
    with suppress(RequestError):  # said beside the ratio, or by Start
        return wanted(find_benchmark(benchmark), ratio) if ratio else 0
    return 0


def _insists(source: str, teacher: str, benchmark: str) -> bool:
    """Whether to collect images that are the teacher's own data; asked only where they are."""
    why = ""
    if not source.endswith(":"):
        with suppress(RequestError):  # said beside the count, or by Start
            why = _why_not(source, teacher, benchmark, str(data_folder()))
    if not why:
        return False
    st.warning(link.plain(f"{find_source(source).title} {why}: a run with them is not data-free."))
    label = "Collect them all the same; the run is marked not data-free"
    return st.checkbox(label, key=f"form:insists:{benchmark}:{source}")


@st.cache_data(show_spinner=False, ttl=SECONDS, max_entries=64)
def _why_not(source: str, teacher: str, benchmark: str, data: str) -> str:
    card = available_teachers().get(teacher)
    if card is None:
        return ""
    with data_in(data):
        return why_not_data_free(source, card, find_benchmark(benchmark, card.image.spec()), LOOKED)


def _source(benchmark: str) -> str:
    """The name of the source; without its second part while a folder or an upload is still to be named."""
    usual = usual_source(benchmark)
    named = usual_of(benchmark).source  # may be fetched where it is not there
    titles = {one.name: one.title for one in available_sources() if one.is_there() or one.name == named}
    titles.pop(benchmark, None)  # those are the original images
    titles |= OTHERS
    name = widgets.select("Collected images from", "collected", list(titles), usual, lambda one: titles[one])
    if name == FOLDER:
        path = st.text_input(
            "Folder of images", key="form:collected-folder", placeholder="/path/with/images/at/any/depth"
        )
        return f"folder:{path}"
    if name == UPLOAD:
        help = "PNG, JPEG, BMP, WebP or TIFF images at any depth; folder names and labels are not kept."
        st.file_uploader("ZIP of images", "zip", key="zip", on_change=_unpack, help=help)
        if problem := st.session_state.get(PROBLEM):
            st.error(link.plain(problem))
        return f"upload:{st.session_state.get(NAME, '')}"  # none of that name: Start says so
    return name


def _unpack() -> None:
    """What was uploaded becomes the source, or a sentence says why not."""
    st.session_state.update({NAME: "", PROBLEM: ""})
    file = st.session_state["zip"]
    if file is None:
        return
    try:
        name = _free_name(file.name)
        unpack(file, name, uploads())
        st.session_state[NAME] = name
    except RequestError as error:
        st.session_state[PROBLEM] = str(error)


def _free_name(file: str) -> str:
    """A folder's name like that of the file, that no upload has yet."""
    stem = re.sub(r"[^A-Za-z0-9]+", "-", PurePath(file).stem).strip("-")[:40] or "images"
    number, name = 1, stem
    while name in uploaded():
        number += 1
        name = f"{stem}-{number}"
    return name


def _ratio(benchmark: str, source: str) -> float:
    """ρ; each benchmark has a usual one of its own, and images that come with the lab are few."""
    usual, key = usual_of(benchmark).ratio, f"form:ratio:{benchmark}"
    with suppress(RequestError):  # a folder that is not there, or has not been named
        usual = usual_ratio(find_source(source), find_benchmark(benchmark))
    given = st.session_state.get("form:asked", {}).pop("ratio", None)
    if key not in st.session_state:
        st.session_state[key] = widgets.parsed("ratio", RunSpec.model_fields["ratio"], given, usual) or usual
    help = glossary.help_of("ratio", f"Collected images per original one: |D_c| / |D_o|. Usual: {usual:g}.")
    return float(
        st.number_input("Ratio (ρ)", 0.0, 20.0, key=key, step=widgets.increment(usual), format="%g", help=help)
    )


def _say_count(source: str, benchmark: Benchmark, ratio: float) -> None:
    """How many images that is, or in one sentence why there are not as many."""
    try:
        count = wanted(benchmark, ratio)
        check_collected(source, benchmark, ratio, looked=LOOKED)
    except RequestError as error:
        st.warning(link.plain(error))
        return
    found = find_source(source)
    skipped = _skipped(source, str(data_folder())) if isinstance(found, Folder) else ""
    more = f" Passed over: {skipped}." if skipped else ""
    st.caption(link.plain(f"{count:,} images of {found.title}; the teacher was trained on "
                          f"{benchmark.original:,}.{more}"))  # fmt: skip


@st.cache_data(show_spinner=False, ttl=SECONDS, max_entries=64)
def _skipped(source: str, data: str) -> str:
    with data_in(data):
        found = find_source(source)
        return found.skipped(LOOKED) if isinstance(found, Folder) else ""
