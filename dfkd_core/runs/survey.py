"""What the teacher sees in the collected images: how many of each class, how confidently (HiDFD's Fig. A-1).

A run keeps it once, beside its samples: ``collected/collected.{png,npz}``, up to ``KEPT`` of the images with the
columns of ``survey``, and ``collected/collected.json``, the facts. No label of the source is among them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from dfkd_core.runs.spec import KEPT
from dfkd_core.selection.collected import Predictor, class_histogram
from dfkd_core.store import COLLECTED, RunFolder, read_facts, store_samples


@dataclass(frozen=True)
class Survey:
    """``facts`` of all images; ``images`` (N, H, W, C) uint8, the first ``KEPT``, with their ``columns``."""

    facts: dict[str, Any]
    images: np.ndarray
    columns: dict[str, np.ndarray]


def survey(collected: Tensor, unseen: Tensor | None, teacher: Predictor, features: bool = True) -> Survey:
    """The teacher's view of (N, C, H, W) uint8 ``collected`` images.

    Facts: ``count``, ``unseen`` (how many are kept aside), ``histogram`` (K counts of the teacher's argmax),
    ``mean_confidence``, ``sha256`` of the pixels. Columns: ``label`` (the teacher's argmax), ``confidence``, and with
    ``features`` the teacher's pooled ``features`` (N, D) in half precision.
    """
    seen = teacher.predict(collected)
    confidence, label = seen.logits.softmax(dim=1).max(dim=1)
    facts = {
        "count": len(collected),
        "unseen": 0 if unseen is None else len(unseen),
        "histogram": class_histogram(label, len(teacher.image.classes)).tolist(),
        "mean_confidence": confidence.mean().item(),
        "sha256": fingerprint(collected),
    }
    columns = {"label": label[:KEPT].short().numpy(), "confidence": confidence[:KEPT].float().numpy()}
    if features:
        columns["features"] = seen.pooled[:KEPT].half().numpy()
    return Survey(facts, collected[:KEPT].permute(0, 2, 3, 1).contiguous().numpy(), columns)


def fingerprint(images: Tensor) -> str:
    """SHA-256 of uint8 pixels."""
    return hashlib.sha256(images.contiguous().numpy().tobytes()).hexdigest()


def keep_survey(folder: RunFolder, source: dict[str, Any], found: Survey) -> None:
    """Write the survey into the run's folder; ``source`` are facts about where the images are from."""
    store_samples(folder, COLLECTED, found.images, found.columns)
    folder.files.write_json(f"{COLLECTED}.json", {**source, **found.facts})


def other_images(folder: RunFolder, sha256: str) -> str:
    """What is to be said where the run has a survey of other images than those of this hash; else empty."""
    kept = read_facts(folder)
    if kept is None or kept["sha256"] == sha256:
        return ""
    return f"{kept['source']} no longer gives the collected images that the run began with"
