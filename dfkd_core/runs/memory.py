"""How much of a GPU's memory a run will take, before it starts.

What a step keeps grows with its batch in a straight line, so steps of small batches tell what one of the whole batch
takes; weights and optimizers are in all of them. Stable Diffusion makes as many images at once as there is room for:
steps of whole batches tell that.
"""

from __future__ import annotations

import gc
from itertools import islice
from typing import Any

import torch

from dfkd_core import methods
from dfkd_core.errors import RequestError
from dfkd_core.events import Step
from dfkd_core.networks.execution import executing
from dfkd_core.runs.assemble import assemble, config_of, execution_of
from dfkd_core.runs.spec import RunSpec
from dfkd_core.teachers.cards import find_card

BATCHES = ("batch_size", "gan_batch_size", "synthesis_size")
REPEATED = {"synthesis_steps": 2, "denoising_steps": 2, "updates": 2, "warm_steps": 0}
"""Knobs, and how often is enough: a step takes no more memory for doing it more often."""
PARTS = (8, 4)  # of the batch, that are tried
LEAST = 8  # images, for BatchNorm to mean something
SMALL = 1 << 20  # numbers of a batch of images: less is not worth the seconds
HEADROOM = 0.95  # of what is free


def foretold_peak(spec: RunSpec) -> int | None:
    """Bytes that the steps of ``spec`` will hold at most, on its GPU; None where the batch is too small to matter.

    To be called where the run will compute, inside its ``borrowed`` block; seeds torch's generators.
    """
    if config_of(spec).source_kind == "stable-diffusion":
        return _peak(spec, {})  # most of it is of the few images that fit at once: no straight line
    sizes = {name: size for name in BATCHES if (size := spec.knob(name)) is not None}
    image = find_card(spec.teacher)[0].image.spec()
    numbers = image.channels * image.size**2
    if not sizes or min(sizes.values()) < LEAST * PARTS[0] or max(sizes.values()) * numbers < SMALL:
        return None
    few, more = (_peak(spec, {name: size // part for name, size in sizes.items()}) for part in PARTS)
    small, large = (1 / part for part in PARTS)
    return round(few + (more - few) * (1 - small) / (large - small))


def check_memory(spec: RunSpec) -> int | None:
    """The same. Raises ``RequestError`` (a knob) where it is more than there is."""
    peak = foretold_peak(spec)
    if peak is None:
        return None
    device = torch.device(spec.device)
    free = torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device)
    if peak > HEADROOM * free:
        knobs = methods.find(spec.method).Config.memory_knobs()
        raise RequestError(
            knobs[0],
            spec.knob(knobs[0]),
            f"takes about {peak / 2**30:.1f} GiB and {device} has {free / 2**30:.1f} GiB free; lower "
            f"{' or '.join(knobs)}, or take a smaller student.",
        )
    return peak


def _peak(spec: RunSpec, sizes: dict[str, int]) -> int:
    """Of two steps of each stage, in which batches are of ``sizes``."""
    brief = {name: min(few, spec.config[name]) for name, few in REPEATED.items() if name in spec.config}
    spec = spec.model_copy(update={"config": {**spec.config, **sizes, **brief}})
    device = torch.device(spec.device)
    _, _, method = assemble(spec)
    torch.cuda.reset_peak_memory_stats(device)
    with executing(execution_of(spec.model_copy(update={"compile": "off"}))):  # compiling takes long, and less memory
        _take(method, 2)
    peak = torch.cuda.max_memory_allocated(device)
    del method
    gc.collect()
    torch.cuda.empty_cache()
    return peak


def _take(method: Any, steps: int) -> None:
    """``steps`` steps of each stage, whose events nobody wants."""
    begun = 0
    for stage in method.stages:
        method.step = begun
        list(islice((event for event in method.train() if isinstance(event, Step)), min(steps, stage.steps)))
        begun += stage.steps
