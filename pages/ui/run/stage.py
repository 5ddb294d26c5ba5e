"""The stage of a run: one component in the browser that draws curves, images and histograms without reruns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import streamlit as st

from dfkd_core.analysis.alarms import alarms
from dfkd_core.analysis.timeline import Timeline
from dfkd_core.runs.spec import RunSpec, read_spec
from dfkd_core.store import RunFolder, RunStatus
from pages.ui import boot, link, linked, recordings
from pages.ui.again import look_seconds
from pages.ui.run.feed import Feed, address_of, feed_of
from pages.ui.web.view import answer, asked, carry_out, view
from pages.ui.words import phases, tour

MAX_FRAMES = 16  # sent at once
KEYS = {"titles": "title", "moved": "of"}
BADGES = {"running": "running", "queued": "waiting", "interrupted": "interrupted"}


def show(
    folder: RunFolder,
    status: RunStatus,
    timeline: Timeline,
    steer: Callable[[str], None] | None = None,
) -> None:
    """Draw the run, or bring what is drawn up to date. Call it at the same place in every rerun.

    ``steer`` carries out what slow motion wants of the run.
    """
    said = what_is_asked("stage", folder, steer or (lambda command: None))
    data = data_of("stage", folder, status, timeline, said) | {"spot": tour.spot(sorted(timeline.frames), said)}
    data["autoplay"] &= data["spot"] is None
    told = recordings.is_one(folder) and _is_alone(data["spot"])
    data["idea"] = phases.idea(read_spec(folder).knob("selection", False)) if told else None
    view("stage", "run/stage.js", "run/player.css")(key="stage", data=data, on_ask_change=lambda: None)


def _is_alone(spot: dict[str, Any] | None) -> bool:
    """Whether nothing else tells what this is: no tour, no lesson, no page beside which it stands."""
    return spot is None and not link.word("lesson") and not link.word("beside")


def what_is_asked(key: str, folder: RunFolder, steer: Callable[[str], None]) -> dict[str, Any]:
    """What the view ``key`` asks of its run: frames that it lacks, and the step looked at, which goes into the address.
    What it wants of the run, ``steer`` carries out."""
    said = asked(key, folder.id)
    if said is None:
        return {"want": [], "view": _step_in_address(), "slow": _slow_in_address()}
    _step_to_address(said["view"])
    _slow_to_address(said["slow"])
    carry_out(key, said, lambda order: steer(order["name"]))
    return said


def _slow_in_address() -> list[int] | None:
    """Step and phase of slow motion."""
    step, _, phase = link.word("slow").partition(".")
    found = [number for number in (link.number(step), link.number(phase)) if number is not None]
    if link.word("slow") and len(found) != 2:
        linked.cannot("slow", link.word("slow"), "should be a step and a phase, such as 40.2.")
    return found if len(found) == 2 else None


def _slow_to_address(slow: list[int] | None) -> None:
    if slow is None:
        st.query_params.pop("slow", None)
    elif slow != _slow_in_address():
        st.query_params["slow"] = f"{slow[0]}.{slow[1]}"


def _step_in_address() -> int | None:
    return linked.whole_of("step")


def _step_to_address(step: int | None) -> None:
    """In every rerun, answered or not: one may be cut short before it told the browser."""
    if step is None:
        st.query_params.pop("step", None)
    elif step != _step_in_address():
        st.query_params["step"] = str(step)


def data_of(
    key: str,
    folder: RunFolder,
    status: RunStatus,
    timeline: Timeline,
    asked: dict[str, Any],
    recorded: Callable[[], list[int]] | None = None,
    frame_of: Callable[[int], dict[str, Any] | None] | None = None,
) -> dict[str, Any]:
    """What the view ``key`` is told about its run: which versions of its curves there are, the files of the frames
    ``asked`` for and of the newest one, the names of all where the run has ended; None stands for what cannot be read.

    ``recorded``: the steps that have a frame, and ``frame_of`` the frame of one; else they are its samples.
    """
    feed, spec = feed_of(str(folder.path)), read_spec(folder)
    news = news_of(folder, spec, status, timeline, feed, with_sheets=recorded is None)
    facts = folder.environment()
    steps = recorded() if recorded is not None else news["steps"]
    wanted = [int(step) for step in asked["want"][:MAX_FRAMES]]
    if asked["view"] is None and steps:
        wanted.append(steps[-1])
    elif asked["view"] in steps:
        wanted.append(asked["view"])
    live = status.state in ("running", "paused")
    if live:
        feed.tell(lambda: news_of(folder, spec, folder.status_seen(), timeline, feed, with_sheets=recorded is None))
    return {
        **answer(key, asked),
        **news,
        "feed": {"at": address_of(feed), "every": look_seconds() if live else None},
        "base": boot.base_path(),
        "title": spec.title,
        "classes": classes_of(facts),
        "steps": steps,
        "frames": {
            str(step): feed.file(frame_of(step)) if frame_of else feed.sheet(step) for step in dict.fromkeys(wanted)
        },
        "names": {} if live else feed.names(steps, frame_of or timeline.frame),
        "view": asked["view"],
        "autoplay": recordings.is_one(folder),
        "phases": phases.described(spec.method, facts.get("phases", [])),
        "slow": asked["slow"],
        **_slow_motion(timeline, asked["slow"]),
    }


def news_of(
    folder: RunFolder, spec: RunSpec, status: RunStatus, timeline: Timeline, feed: Feed, with_sheets: bool = True
) -> dict[str, Any]:
    """What changes while a run goes on, the same for all who watch it; ``with_sheets``: its samples are the frames."""
    timeline.update()
    versions = feed.curves()
    total = status.total_steps or max(timeline.step, 1)
    facts = folder.environment()
    terms, classes = facts.get("terms", []), classes_of(facts)
    seen = alarms(timeline, total, len(classes), terms, spec.config)
    steps = sorted(timeline.frames)
    shown = {"steps": steps, "newest": {str(step): feed.sheet(step) for step in steps[-1:]}} if with_sheets else {}
    live = status.state in ("running", "paused")
    return {
        **shown,
        "run": folder.id,
        "versions": versions,
        "version": versions[-1],
        "state": status.state,
        "badge": "recorded run" if recordings.is_one(folder) else BADGES.get(status.state, status.state),
        "message": status.message,
        "step": timeline.step,
        "total": total,
        "elapsed": round(timeline.elapsed, 1),
        "left": timeline.time_left(total),
        "memory": next(iter(timeline.recent("peak_memory", 1)), None),
        "score": timeline.score,
        "teacher": timeline.teacher,
        **_drawn(terms, timeline),
        "marks": timeline.marks,
        "stages": timeline.stages,
        "alarms": [asdict(alarm) for alarm in seen] if live or steps else [],
        "slow_steps": sorted(timeline.slow),
    }


def classes_of(facts: dict[str, Any]) -> list[str]:
    """Their names, of a run's environment."""
    return list(facts.get("classes", [str(index) for index in range(10)]))


def _drawn(terms: list[dict[str, Any]], timeline: Timeline) -> dict[str, Any]:
    """What the student descends, and the terms of the run that have a curve: their names, titles, and of whom they
    are the gradient."""
    student = {"name": "student_loss", "title": "student loss", "of": "student"}
    drawn = [term for term in (student, *terms) if term["name"] in timeline.curves]
    names = [term["name"] for term in drawn]
    return {"terms": names, **{key: {term["name"]: term[name] for term in drawn} for key, name in KEYS.items()}}


def seconds(changed: int | None) -> float:
    """Nanoseconds are more than a number of JavaScript holds; 0 where there is no file."""
    return (changed or 0) / 1e9


def _slow_motion(timeline: Timeline, slow: list[int] | None) -> dict[str, Any]:
    """The tensors of the step that is looked at in slow motion, and of the newest."""
    steps = sorted(timeline.slow)
    wanted = {slow[0], *steps[-1:]} if slow is not None else set()
    frames = {str(step): frame for step in wanted if (frame := timeline.slow_motion(step)) is not None}
    return {"slow_frames": frames}
