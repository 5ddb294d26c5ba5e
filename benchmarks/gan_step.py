"""CPU time of a step of HiDFD's GAN in the engine, events and store included, against a bare loop of the same.

Digits, preset ``demo``, 60 collected images, everything that is recorded at its default. The bare loop has no events,
metrics, checks, store or health; that it does the same training is tested: in each round its averaged generator must
end bit-identical to the engine's. The student does not learn in these steps, so nothing is evaluated. A checkpoint
every 20 seconds is measured by itself and its share added.
"""

from __future__ import annotations

import argparse
import copy
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.common import Row, bootstrap, checkpoint_seconds, interleave, options, ratios, report
from dfkd_core.engine import InlineEngine
from dfkd_core.events import Event, Step
from dfkd_core.losses import gan as gan_losses
from dfkd_core.networks.gan import ClassGenerator, Discriminator, follow
from dfkd_core.runs.assemble import assemble_classifier, seed_step
from dfkd_core.runs.request import make_spec
from dfkd_core.runs.spec import RunSpec
from dfkd_core.store import RunFolder
from dfkd_core.store.checkpoints import load_checkpoint

TARGET = 1.05
SILENT = {"samples_every": 0, "probes_every": 0, "phases_every": 0}
WITHOUT: dict[str, dict[str, Any]] = {  # each switches off one more thing than the one before
    "engine": {},
    "… no term health": {"health_every": 0},
    "… nor recording": {"health_every": 0, **SILENT},
    "… nor metrics": {"health_every": 0, **SILENT, "log_every": 100_000},
}


class _Bare:
    """Algorithm A-1, lines 3 to 9, and nothing else."""

    def __init__(self, spec: RunSpec) -> None:
        self.c, (_, problem, method) = spec.config, assemble_classifier(spec)
        assert problem.collected is not None
        self.image, self.teacher, self.collected = problem.image, problem.teacher, problem.collected
        self.labels = method.gan.labels  # type: ignore[attr-defined]
        self.generator: ClassGenerator = method.gan.generator  # type: ignore[attr-defined]
        judge = method.gan.judge  # type: ignore[attr-defined]
        self.discriminator: Discriminator = judge["discriminator"]
        self.join: nn.Linear = judge["join"]
        self.average = copy.deepcopy(self.generator).eval().requires_grad_(False)
        betas = (0.0, 0.999)
        self.explore = torch.optim.Adam(self.generator.parameters(), self.c["generator_lr"], betas, fused=True)
        self.learn = torch.optim.Adam(judge.parameters(), self.c["discriminator_lr"], betas, fused=True)
        self.counts = torch.full((10,), self.c["gan_batch_size"] / 10)
        self.updates = 0

    def update(self) -> None:
        self._discriminator_step()
        self._generator_step()
        self.updates += 1
        follow(self.average, self.generator, min(self.c["ema"], (1 + self.updates) / (10 + self.updates)))

    def _discriminator_step(self) -> None:
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
        self.learn.zero_grad(set_to_none=True)
        loss.backward()
        self.learn.step()

    def _generator_step(self) -> None:
        c, batch = self.c, self.c["gan_batch_size"]
        wanted = torch.randint(10, (batch,))
        images = self.image.normalise(self.generator(torch.randn(batch, c["latent"]), wanted))
        _, logits, classes = self.discriminator(images)
        teacher_logits: Tensor = self.teacher(images)
        frequencies = gan_losses.class_frequencies(self.counts)
        loss = gan_losses.hinge_generator(logits) + gan_losses.class_generator(classes, wanted)
        loss = loss + c["frequency_weight"] * gan_losses.frequency_regulariser(teacher_logits, frequencies)
        drawn = torch.bincount(teacher_logits.argmax(dim=1), minlength=10).float()
        self.counts = gan_losses.smoothed(self.counts, drawn, c["frequency_rate"])
        self.explore.zero_grad(set_to_none=True)
        loss.backward(inputs=list(self.generator.parameters()))
        self.explore.step()


def bare_loop(spec: RunSpec, warm_up: int) -> tuple[float, dict[str, Tensor]]:
    """CPU seconds of the GAN's steps after ``warm_up``, and the averaged generator."""
    loop, started = _Bare(spec), 0.0
    for step in range(1, spec.config["gan_steps"] + 1):
        seed_step(spec.seed, step)
        for _ in range(spec.config["updates"]):
            loop.update()
        if step == warm_up:
            started = time.process_time()
    return time.process_time() - started, loop.average.state_dict()


def engine_loop(spec: RunSpec, warm_up: int) -> tuple[float, dict[str, Tensor]]:
    """CPU seconds of the same steps in ``run``, into a temporary folder, and the averaged generator."""
    last, times = spec.config["gan_steps"], dict[int, float]()

    def progress(event: Event) -> None:
        if isinstance(event, Step) and event.step in (warm_up, last):
            times[event.step] = time.process_time()

    with tempfile.TemporaryDirectory() as runs:
        folder = RunFolder(Path(runs) / InlineEngine(Path(runs), progress).submit(spec))
        if folder.status().state != "done":
            raise SystemExit(folder.status().message)
        found = load_checkpoint(folder)
        assert found is not None
        return times[last] - times[warm_up], found[1]["method"]["gan"]["average"]


def check_same(spec: RunSpec) -> None:
    """The two train bit-identically. Exits otherwise: then they are no comparison."""
    (_, bare), (_, engine) = bare_loop(spec, 1), engine_loop(spec, 1)
    different = [name for name, tensor in bare.items() if not torch.equal(tensor, engine[name])]
    if different:
        raise SystemExit(f"the bare loop trains otherwise than the engine: {', '.join(different[:3])} differ")


def main() -> None:
    def add(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--rounds", type=int, default=8, help="of all arms (default 8)")
        parser.add_argument("--steps", type=int, default=60, help="of 5 updates, per arm and round (default 60)")
        parser.add_argument("--collected", default="mnist", help="source of collected images (default mnist)")

    asked = options("gan_step", __doc__, add)
    rounds, steps, warm_up = (2, 6, 2) if asked.quick else (asked.rounds, asked.steps, 10)
    changes = {"gan_steps": steps, "distill_steps": 1, "synthetic": 16}

    def spec(seed: int, recorded: dict[str, Any]) -> RunSpec:
        return make_spec(changes, method="hidfd", seed=seed, collected=asked.collected, **recorded)

    def engine_arm(recorded: dict[str, Any]) -> Callable[[int], float]:
        return lambda seed: engine_loop(spec(seed, recorded), warm_up)[0] / (steps - warm_up)

    check_same(spec(0, {}))
    arms = {"bare loop": lambda seed: bare_loop(spec(seed, {}), warm_up)[0] / (steps - warm_up)}
    measured = interleave({**arms, **{name: engine_arm(off) for name, off in WITHOUT.items()}}, rounds)
    checkpoint = checkpoint_seconds(spec(0, {}))
    saving = checkpoint / spec(0, {}).checkpoint_seconds
    details = {"cpu_seconds_per_step": measured, "checkpoint_seconds": checkpoint}
    report("gan_step", asked.quick, rows_of(measured, saving), details)


def rows_of(measured: dict[str, list[float]], saving: float) -> list[Row]:
    """``saving`` is the share of the time that checkpoints take at their default pace."""
    bare = measured["bare loop"]
    held = ratios([value * (1 + saving) for value in measured["engine"]], bare)
    rows = [
        Row(
            "A step of HiDFD's GAN against the bare loop, CPU time (events, store, recording, checkpoints)",
            f"{held} × {bootstrap(bare).median * 1000:.1f} ms",
            f"≤ {TARGET}",
            held.median <= TARGET,
            held.median,
        ),
        Row("of it checkpoints, one every 20 s", f"{saving:.3%}", value=saving),
    ]
    for name in WITHOUT:
        ratio = ratios(measured[name], bare)
        rows.append(Row(f"{name}, against the bare loop", str(ratio), value=ratio.median))
    return rows


if __name__ == "__main__":
    main()
