"""Does the lenient expert judge well? The mixture's verdict against the boundary of the real class, step by step.

A sample is worth keeping when it lies inside the boundary of the real class that the teacher sees in it
(``boundary.Boundary``). No torch.
"""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np

from dfkd_core.analysis.boundary import Boundary
from dfkd_core.analysis.recorded import Recorded

COLUMNS = ("clean", "label", "student_label", "posterior", "features")


class Audit:
    """The selection of one run, audited as far as ``update`` has come; pages share it. ``rows``: what ``audited`` says
    of each step."""

    def __init__(self, recorded: Recorded) -> None:
        self.recorded = recorded
        self.rows: dict[int, dict[str, Any]] = {}
        self._seen: set[int] = set()
        self._lock = threading.Lock()

    def update(self, budget_seconds: float) -> bool:
        """Go on for about ``budget_seconds``, with at least one step. True when all recorded steps are done."""
        deadline = time.monotonic() + budget_seconds
        with self._lock:
            for step in self.recorded.steps("samples"):
                if step in self._seen:
                    continue
                columns = self.recorded.columns("samples", step, COLUMNS)
                if {"clean", "label", "student_label"} <= columns.keys():  # else its file is missing or damaged
                    self.rows[step] = {"step": step, **audited(columns, self.recorded.boundary())}
                self._seen.add(step)
                if time.monotonic() >= deadline:
                    break
            return self._seen.issuperset(self.recorded.steps("samples"))


def audited(columns: dict[str, np.ndarray], boundary: Boundary | None) -> dict[str, Any]:
    """What can be said of one verdict; ``columns`` of N rows: ``clean``, ``label``, ``student_label``, and where they
    are known ``posterior`` and ``features``.

    ``clean``, ``rejected``: counts; ``clean_inside``, ``clean_outside``, ``rejected_inside``, ``rejected_outside`` too;
    ``precision``: share of the clean that lie inside; ``recall``: share of those inside that are clean (all None
    without real images); ``disagreement_clean``, ``disagreement_rejected``: share on which the student says another
    class than the teacher; ``auroc_inside``, ``auroc_agrees``: how well the posterior ranks the samples that lie
    inside, and those on which the student agrees, 0.5 being chance. None where undefined.
    """
    clean, posterior, inside = columns["clean"], columns.get("posterior"), None
    disagrees = columns["student_label"] != columns["label"]
    if boundary is not None and "features" in columns:
        inside = boundary.inside(np.nan_to_num(columns["features"]), columns["label"])
    return {
        "clean": int(clean.sum()),
        "rejected": int((~clean).sum()),
        **_confusion(clean, inside),
        "disagreement_clean": _share(disagrees[clean]),
        "disagreement_rejected": _share(disagrees[~clean]),
        "auroc_inside": auroc(posterior, inside),
        "auroc_agrees": auroc(posterior, ~disagrees),
    }


def auroc(score: np.ndarray | None, positive: np.ndarray | None) -> float | None:
    """P(the score of a positive > that of a negative), ties counting half; None unless there are both."""
    if score is None or positive is None or positive.all() or not positive.any():
        return None
    negatives, positives = np.sort(score[~positive]), score[positive]
    below, upto = (np.searchsorted(negatives, positives, side) for side in ("left", "right"))
    return float((below + upto).mean() / (2 * len(negatives)))


def _confusion(clean: np.ndarray, inside: np.ndarray | None) -> dict[str, Any]:
    if inside is None:
        names = ("clean_inside", "clean_outside", "rejected_inside", "rejected_outside", "precision", "recall")
        return dict.fromkeys(names)
    return {
        "clean_inside": int((clean & inside).sum()),
        "clean_outside": int((clean & ~inside).sum()),
        "rejected_inside": int((~clean & inside).sum()),
        "rejected_outside": int((~clean & ~inside).sum()),
        "precision": _share(inside[clean]),
        "recall": _share(clean[inside]),
    }


def _share(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None
