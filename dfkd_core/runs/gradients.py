"""The gradient audit: which term of a method's losses pulls at which network, at the start of a stage and later.

Several released programs of this field have terms that do nothing: computed without gradients, averaged away, or
drowned by the others. What one cannot see in the curve of a loss is seen here, of one's own method as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any, Literal

import torch
from torch import Tensor

from dfkd_core.events import Step
from dfkd_core.kit.method import Method
from dfkd_core.kit.terms import gradient_norms, watcher
from dfkd_core.runs.assemble import assemble, seed_step
from dfkd_core.runs.loop import borrowed
from dfkd_core.runs.spec import RunSpec

DROWNED = 0.01  # of the gradient at its own network, all along
Verdict = Literal["alive", "drowned", "dead", "leaking", "off"]
When = Literal["start", "later"]
Row = tuple[str, When, str, str, float, float, float]  # stage, when, of, term, norm, share, norm elsewhere
Progress = Callable[[int, int], None]  # steps done, of so many


@dataclass
class Pull:
    """One term in ``stage``, of whoever descends it. Means over the steps that were looked at, by when: ``norm`` of its
    gradient at the parameters that descend it, ``share`` in the norms of all terms there, and ``elsewhere`` the norm
    at parameters that other optimizers move. ``verdict``: what to make of it."""

    stage: str
    term: str
    of: str
    norm: dict[str, float] = field(default_factory=dict)
    share: dict[str, float] = field(default_factory=dict)
    elsewhere: dict[str, float] = field(default_factory=dict)
    verdict: Verdict = "off"


@dataclass(frozen=True)
class Found:
    """``pulls``: every declared term, and what the student descends; ``warnings``: what no method should do."""

    pulls: list[Pull]
    warnings: list[str]

    @property
    def wrong(self) -> bool:
        """Whether a term is dead or leaks, or there is a warning."""
        return bool(self.warnings) or any(pull.verdict in ("dead", "leaking") for pull in self.pulls)


def table(found: Found) -> list[list[str]]:
    """The cells of a table, its head first."""
    head = ["stage", "term", "of", "gradient: start", "later", "share: start", "later", "elsewhere", "verdict"]
    return [head, *map(_row, found.pulls)]


def _row(pull: Pull) -> list[str]:
    def numbers(values: dict[str, float], form: str) -> list[str]:
        return [format(values[when], form) if when in values else "–" for when in ("start", "later")]

    away = max(pull.elsewhere.values(), default=0.0)
    cells = [*numbers(pull.norm, ".3g"), *numbers(pull.share, ".1%"), f"{away:.3g}" if away else "–"]
    return [pull.stage or "–", pull.term, pull.of, *cells, pull.verdict]


class _Watcher:
    """Measures the terms of each loss at what descends it and at whatever else learns; of losses that were not weighed
    as terms only the student's."""

    def __init__(self, student: torch.nn.Module) -> None:
        self.student = {id(parameter) for parameter in student.parameters()}
        self.pending: tuple[str, dict[str, Tensor]] | None = None
        self.known: dict[int, Tensor] = {}  # parameters that some optimizer moves
        self.rows: list[tuple[str, str, float, float, float]] = []

    def weighed(self, of: str, terms: dict[str, Tensor]) -> None:
        self.pending = of, terms

    def descends(self, loss: Tensor, optimizers: Sequence[torch.optim.Optimizer]) -> None:
        of, terms = self.pending or ("student", {})
        self.pending = None
        own = {id(one): one for each in optimizers for group in each.param_groups for one in group["params"]}
        if not terms or not torch.isclose(torch.stack(list(terms.values())).sum(), loss):  # told of another round
            if not own.keys() & self.student:
                return
            of, terms = "student", {"student_loss": loss}
        self.known |= own
        others = [one for key, one in self.known.items() if key not in own]
        norms = gradient_norms(terms, list(own.values()))
        away = gradient_norms(terms, others) if others else dict.fromkeys(terms, 0.0)
        total = sum(norms.values())
        for name in terms:
            share = norms[name] / total if total > 0 else 0.0
            self.rows.append((of, name, norms[name], share, away[name]))


@contextmanager
def _told(of: _Watcher) -> Iterator[None]:
    token = watcher.set(of)
    try:
        yield
    finally:
        watcher.reset(token)
        of.pending = None


def audit(spec: RunSpec, first: int = 3, later: int = 50, progress: Progress | None = None) -> Found:
    """Train ``first`` steps of each stage of ``spec`` and look at every loss; then go on, and look again at the
    ``first`` steps after ``later`` ones. Nothing is written.

    A stage that is longer is left there, so that the next begins with networks that have learned little.
    """
    with borrowed(spec):
        return examine(assemble(spec)[2], spec.seed, first, later, progress)


def examine(method: Method[Any, Any], seed: int, first: int, later: int, progress: Progress | None = None) -> Found:
    """The same of a method that is made; it is trained, and of no other use afterwards."""
    teacher = {name: one.clone() for name, one in method.teacher.state_dict().items()}
    rows = list(_measured(method, seed, first, later, progress))
    return Found(_pulls(method, rows), _warnings(method.teacher, teacher))


def _measured(method: Method[Any, Any], seed: int, first: int, later: int, progress: Progress | None) -> Iterator[Row]:
    """Each term of each loss that is looked at."""
    stages, begun, done = method.stages, 0, 0
    lengths = [min(stage.steps, first + later) for stage in stages]
    watches = _Watcher(method.student)
    for stage, length in zip(stages, lengths, strict=True):
        method.step = begun
        events = method.train()
        for index in range(length):
            seed_step(seed, method.step + 1)
            when: When | None = "start" if index < first else "later" if index >= length - first else None
            watches.rows.clear()
            with _told(watches):
                for event in events:
                    if isinstance(event, Step):
                        break
            done += 1
            if progress is not None:
                progress(done, sum(lengths))
            if when is not None:
                yield from [(stage.name, when, *row) for row in watches.rows]
        begun += stage.steps


def _warnings(teacher: torch.nn.Module, before: dict[str, Tensor]) -> list[str]:
    found = []
    if any(parameter.requires_grad for parameter in teacher.parameters()):
        found.append("The teacher's parameters take gradients: freeze them.")
    if any(not torch.equal(one, before[name]) for name, one in teacher.state_dict().items()):
        found.append("The teacher changed: its weights moved, or its BatchNorm statistics in train mode.")
    return found


def _pulls(method: Method[Any, Any], seen: list[Row]) -> list[Pull]:
    keys = dict.fromkeys((stage, name, of) for stage, _, of, name, *_ in seen)
    pulls = [Pull(*key) for key in keys]
    for pull in pulls:
        rows = [row for row in seen if (row[0], row[3], row[2]) == (pull.stage, pull.term, pull.of)]
        for when in ("start", "later"):
            of_then = [row[4:] for row in rows if row[1] == when]
            if of_then:
                pull.norm[when], pull.share[when], pull.elsewhere[when] = map(fmean, zip(*of_then, strict=True))
        pull.verdict = _verdict(pull)
    known = {pull.term for pull in pulls}
    return [*pulls, *(Pull("", term.name, term.of) for term in method.declared_terms if term.name not in known)]


def _verdict(pull: Pull) -> Verdict:
    if not any(pull.norm.values()):
        return "dead"
    if pull.of == "student" and any(pull.elsewhere.values()):
        return "leaking"  # into what makes the images; they should be detached
    return "drowned" if max(pull.share.values()) < DROWNED else "alive"
