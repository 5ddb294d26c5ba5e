"""Images with all that Inspect needs to know about them: how the teacher judged, what both networks answered."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from dfkd_core.events import Samples
from dfkd_core.kit.recording import SHOWN
from dfkd_core.networks.classifiers import Features
from dfkd_core.selection.mixture import Selection, judge


def to_bytes(pixels: Tensor) -> Tensor:
    """(N, C, H, W) pixels -> (N, H, W, C) uint8; what lies outside [0, 1] is clamped."""
    return (pixels.detach().clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1)


def thumbnails(pixels: Tensor) -> np.ndarray:
    """The first few of (N, C, H, W) pixels, (n, H, W, C) uint8."""
    return to_bytes(pixels[:SHOWN]).cpu().numpy()


@torch.no_grad()
def answers(name: str, logits: Tensor) -> dict[str, np.ndarray]:
    """Of the first few of (N, K) ``logits``: ``NAME_label`` and ``NAME_probabilities`` (n, K)."""
    probabilities = logits[:SHOWN].softmax(dim=1)
    arrays = {f"{name}_label": probabilities.argmax(dim=1).to(torch.int16), f"{name}_probabilities": probabilities}
    return {key: array.cpu().numpy() for key, array in arrays.items()}


@torch.no_grad()
def describe(
    step: int,
    pixels: Tensor,
    seen: Features,
    student_logits: Tensor,
    verdict: Selection | None,
    *,
    kind: type[Samples] = Samples,
    features: bool = True,
    more: dict[str, Tensor] | None = None,
) -> Samples:
    """The ``Samples`` of N images as teacher and student saw them; ``verdict`` may be of a larger batch.

    Columns, each of N rows: ``loss`` in nats, ``clean``, ``label`` and ``confidence`` of the teacher,
    ``student_label``; ``posterior`` where there is a verdict; with ``features`` the teacher's pooled ``features``
    (N, D), ``teacher_logits`` and ``student_logits`` (N, K), all three in half precision. ``more`` adds columns.
    """
    confidence, label = seen.logits.softmax(dim=1).max(dim=1)
    columns = {
        "loss": judge(seen.logits).float(),
        "clean": torch.ones_like(label, dtype=torch.bool) if verdict is None else verdict.clean[: len(label)],
        "label": label.to(torch.int16),
        "confidence": confidence.float(),
        "student_label": student_logits.argmax(dim=1).to(torch.int16),
    }
    if verdict is not None:
        columns["posterior"] = verdict.posterior[: len(label)].float()
    if features:
        half = {"features": seen.pooled, "teacher_logits": seen.logits, "student_logits": student_logits}
        columns |= {name: values.half() for name, values in half.items()}
    columns |= more or {}
    arrays = {name: column.cpu().numpy() for name, column in columns.items()}
    summary = verdict.summary() if verdict is not None else None
    return kind(step, to_bytes(pixels).cpu().numpy(), arrays, summary)
