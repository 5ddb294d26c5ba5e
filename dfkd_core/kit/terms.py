"""Keeping an eye on the terms of a loss: are they finite, and does each still pull?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextvars import ContextVar
from typing import Protocol

import torch
from torch import Tensor, nn

from dfkd_core.errors import NonFiniteError


class Watcher(Protocol):
    """Is told of every loss before anything descends it: the gradient audit."""

    def weighed(self, of: str, terms: dict[str, Tensor]) -> None:
        """The weighted ``terms`` that make a loss, of whoever descends it."""

    def descends(self, loss: Tensor, optimizers: Sequence[torch.optim.Optimizer]) -> None:
        """``optimizers`` are about to descend ``loss``."""


watcher: ContextVar[Watcher | None] = ContextVar("watcher", default=None)


class TermGuard:
    """Reads terms as floats and stops the run at the first that is not finite."""

    def __init__(self) -> None:
        self.last: dict[str, float] = {}

    def read(self, step: int, terms: dict[str, Tensor]) -> dict[str, float]:
        """0-d tensors -> floats, with a single wait for the device. Raises ``NonFiniteError``."""
        values = torch.stack([term.detach() for term in terms.values()]).tolist()
        named = dict(zip(terms, values, strict=True))
        for name, value in named.items():
            if not math.isfinite(value):
                raise NonFiniteError(step, name, value, self.last)
        self.last = {**self.last, **named}
        return named


def gradient_norms(terms: dict[str, Tensor], parameters: Sequence[Tensor]) -> dict[str, float]:
    """The 2-norm of each term's gradient at ``parameters``, all together; 0 means dead.

    Costs a backward pass a term and leaves ``.grad`` and the graph alone.
    """
    norms = {}
    for name, term in terms.items():
        if not term.requires_grad:
            norms[name] = 0.0
            continue
        gradients = torch.autograd.grad(term, parameters, retain_graph=True, allow_unused=True)
        present = [gradient.norm() for gradient in gradients if gradient is not None]
        norms[name] = torch.stack(present).norm().item() if present else 0.0
    return norms


def gradient_norm(network: nn.Module) -> float:
    """The 2-norm of the gradients that ``network`` holds, all parameters together; 0 where there are none."""
    norms = [parameter.grad.norm() for parameter in network.parameters() if parameter.grad is not None]
    return torch.stack(norms).norm().item() if norms else 0.0


def shares(norms: dict[str, float]) -> dict[str, float]:
    """Each norm as a share of their sum, as ``share/NAME``."""
    total = sum(norms.values())
    return {f"share/{name}": norm / total if total > 0 else 0.0 for name, norm in norms.items()}
