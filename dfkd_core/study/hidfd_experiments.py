"""HiDFD's experiments (its Tables 1 and 2, Figs. 2 and A-3): methods × x × seeds. ``hidfd_catalogue`` has them all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any, get_args

from dfkd_core.analysis.measured import MOST_SAMPLES, SAMPLES
from dfkd_core.errors import RequestError
from dfkd_core.quality import LEAST
from dfkd_core.runs.spec import RunSpec
from dfkd_core.study.contract import (
    Kind,
    Labels,
    Measured,
    Rows,
    among,
    asked,
    measuring,
    miscounted,
    several,
    usual,
)
from dfkd_core.study.folder import CellState
from dfkd_core.study.hidfd_catalogue import EXPERIMENTS, METHODS, SHARED, Experiment
from dfkd_core.study.tables import (
    Figures,
    aligned,
    by_place,
    in_points,
    interval,
    number,
    paired,
    plural,
    plus_minus,
)


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


class HidfdExperiments(Kind[ExperimentRequest]):
    name = "experiment"
    title = "One of HiDFD's experiments: ablation, comparison and more."
    method = METHODS[0]
    varies = {**Kind.varies, "method": "series"}
    Request = ExperimentRequest

    # --- which runs ---

    def labelled(self, request: ExperimentRequest) -> list[tuple[Labels, RunSpec]]:
        """Labels are series, x and seed; seed by seed, so that a first whole curve is there early.

        All methods get the request's knobs as far as they have such, and the first one's ``SHARED`` ones.
        """
        from dfkd_core.runs.request import make_spec

        experiment = EXPERIMENTS[request.experiment]
        chosen = experiment.methods if request.series is None else request.series
        for method in chosen:
            if method not in experiment.methods:
                raise RequestError("series", method, f"should be one of {', '.join(experiment.methods)}.")
        _check_free(experiment, request)
        xs = _values(experiment, request)
        common = _common_knobs(experiment.compared(), request.knobs, usual("preset", request.run))
        labelled = []
        for seed in sorted(request.seeds):
            for x in xs:
                for method in chosen:
                    knobs, own = experiment.change(x)
                    given = {"method": method, **request.run, **own, "seed": seed}
                    spec = make_spec({**common[given["method"]], **knobs}, **given)
                    labelled.append(({"series": method, "x": x, "seed": seed}, spec))
        return labelled

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
            "seeds": sorted(request.seeds),
            "titles": {method: methods.find(method).title for method in experiment.compared()},
            **{
                name: getattr(experiment, name)
                for name in ("question", "finding", "axis", "scale", "against_seconds", "setting")
            },
            "reference": _reference(experiment, series, xs),
            "published": [
                {"series": method, "x": x, "value": value}
                for (method, x), value in experiment.published.items()
                if method in series and (experiment.scale != "category" or x in xs)
            ],
            "samples": self.samples(request),
            "extractor": measuring(first, request.extractor) if experiment.measured else "",
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
        ``low`` to ``high``, means of ``best``, ``seconds`` and, where measured, ``fid`` with ``fid_low`` and
        ``fid_high``. ``difference`` to the reference, from ``difference_low`` to ``difference_high``, over the
        ``pairs`` of runs with the same seed. Intervals are Student's t, 95 %, not corrected for how many there are.
        None where nothing is known; no interval from a single run.
        """
        reference, done = settings["reference"], by_place(cells)
        return [
            _row(series, x, seeds, done.get((reference.get("series", series), reference.get("x", x)), {}))
            for (series, x), seeds in done.items()
        ]

    def lines(self, settings: dict[str, Any], cells: list[CellState]) -> list[str]:
        """In per cent and points: final ± half its interval, best, runs, and the rest."""
        rows = self.table(settings, cells)
        compared, measured = len(settings["series"]) > 1, any(row["fid"] is not None for row in rows)
        category = settings["scale"] == "category"
        head = ["method"] * compared + [settings["axis"] if category else symbol(settings), "final %", "best %", "runs"]
        head += ["FID"] * measured + ["seconds", f"against {_name(settings, settings['reference'])}, points"]
        lines = [head]
        for row in rows:
            x = _name({**settings, "series": []}, row) if category else f"{row['x']:g}"
            line = [_name(settings, row)] * compared + [x, plus_minus(row["mean"], row["high"])]
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
            place = f"At {symbol(settings)} = {x:g} "
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


def _check_free(experiment: Experiment, request: ExperimentRequest) -> None:
    """What the experiment itself sets cannot be asked for, nor knobs that none of its methods has."""
    from dfkd_core import methods

    for name, value in {**request.run, **request.knobs}.items():
        if name in experiment.varied():
            raise RequestError(name, value, "is what the experiment varies; give its values.")
    compared = experiment.compared()
    known = {knob for method in compared for knob in methods.find(method).Config.model_fields}
    for name, value in request.knobs.items():
        if name not in known:
            raise RequestError(name, value, f"is no knob of {' or '.join(compared)}.")


def _common_knobs(compared: Sequence[str], changes: dict[str, Any], preset: str) -> dict[str, dict[str, Any]]:
    """For each method ``changes`` as far as it has such knobs, and the first one's ``SHARED`` knobs."""
    from dfkd_core import methods

    def own(method: str, knobs: dict[str, Any]) -> dict[str, Any]:
        known = methods.find(method).Config.model_fields
        return {name: value for name, value in knobs.items() if name in known}

    led = methods.find(compared[0]).Config.build(preset, own(compared[0], changes)).model_dump()
    shared = {name: led[name] for name in SHARED if name in led}
    return {
        method: {**(own(method, shared) if method != compared[0] else {}), **own(method, changes)}
        for method in compared
    }


def _values(experiment: Experiment, request: ExperimentRequest) -> list[Any]:
    """The values of x: checked, numbers in order, categories in the order given."""
    allowed = experiment.usual_values(usual("benchmark", request.run)) or _allowed(experiment)
    chosen = list(allowed if request.values is None else request.values)
    if experiment.scale != "category":
        chosen = sorted(_number(value, experiment.scale) for value in chosen)
    if wrong := miscounted(chosen, 1 if len(experiment.compared()) > 1 else 2, 51):
        raise RequestError("values", chosen, f"{wrong}.")
    for value in chosen:
        if experiment.scale == "category" and value not in allowed:
            raise RequestError("values", value, f"should be among {', '.join(allowed)}.")
    return chosen


def _allowed(experiment: Experiment) -> tuple[Any, ...]:
    """All that the knob allows."""
    from dfkd_core import methods

    return get_args(methods.find(experiment.methods[0]).Config.model_fields[experiment.varies].annotation)


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


def _reference(experiment: Experiment, series: Sequence[str], xs: Sequence[Any]) -> dict[str, Any]:
    """Labels of what the others are compared with; a label that is missing is the same as theirs."""
    if len(series) > 1:
        return {"series": series[0]}
    return {"x": experiment.reference if experiment.reference in xs else xs[0]}


# --- what they say ---------------------------------------------------------------------------------------------


def _row(series: str, x: Any, seeds: dict[int, Figures], others: dict[int, Figures]) -> dict[str, Any]:
    runs = list(seeds.values())
    row: dict[str, Any] = {"series": series, "x": x, "n": len(runs)}
    row["mean"], row["low"], row["high"] = interval([figures["final"] for figures in runs])
    for name in ("best", "seconds"):
        row[name] = interval([figures[name] for figures in runs])[0]
    row["fid"], row["fid_low"], row["fid_high"] = interval([figures["fid"] for figures in runs if "fid" in figures])
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
    return f"{symbol(settings)} = {x:g}" if settings["scale"] != "category" else str(settings["titles"].get(x, x))


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
    return f"{_name(settings, row)} ({in_points(*turned)})"


def _enumerated(parts: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))
