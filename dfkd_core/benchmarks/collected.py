"""Collected images: real ones from elsewhere, few and without labels, that a method may learn from.

A source is a benchmark's training images by its name, ``pool`` (DATA/collected-pool), or ``folder:PATH``. Whatever
labels or folder names it has are dropped here: a method gets pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dfkd_core.benchmarks.registry import BENCHMARKS, Benchmark
from dfkd_core.errors import RequestError
from dfkd_core.images import ImageSpec

UNSEEN = 256  # images of the source that are kept aside
USUAL_SOURCE = {"digits": "mnist", "mnist": "digits", "fashion-mnist": "mnist", "cifar10": "pool", "cifar100": "pool"}


@dataclass(frozen=True)
class Collected:
    """(N, C, H, W) uint8: ``images`` to learn from, and ``unseen`` ones to watch with (None: there are no more)."""

    images: Tensor
    unseen: Tensor | None


def check_collected(name: str, benchmark: Benchmark, ratio: float) -> str:
    """The source's name, if it is there. Raises ``RequestError``."""
    name = name or USUAL_SOURCE.get(benchmark.name, "pool")
    if name not in BENCHMARKS:
        raise RequestError("collected", name, "should be a benchmark's name, pool, or folder:PATH.")
    return name


def collect(name: str, benchmark: Benchmark, ratio: float, seed: int) -> Collected:
    """ρ·|D_o| images of the source ``name``, drawn with ``seed``, in the benchmark's shape."""
    data = BENCHMARKS[name].load(train=True).images
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))
    count = round(ratio * benchmark.original)
    shaped = _shaped(data[order[: count + UNSEEN]], benchmark.image)
    return Collected(shaped[:count], shaped[count:] if len(shaped) > count else None)


def _shaped(images: Tensor, image: ImageSpec) -> Tensor:
    from torchvision.transforms.v2.functional import resize

    return resize(images, [image.size, image.size], antialias=True)
