"""Bringing a teacher: what a file turned out to be, how good it is, and then its name.

The file is read by ``python -m dfkd_core teacher import`` in a process of its own, into a folder of its own; only what
somebody has looked at and named comes among the teachers.
"""

from __future__ import annotations

import re
import shlex
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st

from dfkd_core.data.catalogue import BENCHMARKS
from dfkd_core.errors import RequestError
from dfkd_core.networks.classifiers import title_of
from dfkd_core.teachers.cards import TeacherCard, proposed_name, read_card, user_folder
from dfkd_core.teachers.trusted import HOW_TO_TRUST
from pages.ui import command, link, look
from pages.ui.teachers import zoo

FOUND_OUT, LOOKED_AT = "found out from the file", "looked-at"
ABOUT_IMAGES = {
    "mean": ("Mean", "Per channel, of pixels from 0 to 1: 0.49,0.48,0.45."),
    "std": ("Std", "The same of their standard deviation."),
    "size": ("Size", "Side of its images in pixels."),
    "channels": ("Channels", "Of its images."),
    "classes": ("Classes", "Their names between commas, in its order; or how many."),
}
TRUSTED = ["python", "-m", "dfkd_core", "teacher", "import", "--trust"]
ABOUT = """
- **Weights**: safetensors, or a checkpoint that torch.save wrote; nothing in it is executed. Layer names of
  torchvision, timm and the usual CIFAR repositories are known.
- **ONNX**: a program of which methods see the answers alone, so that those remain which only ask.
- **A program of torch.export**, which is code, or a larger file: on the command line,
  `python -m dfkd_core teacher import FILE --benchmark NAME --name NAME`.
"""


@dataclass
class Looked:
    """A file that was looked at, as it lies in a folder of its own until it is registered."""

    asked: tuple[Any, ...]
    place: tempfile.TemporaryDirectory[str]
    card: TeacherCard


def show() -> None:
    """File, what it is for, what it turned out to be, and its name."""
    st.markdown("##### A network of your own, as public repositories save and name it")
    st.caption(ABOUT)
    given = st.file_uploader("File", key="bring:file")
    with look.labelled("bring"):
        names = [*BENCHMARKS, "folder"]
        benchmark = st.selectbox("Benchmark", names, key="bring:benchmark", width=190, format_func=_title)
        if benchmark == "folder":
            path = st.text_input("Folder with a subfolder for each class", key="bring:folder", width=320)
            benchmark = f"folder:{path}"
        network = st.text_input(
            "Network",
            key="bring:network",
            placeholder=FOUND_OUT,
            width=230,
            help="As `python -m dfkd_core networks` names them.",
        )
        part = st.text_input("Part", key="bring:part", width=150, help="Which of several networks in the file.")
    with st.expander("What its images are like, if not as the benchmark's", icon=":material/image:"):
        columns = st.columns(len(ABOUT_IMAGES))
        said = {}
        for column, (name, (label, help)) in zip(columns, ABOUT_IMAGES.items(), strict=True):
            said[name] = column.text_input(label, key=f"bring:{name}", help=help)
    if given is None:
        return
    flags: dict[str, str | None] = {"benchmark": benchmark, "network": network, "part": part, **said}
    asked = (given.file_id, *flags.values())
    if st.button("Look at it", type="primary", key="bring:look", icon=":material/search:"):
        st.session_state.pop("bring:looked", None)
        with st.spinner("Reading the file, and trying it on test images", show_time=True):
            try:
                st.session_state["bring:looked"] = _look(asked, given.name, given.getvalue(), flags)
            except RequestError as error:
                st.error(link.plain(error))
                if HOW_TO_TRUST in str(error):
                    named = ["--benchmark", benchmark, "--name", proposed_name(Path(given.name).stem)]
                    st.code(shlex.join([*TRUSTED, given.name, *named]), language="sh")
    looked: Looked | None = st.session_state.get("bring:looked")
    if looked is not None and looked.asked == asked:
        _found(looked, given.name)


def _title(name: str) -> str:
    return BENCHMARKS[name].title if name in BENCHMARKS else "a folder of images"


def _look(asked: tuple[Any, ...], name: str, data: bytes, flags: dict[str, str | None]) -> Looked:
    """What ``teacher import`` makes of it. Raises ``RequestError`` with its sentence."""
    place = tempfile.TemporaryDirectory(prefix="dfkd-bring-")
    suffix = Path(name).suffix if re.fullmatch(r"\.\w{1,12}", Path(name).suffix) else ""
    file = Path(place.name) / f"weights{suffix}"
    file.write_bytes(data)
    words = [part for flag, value in flags.items() if value for part in (f"--{flag}", value)]
    words = ["teacher", "import", str(file), "--name", LOOKED_AT, "--to", place.name, *words]
    said = command.carry_out(*words, field="weights", value=name)
    file.unlink()
    if said.status:
        field, found, expected = said.sentence.partition(": ")
        raise RequestError("weights", name, expected if found and field.startswith("weights") else said.sentence)
    return Looked(asked, place, read_card(Path(place.name) / f"{LOOKED_AT}.json"))


def _found(looked: Looked, name: str) -> None:
    """What it turned out to be."""
    card, image = looked.card, looked.card.image
    with st.container(border=True):
        st.markdown(f"**{link.name(name)}**: {link.name(title_of(card.network))}")
        st.caption(link.plain(card.origin.replace(f"weights{Path(name).suffix}, ", "")))
        known = zoo.facts(card)
        with st.container(horizontal=True):
            if card.accuracy is not None:
                st.metric("Accuracy on test images", f"{card.accuracy:.2%}", width="content")
            st.metric("Images", f"{image.channels} × {image.size} × {image.size}", width="content")
            st.metric("Classes", len(image.classes), width="content")
            if known is not None:
                st.metric("Parameters", f"{known.parameters:,}", width="content")
                st.metric("BatchNorm layers", known.batch_norm, width="content")
        zoo.inside(card, known)
        if card.accuracy is None:
            st.info("Its test images are not here, so nobody can say how good it is.")
        for doubt in card.doubts:
            st.warning(link.plain(doubt), icon=":material/warning:")
        with st.container(horizontal=True, vertical_alignment="bottom"):
            proposed = proposed_name(card.benchmark, card.network)
            called = st.text_input("Name", key="bring:name", width=280, placeholder=proposed)
            if st.button("Register", type="primary", key="bring:register", icon=":material/add:"):
                _register(looked, called or proposed)


def _register(looked: Looked, name: str) -> None:
    from dfkd_core.teachers.bring import register

    try:
        card = register(Path(looked.place.name) / f"{LOOKED_AT}.json", name, user_folder())
    except RequestError as error:
        st.error(link.plain(error))
        return
    st.session_state.pop("bring:looked", None)
    shutil.rmtree(looked.place.name, ignore_errors=True)
    st.toast(f"{link.name(card.name)} is among the teachers.", icon=":material/school:")
    st.session_state.pop("teachers:view", None)
    link.say("view", "")
    link.say("teacher", card.name)
    st.rerun()
