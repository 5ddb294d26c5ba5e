"""Collecting: some of a source's images, chosen at random or by what the teacher sees in them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dfkd_core.data.catalogue import Benchmark
from dfkd_core.data.sources import Source, checked_count, find_source
from dfkd_core.selection.collected import BATCH, Predictor, lowest_cross_entropy, most_confident

UNSEEN = 256  # images of the source that are kept aside
CANDIDATES = 20  # images that the teacher looks at for one that it chooses, at most


@dataclass(frozen=True)
class Collected:
    """(N, C, H, W) uint8: ``images`` to learn from, and ``unseen`` ones to watch with (None: there are no more)."""

    images: Tensor
    unseen: Tensor | None


def collect(name: str, benchmark: Benchmark, ratio: float, seed: int, collecting: str, teacher: Predictor) -> Collected:
    """ρ·|D_o| images of the source ``name``, in the shape that ``teacher`` takes; ``seed`` decides.

    ``collecting``: ``random``; ``cross-entropy``, the lowest as the teacher sees them (DFND); ``confidence``, those
    that pass the threshold of their class (KD3). The unseen ones are the next that would have been chosen. Of a large
    source, the teacher looks at ``CANDIDATES`` times as many as it chooses, drawn at random.
    """
    source = find_source(name, benchmark)
    count = checked_count(source, benchmark, ratio)
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(source.count(), generator=generator)
    if collecting != "random":
        order = _chosen(source, order[: max(CANDIDATES * count, count + UNSEEN)], count, collecting, teacher, generator)
    images = source.read(order[:count], teacher.image)
    rest = order[count : count + UNSEEN]
    return Collected(images, source.read(rest, teacher.image) if len(rest) else None)


def _chosen(
    source: Source, candidates: Tensor, count: int, collecting: str, teacher: Predictor, generator: torch.Generator
) -> Tensor:
    """The ``count`` best of the ``candidates`` (indices) in random order, then the next best that stay unseen."""
    parts = candidates.split(BATCH)
    logits = torch.cat([teacher.predict(source.read(part, teacher.image)).logits for part in parts])
    if collecting == "cross-entropy":
        best = lowest_cross_entropy(logits, count + UNSEEN)
    else:
        best = most_confident(logits, count + UNSEEN, generator)
    # Sorted first: nearly equal losses may change places from one device to another.
    mixed = best[:count].sort().values[torch.randperm(count, generator=generator)]
    return candidates[torch.cat([mixed, best[count:]])]
