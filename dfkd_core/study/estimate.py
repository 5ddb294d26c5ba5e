"""How long runs will take, by what similar ones took on this machine. Does not import torch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dfkd_core.errors import StoreError
from dfkd_core.runs.spec import RunSpec, read_spec
from dfkd_core.store import RunFolder

LEAST_STEPS = 20  # of a run that others are judged by
MOST_RUNS = 200  # looked at
MEASURING_SECONDS = 8.0  # of a run: mostly the start of its process
SAME_FIELDS = ("benchmark", "method", "student", "device", "threads", "teacher")
PACE_KNOBS = ("student_steps", "batch_size", "width", "updates", "gan_batch_size", "source", "synthesis_steps")
SYNTHESIS_KNOBS = ("synthesis_batches", "synthesis_size", "denoising_steps", "latent_steps")
SAME_KNOBS = (
    *PACE_KNOBS, *SYNTHESIS_KNOBS, "latent", "augmentation", "selection", "gan_steps", "distill_steps", "objective"
)  # fmt: skip
ENOUGH = SAME_FIELDS[:-1] + PACE_KNOBS  # for a rough idea


def estimated_seconds(specs: Iterable[RunSpec], runs: Iterable[RunFolder], measured: bool = False) -> float | None:
    """Of all ``specs`` one after the other; None if no run is alike.

    ``runs``: folders to judge by, newest first. For each specification the pace is that of the run that has most in
    common with it, and at least ``ENOUGH``.
    """
    known = [entry for entry in map(_pace, list(runs)[:MOST_RUNS]) if entry is not None]
    total = 0.0
    for spec in specs:
        facts = _facts(spec)
        alike = [
            (sum(facts[name] == seen[name] for name in facts), pace)
            for seen, pace in known
            if all(facts[name] == seen[name] for name in ENOUGH)
        ]
        if not alike:
            return None
        pace = max(alike, key=lambda entry: entry[0])[1]
        total += pace * spec.total_steps + MEASURING_SECONDS * measured
    return total


def _pace(folder: RunFolder) -> tuple[dict[str, Any], float] | None:
    """What the run is, and its seconds a step; None if it tells nothing."""
    status = folder.status()
    if status.step < LEAST_STEPS or "seconds" not in status.result:
        return None
    try:
        return _facts(read_spec(folder)), status.result["seconds"] / status.step
    except StoreError:
        return None


def _facts(spec: RunSpec) -> dict[str, Any]:
    return {name: getattr(spec, name) for name in SAME_FIELDS} | {name: spec.knob(name) for name in SAME_KNOBS}
