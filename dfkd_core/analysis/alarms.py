"""Plain warnings about a run: a term that is dead or drowns the others, a generator that collapses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dfkd_core.analysis.timeline import Timeline
from dfkd_core.quality.score import DISTANCES, score_text

SETTLED = 0.15  # share of the run after which a narrow generator is no longer just young
DEAD, DROWNING = 0.005, 0.95  # shares of the generator's gradient
FEW_CLASSES, ALIKE, FEW_KEPT = 0.5, 0.12, 0.2
FALL = 0.10  # of accuracy, below the best so far
WORSE = 1.5  # times the best distance so far


@dataclass(frozen=True)
class Alarm:
    """``text`` says what is seen, ``knobs`` which settings bear on it; ``kind`` is ``term`` or ``collapse``."""

    kind: str
    text: str
    knobs: tuple[str, ...]


def alarms(timeline: Timeline, total_steps: int, classes: int, terms: Sequence[dict[str, Any]]) -> list[Alarm]:
    """What a careful onlooker would point out now, most serious first; ``terms`` as the run declared them."""
    found = [_fallen(timeline)]
    if timeline.step >= SETTLED * total_steps:
        found += [_few_classes(timeline, classes), _alike(timeline), _few_kept(timeline), *_terms(timeline, terms)]
    return [alarm for alarm in found if alarm is not None]


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _fallen(timeline: Timeline) -> Alarm | None:
    curve = timeline.curves.get(timeline.score)
    if timeline.score in DISTANCES:
        return _farther(timeline.score, curve.values) if curve is not None else None
    if curve is None or max(curve.values) - curve.values[-1] < FALL:
        return None
    text = f"The student fell from {max(curve.values):.0%} to {curve.values[-1]:.0%}."
    return Alarm("collapse", text, ("adversarial_weight", "student_lr", "student_steps"))


def _farther(score: str, values: list[float]) -> Alarm | None:
    """A generative student that was nearer before."""
    best, now = min(values), values[-1]
    if now <= WORSE * best:
        return None
    name = "FID" if score == "fid" else score
    text = f"The student's {name} rose from {score_text(score, best)} to {score_text(score, now)}."
    return Alarm("collapse", text, ("student_lr", "latent_weight", "beta"))


def _few_classes(timeline: Timeline, classes: int) -> Alarm | None:
    share = _mean(timeline.recent("coverage"))
    if share is None or share >= FEW_CLASSES:
        return None
    text = f"The generator shows about {share * classes:.1f} of {classes} classes."
    return Alarm("collapse", text, ("class_balance_weight", "bn_weight", "adversarial_weight"))


def _alike(timeline: Timeline) -> Alarm | None:
    spread = _mean(timeline.recent("diversity"))
    if spread is None or spread >= ALIKE:
        return None
    text = f"To the teacher the samples look alike (mean pairwise distance {spread:.2f})."
    return Alarm("collapse", text, ("adversarial_weight", "latent", "generator_lr"))


def _few_kept(timeline: Timeline) -> Alarm | None:
    kept = _mean(timeline.recent("kept"))
    if kept is None or kept >= FEW_KEPT:
        return None
    return Alarm("collapse", f"The teacher vouches for only {kept:.0%} of the samples.", ("posterior_cut", "bn_weight"))


def _terms(timeline: Timeline, terms: Sequence[dict[str, Any]]) -> list[Alarm]:
    """Judged by the mean of the last three measurements of each term's share of the gradient that it is part of."""
    measured = [(term, timeline.recent(f"share/{term['name']}", 3)) for term in terms]
    shares = [(term, sum(recent) / len(recent)) for term, recent in measured if recent]
    found = []
    for term, share in shares:
        knobs = tuple(filter(None, [term["knob"]]))
        rivals = sum(other["of"] == term["of"] for other, _ in shares) - 1
        if share > DROWNING and rivals:
            text = f"The term “{term['title']}” drowns the others ({share:.0%} of the gradient)."
            found.append(Alarm("term", text, knobs))
        elif share < DEAD:
            found.append(
                Alarm("term", f"The term “{term['title']}” hardly pulls ({share:.2%} of the gradient).", knobs)
            )
    return found
