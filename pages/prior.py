"""Class prior: what telling the generator to make images that the teacher classifies without doubt does to them."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pandas as pd
import streamlit as st

from dfkd_core.errors import RequestError
from dfkd_core.store import RunFolder, runs_folder, runs_in
from dfkd_core.study import Progress, Study
from dfkd_core.study.estimate import estimated_seconds
from dfkd_core.study.outcome import plural, points
from pages.ui import boot, look
from pages.ui.study import experiment, prior

if TYPE_CHECKING:
    from pages.ui.form.form import Choice

KIND = "prior"
STEPS = {"0.5": 2, "0.25": 4, "0.2": 5, "0.1": 10}  # of λ from 0 to 1
EPOCHS, SEEDS, SAMPLES = 12, 3, 2000
WHAT = """
**A class prior** tells the generator to make images that the teacher puts into one class without doubt: its loss gets
the cross-entropy between the teacher's answer and the teacher's own argmax, times the intensity **λ**. TA-DFKD does
without (λ = 0). This experiment trains the same student once for each λ and seed, and then asks how good the images
are (FID to real test images, after Fig. 2 of the paper) and how they look (after Fig. 3): pointing at a run shows its
images of a class beside those that the same seed gave without the prior. Beside it stands what may explain the
result: whether the classes come out alike, whether images within a class still differ, and how the student ended.
"""


def main() -> None:
    """One script run of the page."""
    study = experiment.chosen(KIND)
    if study is None:
        _set_up()
        return
    _settings(study)
    experiment.watch(study, _offer_csv, prior.show)


# --- a new experiment ------------------------------------------------------------------------------------------


def _set_up() -> None:
    choice = _form()
    st.subheader("Class prior")
    st.markdown(WHAT)
    with st.container(horizontal=True, vertical_alignment="top"):
        steps = st.segmented_control("λ from 0 to 1 in steps of", list(STEPS), default="0.2", key="prior:steps")
        seeds = st.number_input("Seeds", 1, 20, SEEDS, key="prior:seeds", width=100, help="Runs for each λ.")
        epochs = st.number_input(
            "Epochs of a run", 1, 100_000, EPOCHS, key="prior:epochs", width=125, help="Instead of the form's."
        )
        samples = st.number_input(
            "Images measured",
            100,
            50_000,
            SAMPLES,
            100,
            key="prior:samples",
            width=135,
            help="Of each run's generator.",
        )
        extractor = _extractor(choice)
    intensities = [round(index / STEPS[steps or "0.2"], 4) for index in range(STEPS[steps or "0.2"] + 1)]
    asked = None
    if choice is not None:
        first = choice.fields["seed"]
        fields = {name: value for name, value in choice.fields.items() if name != "seed"}
        knobs = {name: value for name, value in choice.changes.items() if name != "class_prior_weight"}
        asked = {
            "intensities": intensities,
            "seeds": list(range(first, first + int(seeds))),
            "changes": {**knobs, "epochs": int(epochs)},
            **fields,
        }
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button("Start", icon=":material/play_arrow:", type="primary", disabled=asked is None, key="start"):
            assert asked is not None
            _start({**asked, "samples": int(samples), "extractor": extractor})
        count = len(intensities) * int(seeds)
        st.markdown(f"**{count} runs**, one after the other{_duration(asked)}.")
    experiment.problem()
    experiment.list_earlier(KIND)


def _form() -> Choice | None:
    """What the sidebar says; None while the engine is still being started."""
    with st.sidebar:
        ready = experiment.engine_state()
    if not ready:
        return None
    from pages.ui.form import form

    return form.show()


def _extractor(choice: Choice | None) -> str:
    """Whose features FID is measured in; empty for the usual one."""
    if choice is None:
        return ""
    from dfkd_core.quality.measures import usual_extractor
    from dfkd_core.teachers.cards import available_teachers, find_card

    try:
        under_test = find_card(choice.fields["teacher"])[0]
        usual = usual_extractor(under_test)
    except RequestError:
        return ""  # Start says what is missing
    others = [f"teacher:{name}" for name in available_teachers(under_test.benchmark) if name != under_test.name]
    names = list(dict.fromkeys([usual, *others]))
    if find_spec("torch_fidelity"):
        names.append("inception")
    help = "The network in whose features images are compared. Never the teacher that the images are made from."
    return st.selectbox(
        "FID in the features of", names, format_func=lambda name: name.removeprefix("teacher:"), help=help, width=230
    )


def _duration(asked: dict[str, Any] | None) -> str:
    """About how long it will take, in words, by what similar runs took here."""
    if asked is None:
        return ""
    from dfkd_core.study.kinds import prior_specs

    try:
        specs = [spec.model_dump() for _, spec in prior_specs(**asked)]
    except RequestError:
        return ""  # Start says what is wrong
    judged_by = [*runs_in(runs_folder()), RunFolder(boot.RECORDED)]
    seconds = estimated_seconds(specs, judged_by, measured=True)
    return experiment.duration_words(seconds)


def _start(asked: dict[str, Any]) -> None:
    from dfkd_core.study import kinds

    experiment.begin(KIND, lambda: kinds.prior(runs_folder(), **asked))


# --- one that exists -------------------------------------------------------------------------------------------


def _settings(study: Study) -> None:
    """What the experiment was begun with."""
    settings, config = study.settings, study.cells[0].spec["config"]
    facts = {
        **{name: settings[name] for name in ("benchmark", "teacher", "student", "method", "preset")},
        "λ": ", ".join(f"{value:g}" for value in settings["intensities"]),
        "seeds": ", ".join(map(str, settings["seeds"])),
        "measured": f"{settings['samples']:,} images of each run",
        "features": settings["extractor"].removeprefix("teacher:"),
    }
    experiment.begun_with(study, "This experiment", facts)
    with st.sidebar, st.expander("Knobs", icon=":material/tune:"):
        knobs = {name: str(value) for name, value in config.items() if name != "class_prior_weight"}
        st.dataframe(
            {"knob": [name.replace("_", " ") for name in knobs], "value": list(knobs.values())}, hide_index=True
        )


def _offer_csv(study: Study, progress: Progress) -> None:
    table = pd.DataFrame(points(progress.cells))
    label = f"{plural(len(table), 'point')} as CSV"
    experiment.offer_csv(table.to_csv(index=False), f"class-prior-{study.id}", table.empty, label)


look.through_app("pages/prior.py")
main()
