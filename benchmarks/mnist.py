"""MNIST without its images, LeNet-5 to LeNet-5-half, beside the published figures. Needs MNIST's test set (DFKD_DATA).

Teachers: ``mnist-lenet5-plain`` and every ``mnist-lenet5-bn-*`` there is. Preset ``cpu``, one torch thread. Final
and best accuracy are reported; the published figures do not say which of the two they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from statistics import fmean
from typing import Any

from benchmarks.command import Quick, Seeds, command
from benchmarks.report import Report, Row
from benchmarks.training import carried_out, folder_of_runs, spread
from dfkd_core.runs.request import make_spec
from dfkd_core.teachers.cards import available_teachers

PUBLISHED = "DAFL 98.20 (its own), 98.1 ± 0.1 (DFAD's table); DFAD 98.3 ± 0.2"
MINUTES = 30
USUAL = tuple(
    name for name in available_teachers("mnist") if name.startswith(("mnist-lenet5-plain", "mnist-lenet5-bn"))
)


def row_of(name: str, results: list[dict[str, Any]]) -> Row:
    final, best, teachers, seconds = ([run[of] for run in results] for of in ("final", "best", "teacher", "seconds"))
    text = f"final {spread(final)}, best {spread(best)}, teacher {fmean(teachers):.2%}, "
    text += f"longest run {max(seconds) / 60:.1f} min"
    target = f"published: {PUBLISHED}; ≤ {MINUTES} min"
    return Row(name, text, target, max(seconds) <= 60 * MINUTES, fmean(final))


def measure(
    *,
    seeds: Seeds = 3,
    teachers: tuple[str, ...] = USUAL,
    student: str = "lenet5-half",
    methods: tuple[str, ...] = ("ta-dfkd",),
    quick: Quick = False,
) -> Iterator[Report]:
    changes = {"epochs": 1, "iterations": 5} if quick else {}
    fields = {"benchmark": "mnist", "preset": "cpu", "student": student, "evaluate_every": 50}
    results: dict[str, list[dict[str, Any]]] = {}
    for seed in range(1 if quick else seeds):
        for teacher in teachers:
            for method in methods:
                with folder_of_runs() as runs:
                    folder = carried_out(runs, make_spec(changes, method=method, teacher=teacher, seed=seed, **fields))
                    results.setdefault(f"{method}: {teacher} → {student}", []).append(folder.status().result)
                yield Report([row_of(*entry) for entry in results.items()], {"runs": results})  # so far: it takes hours


if __name__ == "__main__":
    command(measure)
