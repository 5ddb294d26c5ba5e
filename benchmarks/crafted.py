"""Runs to look at, written by the real writer without any training: of any size, with any number of classes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dfkd_core.events import Evaluated, Probes, Samples, Step
from dfkd_core.selection.mixture import judge, select
from dfkd_core.store import REAL, EventWriter, RunFolder, RunStatus, store_samples

SPEC = {
    "benchmark": "digits", "method": "ta-dfkd", "teacher": "digits-resnet20-plain", "student": "resnet8", "seed": 0,
    "preset": "demo", "config": {"selection": True, "class_prior_weight": 0.0, "adversarial_weight": 1.0},
}  # fmt: skip


def craft(
    runs: Path, steps: tuple[int, ...] = (1, 10, 20), count: int = 60, classes: int = 10, channels: int = 1,
    size: int = 8, probes: int = 12, real: int = 40, features: int = 8, method: str = "ta-dfkd", rows: int = 0,
) -> RunFolder:  # fmt: skip
    """A finished run that recorded ``count`` samples and ``probes`` fixed latents at ``steps``, in a log of at least
    ``rows`` rows. The images of a latent get brighter from step to step. ``features``, ``probes`` and ``real`` may be
    0; a method other than TA-DFKD rejects nothing."""
    folder = RunFolder.create(runs, {**SPEC, "method": method})
    lease = folder.begin_attempt()
    names = [str(label) if classes == 10 else f"kind of thing {label}" for label in range(classes)]
    folder.write_environment(lease.number, {"classes": names})
    sheets = Sheets(classes, channels, size, features, method == "ta-dfkd")
    if real:
        event = sheets.make(Samples, 0, real, seed=99)
        known = ("label", "features", "teacher_logits") if features else ("label",)
        store_samples(folder, REAL, event.images, {name: event.columns[name] for name in known})
    writer = EventWriter(folder, lease.number)
    for step in range(1, rows - 3 * len(steps)):
        writer.add(Step(step, {"kept": 0.5, "coverage": 0.9, "diversity": 0.5, "student_loss": 1.0 / step}), step / 10)
    for step in steps:
        writer.add(sheets.make(Samples, step, count, seed=step), float(step))
        if probes:
            writer.add(sheets.make(Probes, step, probes, seed=7, brighter=step), float(step))
        writer.add(Evaluated(step, 0.5, 0.5, 0.9), float(step))
    writer.flush()
    writer.close()
    last = steps[-1] if steps else 0
    folder.set_status(RunStatus("done", step=last, total_steps=max(last, 1)))
    lease.close()
    return folder


@dataclass(frozen=True)
class Sheets:
    """What the samples of a run have in common; ``features``: how many each has."""

    classes: int
    channels: int
    size: int
    features: int
    rejects: bool

    def make(self, kind: type[Samples], step: int, count: int, seed: int, brighter: int = 0) -> Samples:
        centres = np.random.default_rng(0).normal(size=(self.classes, max(self.features, 1))) * 3
        random = np.random.default_rng(seed)
        label, shape = random.integers(0, self.classes, count), (count, self.size, self.size, self.channels)
        images = random.integers(0, 200, shape).astype(np.uint8) + np.uint8(min(brighter, 55))
        sure = random.gamma(2.0, 2.0, count)
        logits = torch.tensor(random.normal(size=(count, self.classes)) * 0.3)
        logits[range(count), label] += torch.tensor(sure)
        student = logits + torch.tensor(random.normal(size=(count, self.classes)))
        losses = judge(logits)
        verdict = select(losses, 0.5)
        confidence, answer = logits.softmax(dim=1).max(dim=1)
        columns: dict[str, Any] = {
            "loss": losses.float().numpy(),
            "clean": verdict.clean.numpy() if self.rejects else np.ones(count, bool),
            "label": answer.numpy().astype(np.int16),
            "confidence": confidence.float().numpy(),
            "student_label": student.argmax(dim=1).numpy().astype(np.int16),
        }
        if self.rejects:
            columns["posterior"] = verdict.posterior.float().numpy()
        if self.features:
            near = centres[answer.numpy()] + random.normal(size=(count, centres.shape[1])) * 2
            both = {"teacher_logits": logits, "student_logits": student}
            columns["features"] = near.astype(np.float16)
            columns |= {name: values.numpy().astype(np.float16) for name, values in both.items()}
        return kind(step, images, columns, verdict.summary() if self.rejects else None)
