"""Learning rates over a training."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch.optim import Optimizer


def cosine(progress: float) -> float:
    """What multiplies the learning rate after the share ``progress`` (0 to 1) of the steps: from 1 to 0 along half a
    cosine (SGDR, Loshchilov & Hutter 2017, without restarts)."""
    return 0.5 * (1 + math.cos(math.pi * progress))


def set_rate(optimizer: Optimizer, rate: float) -> None:
    """Give ``optimizer`` the learning rate ``rate``."""
    for group in optimizer.param_groups:
        group["lr"] = rate
