"""CUDA graphs of a network's functions: a small network's kernels take less time than launching them."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.utils import stateless
from torch.utils._pytree import tree_flatten, tree_unflatten

SIGHTINGS = 3  # of the same shapes before they are captured: those of a last, smaller batch seldom come again
MOST = 8  # graphs of a function
LARGEST = 1 << 19  # numbers of a batch of images: kernels of more than that take longer than their launch
Function = Callable[..., Any]


class Replayed:
    """``function`` of tensors, which uses ``network``; captured where the same shapes come again, and replayed. What is
    too large to gain by it goes to ``otherwise``.

    The same kernels on the same numbers. Raises ``RuntimeError`` where the function asks the host for something.
    """

    def __init__(self, function: Function, otherwise: Function, network: nn.Module) -> None:
        self.function, self.otherwise, self.network = function, otherwise, network
        self._seen: dict[Any, int] = {}
        self._large: set[Any] = set()
        self._graphs: dict[Any, _Forward | _WithGradient] = {}

    def __call__(self, *given: Any) -> Any:
        inputs, form = tree_flatten(given)
        if not all(isinstance(one, Tensor) for one in inputs) or max(one.numel() for one in inputs) > LARGEST:
            return self.otherwise(*given)
        key = (form, *self._key(inputs))
        if key in self._large:
            return self.otherwise(*given)
        if key in self._graphs:
            return self._graphs[key](*inputs)
        self._seen[key] = self._seen.get(key, 0) + 1
        if self._seen[key] < SIGHTINGS or len(self._graphs) == MOST:
            outputs = self.function(*given)
            if tree_flatten(outputs)[0][0].numel() > LARGEST:
                self._large.add(key)
            return outputs
        self._graphs[key] = self._captured(lambda *inputs: self.function(*tree_unflatten(inputs, form)), inputs)
        return self._graphs[key](*inputs)

    def _key(self, inputs: list[Tensor]) -> tuple[Any, ...]:
        """What a graph holds for: shapes, whether gradients are wanted and of what, and every module's mode."""
        forms = tuple((one.shape, one.stride(), one.dtype, one.requires_grad) for one in inputs)
        return torch.is_grad_enabled(), forms, tuple(module.training for module in self.network.modules())

    def _captured(self, function: Function, inputs: list[Tensor]) -> _Forward | _WithGradient:
        kept = {name: buffer.clone() for name, buffer in self.network.named_buffers()}
        try:
            return (_WithGradient if torch.is_grad_enabled() else _Forward)(function, self.network, inputs)
        finally:  # it was run to warm up, which moves BatchNorm's statistics
            with torch.no_grad():
                for name, buffer in self.network.named_buffers():
                    buffer.copy_(kept[name])


def _warmed(function: Callable[[], object]) -> None:
    """Run it as often as libraries need to choose their kernels, on a stream beside the usual one."""
    beside = torch.cuda.Stream()
    beside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(beside):
        for _ in range(3):
            function()
    torch.cuda.current_stream().wait_stream(beside)


class _Forward:
    """A graph of the function alone."""

    def __init__(self, function: Function, network: nn.Module, given: list[Tensor]) -> None:
        self.inputs = [tensor.clone() for tensor in given]
        _warmed(lambda: function(*self.inputs))
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.outputs, self.form = tree_flatten(function(*self.inputs))

    def __call__(self, *given: Tensor) -> Any:
        for kept, tensor in zip(self.inputs, given, strict=True):
            kept.copy_(tensor)
        self.graph.replay()
        return tree_unflatten([output.clone() for output in self.outputs], self.form)


class _WithGradient:
    """A graph of the function, and one of its gradient.

    They share what was computed on the way: until a gradient was taken, or its result is gone, the function itself is
    asked instead. Captured with other parameters in the same memory, which no earlier step has touched.
    """

    def __init__(self, function: Function, network: nn.Module, given: list[Tensor]) -> None:
        self.function = function
        self.awaited: weakref.ref[Tensor] | None = None
        self.parameters = [one for one in network.parameters() if one.requires_grad]
        twins = {name: one.detach().requires_grad_(one.requires_grad) for name, one in network.named_parameters()}
        self.inputs = [tensor.detach().clone().requires_grad_(tensor.requires_grad) for tensor in given]
        wanted = [one for one in [*self.inputs, *twins.values()] if one.requires_grad]

        def forward() -> Any:
            with stateless._reparametrize_module(network, twins):
                return function(*self.inputs)

        def backward(outputs: list[Tensor]) -> tuple[Tensor | None, ...]:
            # The graph is kept: else what is computed here lands where the function left what this needs, and a second
            # gradient of the same result (a term's share, say) would be of nothing.
            return torch.autograd.grad(outputs, wanted, self.incoming, retain_graph=True, allow_unused=True)

        def both() -> None:
            outputs = [output for output in tree_flatten(forward())[0] if output.requires_grad]
            self.incoming = [torch.zeros_like(output) for output in outputs]
            backward(outputs)

        _warmed(both)
        self.forward, self.backward = torch.cuda.CUDAGraph(), torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.forward):
            self.outputs, self.form = tree_flatten(forward())
        differentiable = [output for output in self.outputs if output.requires_grad]
        self.incoming = [torch.zeros_like(output) for output in differentiable]
        with torch.cuda.graph(self.backward, pool=self.forward.pool()):
            self.gradients = backward(differentiable)
        self.are_differentiable = [output.requires_grad for output in self.outputs]
        self.outputs = [output.detach() for output in self.outputs]

    def __call__(self, *given: Tensor) -> Any:
        if self.awaited is not None and self.awaited() is not None:
            return self.function(*given)
        outputs = _Replay.apply(self, *given, *self.parameters)
        first = next((output for output in outputs if output.requires_grad), None)
        if first is not None:
            self.awaited = weakref.ref(first)
            first.register_hook(self._done)
        return tree_unflatten(list(outputs), self.form)

    def _done(self, _: Tensor) -> None:
        self.awaited = None


class _Replay(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, of: _WithGradient, *given: Tensor) -> tuple[Tensor, ...]:
        ctx.of = of
        for kept, tensor in zip(of.inputs, given, strict=False):  # parameters follow, which are where they are
            kept.detach().copy_(tensor)
        of.forward.replay()
        outputs = tuple(output.clone() for output in of.outputs)
        ctx.mark_non_differentiable(
            *(output for output, able in zip(outputs, of.are_differentiable, strict=True) if not able)
        )
        return outputs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        of: _WithGradient = ctx.of
        able = [gradient for gradient, able in zip(gradients, of.are_differentiable, strict=True) if able]
        for kept, gradient in zip(of.incoming, able, strict=True):
            kept.copy_(gradient)
        of.backward.replay()
        found = iter(of.gradients)
        needed = [one.requires_grad for one in [*of.inputs, *of.parameters]]
        taken = [next(found) if one else None for one in needed]
        return None, *(None if one is None else one.clone() for one in taken)
