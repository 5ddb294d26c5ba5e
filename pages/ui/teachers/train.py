"""Training a teacher from a recipe, watched as it goes on; it outlives the page and the server."""

from __future__ import annotations

from typing import Any, get_args

import plotly.graph_objects as go
import streamlit as st

from dfkd_core.analysis.jobs import Job
from dfkd_core.analysis.svg import BLUE, ORANGE
from dfkd_core.data.catalogue import BENCHMARKS, find_benchmark
from dfkd_core.errors import RequestError, StoreError, in_words, validated
from dfkd_core.networks.classifiers import CLASSIFIERS, title_of
from dfkd_core.teachers import making
from dfkd_core.teachers.cards import Recipe, TeacherCard, available_teachers, user_folder
from pages.ui import link, look

OWN = "Recipe of your own"
FEW = 30  # epochs that are drawn as points, too
STEPS = {"learning_rate": 0.01, "weight_decay": 1e-4}


def show() -> None:
    """The form, and the trainings that were begun."""
    for name in making.in_the_making(user_folder()):
        _watch(name)
    _form()


def _job(name: str) -> Job:
    return Job(making.place_of(name, user_folder()), "train")


# --- asking for one --------------------------------------------------------------------------------------------


def _form() -> None:
    st.markdown("##### A new teacher")
    with look.labelled("train"):
        benchmark = st.selectbox(
            "Benchmark",
            list(BENCHMARKS),
            key="train:benchmark",
            format_func=lambda name: BENCHMARKS[name].title,
            width=190,
        )
        networks = [name for name, known in CLASSIFIERS.items() if known.least <= BENCHMARKS[benchmark].image.size]
        like = _like(benchmark, networks)
        network = st.selectbox("Network", networks, key="train:network", format_func=title_of, width=230)
        name = st.text_input("Name", key="train:name", placeholder=f"{benchmark}-{network}-mine", width=260)
        seed = st.number_input("Seed", 0, 2**31 - 1, 0, key="train:seed", width=110)
    recipe = _recipe(like)
    task = find_benchmark(benchmark)
    if not task.is_there():
        st.info(
            link.plain(f"{task.title} is not here: `python -m dfkd_core benchmarks download {benchmark}` fetches it.")
        )
    if st.button(
        "Train", type="primary", key="train:start", icon=":material/play_arrow:", disabled=not task.is_there()
    ):
        _begin(benchmark, network, name or f"{benchmark}-{network}-mine", int(seed), recipe)


def _like(benchmark: str, networks: list[str]) -> TeacherCard | None:
    """The recipe that the form begins with; its network is proposed."""
    known = {name: card for name, card in available_teachers(benchmark).items() if isinstance(card.recipe, Recipe)}
    words = {OWN: OWN} | {name: f"{name}: {card.recipe.kind}" for name, card in known.items() if card.recipe}
    key, state = f"train:like:{benchmark}", st.session_state
    chosen = st.selectbox(
        "Recipe of", list(words), index=min(1, len(known)), key=key, width=260, format_func=words.__getitem__
    )
    card = known.get(str(chosen))
    proposed = card.network.split("+")[0] if card is not None else ""
    if state.get("train:was") != (benchmark, chosen) and proposed in networks:
        state["train:network"] = proposed
    if state.get("train:network") not in networks:
        state["train:network"] = networks[0]
    state["train:was"] = benchmark, chosen
    return card


def _recipe(like: TeacherCard | None) -> dict[str, Any]:
    """Its fields, from the model: bounds and helps stand there."""
    start = like.recipe.model_dump() if like is not None and like.recipe else {"kind": "my own", "epochs": 10}
    given: dict[str, Any] = {}
    with st.expander("Recipe", icon=":material/tune:", expanded=like is None):
        columns = st.columns(4)
        for index, (name, field) in enumerate(Recipe.model_fields.items()):
            key, label = f"train:{like.name if like else ''}:{name}", name.replace("_", " ").capitalize()
            value = start.get(name, field.get_default())
            with columns[index % 4]:
                given[name] = _field(name, field.annotation, label, value, key, field.description or "")
    return given


def _field(name: str, kind: Any, label: str, value: Any, key: str, help: str) -> Any:
    if choices := get_args(kind):
        return st.selectbox(label, choices, index=choices.index(value), key=key, help=help)
    if kind is int:
        return int(st.number_input(label, value=int(value), step=1, key=key, help=help))
    if kind is float:
        return st.number_input(label, value=float(value), step=STEPS.get(name, 0.1), format="%.4g", key=key, help=help)
    return st.text_input(label, value, key=key, help=help)


def _begin(benchmark: str, network: str, name: str, seed: int, recipe: dict[str, Any]) -> None:
    image = BENCHMARKS[benchmark].image
    about = {"name": name, "title": name, "benchmark": benchmark, "network": network, "seed": seed, "recipe": recipe}
    about["image"] = {field: getattr(image, field) for field in ("channels", "size", "mean", "std", "classes")}
    try:
        validated(Recipe, recipe)
        path = making.begin(validated(TeacherCard, about), user_folder())
        _job(name).start(["teacher", "train", str(path.absolute()), "--to", str(user_folder().absolute())])
    except (OSError, RequestError, StoreError) as error:
        st.error(link.plain(in_words(error)))
        return
    st.rerun()


# --- watching it -----------------------------------------------------------------------------------------------


def _watch(name: str) -> None:
    goes_on = _job(name).state().state == "running"
    st.fragment(_progress, run_every=1.0 if goes_on else None)(name, goes_on)


def _progress(name: str, went_on: bool) -> None:
    state, so_far = _job(name).state(), making.trained(name, user_folder())
    if went_on and state.state != "running":
        st.rerun()
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            st.markdown(f"**{link.name(name)}** · {_words(state.state)}")
            with st.container(horizontal=True, width="content"):
                _buttons(name, state.state)
        if state.state == "running":
            left = state.seconds_left()
            st.progress(state.share, link.plain(state.message) + (f", {left:.0f} s left" if left else ""))
        elif state.message:
            st.error(link.plain(state.message))
        if so_far is not None and so_far.loss:
            st.plotly_chart(_curves(so_far), key=f"train:curves:{name}")


def _words(state: str) -> str:
    return {"running": "in training", "none": "waiting", "done": "trained"}.get(state, state)


def _buttons(name: str, state: str) -> None:
    if state == "running":
        if st.button("Stop", key=f"train:stop:{name}", icon=":material/stop:"):
            _job(name).stop()
            st.rerun()
        return
    if state == "done" and st.button("Look at it", key=f"train:look:{name}", type="primary"):
        st.session_state.pop("teachers:view", None)
        link.say("view", "")
        link.say("teacher", name)
        st.rerun(scope="app")
    if st.button("Put away", key=f"train:away:{name}", help="The teacher stays; its curves go."):
        making.put_away(name, user_folder())
        st.rerun(scope="app")


def _curves(so_far: making.Trained) -> go.Figure:
    epochs = list(range(1, len(so_far.loss) + 1))
    figure, mode = go.Figure(), "lines+markers" if so_far.epochs <= FEW else "lines"
    figure.add_scatter(x=epochs, y=so_far.loss, name="loss", mode=mode, line={"color": ORANGE})
    if any(value is not None for value in so_far.accuracy):
        figure.add_scatter(
            x=epochs, y=so_far.accuracy, name="accuracy on test images", mode=mode, yaxis="y2",
            line={"color": BLUE},
        )  # fmt: skip
    figure.update_layout(
        height=260,
        margin={"l": 50, "r": 50, "t": 10, "b": 40},
        xaxis={"title": "epoch", "range": [0.5, so_far.epochs + 0.5]},
        yaxis={"title": "loss", "rangemode": "tozero"},
        yaxis2={"overlaying": "y", "side": "right", "tickformat": ".0%", "range": [0, 1.01], "showgrid": False},
        legend={"orientation": "h", "y": -0.25},
    )
    return figure
