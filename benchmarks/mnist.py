"""MNIST without its images, LeNet-5 to LeNet-5-half, beside the published figures. Needs MNIST's test set (DFKD_DATA).

Teachers: ``mnist-lenet5-plain`` and every ``mnist-lenet5-bn-*`` there is. Preset ``cpu``, one torch thread. Final
and best accuracy are reported; the published figures do not say which of the two they are.
"""

from __future__ import annotations

import argparse
import statistics

from benchmarks.common import Row, Trained, local_engine, options, report, say, spread, train
from dfkd_core.data.catalogue import find_benchmark
from dfkd_core.runs.request import make_spec
from dfkd_core.teachers.cards import available_teachers

PUBLISHED = "DAFL 98.20 (its own), 98.1 ± 0.1 (DFAD's table); DFAD 98.3 ± 0.2"
MINUTES = 30


def default_teachers() -> list[str]:
    """The plain LeNet-5 first, then those with BatchNorm."""
    names = available_teachers("mnist")
    return [name for name in names if name == "mnist-lenet5-plain" or name.startswith("mnist-lenet5-bn")]


def rows_of(runs: dict[str, list[Trained]]) -> list[Row]:
    rows = []
    for name, done in runs.items():
        final, best = spread([run.final for run in done]), spread([run.best for run in done])
        minutes = max(run.seconds for run in done) / 60
        teacher = statistics.fmean(run.teacher for run in done)
        measured = f"final {final}, best {best}, teacher {teacher:.2%}, longest run {minutes:.1f} min"
        target = f"published: {PUBLISHED}; ≤ {MINUTES} min"
        rows.append(Row(name, measured, target, minutes <= MINUTES, statistics.fmean(run.final for run in done)))
    return rows


def main() -> None:
    def add(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--seeds", type=int, default=3, help="how many (default 3)")
        parser.add_argument("--teachers", nargs="+", help="default: plain and with BatchNorm")
        parser.add_argument("--student", default="lenet5-half", help="default: lenet5-half")
        parser.add_argument("--methods", nargs="+", default=["ta-dfkd"], help="default: ta-dfkd")

    asked = options("mnist", __doc__, add)
    if not find_benchmark("mnist").is_there():
        raise SystemExit("MNIST is not there: set DFKD_DATA, or python -m dfkd_core benchmarks download mnist")
    teachers = asked.teachers or default_teachers()
    if not teachers:
        raise SystemExit("there is no MNIST teacher yet: python -m dfkd_core teachers")
    changes = {"epochs": 1, "iterations": 5} if asked.quick else {}
    runs: dict[str, list[Trained]] = {}
    with local_engine() as engine:
        for seed in range(1 if asked.quick else asked.seeds):
            for teacher in teachers:
                for method in asked.methods:
                    spec = make_spec(
                        changes,
                        benchmark="mnist",
                        method=method,
                        preset="cpu",
                        teacher=teacher,
                        student=asked.student,
                        seed=seed,
                        evaluate_every=50,
                    )
                    done = train(engine, spec)
                    say(f"seed {seed}, {method}, {teacher}: final {done.final:.2%}, {done.seconds:.0f} s")
                    runs.setdefault(f"{method}: {teacher} → {asked.student}", []).append(done)
                    report("mnist", asked.quick, rows_of(runs), {"runs": runs})  # so far: a run takes half an hour


if __name__ == "__main__":
    main()
