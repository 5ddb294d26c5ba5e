"""HiDFD's experiments (its Tables 1 and 2, Figs. 2 and A-3): methods × x × seeds, each declared in the TOML file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import product
from statistics import stdev
from typing import Annotated, Any, Literal, NotRequired, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter
from typing_extensions import TypedDict

from dfkd_core.analysis.measured import FIGURES, MOST_SAMPLES, SAMPLES
from dfkd_core.errors import RequestError
from dfkd_core.quality import LEAST
from dfkd_core.quality.score import number
from dfkd_core.runs.spec import RunSpec
from dfkd_core.store.rows import FINITE, Count, Real
from dfkd_core.study.contract import (
    SCORES,
    Kind,
    Labels,
    Measured,
    Rows,
    among,
    asked,
    declared,
    miscounted,
    own_knobs,
    several,
    usual,
)
from dfkd_core.study.folder import CellState, Kept
from dfkd_core.study.tables import (
    Figures,
    aligned,
    by_place,
    in_points,
    interval,
    paired,
    plural,
    plus_minus,
    told_apart,
)

Scale = Literal["category", "linear", "log"]
FIELDS = ("ratio", "method")  # of a run; whatever else an experiment varies is a knob of the method
SHARED = ("gan_steps", "gan_epochs", "gan_batch_size", "distill_steps", "updates", "batch_size", "augmentation")
"""Knobs in which compared methods follow HiDFD where they have them, so that all students get the same number of
updates on equally many images; everything else is each method's own preset."""
AS_PUBLISHED: dict[str, dict[str, Any]] = {"hidfd": {"told_weight": 0.0}}
"""Knobs that make a method's losses those of its paper again, where its preset adds to them."""


# --- what is asked ---------------------------------------------------------------------------------------------


class Experiment(BaseModel):
    """Runs that differ in ``x``, and in the method if there are several ``methods`` (the series; the first leads).

    ``varies`` names the knob or field that x is, or ``variants`` the knobs that each x stands for. ``values`` are the
    usual ones, ``values_on`` those of single benchmarks; without any, all that the knob allows. Other series are
    compared with the first one, other x with ``reference``, other N with the method's own (with the first x if it is
    not among them).
    ``published``: method, x and accuracy (0 to 1) that the paper prints, in ``setting``. ``measured``: images too.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    question: str
    finding: str
    axis: str
    scale: Scale = "category"
    varies: str = ""
    variants: dict[str, dict[str, Any]] = {}
    values: tuple[Any, ...] = ()
    values_on: dict[str, tuple[Any, ...]] = {}
    methods: tuple[str, ...] = ("hidfd",)
    reference: Any = None
    published: tuple[tuple[str, Any, float], ...] = ()
    setting: str = "CIFAR-10, ρ 0.1, ResNet34 → ResNet18"
    measured: bool = False
    against_seconds: bool = False

    def usual_values(self, benchmark: str) -> tuple[Any, ...]:
        """Of x; empty: all that the knob allows."""
        return tuple(self.variants) or self.values_on.get(benchmark, self.values)

    def compared(self) -> tuple[str, ...]:
        """The methods that take part, the leading one first."""
        return self.values if self.varies == "method" else self.methods

    def change(self, x: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """The knobs and the fields of the run that ``x`` stands for."""
        if self.variants:
            return self.variants[x], {}
        return ({}, {self.varies: x}) if self.varies in FIELDS else ({self.varies: x}, {})

    def varied(self) -> set[str]:
        """Names of all knobs and fields that it changes."""
        return {self.varies} - {""} | {name for knobs in self.variants.values() for name in knobs}


EXPERIMENTS = TypeAdapter(dict[str, Experiment]).validate_python(declared(__file__))
METHODS = EXPERIMENTS["comparison"].methods


class ExperimentRequest(Measured):
    experiment: Annotated[str, among(lambda: list(EXPERIMENTS))] = asked(
        ...,
        "Which one.",
        choices={name: experiment.title for name, experiment in EXPERIMENTS.items()},
        positional=True,
    )
    values: Annotated[tuple[Any, ...] | None, *several(1, 51)] = asked(None, "Of what it varies, not the usual ones.")
    series: Annotated[tuple[str, ...] | None, *several(1, len(METHODS))] = asked(None, "Methods to compare, not all.")
    measured: int = asked(
        SAMPLES,
        "Images to measure, of each run's generator where the experiment looks at them.",
        title="Images measured",
        ge=LEAST,
        le=MOST_SAMPLES,
    )


# --- what its folder keeps -------------------------------------------------------------------------------------


class Against(TypedDict, total=False):
    series: str
    x: Real | str


class Published(TypedDict):
    series: str
    x: Real | str
    value: Real


class Settings(TypedDict):
    __pydantic_config__ = FINITE  # type: ignore[misc]
    experiment: str
    benchmark: str
    teacher: str
    student: str
    preset: str
    collected: str
    ratio: NotRequired[float]
    series: Annotated[list[str], Field(min_length=1)]
    values: list[Real | str]
    titles: dict[str, str]
    question: str
    finding: str
    axis: Annotated[str, Field(pattern=r"\S")]
    scale: Scale
    against_seconds: bool
    setting: str
    reference: Against
    published: list[Published]
    seeds: list[Count]
    samples: Count
    extractor: str


def _compared(settings: Settings) -> Settings:
    label = "series" if len(settings["series"]) > 1 else "x"
    if label not in settings["reference"]:
        raise ValueError(f"should have a reference with {label}")
    return settings


class Place(TypedDict):
    series: str
    x: Real | str
    seed: Count


# --- the kind --------------------------------------------------------------------------------------------------


class HidfdExperiments(Kind[ExperimentRequest]):
    name = "experiment"
    title = "One of HiDFD's experiments: ablation, comparison and more."
    method = "hidfd"
    varies = {**Kind.varies, "method": "series"}
    kept = Kept(
        Annotated[Settings, AfterValidator(_compared)],
        Place,
        Annotated[FIGURES | SCORES, Field(union_mode="left_to_right")],
    )
    Request = ExperimentRequest

    # --- which runs ---

    def labelled(self, request: ExperimentRequest) -> list[tuple[Labels, RunSpec]]:
        """Labels are series, x and seed; seed by seed, so that a first whole curve is there early.

        All methods have their papers' losses, the request's knobs as far as they have such, and the first one's
        ``SHARED`` ones.
        """
        from dfkd_core.runs.request import make_spec

        experiment = EXPERIMENTS[request.experiment]
        chosen = experiment.methods if request.series is None else request.series
        for method in chosen:
            if method not in experiment.methods:
                raise RequestError("series", method, f"should be one of {', '.join(experiment.methods)}.")
        common = _common_knobs(experiment.compared(), request)
        labelled = []
        for seed, x, series in product(sorted(request.seeds), _values(experiment, request), chosen):
            knobs, fields = experiment.change(x)
            fields = {"method": series, **request.run, **fields}
            spec = make_spec(common[fields["method"]] | knobs, seed=seed, **fields)
            labelled.append(({"series": series, "x": x, "seed": seed}, spec))
        return labelled

    def varied(self, asked: Mapping[str, Any]) -> dict[str, str]:
        return super().varied(asked) | dict.fromkeys(EXPERIMENTS[asked["experiment"]].varied(), "values")

    def samples(self, request: ExperimentRequest) -> int:
        return request.measured if EXPERIMENTS[request.experiment].measured else 0

    def settings(self, request: ExperimentRequest, labelled: list[tuple[Labels, RunSpec]]) -> dict[str, Any]:
        from dfkd_core import methods

        experiment, first = EXPERIMENTS[request.experiment], labelled[0][1]
        series, xs = _along(labelled, "series"), _along(labelled, "x")
        return {
            "experiment": request.experiment,
            **{field: getattr(first, field) for field in ("benchmark", "teacher", "student", "preset", "collected")},
            **({} if experiment.varies == "ratio" else {"ratio": first.ratio}),
            "series": series,
            "values": xs,
            "titles": {method: methods.find(method).title for method in experiment.compared()},
            **experiment.model_dump(include={"question", "finding", "axis", "scale", "against_seconds", "setting"}),
            "reference": _reference(experiment, series, xs, first),
            "published": [
                {"series": method, "x": x, "value": value}
                for method, x, value in experiment.published
                if method in series and (experiment.scale != "category" or x in xs)
            ],
        }

    def headline(self, request: ExperimentRequest, labelled: list[tuple[Labels, RunSpec]]) -> str:
        series, xs = _along(labelled, "series"), _along(labelled, "x")
        size = [plural(len(series), "method")] if len(series) > 1 else []
        size += [plural(len(xs), "setting"), plural(len(request.seeds), "seed")]
        return f"{EXPERIMENTS[request.experiment].title}, {labelled[0][1].benchmark}: {' × '.join(size)}"

    # --- what they say ---

    def table(self, settings: dict[str, Any], cells: list[CellState]) -> Rows:
        """One row for each series and x, in the order of the cells.

        ``series``, ``x``, ``n`` (runs that are done), and over those: ``mean`` of the final score with its interval
        ``low`` to ``high`` and standard ``deviation``, means of ``best``, ``seconds`` and, where measured, ``fid`` with
        ``fid_low``, ``fid_high`` and ``fid_deviation``. ``difference`` to the reference, from ``difference_low`` to
        ``difference_high``, over the ``pairs`` of runs with the same seed. Intervals are Student's t, 95 %, not
        corrected for how many there are.
        None where nothing is known; no interval from a single run, or from values that are all alike.
        """
        reference, done = settings["reference"], by_place(cells)
        return [
            _row(series, x, seeds, done.get((reference.get("series", series), reference.get("x", x)), {}))
            for (series, x), seeds in done.items()
        ]

    def lines(self, settings: dict[str, Any], cells: list[CellState]) -> list[str]:
        """In per cent and points: final ± its standard deviation (SD), best, runs, and the rest."""
        rows = self.table(settings, cells)
        compared, measured = len(settings["series"]) > 1, any(row["fid"] is not None for row in rows)
        category = settings["scale"] == "category"
        head = ["method"] * compared + [settings["axis"] if category else symbol(settings)]
        head += ["final %, ± SD over seeds", "best %", "runs"]
        head += ["FID"] * measured + ["seconds", f"against {_name(settings, settings['reference'])}, points"]
        lines = [head]
        for row in rows:
            x = _name({**settings, "series": []}, row) if category else _shown(row["x"])
            line = [_name(settings, row)] * compared + [x, plus_minus(row["mean"], row["deviation"])]
            line += ["–" if row["best"] is None else f"{100 * row['best']:.1f}", str(row["n"])]
            line += [number(row["fid"], ".2f")] * measured + [number(row["seconds"], ".0f")]
            lines.append([*line, in_points(row["difference"], row["difference_low"], row["difference_high"])])
        return aligned(lines)

    def reading(self, settings: dict[str, Any], rows: Rows) -> str:
        """What the differences to the reference say; empty before there is one.

        Where methods are compared over x, at the first x that all of them have reached, or else most.
        """
        held = [row for row in rows if row["pairs"]]
        if not held:
            return ""
        place = ""
        if "series" in settings["reference"]:
            counts = Counter(row["x"] for row in held)
            x = max(counts, key=lambda value: (counts[value], -list(counts).index(value)))
            held = [row for row in held if row["x"] == x]
            place = f"At {symbol(settings)} = {_shown(x)} "
        subject = _name(settings, settings["reference"])
        clear = [_clear(settings, row) for row in held if not _holds_zero(row)]
        unclear = [_unclear(settings, row) for row in held if _holds_zero(row)]
        parts = [f"{place}{subject} is {_enumerated(clear)}"] if clear else []
        if unclear:
            start = "it is not clearly apart from" if clear else f"{place}{subject} is not clearly apart from"
            parts.append(f"{start} {_enumerated(unclear)}")
        pairs = sorted({row["pairs"] for row in held})
        seeds = plural(pairs[0], "seed") if len(pairs) == 1 else f"{pairs[0]} to {pairs[-1]} seeds"
        return f"{'; '.join(parts)} ({seeds}, paired{'' if clear else '; an interval needs two' * (pairs == [1])})."


# --- which runs ------------------------------------------------------------------------------------------------


def _common_knobs(compared: Sequence[str], request: ExperimentRequest) -> dict[str, dict[str, Any]]:
    """For each method what was asked for as far as it has such knobs, the first one's ``SHARED`` knobs, and what makes
    its losses the published ones."""
    from dfkd_core import methods

    changes = own_knobs(compared, request.knobs)
    first = methods.find(compared[0]).Config.build(usual("preset", request.run), changes[compared[0]]).model_dump()
    shared = own_knobs(compared, {name: first[name] for name in SHARED if name in first})
    return {method: AS_PUBLISHED.get(method, {}) | shared[method] | changes[method] for method in compared}


def _values(experiment: Experiment, request: ExperimentRequest) -> list[Any]:
    """The values of x: checked, numbers in order, categories in the order given."""
    allowed = _allowed(experiment, usual("benchmark", request.run))
    chosen = list(allowed if request.values is None else request.values)
    if experiment.scale != "category":
        chosen = sorted(_number(value, experiment.scale) for value in chosen)
    if wrong := miscounted(chosen, 1 if len(experiment.compared()) > 1 else 2, 51):
        raise RequestError("values", chosen, f"{wrong}.")
    for value in chosen:
        if experiment.scale == "category" and value not in allowed:
            raise RequestError("values", value, f"should be among {', '.join(allowed)}.")
    return chosen


def _allowed(experiment: Experiment, benchmark: str) -> tuple[Any, ...]:
    """The usual values of x, else all that the knob allows."""
    from dfkd_core import methods

    config = methods.find(experiment.methods[0]).Config
    return experiment.usual_values(benchmark) or get_args(config.model_fields[experiment.varies].annotation)


def _number(value: Any, scale: str) -> float:
    try:
        found = float(value)
    except ValueError:
        raise RequestError("values", value, "should be a number.") from None
    if scale == "log" and not found > 0:
        raise RequestError("values", value, "should be above 0; the axis is logarithmic.")
    return found


def _along(labelled: list[tuple[Labels, RunSpec]], name: str) -> list[Any]:
    """Values of one label, in order."""
    return list(dict.fromkeys(labels[name] for labels, _ in labelled))


def _reference(experiment: Experiment, series: Sequence[str], xs: Sequence[Any], spec: RunSpec) -> dict[str, Any]:
    """Labels of what the others are compared with; a label that is missing is the same as theirs. ``spec``: of one of
    the runs, whose images say what the usual N is."""
    if len(series) > 1:
        return {"series": series[0]}
    reference = _usual_inflation(spec) if experiment.varies == "inflation" else experiment.reference
    return {"x": reference if reference in xs else xs[0]}


def _usual_inflation(spec: RunSpec) -> int:
    from dfkd_core.data.catalogue import data_in, find_benchmark
    from dfkd_core.data.sources import wanted
    from dfkd_core.methods.hidfd import usual_inflation

    with data_in(spec.data):
        return usual_inflation(spec.config["synthetic"], wanted(find_benchmark(spec.benchmark), spec.ratio))


# --- what they say ---------------------------------------------------------------------------------------------


def _row(series: str, x: Any, seeds: dict[int, Figures], others: dict[int, Figures]) -> dict[str, Any]:
    runs = list(seeds.values())
    row: dict[str, Any] = {"series": series, "x": x, "n": len(runs)}
    finals = [figures["final"] for figures in runs]
    fids = [figures["fid"] for figures in runs if "fid" in figures]
    row["mean"], row["low"], row["high"] = interval(finals)
    row["fid"], row["fid_low"], row["fid_high"] = interval(fids)
    for name, values in (("deviation", finals), ("fid_deviation", fids)):
        row[name] = stdev(values) if len(values) > 1 else None
    for name in ("best", "seconds"):
        row[name] = interval([figures[name] for figures in runs])[0]
    apart = [own["final"] - other["final"] for own, other in paired(seeds, others)]
    row["difference"], row["difference_low"], row["difference_high"] = interval(apart)
    return row | {"pairs": len(apart)}


def symbol(settings: dict[str, Any]) -> str:
    """The letter of a numeric axis, the last word of what it is called."""
    return str(settings["axis"]).split()[-1]


def _name(settings: dict[str, Any], labels: dict[str, Any]) -> str:
    """A row, or the reference, in words: its method where methods are compared, else its place on the axis."""
    if len(settings["series"]) > 1:
        return str(settings["titles"].get(labels["series"], labels["series"]))
    x = labels["x"]
    return f"{symbol(settings)} = {_shown(x)}" if settings["scale"] != "category" else str(settings["titles"].get(x, x))


def _shown(x: Any) -> str:
    return told_apart(x) if isinstance(x, float | int) else str(x)


def _holds_zero(row: dict[str, Any]) -> bool:
    return row["difference_low"] is None or row["difference_low"] <= 0 <= row["difference_high"]


def _clear(settings: dict[str, Any], row: dict[str, Any]) -> str:
    """The reference against the row, so with the sign turned."""
    low, high = sorted((abs(row["difference_low"]), abs(row["difference_high"])))
    side = "above" if row["difference"] < 0 else "below"
    by = f"{100 * abs(row['difference']):.1f} points [{100 * low:.1f}, {100 * high:.1f}]"
    return f"{side} {_name(settings, row)} by {by}"


def _unclear(settings: dict[str, Any], row: dict[str, Any]) -> str:
    turned = [None if row[name] is None else -row[name] for name in ("difference", "difference_high", "difference_low")]
    alike = ", all pairs alike" if row["pairs"] > 1 and row["difference_low"] is None else ""
    return f"{_name(settings, row)} ({in_points(*turned)}{alike})"


def _enumerated(parts: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))
