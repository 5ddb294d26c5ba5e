"""The table of all methods: what each needs, does and costs; one is opened, two are laid beside each other."""

from __future__ import annotations

from typing import Any

import streamlit as st

from dfkd_core.kit.portrait import Portrait
from pages.ui import boot
from pages.ui.methods import facts
from pages.ui.web import view

KEY, ABOUT = "methods", "table"


def follow() -> None:
    """Once, before anything is drawn: into the address, what was asked for in the table."""
    view.carry_out(KEY, view.asked(KEY, ABOUT), _open)


def _open(order: dict[str, Any]) -> None:
    names = [name for name in order.get("methods", []) if name in facts.known()]
    if names:
        st.query_params["method"] = names[0]
    if len(names) > 1:
        st.query_params["with"] = names[1]


def show(found: list[Portrait], preset: str) -> None:
    """Draw the table of the methods ``found``, or bring what is drawn up to date."""
    data = {"rows": [row(one, preset) for one in found], "preset": preset, **view.answer(KEY, view.asked(KEY, ABOUT))}
    draw = view.view("methods", "methods/table.js", "methods/table.css")
    draw(key=KEY, data=data, on_ask_change=lambda: None)


def row(one: Portrait, preset: str) -> dict[str, Any]:
    """What the table says of a method; ``order`` holds the numbers that it is sorted by."""
    said = facts.rows(one, preset)
    about = "" if one.chosen == "all" else f"from {one.chosen}"
    return {
        "name": one.name,
        "title": one.title,
        "href": f"{boot.base_path()}/methods?method={one.name}",
        "needs": "" if one.needs == facts.ALONE else f"needs {one.needs}",
        "images": [one.images, "each batch of them is optimised" if one.fitted else ""],
        "terms": facts.groups(one),
        "student": [one.student, about],
        "kept": [said["Kept of images"], ""],
        "steps": [said["Steps"], f"{one.updates:,} updates a step" if one.updates > 1 else "one update a step"],
        "asked": [said["Teacher queries a step"], f"{said['Teacher queries a run']} a run" if one.asked else ""],
        "order": {
            "title": one.title.lower(),
            "steps": sum(stage.steps for stage in one.stages),
            "asked": one.asked[0] if one.asked else None,
        },
    }
