"""The default run on digits over seeds: how soon and how well, beside the same teacher queries spent otherwise.

For each seed, one after the other: TA-DFKD's default preset through the local engine with a warm worker, then
TA-DFKD without selection and the noise baseline with as many epochs as it takes to ask the teacher as often. The
seconds run from submitting (what the Start button does) to the row that a reader of the run's folder sees.
"""

from __future__ import annotations

import argparse
import statistics
from typing import Any

from benchmarks.common import Row, Trained, bootstrap, local_engine, options, report, say, spread, train
from dfkd_core.engine import LocalEngine
from dfkd_core.runs.request import make_spec
from dfkd_core.runs.spec import RunSpec

GOAL, SECONDS, FINAL = 0.95, 60.0, 0.98
RIVALS: dict[str, tuple[str, dict[str, Any]]] = {
    "selection off": ("ta-dfkd", {"selection": False}),
    "noise, gaussian": ("noise", {"kind": "gaussian"}),
    "noise, uniform": ("noise", {"kind": "uniform"}),
}


def with_budget(method: str, changes: dict[str, Any], seed: int, queries: int, teacher: str) -> RunSpec:
    """The demo preset of ``method``, as many epochs as come nearest to ``queries`` images judged by the teacher."""
    spec = make_spec(changes, method=method, preset="demo", seed=seed, teacher=teacher)
    generator_batch = 1 if method == "ta-dfkd" else 0
    epoch = (spec.config["student_steps"] + generator_batch) * spec.config["batch_size"] * spec.config["iterations"]
    return make_spec(
        {**changes, "epochs": max(1, round(queries / epoch))}, method=method, preset="demo", seed=seed, teacher=teacher
    )


def measure(engine: LocalEngine, seeds: list[int], teacher: str, quick: bool) -> dict[str, list[Trained]]:
    """All arms for every seed."""
    runs: dict[str, list[Trained]] = {"default": [], **{name: [] for name in RIVALS}}
    for seed in seeds:
        spec = make_spec({"epochs": 2} if quick else {}, seed=seed, teacher=teacher)
        runs["default"].append(train(engine, spec, GOAL))
        queries = runs["default"][-1].queries
        for name, (method, changes) in RIVALS.items():
            runs[name].append(train(engine, with_budget(method, changes, seed, queries, teacher), GOAL))
        for name, done in runs.items():
            say(
                f"seed {seed}, {name}: final {done[-1].final:.2%}, best {done[-1].best:.2%}, {done[-1].queries} queries"
            )
    return runs


def rows_of(runs: dict[str, list[Trained]]) -> list[Row]:
    """The figures of the issue."""
    default = runs["default"]
    reached = [run.reached for run in default if run.reached is not None]
    inside = [run.reached_elapsed for run in default if run.reached_elapsed is not None]
    never, least = len(default) - len(reached), min(run.final_share for run in default)
    middle = [statistics.median(values) for values in (reached, inside) if values]  # of the seeds that got there
    each = ", ".join(f"{value:.1f}" for value in reached)
    took = f"{middle[0]:.1f} s (each: {each}; {middle[1]:.1f} s of it in the run)" if middle else ""
    rows = [
        Row(
            f"Start to {GOAL:.0%} of the teacher's accuracy, median of {len(default)} seeds",
            took + (f" {never} of {len(default)} seeds never" if never else ""),
            f"≤ {SECONDS:.0f} s",
            not never and middle[0] <= SECONDS,
            middle[0] if middle else None,
        ),
        Row(
            "Share of the teacher's accuracy at the end, least of the seeds",
            f"{least:.2%}",
            f"≥ {FINAL:.0%}",
            least >= FINAL,
            least,
        ),
    ]
    for name, done in runs.items():
        final, best = spread([run.final_share for run in done]), spread([run.best_share for run in done])
        queries = statistics.fmean(run.queries for run in done)
        gain = bootstrap([run.final_share - own.final_share for run, own in zip(done, default, strict=True)])
        against = "" if name == "default" else f"; against the default {gain.percent()}"
        measured = f"final {final}, best {best}, {queries:,.0f} queries{against}"
        rows.append(
            Row(
                f"{name}: share of the teacher's accuracy",
                measured,
                value=statistics.fmean(run.final_share for run in done),
            )
        )
    return rows


def main() -> None:
    def add(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--seeds", type=int, default=5, help="how many (default 5)")
        parser.add_argument("--teacher", default="", help="default: the benchmark's usual one")

    asked = options("digits", __doc__, add)
    with local_engine() as engine:
        runs = measure(engine, list(range(1 if asked.quick else asked.seeds)), asked.teacher, asked.quick)
    report("digits", asked.quick, rows_of(runs), {"runs": runs})


if __name__ == "__main__":
    main()
