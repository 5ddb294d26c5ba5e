"""FID against the intensity of the class prior, as in Fig. 2 of TA-DFKD, with what may explain it beside it.

Six intensities × three seeds on digits with the demo preset; four × one on MNIST (``DFKD_DATA`` says where it is).
The runs stay in ``--runs`` as a study: the page Class prior shows it, and ``--study`` goes on with one.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.common import Row, options, report, say
from dfkd_core.engine import InlineEngine
from dfkd_core.study import Cell, Conductor, Record, Study, find, find_study

KIND = find("prior")
SETTINGS: dict[str, dict[str, Any]] = {
    "digits": {"run": {"benchmark": "digits", "preset": "demo"}, "knobs": {}},
    "mnist": {
        "run": {"benchmark": "mnist", "preset": "cpu", "evaluate_every": 50},
        "intensities": [0.0, 0.33, 0.67, 1.0],
        "seeds": [0],
        "knobs": {"epochs": 8},
    },
}
TARGET_MINUTES = 30  # of 6 × 3 on digits, on two cores
QUICK = {"intensities": [0.0, 0.5, 1.0], "seeds": [0], "knobs": {"epochs": 1, "iterations": 2}, "measured": 200}


def begin(runs: Path, benchmark: str, changes: dict[str, Any]) -> Study:
    """A new study with the benchmark's settings and ``changes`` to them."""
    usual = SETTINGS[benchmark]
    both = {name: {**usual[name], **changes.get(name, {})} for name in ("knobs", "run")}
    return KIND.begin(runs, **{**usual, **changes, **both})


def carry_out(study: Study) -> None:
    """To its end, with a line for each run."""

    def after(cell: Cell, record: Record) -> None:
        say(find(study.kind).ended(cell, record))

    Conductor(study, InlineEngine(study.runs), after=after).conduct()
    progress = study.progress()
    if progress.done == 0 or progress.state != "done":
        raise SystemExit(
            f"study {study.id}: {progress.state} at {progress.done} / {progress.total}. {progress.message}"
        )


def rows_of(study: Study, points: list[dict[str, Any]]) -> list[Row]:
    """One line for the trend, one for each intensity: mean and range over the seeds."""
    name, table = study.settings["benchmark"], pd.DataFrame(points)
    correlation = table["intensity"].rank().corr(table["fid"].rank())
    trend = float(correlation) if pd.notna(correlation) else None
    rows = [Row(f"{name}: class prior's intensity against FID", KIND.reading(study.settings, points), value=trend)]
    for intensity, seeds in table.groupby("intensity"):
        fid, accuracy = _spread(seeds["fid"], "{:.3g}"), _spread(seeds["final"], "{:.2%}")
        balance, diversity = _spread(seeds["class_balance"], "{:.2f}"), _spread(seeds["diversity"], "{:.3g}")
        measured = f"FID {fid}, student {accuracy}, class balance {balance}, within-class diversity {diversity}"
        rows.append(Row(f"{name}: λ = {intensity:g}", measured, value=float(seeds["fid"].mean())))
    return rows


def duration(study: Study, minutes: float) -> Row:
    """How long a study took that was carried out in one go."""
    name, cells = study.settings["benchmark"], study.cells
    steps = cells[0].spec.config["epochs"] * cells[0].spec.config["iterations"]
    what = f"{name}: {len(cells)} runs of {steps} steps, measured, one after the other on one thread"
    return Row(what, f"{minutes:.1f} min", f"≤ {TARGET_MINUTES} min", minutes <= TARGET_MINUTES, minutes)


def _spread(values: pd.Series, form: str) -> str:
    """Mean, and least and greatest of more than one seed."""
    mean, low, high = (form.format(value) for value in (values.mean(), values.min(), values.max()))
    return mean if len(values) == 1 else f"{mean} [{low}, {high}]"


def main() -> None:
    def add(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--benchmark", choices=list(SETTINGS), default="digits")
        parser.add_argument("--teacher", default="", help="default: the benchmark's usual one")
        parser.add_argument("--epochs", type=int, help="default: the preset's; 8 on MNIST")
        parser.add_argument("--runs", type=Path, help="keep the runs there (default: a temporary folder)")
        parser.add_argument("--study", help="go on with this study of --runs")

    asked = options("prior", __doc__, add)
    with ExitStack() as stack:
        runs = asked.runs or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        changes: dict[str, Any] = {"run": {"teacher": asked.teacher}, **(QUICK if asked.quick else {})}
        if asked.epochs is not None:
            changes["knobs"] = {**changes.get("knobs", {}), "epochs": asked.epochs}
        study = find_study(runs, asked.study) if asked.study else begin(runs, asked.benchmark, changes)
        say(f"study {study.id}: {study.title}")
        started = time.monotonic()
        carry_out(study)
        minutes = (time.monotonic() - started) / 60
        cells = study.progress().cells
        points = KIND.table(study.settings, cells)
        failed = {state.cell.key: state.message for state in cells if state.state == "failed"}
        label = next(state.record.figures["label"] for state in cells if state.state == "done")
        details = {"settings": study.settings, "config": study.cells[0].spec.config, "label": label}
        report(
            "prior",
            asked.quick,
            rows_of(study, points) + ([] if asked.study else [duration(study, minutes)]),
            {**details, "points": points, "failed": failed},
            asked.benchmark,
        )


if __name__ == "__main__":
    main()
