"""What a run records for Inspect, fixed latents and slow motion, and what that takes on disk."""

from __future__ import annotations

from typing import Any

import streamlit as st

from dfkd_core.kit.config import MethodConfig
from dfkd_core.runs.spec import RunSpec
from dfkd_core.teachers.cards import TeacherCard, find_card
from dfkd_core.teachers.load import pooled_width
from pages.ui.form import widgets
from pages.ui.words import glossary

KNOBS = {  # and the word of the glossary that explains each
    "samples_every": "synthetic image",
    "samples": "synthetic image",
    "probes_every": "fixed latents",
    "probes": "fixed latents",
    "phases_every": "slow motion",
    "real": "boundary of the real class",
    "features": "penultimate features",
}


OF_CLASSIFIERS = ("real", "features")
BESIDE = 110  # images of reconstructions and interpolations that a generative run keeps with its samples


def knobs(classifies: bool = True) -> dict[str, Any]:
    """Draw the knobs of a run that distils a classifier, or a generative model; return those that differ from the
    usual."""
    changed = {}
    for name, term in KNOBS.items():
        if not classifies and name in OF_CLASSIFIERS:
            continue
        field = RunSpec.model_fields[name]
        given = st.session_state.get("form:asked", {}).pop(f"record:{name}", None)
        key = f"form:record:{name}"
        if key not in st.session_state:
            st.session_state[key] = widgets.parsed(name, field, given, field.default)
        label, help = name.replace("_", " "), glossary.help_of(term, f"{field.description} Usually {field.default}.")
        if field.annotation is bool:
            value: Any = st.toggle(label, key=key, help=help)
        else:
            low, high = widgets.bounds(field)
            value = st.number_input(label, int(low or 0), int(high or 2**31), key=key, step=1, help=help)
        if value != field.default:
            changed[name] = value
    return changed


def cost(recorded: dict[str, Any], config: MethodConfig, card: TeacherCard, collected: int) -> None:
    """Say about how much disk a run with these settings takes, for which so many images are ``collected``. Raises
    ``WeightsError`` and ``OSError`` where the teacher's weights cannot be read."""
    image = card.image.spec()
    spec = RunSpec(**recorded, stages=config.stages_with(collected))
    if card.task == "generative":  # whose fixed latents become images of teacher and student
        spec = spec.model_copy(update={"features": False, "real": 0, "probes": 2 * spec.probes + BESIDE})
    size = spec.recorded_bytes(config, image, _width(card.name, card.sha256) if spec.features else 0, original=0)
    st.caption(f"About {size / 1e6:,.1f} MB for the {spec.total_steps:,} steps of this run.")


@st.cache_data(show_spinner=False, max_entries=32)
def _width(teacher: str, sha256: str) -> int:
    """Of the pooled features. ``sha256``: of the weights; of others it may be otherwise."""
    return pooled_width(*find_card(teacher))
