"""Two well-trained teachers × families of methods, as in Fig. 1a of TA-DFKD: the students' courses, final beside best.

The four families differ in the generator's terms alone (see ``dfkd_core.study.fig1a.VARIANTS``): they are not the
papers' own programs. The runs stay in ``--runs`` as studies, one a seed, which the page Lessons shows.
"""

from __future__ import annotations

import argparse
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.common import Row, options, report, say, spread
from benchmarks.prior import carry_out
from dfkd_core.store import EventReader
from dfkd_core.study import Study, find
from dfkd_core.study.fig1a import VARIANTS

SETTINGS: dict[str, dict[str, Any]] = {
    "digits": {
        "preset": "demo",
        "teachers": ["digits-resnet20-plain", "digits-lenet5-bn-mixup"],
        "changes": {},
    },
    "mnist": {
        "preset": "cpu",
        "teachers": ["mnist-lenet5-plain", "mnist-resnet8-strong"],
        "changes": {"epochs": 6},
        "evaluate_every": 25,
    },
}


def courses(study: Study) -> list[dict[str, Any]]:
    """Of each cell: its labels, result, and the curve as (step, accuracy)."""
    found = []
    for state in study.progress().cells:
        rows = EventReader(study.run(state.record)).read() if state.record.run else []
        curve = [(row["step"], row["accuracy"]) for row in rows if row["type"] == "evaluated"]
        result = {name: state.record.figures.get(name) for name in ("final", "best", "seconds")}
        found.append({**state.cell.labels, "state": state.state, "message": state.message, **result, "curve": curve})
    return found


def rows_of(benchmark: str, measured: list[dict[str, Any]]) -> list[Row]:
    """A line for each teacher and variant, over the seeds."""
    rows = []
    for teacher in dict.fromkeys(course["teacher"] for course in measured):
        for variant in VARIANTS:
            runs = [course for course in measured if (course["teacher"], course["variant"]) == (teacher, variant)]
            done = [run for run in runs if run["state"] == "done"]
            failed = f"; {len(runs) - len(done)} of {len(runs)} failed" if len(done) < len(runs) else ""
            if not done:
                rows.append(Row(f"{benchmark}: {teacher}, {variant}", runs[0]["message"]))
                continue
            final, best = spread([run["final"] for run in done]), spread([run["best"] for run in done])
            rows.append(
                Row(
                    f"{benchmark}: {teacher}, {variant}",
                    f"final {final}, best {best}{failed}",
                    value=sum(run["final"] for run in done) / len(done),
                )
            )
    return rows


def main() -> None:
    def add(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--benchmark", choices=list(SETTINGS), default="digits")
        parser.add_argument("--teachers", nargs="+", help="default: one of each kind of network")
        parser.add_argument("--seeds", type=int, default=1, help="how many (default 1)")
        parser.add_argument("--epochs", type=int, help="default: the preset's; 6 on MNIST")
        parser.add_argument("--runs", type=Path, help="keep the runs there (default: a temporary folder)")

    asked = options("fig1a", __doc__, add)
    settings = dict(SETTINGS[asked.benchmark])
    teachers = asked.teachers or settings.pop("teachers")
    settings.pop("teachers", None)
    changes = {**settings.pop("changes"), **({"epochs": asked.epochs} if asked.epochs is not None else {})}
    if asked.quick:
        changes = {"epochs": 1, "iterations": 2}
    with ExitStack() as stack:
        runs = asked.runs or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        measured: list[dict[str, Any]] = []
        for seed in range(1 if asked.quick else asked.seeds):
            run = {"benchmark": asked.benchmark, "seed": seed, **settings}
            study = find("fig1a").begin(runs, teachers=teachers, knobs=changes, run=run)
            say(f"study {study.id}: {study.title}, seed {seed}")
            carry_out(study)
            measured += [{"seed": seed, **course} for course in courses(study)]
        details = {"settings": study.settings, "config": {c.key: c.spec.config for c in study.cells}}
        rows = rows_of(asked.benchmark, measured)
        report("fig1a", asked.quick, rows, {**details, "runs": measured}, asked.benchmark)


if __name__ == "__main__":
    main()
