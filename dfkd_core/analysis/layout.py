"""Two-dimensional layouts of the teacher's penultimate features: one for the whole run, so that scrubbing shows samples
move, never the layout jump. No torch.

``pca`` is there at once and keeps its axes while a run goes on.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from dfkd_core.analysis.recorded import Recorded
from dfkd_core.store.atomic import write_atomic

KINDS = ("pca", "umap", "tsne")
PCA_SAMPLES, PCA_REAL = 4000, 2000  # points that the axes are fitted to
MARGIN = 0.05  # around what was fitted, of its width and height
_fitting = threading.Lock()


@dataclass(frozen=True, eq=False)
class Layout:
    """Where the samples of a run lie in the plane.

    ``fitted_to``: the last step whose samples the layout was fitted to. ``bounds``: (left, right, bottom, top) of what
    it was fitted to, with a margin. ``place``: (N, D) features -> (N, 2) positions.
    """

    kind: str
    fitted_to: int
    bounds: tuple[float, float, float, float]
    recorded: Recorded
    place: Callable[[np.ndarray], np.ndarray]

    @cached_property
    def real(self) -> np.ndarray | None:
        """(R, 2) float32 positions of the real images; None without them."""
        return self.positions("real")

    def positions(self, kind: str, step: int = 0) -> np.ndarray | None:
        """(N, 2) float32 positions of a recorded sheet, also of one recorded after the fit; None without features."""
        sheet = self.recorded.sheet(kind, step)
        return None if sheet is None or sheet.features is None else self.place(sheet.features).astype(np.float32)


def pca(recorded: Recorded, refit: bool = False) -> Layout | None:
    """The first two principal components of real images and of up to 4,000 samples, even over all recorded steps.

    Fitted once and kept in the run's folder, where that can be written to, so that nothing jumps when a live run
    records more; ``refit`` fits anew. None while no sample with features is recorded.
    """
    with _fitting:
        if "pca" not in recorded.kept or refit:
            found = None if refit else _read_pca(recorded)
            found = found or _fit_pca(recorded)
            if found is None:
                return None
            recorded.kept["pca"] = found
        return recorded.kept["pca"]


def _fit_pca(recorded: Recorded) -> Layout | None:
    generated, last = _sampled(recorded, PCA_SAMPLES)
    if not len(generated):
        return None
    points = np.concatenate([generated, *_real(recorded, PCA_REAL)])
    mean = points.mean(axis=0)
    centred = points - mean
    axes = np.linalg.eigh((centred.T @ centred).astype(np.float64))[1][:, :-3:-1].T
    axes *= np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])[:, None]  # an axis has no sign of its own
    bounds = _bounds(centred @ axes.T)
    with suppress(OSError):  # the recorded run that the lab comes with may lie where nobody can write
        _write(recorded, "pca", mean=mean, axes=axes, bounds=bounds, fitted_to=last)
    return _pca_layout(recorded, mean, axes, bounds, last)


def _read_pca(recorded: Recorded) -> Layout | None:
    try:
        stored = _read(recorded, "pca")
        mean, axes, bounds = stored["mean"], stored["axes"], stored["bounds"]
        whole = axes.shape == (2, len(mean)) and bounds.shape == (4,) and np.isfinite(axes).all()
        return _pca_layout(recorded, mean, axes, bounds, int(stored["fitted_to"])) if whole else None
    except Exception:  # a damaged file can fail in any way of zipfile, zlib or numpy
        return None


def _pca_layout(recorded: Recorded, mean: np.ndarray, axes: np.ndarray, bounds: np.ndarray, last: int) -> Layout:
    left, right, bottom, top = bounds.tolist()
    return Layout("pca", last, (left, right, bottom, top), recorded, lambda features: (features - mean) @ axes.T)


# --- points and files ------------------------------------------------------------------------------------------


def _sampled(recorded: Recorded, most: int) -> tuple[np.ndarray, int]:
    """Features of up to ``most`` generated samples, even over all that is recorded, (N, D); and the last step."""
    steps = [(kind, step) for kind in ("samples", "probes") for step in recorded.steps(kind)]
    counts = [recorded.count(kind, step) for kind, step in steps]
    chosen = _evenly(sum(counts), most)
    parts, start = [np.empty((0, 0), np.float32)], 0
    for (kind, step), count in zip(steps, counts, strict=True):
        mine = chosen[(chosen >= start) & (chosen < start + count)] - start
        start += count
        features = recorded.features(kind, step) if len(mine) else None
        if features is not None and len(features) == count:
            parts.append(features[mine])
    return np.concatenate(parts[1:] or parts), max((step for _, step in steps), default=0)


def _real(recorded: Recorded, most: int) -> list[np.ndarray]:
    """Features of up to ``most`` real images, as a list of one array, or of none."""
    features = recorded.features("real", 0)
    return [] if features is None else [features[_evenly(len(features), most)]]


def _evenly(count: int, most: int) -> np.ndarray:
    """Up to ``most`` of the indices below ``count``, at even distances, ascending."""
    return np.linspace(0, count - 1, min(count, most)).round().astype(int)


def _bounds(positions: np.ndarray) -> np.ndarray:
    low, high = positions.min(axis=0), positions.max(axis=0)
    margin = MARGIN * np.maximum(high - low, 1e-6)
    return np.stack([low - margin, high + margin], axis=1).ravel()


def _path(recorded: Recorded, kind: str) -> Path:
    return recorded.folder.path / "analysis" / f"layout-{kind}.npz"


def _read(recorded: Recorded, kind: str) -> dict[str, np.ndarray]:
    with np.load(_path(recorded, kind), allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


def _write(recorded: Recorded, kind: str, **arrays: Any) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    path = _path(recorded, kind)
    path.parent.mkdir(exist_ok=True)
    write_atomic(path, buffer.getvalue(), durable=False)
