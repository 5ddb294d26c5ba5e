"""The form of a run, generated from the method's ``Config``, with the whole configuration in the address bar."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

import streamlit as st

from dfkd_core import methods
from dfkd_core.data.catalogue import BENCHMARKS, data_folder, data_in
from dfkd_core.errors import RequestError
from dfkd_core.images import ImageSpec
from dfkd_core.kit.config import MethodConfig
from dfkd_core.kit.method import Method
from dfkd_core.networks.classifiers import check_network, parameter_count, students, title_of
from dfkd_core.networks.known import of_network
from dfkd_core.networks.latent import LATENT_MODELS, build_latent_model, latent_network
from dfkd_core.networks.weights import WeightsError
from dfkd_core.runs.request import usual_student, usual_teacher
from dfkd_core.teachers.cards import TeacherCard, available_teachers, find_card
from dfkd_core.teachers.load import has_batch_norm
from pages.ui import boot, link, linked
from pages.ui.form import address, collected, download, folders, recording, widgets
from pages.ui.form.address import FOLDER
from pages.ui.words import glossary

INSTEAD = "Makes up for a part of the BatchNorm statistics that this teacher lacks; some seeds still fall late."
USUAL_METHOD = {"classifier": "ta-dfkd", "generative": "ukd"}


@dataclass(frozen=True)
class Choice:
    """What the form says: ``fields`` of the run, and the ``changes`` to the preset's knobs."""

    fields: dict[str, Any]
    changes: dict[str, Any]


def show(only: Callable[[str], bool] | None = None, task: Literal["classifier", "generative"] = "classifier") -> Choice:
    """Draw the form into the sidebar, keep the address bar in step with it, and return what it says.

    ``only``: whether a method, by its name, is offered; ``task``: of which kind methods, teachers and students are.
    """
    address.take()
    with st.sidebar, data_in(st.session_state.get("form:data", "")):
        wrong = st.container()  # what it says is known when the form is drawn
        benchmark = _benchmark()
        teacher = _teacher(benchmark, task)
        folders.say(benchmark, teacher, task)
        student = _student(benchmark, teacher, task)
        known = {name: found for name, found in methods.available().items() if found.requires.task == task}
        names = {name: found for name, found in known.items() if only is None or only(name)}
        usual = "hidfd" if only else USUAL_METHOD[task]
        method = widgets.select("Method", "method", list(names), usual, lambda name: names[name].title)
        config = names[method].Config
        preset = _preset(config)
        collecting = _collected(benchmark, teacher) if names[method].requires.collected else {}
        first = [name for name in config.model_fields if config.about(name)["first"]]
        changes = _knobs(method, preset, config, first)
        if names[method].requires.source:
            collecting |= _diffusion(teacher, config.build(preset, changes).source_kind)
        with st.expander("More knobs", icon=":material/tune:"):
            for group, knobs in config.groups().items():
                st.markdown(f"**{group}**")
                changes |= _knobs(method, preset, config, [name for name in knobs if name not in first])
        _say_remarks(names[method], preset, changes, teacher)
        with st.expander("Seed, device, data", icon=":material/memory:"):
            machine = _machine()
        with st.expander("Recording", icon=":material/photo_camera:"):
            images = collected.count(benchmark, collecting.get("ratio", 0.0))
            recorded = _recording(config, preset, changes, teacher, images)
    fields = {
        "benchmark": benchmark,
        "teacher": teacher,
        "student": student,
        "method": method,
        "preset": preset,
        **collecting,
        **machine,
    }
    for name, value in st.session_state.get("form:asked", {}).items():
        said = f"is nothing that {names[method].title} can be told."
        linked.cannot(name.removeprefix("record:"), value, said, linked.FORM)
    st.session_state["form:asked"] = {}
    with wrong:
        linked.say_of_form()
    address.keep(fields, changes, recorded)
    fields |= recorded
    return Choice(fields, changes)


# --- the parts -------------------------------------------------------------------------------------------------


def _collected(benchmark: str, teacher: str) -> dict[str, Any]:
    with st.expander("Collected images", icon=":material/photo_library:", expanded=True):
        return collected.choose(benchmark, teacher)


def _benchmark() -> str:
    titles = {name: benchmark.title for name, benchmark in BENCHMARKS.items()}
    titles[FOLDER] = "Folder of images by class…"
    name = widgets.select("Benchmark", "benchmark", list(titles), "digits", lambda key: titles[key])
    if name == FOLDER:
        path = st.text_input("Folder", key="form:folder", placeholder="/path/with/one/subfolder/per/class")
        return f"folder:{path}"
    if not BENCHMARKS[name].is_there():
        download.offer(BENCHMARKS[name])
    return name


def _teacher(benchmark: str, task: str) -> str:
    cards = available_teachers(None if benchmark.startswith("folder:") else benchmark, task)
    if not cards:
        how = "Bring one: `python -m dfkd_core teacher import --help`"
        if task == "generative":
            how = "Train one from a card: `python -m dfkd_core teacher train --help`"
        st.info(f"No {task} teacher for this benchmark yet. {how}.")
        return ""
    try:
        usual = usual_teacher(benchmark, task)
    except RequestError:
        usual = next(iter(cards))
    name = widgets.select("Teacher", "teacher", list(cards), usual, lambda key: _teacher_title(cards[key]))
    with st.popover("Teacher's card", icon=":material/badge:", width="stretch"):
        _card(cards[name])
    if cards[name].doubts:
        st.warning(link.plain("This teacher is doubtful: " + "; ".join(cards[name].doubts) + "."))
    return name


def _teacher_title(card: TeacherCard) -> str:
    title = link.legible(card.title)
    return title if card.accuracy is None else f"{card.accuracy:.1%} · {title}"  # a long title is cut


def _student(benchmark: str, teacher: str, task: str) -> str:
    """A classifier; or a latent-variable model of the teacher's kind, of some width."""
    usual = usual_student(benchmark, task)
    if task == "classifier":
        return _classifier(benchmark, teacher)
    card = available_teachers(None, task).get(teacher)
    if card is None:
        return usual
    kind, image = card.network.rpartition("-")[0], card.image.spec()
    names = [name for name in LATENT_MODELS if name.rpartition("-")[0] == kind]
    asked = str(st.session_state.get("form:student", ""))  # a link may bring another width
    if asked not in names and latent_network(asked) and asked.rpartition("-")[0] == kind:
        names.append(asked)
    return widgets.select(
        "Student", "student", names, f"{kind}-8", lambda name: f"{name} · {_parameters(name, image):,} parameters"
    )


def _classifier(benchmark: str, teacher: str) -> str:
    """One of those that suit the size of the images, by family; a link may bring any other."""
    card, known = available_teachers().get(teacher), BENCHMARKS.get(benchmark)
    size = card.image.size if card is not None else known.image.size if known is not None else 32
    titles, usual = students(size), usual_student(benchmark, size=size)
    asked = str(st.session_state.get("form:student", ""))
    for name in filter(None, (usual, asked)):
        with suppress(RequestError):
            check_network(name)
            titles.setdefault(name, title_of(name))
    return widgets.select("Student", "student", list(titles), usual, lambda name: titles[name])


@st.cache_data(show_spinner=False)
def _parameters(network: str, image: ImageSpec) -> int:
    return parameter_count(build_latent_model(network, image))


def _diffusion(teacher: str, source: str) -> dict[str, Any]:
    """Which diffusion model makes images; one of the lab never saw the teacher's data, and what it saw is said."""
    from pages.ui.run import generative

    if source == "stable-diffusion":
        help = "A folder that holds a Stable Diffusion of diffusers, or its id on the hub; empty: the usual one."
        path = st.text_input("Folder or id of Stable Diffusion", key="form:stable-diffusion", help=help)
        st.caption(generative.ORIGINS[source])
        return {"diffusion": path}
    if source != "diffusion":
        return {}
    card = available_teachers(None, "generative").get(teacher) or available_teachers().get(teacher)
    cards = generative.fitting_diffusion(card) if card is not None else {}
    if card is None or not cards:
        st.info("No diffusion model makes images for this teacher without having seen its data. Take another source.")
        return {}
    name = widgets.select("Diffusion model", "diffusion", list(cards), next(iter(cards)), lambda key: cards[key].title)
    st.caption(link.plain(generative.declared(cards[name], card)))
    return {"diffusion": name}


def _card(card: TeacherCard) -> None:
    if card.task == "generative":
        quality = "ELBO unknown" if card.elbo is None else f"ELBO {card.elbo:.2f} nats a test image"
    else:
        quality = "accuracy unknown" if card.accuracy is None else f"accuracy {card.accuracy:.2%} on the test images"
    after = "" if "unknown" in quality else ", after the last epoch"
    network = link.name(title_of(card.network))
    st.markdown(f"**{link.name(card.title)}** — {network}, {quality}{after}.")
    if card.recipe is not None:
        used = [f"- {name}: {link.plain(value)}" for name, value in card.recipe.model_dump().items()]
        st.markdown("\n".join(["Recipe:", *used]))
    if card.origin:
        st.caption(link.plain(f"From {card.origin}."))
    st.caption(link.plain(f"Seed {card.seed} · torch {card.torch} · SHA-256 {card.sha256[:16]}…"))


def _preset(config: type[MethodConfig]) -> str:
    presets = list(config.presets)
    if not presets:
        return ""
    key = "form:preset"
    if st.session_state.get(key) not in presets:
        linked.replaced("preset", key, presets)
        st.session_state[key] = presets[0]
    where = "Where the knobs start from: demo for a CPU minute, cpu for half an hour, paper as published."
    help = glossary.help_of("preset", where)
    return st.segmented_control("Preset", presets, key=key, help=help, required=True) or presets[0]


def _knobs(method: str, preset: str, config: type[MethodConfig], names: list[str]) -> dict[str, Any]:
    """Draw the knobs ``names``, and return those that differ from the preset."""
    start = config.build(preset).model_dump()
    changes = {}
    for name in names:
        field, about = config.model_fields[name], config.about(name)
        key = f"knob:{method}:{preset}:{name}"
        given = st.session_state.get("form:asked", {}).pop(name, None)
        if key not in st.session_state:
            st.session_state[key] = widgets.parsed(name, field, given, start[name])
        value = widgets.knob(name, field, about, key, start[name])
        if value != start[name]:
            changes[name] = value
    return changes


def _say_remarks(method: type[Method[Any, Any]], preset: str, changes: dict[str, Any], teacher: str) -> None:
    """What a command says before it starts such a run; and what makes up for what the teacher lacks."""
    card = available_teachers().get(teacher)
    if card is None:
        return
    batch_norm = _has_batch_norm(teacher, card.sha256)
    with suppress(RequestError):  # Start says what is wrong
        config = method.Config.build(preset, changes)
        try:
            method.take(config, of_network(card.network))
        except RequestError as error:
            st.warning(link.plain(error))
        for said in method.remarks(config, batch_norm):
            st.warning(link.plain(said))
        instead = {term.knob: term.without_batch_norm for term in method.terms if term.without_batch_norm is not None}
        keys = {f"knob:{method.name}:{preset}:{knob}": value for knob, value in instead.items()}
        if not batch_norm and any(getattr(config, knob) == 0 for knob in instead):
            words = " and ".join(f"{knob.replace('_', ' ')} to {value:g}" for knob, value in instead.items())
            st.button(f"Set {words}", key="form-instead", on_click=st.session_state.update, args=(keys,), help=INSTEAD)


@st.cache_data(show_spinner=False, max_entries=32)
def _has_batch_norm(teacher: str, sha256: str) -> bool:
    """``sha256``: of the weights; of others it may be otherwise. Where they cannot be read, Start says so."""
    try:
        return has_batch_norm(*find_card(teacher))
    except (OSError, RequestError, WeightsError):
        return True


def _recording(
    config: type[MethodConfig], preset: str, changes: dict[str, Any], teacher: str, images: int
) -> dict[str, Any]:
    card = available_teachers().get(teacher) or available_teachers(None, "generative").get(teacher)
    recorded = recording.knobs(card is None or card.task == "classifier")
    if card is not None:
        with suppress(OSError, RequestError, WeightsError):  # Start says what is wrong
            recording.cost(recorded, config.build(preset, changes), card, images)
    return recorded


def _machine() -> dict[str, Any]:
    from dfkd_core.runs.request import devices

    if (engine := boot.start().engine) is not None:
        st.caption(f"Where it trains: {engine.title}.")
    device = widgets.select("Device", "device", devices(), devices()[-1])
    st.session_state.setdefault("form:seed", 0)
    help = glossary.help_of("seed", "Of everything random in the run.")
    seed = st.number_input("Seed", *address.NUMBERS["seed"], key="form:seed", help=help)
    st.session_state.setdefault("form:threads", 1)
    help = glossary.help_of("threads")
    threads = st.number_input("Threads", *address.NUMBERS["threads"], key="form:threads", help=help)
    st.session_state.setdefault("form:data", str(data_folder()))
    folder = st.text_input("Data folder", key="form:data", help="Where data sets lie, for you and the runs you start.")
    return {
        "device": device,
        "seed": int(seed),
        "threads": int(threads),
        "data": folder,
        **(_on_gpu() if device != "cpu" else {}),
    }


def _on_gpu() -> dict[str, Any]:
    """How a GPU computes; on a CPU there is nothing to choose."""
    precision = widgets.select("Precision", "precision", ["auto", "bf16", "tf32", "float32"], "auto")
    compiled = widgets.select("Compile", "compile", ["auto", "off", "on"], "auto")
    st.session_state.setdefault("form:deterministic", False)
    same = st.checkbox("The same bits again", key="form:deterministic", help=glossary.help_of("deterministic"))
    return {"precision": precision, "compile": compiled, "deterministic": same}
