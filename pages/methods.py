"""Methods: what each needs and does, its formulas beside its source, two beside each other; the benchmarks."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import streamlit as st

from pages.ui import boot, keep, link, linked, look

if TYPE_CHECKING:
    from dfkd_core.data.catalogue import Benchmark

PAGE_CSS = boot.ROOT / "pages" / "ui" / "methods" / "page.css"
VIEWS = {"methods": "Methods", "benchmarks": "Benchmarks"}
OF_A_METHOD = ("method", "with", "part")  # parts of the address


def main() -> None:
    """One script run of the page."""
    if not boot.is_loaded():
        return
    with look.labelled("methods-top", horizontal_alignment="distribute"):
        shown = _view()
        preset = _preset() if shown == "methods" else ""
    if shown == "benchmarks":
        _benchmarks()
    else:
        _methods(preset)


def _view() -> str:
    """Which part of the page is shown; all but the first stand in the address."""
    first, key = next(iter(VIEWS)), "methods:view"
    st.session_state.setdefault(key, linked.one_of("view", VIEWS, first))
    shown: str | None = st.segmented_control(
        "View", list(VIEWS), key=key, format_func=VIEWS.__getitem__, label_visibility="collapsed", required=True
    )
    if shown in (None, first):
        st.query_params.pop("view", None)
    else:
        st.query_params["view"] = shown
    return shown or first


# --- the methods -----------------------------------------------------------------------------------------------


def _methods(preset: str) -> None:
    """All of them; or the one in the address, or that and another."""
    from pages.ui.methods import beside, facts, sheet, table

    table.follow()
    known = facts.known()
    name, other = (_known(part, known) for part in ("method", "with"))
    if not name:
        _overview(preset)
        return
    others = {"": "no other", **{one: title for one, title in known.items() if one != name}}
    other = other if other in others else ""
    st.html(PAGE_CSS)
    with look.labelled("methods-bar"):
        if st.button("All methods", icon=":material/arrow_back:"):
            _leave()
        _choose("Method", "method", known, name)
        _choose("Beside it", "with", others, other)
        if st.button("Distil with this", type="primary", icon=":material/science:", key="distil"):
            _distil(name, preset)
    if other:
        beside.show(facts.of(name, preset), facts.of(other, preset), preset)
    else:
        sheet.show(name, preset)


def _overview(preset: str) -> None:
    from pages.ui.methods import facts, table

    st.session_state.setdefault("methods:need", linked.several_of("need", facts.NEEDS))
    with st.container(key="labelled-methods-needs"):
        needs = st.pills(
            "Only methods of which all of this holds",
            list(facts.NEEDS),
            key="methods:need",
            format_func=lambda one: facts.NEEDS[one].words,
            selection_mode="multi",
        )
    if needs:
        st.query_params["need"] = ",".join(needs)
    else:
        st.query_params.pop("need", None)
    found = facts.fitting(needs, preset)
    if not found:
        st.info("No method does all of this. Take one wish back.")
        return
    table.show(found, preset)
    where = ", ".join(f"`{preset}` on {benchmark}" for preset, benchmark in facts.PRESETS.items())
    st.caption(f"A dashed term needs BatchNorm layers in the teacher. What is kept on disk is that of {where}.")


def _known(part: str, known: dict[str, str]) -> str:
    """The method that a part of the address names; empty, with a sentence, where there is none of that name."""
    found = linked.one_of(part, known)
    link.say(part, found)
    return found


def _choose(label: str, part: str, options: dict[str, str], chosen: str) -> None:
    key = f"methods:{part}"
    st.session_state[key] = chosen  # the address says so, whoever changed it
    st.selectbox(
        label, list(options), key=key, format_func=options.__getitem__, width=260, on_change=_say, args=(part, key)
    )


def _say(part: str, key: str) -> None:
    if st.session_state[key]:
        st.query_params[part] = st.session_state[key]
    else:
        st.query_params.pop(part, None)


def _preset() -> str:
    """Whose values are shown; in the address unless it is the first."""
    from pages.ui.methods import facts

    first, key = next(iter(facts.PRESETS)), "methods:preset"
    st.session_state.setdefault(key, linked.one_of("preset", facts.PRESETS, first))
    preset = st.segmented_control("Preset", list(facts.PRESETS), key=key, required=True) or first
    if preset == first:
        st.query_params.pop("preset", None)
    else:
        st.query_params["preset"] = preset
    return preset


def _leave() -> None:
    for part in OF_A_METHOD:
        st.query_params.pop(part, None)
    st.rerun()


def _distil(name: str, preset: str) -> None:
    """To the form of the page that is for such methods, with this one chosen."""
    from dfkd_core import methods

    method = methods.find(name)
    page = "hybrid" if method.requires.collected else "distill"
    page = "generative" if method.requires.task == "generative" else page
    chosen = {"method": name, **({"preset": preset} if preset in method.Config.presets else {})}
    keep.fill(page, chosen)
    st.switch_page(f"pages/{page}.py", query_params=chosen)


# --- what there is beside them ---------------------------------------------------------------------------------


def _benchmarks() -> None:
    """Each with where its data lie, or what to put where."""
    from dfkd_core.data.catalogue import BENCHMARKS, data_folder

    head = "".join(f'<th scope="col">{title}</th>' for title in ("Benchmark", "Images", "Classes", "Data"))
    rows = "".join(_benchmark(benchmark) for benchmark in BENCHMARKS.values())
    st.html(PAGE_CSS)
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    st.html(f'<div class="methods-page benchmarks">{table}</div>')
    st.caption(
        f"Data are only for evaluation: no method ever sees them. They lie in `{data_folder()}`; `DFKD_DATA`, or the "
        "form, says where else."
    )


def _benchmark(benchmark: Benchmark) -> str:
    image, place = benchmark.image, benchmark.place
    data = f"Here: <code>{escape(str(place))}</code>" if place else "Comes with the lab."
    if not benchmark.is_there():
        fetched = f"python -m dfkd_core benchmarks download {benchmark.name}" if benchmark.megabytes else ""
        wanted = f"Put into <code>{escape(benchmark.where)}</code> of the data folder: {escape(benchmark.expected)}."
        data = f"{wanted}{f'<small>Or fetch it: <code>{fetched}</code></small>' if fetched else ''}"
    size = f"{image.channels} × {image.size} × {image.size}"
    return (
        f'<tr><th scope="row"><b>{escape(benchmark.title)}</b> <code>{escape(benchmark.name)}</code></th>'
        f"<td>{size}</td><td>{len(image.classes)}</td><td>{data}</td></tr>"
    )


look.through_app("pages/methods.py")
main()
