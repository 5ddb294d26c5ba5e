"""The guided tour of the Distill page: five stops for a first lesson.

Each stop has a card above the stage, frames one of its panels and shows the run at one step. It works on any run, the
recorded one included, and only looks: nothing is started, stopped or changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import streamlit as st

from dfkd_core.runs.spec import read_spec
from dfkd_core.store import RunFolder
from pages.ui import linked
from pages.ui.words.glossary import link as term

# The card stays in sight while the page is scrolled to the panel that it speaks of.
STYLE = """
<style>
div:has(> .st-key-tour-card) { position: sticky; top: 1.7rem; z-index: 90; }
.st-key-tour-card { background: light-dark(#eaf3fa, #16293a); border-color: light-dark(#0072b2, #56b4e9);
  padding: .6rem 1rem; }
</style>
"""


@dataclass(frozen=True)
class Stop:
    """``panel``: the name of a panel in ``stage.js``. ``at``: the share of the run to show, 0 its first recorded
    step; None follows the newest. ``selects``: whether it speaks of the selection, which some runs do without."""

    title: str
    text: str
    panel: str
    at: float | None = None
    selects: bool = False

    def step(self, recorded: list[int]) -> int | None:
        """The nearest of the ``recorded`` steps (ascending); None to follow the newest."""
        if self.at is None or not recorded:
            return None
        wanted = self.at * recorded[-1]
        return min(recorded, key=lambda step: abs(step - wanted))


def stops() -> tuple[Stop, ...]:
    """The five stops, linked to the glossary of this server."""
    return (
        Stop(
            "Teacher and student",
            f"The {term('teacher')} is a large, well-trained network, frozen: the dashed line. The {term('student')} "
            "is small, starts from nothing and learns from the teacher's answers alone, without one image of the "
            f"teacher's training data. The big number is its {term('accuracy')} on test images, which only measure. "
            "How close does the blue curve come to the dashed line?",
            "accuracy",
        ),
        Stop(
            "The generator's images",
            f"Without data, the images have to be made. The {term('generator')} turns random numbers, its "
            f"{term('latent', 'latents')}, into {term('synthetic image', 'synthetic images')}. This is how they start: "
            f"shapeless noise. Below each is the teacher's {term('label')} and its {term('confidence')}: what does it "
            "say about noise, and how sure is it? Then drag the track to the right.",
            "samples",
            at=0.0,
        ),
        Stop(
            "The teacher judges",
            f"How sure is the teacher of each image? Its {term('judged loss')} is low, on the left, where it is sure. "
            f"Two bell curves, the {term('mixture')}, are fitted to the losses of a batch. An image is accepted where "
            f"the {term('posterior')} of the solid curve is above the {term('threshold')} τ: in the shaded "
            f"{term('accepted region', 'region')}. Drag the track: does the region move as the training goes on?",
            "judged",
            at=0.1,
            selects=True,
        ),
        Stop(
            "Clean and rejected",
            f"The student learns from the {term('clean')} images only (green, solid frames), never from the "
            f"{term('rejected')} ones (orange, dashed). The generator is not told which class to make: the teacher is "
            f"a {term('lenient expert')}, which picks instead of commanding. Compare the labels in both groups: which "
            "would you have kept?",
            "samples",
            at=0.5,
            selects=True,
        ),
        Stop(
            "The curve climbs",
            "Press **▶ Replay** on the track to watch the curve grow, or **Start** to train a student on this machine. "
            f"Then change one thing under *More knobs* and start again: switch {term('selection')} off, or give the "
            f"{term('class prior')} a weight. Or choose another teacher of the same accuracy. *Runs* lays the curves "
            "over each other. What changed, and would it with another seed?",
            "accuracy",
        ),
    )


def button() -> None:
    """The way in: at the right end of the row that it is drawn into."""
    st.space("stretch")
    st.button("Tour", icon=":material/tour:", key="tour", on_click=_go, args=(1,), help="Five stops, a first lesson.")


def card(shown: RunFolder) -> None:
    """The stop's card, for the run that is shown, and the stop's number in the address."""
    number = _number()
    _to_address(number)
    if number is None:
        return
    stop, count = stops()[number - 1], len(stops())
    st.html(STYLE)
    with st.container(border=True, key="tour-card", gap="xsmall"):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.markdown(f"**{stop.title}** :gray[· Stop {number} of {count}]")
            st.space("stretch")
            st.button("Back", key="tour-back", disabled=number == 1, on_click=_go, args=(number - 1,))
            following = number + 1 if number < count else None
            label = "Next" if following else "Finish"
            st.button(label, key="tour-next", type="primary", on_click=_go, args=(following,))
            st.button("Leave", key="tour-leave", type="tertiary", on_click=_go, args=(None,))
        st.markdown(stop.text)
        if stop.selects and not read_spec(shown).knob("selection", False):
            st.caption("The run shown learns without selection: nothing is rejected here.")


def spot(steps: list[int], asked: dict[str, Any]) -> dict[str, Any] | None:
    """What the stage shows at this stop, out of the recorded ``steps``; None outside the tour.

    ``go``: the scrubber is yet to be moved there, as far as the stage ``asked``. Who comes in by an address that
    names a step stays at that one.
    """
    number = _number()
    if number is None:
        return None
    stop = stops()[number - 1]
    by_button = st.session_state.get("tour:went", False)
    go = asked.get("stop") != number and (by_button or asked["view"] is None)
    return {"stop": number, "panel": stop.panel, "step": stop.step(steps), "go": go}


# --- where the visitor is --------------------------------------------------------------------------------------


def _go(number: int | None) -> None:
    st.session_state.update({"tour:stop": number, "tour:went": True})


def _number() -> int | None:
    """The stop, from 1; None outside the tour. The address is read once a session: after that it only follows."""
    if "tour:stop" not in st.session_state:
        st.session_state["tour:stop"] = int(linked.one_of("tour", map(str, range(1, len(stops()) + 1)), "0")) or None
    number: int | None = st.session_state["tour:stop"]
    return number


def _to_address(number: int | None) -> None:
    if number is None:
        st.query_params.pop("tour", None)
    elif st.query_params.get("tour") != str(number):
        st.query_params["tour"] = str(number)
