"""Class prior: what telling the generator to make images that the teacher classifies without doubt does to them."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pandas as pd
import streamlit as st

from dfkd_core.analysis.export import csv_text
from dfkd_core.errors import RequestError
from dfkd_core.study import Progress, Study, find
from dfkd_core.study.tables import plural
from pages.ui import look
from pages.ui.run import steering
from pages.ui.study import beginning, prior, watching

if TYPE_CHECKING:
    from pages.ui.form.form import Choice

KIND = find("prior")
STEPS = {"0.5": 2, "0.25": 4, "0.2": 5, "0.1": 10}  # of λ from 0 to 1
EPOCHS = 12
WHAT = """
**A class prior** tells the generator to make images that the teacher puts into one class without doubt: its loss gets
the cross-entropy between the teacher's answer and the teacher's own argmax, times the intensity **λ**. TA-DFKD does
without (λ = 0). This study trains the same student once for each λ and seed, and then asks how good the images
are (FID to real test images, after Fig. 2 of the paper) and how they look (after Fig. 3): pointing at a run shows its
images of a class beside those that the same seed gave without the prior. Beside it stands what may explain the
result: whether the classes come out alike, whether images within a class still differ, and how the student ended.
"""


def main() -> None:
    """One script run of the page."""
    study = watching.chosen(KIND)
    if study is None:
        _set_up()
        return
    _settings(study)
    watching.watch(study, _offer_csv, prior.show)


# --- a new one -------------------------------------------------------------------------------------------------


def _set_up() -> None:
    choice = steering.choose()
    st.subheader("Class prior")
    st.markdown(WHAT)
    with look.labelled("asked", vertical_alignment="top"):
        steps = st.segmented_control("λ from 0 to 1 in steps of", list(STEPS), default="0.2", key="prior:steps")
        count = STEPS[steps or "0.2"]
        first_seed = choice.fields["seed"] if choice is not None else 0
        given: dict[str, Any] = {"intensities": [round(index / count, 4) for index in range(count + 1)]}
        given |= beginning.asked(KIND, ("seeds",), first_seed)
        epochs = st.number_input(
            "Epochs of a run", 1, 100_000, EPOCHS, key="prior:epochs", width=125, help="Instead of the form's."
        )
        given |= beginning.asked(KIND, ("measured",))
        given["extractor"] = _extractor(choice)
    if choice is not None:
        given = beginning.with_form(KIND, given, choice)
        given["knobs"]["epochs"] = int(epochs)
    beginning.offer(KIND, given if choice is not None else None)


def _extractor(choice: Choice | None) -> str:
    """Whose features FID is measured in; empty for the usual one."""
    if choice is None:
        return ""
    from dfkd_core.networks.known import PROGRAMS
    from dfkd_core.quality.measures import usual_extractor
    from dfkd_core.teachers.cards import available_teachers, find_card

    try:
        under_test = find_card(choice.fields["teacher"])[0]
        usual = usual_extractor(under_test)
    except RequestError:
        return ""  # Start says what is missing
    cards = available_teachers(under_test.benchmark).values()
    others = [f"teacher:{card.name}" for card in cards if card.name != under_test.name and card.network not in PROGRAMS]
    names = list(dict.fromkeys([usual, *others]))
    if find_spec("torch_fidelity"):
        names.append("inception")
    help = "The network in whose features images are compared. Never the teacher that the images are made from."
    return st.selectbox(
        "FID in the features of", names, format_func=lambda name: name.removeprefix("teacher:"), help=help, width=230
    )


# --- one that exists -------------------------------------------------------------------------------------------


def _settings(study: Study) -> None:
    """What the study was begun with."""
    settings, config = study.settings, study.cells[0].spec.config
    facts = {
        **{name: settings[name] for name in ("benchmark", "teacher", "student", "method", "preset")},
        "λ": ", ".join(f"{value:g}" for value in settings["intensities"]),
        "seeds": ", ".join(map(str, settings["seeds"])),
        "measured": f"{settings['samples']:,} images of each run",
        "features": settings["extractor"].removeprefix("teacher:"),
    }
    watching.begun_with(study, facts)
    with st.sidebar, st.expander("Knobs", icon=":material/tune:"):
        knobs = {name: str(value) for name, value in config.items() if name != "class_prior_weight"}
        st.dataframe(
            {"knob": [name.replace("_", " ") for name in knobs], "value": list(knobs.values())}, hide_index=True
        )


def _offer_csv(study: Study, progress: Progress) -> None:
    table = pd.DataFrame(KIND.table(study.settings, progress.cells))
    label = f"{plural(len(table), 'point')} as CSV"
    watching.offer_csv(csv_text(table), f"class-prior-{study.id}", table.empty, label)


look.through_app("pages/prior.py")
main()
