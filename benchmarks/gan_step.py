"""CPU time of a step of HiDFD's GAN in the engine against a bare loop of the same operations.

Digits, preset ``demo``, 60 collected images, everything that is recorded at its default. How the two are compared:
benchmarks/overhead.py. The student does not learn in these steps, so nothing is evaluated.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Annotated

import torch
from cyclopts import Parameter
from torch.nn import functional

from benchmarks.command import Quick, Rounds, command
from benchmarks.overhead import ENGINE, OFF, BareLoop, Overhead, descend, without
from benchmarks.report import Report
from dfkd_core.losses import gan as gan_losses
from dfkd_core.losses.generator import masked_mean
from dfkd_core.networks.gan import follow
from dfkd_core.runs.spec import RunSpec


class BareGan(BareLoop):
    """Algorithm A-1, lines 3 to 9, and nothing else."""

    trained = "average"

    def __init__(self, spec: RunSpec) -> None:
        super().__init__(spec)
        assert self.problem.collected is not None
        self.collected, self.labels = self.problem.collected, self.method.labels
        self.generator = self.method.gan.generator
        guided = self.method.discriminator
        self.discriminator, self.join = guided.network, guided.join
        self.average = copy.deepcopy(self.generator).eval().requires_grad_(False)
        betas = (0.0, 0.999)
        self.explore = torch.optim.Adam(self.generator.parameters(), self.c["generator_lr"], betas, fused=True)
        self.learn = torch.optim.Adam(guided.parameters(), self.c["discriminator_lr"], betas, fused=True)
        self.counts = torch.full((10,), self.c["gan_batch_size"] / 10)
        self.updates = 0

    def step(self, number: int) -> None:
        for _ in range(self.c["updates"]):
            self.discriminator_step()
            self.generator_step()
            self.updates += 1
            follow(self.average, self.generator, min(self.c["ema"], (1 + self.updates) / (10 + self.updates)))

    def discriminator_step(self) -> None:
        c, batch = self.c, self.c["gan_batch_size"]
        chosen = torch.randint(len(self.collected), (batch,))
        labels = self.labels[chosen]
        real = self.image.from_bytes(self.collected[chosen]).contiguous(memory_format=torch.channels_last)
        with torch.no_grad():
            fake = self.image.normalise(self.generator(torch.randn(batch, c["latent"]), labels))
        images = torch.cat([real, fake])
        features, logits, classes = self.discriminator(images)
        loss = gan_losses.hinge_discriminator(*logits.chunk(2))
        loss = loss + gan_losses.class_real(classes[:batch], labels) + gan_losses.class_fake(classes[batch:], labels)
        blending = torch.rand(()).item() < c["blend_gate"]
        with torch.no_grad():
            seen = self.teacher.features(images).pooled.chunk(2)
        joined = self.join(features).chunk(2)
        if blending:
            loss = loss + c["guidance_weight"] * gan_losses.blend(*seen, *joined)
        loss = loss + c["guidance_weight"] * gan_losses.transfer(*seen, *joined)
        descend(loss, self.learn)

    def generator_step(self) -> None:
        c, batch = self.c, self.c["gan_batch_size"]
        wanted = torch.randint(10, (batch,))
        images = self.image.normalise(self.generator(torch.randn(batch, c["latent"]), wanted))
        _, logits, classes = self.discriminator(images)
        teacher_logits = self.teacher(images)
        frequencies = gan_losses.class_frequencies(self.counts)
        loss = gan_losses.hinge_generator(logits) + gan_losses.class_generator(classes, wanted)
        loss = loss + c["frequency_weight"] * gan_losses.frequency_regulariser(teacher_logits, frequencies)
        told = functional.cross_entropy(teacher_logits, wanted, reduction="none")
        loss = loss + c["told_weight"] * masked_mean(told, self.method.present[wanted])
        drawn = torch.bincount(teacher_logits.argmax(dim=1), minlength=10).float()
        self.counts = gan_losses.smoothed(self.counts, drawn, c["frequency_rate"])
        descend(loss, self.explore, self.generator.parameters())


def measure(
    *,
    rounds: Rounds = 8,
    steps: Annotated[int, Parameter(help="Of 5 updates, of every arm in a round.")] = 60,
    collected: Annotated[str, Parameter(help="Source of the collected images.")] = "mnist",
    quick: Quick = False,
) -> Iterator[Report]:
    rounds, steps, warm_up = (2, 6, 2) if quick else (rounds, steps, 10)
    changes = {"gan_steps": steps, "distill_steps": 1, "synthetic": 16}
    overhead = Overhead(BareGan, changes, {"method": "hidfd", "collected": collected}, steps, warm_up)
    arms = without(list(OFF)[1:])
    what = "A step of HiDFD's GAN against the bare loop, CPU time (events, store, recording, checkpoints)"
    yield Report(*overhead.report(what, ENGINE, overhead.measure(arms, rounds), arms))


if __name__ == "__main__":
    command(measure)
