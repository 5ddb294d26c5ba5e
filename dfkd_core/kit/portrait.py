"""What a method needs, does and costs, put together from what it declares: for tables and pages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dfkd_core.images import ImageSpec
from dfkd_core.kit.config import MethodConfig, Stage
from dfkd_core.kit.contract import Term
from dfkd_core.kit.method import Method

UPDATES = ("student_steps", "updates")  # knobs that say how many updates of the student a step has


@dataclass(frozen=True)
class Portrait:
    """Of a method as one preset has it.

    ``needs``: beside the teacher. ``images``, ``student``, ``chosen``, ``kept``, ``fitted``: as in ``Summary``; of what
    is kept with the knobs' values. ``terms``: those that have a weight. ``stages``: of a run; ``updates``: of the
    student in one step. ``asked``: images that the teacher judges in a step in which the student learns, the fewest and
    the most; ``asked_in_all``: in a run; None where nobody counts.
    """

    name: str
    title: str
    task: str
    needs: str
    images: str
    student: str
    chosen: str
    kept: str
    fitted: bool
    terms: tuple[Term, ...]
    phases: tuple[str, ...]
    stages: tuple[Stage, ...]
    updates: int
    asked: tuple[int, int] | None
    asked_in_all: tuple[int, int] | None
    config: MethodConfig

    @property
    def batch_norm(self) -> tuple[Term, ...]:
        """The terms that act only where the teacher has BatchNorm layers."""
        return tuple(term for term in self.terms if term.batch_norm)

    def kept_bytes(self, image: ImageSpec, width: int) -> int:
        """About what is kept for the student of ``image``s; ``width`` is that of the teacher's pooled features."""
        return self.config.kept_bytes(image, width)


def portrait(method: type[Method[Any, Any]], preset: str = "") -> Portrait:
    """Of ``method`` as ``preset`` has it. Raises ``RequestError`` for an unknown preset."""
    config, summary = method.Config.build(preset), method.summary
    stages = config.stages()
    return Portrait(
        name=method.name,
        title=method.title,
        task=method.requires.task,
        needs=method.needs(),
        images=summary.images,
        student=summary.student,
        chosen=summary.chosen or "all",
        kept=summary.kept.format(**config.model_dump()) or "nothing",
        fitted=summary.fitted,
        terms=tuple(term for term in method.terms if not term.knob or getattr(config, term.knob) > 0),
        phases=method.phases,
        stages=stages,
        updates=next((getattr(config, name) for name in UPDATES if hasattr(config, name)), 1),
        asked=config.queries(stages[-1].name),
        asked_in_all=_in_all(config, stages),
        config=config,
    )


def _in_all(config: MethodConfig, stages: tuple[Stage, ...]) -> tuple[int, int] | None:
    least = most = 0
    for stage in stages:
        asked = config.queries(stage.name)
        if asked is None:
            return None
        least, most = least + stage.steps * asked[0], most + stage.steps * asked[1]
    return least, most
