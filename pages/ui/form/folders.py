"""What the form says of a folder of images by class: how many of each, how folders and classes were matched."""

from __future__ import annotations

import streamlit as st

from dfkd_core.data.catalogue import data_folder, data_in, find_benchmark
from dfkd_core.errors import RequestError
from dfkd_core.teachers.cards import available_teachers
from pages.ui import link

SECONDS = 20  # for which a folder is not listed again


def say(benchmark: str, teacher: str, task: str) -> None:
    """Beside the form, where the benchmark is a folder that has been named; what is doubtful as a warning."""
    card = available_teachers(None, task).get(teacher)
    if card is None or benchmark.removeprefix("folder:").strip() in ("", benchmark):
        return
    try:
        warning, said = _listing(benchmark, card.name, task, str(data_folder()))
    except RequestError as error:
        st.warning(link.plain(error))
        return
    if warning:
        st.warning(link.plain(warning))
    st.caption(link.plain(". ".join(said)))


@st.cache_data(show_spinner=False, ttl=SECONDS, max_entries=64)
def _listing(benchmark: str, teacher: str, task: str, data: str) -> tuple[str, list[str]]:
    """The warning, and what else is to be said. Raises ``RequestError``."""
    with data_in(data):
        found = find_benchmark(benchmark, available_teachers(None, task)[teacher].image.spec())
        listing = found.listing(train=False)
    if listing is None:
        return "", []
    said = listing.words(f"{found.title}, test", found.image.classes)
    return listing.warning, [line for line in said if line != listing.warning]
