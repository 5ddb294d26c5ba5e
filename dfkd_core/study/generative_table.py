"""The slides' table: a generative teacher, its students with data and without: arms × widths × seeds.

Source: the slides *Data-Free Knowledge Distillation of Deep Generative Models* (IIT Mandi, 2025).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Annotated, Any, NamedTuple

from dfkd_core.analysis.measured import GENERATIVE_SAMPLES, MOST_GENERATIVE_SAMPLES
from dfkd_core.errors import RequestError
from dfkd_core.quality import LEAST
from dfkd_core.runs.spec import RunSpec
from dfkd_core.study.contract import Kind, Labels, Measured, Rows, among, asked, measuring, several, usual
from dfkd_core.study.folder import CellState
from dfkd_core.study.tables import Figures, aligned, by_place, interval, number, paired, plural

TEACHER = "teacher"


# --- what is asked ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Arm:
    """A way to a student: ``method`` with ``knobs`` on top of the preset."""

    title: str
    method: str
    knobs: dict[str, Any]


def _data_free(source: str, objective: str = "ukd") -> dict[str, Any]:
    return {"source": source, "objective": objective}


ARMS = {
    "with-data": Arm("with data", "with-data", {"objective": "ukd"}),
    "with-data-elbo": Arm("with data, by the ELBO", "with-data", {"objective": "elbo"}),
    "ancestral": Arm("data-free, ancestral samples", "ukd", _data_free("ancestral")),
    "latents": Arm("data-free, optimised latents", "ukd", _data_free("latents")),
    "diffusion": Arm("data-free, guided diffusion", "ukd", _data_free("diffusion")),
    "diffusion-unguided": Arm(
        "data-free, diffusion without guidance", "ukd", {**_data_free("diffusion"), "strength": 0.0}
    ),
    "diffusion-elbo": Arm("data-free, guided diffusion, by the ELBO", "ukd", _data_free("diffusion", "elbo")),
}
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


class Column(NamedTuple):
    """One figure of the table: its ``name`` among the figures, its title, its format, and what it is."""

    name: str
    title: str
    form: str
    help: str


COLUMNS = (
    Column("parameters", "parameters", ",.0f", "of the whole network, its encoder included"),
    Column("fid", "FID", ".2f", "the Fréchet distance of features"),
    Column("root_fid", "√FID", ".2f", "the slides' FID: its root"),
    Column("emd", "EMD", ".2f", "mean distance of the cheapest transport"),
    Column("mmd_squared", "MMD²", ".4f", "unbiased; may be negative"),
    Column("root_mmd", "√MMD²", ".3f", "the slides' MMD: the root of the biased MMD²"),
    Column("one_nn", "1NN", ".3f", "leave-one-out accuracy, real against generated; 0.5 is ideal"),
    Column("mse", "reconstruction", ".4f", "mean squared error of a pixel in [0, 1]"),
    Column("elbo", "ELBO", ".1f", "nats an image; a dash where the encoder was not trained"),
    Column("milliseconds", "ms", ".2f", "to generate a batch"),
    Column("megabytes", "MB", ".3f", "of float32 weights, 10⁶ bytes"),
    Column("mebibytes", "MiB", ".3f", "the same in 2²⁰ bytes: the slides' MB"),
)
PUBLISHED: dict[str, dict[str, dict[str, float]]] = {
    "cifar10": {
        TEACHER: {
            "parameters": 5.39e6, "root_fid": 4.63, "emd": 7.57, "root_mmd": 0.25, "one_nn": 0.89,
            "milliseconds": 23.3, "mebibytes": 20.5,
        },
        "with data": {
            "parameters": 0.03e6, "root_fid": 5.24, "emd": 7.96, "root_mmd": 0.30, "one_nn": 0.91,
            "milliseconds": 5.63, "mebibytes": 1.44,
        },
        "data-free": {
            "parameters": 0.03e6, "root_fid": 5.27, "emd": 8.07, "root_mmd": 0.29, "one_nn": 0.92,
            "milliseconds": 5.6, "mebibytes": 1.52,
        },
    }
}  # fmt: skip
"""The slides' own figures by benchmark, in Inception's features; their parameters and sizes contradict each other."""


class GenerativeTable(Kind[TableRequest]):
    name = "generative"
    title = "The table of a generative teacher and its students, data-free and with data."
    method = "ukd"
    varies = {**Kind.varies, "student": "widths", "method": "arms", **dict.fromkeys(VARIED, "arms")}
    Request = TableRequest

    # --- which runs ---

    def labelled(self, request: TableRequest) -> list[tuple[Labels, RunSpec]]:
        """Labels are series (the arm), x (H) and seed; seed by seed, so that a first whole table is there early.

        Every arm gets the request's knobs as far as its method has such.
        """
        from dfkd_core import methods
        from dfkd_core.runs.request import make_spec, usual_teacher
        from dfkd_core.teachers.cards import find_card

        knobs_of = {arm.method: methods.find(arm.method).Config.model_fields for arm in ARMS.values()}
        for name, value in request.knobs.items():
            if not any(name in known for known in knobs_of.values()):
                raise RequestError(name, value, f"is no knob of {' or '.join(sorted(knobs_of))}.")
        teacher = request.run.get("teacher") or usual_teacher(usual("benchmark", request.run), "generative")
        kind = find_card(teacher)[0].network.rpartition("-")[0]
        labelled = []
        for seed in sorted(request.seeds):
            for width in sorted(request.widths):
                for name in request.arms:
                    arm = ARMS[name]
                    own = {knob: value for knob, value in request.knobs.items() if knob in knobs_of[arm.method]}
                    given = {**request.run, "teacher": teacher, "student": f"{kind}-{width}", "seed": seed}
                    spec = make_spec(own | arm.knobs, method=arm.method, **given)
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
            "seeds": sorted(request.seeds),
            "samples": self.samples(request),
            "extractor": measuring(first, request.extractor),
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
        lines.append([f"the slides' {title}", "–", "–", "–", *shown])
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
