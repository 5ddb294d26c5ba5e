"""The stage of a run: one component in the browser that draws curves, images and histograms without reruns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import streamlit as st

from dfkd_core.analysis.alarms import alarms
from dfkd_core.analysis.timeline import Timeline
from dfkd_core.store import RunFolder, RunStatus
from pages.ui import boot
from pages.ui.words import phases, tour

HERE = Path(__file__).parent
WEB = HERE.parent / "web"
MAX_FRAMES = 16  # sent at once
KEYS = {"titles": "title", "moved": "of"}
BADGES = {"running": "running", "queued": "waiting", "interrupted": "interrupted"}


def show(
    folder: RunFolder,
    status: RunStatus,
    timeline: Timeline,
    steer: Callable[[str], None] | None = None,
    recorded: bool = False,
) -> None:
    """Draw the run, or bring what is drawn up to date. Call it at the same place in every rerun.

    ``steer`` carries out what slow motion wants of the run.
    """
    asked = what_is_asked("stage", folder.id)
    if steer is not None and asked["command"]:
        steer(asked["command"])
    data = data_of(folder, status, timeline, asked) | {"spot": tour.spot(sorted(timeline.frames), asked)}
    if recorded:
        data |= {"autoplay": data["spot"] is None, "badge": "recorded run", "state": "done", "message": ""}
    _component()(key="stage", data=data, on_ask_change=lambda: None)


@st.cache_resource(show_spinner=False)
def _component() -> Any:
    return component("stage")


def component(name: str) -> Any:
    """The component of ``NAME.js`` with what all stages of a run share. To be cached by the caller."""
    styles = [path for path in (HERE / "stage.css", HERE / f"{name}.css") if path.exists()]
    scripts = [WEB / "common.js", *(HERE / part for part in ("slow.js", "player.js", f"{name}.js"))]
    return st.components.v2.component(
        f"dfkd_{name}",
        html='<div class="dfkd-host"></div>',
        css="\n".join(path.read_text() for path in dict.fromkeys(styles)),
        js="\n".join(path.read_text() for path in scripts),
        isolate_styles=False,  # plotly puts its style sheet into the document, not into a shadow root
    )


def what_is_asked(key: str, run_id: str) -> dict[str, Any]:
    """What the browser asked for since the last rerun of the component ``key``: frames it lacks, a command, and the
    step it looks at, which goes into the address."""
    state = st.session_state.get(key)
    asked = (state.get("ask") if state else None) or {}
    if asked.get("run") != run_id:
        return {"want": [], "view": _step_in_address(), "slow": _slow_in_address(), "command": ""}
    _step_to_address(asked["view"])
    _slow_to_address(asked["slow"])
    if st.session_state.get(f"{key}:answered") == asked["nonce"]:
        return {**asked, "want": [], "command": ""}
    st.session_state[f"{key}:answered"] = asked["nonce"]
    return dict(asked)


def _slow_in_address() -> list[int] | None:
    """Step and phase of slow motion."""
    step, _, phase = st.query_params.get("slow", "").partition(".")
    return [int(step), int(phase)] if step.isdigit() and phase.isdigit() else None


def _slow_to_address(slow: list[int] | None) -> None:
    if slow is None:
        st.query_params.pop("slow", None)
    elif slow != _slow_in_address():
        st.query_params["slow"] = f"{slow[0]}.{slow[1]}"


def _step_in_address() -> int | None:
    text = st.query_params.get("step", "")
    return int(text) if text.isdigit() else None


def _step_to_address(step: int | None) -> None:
    """In every rerun, answered or not: one may be cut short before it told the browser."""
    if step is None:
        st.query_params.pop("step", None)
    elif step != _step_in_address():
        st.query_params["step"] = str(step)


def data_of(
    folder: RunFolder,
    status: RunStatus,
    timeline: Timeline,
    asked: dict[str, Any],
    recorded: Callable[[], list[int]] | None = None,
    frame_of: Callable[[int], dict[str, Any] | None] | None = None,
) -> dict[str, Any]:
    """What a stage is told about its run: the curves so far, the frames that were ``asked`` for, the newest one.

    ``recorded``: the steps that have a frame, and ``frame_of`` the frame of one; else they are its samples.
    """
    version = timeline.update()
    spec = folder.spec()
    facts = folder.environment()
    terms = facts.get("terms", [])
    classes = list(facts.get("classes", [str(index) for index in range(10)]))
    wanted = [int(step) for step in asked["want"][:MAX_FRAMES]]
    steps = recorded() if recorded is not None else sorted(timeline.frames)
    if asked["view"] is None and steps:
        wanted.append(steps[-1])
    elif asked["view"] in steps:
        wanted.append(asked["view"])
    total = status.total_steps or max(timeline.step, 1)
    frame_of = frame_of or timeline.frame
    frames = {step: frame for step in dict.fromkeys(wanted) if (frame := frame_of(step)) is not None}
    live = status.state in ("running", "paused")
    return {
        "run": folder.id,
        "version": version,
        "base": boot.base_path(),
        "state": status.state,
        "badge": BADGES.get(status.state, status.state),
        "message": status.message,
        "title": f"{spec['method']} · {spec['teacher']} → {spec['student']} · seed {spec['seed']}",
        "step": timeline.step,
        "total": total,
        "elapsed": round(timeline.elapsed, 1),
        "left": timeline.time_left(total),
        "score": timeline.score,
        "teacher": timeline.teacher,
        "selection": spec["config"].get("selection", False),
        "classes": classes,
        **_drawn(terms, timeline),
        "curves": {name: curve.thinned() for name, curve in timeline.curves.items()},
        "steps": steps,
        "frames": {str(step): frame for step, frame in frames.items()},
        "marks": timeline.marks,
        "stages": timeline.stages,
        "alarms": [asdict(alarm) for alarm in alarms(timeline, total, len(classes), terms)] if live or steps else [],
        "view": asked["view"],
        "autoplay": False,
        "phases": phases.described(spec["method"], facts.get("phases", [])),
        "slow": asked["slow"],
        **_slow_motion(timeline, asked["slow"]),
    }


def _drawn(terms: list[dict[str, Any]], timeline: Timeline) -> dict[str, Any]:
    """What the student descends, and the terms of the run that have a curve: their names, titles, and of whom they
    are the gradient."""
    student = {"name": "student_loss", "title": "student loss", "of": "student"}
    drawn = [term for term in (student, *terms) if term["name"] in timeline.curves]
    names = [term["name"] for term in drawn]
    return {"terms": names, **{key: {term["name"]: term[name] for term in drawn} for key, name in KEYS.items()}}


def _slow_motion(timeline: Timeline, slow: list[int] | None) -> dict[str, Any]:
    """The steps recorded in slow motion; of the one looked at, and of the newest, the tensors."""
    steps = sorted(timeline.slow)
    wanted = {slow[0], *steps[-1:]} if slow is not None else set()
    frames = {str(step): frame for step in wanted if (frame := timeline.slow_motion(step)) is not None}
    return {"slow_steps": steps, "slow_frames": frames}
