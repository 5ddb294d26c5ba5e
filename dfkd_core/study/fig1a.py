"""Well-trained teachers × families of methods, as training curves (Fig. 1a of TA-DFKD)."""

from __future__ import annotations

from typing import Annotated, Any

from typing_extensions import TypedDict

from dfkd_core.quality.score import number
from dfkd_core.runs.spec import RunSpec
from dfkd_core.store.rows import Count
from dfkd_core.study.contract import SCORES, Kind, Labels, Request, Rows, asked, several
from dfkd_core.study.folder import CellState, Kept
from dfkd_core.study.tables import aligned

_NO_IMAGE_TERMS = {"bn_weight": 0.0, "l2_weight": 0.0, "tv_weight": 0.0, "selection": False}
_DAFL = {"class_prior_weight": 1.0, "class_balance_weight": 5.0, "activation_weight": 0.1}
_NO_DAFL = dict.fromkeys(_DAFL, 0.0)
VARIANTS: dict[str, dict[str, Any]] = {
    "class prior": {**_NO_IMAGE_TERMS, **_DAFL, "adversarial_weight": 0.0},
    "adversarial": {**_NO_IMAGE_TERMS, **_NO_DAFL, "adversarial": "l1", "adversarial_weight": 1.0},
    "both": {**_NO_IMAGE_TERMS, **_DAFL, "adversarial": "l1", "adversarial_weight": 1.0},
    "TA-DFKD": {},
}
"""What each curve changes of the preset. The first has DAFL's terms with its weights for MNIST, the second DFAD's, the
third both; the last is the preset as it is. All four share the preset's networks and schedule, so that they differ in
what the generator is to make and in nothing else: they are not those papers' own programs."""


class Fig1aRequest(Request):
    teachers: Annotated[tuple[str, ...], *several(1, 4)] = asked(..., "Teachers to compare.")


class Settings(TypedDict):
    benchmark: str
    teachers: list[str]
    variants: list[str]
    student: str
    preset: str
    seed: Count
    samples: Count


class Place(TypedDict):
    teacher: str
    variant: str


class Fig1a(Kind[Fig1aRequest]):
    name = "fig1a"
    title = "Two teachers × families of methods (Fig. 1a of TA-DFKD)."
    varies = {"teacher": "teachers"}
    kept = Kept(Settings, Place, SCORES)
    Request = Fig1aRequest

    def labelled(self, request: Fig1aRequest) -> list[tuple[Labels, RunSpec]]:
        """Variant by variant, so that the teachers' curves grow side by side."""
        from dfkd_core.runs.request import make_spec

        return [
            (
                {"teacher": teacher, "variant": name},
                make_spec({**request.knobs, **variant}, teacher=teacher, **request.run),
            )
            for name, variant in VARIANTS.items()
            for teacher in request.teachers
        ]

    def settings(self, request: Fig1aRequest, labelled: list[tuple[Labels, RunSpec]]) -> dict[str, Any]:
        first = labelled[0][1]
        return {
            "benchmark": first.benchmark,
            "teachers": list(request.teachers),
            "variants": list(VARIANTS),
            **{name: getattr(first, name) for name in ("student", "preset", "seed")},
        }

    def headline(self, request: Fig1aRequest, labelled: list[tuple[Labels, RunSpec]]) -> str:
        first = labelled[0][1]
        about = f"{first.config['epochs']} epochs, seed {first.seed}"
        return f"{' and '.join(request.teachers)} → {first.student}, {about}"

    def key(self, request: Fig1aRequest, labels: Labels) -> str:
        """Without the teacher's name, which may be a path."""
        return f"{request.teachers.index(labels['teacher'])}-{labels['variant'].lower().replace(' ', '-')}"

    def table(self, settings: dict[str, Any], cells: list[CellState]) -> Rows:
        """One row for each run: its ``teacher``, its ``variant``, and the ``final`` and ``best`` score, None before it
        is done."""
        return [
            {
                **state.cell.labels,
                **{name: state.record.figures[name] if state.state == "done" else None for name in ("final", "best")},
            }
            for state in cells
        ]

    def reading(self, settings: dict[str, Any], rows: Rows) -> str:
        """Where the teachers differ most and which student fell furthest; empty while a run is missing."""
        if not rows or any(row["final"] is None for row in rows):
            return ""
        ends: dict[str, list[tuple[float, str]]] = {}
        for row in rows:
            ends.setdefault(row["variant"], []).append((row["final"], row["teacher"]))
        name, finals = max(ends.items(), key=lambda entry: max(entry[1])[0] - min(entry[1])[0])
        (high, better), (low, worse) = max(finals), min(finals)
        apart = f"The teachers lie furthest apart with {name}: {high:.1%} ({better}) against {low:.1%} ({worse})"
        fallen = max(rows, key=lambda row: row["best"] - row["final"])
        if fallen["best"] - fallen["final"] < 0.01:
            return f"{apart}; no student ended more than a point below its best."
        who = f"{fallen['variant']} with {fallen['teacher']}"
        return f"{apart}; furthest below its best ended {who}: {fallen['best']:.1%}, then {fallen['final']:.1%}."

    def lines(self, settings: dict[str, Any], cells: list[CellState]) -> list[str]:
        found = [
            [row["teacher"], row["variant"], number(row["final"], ".1%"), number(row["best"], ".1%")]
            for row in self.table(settings, cells)
        ]
        return aligned([["teacher", "variant", "final", "best"], *found])
