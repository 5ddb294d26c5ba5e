"""Lessons: experiments that are ready for a class, with what to look for and what to ask."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from dfkd_core.study import Progress, Study, find
from dfkd_core.teachers.cards import TeacherCard, available_teachers
from pages.ui import look
from pages.ui.present import presenter
from pages.ui.study import beginning, lesson, watching

KIND = find("fig1a")
WHAT = """
### Two good teachers, and what each family of methods makes of them

Both teachers classify test images about equally well, so one would expect equally good students. **Look for** whether
the same curve ends alike on the left and on the right; whether a curve climbs and then falls, since without data nobody
can tell when to stop (that is why *final* stands beside *best*); and which family depends most on the teacher. The four
curves of a panel share networks, schedule and seed and differ only in what the generator is to make: images that the
teacher is sure of (*class prior*, the terms of DAFL), images on which student and teacher disagree (*adversarial*, the
term of DFAD), *both*, or TA-DFKD, where the teacher rejects images instead. They are these terms in one schedule, not
those papers' own programs: DAFL's with natural logarithms instead of base 10, on the pooled features in front of the
last linear layer, from a generator that ends with a sigmoid, for a student that learns by L1. After Fig. 1a of TA-DFKD.
"""
QUESTIONS = """
1. Pick a winner by the *best* column, then by *final*. Do you pick the same? Which of the two numbers would somebody
   have who owns no test image?
2. Both teachers are right equally often. What else about a teacher can matter to a generator that knows nothing but
   the teacher's answers and gradients? Think of how it was trained, and of how sure it is of images that are no digits.
3. Can an image please the class prior without looking like a digit? Open that run in Inspect and find one.
4. The adversarial term looks for images on which the student is wrong. What if the teacher has no reason to be right
   there either?
5. TA-DFKD rejects images instead of demanding that the teacher be sure. Which of the failures that you saw can that
   prevent, and which not?
6. One run is an anecdote. What would you have to run before you believe a difference between two curves? Start the
   lesson again with another seed.
"""


@dataclass(frozen=True)
class Setting:
    """What suits a benchmark: a few minutes for digits."""

    title: str
    preset: str
    epochs: int
    evaluate_every: int
    teachers: tuple[str, str]


SETTINGS = {
    "digits": Setting("Digits 8×8", "demo", 12, 10, ("digits-resnet20-plain", "digits-lenet5-bn-mixup")),
    "mnist": Setting("MNIST", "demo", 10, 20, ("mnist-lenet5-plain", "mnist-lenet5-bn-smooth")),
}


def main() -> None:
    """One script run of the page."""
    with st.sidebar:
        presenter.offer()
    study = watching.chosen(KIND)
    if study is None:
        _set_up()
    else:
        watching.watch(study, _what_to_look_for, lesson.show)
    with st.expander("Questions for the class", icon=":material/contact_support:", expanded=True):
        st.markdown(QUESTIONS)


def _set_up() -> None:
    st.markdown(WHAT)
    with st.sidebar:
        ready = watching.engine_state()
    with look.labelled("teachers", vertical_alignment="top"):
        benchmark = st.selectbox(
            "Benchmark",
            list(SETTINGS),
            format_func=lambda name: SETTINGS[name].title,
            key="lesson:benchmark",
            width=150,
        )
        setting = SETTINGS[benchmark]
        teachers = _teachers(benchmark, setting)
    with look.labelled("length"):
        key = f"lesson:{benchmark}:epochs"  # another benchmark, another usual length
        epochs = st.number_input("Epochs of a run", 1, 100_000, setting.epochs, key=key, width=130)
        seed = st.number_input("Seed", 0, 2**31 - 1, 0, key="lesson:seed", width=120)
    run = {
        "benchmark": benchmark,
        "preset": setting.preset,
        "evaluate_every": setting.evaluate_every,
        "seed": int(seed),
    }
    given = {"teachers": teachers, "knobs": {"epochs": int(epochs)}, "run": run}
    beginning.offer(KIND, given if ready else None)


def _teachers(benchmark: str, setting: Setting) -> list[str]:
    cards = available_teachers(benchmark)
    return [
        st.selectbox(
            label,
            list(cards),
            index=list(cards).index(usual) if usual in cards else 0,
            format_func=lambda name: _title(cards[name]),
            key=f"lesson:{benchmark}:{label}",
            width=300,
        )
        for label, usual in zip(("Teacher on the left", "Teacher on the right"), setting.teachers, strict=True)
    ]


def _title(card: TeacherCard) -> str:
    return card.title if card.accuracy is None else f"{card.accuracy:.1%} · {card.title}"


def _what_to_look_for(study: Study, progress: Progress) -> None:
    with st.popover("What to look for", icon=":material/visibility:"):
        st.markdown(WHAT)


look.through_app("pages/lessons.py")
main()
