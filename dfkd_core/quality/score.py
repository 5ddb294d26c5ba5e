"""The score that tells how good a student is: how it reads, and which way is better. Does not import torch."""

from __future__ import annotations

DISTANCES = ("fid", "mismatch")
"""Scores of generative students, of which a lower one is better; the others are shares."""


def score_text(measure: str, value: float | None) -> str:
    """``91.25%`` of a share, ``3.418`` of a distance, a dash where it could not be computed."""
    if value is None:
        return "–"
    return f"{value:.4g}" if measure in DISTANCES else f"{value:.2%}"
