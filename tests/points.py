"""Points in feature space whose distances are known."""

from __future__ import annotations

import torch
from torch import Tensor

from dfkd_core.quality import measures as quality


def gaussian(count: int, mean: float, spread: float, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(6, 6, generator=generator, dtype=torch.float64)
    return mean + spread * torch.randn(count, 6, generator=generator, dtype=torch.float64) @ mixing


def of_features(features: Tensor) -> quality.Reference:
    return quality.Reference("-", features, torch.zeros(len(features)), quality._states(features))


def line(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)[:, None]
