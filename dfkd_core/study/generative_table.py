"""The slides' table: a generative teacher, its students with data and without: arms × widths × seeds.

Source: the slides *Data-Free Knowledge Distillation of Deep Generative Models* (IIT Mandi, 2025).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from statistics import fmean, stdev
from typing import Annotated, Any, NamedTuple

from typing_extensions import TypedDict

from dfkd_core.analysis.measured import GENERATIVE_SAMPLES, MOST_GENERATIVE_SAMPLES, GenerativeFigures
from dfkd_core.quality import LEAST
from dfkd_core.quality.score import number
from dfkd_core.runs.spec import RunSpec
from dfkd_core.store.rows import Count
from dfkd_core.study.contract import Kind, Labels, Measured, Rows, among, asked, declared, own_knobs, several, usual
from dfkd_core.study.folder import CellState, Kept
from dfkd_core.study.tables import Figures, aligned, by_place, interval, paired, plural

TEACHER = "teacher"


# --- what is asked ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Arm:
    """A way to a student: ``method`` with ``knobs`` on top of the preset."""

    title: str
    method: str
    knobs: dict[str, Any]


class Column(NamedTuple):
    """One figure of the table: its ``name`` among the figures, its title, its format, and what it is."""

    name: str
    title: str
    form: str
    help: str


DECLARED = declared(__file__)
ARMS = {name: Arm(**fields) for name, fields in DECLARED["arms"].items()}
COLUMNS = tuple(Column(**fields) for fields in DECLARED["columns"])
PUBLISHED: dict[str, dict[str, dict[str, float]]] = DECLARED["published"]
"""The slides' own figures by benchmark, who, and name of a column."""
REFERENCE = "with-data"
VARIED = ("source", "objective")  # knobs that tell the arms apart


class TableRequest(Measured):
    widths: Annotated[tuple[int, ...], *several(1, 10)] = asked(
        (8,), "Widths of the students.", title="Students' widths H", symbol="H"
    )
    arms: Annotated[tuple[str, ...], *several(1, len(ARMS)), among(lambda: list(ARMS))] = asked(
        tuple(ARMS),
        "Students with data, and data-free ones by the source of their images.",
        title="Students",
        choices={name: arm.title for name, arm in ARMS.items()},
    )
    measured: int = asked(
        GENERATIVE_SAMPLES,
        "Test images, and as many of each network, that the figures are computed from; at most what there is.",
        title="Images measured",
        ge=LEAST,
        le=MOST_GENERATIVE_SAMPLES,
    )


ArmName = Annotated[str, among(lambda: list(ARMS))]


class Settings(TypedDict):
    benchmark: str
    teacher: str
    preset: str
    diffusion: str
    series: list[ArmName]
    values: list[Count]
    seeds: list[Count]
    samples: Count
    extractor: str


class Place(TypedDict):
    series: ArmName
    x: Count
    seed: Count


class GenerativeTable(Kind[TableRequest]):
    name = "generative"
    title = "The table of a generative teacher and its students, data-free and with data."
    method = "ukd"
    varies = {**Kind.varies, "student": "widths", "method": "arms", **dict.fromkeys(VARIED, "arms")}
    kept = Kept(Settings, Place, GenerativeFigures)
    Request = TableRequest

    # --- which runs ---

    def labelled(self, request: TableRequest) -> list[tuple[Labels, RunSpec]]:
        """Labels are series (the arm), x (H) and seed; seed by seed, so that a first whole table is there early.

        Every arm gets the request's knobs as far as its method has such.
        """
        from dfkd_core.runs.request import make_spec, usual_teacher
        from dfkd_core.teachers.cards import find_card

        knobs = own_knobs(sorted({arm.method for arm in ARMS.values()}), request.knobs)
        teacher = request.run.get("teacher") or usual_teacher(usual("benchmark", request.run), "generative")
        kind = find_card(teacher)[0].network.rpartition("-")[0]
        labelled = []
        for seed, width, name in product(sorted(request.seeds), sorted(request.widths), request.arms):
            arm = ARMS[name]
            fields = {**request.run, "teacher": teacher, "student": f"{kind}-{width}", "seed": seed}
            spec = make_spec(knobs[arm.method] | arm.knobs, method=arm.method, **fields)
            labelled.append(({"series": name, "x": width, "seed": seed}, spec))
        return labelled

    def samples(self, request: TableRequest) -> int:
        return request.measured

    def settings(self, request: TableRequest, labelled: list[tuple[Labels, RunSpec]]) -> dict[str, Any]:
        first = labelled[0][1]
        return {
            **{field: getattr(first, field) for field in ("benchmark", "teacher", "preset")},
            "diffusion": next((spec.diffusion for _, spec in labelled if spec.diffusion), ""),
            "series": list(request.arms),
            "values": sorted(request.widths),
        }

    def headline(self, request: TableRequest, labelled: list[tuple[Labels, RunSpec]]) -> str:
        counts = ((request.arms, "arm"), (request.widths, "width"), (request.seeds, "seed"))
        size = " × ".join(plural(len(values), name) for values, name in counts)
        return f"{labelled[0][1].teacher} and its students: {size}"

    # --- what they say ---

    def table(self, settings: dict[str, Any], cells: list[CellState]) -> Rows:
        """The teacher's row, then one for each arm (``series``) and width (``x``), in the order of the cells.

        ``n`` runs are done; ``values`` and ``spreads`` hold mean and standard deviation over them by the names of
        ``COLUMNS``, None where there is none. ``ratio`` is the geometric mean of the FIDs as multiples of those with
        data, of the same width and seed, over ``pairs`` of runs, from ``ratio_low`` to ``ratio_high`` (Student's t of
        the logarithms, 95 %); of √FID it is the root.
        """
        done = by_place(cells)
        teachers = [figures["teacher"] for seeds in done.values() for figures in seeds.values()]
        rows = [_row(TEACHER, None, teachers, [])]
        for (series, x), seeds in done.items():
            pairs = paired(seeds, done.get((REFERENCE, x), {}))
            students = [figures["student"] for figures in seeds.values()]
            fids = [(own["student"]["fid"], other["student"]["fid"]) for own, other in pairs]
            rows.append(_row(series, x, students, fids))
        return rows

    def reading(self, settings: dict[str, Any], rows: Rows) -> str:
        """The best data-free student of each width beside the one with data; empty before there is one."""
        parts = []
        for x in dict.fromkeys(row["x"] for row in rows):
            found = best_data_free(rows, x)
            if found is not None:
                pairs = plural(found["pairs"], "seed")
                title = ARMS[found["series"]].title.removeprefix("data-free, ")
                parts.append(f"at H = {x} from {title}, {ratio_words(found)} ({pairs}, paired)")
        if not parts:
            return ""
        return f"FID of the best data-free student as a multiple of that with data: {'; '.join(parts)}."

    def lines(self, settings: dict[str, Any], cells: list[CellState]) -> list[str]:
        return [*aligned(text_table(self.table(settings, cells), settings["benchmark"])), *notes(cells)]

    def outcome(self, figures: dict[str, Any]) -> str:
        return f"FID {figures['student']['fid']:.3f}, the teacher's {figures['teacher']['fid']:.3f}"


def _row(series: str, x: int | None, networks: Sequence[Figures], fids: list[tuple[float, float]]) -> dict[str, Any]:
    """``fids``: of each network and of the one that it is paired with."""
    known = {
        column.name: [network[column.name] for network in networks if network[column.name] is not None]
        for column in COLUMNS
    }
    logarithms = [math.log(one / other) for one, other in fids if one > 0 and other > 0]
    ratio, low, high = (None if end is None else math.exp(end) for end in interval(logarithms))
    return {
        "series": series,
        "x": x,
        "n": len(networks),
        "values": {name: fmean(values) if values else None for name, values in known.items()},
        "spreads": {name: stdev(values) if len(values) > 1 else None for name, values in known.items()},
        "ratio": ratio,
        "ratio_low": low,
        "ratio_high": high,
        "pairs": len(logarithms),
    }


def best_data_free(rows: Rows, x: int | None) -> dict[str, Any] | None:
    """The data-free row of width ``x`` whose FID is the least multiple of that with data, among those with the most
    pairs; None before there is one. Its interval is its own: it is not corrected for choosing."""
    found = [row for row in rows if row["x"] == x and row["pairs"] and ARMS[row["series"]].method == "ukd"]
    return min(found, key=lambda row: (-row["pairs"], row["ratio"]), default=None)


# --- in words --------------------------------------------------------------------------------------------------


def text_table(rows: Rows, benchmark: str) -> list[list[str]]:
    """The table as text, its head first: who, H, runs, FID as a multiple of that with data, and ``COLUMNS``."""
    lines = [["", "H", "runs", "FID ÷ with data", *(column.title for column in COLUMNS)]]
    for row in rows:
        title = "teacher" if row["series"] == TEACHER else ARMS[row["series"]].title
        width = "–" if row["x"] is None else str(row["x"])
        lines.append([title, width, str(row["n"]), ratio_words(row), *figures_text(row)])
    for title, figures in PUBLISHED.get(benchmark, {}).items():
        shown = [number(figures.get(column.name), column.form) for column in COLUMNS]
        lines.append([f"{title} in IIT Mandi 2025", "–", "–", "–", *shown])
    return lines


def figures_text(row: dict[str, Any]) -> list[str]:
    """``mean ± standard deviation`` of each of ``COLUMNS``; without the latter where all runs have the same."""
    shown = []
    for name, _, form, _ in COLUMNS:
        spread = row["spreads"][name]
        shown.append(number(row["values"][name], form) + (f" ± {spread:{form}}" if spread else ""))
    return shown


def ratio_words(row: dict[str, Any]) -> str:
    """``1.03 [0.98, 1.08]``, the interval where there is one."""
    if row["ratio"] is None:
        return "–"
    ends = "" if row["ratio_low"] is None else f" [{row['ratio_low']:.3f}, {row['ratio_high']:.3f}]"
    return f"{row['ratio']:.3f}{ends}"


def notes(cells: list[CellState]) -> list[str]:
    """What the figures are of, in sentences; none before a run was measured."""
    figures = next((state.record.figures for state in cells if state.state == "done"), None)
    if figures is None:
        return []
    teacher = figures["teacher"]
    said = [
        f"{figures['label']}.",
        f"Time: {teacher['batch']} images on {teacher['device']}. ± is the standard deviation over runs.",
    ]
    if any(state.state == "done" and state.record.figures["student"]["encoder"] == "teacher" for state in cells):
        said.append("Students without an ELBO have an untrained encoder and reconstruct from their teacher's latents.")
    return said
