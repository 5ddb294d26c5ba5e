"""How a device computes what networks do: in which precision, compiled, or replayed from CUDA graphs.

Methods do not know of it. A network's functions that they call are ``computed``: inside an ``executing`` block these
run as the block says, and give float32 whatever they computed in. So losses and statistics are in float32 always.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial, wraps
from typing import Any, Literal, TypeVar, cast

import torch
import torch._functorch.config as compiling
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from dfkd_core.networks.replay import Replayed

Precision = Literal["float32", "tf32", "bf16"]
F = TypeVar("F", bound=Callable[..., Any])


class Execution:
    """How one run's networks compute on ``device``.

    ``precision``: ``tf32`` lets convolutions and matrix products round their factors to 10 bits; ``bf16`` is autocast.
    ``compiled``: by ``torch.compile``. ``replayed``: functions of small batches become CUDA graphs instead, since
    launching their kernels takes longer than running them.
    """

    def __init__(
        self, device: torch.device, precision: Precision = "float32", compiled: bool = False, replayed: bool = False
    ) -> None:
        self.device, self.precision, self.compiled = device, precision, compiled
        self.replayed = replayed and device.type == "cuda"
        self._prepared: dict[Any, Callable[..., Any]] = {}

    def call(self, function: Callable[..., Any], network: nn.Module, given: tuple[Any, ...]) -> Any:
        """``function(network, *given)`` in the fastest way that there is for it."""
        key = (function, network)
        if key not in self._prepared:
            lowered: Callable[..., Any] = partial(self._lowered, function, network)
            large = torch.compile(lowered, dynamic=False) if self.compiled else lowered
            self._prepared[key] = Replayed(lowered, large, network) if self.replayed else large
        return self._prepared[key](*given)

    def _lowered(self, function: Callable[..., Any], network: nn.Module, *given: Any) -> Any:
        if self.precision != "bf16":
            return function(network, *given)
        with torch.autocast(self.device.type, torch.bfloat16, cache_enabled=False):
            return tree_map_only(Tensor, widened, function(network, *given))


def widened(tensor: Tensor) -> Tensor:
    """In float32 what was computed in bf16; else as it is."""
    return tensor.float() if tensor.dtype == torch.bfloat16 else tensor


class Untouched:
    """Marks a network that nothing here changes: neither precision nor compilation, which a program does not take."""


_current: ContextVar[Execution | None] = ContextVar("execution", default=None)


def computed(function: F) -> F:
    """Decorator of a network's function of tensors, which then runs as the block ``executing`` says. What it calls
    itself is part of it."""

    @wraps(function)
    def run(network: nn.Module, *given: Any) -> Any:
        execution = _current.get()
        if execution is None or isinstance(network, Untouched):
            return function(network, *given)
        inside = _current.set(None)
        try:
            return execution.call(function, network, given)
        finally:
            _current.reset(inside)

    return cast(F, run)


@contextmanager
def executing(execution: Execution, deterministic: bool = False) -> Iterator[None]:
    """Compute as ``execution`` says, within the block and in this thread."""
    backends = (torch.backends.cudnn, "allow_tf32"), (torch.backends.cuda.matmul, "allow_tf32")
    settings: dict[tuple[Any, str], bool] = dict.fromkeys(backends, execution.precision != "float32")
    settings |= {
        (compiling, "donated_buffer"): False,  # the gradients of terms are taken before that of their sum
        (torch.backends.cudnn, "benchmark"): execution.device.type == "cuda" and not deterministic,
        (torch.backends.cudnn, "deterministic"): deterministic,
    }
    before = {(of, name): getattr(of, name) for of, name in settings}
    strict = torch.are_deterministic_algorithms_enabled()
    plain = execution.device.type == "cpu" and execution.precision == "float32" and not execution.compiled
    token = _current.set(None if plain else execution)
    try:
        for (of, name), value in settings.items():
            setattr(of, name, value)
        torch.use_deterministic_algorithms(deterministic or strict)
        yield
    finally:
        _current.reset(token)
        for (of, name), value in before.items():
            setattr(of, name, value)
        torch.use_deterministic_algorithms(strict)
