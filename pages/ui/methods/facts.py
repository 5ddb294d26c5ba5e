"""What the page says of a method in words: for the table, for one method, and for two beside each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import streamlit as st

from dfkd_core import methods
from dfkd_core.data.catalogue import find_benchmark
from dfkd_core.kit.contract import Requirements
from dfkd_core.kit.portrait import Portrait, portrait
from dfkd_core.runs.request import usual_teacher
from dfkd_core.teachers.cards import find_card
from dfkd_core.teachers.load import pooled_width
from pages.ui import link

PRESETS = {"demo": "digits", "cpu": "mnist", "paper": "cifar10"}
"""The benchmark that the figures of each preset are of."""
ALONE = Requirements().words()
TASKS = {"classifier": "a classifier", "generative": "a model that makes images"}
MOVED = {"images": "images themselves"}


@dataclass(frozen=True)
class Need:
    """``words``: on the page. ``holds``: of which methods."""

    words: str
    holds: Callable[[Portrait], bool]


NEEDS = {
    "alone": Need("Nothing but the teacher", lambda one: one.needs == ALONE),
    "no-batchnorm": Need("Whole without BatchNorm", lambda one: not one.batch_norm),
    "direct": Need("No optimisation per image", lambda one: not one.fitted),
    "classifier": Need("For classifiers", lambda one: one.task == "classifier"),
    "generative": Need("For image models", lambda one: one.task == "generative"),
}


def known() -> dict[str, str]:
    """Titles of all methods by their names."""
    return {name: method.title for name, method in methods.available().items()}


def fitting(needs: list[str], preset: str) -> list[Portrait]:
    """Of each method that all ``needs`` hold of, in the order of all."""
    found = [of(name, preset) for name in methods.available()]
    return [one for one in found if all(NEEDS[need].holds(one) for need in needs)]


def of(name: str, preset: str) -> Portrait:
    """The method ``name`` at ``preset``, or at its defaults where it has none of that name."""
    method = methods.find(name)
    return portrait(method, preset if preset in method.Config.presets else "")


def rows(one: Portrait, preset: str) -> dict[str, str]:
    """What is said of it, by the heading of the row."""
    return {
        "Distils": TASKS[one.task],
        "Needs beside the teacher": one.needs,
        "Images come from": one.images or "not told",
        "Optimised per batch of images": "yes" if one.fitted else "no",
        "The student learns from": one.chosen,
        "The student matches": one.student or "not told",
        "Kept of images": kept(one, preset),
        "BatchNorm in the teacher": batch_norm(one),
        "Steps": steps(one),
        "Updates of the student a step": f"{one.updates:,}",
        "Teacher queries a step": between(one.asked),
        "Teacher queries a run": between(one.asked_in_all),
    }


def between(asked: tuple[int, int] | None) -> str:
    """How many images the teacher judges, in words."""
    if asked is None:
        return "not counted"
    least, most = asked
    return f"{least:,}" if least == most else f"{least:,} to {most:,}"


def steps(one: Portrait) -> str:
    """How long a run is, and of which stages."""
    total = sum(stage.steps for stage in one.stages)
    parts = ", ".join(f"{stage.name} {stage.steps:,}" for stage in one.stages)
    return f"{total:,}" if len(one.stages) == 1 else f"{total:,}: {parts}"


def batch_norm(one: Portrait) -> str:
    """Which terms need it, and what is left without."""
    if not one.batch_norm:
        return "not needed"
    idle = ", ".join(term.title for term in one.batch_norm)
    left = ", ".join(term.title for term in one.terms if not term.batch_norm and term.of != "student")
    return f"for {idle}; without it {f'{left} are left' if left else 'nothing guides the images'}"


def kept(one: Portrait, preset: str) -> str:
    """What is kept of images, and what a checkpoint takes for it at most."""
    if one.task != "classifier":
        return one.kept
    found = one.kept_bytes(find_benchmark(PRESETS[preset]).image, teacher_width(PRESETS[preset]))
    return f"{one.kept}; at most {found / 1e6:,.1f} MB" if found else one.kept


@st.cache_data(show_spinner=False)
def teacher_width(benchmark: str) -> int:
    """Numbers of the pooled features of its usual teacher."""
    return pooled_width(*find_card(usual_teacher(benchmark)))


def groups(one: Portrait) -> list[tuple[str, list[dict[str, Any]]]]:
    """Its terms by what they move."""
    found: dict[str, list[dict[str, Any]]] = {}
    for term in one.terms:
        about = {"name": link.legible(term.title), "batch_norm": term.batch_norm}
        found.setdefault(MOVED.get(term.of, term.of), []).append(about)
    return list(found.items())
