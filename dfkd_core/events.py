"""What a run says while it goes on. Frozen, made of floats and uint8 images, never of live tensors.

A method yields ``Step``, ``Phases``, ``Samples``, ``Epoch`` and ``ClassShares``; ``run`` adds ``StageEntered``,
``Probes``, ``Evaluated`` or ``Quality``, ``Applied`` and ``Status``. Those of ``REPLAYED`` come again when a run is
replayed from a checkpoint.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Step:
    """Closes a training step. ``values`` holds the metrics when they are due, else nothing."""

    step: int
    values: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Phase:
    """What one phase of a step made, to be looked at in slow motion; ``name`` is one of the method's ``phases``.

    ``values``: numbers by name. ``images``: (n, H, W, C) uint8, or None. ``arrays``: small arrays by name.
    """

    name: str
    values: dict[str, float] = field(default_factory=dict)
    images: np.ndarray | None = None
    arrays: dict[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Phases:
    """One whole step in slow motion."""

    step: int
    phases: tuple[Phase, ...]


@dataclass(frozen=True)
class Samples:
    """Generated images of one step as the teacher judged them.

    ``images``: (N, H, W, C) uint8. ``columns``: name -> array of N rows (see ``kit.samples.describe``). ``mixture``:
    the two components fitted to the judged losses (see ``selection.mixture.Selection.summary``), or None.
    """

    step: int
    images: np.ndarray
    columns: dict[str, np.ndarray]
    mixture: dict[str, Any] | None = None


@dataclass(frozen=True)
class Probes(Samples):
    """Images of the same latents at every step they are recorded at, judged among themselves."""


@dataclass(frozen=True)
class Epoch:
    """The method finished one of its epochs."""

    step: int
    epoch: int
    learning_rate: float


@dataclass(frozen=True)
class StageEntered:
    """A run of several stages enters one of them with ``step`` as its first step."""

    step: int
    name: str
    title: str


@dataclass(frozen=True)
class ClassShares:
    """Shares of the classes, each list of K numbers under its name."""

    step: int
    shares: dict[str, list[float]]


@dataclass(frozen=True)
class Evaluated:
    """The student on data that no method sees. Shares between 0 and 1; None without evaluation data."""

    step: int
    agreement: float
    accuracy: float | None = None
    teacher_accuracy: float | None = None


@dataclass(frozen=True)
class Quality:
    """A generative student beside its teacher, on data that no method sees.

    ``values`` and ``teacher``: figures by name (see ``runs.latent_evaluation``). ``levels``: per level of latents, the
    top first, lists of numbers by name. All are finite: others are left out. ``label``: what the FID is, its extractor
    and its numbers of images.
    """

    step: int
    values: dict[str, float]
    teacher: dict[str, float]
    levels: dict[str, list[float]] = field(default_factory=dict)
    label: str = ""


@dataclass(frozen=True)
class Applied:
    """A command that took effect after ``step``; ``knobs`` are the new values where it changed some. ``insist``: the
    run goes on although what it depends on has changed, which ``detail`` says."""

    step: int
    command: str
    detail: str = ""
    knobs: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Status:
    """The run entered a state (see ``store.STATES``)."""

    step: int
    state: str
    message: str = ""


Event = Step | Phases | Samples | Probes | Epoch | StageEntered | ClassShares | Evaluated | Quality | Applied | Status
TURNS = ("set", "insist")
"""Commands after whose step a run is trained otherwise: what stands in its log of later steps did not happen."""
REPLAYED = (Step, Samples, Probes, Epoch, StageEntered, ClassShares, Evaluated, Quality)


def to_row(event: Event) -> dict[str, Any]:
    """The event as JSON-ready fields, its type under ``type``. Arrays are left to the store."""
    name = type(event).__name__.lower()
    if isinstance(event, Samples):
        return {"type": name, "step": event.step, "count": len(event.images), "mixture": event.mixture}
    if isinstance(event, Phases):
        # A gradient can overflow one step before its loss does, and that is when the run is stopped with a sentence.
        values = {
            phase.name: {key: value for key, value in phase.values.items() if math.isfinite(value)}
            for phase in event.phases
        }
        return {"type": name, "step": event.step, "values": values}
    return {"type": name, **asdict(event)}
