"""Two-dimensional layouts of the teacher's penultimate features: one for the whole run, so that scrubbing shows samples
move, never the layout jump. No torch.

``pca`` is there at once and keeps its axes while a run goes on. ``umap`` and ``tsne`` are fitted by a background job
(``fit_embedding``). Neither can project: they place landmarks, and every sample, recorded before or after the fit, lies
at the mean of its five nearest landmarks in feature space, weighted by inverse distance; a landmark where it was put.
"""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Callable
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dfkd_core.analysis.boundary import nearest
from dfkd_core.analysis.jobs import report
from dfkd_core.analysis.recorded import Recorded
from dfkd_core.analysis.threads import one_thread
from dfkd_core.analysis.timeline import Timeline
from dfkd_core.errors import RequestError, StoreError
from dfkd_core.store import RunFolder, read_arrays, store_arrays

EMBEDDINGS = ("umap", "tsne")
KINDS = ("pca", *EMBEDDINGS)
PCA_SAMPLES = 4000
LANDMARKS, MOST_REAL = 6000, 2000  # real images among the landmarks, or among what the axes are fitted to
FEWEST = 10  # landmarks
NEIGHBOURS = 5  # landmarks that place a sample
TSNE_ITERATIONS = 1000
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

    @one_thread
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


@one_thread
def _fit_pca(recorded: Recorded) -> Layout | None:
    generated, last = _sampled(recorded, PCA_SAMPLES)
    if not len(generated):
        return None
    points = np.concatenate([generated, *_real(recorded)])
    mean = points.mean(axis=0)
    centred = points - mean
    axes = np.linalg.eigh((centred.T @ centred).astype(np.float64))[1][:, :-3:-1].T
    axes *= np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])[:, None]  # an axis has no sign of its own
    arrays = {"fitted_to": np.array(last), "mean": mean, "axes": axes, "bounds": np.array(_bounds(centred @ axes.T))}
    with suppress(OSError, StoreError):  # the recorded run that the lab comes with may lie where nobody can write
        store_arrays(recorded.folder, _file("pca"), **arrays)
    return _projection(recorded, **arrays)


def _read_pca(recorded: Recorded) -> Layout | None:
    try:
        return _projection(recorded, **read_arrays(recorded.folder, _file("pca")))
    except Exception:  # a damaged file can fail in any way of zipfile, zlib or numpy
        return None


def _projection(
    recorded: Recorded, fitted_to: np.ndarray, mean: np.ndarray, axes: np.ndarray, bounds: np.ndarray
) -> Layout:
    """The layout along two ``axes`` (2, D) through ``mean`` (D,)."""
    if axes.shape != (2, *mean.shape) or not np.isfinite(axes).all() or not np.isfinite(mean).all():
        raise ValueError("this is no projection")
    left, right, bottom, top = bounds.tolist()
    return Layout("pca", int(fitted_to), (left, right, bottom, top), recorded, lambda points: (points - mean) @ axes.T)


# --- UMAP and t-SNE --------------------------------------------------------------------------------------------


def load_layout(recorded: Recorded, kind: str) -> Layout | None:
    """The layout ``umap`` or ``tsne`` as the last job left it; None if there is none or its file is damaged."""
    _check_kind(kind)
    try:
        written = recorded.folder.files.changed(_file(kind))
        if recorded.kept.get(kind, (0, None))[0] != written:
            recorded.kept[kind] = written, _embedding(recorded, kind, **read_arrays(recorded.folder, _file(kind)))
        return recorded.kept[kind][1]
    except Exception:  # as in _read_pca
        return None


def fit_embedding(folder: RunFolder, kind: str, show: Callable[[float, str], None] = report) -> Layout:
    """Fit ``umap`` or ``tsne`` to a run and keep it in its folder; ``show`` is told the share done and a message.

    Landmarks are the real images (up to 2,000) and all samples and probes recorded so far; together at most 6,000, then
    even over all steps. The same landmarks give the same layout. Raises ``RequestError`` if the kind is unknown, if
    there is too little to lay out, or if the folder cannot be written to.
    """
    _check_kind(kind)
    show(0.0, "Reading what is recorded")
    recorded = Recorded(Timeline(folder))
    recorded.timeline.update()
    real = _real(recorded)
    generated, last = _sampled(recorded, LANDMARKS - sum(map(len, real)))
    landmarks = np.concatenate([generated, *real]) if len(generated) else generated
    if len(landmarks) < FEWEST:
        expected = f"keeps {len(landmarks)} samples with features; a layout needs {FEWEST}."
        raise RequestError("run", folder.id, expected)
    if not np.ptp(landmarks, axis=0).any():
        raise RequestError("run", folder.id, "its samples are all alike to the teacher; there is nothing to lay out.")
    arrays = {"fitted_to": np.array(last), "landmarks": landmarks, "at": _EMBED[kind](landmarks, show)}
    layout = _embedding(recorded, kind, **arrays)
    try:
        kept = {**arrays, "landmarks": landmarks.astype(np.float16)}  # as they were recorded
        store_arrays(folder, _file(kind), **kept)
    except OSError as error:
        raise RequestError("run", folder.id, f"its folder cannot be written to ({error.strerror}).") from None
    return layout


def _embedding(recorded: Recorded, kind: str, fitted_to: np.ndarray, landmarks: np.ndarray, at: np.ndarray) -> Layout:
    """The layout of (M, D) ``landmarks`` that lie ``at`` (M, 2)."""
    if at.shape != (len(landmarks), 2) or not np.isfinite(at).all() or not np.isfinite(landmarks).all():
        raise ValueError("this is no layout")

    def place(features: np.ndarray) -> np.ndarray:
        near, distances = nearest(features, landmarks, NEIGHBOURS)
        weights = 1 / np.maximum(distances, 1e-9)
        return np.einsum("nk,nkx->nx", weights / weights.sum(axis=1, keepdims=True), at[near])

    return Layout(kind, int(fitted_to), _bounds(at), recorded, place)


def _check_kind(kind: str) -> None:
    if kind not in EMBEDDINGS:
        raise RequestError("kind", kind, f"should be one of {', '.join(EMBEDDINGS)}.")


class _Progress(io.TextIOBase):
    """Hears what UMAP's bar and t-SNE print, and shows the share done, from ``start`` to 1."""

    def __init__(self, show: Callable[[float, str], None], message: str, start: float) -> None:
        self.show, self.message, self.start = show, message, start
        self.percent = -1

    def write(self, text: str) -> int:
        if found := re.search(r"(\d+)%|Iteration (\d+)", text):
            percent = int(found[1]) if found[1] else 100 * int(found[2]) // TSNE_ITERATIONS
            if percent > self.percent:
                self.percent = percent
                self.show(self.start + (1 - self.start) * percent / 100, self.message)
        return len(text)


def _umap(landmarks: np.ndarray, show: Callable[[float, str], None]) -> np.ndarray:
    show(0.01, "Importing UMAP (its first import compiles for half a minute)")
    import umap

    show(0.015, "UMAP: looking for nearest neighbours")  # compiles too; below 2 % no time left is guessed
    heard = _Progress(show, "UMAP: laying out", 0.65)
    model = umap.UMAP(
        n_neighbors=min(15, len(landmarks) - 1),
        random_state=0,
        n_jobs=1,  # more would not be the same twice
        verbose=True,  # without, there is no progress to hear
        tqdm_kwds={"file": heard},
    )
    with redirect_stdout(heard):
        return model.fit_transform(landmarks).astype(np.float32)


def _tsne(landmarks: np.ndarray, show: Callable[[float, str], None]) -> np.ndarray:
    show(0.01, "Importing t-SNE")
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    show(0.015, "t-SNE: looking for nearest neighbours")
    perplexity = min(30.0, (len(landmarks) - 1) / 3)
    model = TSNE(perplexity=perplexity, max_iter=TSNE_ITERATIONS, init="pca", random_state=0, verbose=2)
    with redirect_stdout(_Progress(show, "t-SNE: laying out", 0.1)), threadpool_limits(1):  # as with UMAP
        return model.fit_transform(landmarks).astype(np.float32)


_EMBED = {"umap": _umap, "tsne": _tsne}


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


def _real(recorded: Recorded) -> list[np.ndarray]:
    """Features of up to ``MOST_REAL`` real images, as a list of one array, or of none."""
    features = recorded.features("real", 0)
    return [] if features is None else [features[_evenly(len(features), MOST_REAL)]]


def _evenly(count: int, most: int) -> np.ndarray:
    """Up to ``most`` of the indices below ``count``, at even distances, ascending."""
    return np.linspace(0, count - 1, min(count, most)).round().astype(int)


def _bounds(positions: np.ndarray) -> tuple[float, float, float, float]:
    """(left, right, bottom, top) of (N, 2) ``positions``, with a margin."""
    low, high = positions.min(axis=0).astype(float), positions.max(axis=0).astype(float)
    margin = MARGIN * np.maximum(high - low, 1e-6)
    (left, bottom), (right, top) = (low - margin).tolist(), (high + margin).tolist()
    return left, right, bottom, top


def _file(kind: str) -> str:
    return f"analysis/layout-{kind}.npz"
