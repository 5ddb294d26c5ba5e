"""How figures read, and which way is better for the score of a student. Does not import torch."""

from __future__ import annotations

DISTANCES = ("fid", "mismatch")
"""Scores of generative students, of which a lower one is better; the others are shares."""


def number(value: float | None, form: str) -> str:
    """As ``format`` has it; a dash where there is none."""
    return "–" if value is None else format(value, form)


def score_text(measure: str, value: float | None) -> str:
    """``91.25%`` of a share, ``3.418`` of a distance, a dash where it could not be computed."""
    return number(value, ".4g" if measure in DISTANCES else ".2%")
