"""Whether HiDFD's generator makes the classes that it is told: by what of its loss, on digits, preset ``demo``.

For each arm and seed the GAN alone learns; then the averaged generator makes images of every class that the collected
images have, and the teacher says what it sees.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from benchmarks.command import Quick, Seeds, command
from benchmarks.report import Report, Row, say
from benchmarks.training import spread
from dfkd_core.events import Step
from dfkd_core.methods.hidfd import HiDFD
from dfkd_core.runs.assemble import assemble, seed_step
from dfkd_core.runs.request import make_spec
from dfkd_core.study.hidfd_experiments import AS_PUBLISHED

PAPER = AS_PUBLISHED["hidfd"]
ARMS: dict[str, dict[str, Any]] = {
    "demo (λ_y 1)": {},
    "λ_y 0.3": {"told_weight": 0.3},
    "as in the paper (λ_y 0)": PAPER,
    "λ_g 1, λ_y 0": {**PAPER, "frequency_weight": 1.0},
    "λ_y 0, twice as long": {**PAPER, "gan_steps": 260},
    "λ_y 0, fake labels uniform, as released": {**PAPER, "fake_labels": "uniform"},
}
EACH = 40  # images of a class
TARGET = 0.8


def recognised(seed: int, changes: dict[str, Any]) -> float:
    """The share of images in which the teacher sees the class that was asked for."""
    spec = make_spec({"distill_steps": 1, **changes}, method="hidfd", seed=seed, samples_every=0, health_every=0)
    method = assemble(spec)[2]
    assert isinstance(method, HiDFD)
    events = method.train()
    while method.step < method.config.gan_steps:
        seed_step(seed, method.step + 1)
        next(event for event in events if isinstance(event, Step))
    labels = method.present.nonzero()[:, 0].repeat_interleave(EACH)
    latents = torch.randn(len(labels), method.config.latent, generator=torch.Generator().manual_seed(1))
    answers = method.teacher(method.image.normalise(method.generate(latents, labels)))
    return (answers.argmax(dim=1) == labels).float().mean().item()


def measure(*, seeds: Seeds = 3, quick: Quick = False) -> Iterator[Report]:
    torch.set_num_threads(1)
    found: dict[str, list[float]] = {}
    for name, changes in ARMS.items():
        changes = {**changes, "gan_steps": 2} if quick else changes
        found[name] = [recognised(seed, changes) for seed in range(1 if quick else seeds)]
        say(f"{name}: {spread(found[name])}")
    first = next(iter(found))
    rows = []
    for name, shares in found.items():
        target, met = (f"≥ {TARGET:.0%}", min(shares) >= TARGET) if name == first else ("", None)
        rows.append(Row(f"digits, {name}", spread(shares), target, met, sum(shares) / len(shares)))
    yield Report(rows, {"shares": found})


if __name__ == "__main__":
    command(measure)
