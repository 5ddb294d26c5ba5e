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
from torch import Tensor

from dfkd_core.selection.region import accepted_region, posterior, quadratic, sigmoid

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


def judge(teacher_logits: Tensor) -> Tensor:
    """ℓ_i = CE(T(x̂_i), argmax T(x̂_i)) = log Σ exp T − max T, (B, K) -> (B,)."""
    return teacher_logits.logsumexp(dim=1) - teacher_logits.amax(dim=1)


@torch.no_grad()
def select(losses: Tensor, threshold: float) -> Selection:
    """Split (B,) judged losses into clean and rejected; ``threshold`` is τ.

    Fitted where the losses are. On an accelerator nothing waits for the host. On a CPU the arrays are so small that
    calling torch costs more than computing, so the same steps are taken in numpy, on the same memory.
    """
    losses = losses.detach().double()
    decide = _select_on_host if _on_host(losses) else _select_on_device
    return decide(losses, threshold)


def _on_host(losses: Tensor) -> bool:
    return losses.device.type == "cpu"


def _select_on_device(losses: Tensor, threshold: float) -> Selection:
    finite = losses.isfinite()
    low = losses.where(finite, torch.inf).amin()
    high = losses.where(finite, -torch.inf).amax()
    spread = high - low
    usable = spread > 0  # False as well when no loss is finite: inf - inf and -inf - inf
    scaled = ((losses - low) / spread.where(usable, 1.0)).where(finite & usable, 0.0)
    mixture = fit(scaled, *two_means(scaled, finite), included=finite)
    trusted = mixture.posterior(scaled).where(usable, 1.0).where(finite, 0.0)
    return Selection(trusted > threshold, trusted, scaled, low, high, mixture, usable, threshold)


def _select_on_host(losses: Tensor, threshold: float) -> Selection:
    values = losses.numpy()
    finite = np.isfinite(values)
    chosen = values[finite]
    low, high = (float(chosen.min()), float(chosen.max())) if len(chosen) else (0.0, 0.0)
    usable = high > low
    scaled, trusted = np.zeros_like(values), finite.astype(float)
    components = np.array([[1.0, 0.0], [0.0, 0.0], [VARIANCE_FLOOR, VARIANCE_FLOOR]])
    if usable:
        scaled[finite] = chosen = (chosen - low) / (high - low)
        components = _fit_on_host(chosen, *_two_means_on_host(chosen))
        trusted[finite] = posterior(chosen, *components)
    verdict, scaled_values, components_fitted = (torch.from_numpy(part) for part in (trusted, scaled, components))
    return Selection(
        verdict > threshold,
        verdict,
        scaled_values,
        torch.tensor(low, dtype=losses.dtype),
        torch.tensor(high, dtype=losses.dtype),
        Mixture(*components_fitted),
        torch.tensor(usable),
        threshold,
    )


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
    iteration is two small matrix products. A converged fit is frozen by a mask instead of asking the host.
    """
    features = _features(values)
    kept = features if included is None else features * included[:, None]
    parameters = torch.stack([weights, means, variances])
    count = kept[:, 2].sum().clamp(min=1)
    share = kept[:, 2] / count
    previous = values.new_full((), -torch.inf)
    done = values.new_zeros((), dtype=torch.bool)
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


def _two_means_on_host(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``two_means`` of (N,) values that are not all equal."""
    ordered, count = np.sort(values), len(values)
    left = np.arange(1.0, count)
    sums, squares = np.cumsum(ordered), np.cumsum(ordered * ordered)
    gaps = sums[:-1] / left - (sums[-1] - sums[:-1]) / (count - left)
    cut = int(np.argmax(left * (count - left) * gaps * gaps))
    sizes = np.array([left[cut], count - left[cut]])
    means = np.array([sums[cut], sums[-1] - sums[cut]]) / sizes
    second = np.array([squares[cut], squares[-1] - squares[cut]]) / sizes
    return sizes / count, means, np.maximum(second - means * means, 0.0) + VARIANCE_FLOOR


def _fit_on_host(values: np.ndarray, weights: np.ndarray, means: np.ndarray, variances: np.ndarray) -> np.ndarray:
    """``fit`` of (N,) values; (3, 2): weights, means, variances. The responsibilities of one component do for both."""
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
    return np.array([first, second]).T.copy()


def _component(moments: np.ndarray, count: int) -> tuple[float, float, float]:
    """Weight, mean and variance from the ``moments`` Σr·v², Σr·v and Σr."""
    squares, values, size = moments.tolist()
    size = max(size, 0.0) + SMALLEST_SIZE
    mean = values / size
    return size / (count + 2 * SMALLEST_SIZE), mean, max(squares / size - mean * mean, 0.0) + VARIANCE_FLOOR


def _features(values: Tensor) -> Tensor:
    """[v², v, 1] as (N, 3)."""
    return torch.stack([values.square(), values, torch.ones_like(values)], dim=1)


def _coefficients(weights: Tensor, means: Tensor, variances: Tensor) -> Tensor:
    """(3, 2) matrix C with [v², v, 1] @ C = log(weight · N(v | mean, variance))."""
    constant = weights.log() - 0.5 * (means.square() / variances + (2 * torch.pi * variances).log())
    return torch.stack([-0.5 / variances, means / variances, constant])
