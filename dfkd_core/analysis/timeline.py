"""A run's log as curves, frames and marks, kept up to date by a cursor. Does not import torch."""

from __future__ import annotations

import threading
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dfkd_core.errors import StoreError
from dfkd_core.events import TURNS, Phase
from dfkd_core.store import EventReader, RunFolder, damage, read_phases, read_sheet, turned
from dfkd_core.store.sheets import in_rows, png, sheet

MAX_POINTS = 800  # of one curve on the page


@dataclass
class Curve:
    """Points of one metric over training steps."""

    steps: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)

    def thinned(self, most: int = MAX_POINTS) -> dict[str, list[Any]]:
        """Every k-th point, k a power of two so that points stay where they are while a run grows, and the last."""
        stride = 1
        while len(self.steps) > most * stride:
            stride *= 2
        keep = list(range(0, len(self.steps), stride))
        if keep and keep[-1] != len(self.steps) - 1:
            keep.append(len(self.steps) - 1)
        return {"x": [self.steps[i] for i in keep], "y": [round(self.values[i], 6) for i in keep]}


class Timeline:
    """Follows one run; any number of pages may share it."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self.rows = 0
        self.turns = 0  # how often what was read of later steps was taken back
        self.step = 0
        self.elapsed = 0.0
        self.teacher: float | None = None
        self.has_accuracy = False
        self.curves: dict[str, Curve] = {}
        self.frames: dict[int, dict[str, Any]] = {}
        self.probes: dict[int, dict[str, Any]] = {}
        self.slow: dict[int, dict[str, Any]] = {}
        self.changed: dict[str, Any] = {}  # knobs that were changed while the run went on, as they are now
        self.marks: list[dict[str, Any]] = []
        self.stages: list[dict[str, Any]] = []  # first step, name and title of each that was entered
        self.class_shares: dict[int, dict[str, list[float]]] = {}
        self.quality: dict[str, float] = {}  # the teacher's figures, if it is a generative one
        self.quality_label = ""  # what the FID among them is
        self.levels: dict[int, dict[str, list[float]]] = {}
        self._reader = EventReader(folder)
        self._lock = threading.Lock()

    def update(self) -> int:
        """Read what is new. Returns the number of rows so far, which tells whether anything changed."""
        with self._lock:
            for row in self._reader.read():
                self.rows += 1
                self.elapsed = row["elapsed"]
                if turned(row, self.step):
                    self._forget(row["step"])
                self.step = max(self.step, row["step"])
                self._take(row)
            return self.rows

    def _take(self, row: dict[str, Any]) -> None:
        step = row["step"]
        match row["type"]:
            case "step":
                self._add(step, row["values"])
            case "evaluated":
                self._add(step, {"agreement": row["agreement"]})
                if row["accuracy"] is not None:
                    self.has_accuracy, self.teacher = True, row["teacher_accuracy"]
                    self._add(step, {"accuracy": row["accuracy"]})
            case "quality":
                self._add(step, row["values"])
                self.quality, self.levels[step], self.quality_label = row["teacher"], row["levels"], row["label"]
                self.teacher = self.quality.get(self.score)
            case "samples":
                self.frames[step] = row
            case "probes":
                self.probes[step] = row
            case "phases":
                self.slow[step] = row
            case "applied":
                self.changed |= row["knobs"]
                text = row["detail"] if row["command"] in (*TURNS, "refused") else row["command"]
                self.marks.append({"step": step, "command": row["command"], "text": text})
            case "stageentered":
                self.stages.append({name: row[name] for name in ("step", "name", "title", "elapsed")})
            case "classshares":
                self.class_shares[step] = row["shares"]

    def _add(self, step: int, values: dict[str, float]) -> None:
        for name, value in values.items():
            curve = self.curves.setdefault(name, Curve())
            at = bisect_right(curve.steps, step)  # the end, but for a row that was damaged and made again
            curve.steps.insert(at, step)
            curve.values.insert(at, value)

    def _forget(self, after: int) -> None:
        """What was read of later steps, which are trained otherwise now."""
        self.turns, self.step = self.turns + 1, after
        for curve in self.curves.values():
            end = bisect_right(curve.steps, after)
            del curve.steps[end:], curve.values[end:]
        frames: tuple[dict[int, Any], ...] = (self.frames, self.probes, self.slow, self.class_shares, self.levels)
        for found in frames:
            for step in [step for step in found if step > after]:
                del found[step]
        self.stages = [stage for stage in self.stages if stage["step"] <= after]

    @property
    def damaged(self) -> list[str]:
        """What is damaged of the log so far, and of the run's small files."""
        return damage(self.folder, self._reader)

    # --- what is shown ---

    @property
    def score(self) -> str:
        """Which curve tells how good the student is: ``accuracy``, or ``agreement`` without evaluation data; of a
        generative one ``fid``, or ``mismatch`` without."""
        if "mismatch" in self.curves:
            return "fid" if "fid" in self.curves else "mismatch"
        return "accuracy" if self.has_accuracy else "agreement"

    def recent(self, name: str, count: int = 5) -> list[float]:
        """Up to ``count`` newest values of a metric."""
        curve = self.curves.get(name)
        return curve.values[-count:] if curve else []

    def time_left(self, total_steps: int) -> float | None:
        """Seconds until the end at the pace of the stage that the run is in; None before there is one, and while images
        are made beforehand: the student's steps are many times as fast."""
        stage: dict[str, Any] = self.stages[-1] if self.stages else {"name": "", "step": 1, "elapsed": 0.0}
        done = self.step - stage["step"] + 1
        if done < 2 or not total_steps or stage["name"] == "synthesis":
            return None
        return (self.elapsed - stage["elapsed"]) / done * max(0, total_steps - self.step)

    def frame(self, step: int) -> dict[str, Any] | None:
        """One recorded sheet for the page (see ``store.sheets.sheet``)."""
        return self._sheet(self.frames.get(step))

    def probe(self, step: int) -> dict[str, Any] | None:
        """The same of fixed latents; of a generative run, of what teacher and student make of the same."""
        return self._sheet(self.probes.get(step))

    def _sheet(self, row: dict[str, Any] | None) -> dict[str, Any] | None:
        if row is None:
            return None
        about = {"step": row["step"], "mixture": row["mixture"], "class_shares": self.class_shares.get(row["step"])}
        return read_sheet(self.folder, row["file"], **about)

    def slow_motion(self, step: int) -> dict[str, Any] | None:
        """The phases of one step for the page: numbers, small arrays as lists, images as a sheet."""
        phases = self._phases(step)
        return {"step": step, "phases": [_shown(phase) for phase in phases]} if phases else None

    @property
    def films(self) -> list[int]:
        """The steps whose synthesis was filmed."""
        return sorted(step for step, row in self.slow.items() if "synthesis" in row["values"])

    def film(self, step: int) -> dict[str, Any] | None:
        """One synthesis for the page: a sheet with a row for each of its ``frames`` and a column for each of the images
        ``shown``, with the guidance's ``loss`` and the ``timestep`` of each frame."""
        phase = next((phase for phase in self._phases(step) if phase.name == "synthesis"), None)
        if phase is None or phase.images is None:
            return None
        frames, shown = phase.arrays["shown"].tolist()
        about = {name: _short(phase.arrays[name]) for name in ("loss", "timestep")}
        return _packed(phase.images, shown, step=step, frames=frames, shown=shown, **about)

    def _phases(self, step: int) -> tuple[Phase, ...]:
        """Of one step; none where nothing readable was recorded."""
        row = self.slow.get(step)
        try:
            return () if row is None else tuple(read_phases(self.folder, row))
        except StoreError:
            return ()


def _shown(phase: Phase) -> dict[str, Any]:
    arrays = {name: _short(array) for name, array in phase.arrays.items()}
    images = None if phase.images is None or not len(phase.images) else _packed(phase.images, len(phase.images))
    return {"name": phase.name, "values": phase.values, "arrays": arrays, "sheet": images}


def _packed(images: np.ndarray, across: int, **about: Any) -> dict[str, Any]:
    return sheet(png(in_rows(images, across)), images.shape, {}, **about)


def _short(values: np.ndarray) -> list[Any]:
    if values.dtype.kind == "f":
        return np.round(values.astype(float), 4).tolist()
    return values.astype(int).tolist()
