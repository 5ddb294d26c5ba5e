"""How long runs will take, by what similar ones took on this machine. Does not import torch."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

from dfkd_core.errors import StoreError
from dfkd_core.runs.spec import RunSpec, read_spec
from dfkd_core.store import RunFolder

LEAST_STEPS = 20  # of a run that others are judged by
MOST_RUNS = 200  # looked at
MEASURING_SECONDS = 8.0  # of a run: mostly the start of its process
SAME_FIELDS = ("benchmark", "method", "student", "device", "threads", "teacher")
PACE_KNOBS = (
    "student_steps", "batch_size", "width", "updates", "gan_batch_size", "source", "synthesis_steps",
    "discriminator_steps", "memory_steps",
)  # fmt: skip
ENOUGH = SAME_FIELDS[:-1] + PACE_KNOBS  # for a rough idea; of what else is the same, the more the better


@dataclass(frozen=True)
class Pace:
    """``seconds`` a step of runs like ``facts``; ``bytes`` of a whole one, or the ``path`` of one that is whole."""

    facts: dict[str, Any]
    seconds: float
    bytes: int | None = None
    path: str = ""

    @property
    def size(self) -> int | None:
        """Bytes of a whole run; None where nobody knows."""
        return _size(self.path) if self.path else self.bytes

    def likeness(self, spec: RunSpec) -> int | None:
        """In how many facts ``spec`` is the same; None where it is not alike."""
        facts = facts_of(spec)
        if any(facts.get(name) != self.facts.get(name) for name in ENOUGH):
            return None
        return sum(name in self.facts and known == self.facts[name] for name, known in facts.items())


def estimated_seconds(specs: Iterable[RunSpec], runs: Iterable[RunFolder], measured: bool = False) -> float | None:
    """Of all ``specs`` one after the other; None if no run is alike.

    ``runs``: folders to judge by, newest first. For each specification the pace is that of the run that has most in
    common with it, and at least ``ENOUGH``.
    """
    known, total = known_paces(runs), 0.0
    for spec in specs:
        if (seconds := seconds_of(spec, known, measured)) is None:
            return None
        total += seconds
    return total


def seconds_of(spec: RunSpec, known: Sequence[Pace], measured: bool = False) -> float | None:
    """Of one run, by the pace most alike, the first of equals; None if none is."""
    alike = [(likeness, pace) for pace in known if (likeness := pace.likeness(spec)) is not None]
    if not alike:
        return None
    pace = max(alike, key=lambda entry: entry[0])[1]
    return pace.seconds * spec.total_steps + MEASURING_SECONDS * measured


def known_paces(runs: Iterable[RunFolder]) -> list[Pace]:
    """Of the newest runs that tell one."""
    return [pace for pace in map(_pace, islice(runs, MOST_RUNS)) if pace is not None]


def _pace(folder: RunFolder) -> Pace | None:
    status = folder.status()
    if status.step < LEAST_STEPS or "seconds" not in status.result:
        return None
    try:
        path = str(folder.path) if status.state == "done" else ""
        return Pace(facts_of(read_spec(folder)), status.result["seconds"] / status.step, path=path)
    except (OSError, StoreError):
        return None


@lru_cache(maxsize=1024)
def _size(path: str) -> int | None:
    folder = RunFolder(Path(path))
    try:
        return sum(os.path.getsize(folder.path / name) for name in folder.files.walk())
    except (OSError, StoreError):
        return None


def facts_of(spec: RunSpec) -> dict[str, Any]:
    """What the pace of a run may depend on."""
    return {**spec.config, **{name: getattr(spec, name) for name in SAME_FIELDS}}


def kind_of(spec: RunSpec) -> str:
    """Of runs of one kind the pace of one tells that of all, roughly."""
    facts = facts_of(spec)
    return str([facts.get(name) for name in ENOUGH])
