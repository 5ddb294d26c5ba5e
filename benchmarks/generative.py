"""The slides' table: a generative teacher and its students with data and without, over widths and seeds.

A study of all arms (see ``dfkd_core.study.generative_table``), carried out one run at a time on one thread, every
student measured against test images. All arms get the same number of updates on equally large batches. FIDs are
compared with those of the students with data, paired by seed. Prints the table for docs/generative.md.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, Any

from cyclopts import Parameter

from benchmarks.command import Benchmark, Quick, Seeds, Teacher, command
from benchmarks.report import Report, Row, at_most
from benchmarks.training import conducted, folder_of_runs, result_of
from dfkd_core.study import find
from dfkd_core.study.generative_table import ARMS, best_data_free, notes, ratio_words, text_table
from dfkd_core.study.tables import markdown, plural

KIND = find("generative")
WIDTHS = "8"
RATIO = 1.10  # of the best data-free student's FID to that with data
SECONDS = 300.0  # of one data-free distillation on digits, the teacher in hand
TRIED = {
    "distill_steps": 3, "batch_size": 8, "synthesis_batches": 1, "synthesis_size": 8, "latent_steps": 2,
    "denoising_steps": 2,
}  # fmt: skip


def rows_of(benchmark: str, table: list[dict[str, Any]], seconds: dict[str, list[float]]) -> list[Row]:
    """For each width the best data-free student beside that with data; on digits what a distillation takes."""
    found = []
    for x in sorted({row["x"] for row in table if row["x"] is not None}):
        best = best_data_free(table, x)
        if best is not None:
            text = f"{ratio_words(best)} times ({ARMS[best['series']].title}; {plural(best['pairs'], 'seed')}, paired)"
            what = f"{benchmark}, H {x}: FID of the best data-free student, of that with data"
            found.append(at_most(RATIO, what, text, best["ratio"]))
    data_free = [(max(took), name) for name, took in seconds.items() if ARMS[name.split(",")[0]].method == "ukd"]
    if data_free:
        took, slowest = max(data_free)
        what = f"{benchmark}: the longest data-free distillation ({slowest}), its evaluations included"
        held = at_most(SECONDS, what, f"{took:.0f} s", took, f"≤ {SECONDS:.0f} s")
        found.append(held if benchmark == "digits" else Row(what, held.measured, value=took))
    return found


def measure(
    *,
    benchmark: Benchmark = "digits",
    teacher: Teacher = "",
    widths: Annotated[str, Parameter(help="Of the students, with commas.")] = WIDTHS,
    seeds: Seeds = 3,
    arms: Annotated[str, Parameter(help="Not all students, with commas.")] = ",".join(ARMS),
    changes: Annotated[tuple[str, ...], Parameter("--set", help="KNOB=VALUE on top of the preset.")] = (),
    preset: Annotated[str, Parameter(help="Of the methods.")] = "demo",
    measured: Annotated[int, Parameter(help="Images of each network.")] = 1024,
    extractor: Annotated[str, Parameter(help="Of features, as in measure.")] = "",
    device: str = "cpu",
    quick: Quick = False,
) -> Iterator[Report]:
    knobs = {name: json.loads(value) for name, _, value in (change.partition("=") for change in changes)}
    knobs, measured, seeds = (TRIED, 50, 1) if quick else (knobs, measured, seeds)
    run: dict[str, Any] = {"benchmark": benchmark, "preset": preset, "teacher": teacher, "device": device}
    run |= {"evaluate_every": 200, "probes_every": 0}
    given: dict[str, Any] = {
        "widths": widths,
        "seeds": range(seeds),
        "arms": arms,
        "measured": measured,
        "extractor": extractor,
    }
    seconds: dict[str, list[float]] = {}  # of training, by arm and width
    with folder_of_runs() as runs:
        study = KIND.begin(runs, knobs=knobs, run=run, **given)
        progress = conducted(study)
        if progress.failed:
            raise SystemExit(f"study {study.id}: {progress.failed} of {progress.total} runs failed")
        for state in progress.cells:
            name = f"{state.cell.labels['series']}, H {state.cell.labels['x']}"
            seconds.setdefault(name, []).append(result_of(study.run(state.record))["seconds"])
        rows, said, settings = KIND.table(study.settings, progress.cells), notes(progress.cells), study.settings
    table = markdown(text_table(rows, benchmark))
    print("\n".join(["", *table, "", *said]))
    details = {"rows": rows, "notes": said, "settings": settings, "seconds": seconds, "table": table}
    part = "-".join([benchmark, *(f"h{width}" for width in widths.split(",") if widths != WIDTHS)])
    yield Report(rows_of(benchmark, rows, seconds), details, part)


if __name__ == "__main__":
    command(measure)
