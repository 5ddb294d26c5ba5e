"""CPU time of a training step of TA-DFKD in the engine against a bare loop of the same operations.

Digits, preset ``demo``, everything that is recorded at its default. How the two are compared: benchmarks/overhead.py.
Evaluation is asked for by the user and no part of a step, so the ratio held against the target is without it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated

import torch
import torch.nn.functional as F
from cyclopts import Parameter
from torch import Tensor

from benchmarks.command import Quick, Rounds, command
from benchmarks.overhead import NEVER, OFF, RECORDED, SILENT, BareLoop, Overhead, descend, without
from benchmarks.report import Report
from benchmarks.timing import Times, bootstrap
from dfkd_core.losses import generator as losses
from dfkd_core.losses.bn_statistics import observe
from dfkd_core.runs.request import make_spec
from dfkd_core.runs.spec import RunSpec
from dfkd_core.selection.mixture import judge, select

RECORDING_TARGET = 0.03
HELD, SILENCED = "… no evaluation", "… nor recording"
# Far too often, so that what one recording costs stands out of the noise; divided by its usual interval afterwards.
EACH_STEP = {f"{name} 1": {"evaluate_every": NEVER, "health_every": 0, **SILENT, name: 1} for name in RECORDED}


class BareTADFKD(BareLoop):
    """k student steps on clean samples, then one generator step."""

    trained = "student"

    def __init__(self, spec: RunSpec) -> None:
        super().__init__(spec)
        self.generator, c = self.method.generator.train(), self.c
        self.learn = torch.optim.SGD(
            self.student.parameters(), c["student_lr"], c["momentum"], weight_decay=c["weight_decay"], fused=True
        )
        self.explore = torch.optim.Adam(self.generator.parameters(), c["generator_lr"], fused=True)

    def step(self, number: int) -> None:
        c, epoch = self.c, (number - 1) // self.c["iterations"]
        self.learn.param_groups[0]["lr"] = c["student_lr"] * 0.5 * (1 + math.cos(math.pi * epoch / c["epochs"]))
        self.student_steps()
        self.generator_step()

    def latents(self) -> Tensor:
        return torch.randn(self.c["batch_size"], self.c["latent"])

    def student_steps(self) -> None:
        self.student.train()
        batch, rest = self.c["batch_size"], list[tuple[Tensor, Tensor]]()
        for _ in range(self.c["student_steps"]):
            with torch.no_grad():
                have, draws = sum(len(part[0]) for part in rest), 0
                while have < batch and draws < self.c["max_draws"]:
                    draws += 1
                    images = self.image.normalise(self.generator(self.latents()))
                    logits = self.teacher(images)
                    clean = select(judge(logits), self.c["posterior_cut"]).clean
                    rest.append((images[clean], logits[clean]))
                    have += len(rest[-1][0])
                images, logits = (torch.cat(parts) for parts in zip(*rest, strict=True))
                rest = [(images[batch:], logits[batch:])]
            descend(F.l1_loss(self.student(images[:batch]), logits[:batch]), self.learn)

    def generator_step(self) -> None:
        c = self.c
        self.student.eval()
        images = self.image.normalise(self.generator(self.latents()))
        seen, distance = observe(self.teacher, images)
        logits = seen.logits
        with torch.no_grad():
            clean = select(judge(logits), c["posterior_cut"]).clean
        scale = math.sqrt(c["batch_size"] / 1024)
        loss = (
            -c["adversarial_weight"] * losses.l1_discrepancy(self.student(images), logits, clean)
            + c["bn_weight"] * distance
            + c["l2_weight"] * losses.image_norm(images) / scale
            + c["tv_weight"] * losses.total_variation(images) / scale
        )
        descend(loss, self.explore, self.generator.parameters())


def recording_shares(measured: Times) -> list[float]:
    """Of each round: what samples, fixed latents and slow motion add to a step at their default intervals."""
    silent, usual = measured[SILENCED], make_spec()
    costs = [
        [(often - none) / getattr(usual, name) for often, none in zip(measured[f"{name} 1"], silent, strict=True)]
        for name in RECORDED
    ]
    return [sum(parts) / none for *parts, none in zip(*costs, silent, strict=True)]


def measure(
    *,
    rounds: Rounds = 12,
    epochs: Annotated[int, Parameter(help="Of 20 steps, of every arm in a round.")] = 3,
    alone: Annotated[bool, Parameter(help="Not where the overhead goes: a sixth of the time.")] = False,
    quick: Quick = False,
) -> Iterator[Report]:
    rounds, epochs, iterations, warm_up = (2, 2, 10, 2) if quick else (rounds, epochs, 20, 10)
    changes = {"epochs": epochs, "iterations": iterations}
    overhead = Overhead(BareTADFKD, changes, {}, epochs * iterations, warm_up)
    arms = {HELD: OFF["evaluation"]} if alone else without(OFF)
    measured = overhead.measure(arms if alone else arms | EACH_STEP, rounds)
    what = "Engine against the bare loop, CPU time of a step (events, store, checkpoints; no evaluation)"
    rows, details = overhead.report(what, HELD, measured, arms)
    if not alone:
        share = bootstrap(recording_shares(measured))
        what = "Recording samples with features, fixed latents and slow motion, share of a step's CPU time"
        rows.insert(2, share.share_row(what, RECORDING_TARGET))
    yield Report(rows, details)


if __name__ == "__main__":
    command(measure)
