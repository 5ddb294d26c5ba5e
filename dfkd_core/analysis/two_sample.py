"""How far the synthetic images are from the collected ones: a classifier two-sample test in the teacher's features.

``python -m dfkd_core distance RUN`` writes RUN/analysis/distance.json.

The total variation TVD(P, Q) is the largest of P(A) − Q(A) over all sets A. A classifier is one such set: with balanced
accuracy a on images that it has not learned from, TVD ≥ 2a − 1. So what is found here is a bound from below; another
classifier, or other features, may find more. Source: Lopez-Paz & Oquab, *Revisiting Classifier Two-Sample Tests*
(ICLR 2017).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from dfkd_core.analysis.jobs import report
from dfkd_core.analysis.measure import restored, synthesised
from dfkd_core.analysis.measured import DISTANCE
from dfkd_core.analysis.threads import one_thread
from dfkd_core.errors import RequestError, StoreError
from dfkd_core.runs.assemble import assemble_classifier
from dfkd_core.runs.spec import read_spec
from dfkd_core.runs.survey import fingerprint, other_images
from dfkd_core.selection.collected import Predictor
from dfkd_core.store import RunFolder

SEED = 2_412_13525  # of the latents, the splits and the permutations
MOST, LEAST = 2000, 16  # images of either kind
SPLITS = 5  # halves to learn from, halves to be tested on
PERMUTATIONS = 19  # of the labels: a test at 5 %
LEVEL = 0.95  # of the interval


@dataclass(frozen=True)
class Distance:
    """``accuracy``: balanced, of the classifier on what it has not learned from. ``tvd``: the bound from below, 0 to 1,
    with its ``low`` and ``high``. ``chance``: the largest that permuted labels gave; ``tvd`` above it is no accident
    (at 5 %)."""

    accuracy: float
    tvd: float
    low: float
    high: float
    chance: float

    @property
    def above_chance(self) -> bool:
        return self.tvd > self.chance


@one_thread
def two_sample(
    first: np.ndarray, second: np.ndarray, seed: int = SEED, show: Callable[[float], None] = lambda share: None
) -> Distance:
    """The classifier two-sample test of (N, D) and (M, D) points; ``show`` is told the share done.

    Logistic regression on standardised features learns from one half and is tested on the other, ``SPLITS`` times.
    The interval is exact for one half as large as that (Clopper & Pearson 1934, for the two classes by Bonferroni), so
    that few images give a wide one, a perfect classifier on them included.
    """
    points = np.concatenate([first, second]).astype(np.float64)
    labels = np.repeat([0, 1], [len(first), len(second)])
    random = np.random.default_rng(seed)
    recalls, tested = _recalls(points, labels, random)
    permuted = []
    for done in range(PERMUTATIONS):
        show((1 + done) / (1 + PERMUTATIONS))
        permuted.append(_bound(_recalls(points, random.permutation(labels), random)[0].mean()))
    low, high = _interval(recalls, tested)
    accuracy = float(recalls.mean())
    return Distance(accuracy, _bound(accuracy), _bound(low), _bound(high), max(permuted))


def _bound(accuracy: float) -> float:
    """TVD ≥ 2a − 1."""
    return float(max(0.0, 2 * accuracy - 1))


def _recalls(points: np.ndarray, labels: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Mean share of each of the two classes that is recognised, (2,), and how many of it one half tests."""
    from sklearn.linear_model import LogisticRegression  # a second that no other command has to wait
    from sklearn.model_selection import StratifiedShuffleSplit
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    splits = StratifiedShuffleSplit(SPLITS, test_size=0.5, random_state=int(random.integers(2**31)))
    found = []
    for learned, tested in splits.split(points, labels):
        classifier = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=1000))
        right = classifier.fit(points[learned], labels[learned]).predict(points[tested]) == labels[tested]
        found.append([right[labels[tested] == label].mean() for label in (0, 1)])
    return np.mean(found, axis=0), np.bincount(labels[tested], minlength=2)


def _interval(recalls: np.ndarray, tested: np.ndarray) -> tuple[float, float]:
    """Of the balanced accuracy."""
    from scipy.stats import beta

    tail = (1 - LEVEL) / 4  # two sides of two classes
    right = recalls * tested
    low = np.where(right > 0, beta.ppf(tail, np.maximum(right, 1e-9), tested - right + 1), 0.0)
    high = np.where(right < tested, beta.ppf(1 - tail, right + 1, np.maximum(tested - right, 1e-9)), 1.0)
    return float(low.mean()), float(high.mean())


# --- of a run --------------------------------------------------------------------------------------------------


def distance(folder: RunFolder) -> dict[str, Any]:
    """TVD(P, Q) from below: the collected images of a run (P) and what its newest checkpoint generates (Q), up to
    ``MOST`` of either.

    Raises ``StoreError`` without a checkpoint or where the collected images have changed since, ``RequestError`` for a
    run that does not generate beside collected images, or that has fewer than ``LEAST``.
    """
    spec, started = read_spec(folder), time.monotonic()
    if not spec.collected or "latent" not in spec.config:
        raise RequestError("run", folder.id, f"does not generate beside collected images ({spec.method}).")
    with restored(folder, assemble_classifier) as (card, problem, method, step):
        collected = problem.collected
        if collected is None or len(collected) < LEAST:
            count = 0 if collected is None else len(collected)
            raise RequestError("run", folder.id, f"has {count} collected images; the test needs {LEAST}.")
        if said := other_images(folder, fingerprint(collected)):
            raise StoreError(f"run {folder.id}: {said}")
        teacher = Predictor(problem.teacher, problem.image, problem.device)
        report(0.1, "Synthesising")
        count = min(MOST, len(collected))
        images = torch.cat([images.cpu() for images in synthesised(method, problem, count, SEED)]).contiguous()
        synthetic = teacher.predict(images).pooled.numpy()
        real = teacher.predict(collected[:count]).pooled.numpy()
        found = two_sample(real, synthetic, show=lambda share: report(0.2 + 0.8 * share, "Telling them apart"))
        figures = {
            "run": folder.id,
            "step": step,
            "images": count,
            "features": card.name,
            **asdict(found),
            "above_chance": found.above_chance,
            "splits": SPLITS,
            "permutations": PERMUTATIONS,
            "level": LEVEL,
            "seconds": round(time.monotonic() - started, 2),
        }
    try:
        folder.files.write_json(DISTANCE, figures, durable=False)
    except OSError as error:
        raise RequestError("run", folder.id, f"its folder cannot be written to ({error.strerror}).") from None
    return figures
