"""Which generated samples the teacher vouches for: a two-component mixture over its judged losses.

TA-DFKD (Shin & Choi, AAAI 2024) follows DivideMix (Li et al., ICLR 2020): losses scaled to [0, 1] within the
batch, a 1-D Gaussian mixture with two components, and P(low-mean component | loss) > τ means clean.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

MAX_ITERATIONS = 10  # DivideMix's settings, and those of TA-DFKD's released code
TOLERANCE = 1e-2
VARIANCE_FLOOR = 5e-4  # scikit-learn's reg_covar, added to each variance
SMALLEST_SIZE = 10 * torch.finfo(torch.float64).eps  # keeps an empty component from dividing by zero, as there


@dataclass(frozen=True)
class Mixture:
    """Two 1-D Gaussians over scaled losses. ``weights``, ``means``, ``variances``: (2,) float64."""

    weights: Tensor
    means: Tensor
    variances: Tensor

    def log_joint(self, values: Tensor) -> Tensor:
        """log(weight_k · N(value | mean_k, variance_k)) as (N, 2)."""
        return _features(values) @ _coefficients(self.weights, self.means, self.variances)

    def posterior(self, values: Tensor) -> Tensor:
        """P(component of the lower mean | value), (N,)."""
        joint = self.log_joint(values)
        low = self.means.argmin()
        return torch.sigmoid(joint.index_select(1, low[None]) - joint.index_select(1, 1 - low[None])).squeeze(1)


@dataclass(frozen=True)
class Selection:
    """The verdict on a batch of B losses.

    ``clean`` (B,) bool; ``posterior`` (B,) in [0, 1]; ``scaled`` (B,) losses in [0, 1]; ``low``/``high`` the
    losses that were scaled to 0 and 1; ``mixture`` what was fitted; ``usable`` is False (a 0-d bool tensor) when
    no mixture could be fitted because the finite losses were all equal or fewer than two: then every finite
    sample is clean. A sample whose loss is not finite is never clean.
    """

    clean: Tensor
    posterior: Tensor
    scaled: Tensor
    low: Tensor
    high: Tensor
    mixture: Mixture
    usable: Tensor
    threshold: float

    def summary(self) -> dict[str, Any]:
        """The fit in plain numbers, low-mean component first, with the ``region`` of scaled losses accepted."""
        low = int(self.mixture.means.argmin())
        order = [low, 1 - low]
        fit = {
            "weights": self.mixture.weights[order].tolist(),
            "means": self.mixture.means[order].tolist(),
            "deviations": self.mixture.variances[order].sqrt().tolist(),
            "low": float(self.low) if self.usable else 0.0,
            "high": float(self.high) if self.usable else 0.0,
            "usable": bool(self.usable),
            "threshold": self.threshold,
        }
        return {**fit, "region": accepted_region(fit, self.threshold) if fit["usable"] else [(0.0, 1.0)]}


@torch.no_grad()
def select(losses: Tensor, threshold: float) -> Selection:
    """Split (B,) judged losses into clean and rejected; ``threshold`` is τ. Never waits for the host."""
    losses = losses.detach().double()
    finite = losses.isfinite()
    low = losses.where(finite, torch.inf).amin()
    high = losses.where(finite, -torch.inf).amax()
    spread = high - low
    usable = spread > 0  # False as well when no loss is finite: inf - inf and -inf - inf
    scaled = ((losses - low) / spread.where(usable, 1.0)).where(finite & usable, 0.0)
    mixture = fit(scaled, *two_means(scaled, finite), included=finite)
    posterior = mixture.posterior(scaled).where(usable, 1.0).where(finite, 0.0)
    return Selection(posterior > threshold, posterior, scaled, low, high, mixture, usable, threshold)


def two_means(values: Tensor, included: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The exact 1-D 2-means split as a start for ``fit``: ``weights``, ``means``, ``variances``, (2,) each.

    On a line the best two clusters are a cut of the sorted values, so prefix sums find the global optimum that
    scikit-learn's k-means start only searches for.
    """
    ordered = values.where(included, torch.inf).sort().values
    count = included.sum()
    position = torch.arange(1, len(values) + 1, device=values.device, dtype=values.dtype)
    inside = position <= count
    ordered, count = ordered.where(inside, 0.0), count.clamp(min=1)
    sums, squares = ordered.cumsum(0), ordered.square().cumsum(0)
    left, right = position, count - position
    mean_left, mean_right = sums / left, (sums[-1] - sums) / right.clamp(min=1)
    between = (left * right * (mean_left - mean_right).square()).where(right > 0, -1.0)
    cut = between.argmax()
    sizes = torch.stack([left[cut], right[cut]])
    means = torch.stack([mean_left[cut], mean_right[cut]])
    second = torch.stack([squares[cut], squares[-1] - squares[cut]]) / sizes.clamp(min=1)
    variances = (second - means.square()).clamp(min=0) + VARIANCE_FLOOR
    return sizes / count, means, variances


def fit(values: Tensor, weights: Tensor, means: Tensor, variances: Tensor, included: Tensor | None = None) -> Mixture:
    """Expectation-maximisation for two 1-D Gaussians, from the given start, on the device of ``values`` (N,).

    Same steps, stopping rule and regularisation as scikit-learn's ``GaussianMixture`` (at most 10 iterations,
    until the mean log-likelihood changes by less than 1e-2). Log-densities are quadratic in the value, so an
    iteration is two small matrix products. On a CPU the six parameters are kept as Python floats, which takes a third
    of the time; on a GPU they stay there, and a converged fit is frozen by a mask instead of asking the host.
    """
    features = _features(values)
    kept = features if included is None else features * included[:, None]
    start = torch.stack([weights, means, variances])
    return _fit_on_host(features, kept, start) if values.device.type == "cpu" else _fit_there(features, kept, start)


def _fit_there(features: Tensor, kept: Tensor, parameters: Tensor) -> Mixture:
    """``features``, ``kept``: (N, 3), the latter zero for samples that do not count. ``parameters``: (3, 2)."""
    count = kept[:, 2].sum().clamp(min=1)
    share = kept[:, 2] / count
    previous = features.new_full((), -torch.inf)
    done = features.new_zeros((), dtype=torch.bool)
    for _ in range(MAX_ITERATIONS):
        joint = features @ _coefficients(*parameters)
        likelihood = (joint.logsumexp(dim=1) * share).sum()
        moments = joint.softmax(dim=1).T @ kept
        sizes = moments[:, 2] + SMALLEST_SIZE
        mean = moments[:, 1] / sizes
        variance = (moments[:, 0] / sizes - mean.square()).clamp(min=0) + VARIANCE_FLOOR
        parameters = parameters.where(done, torch.stack([sizes / sizes.sum(), mean, variance]))
        done = done | ((likelihood - previous).abs() < TOLERANCE)
        previous = likelihood
    return Mixture(*parameters)


def _fit_on_host(features: Tensor, kept: Tensor, start: Tensor) -> Mixture:
    """The same as ``_fit_there``, component by component."""
    rows, kept_rows = features.T.contiguous(), kept.T.contiguous()
    totals = kept_rows.sum(dim=1).tolist()
    count = max(totals[2], 1.0)
    components = start.T.tolist()  # (weight, mean, variance) twice
    previous = -math.inf
    for _ in range(MAX_ITERATIONS):
        first, second = (_quadratic(*component) for component in components)
        difference = [a - b for a, b in zip(first, second, strict=True)]
        joint = torch.tensor([second, difference], dtype=rows.dtype) @ rows
        likelihoods = joint[0] + F.softplus(joint[1])  # log(exp first + exp second)
        of_first = torch.cat([kept_rows @ joint[1].sigmoid(), (kept_rows[2] @ likelihoods)[None]]).tolist()
        likelihood = of_first.pop() / count
        of_second = [total - part for total, part in zip(totals, of_first, strict=True)]
        components = [_component(moments, count) for moments in (of_first, of_second)]
        if abs(likelihood - previous) < TOLERANCE:
            break
        previous = likelihood
    return Mixture(*torch.tensor(components, dtype=rows.dtype).T.contiguous())


def _quadratic(weight: float, mean: float, variance: float) -> list[float]:
    """Coefficients of [v², v, 1] in log(weight · N(v | mean, variance))."""
    constant = math.log(max(weight, 1e-300)) - 0.5 * (mean * mean / variance + math.log(2 * math.pi * variance))
    return [-0.5 / variance, mean / variance, constant]


def _component(moments: list[float], count: float) -> list[float]:
    """Weight, mean and variance from the ``moments`` Σr·v², Σr·v and Σr."""
    squares, values, size = moments
    size = max(size, 0.0) + SMALLEST_SIZE
    mean = values / size
    return [size / (count + 2 * SMALLEST_SIZE), mean, max(squares / size - mean * mean, 0.0) + VARIANCE_FLOOR]


def accepted_region(summary: dict[str, Any], threshold: float, points: int = 2001) -> list[tuple[float, float]]:
    """The intervals of scaled loss, within [0, 1], whose posterior exceeds ``threshold``.

    There can be two boundaries: with unequal variances the wide component also wins *below* the narrow one, and
    then the most confident samples of all are rejected.
    """
    grid = np.linspace(0.0, 1.0, points)
    weights, means, deviations = (np.asarray(summary[key])[:, None] for key in ("weights", "means", "deviations"))
    joint = np.log(weights + 1e-300) - np.log(deviations) - 0.5 * ((grid - means) / deviations) ** 2
    inside = 1.0 / (1.0 + np.exp(np.clip(joint[1] - joint[0], -700, 700))) > threshold
    edges = np.flatnonzero(np.diff(np.concatenate([[False], inside, [False]]).astype(int)))
    return [(float(grid[start]), float(grid[end - 1])) for start, end in zip(edges[::2], edges[1::2], strict=True)]


def _on_host(values: Tensor) -> bool:
    return values.device.type == "cpu"


def _features(values: Tensor) -> Tensor:
    """[v², v, 1] as (N, 3)."""
    return torch.stack([values.square(), values, torch.ones_like(values)], dim=1)


def _coefficients(weights: Tensor, means: Tensor, variances: Tensor) -> Tensor:
    """(3, 2) matrix C with [v², v, 1] @ C = log(weight · N(v | mean, variance))."""
    constant = weights.log() - 0.5 * (means.square() / variances + (2 * torch.pi * variances).log())
    return torch.stack([-0.5 / variances, means / variances, constant])
