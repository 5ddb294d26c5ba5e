"""Runs to look at, written by the real writer without any training: of any size, with any number of classes."""

from __future__ import annotations

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
    runs: Path,
    steps: tuple[int, ...] = (1, 10, 20),
    count: int = 60,
    classes: int = 10,
    channels: int = 1,
    size: int = 8,
    probes: int = 12,
    real: int = 40,
    features: int = 8,
    method: str = "ta-dfkd",
    rows: int = 0,
) -> RunFolder:
    """A finished run that recorded ``count`` samples and ``probes`` fixed latents at ``steps``, in a log of at least
    ``rows`` rows. The images of a latent get brighter from step to step. ``features``, ``probes`` and ``real`` may be
    0; a method other than TA-DFKD rejects nothing."""
    folder = RunFolder.create(runs, {**SPEC, "method": method})
    lease = folder.begin_attempt()
    names = [str(label) if classes == 10 else f"kind of thing {label}" for label in range(classes)]
    folder.write_environment(lease.number, {"classes": names})
    centres = np.random.default_rng(0).normal(size=(classes, max(features, 1))) * 3
    made: dict[str, Any] = {
        "classes": classes,
        "channels": channels,
        "size": size,
        "centres": centres,
        "features": features > 0,
    }
    made["rejects"] = method == "ta-dfkd"
    if real:
        event = _samples(Samples, 0, real, seed=99, **made)
        known = ("label", "features", "teacher_logits") if features else ("label",)
        store_samples(folder, REAL, event.images, {name: event.columns[name] for name in known})
    writer = EventWriter(folder, lease.number)
    for step in range(1, rows - 3 * len(steps)):
        writer.add(Step(step, {"kept": 0.5, "coverage": 0.9, "diversity": 0.5, "student_loss": 1.0 / step}), step / 10)
    for step in steps:
        writer.add(_samples(Samples, step, count, seed=step, **made), float(step))
        if probes:
            writer.add(_samples(Probes, step, probes, seed=7, brighter=step, **made), float(step))
        writer.add(Evaluated(step, 0.5, 0.5, 0.9), float(step))
    writer.flush()
    writer.close()
    last = steps[-1] if steps else 0
    folder.set_status(RunStatus("done", step=last, total_steps=max(last, 1)))
    lease.close()
    return folder


def _samples(
    kind: type[Samples],
    step: int,
    count: int,
    seed: int,
    classes: int,
    channels: int,
    size: int,
    centres: np.ndarray,
    features: bool,
    rejects: bool,
    brighter: int = 0,
) -> Samples:
    random = np.random.default_rng(seed)
    label = random.integers(0, classes, count)
    images = random.integers(0, 200, (count, size, size, channels)).astype(np.uint8) + np.uint8(min(brighter, 55))
    sure = random.gamma(2.0, 2.0, count)
    logits = torch.tensor(random.normal(size=(count, classes)) * 0.3)
    logits[range(count), label] += torch.tensor(sure)
    student = logits + torch.tensor(random.normal(size=(count, classes)))
    losses = judge(logits)
    verdict = select(losses, 0.5)
    confidence, answer = logits.softmax(dim=1).max(dim=1)
    columns: dict[str, Any] = {
        "loss": losses.float().numpy(),
        "clean": verdict.clean.numpy() if rejects else np.ones(count, bool),
        "label": answer.numpy().astype(np.int16),
        "confidence": confidence.float().numpy(),
        "student_label": student.argmax(dim=1).numpy().astype(np.int16),
    }
    if rejects:
        columns["posterior"] = verdict.posterior.float().numpy()
    if features:
        near = centres[answer.numpy()] + random.normal(size=(count, centres.shape[1])) * 2
        columns["features"] = near.astype(np.float16)
        columns |= {
            "teacher_logits": logits.numpy().astype(np.float16),
            "student_logits": student.numpy().astype(np.float16),
        }
    return kind(step, images, columns, verdict.summary() if rejects else None)
