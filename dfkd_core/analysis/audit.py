"""Does the lenient expert judge well? The mixture's verdict against the boundary of the real class, step by step.

A sample is worth keeping when it lies inside the boundary of the real class that the teacher sees in it
(``boundary.Boundary``). No torch.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from dfkd_core.analysis.recorded import FEWEST_NEIGHBOURS, Recorded

COLUMNS = ("clean", "label", "student_label", "posterior", "features")


@dataclass(frozen=True, eq=False)
class Audited:
    """What the audit keeps of N samples: (N,) each; ``posterior`` and ``inside`` are None where they are unknown."""

    clean: np.ndarray
    disagrees: np.ndarray
    posterior: np.ndarray | None
    inside: np.ndarray | None


class Audit:
    """The selection of one run, audited as far as ``update`` has come; pages share it."""

    def __init__(self, recorded: Recorded, k: int = FEWEST_NEIGHBOURS) -> None:
        """``k`` of the k-nearest-neighbour balls."""
        self.recorded, self.k = recorded, k
        self.rows: dict[int, dict[str, Any]] = {}
        self._audited: dict[int, Audited | None] = {}
        self._lock = threading.Lock()

    def update(self, budget_seconds: float) -> bool:
        """Go on for about ``budget_seconds``, with at least one step. True when all recorded steps are done."""
        deadline = time.monotonic() + budget_seconds
        with self._lock:
            for step in self.recorded.steps("samples"):
                if step in self._audited:
                    continue
                self._audited[step] = self._audit(step)
                if (row := self.row(step)) is not None:
                    self.rows[step] = row
                if time.monotonic() >= deadline:
                    break
            return all(step in self._audited for step in self.recorded.steps("samples"))

    def row(self, step: int, threshold: float | None = None) -> dict[str, Any] | None:
        """The audit of one step, as it was or as it would be at another τ; None before it is done.

        ``clean_inside``, ``clean_outside``, ``rejected_inside``, ``rejected_outside``: counts; ``precision``: share of
        the clean that lie inside; ``recall``: share of those inside that are clean (all None without real images);
        ``disagreement_clean``, ``disagreement_rejected``: share on which the student says another class than the
        teacher; ``auroc_inside``, ``auroc_agrees``: how well the posterior ranks the samples that lie inside, and
        those on which the student agrees, 0.5 being chance. None where undefined.
        """
        audited = self._audited.get(step)
        if audited is None:
            return None
        clean = audited.clean
        if threshold is not None and audited.posterior is not None:
            clean = audited.posterior > threshold
        return {
            "step": step,
            "clean": int(clean.sum()),
            "rejected": int((~clean).sum()),
            **_confusion(clean, audited.inside),
            "disagreement_clean": _share(audited.disagrees[clean]),
            "disagreement_rejected": _share(audited.disagrees[~clean]),
            "auroc_inside": auroc(audited.posterior, audited.inside),
            "auroc_agrees": auroc(audited.posterior, ~audited.disagrees),
        }

    def _audit(self, step: int) -> Audited | None:
        columns, boundary = self.recorded.columns("samples", step, COLUMNS), self.recorded.boundary(self.k)
        if not {"clean", "label", "student_label"} <= columns.keys():
            return None  # its file is missing or damaged
        inside = None
        if boundary is not None and "features" in columns:
            inside = boundary.inside(np.nan_to_num(columns["features"]), columns["label"])
        disagrees = columns["student_label"] != columns["label"]
        return Audited(columns["clean"], disagrees, columns.get("posterior"), inside)


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
