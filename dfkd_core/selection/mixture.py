"""Which generated samples the teacher vouches for: a two-component mixture over its judged losses.

TA-DFKD (Shin & Choi, AAAI 2024) follows DivideMix (Li et al., ICLR 2020): losses scaled to [0, 1] within the
batch, a 1-D Gaussian mixture with two components, and P(low-mean component | loss) > τ means clean.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from dfkd_core.selection.region import accepted_region, posterior, quadratic, sigmoid

MAX_ITERATIONS = 10  # DivideMix's settings, and those of TA-DFKD's released code
TOLERANCE = 1e-2
VARIANCE_FLOOR = 5e-4  # scikit-learn's reg_covar, added to each variance
FEWEST = 8  # samples of a class that a mixture is fitted to; fewer are kept
SMALLEST_SIZE = 10 * np.finfo(np.float64).eps  # keeps an empty component from dividing by zero, as there


class Mixture(NamedTuple):
    """Two 1-D Gaussians over scaled losses. ``weights``, ``means``, ``variances``: (2,) float64."""

    weights: np.ndarray
    means: np.ndarray
    variances: np.ndarray


NONE = Mixture(np.array([1.0, 0.0]), np.zeros(2), np.full(2, VARIANCE_FLOOR))


@dataclass(frozen=True)
class Selection:
    """The verdict on a batch of B losses, on their device.

    ``clean`` (B,) bool; ``chosen`` (K,) int64, which these are; ``posterior`` (B,) in [0, 1]; ``scaled`` (B,) losses
    in [0, 1]; ``low``/``high`` the losses that were scaled to 0 and 1; ``mixture`` what was fitted to the batch;
    ``usable`` is False when there is none: every class has its own (``by_class``), or the finite losses were all equal
    or fewer than two, and then every finite sample is clean. A sample whose loss is not finite is never clean.
    ``applied``: whether the step learns from the clean samples only; the verdict is told of any step.
    """

    clean: Tensor
    chosen: Tensor
    posterior: Tensor
    scaled: Tensor
    low: float
    high: float
    mixture: Mixture
    usable: bool
    by_class: bool
    threshold: float
    applied: bool = True

    def summary(self) -> dict[str, Any]:
        """The fit in plain numbers, low-mean component first, with the ``region`` of scaled losses accepted, which is
        empty where every class has its own."""
        order = np.argsort(self.mixture.means, kind="stable")
        fit = {
            "weights": self.mixture.weights[order].tolist(),
            "means": self.mixture.means[order].tolist(),
            "deviations": np.sqrt(self.mixture.variances[order]).tolist(),
            "low": self.low,
            "high": self.high,
            "usable": self.usable,
            "by_class": self.by_class,
            "applied": self.applied,
            "threshold": self.threshold,
        }
        everything = [] if self.by_class else [(0.0, 1.0)]
        return {**fit, "region": accepted_region(fit, self.threshold) if self.usable else everything}


def judge(teacher_logits: Tensor) -> Tensor:
    """ℓ_i = CE(T(x̂_i), argmax T(x̂_i)) = log Σ exp T − max T, (B, K) -> (B,)."""
    return teacher_logits.logsumexp(dim=1) - teacher_logits.amax(dim=1)


@torch.no_grad()
def select(losses: Tensor, threshold: float, labels: Tensor | None = None) -> Selection:
    """Split (B,) judged losses into clean and rejected; ``threshold`` is τ. With ``labels`` (B,) every class has a
    mixture of its own, so that none is rejected for being harder than the others; then there is no accepted region.

    Fitted on the host, in numpy: the arrays are so small that hundreds of kernels cost more than the one wait for an
    accelerator. It is the only one in a step, and what is ``chosen`` is known afterwards without another.
    """
    values = losses.detach().double().cpu().numpy()
    low, high, scaled, trusted, mixture = _judged(values)
    if labels is not None:
        classes, mixture = labels.cpu().numpy(), NONE
        for one in np.unique(classes):
            alike = classes == one
            trusted[alike] = _judged(values[alike])[3] if alike.sum() >= FEWEST else np.isfinite(values[alike])
    usable, by_class = mixture is not NONE, labels is not None
    clean = trusted > threshold
    moved = [
        torch.from_numpy(part).to(losses.device, non_blocking=True)
        for part in (clean, np.flatnonzero(clean), trusted, scaled)
    ]
    return Selection(moved[0], moved[1], moved[2], moved[3], low, high, mixture, usable, by_class, threshold)


def _judged(values: np.ndarray) -> tuple[float, float, np.ndarray, np.ndarray, Mixture]:
    """The least and the greatest of (N,) losses, the losses scaled by them, their posteriors and the mixture."""
    finite = np.isfinite(values)
    known = values[finite]
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 0.0)
    scaled, trusted, mixture = np.zeros_like(values), finite.astype(float), NONE
    if high - low > np.finfo(np.float32).eps * abs(high):  # or rounding would be split as if it meant something
        scaled[finite] = known = (known - low) / (high - low)
        mixture = fit(known, *two_means(known))
        trusted[finite] = posterior(known, *mixture)
    return low, high, scaled, trusted, mixture


def two_means(values: np.ndarray) -> Mixture:
    """The exact 1-D 2-means split of (N,) ``values``, not all equal, as a start for ``fit``.

    On a line the best two clusters are a cut of the sorted values, so prefix sums find the global optimum that
    scikit-learn's k-means start only searches for.
    """
    ordered, count = np.sort(values), len(values)
    left = np.arange(1.0, count)
    sums, squares = np.cumsum(ordered), np.cumsum(ordered * ordered)
    gaps = sums[:-1] / left - (sums[-1] - sums[:-1]) / (count - left)
    cut = int(np.argmax(left * (count - left) * gaps * gaps))
    sizes = np.array([left[cut], count - left[cut]])
    means = np.array([sums[cut], sums[-1] - sums[cut]]) / sizes
    second = np.array([squares[cut], squares[-1] - squares[cut]]) / sizes
    return Mixture(sizes / count, means, np.maximum(second - means * means, 0.0) + VARIANCE_FLOOR)


def fit(values: np.ndarray, weights: np.ndarray, means: np.ndarray, variances: np.ndarray) -> Mixture:
    """Expectation-maximisation for two 1-D Gaussians of (N,) ``values``, from the given start.

    Same steps, stopping rule and regularisation as scikit-learn's ``GaussianMixture`` (at most 10 iterations,
    until the mean log-likelihood changes by less than 1e-2). Log-densities are quadratic in the value, so an
    iteration is two small matrix products; the responsibilities of one component do for both.
    """
    rows = np.stack([values * values, values, np.ones_like(values)])
    totals, count = rows.sum(axis=1), len(values)
    first, second = zip(weights, means, variances, strict=True)
    previous = -math.inf
    for _ in range(MAX_ITERATIONS):
        one, other = quadratic(*first), quadratic(*second)
        joint = np.array([other, [a - b for a, b in zip(one, other, strict=True)]]) @ rows
        likelihood = float((joint[0] + np.logaddexp(0.0, joint[1])).sum()) / count
        moments = rows @ sigmoid(joint[1])
        first, second = _component(moments, count), _component(totals - moments, count)
        if abs(likelihood - previous) < TOLERANCE:
            break
        previous = likelihood
    return Mixture(*np.array([first, second]).T.copy())


def _component(moments: np.ndarray, count: int) -> tuple[float, float, float]:
    """Weight, mean and variance from the ``moments`` Σr·v², Σr·v and Σr."""
    squares, values, size = moments.tolist()
    size = max(size, 0.0) + SMALLEST_SIZE
    mean = values / size
    return size / (count + 2 * SMALLEST_SIZE), mean, max(squares / size - mean * mean, 0.0) + VARIANCE_FLOOR
