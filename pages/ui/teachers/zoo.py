"""All teachers, and what one of them is like: how good and how sure, of which class, what methods find in it."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
import plotly.graph_objects as go
import streamlit as st
import torch
from plotly.colors import hex_to_rgb

from dfkd_core import methods
from dfkd_core.analysis.jobs import Job
from dfkd_core.analysis.svg import BLUE, ORANGE
from dfkd_core.data.catalogue import BENCHMARKS, usual_of
from dfkd_core.errors import RequestError
from dfkd_core.kit.method import Method
from dfkd_core.losses.bn_statistics import has_statistics
from dfkd_core.networks.classifiers import parameter_count
from dfkd_core.networks.known import OF_PROGRAM, PROGRAMS, enough, of_network
from dfkd_core.networks.program import Program
from dfkd_core.store import Place, runs_folder
from dfkd_core.study.tables import plural
from dfkd_core.teachers.cards import SHIPPED, TeacherCard, available_teachers, find_card, user_folder
from dfkd_core.teachers.load import build_network
from dfkd_core.teachers.measured import Measured, measured
from pages.ui import keep, link, linked, look
from pages.ui.runs import listing

TASKS = {"classifier": "classifier", "generative": "generative", "diffusion": "diffusion model"}
COLUMNS = {
    **{name: st.column_config.TextColumn(name.capitalize()) for name in ("teacher", "kind", "benchmark", "network")},
    "recipe": st.column_config.TextColumn("Recipe"),
    "accuracy": st.column_config.NumberColumn("Accuracy", format="percent"),
    "ECE": st.column_config.NumberColumn(
        "Calibration error",
        format="percent",
        help="Expected calibration error: how far it is from as right as it is sure.",
    ),
    "seed": st.column_config.NumberColumn("Seed"),
    "ELBO": st.column_config.NumberColumn("ELBO, nats", format="%.2f", help="Of a test image; higher is better."),
    "runs": st.column_config.NumberColumn("Runs", help="Of this machine, that learned from it."),
}
USUAL = "ta-dfkd"  # the method, wherever the teacher allows it
MOST_CLASSES = 25  # whose confusion is drawn
ROW = 35  # pixels


@dataclass(frozen=True)
class Facts:
    """What one sees of an architecture."""

    parameters: int
    batch_norm: int


@st.cache_data(show_spinner=False, max_entries=256)
def _facts(card: str) -> Facts | None:
    """``card``: as JSON; None where the architecture is not here, as that of a program never is."""
    try:
        with torch.device("meta"):  # nothing is drawn, and no memory taken
            network = build_network(TeacherCard.model_validate_json(card))
    except RequestError:
        return None
    if isinstance(network, Program):
        return None
    norms = sum(isinstance(part, torch.nn.modules.batchnorm._BatchNorm) for part in network.modules())
    return Facts(parameter_count(network), norms if has_statistics(network) else 0)


def facts(card: TeacherCard) -> Facts | None:
    return _facts(card.model_dump_json())


def show() -> None:
    """The table, and the teacher that is chosen in it."""
    every = {card.name: card for task in TASKS for card in available_teachers(None, task).values()}
    cards = dict(sorted(every.items(), key=lambda item: _rank(item[1])))
    used: dict[str, int] = {}
    for entry in listing.all_of(runs_folder()):
        name = str(entry.fields.get("teacher"))
        used[name] = used.get(name, 0) + 1
    benchmarks = sorted({card.benchmark for card in cards.values()})
    with look.labelled("teachers"):
        st.session_state.setdefault("teachers:benchmark", linked.one_of("benchmark", benchmarks, "all"))
        if st.session_state["teachers:benchmark"] not in benchmarks:
            st.session_state["teachers:benchmark"] = "all"
        only = st.selectbox(
            "Benchmark", ["all", *benchmarks], key="teachers:benchmark", width=200, format_func=link.legible,
            on_change=lambda: link.say("teacher", ""),
        )  # fmt: skip
        link.say("benchmark", only if only != "all" else "")
        cards = {name: card for name, card in cards.items() if only in ("all", card.benchmark)}
        names = list(cards)
        st.session_state["teachers:chosen"] = chosen_name = linked.one_of("teacher", names) or _usual(cards)
        link.say("teacher", chosen_name if link.word("teacher") else "")
        st.selectbox(
            "Teacher", names, key="teachers:chosen", width=320, format_func=link.legible,
            on_change=lambda: link.say("teacher", st.session_state["teachers:chosen"]),
        )  # fmt: skip
    chosen = cards[st.session_state["teachers:chosen"]]
    event = st.dataframe(
        link.table(pd.DataFrame([_row(card, used.get(card.name, 0)) for card in cards.values()])),
        hide_index=True,
        height=min(7, len(cards) + 1) * ROW + 3,
        column_config=COLUMNS,
        placeholder="",
        on_select="rerun",
        selection_mode="single-row",
        selection_default={"selection": {"rows": [names.index(chosen.name)]}},
        key=f"teachers:table:{only}:{chosen.name}",
    )
    if (rows := event.selection.rows) and names[rows[0]] != chosen.name:
        link.say("teacher", names[rows[0]])
        st.rerun()
    _one(chosen, used.get(chosen.name, 0))


def _usual(cards: dict[str, TeacherCard]) -> str:
    """The one to begin with: one's own, else what is usual for the first benchmark."""
    first = next(iter(cards.values()))
    usual = usual_of(first.benchmark).teacher
    return usual if usual in cards and find_card(first.name)[1].parent == SHIPPED else first.name


def _rank(card: TeacherCard) -> tuple[bool, int]:
    """One's own first, and then by benchmark, the smallest first, as the form has them."""
    known = list(BENCHMARKS)
    return (
        find_card(card.name)[1].parent == SHIPPED,
        known.index(card.benchmark) if card.benchmark in known else len(known),
    )


def _row(card: TeacherCard, runs: int) -> dict[str, object]:
    known, found = facts(card), measured(card)
    return {
        "teacher": card.name,
        "kind": TASKS[card.task],
        "benchmark": card.benchmark,
        "network": card.network,
        "recipe": card.recipe.kind if card.recipe else "imported",
        "accuracy": card.accuracy,
        "ECE": found.ece if found else None,
        "BatchNorm": ""
        if known is None or card.task != "classifier"
        else f"{known.batch_norm} layers"
        if known.batch_norm
        else "none",
        "ELBO": card.elbo,
        "seed": card.seed if card.recipe else None,
        "runs": runs,
    }


# --- one of them -----------------------------------------------------------------------------------------------


def _one(card: TeacherCard, runs: int) -> None:
    st.markdown(f"#### {link.name(card.title)}")
    for doubt in card.doubts:
        st.warning(link.plain(doubt), icon=":material/warning:")
    found, known = measured(card), facts(card)
    with st.container(key="teacher-facts", horizontal=True):
        _figure("Accuracy", card.accuracy, "{:.2%}")
        if found is not None:
            _figure("Confidence", found.confidence, "{:.2%}", "Of its answers to test images, on average.")
            _figure("Calibration error", found.ece, "{:.2%}", "ECE: the mean gap between how sure and how right it is.")
        _figure("ELBO, nats", card.elbo, "{:.2f}")
        _figure("Parameters", known and known.parameters, "{:,}")
        _figure("Images", f"{card.image.channels} × {card.image.size} × {card.image.size}", "{}")
        _figure("Runs", runs, "{:,}", "Of this machine, that learned from it.")
    if runs:
        st.page_link("pages/runs.py", label=f"Its {plural(runs, 'run')}", query_params={"teacher": card.name},
                     icon=":material/list:")  # fmt: skip
    if card.task != "classifier":
        st.caption(_other(card))
        return
    inside(card, known)
    if st.button("Distill it", icon=":material/science:", key="teachers:distil"):
        _distil(card)
    if found is None:
        _offer_measuring(card)
    else:
        _charts(card, found)
    _made(card)


def _figure(label: str, value: object, form: str, help: str | None = None) -> None:
    if value is not None:
        st.metric(label, form.format(value), help=help, width="content")


def _other(card: TeacherCard) -> str:
    if card.task == "diffusion":
        return "A diffusion model teaches nobody: it helps to make images, and its benchmark is what it learned from."
    return "A generative teacher: methods for generative models distil it."


def _of_classifiers() -> list[type[Method]]:
    return [method for method in methods.available().values() if method.requires.task == "classifier"]


def _fitting(card: TeacherCard) -> list[type[Method]]:
    """The methods that find in it what they need."""
    seen = of_network(card.network)
    return [method for method in _of_classifiers() if enough(seen, method.requires.of_teacher)]


def _distil(card: TeacherCard) -> None:
    """To the form, with it and a method that asks for nothing else."""
    of_it_alone = [one.name for one in _fitting(card) if not one.requires.collected and not one.requires.original]
    method = USUAL if USUAL in of_it_alone else of_it_alone[0]
    chosen = {"benchmark": card.benchmark, "teacher": card.name, "method": method}
    keep.fill("distill", chosen)
    st.switch_page("pages/distill.py", query_params=chosen)


def inside(card: TeacherCard, known: Facts | None) -> None:
    """What methods find in it."""
    if known is None and card.network not in PROGRAMS:
        return
    fitting = _fitting(card)
    asking = [method for method in fitting if _asks_for_statistics(method)]
    if known is None:
        less = [method.title for method in _of_classifiers() if method not in fitting]
        said = f"**A program**: {OF_PROGRAM[of_network(card.network)]}, which rules out {', '.join(less)}."
    elif known.batch_norm:
        said = f"**BatchNorm**: {plural(known.batch_norm, 'layer')}, whose statistics of its own data methods can read."
    else:
        names = ", ".join(method.title for method in asking)
        said = (
            "**No BatchNorm**: it keeps no statistics of its own data. The term *BN statistics* cannot act, which "
            f"rules out these methods as published: {names}. They run without that term, and say so."
        )
    others = [method.title for method in methods.available().values() if method.requires.task != "classifier"]
    asked = [method for method in fitting if method.requires.collected or method.requires.original]
    needs = [f"{method.title} needs {method.requires.words()}" for method in asked]
    st.markdown(said)
    with st.expander(f"{plural(len(fitting), 'method')} distil it", icon=":material/science:"):
        st.markdown(", ".join(method.title for method in fitting) + ".")
        st.caption(f"{'; '.join(needs)}. Not for classifiers: {', '.join(others)}.")


def _asks_for_statistics(method: type[Method]) -> bool:
    """Whether a preset of it reads BatchNorm statistics."""
    terms = [term for term in method.terms if term.batch_norm]
    configs = [method.Config.build(preset, {}) for preset in ("", *method.Config.presets)]
    return any(not term.knob or any(getattr(config, term.knob) for config in configs) for term in terms)


# --- on test images --------------------------------------------------------------------------------------------


def job_of(card: TeacherCard) -> Job:
    """That measures it."""
    return Job(Place(user_folder() / ".jobs" / card.name, f"teacher {card.name}"), "measure")


def _offer_measuring(card: TeacherCard) -> None:
    job = job_of(card)
    state = job.state()
    if state.state == "running":
        _watch_measuring(card)
        return
    if state.state == "failed":
        st.error(link.plain(state.message))
    st.caption("Calibration and accuracy by class were not measured yet.")
    if st.button("Measure on the test images", key="teachers:measure", icon=":material/analytics:", type="primary"):
        job.files.path.mkdir(parents=True, exist_ok=True)
        job.start(["teacher", "measure", card.name])
        st.rerun()


@st.fragment(run_every=0.7)
def _watch_measuring(card: TeacherCard) -> None:
    state = job_of(card).state()
    if state.state != "running":
        st.rerun()
    left = state.seconds_left()
    st.progress(state.share, state.message + (f", {left:.0f} s left" if left is not None else ""))
    if st.button("Stop", key="teachers:stop"):
        job_of(card).stop()
        st.rerun()


def _charts(card: TeacherCard, found: Measured) -> None:
    classes = [link.legible(name) for name in card.image.classes]
    small = len(classes) <= MOST_CLASSES
    columns = st.columns(3 if small else 2)
    with columns[0]:
        st.markdown("**Is it as right as it is sure?**")
        st.plotly_chart(_reliability(found), key="teachers:reliability")
    with columns[1]:
        st.markdown("**Accuracy by class**")
        st.plotly_chart(_by_class(classes, found), key="teachers:classes")
    if small:
        with columns[2]:
            st.markdown("**What it takes for what**")
            st.plotly_chart(_confusion(classes, found), key="teachers:confusion")
    st.caption(
        f"On {found.images:,} test images. A point on the left is the answers that are about as sure, the larger the "
        "more of them: below the diagonal they are surer than right. The class with the least is orange. Negative "
        f"log-likelihood {found.nll:.3f} nats an image."
    )


def _layout(figure: go.Figure, **more: object) -> go.Figure:
    figure.update_layout(height=300, margin={"l": 50, "r": 10, "t": 6, "b": 44}, showlegend=False, **more)
    return figure


def _reliability(found: Measured) -> go.Figure:
    """At the mean confidence of each bin, not at its middle: a good teacher's lie at the very end of the last."""
    full = [one for one in found.bins if one.count]
    figure = go.Figure()
    figure.add_scatter(x=[0, 1], y=[0, 1], mode="lines", line={"color": "#999999", "dash": "dash"}, hoverinfo="skip")
    figure.add_scatter(
        x=[one.confidence for one in full],
        y=[one.accuracy for one in full],
        mode="markers",
        marker={"color": BLUE, "opacity": 1, "size": [4 + 12 * (one.count / found.images) ** 0.5 for one in full]},
        hovertext=[f"{one.count:,} images, sure {one.confidence:.2%}, right {one.accuracy:.2%}" for one in full],
        hovertemplate="%{hovertext}<extra></extra>",
    )
    axis = {"range": [-0.04, 1.04], "tickformat": ".0%"}
    return _layout(figure, xaxis={**axis, "title": "how sure"}, yaxis={**axis, "title": "how right"})


def _by_class(classes: list[str], found: Measured) -> go.Figure:
    shares = found.per_class()
    least = min((share for share in shares if share is not None), default=0.0)
    colours = [ORANGE if share == least else BLUE for share in shares]
    figure = go.Figure()
    figure.add_scatter(
        x=list(range(len(classes))),
        y=shares,
        mode="markers",
        marker={"color": colours, "size": 11},
        hovertext=classes,
        hovertemplate="%{hovertext}: %{y:.2%}<extra></extra>",
    )
    ticks = {"tickvals": list(range(len(classes))), "ticktext": classes} if len(classes) <= MOST_CLASSES else {}
    low = max(0.0, least - 0.2 * (1 - least) - 0.01)
    return _layout(
        figure, xaxis={"title": "class", **ticks}, yaxis={"range": [low, 1.003], "tickformat": ".1%", "title": "right"}
    )


def _confusion(classes: list[str], found: Measured) -> go.Figure:
    shares = [[count / max(1, sum(row)) for count in row] for row in found.confusion]
    off = [[None if at == label else share for at, share in enumerate(row)] for label, row in enumerate(shares)]
    hover = "%{y} taken for %{x}: %{customdata} images<extra></extra>"
    clear = f"rgba{(*hex_to_rgb(BLUE), 0)}"  # so that none is none on a dark page, too
    look = {"colorscale": [[0, clear], [1, BLUE]], "showscale": False, "xgap": 1, "ygap": 1, "hovertemplate": hover}
    figure = go.Figure(go.Heatmap(z=off, x=classes, y=classes, customdata=found.confusion, **look))
    axis = {"type": "category"}
    return _layout(
        figure, xaxis={**axis, "title": "its answer"}, yaxis={**axis, "title": "true class", "autorange": "reversed"}
    )


def _made(card: TeacherCard) -> None:
    with st.expander("How it was made, and what it takes", icon=":material/description:"):
        rows: dict[str, object] = {"network": card.network, "origin": card.origin, "torch": card.torch}
        rows |= {"SHA-256": card.sha256, "mean": card.image.mean, "std": card.image.std}
        if card.recipe is not None:
            rows |= card.recipe.model_dump() | {"seed": card.seed}
        shown = [{"what": name.replace("_", " "), "value": str(value)} for name, value in rows.items() if value != ""]
        st.dataframe(link.table(pd.DataFrame(shown)), hide_index=True)
        if card.recipe is not None:
            st.caption(f"`python -m dfkd_core teacher train {card.name}` makes it again.")
