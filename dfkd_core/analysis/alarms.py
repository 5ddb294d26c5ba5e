"""Plain warnings about a run: a term that is dead or drowns the others, a generator that collapses."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dfkd_core.analysis.timeline import Timeline
from dfkd_core.quality.score import DISTANCES, score_text

SETTLED = 0.15  # share of the run after which a narrow generator is no longer just young
DEAD, DROWNING = 0.005, 0.95  # shares of the generator's gradient
FALL = 0.10  # of accuracy, below the best so far
WORSE = 1.5  # times the best distance so far
COLLAPSE = {
    "coverage": (
        0.5,
        "The generator shows about {shown:.1f} of {classes} classes.",
        ("class_balance_weight", "bn_weight", "adversarial_weight"),
    ),
    "diversity": (
        0.12,
        "To the teacher the samples look alike (mean pairwise distance {mean:.2f}).",
        ("adversarial_weight", "latent", "generator_lr"),
    ),
    "kept": (0.2, "The teacher vouches for only {mean:.0%} of the samples.", ("posterior_cut", "bn_weight")),
}
"""By metric: the least that is in order, what to say below it, and the knobs that bear on it."""


@dataclass(frozen=True)
class Alarm:
    """``text`` says what is seen, ``knobs`` which settings bear on it; ``kind`` is ``term`` or ``collapse``."""

    kind: str
    text: str
    knobs: tuple[str, ...]


def alarms(
    timeline: Timeline, total_steps: int, classes: int, terms: Sequence[dict[str, Any]], knobs: Collection[str]
) -> list[Alarm]:
    """What a careful onlooker would point out now, most serious first; ``terms`` as the run declared them, ``knobs``
    those that it has: no other is advised."""
    found = list(_fallen(timeline))
    if timeline.step >= SETTLED * total_steps:
        found += [*_collapsed(timeline, classes, knobs), *_terms(timeline, terms)]
    return [replace(alarm, knobs=tuple(knob for knob in alarm.knobs if knob in knobs)) for alarm in found]


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _fallen(timeline: Timeline) -> Iterator[Alarm]:
    """The student was better before."""
    score, curve = timeline.score, timeline.curves.get(timeline.score)
    if curve is None:
        return
    now, lowest, highest = curve.values[-1], min(curve.values), max(curve.values)
    if score in DISTANCES:
        if now > WORSE * lowest:
            name = "FID" if score == "fid" else score
            text = f"The student's {name} rose from {score_text(score, lowest)} to {score_text(score, now)}."
            yield Alarm("collapse", text, ("student_lr", "latent_weight", "beta"))
    elif highest - now >= FALL:
        text = f"The student fell from {highest:.0%} to {now:.0%}."
        yield Alarm("collapse", text, ("adversarial_weight", "student_lr", "student_steps"))


def _collapsed(timeline: Timeline, classes: int, knobs: Collection[str]) -> Iterator[Alarm]:
    """Judged by the mean of the last measurements of what tells it."""
    for name, (least, text, bearing) in COLLAPSE.items():
        if name == "kept" and "posterior_cut" not in knobs:
            continue  # of images that were collected: how many were wanted, and no opinion of the teacher's
        recent = timeline.recent(name)
        if recent and (mean := _mean(recent)) < least:
            yield Alarm("collapse", text.format(mean=mean, shown=mean * classes, classes=classes), bearing)


def _terms(timeline: Timeline, terms: Sequence[dict[str, Any]]) -> Iterator[Alarm]:
    """Judged by the mean of the last three measurements of each term's share of the gradient that it is part of."""
    measured = [(term, timeline.recent(f"share/{term['name']}", 3)) for term in terms]
    shares = [(term, _mean(recent)) for term, recent in measured if recent]
    for term, share in shares:
        rivals = sum(other["of"] == term["of"] for other, _ in shares) - 1
        text = ""
        if share > DROWNING and rivals:
            text = f"The term “{term['title']}” drowns the others ({share:.0%} of the gradient)."
        elif share < DEAD:
            text = f"The term “{term['title']}” hardly pulls ({share:.2%} of the gradient)."
        if text:
            yield Alarm("term", text, (term["knob"],) if term["knob"] else ())
