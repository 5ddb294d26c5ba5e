"""Who lies near whom in the teacher's feature space, and what lies inside the boundary of a real class. No torch.

Distances are computed in double precision: products of the half-precision features that runs keep are exact there,
so a sample is at distance 0 of itself.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from dfkd_core.analysis.threads import one_thread

BLOCK = 4_000_000  # distances held at once, 32 MB


@one_thread
def nearest(queries: np.ndarray, points: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The ``count`` nearest of ``points`` (M, D) for each of ``queries`` (Q, D), nearest first.

    Returns indices and Euclidean distances, each (Q, min(count, M)). Equal distances come in the order of the points.
    """
    count = min(count, len(points))
    indices = np.empty((len(queries), count), np.int64)
    distances = np.empty((len(queries), count))
    for rows, block in _distances(queries, points):
        near = np.argpartition(block, count - 1, axis=1)[:, :count] if 0 < count < len(points) else _all(block, count)
        near.sort(axis=1)
        found = np.take_along_axis(block, near, axis=1)
        order = found.argsort(axis=1, kind="stable")
        indices[rows], distances[rows] = (np.take_along_axis(array, order, axis=1) for array in (near, found))
    return indices, distances


class Boundary:
    """The boundaries of the real classes, each the union of its samples' k-nearest-neighbour balls.

    Kynkäänniemi et al., "Improved Precision and Recall Metric for Assessing Generative Models" (NeurIPS 2019), eq. 1,
    applied to each class alone: a ball reaches to the k-th nearest real sample of the same class, to the farthest one
    where the class has fewer than k others. A class with fewer than two real samples has no inside.
    """

    def __init__(self, real_features: np.ndarray, real_labels: np.ndarray, k: int = 3) -> None:
        """``real_features`` (R, D), ``real_labels`` (R,)."""
        self._classes = {}
        for label in np.unique(real_labels).tolist():
            members = real_features[real_labels == label]
            if len(members) > 1:
                self._classes[label] = members, nearest(members, members, k + 1)[1][:, -1]

    @one_thread
    def inside(self, features: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """(N,) bool: whether each of ``features`` (N, D) lies inside the boundary of the class of its label. None does
        where D is not that of the real ones."""
        result = np.zeros(len(features), bool)
        for label, (members, radii) in self._classes.items():
            chosen = np.flatnonzero(labels == label) if features.shape[1] == members.shape[1] else np.arange(0)
            for rows, block in _distances(features[chosen], members):
                result[chosen[rows]] = (block <= radii).any(axis=1)
        return result


def _all(block: np.ndarray, count: int) -> np.ndarray:
    return np.broadcast_to(np.arange(count), (len(block), count)).copy()


def _distances(queries: np.ndarray, points: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Euclidean distances of a few (Q, D) queries at a time to all (M, D) points, with the rows they are of."""
    points = points.astype(np.float64)
    squares = np.square(points).sum(axis=1)
    height = max(1, BLOCK // max(1, len(points)))
    for start in range(0, len(queries), height):
        rows = slice(start, min(start + height, len(queries)))
        part = queries[rows].astype(np.float64)
        squared = np.square(part).sum(axis=1)[:, None] + squares - 2 * part @ points.T
        yield rows, np.sqrt(np.maximum(squared, 0.0))
