"""CPU time of a training step in the engine, events and store included, against a bare loop of the same operations.

Digits, preset ``demo``, everything that is recorded at its default. The bare loop below has no events, metrics,
checks, store, health or evaluation; that it does the same training is not asserted but tested: in each round its
student must end bit-identical to the engine's. Only the steps are timed, not the set-up: in the engine from the end
of step ``warm-up`` to the end of the last, so everything that happens in between counts.

Arms alternate: the bare loop, the engine, and the engine with one thing after another switched off, which says where
the overhead goes. Evaluation is asked for by the user and no part of a step, so the ratio held against the target is
without it, plus the share of a checkpoint every 20 seconds, whose cost is measured by itself.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from benchmarks.common import (
    Row,
    bootstrap,
    checkpoint_seconds,
    interleave,
    options,
    ratios,
    report,
)
from dfkd_core.engine import InlineEngine
from dfkd_core.events import Event, Step
from dfkd_core.images import ImageSpec
from dfkd_core.losses import generator as losses
from dfkd_core.losses.bn_statistics import collect_statistics
from dfkd_core.networks.classifiers import Classifier, build_classifier
from dfkd_core.networks.generators import ConvGenerator
from dfkd_core.runs.assemble import seed_step
from dfkd_core.runs.request import make_spec
from dfkd_core.runs.spec import RunSpec
from dfkd_core.selection.mixture import select
from dfkd_core.store import RunFolder
from dfkd_core.teachers.load import load_teacher

TARGET, RECORDING_TARGET, NEVER = 1.05, 0.03, 100_000
SILENT = {"samples_every": 0, "probes_every": 0, "phases_every": 0}
WITHOUT: dict[str, dict[str, Any]] = {  # each switches off one more thing than the one before
    "engine": {},
    "engine, no evaluation": {"evaluate_every": NEVER},
    "… nor term health": {"evaluate_every": NEVER, "health_every": 0},
    "… nor recording": {"evaluate_every": NEVER, "health_every": 0, **SILENT},
    "… nor metrics": {"evaluate_every": NEVER, "health_every": 0, **SILENT, "log_every": NEVER},
}

RECORDED = ("samples_every", "probes_every", "phases_every")
# Far too often, so that what one recording costs stands out of the noise; divided by its usual interval afterwards.
EACH_STEP = {f"{name} 1": {"evaluate_every": NEVER, "health_every": 0, **SILENT, name: 1} for name in RECORDED}

# --- the bare loop ---------------------------------------------------------------------------------------------


def bare_loop(spec: RunSpec, warm_up: int) -> tuple[float, Classifier]:
    """CPU seconds of the steps after ``warm_up``, and the student."""
    c = spec.config
    teacher, card = load_teacher(spec.teacher)
    image = card.image.spec()
    teacher = teacher.to(memory_format=torch.channels_last)
    seed_step(spec.seed, 0)
    student = build_classifier(spec.student, image).to(memory_format=torch.channels_last)
    generator = ConvGenerator(c["latent"], image.channels, image.size, c["width"]).to(memory_format=torch.channels_last)
    learn = torch.optim.SGD(
        student.parameters(), c["student_lr"], c["momentum"], weight_decay=c["weight_decay"], fused=True
    )
    explore = torch.optim.Adam(generator.parameters(), c["generator_lr"], fused=True)
    generator.train()
    started = 0.0
    for step in range(1, c["epochs"] * c["iterations"] + 1):
        seed_step(spec.seed, step)
        epoch = (step - 1) // c["iterations"]
        learn.param_groups[0]["lr"] = c["student_lr"] * 0.5 * (1 + math.cos(math.pi * epoch / c["epochs"]))
        _student_steps(c, image, teacher, student, generator, learn)
        _generator_step(c, image, teacher, student, generator, explore)
        if step == warm_up:
            started = time.process_time()
    return time.process_time() - started, student


def _judge(logits: Tensor) -> Tensor:
    return logits.logsumexp(dim=1) - logits.amax(dim=1)


def _student_steps(
    c: dict[str, Any],
    image: ImageSpec,
    teacher: Classifier,
    student: Classifier,
    generator: ConvGenerator,
    learn: torch.optim.Optimizer,
) -> None:
    student.train()
    batch = c["batch_size"]
    rest: list[tuple[Tensor, Tensor]] = []
    for _ in range(c["student_steps"]):
        with torch.no_grad():
            have, draws = sum(len(part[0]) for part in rest), 0
            while have < batch and draws < c["max_draws"]:
                draws += 1
                images = image.normalise(generator(torch.randn(batch, c["latent"])))
                logits = teacher(images)
                clean = select(_judge(logits), c["posterior_cut"]).clean
                rest.append((images[clean], logits[clean]))
                have += len(rest[-1][0])
            images, logits = (torch.cat(parts) for parts in zip(*rest, strict=True))
            rest = [(images[batch:], logits[batch:])]
        loss = F.l1_loss(student(images[:batch]), logits[:batch])
        learn.zero_grad(set_to_none=True)
        loss.backward()
        learn.step()


def _generator_step(
    c: dict[str, Any],
    image: ImageSpec,
    teacher: Classifier,
    student: Classifier,
    generator: ConvGenerator,
    explore: torch.optim.Optimizer,
) -> None:
    student.eval()
    images = image.normalise(generator(torch.randn(c["batch_size"], c["latent"])))
    with collect_statistics(teacher) as statistics:
        logits = teacher(images)
    with torch.no_grad():
        clean = select(_judge(logits), c["posterior_cut"]).clean
    scale = math.sqrt(c["batch_size"] / 1024)
    loss = (
        -c["adversarial_weight"] * losses.l1_discrepancy(student(images), logits, clean)
        + c["bn_weight"] * statistics.distance(images)
        + c["l2_weight"] * losses.image_norm(images) / scale
        + c["tv_weight"] * losses.total_variation(images) / scale
    )
    explore.zero_grad(set_to_none=True)
    loss.backward(inputs=list(generator.parameters()))
    explore.step()


# --- the engine ------------------------------------------------------------------------------------------------


def engine_loop(spec: RunSpec, warm_up: int) -> tuple[float, dict[str, Tensor]]:
    """CPU seconds of the steps after ``warm_up`` in ``run``, into a temporary folder, and the student's weights."""
    last, times = spec.config["epochs"] * spec.config["iterations"], dict[int, float]()

    def progress(event: Event) -> None:
        if isinstance(event, Step) and event.step in (warm_up, last):
            times[event.step] = time.process_time()

    with tempfile.TemporaryDirectory() as runs:
        run_id = InlineEngine(Path(runs), progress).submit(spec)
        folder = RunFolder(Path(runs) / run_id)
        if folder.status().state != "done":
            raise SystemExit(folder.status().message)
        return times[last] - times[warm_up], load_file(folder.path / "student.safetensors")


def check_same(spec: RunSpec) -> None:
    """The two train bit-identically. Exits otherwise: then they are no comparison."""
    _, student = bare_loop(spec, 1)
    _, weights = engine_loop(spec, 1)
    different = [name for name, tensor in student.state_dict().items() if not torch.equal(tensor, weights[name])]
    if different:
        raise SystemExit(f"the bare loop trains otherwise than the engine: {', '.join(different[:3])} differ")


# --- the report ------------------------------------------------------------------------------------------------


def main() -> None:
    def add(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--rounds", type=int, default=12, help="of all arms (default 12)")
        parser.add_argument("--epochs", type=int, default=3, help="of 20 steps, per arm and round (default 3)")

    asked = options("step_overhead", __doc__, add)
    rounds, iterations, warm_up = (2, 10, 2) if asked.quick else (asked.rounds, 20, 10)
    changes = {"epochs": 2 if asked.quick else asked.epochs, "iterations": iterations}
    steps = changes["epochs"] * iterations - warm_up

    def spec(seed: int, recorded: dict[str, Any] | None = None) -> RunSpec:
        return make_spec(changes, seed=seed, **(recorded or {}))

    def engine_arm(recorded: dict[str, Any]) -> Callable[[int], float]:
        return lambda seed: engine_loop(spec(seed, recorded), warm_up)[0] / steps

    check_same(spec(0))
    arms = {"bare loop": lambda seed: bare_loop(spec(seed), warm_up)[0] / steps}
    engine = {name: engine_arm(recorded) for name, recorded in {**WITHOUT, **EACH_STEP}.items()}
    measured = interleave({**arms, **engine}, rounds)
    checkpoint = checkpoint_seconds(spec(0))
    saving = checkpoint / spec(0).checkpoint_seconds
    rows = rows_of(measured, saving)
    report("step_overhead", asked.quick, rows, {"cpu_seconds_per_step": measured, "checkpoint_seconds": checkpoint})


def recording_shares(measured: dict[str, list[float]]) -> list[float]:
    """Of each round: what samples, fixed latents and slow motion add to a step at their default intervals."""
    silent, usual = measured["… nor recording"], make_spec()
    costs = [
        [(often - none) / getattr(usual, name) for often, none in zip(measured[f"{name} 1"], silent, strict=True)]
        for name in RECORDED
    ]
    return [sum(parts) / none for *parts, none in zip(*costs, silent, strict=True)]


def rows_of(measured: dict[str, list[float]], saving: float) -> list[Row]:
    """``saving`` is the share of the time that checkpoints take at their default pace."""
    bare = measured["bare loop"]
    held = ratios([value * (1 + saving) for value in measured["engine, no evaluation"]], bare)
    rows = [
        Row(
            "Engine against the bare loop, CPU time of a step (events, store, checkpoints; no evaluation)",
            f"{held} × {bootstrap(bare).median * 1000:.1f} ms",
            f"≤ {TARGET}",
            held.median <= TARGET,
            held.median,
        ),
        Row("of it checkpoints, one every 20 s", f"{saving:.3%}", value=saving),
    ]
    recording = bootstrap(recording_shares(measured))
    rows.append(
        Row(
            "Recording samples with features, fixed latents and slow motion, share of a step's CPU time",
            recording.percent(),
            f"≤ {RECORDING_TARGET:.0%}",
            recording.median <= RECORDING_TARGET,
            recording.median,
        )
    )
    for name in WITHOUT:
        ratio = ratios(measured[name], bare)
        rows.append(Row(f"{name}, against the bare loop", str(ratio), value=ratio.median))
    return rows


if __name__ == "__main__":
    main()
