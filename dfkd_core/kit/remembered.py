"""BatchNorm statistics with a memory: those of a batch count together with those of the batches before it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dfkd_core.losses.bn_statistics import Statistics, has_statistics, observe, observe_from, stored_statistics
from dfkd_core.networks.classifiers import Classifier, Features


class RememberedStatistics:
    """Σ_l ‖(1 − m)·μ_l(x̂) + m·μ'_l − μ̂_l‖₂ + the same of the variances, μ' a moving mean of what earlier batches had
    and m the ``momentum`` (Fast, Fang et al. 2022): single batches need not look like all of the data.

    The first batch has no earlier ones, and is taken as it is.
    """

    def __init__(self, teacher: Classifier, momentum: float) -> None:
        self._teacher, self._momentum = teacher, momentum
        self._earlier: Statistics | None = None
        self._last: Statistics | None = None

    def observe(self, images: Tensor) -> tuple[Features, Tensor]:
        """What the teacher sees in (B, C, H, W) normalised ``images``, and the distance."""
        if self._momentum == 0 or not has_statistics(self._teacher):
            return observe(self._teacher, images)
        wanted, kept = stored_statistics(self._teacher), 1.0
        if self._earlier is not None:  # ‖(1 − m)·μ + m·μ' − μ̂‖ = (1 − m)·‖μ − (μ̂ − m·μ') / (1 − m)‖
            m, kept = self._momentum, 1 - self._momentum
            pairs = zip(wanted, self._earlier, strict=True)
            wanted = Statistics(*((stored - m * earlier) / kept for stored, earlier in pairs))
        seen, distance, self._last = observe_from(self._teacher, images, wanted)
        return seen, kept * distance

    def remember(self) -> None:
        """The batch that was observed last is done: μ' ← m·μ' + (1 − m)·μ."""
        if self._earlier is None or self._last is None:
            self._earlier = self._last
        else:
            pairs = zip(self._last, self._earlier, strict=True)
            self._earlier = Statistics(*(torch.lerp(new, old, self._momentum) for new, old in pairs))

    def state_dict(self) -> dict[str, Any]:
        return {} if self._earlier is None else self._earlier._asdict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        device = next(self._teacher.parameters()).device
        self._earlier = Statistics(**{name: kept.to(device) for name, kept in state.items()}) if state else None
