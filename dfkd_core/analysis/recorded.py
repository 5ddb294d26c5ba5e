"""What a run recorded, sheet by sheet: how the teacher judged each image, and what lies near it.

Does not import torch: a page opens at once.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from dfkd_core.analysis.boundary import Boundary, nearest
from dfkd_core.analysis.timeline import Timeline
from dfkd_core.errors import RequestError, StoreError
from dfkd_core.store import REAL, RunFolder, read_arrays, read_samples
from dfkd_core.store.sheets import is_regular

KINDS = ("samples", "probes", "real")
MAX_SHEETS = 24  # kept in memory, of one run
MAX_FILM = 1000  # probe sheets whose short columns are kept
REAL_ROW: dict[int, dict[str, Any]] = {0: {"file": REAL, "mixture": None}}
FILM = ("loss", "posterior", "label", "confidence", "clean")


@dataclass(frozen=True, eq=False)
class Sheet:
    """The images of one recorded step with what is known of them.

    ``kind`` one of ``KINDS``; ``images`` (N, H, W, C) uint8; ``columns`` name -> N rows (see ``kit.samples.describe``);
    ``mixture`` the two components fitted to the judged losses, None without selection and for real images.
    """

    kind: str
    step: int
    images: np.ndarray
    columns: dict[str, np.ndarray]
    mixture: dict[str, Any] | None = None

    def __len__(self) -> int:
        return len(self.images)

    @cached_property
    def features(self) -> np.ndarray | None:
        """(N, D) float32, finite: the teacher's penultimate features; None where the run kept none."""
        return _finite(self.columns["features"]) if "features" in self.columns else None

    @property
    def classes(self) -> int:
        """How many classes the teacher knows; at least as many as the labels name."""
        if "teacher_logits" in self.columns:
            return int(self.columns["teacher_logits"].shape[1])
        return int(self.columns["label"].max(initial=-1)) + 1


class Recorded:
    """The sheets of one run; pages share it. Whoever shows a live run updates its ``timeline``.

    ``kept`` holds what others compute once a run, by name.
    """

    def __init__(self, timeline: Timeline) -> None:
        self.timeline = timeline
        self.kept: dict[str, Any] = {}
        self._sheets: OrderedDict[tuple[str, int], Sheet] = OrderedDict()
        self._film: OrderedDict[int, dict[str, np.ndarray]] = OrderedDict()
        self._lock = threading.RLock()

    @property
    def folder(self) -> RunFolder:
        return self.timeline.folder

    @property
    def classes(self) -> list[str]:
        """The classes' names, in order; empty if the run does not say."""
        return [str(name) for name in self.folder.environment().get("classes", [])]

    def steps(self, kind: str) -> list[int]:
        """The recorded steps of ``samples`` or ``probes``, ascending; real images count as step 0."""
        return sorted(self._rows(kind))

    def sheet(self, kind: str, step: int = 0) -> Sheet | None:
        """The images recorded at ``step``; None when there are none or their files are missing or damaged."""
        key = (kind, 0 if kind == "real" else step)
        with self._lock:
            found = self._sheets.get(key)
            if found is None:
                found = self._read(*key)
            if found is not None:
                _remember(self._sheets, key, found, MAX_SHEETS)
            return found

    def count(self, kind: str, step: int) -> int:
        """How many images were recorded at ``step``."""
        return int(self._rows(kind)[step]["count"])

    def features(self, kind: str, step: int) -> np.ndarray | None:
        """A sheet's ``features`` alone, without reading its images: (N, D) float32, None without."""
        columns = self.columns(kind, step, ("features",))
        return _finite(columns["features"]) if "features" in columns else None

    def columns(self, kind: str, step: int, names: Iterable[str]) -> dict[str, np.ndarray]:
        """Some columns of a sheet, without reading its images; those it lacks, or that are damaged, are left out."""
        try:
            row = self._rows(kind)[step]
            found = read_arrays(self.folder, f"{row['file']}.npz", names)
        except StoreError:
            return {}
        lengths = {values.shape[:1] for values in found.values()}
        return found if len(lengths) == 1 and is_regular(found, *lengths.pop()) else {}

    @property
    def real(self) -> Sheet | None:
        """The real images kept with the run, with their true labels; None without."""
        return self.sheet("real")

    def boundary(self) -> Boundary | None:
        """The boundaries of the real classes; None without real images or their features."""
        with self._lock:
            if "boundary" not in self.kept and (real := self.real) is not None and real.features is not None:
                self.kept["boundary"] = Boundary(real.features, real.columns["label"])
            return self.kept.get("boundary")

    def inside(self, sheet: Sheet, rows: slice = slice(None)) -> np.ndarray | None:
        """(N,) bool of the ``rows`` of a sheet: inside the boundary of the real class of the teacher's label; None
        where that is unknown."""
        boundary = self.boundary()
        if boundary is None or sheet.features is None:
            return None
        return boundary.inside(sheet.features[rows], sheet.columns["label"][rows])

    def film(self, index: int) -> list[dict[str, Any]]:
        """The latent ``index`` at each recorded step of the probes: ``step`` and the columns ``FILM``."""
        frames = []
        for step in self.steps("probes"):
            columns = self._film_columns(step)
            if columns and all(index < len(values) for values in columns.values()):
                frames.append({"step": step, **{name: _value(columns, name, index) for name in FILM}})
        return frames

    def _rows(self, kind: str) -> dict[int, dict[str, Any]]:
        if kind not in KINDS:
            raise RequestError("kind", kind, f"should be one of {', '.join(KINDS)}.")
        return {"samples": self.timeline.frames, "probes": self.timeline.probes, "real": REAL_ROW}[kind]

    def _read(self, kind: str, step: int) -> Sheet | None:
        row = self._rows(kind).get(step)
        if row is None:
            return None
        try:
            images, columns = read_samples(self.folder, row["file"])
        except StoreError:
            return None
        return Sheet(kind, step, images, columns, row["mixture"]) if "label" in columns else None

    def _film_columns(self, step: int) -> dict[str, np.ndarray]:
        """A strip needs every sheet of the probes, so what it shows of them is kept."""
        with self._lock:
            columns = self._film.get(step) or self.columns("probes", step, FILM)
            if columns:
                _remember(self._film, step, columns, MAX_FILM)
            return columns


def _finite(features: np.ndarray) -> np.ndarray:
    return np.nan_to_num(features).astype(np.float32)


def _remember(cache: OrderedDict[Any, Any], key: Any, value: Any, most: int) -> None:
    cache[key] = value
    cache.move_to_end(key)
    if len(cache) > most:
        cache.popitem(last=False)


# --- one sample ------------------------------------------------------------------------------------------------


def detail(recorded: Recorded, kind: str, step: int, index: int, neighbours: int = 8) -> dict[str, Any]:
    """All that is known of one sample, in JSON-ready values; what is unknown is None.

    ``teacher`` and ``student``: probabilities of the K classes; ``loss`` in nats, ``posterior``, ``clean``, ``label``
    and ``confidence`` of the teacher, ``student_label``; ``inside`` the boundary of its real class; ``nearest_real``
    and ``nearest_clean`` (of the same sheet): [index, distance in the teacher's penultimate features], nearest first.

    Raises ``RequestError`` if there is no such sample.
    """
    sheet = recorded.sheet(kind, step)
    if sheet is None:
        raise RequestError("step", step, f"there are no readable {kind} of it in run {recorded.folder.id}.")
    if not 0 <= index < len(sheet):
        raise RequestError("index", index, f"should be from 0 to {len(sheet) - 1}.")
    columns, real = sheet.columns, recorded.real
    others = np.arange(len(sheet)) != index
    same = sheet is real
    inside = None if same else recorded.inside(sheet, slice(index, index + 1))
    return {
        "kind": kind,
        "step": step,
        "index": index,
        "teacher": _probabilities(columns.get("teacher_logits"), index),
        "student": _probabilities(columns.get("student_logits"), index),
        **{name: _value(columns, name, index) for name in (*FILM, "student_label")},
        "inside": None if inside is None else bool(inside[0]),
        "nearest_real": [] if real is None else _neighbours(sheet, index, real, neighbours, others if same else None),
        "nearest_clean": _neighbours(sheet, index, sheet, neighbours, others & columns.get("clean", False)),
    }


def _neighbours(sheet: Sheet, index: int, among: Sheet, count: int, chosen: np.ndarray | None) -> list[list[Any]]:
    """The nearest samples of ``among``, those ``chosen`` (bool) only, to one of ``sheet``."""
    if sheet.features is None or among.features is None:
        return []
    candidates = np.arange(len(among)) if chosen is None else np.flatnonzero(chosen)
    near, distances = nearest(sheet.features[index : index + 1], among.features[candidates], count)
    found = zip(candidates[near[0]].tolist(), distances[0].tolist(), strict=True)
    return [[position, round(distance, 4)] for position, distance in found]


def _probabilities(logits: np.ndarray | None, index: int) -> list[float] | None:
    if logits is None:
        return None
    values = np.nan_to_num(logits[index]).astype(float)
    weights = np.exp(values - values.max())
    return (weights / weights.sum()).round(5).tolist()


def _value(columns: dict[str, np.ndarray], name: str, index: int) -> Any:
    value = columns[name][index].item() if name in columns else None
    return None if isinstance(value, float) and not math.isfinite(value) else value
