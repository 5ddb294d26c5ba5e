"""Recorded runs of the tests' own making: written by the real writer, with numbers that are worked out by hand."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from dfkd_core.analysis.recorded import Recorded
from dfkd_core.analysis.timeline import Timeline
from dfkd_core.events import Probes, Samples
from dfkd_core.store import REAL, EventWriter, RunFolder, store_samples

MIXTURE = {
    "weights": [0.6, 0.4],
    "means": [0.1, 0.4],
    "deviations": [0.03, 0.25],
    "low": 0.0,
    "high": 1.0,
    "usable": True,
    "by_class": False,
    "applied": True,
    "threshold": 0.5,
    "region": [[0.05, 0.2]],
}


def columns(count: int, seed: int = 0, classes: int = 3, dimension: int = 4, **given: Any) -> dict[str, np.ndarray]:
    """Random columns of ``count`` samples as ``samples.describe`` makes them; ``given`` ones are taken, None ones left
    out."""
    random = np.random.default_rng(seed)
    made: dict[str, Any] = {
        "loss": random.exponential(1.0, count).astype(np.float32),
        "clean": random.random(count) < 0.5,
        "label": random.integers(0, classes, count).astype(np.int16),
        "confidence": random.random(count).astype(np.float32),
        "student_label": random.integers(0, classes, count).astype(np.int16),
        "posterior": random.random(count).astype(np.float32),
        "features": random.normal(size=(count, dimension)).astype(np.float16),
        "teacher_logits": random.normal(size=(count, classes)).astype(np.float16),
        "student_logits": random.normal(size=(count, classes)).astype(np.float16),
    }
    return {name: np.asarray(values) for name, values in {**made, **given}.items() if values is not None}


def pictures(count: int, channels: int = 1, size: int = 4) -> np.ndarray:
    """Images whose pixels all hold the image's index."""
    return np.broadcast_to(np.arange(count, dtype=np.uint8)[:, None, None, None], (count, size, size, channels)).copy()


def column(sheet: dict[str, Any], name: str) -> list[Any]:
    """A column of a sheet as pages take it."""
    packed = sheet["columns"][name]
    return np.frombuffer(base64.b64decode(packed["data"]), packed["type"]).tolist()


def picture(sheet: dict[str, Any]) -> np.ndarray:
    """All images of a sheet as pages take it, as they lie: (H, W) or (H, W, C) uint8."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(sheet["png"]))))


class Recording:
    """A run's folder to which steps are added, as a live run does."""

    def __init__(self, runs: Path) -> None:
        self.folder = RunFolder.create(runs, {"benchmark": "digits"})
        attempt = self.folder.begin_attempt().number
        self.writer = EventWriter(self.folder, attempt)
        self.folder.write_environment(attempt, {"classes": ["cat", "=dog", "ship"]})
        self.recorded = Recorded(Timeline(self.folder))

    def add(self, kind: str, step: int, count: int = 20, channels: int = 1, **given: Any) -> None:
        """One more sheet; ``given`` are columns."""
        event = {"samples": Samples, "probes": Probes}[kind]
        made = columns(count, seed=step, **given)
        mixture = MIXTURE if "posterior" in made else None
        self.writer.add(event(step, pictures(count, channels), made, mixture), 0.0)
        self.writer.flush()
        self.recorded.timeline.update()

    def add_real(self, features: Any, labels: Any) -> None:
        """The real images kept with the run."""
        arrays = {"label": np.asarray(labels, np.int16), "features": np.asarray(features, np.float16)}
        arrays["teacher_logits"] = np.zeros((len(arrays["label"]), 3), np.float16)
        store_samples(self.folder, REAL, pictures(len(arrays["label"])), arrays)

    def reopened(self) -> Recorded:
        """As another server sees the run."""
        recorded = Recorded(Timeline(self.folder))
        recorded.timeline.update()
        return recorded
