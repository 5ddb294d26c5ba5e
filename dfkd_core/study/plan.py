"""What a study will take, before anything starts: runs, time and disk, by runs of the past or a short calibration."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dfkd_core.events import Event, Step
from dfkd_core.kit.recording import times
from dfkd_core.runs.spec import RunSpec
from dfkd_core.store import RunFolder, runs_in
from dfkd_core.study.contract import Kind, Refused
from dfkd_core.study.estimate import Pace, facts_of, kind_of, known_paces, seconds_of
from dfkd_core.study.reuse import finished
from dfkd_core.study.tables import plural

CALIBRATED_SECONDS = 4.0  # of one setting, at most, beside what the start takes
SHEETS = {"samples": "samples_every", "probes": "probes_every", "phases": "phases_every"}


@dataclass(frozen=True)
class Plan:
    """``runs`` in all, ``there``: of these the results of so many are taken over; ``refused``: settings that cannot be
    run. ``seconds`` in all with ``slots`` at a time, and ``bytes`` on disk; None where nothing alike was run.
    ``unknown``: settings without a pace. ``notes``: what is to be said of them before they start."""

    runs: int
    there: int
    refused: list[Refused]
    slots: int
    seconds: float | None
    bytes: int | None
    unknown: int
    notes: list[str]


def plan(
    kind: Kind[Any], given: dict[str, Any], runs: Path, slots: int, reuse: str = "none", paces: Sequence[Pace] = ()
) -> Plan:
    """``paces``: what a calibration found, beside the runs of the past. Raises ``RequestError`` like ``begin``."""
    request = kind.Request.build(given)
    composed = kind.composed(request)
    specs = [spec for _, spec in composed.labelled]
    there = finished(runs, specs, reuse)
    left = [spec for spec, run in zip(specs, there, strict=True) if not run]
    known = [*paces, *known_paces(runs_in(runs))]
    measured = kind.samples(request) > 0
    seconds = [seconds_of(spec, known, measured) for spec in left]
    sizes = [_bytes_of(spec, known) for spec in left]
    return Plan(
        len(specs),
        sum(map(bool, there)),
        composed.refused,
        slots,
        None if None in seconds else sum(filter(None, seconds)) / slots,
        None if None in sizes else sum(filter(None, sizes)),
        len({kind_of(spec) for spec, one in zip(left, seconds, strict=True) if one is None}),
        notes_of(specs),
    )


def notes_of(specs: Iterable[RunSpec]) -> list[str]:
    """What is to be said of methods with their knobs and teachers, once for all runs of which it is true. Imports
    torch."""
    from dfkd_core.runs.request import remarks

    alike = {(spec.method, spec.teacher, str(spec.config)): spec for spec in specs}
    found: dict[str, dict[str, None]] = {}
    for spec in alike.values():
        for said in remarks(spec):
            found.setdefault(said, {})[f"{spec.method} on {spec.teacher}"] = None
    return [f"{', '.join(of)}: {said}" for said, of in found.items()]


def in_words(found: Plan) -> str:
    """In a line: how many runs, how long and how much disk they take."""
    parts = [plural(found.runs, "run")]
    if found.there:
        parts.append(f"{found.there} of them are there already")
    if found.refused:
        parts.append(f"{plural(len(found.refused), 'setting')} cannot be run")
    parts.append(f"{found.slots} at a time" if found.slots > 1 else "one at a time")
    if found.seconds is not None:
        parts.append(f"about {_time(found.seconds)}")
    if found.bytes is not None:
        parts.append(f"about {found.bytes / 1e6:,.0f} MB")
    if found.unknown:
        parts.append(f"nothing like {plural(found.unknown, 'setting')} was run here yet")
    return "; ".join(parts) + "."


def _time(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{seconds / 3600:.1f} hours" if minutes >= 90 else f"{minutes} min" if minutes else "a minute"


def _bytes_of(spec: RunSpec, known: Iterable[Pace]) -> int | None:
    """By the run most alike that is whole."""
    alike = [(likeness, pace) for pace in known if (likeness := pace.likeness(spec)) is not None]
    ranked = sorted(alike, key=lambda entry: -entry[0])
    return next((size for _, pace in ranked if (size := pace.size) is not None), None)


def calibrate(
    specs: Sequence[RunSpec], known: Sequence[Pace], said: Callable[[str], None] = lambda words: None
) -> list[Pace]:
    """Carry out a few steps of one of each kind of ``specs`` of which nothing is ``known``, in a folder that is removed
    again. Imports torch."""
    found: list[Pace] = []
    for spec in specs:
        if seconds_of(spec, [*known, *found]) is None:
            said(f"{spec.method} on {spec.teacher}")
            if (pace := _calibrated(spec)) is not None:
                found.append(pace)
    return found


def _calibrated(spec: RunSpec) -> Pace | None:
    """None where its first steps fail: the study will say so."""
    from dfkd_core.runs.loop import run

    marks: list[float] = []

    def watch(event: Event) -> None:
        if isinstance(event, Step):
            marks.append(time.perf_counter())
            if len(marks) > 2 and marks[-1] - marks[0] > CALIBRATED_SECONDS:
                folder.command("stop")

    with tempfile.TemporaryDirectory(prefix="dfkd-calibration-", ignore_cleanup_errors=True) as beside:
        folder, lease = RunFolder.begin(Path(beside), spec.model_dump())
        status = run(folder, lease, watch)
        if status.state == "failed" or len(marks) < 2:
            return None
        pace = (marks[-1] - marks[0]) / (len(marks) - 1)
        return Pace(facts_of(spec), pace, _foretold_bytes(folder, spec, len(marks)))


def _foretold_bytes(folder: RunFolder, spec: RunSpec, steps: int) -> int:
    """What recurs is as often as it will be in the whole run; the rest is there once."""
    total = 0
    for name in folder.files.walk():
        size, top = os.path.getsize(folder.path / name), name.partition("/")[0]
        if top in SHEETS:
            every = getattr(spec, SHEETS[top])
            total += size * times(every, spec.total_steps) // max(1, times(every, steps)) if every else size
        else:
            total += size * spec.total_steps // steps if name.endswith("events.jsonl") else size
    return total
