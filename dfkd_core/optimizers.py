"""Loading an optimizer's state so that a resumed run goes on bit for bit."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """``optimizer.load_state_dict(state)``, then give the loaded moments the strides of their parameters.

    torch keeps the strides of the file, and a fused step pairs elements by their place in memory: a channels-last
    weight would silently take another one's momentum.
    """
    optimizer.load_state_dict(state)
    for parameter, moments in optimizer.state.items():
        for name, value in moments.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                moments[name] = torch.empty_like(parameter).copy_(value)
