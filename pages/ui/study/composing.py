"""A new grid is composed: what it varies, how many runs that makes, what they take; to and from a file."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from typing import Any

import pandas as pd
import streamlit as st
import yaml

from dfkd_core.errors import RequestError, StoreError
from dfkd_core.runs.spec import RunSpec
from dfkd_core.store import runs_folder, runs_in
from dfkd_core.study import file as files
from dfkd_core.study import find
from dfkd_core.study.estimate import Pace, known_paces
from dfkd_core.study.plan import Plan, in_words, plan
from pages.ui import boot, link, look, recordings
from pages.ui.study import beginning, watching

KIND = find("grid")
BOXES = ("teachers", "students", "methods")
REUSE = {"same-code": "of the same code", "any-code": "of any code", "none": "none"}
PENDING = "form:grid:file"  # of the session: a file that fills the form when it is drawn next
PLAIN = {name: RunSpec.model_fields[name].default for name in ("benchmark", "preset", "device")}
"""Fields of a run that have an input, with what a file means that does not say them."""
TRYING = "A few steps of what was never run here tell how long the study takes, and how much disk."
PACES = "grid:paces"  # of the session: what a calibration found
MORE = "# knobs, each and run, as in a file:\n# knobs: {epochs: 12}\n"


def set_up() -> None:
    """The form of a new grid, what it will take, and Start."""
    with st.sidebar:
        if not watching.engine_state():
            return
    _take_file()
    given, wrong = _form()
    found: Plan | None = None
    if not wrong:
        try:
            request = KIND.Request.build(given)
            found = _planned(given, KIND.composed(request).labelled)
        except RequestError as error:
            wrong = str(error)
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button("Start", icon=":material/play_arrow:", type="primary", key="start", disabled=bool(wrong)):
            _begin(given)
        st.markdown(f":material/error: {link.plain(wrong)}" if found is None else _bold(in_words(found)))
        if found is not None and found.unknown and st.button("Try a few steps", key="calibrate", help=TRYING):
            _calibrate(given, found.unknown)
    beginning.say(found.notes if found is not None else [])
    if found is not None and found.refused:
        with st.expander(f"{len(found.refused)} settings cannot be run, and why"):
            rows = [{**one.labels, "why": one.why} for one in found.refused]
            st.dataframe(link.table(pd.DataFrame(rows)), hide_index=True)
    if found is not None:
        _offer_file(given)
    watching.problem()
    watching.list_earlier(KIND)


# --- the form --------------------------------------------------------------------------------------------------


def _form() -> tuple[dict[str, Any], str]:
    """What is asked for, and what is wrong with it."""
    from dfkd_core import methods
    from dfkd_core.data.catalogue import BENCHMARKS
    from dfkd_core.networks.classifiers import students
    from dfkd_core.runs.request import devices
    from dfkd_core.teachers.cards import available_teachers

    known = methods.available()
    with look.labelled("runs"):
        benchmark = _select("Benchmark", "benchmark", {name: one.title for name, one in BENCHMARKS.items()})
        presets = sorted({preset for one in known.values() for preset in one.Config.presets})
        preset = _select("Preset", "preset", {name: name for name in presets}, "demo")
        st.session_state.setdefault("form:grid:seeds", "0, 1, 2")
        seeds = st.text_input("Seeds", key="form:grid:seeds", width=150, help="With commas between; each is one run.")
        device = _select("Device", "device", {name: name for name in devices()}, devices()[-1])
        _open_file()
    cards = available_teachers(benchmark)
    titles = {name: card.title for name, card in cards.items()}
    networks = students(BENCHMARKS[benchmark].image.size)
    of_classifiers = {name: one.title for name, one in known.items() if one.requires.task == "classifier"}
    chosen = {
        "teachers": _several("Teachers", "teachers", titles, "Those of the benchmark; none: the usual one."),
        "students": _several("Students", "students", networks, "None: the benchmark's usual one."),
        "methods": _several("Methods", "methods", of_classifiers, "What is compared.", ["ta-dfkd"]),
    }
    st.session_state.setdefault("form:grid:vary", "")
    vary = st.text_input(
        "Knobs that vary", key="form:grid:vary", placeholder="class_prior_weight=0,0.5,1; student_lr=0.1,0.2",
        help="KNOB=VALUE,VALUE; another=VALUE. Methods without the knob are run once.",
    )  # fmt: skip
    more, wrong = _more()
    run = {"benchmark": benchmark, "preset": preset, **({"device": device} if device != "cpu" else {})}
    given = {**chosen, "seeds": seeds, "vary": vary, **more, "run": {**run, **more.get("run", {})}}
    return {name: value for name, value in given.items() if value not in ("", [], {})}, wrong


def _more() -> tuple[dict[str, Any], str]:
    """What has no input of its own: as it stands in a file."""
    st.session_state.setdefault("form:grid:more", MORE)
    with st.expander("More, as in a file", icon=":material/code:"):
        text = st.text_area("knobs, each, run, devices, title", key="form:grid:more", height=150)
    try:
        said = files.read(text, "More").given if _says_something(text) else {}
    except RequestError as error:
        return {}, str(error)
    for name in said:
        if name not in ("knobs", "each", "run", "devices", "title"):
            return {}, f"{name} has an input of its own above."
    return said, ""


def _says_something(text: str) -> bool:
    return any(line.strip() and not line.lstrip().startswith("#") for line in text.splitlines())


def _select(label: str, name: str, titles: dict[str, Any], usual: str = "") -> str:
    key = f"form:grid:{name}"
    if st.session_state.get(key) not in titles:
        st.session_state[key] = usual if usual in titles else next(iter(titles))
    return st.selectbox(label, list(titles), format_func=lambda one: str(titles[one]), key=key, width=170)


def _several(label: str, name: str, titles: dict[str, str], help: str, usual: Any = ()) -> list[str]:
    """What a file names beside it stays among the options: a path of a card, a network with options."""
    key = f"form:grid:{name}"
    if key not in st.session_state:
        st.session_state[key] = list(usual)
    own = [
        one for one in st.session_state[key] if one not in titles and one in st.session_state.get(f"{key}:filed", ())
    ]
    options = [*titles, *own]
    st.session_state[key] = [one for one in st.session_state[key] if one in options]
    return st.multiselect(
        label, options, key=key, help=help, format_func=lambda one: link.legible(titles.get(one, one)),
        placeholder="" if usual else "The benchmark's usual one",
    )  # fmt: skip


# --- files -----------------------------------------------------------------------------------------------------


def _open_file() -> None:
    with st.popover("Open a file", icon=":material/folder_open:"):
        ours = [name for name, path in files.shipped().items() if files.read_file(path).kind == KIND.name]
        st.selectbox("One that comes with the lab", ours, index=None, key="grid:shipped", on_change=_chosen)
        st.file_uploader("Your own", type=["yaml", "yml"], key="grid:own", on_change=_given)


def _chosen() -> None:
    if (name := st.session_state["grid:shipped"]) is not None:
        st.session_state[PENDING] = files.shipped()[name].read_text("utf-8")


def _given() -> None:
    if (given := st.session_state["grid:own"]) is not None:
        st.session_state[PENDING] = given.getvalue()


def _take_file() -> None:
    """Fill the form with a file that was opened; one sentence where it cannot be."""
    text = st.session_state.pop(PENDING, None)
    if text is None:
        return
    try:
        filed = files.read(text, "the file")
        if filed.kind != KIND.name:
            raise RequestError(
                "kind", filed.kind, "is another question, above or on a page of its own; here is a grid."
            )
        request = files.request_of(KIND, filed.given)
    except RequestError as error:
        st.error(link.plain(error))
        return
    said = request.model_dump(mode="json")
    for name in BOXES:
        st.session_state[f"form:grid:{name}"] = st.session_state[f"form:grid:{name}:filed"] = list(said[name])
    st.session_state["form:grid:seeds"] = ", ".join(map(str, said["seeds"]))
    st.session_state["form:grid:vary"] = "; ".join(
        f"{name}={','.join(map(str, values))}" for name, values in said["vary"].items()
    )
    for name, usual in PLAIN.items():
        st.session_state[f"form:grid:{name}"] = said["run"].pop(name, usual)
    rest = {name: said[name] for name in ("title", "knobs", "each", "run", "devices") if said[name]}
    st.session_state["form:grid:more"] = yaml.safe_dump(rest, sort_keys=False) if rest else MORE


def _offer_file(given: dict[str, Any]) -> None:
    text = files.write(KIND.name, KIND.Request.build(given), "study.yaml")
    with st.expander("As a file", icon=":material/description:"):
        st.download_button("Save", text, "study.yaml", "application/yaml", icon=":material/download:")
        st.code(text, language="yaml")


# --- beginning -------------------------------------------------------------------------------------------------


def _planned(given: dict[str, Any], labelled: Any) -> Plan:
    reuse = st.session_state.setdefault("form:grid:reuse", "same-code")
    with look.labelled("at-a-time"):
        most = max(1, len(labelled))
        st.session_state.setdefault("form:grid:slots", min(most, watching.room([spec for _, spec in labelled])))
        slots = st.number_input("At a time", 1, 1024, key="form:grid:slots", width=110, help="Runs on each device.")
        help = "Results of equal runs that are done here already are taken over, and these are not run again."
        reuse = st.selectbox(
            "Finished runs that count", list(REUSE), format_func=REUSE.__getitem__, key="form:grid:reuse", width=200,
            help=help,
        )  # fmt: skip
    paces = [*st.session_state.get(PACES, []), *known_paces(runs_in(recordings.FOLDER))]
    return plan(KIND, given, runs_folder(), int(slots), reuse, paces)


def _calibrate(given: dict[str, Any], settings: int) -> None:
    """In a process of its own, which ends with this run of the page."""
    text = files.write(KIND.name, KIND.Request.build(given))
    bar, tried = st.progress(0.0, "Starting"), 0
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(text)
        file.flush()
        asked = [sys.executable, "-m", "dfkd_core", "study", "plan", file.name, "--calibrate", "--json"]
        process = subprocess.Popen(
            [*asked, "--runs", str(runs_folder().resolve())],
            cwd=boot.ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert process.stdout is not None and process.stderr is not None
            for line in process.stderr:
                tried += 1
                bar.progress(min(1.0, tried / (settings + 1)), link.plain(line))
            said = process.stdout.read()
        finally:
            process.kill()
            process.wait()
    try:
        paces = [Pace(**pace) for pace in json.loads(said)["paces"]]
    except (ValueError, KeyError):
        st.session_state["problem"] = "The calibration came to nothing; the study can be started all the same."
    else:
        st.session_state[PACES] = [*paces, *st.session_state.get(PACES, [])]
    st.rerun()


def _bold(words: str) -> str:
    """How many runs, which comes first, stands out."""
    first, rest = words.split(";", 1)
    return f"**{first}**; {link.plain(rest.strip())}"


def _begin(given: dict[str, Any]) -> None:
    """Make the study and start it; one sentence on the page if that is not possible."""
    st.session_state.pop("problem", None)
    try:
        with st.spinner("Checking the request"):
            study = KIND.begin(runs_folder(), st.session_state["form:grid:reuse"], **given)
        watching.conduct(study, int(st.session_state["form:grid:slots"]))
        watching.open_study(study)
    except (RequestError, StoreError, OSError) as error:
        st.session_state["problem"] = str(error)
    st.rerun()
