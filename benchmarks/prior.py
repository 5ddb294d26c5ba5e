"""FID against the intensity of the class prior, as in Fig. 2 of TA-DFKD, with what may explain it beside it.

Six intensities × three seeds on digits with the demo preset; four × one on MNIST (``DFKD_DATA`` says where it is).
The runs stay in ``--runs`` as a study: the page Class prior shows it, and ``--study`` goes on with one.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import pandas as pd
from cyclopts import Parameter

from benchmarks.command import Quick, Teacher, command
from benchmarks.report import Report, Row, at_most
from benchmarks.timing import Stopwatch
from benchmarks.training import conducted, folder_of_runs
from dfkd_core.study import find, find_study
from dfkd_core.study.prior import rank_correlation

KIND = find("prior")
MNIST = {"intensities": [0.0, 0.33, 0.67, 1.0], "seeds": [0]}
QUICK = {"intensities": [0.0, 0.5, 1.0], "seeds": [0], "measured": 200}
TARGET_MINUTES = 30  # of 6 × 3 on digits, on two cores


def rows_of(name: str, trend: str, points: pd.DataFrame) -> list[Row]:
    """One line for the trend, one for each intensity: mean and range over the seeds."""
    correlation, _ = rank_correlation(points["intensity"], points["fid"])
    rows = [Row(f"{name}: class prior's intensity against FID", trend, value=correlation)]
    for intensity, seeds in points.groupby("intensity"):
        fid, accuracy = ranged(seeds["fid"], ".3g"), ranged(seeds["final"], ".2%")
        balance, diversity = ranged(seeds["class_balance"], ".2f"), ranged(seeds["diversity"], ".3g")
        measured = f"FID {fid}, student {accuracy}, class balance {balance}, within-class diversity {diversity}"
        rows.append(Row(f"{name}: λ = {intensity:g}", measured, value=float(seeds["fid"].mean())))
    return rows


def ranged(values: pd.Series, form: str) -> str:
    """Mean, and least and greatest of more than one seed."""
    mean, low, high = (format(value, form) for value in (values.mean(), values.min(), values.max()))
    return mean if len(values) == 1 else f"{mean} [{low}, {high}]"


def measure(
    *,
    benchmark: Literal["digits", "mnist"] = "digits",
    teacher: Teacher = "",
    epochs: Annotated[int | None, Parameter(help="The preset's unless given; 8 on MNIST.")] = None,
    runs: Annotated[Path | None, Parameter(help="Keep the runs there.")] = None,
    study: Annotated[str, Parameter(help="Go on with this study of --runs.")] = "",
    quick: Quick = False,
) -> Iterator[Report]:
    small = benchmark == "digits"
    run: dict[str, Any] = {"benchmark": benchmark, "teacher": teacher, "preset": "demo" if small else "cpu"}
    run |= {} if small else {"evaluate_every": 50}
    knobs = {} if small else {"epochs": 8}
    knobs |= {"epochs": 1, "iterations": 2} if quick else {}
    knobs |= {} if epochs is None else {"epochs": epochs}
    given: dict[str, Any] = ({} if small else MNIST) | (QUICK if quick else {})
    with folder_of_runs(runs) as folder, Stopwatch() as watch:
        found = find_study(folder, study) if study else KIND.begin(folder, knobs=knobs, run=run, **given)
        cells = conducted(found).cells
    name, points, config = found.settings["benchmark"], KIND.table(found.settings, cells), found.cells[0].spec.config
    rows = rows_of(name, KIND.reading(found.settings, points), pd.DataFrame(points))
    if not study:
        steps, minutes = config["epochs"] * config["iterations"], watch.wall / 60
        what = f"{name}: {len(cells)} runs of {steps} steps, measured, one after the other on one thread"
        rows.append(at_most(TARGET_MINUTES, what, f"{minutes:.1f} min", minutes, f"≤ {TARGET_MINUTES} min"))
    label = next(state.record.figures["label"] for state in cells if state.state == "done")
    failed = {state.cell.key: state.message for state in cells if state.state == "failed"}
    details = {"settings": found.settings, "config": config, "label": label, "points": points, "failed": failed}
    yield Report(rows, details, name)


if __name__ == "__main__":
    command(measure)
