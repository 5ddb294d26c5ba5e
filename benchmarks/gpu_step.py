"""One GPU under measurement: the clock of ``benchmarks.gpu``, and a step of TA-DFKD at the paper's settings by part."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from benchmarks.paper import IMAGE, Ours, Released
from benchmarks.report import Row, at_most
from dfkd_core.kit.augmentation import augment
from dfkd_core.losses.bn_statistics import observe
from dfkd_core.networks.execution import Execution, executing
from dfkd_core.selection.mixture import judge, select

PAPER_STEPS, PAPER_UPDATES = 7_200, 10


class Bench:
    """``device``, whether it is only tried (``quick``), and until when the part at hand may take."""

    def __init__(self, device: str, quick: bool, released: Path | None, teacher: str) -> None:
        self.device, self.quick = torch.device(device), quick
        self.released, self.teacher = released, teacher
        self.until = math.inf

    @property
    def on_gpu(self) -> bool:
        return self.device.type == "cuda"

    def late(self) -> bool:
        return time.monotonic() > self.until

    def wait(self) -> None:
        if self.on_gpu:
            torch.cuda.synchronize()

    def seconds(self, action: Callable[[], object], times: int = 5, warm: int = 3) -> float:
        """Median wall seconds of ``action``, the device waited for."""
        taken = []
        for _ in range(1 if self.quick else warm + times):
            started = time.perf_counter()
            action()
            self.wait()
            taken.append(time.perf_counter() - started)
        return statistics.median(taken[-times:])


def paper(bench: Bench) -> Iterator[Row]:
    batch = 16 if bench.quick else 1024
    released = None
    if bench.released is not None:
        ours = Ours(batch, 0.0, bench.device)
        theirs = Released(bench.released, ours.method)
        torch.backends.cudnn.benchmark = True
        released = bench.seconds(lambda: theirs(1), times=3, warm=2)
        torch.backends.cudnn.benchmark = False
        yield Row(
            f"Student step of the released code, cudnn.benchmark, B = {batch}", f"{released:.3f} s", value=released
        )
        del ours, theirs
    ways = [("bf16", True), ("bf16", False), ("tf32", False), ("float32", False)] if bench.on_gpu else [("bf16", False)]
    for precision, compiled in ways:
        if bench.late():
            return
        try:
            yield from _paper(bench, batch, precision, compiled, released)
        except Exception as error:  # the next may go
            yield Row(f"{precision}{', compiled' * compiled}", f"{type(error).__name__}: {error}", "no failure", False)


def _paper(bench: Bench, batch: int, precision: Any, compiled: bool, released: float | None) -> Iterator[Row]:
    updates = 2 if bench.quick else PAPER_UPDATES
    name = f"{precision}{', compiled' * compiled}"
    ours = Ours(batch, 0.0, bench.device)
    ours.method.config = ours.method.config.model_copy(update={"posterior_cut": 0.5})
    with executing(Execution(bench.device, precision, compiled, True)):
        parts = _parts(bench, ours, batch)
        measured = {part: bench.seconds(action) for part, action in parts.items() if not bench.late()}
        found = ", ".join(f"{part} {seconds * 1e3:.1f}" for part, seconds in measured.items())
        yield Row(f"{name}: parts of a step in ms, B = {batch}", found)
        if "select" in measured:
            yield at_most(0.5, f"{name}: select, ms", f"{measured['select'] * 1e3:.2f}", measured["select"] * 1e3)
        explore = bench.seconds(lambda: ours.method.generator_step(_seen(ours)))
        yield at_most(0.07, f"{name}: generator step, s", f"{explore:.3f}", explore)
        for cut in (0.5, 0.0):
            ours.method.config = ours.method.config.model_copy(update={"posterior_cut": cut})
            ours.kept = ours.drawn = 0
            learn = bench.seconds(lambda: ours(updates), times=3, warm=1)
            kept = f"{ours.kept / ours.drawn:.0%} kept" if ours.drawn else ""
            hours = PAPER_STEPS * (learn / updates * PAPER_UPDATES + explore) / 3600
            yield Row(f"{name}: a student step, {kept}, s", f"{learn / updates:.4f}", value=learn / updates)
            yield at_most(50, f"{name}: paper's schedule, {kept}, minutes", f"{hours * 60:.0f}", hours * 60)
            if released is not None:
                times = released / (learn / updates)
                yield Row(f"{name}: times as fast as the released code", f"{times:.1f}", "≥ 35", times >= 35, times)


def _seen(ours: Ours) -> Any:
    return next(ours.method.steps())


def _parts(bench: Bench, ours: Ours, batch: int) -> dict[str, Callable[[], object]]:
    """The parts of both steps, each alone."""
    method = ours.method
    pixels = torch.rand(batch, 3, 32, 32, device=bench.device).contiguous(memory_format=torch.channels_last)
    images = IMAGE.normalise(pixels)
    losses = torch.rand(batch, device=bench.device)

    def no_grad(action: Callable[[], object]) -> Callable[[], None]:
        def run_it() -> None:
            with torch.no_grad():
                action()

        return run_it

    def observed() -> None:
        wanted = images.clone().requires_grad_()
        seen, distance = observe(method.teacher, wanted)
        torch.autograd.grad(distance + seen.logits.square().mean(), wanted)

    def plain() -> None:
        wanted = images.clone().requires_grad_()
        torch.autograd.grad(method.teacher(wanted).square().mean(), wanted)

    def learned() -> None:
        method.student.train()
        method.student_optimizer.zero_grad(set_to_none=True)
        F.l1_loss(method.student(images), torch.zeros(batch, 10, device=bench.device)).backward()
        method.student_optimizer.step()

    def answered() -> None:
        method.student.eval()
        wanted = images.clone().requires_grad_()
        torch.autograd.grad(method.student(wanted).square().mean(), wanted)

    def augmented() -> None:
        wanted = pixels.clone().requires_grad_()
        torch.autograd.grad(augment(wanted, "crop+flip").square().mean(), wanted)

    def generated() -> None:
        method.generator_optimizer.zero_grad(set_to_none=True)
        method.generator(method.latents()).square().mean().backward()

    return {
        "select": lambda: select(losses, 0.5),
        "judge": no_grad(lambda: select(judge(method.teacher(images)), 0.5)),
        "draw": no_grad(lambda: method.generator(method.latents())),
        "teacher": no_grad(lambda: method.teacher(images)),
        "teacher and back": plain,
        "the same with BNS": observed,
        "student, trained": learned,
        "student and back": answered,
        "augment and back": augmented,
        "generator and back": generated,
    }
