"""The slides' table: a generative teacher and its students with data and without, over widths and seeds.

A study of all arms (see ``dfkd_core.study.generative_table``), carried out one run at a time on one thread, every
student measured against test images. All arms get the same number of updates on equally large batches. FIDs are
compared with those of the students with data, paired by seed. Prints the table for docs/generative.md.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.common import Row, options, report, say
from dfkd_core.engine import InlineEngine
from dfkd_core.study import Conductor, Progress, Study, find
from dfkd_core.study.generative_table import ARMS, best_data_free, ratio_words, text_table
from dfkd_core.study.generative_table import notes as notes_of
from dfkd_core.study.tables import markdown, plural

KIND = find("generative")
SEEDS, WIDTHS = 3, "8"
RATIO = 1.10  # of the best data-free student's FID to that with data
SECONDS = 300.0  # of one data-free distillation on digits, the teacher in hand
TRIED = {
    "distill_steps": 3, "batch_size": 8, "synthesis_batches": 1, "synthesis_size": 8, "latent_steps": 2,
    "denoising_steps": 2,
}  # fmt: skip


def measure(asked: argparse.Namespace) -> dict[str, Any]:
    """The ``rows`` of the table, its ``notes`` and ``settings``, and the ``seconds`` of training by arm and width."""
    run = {"benchmark": asked.benchmark, "preset": asked.preset, "teacher": asked.teacher, "device": asked.device}
    knobs, measured, seeds = (TRIED, 50, 1) if asked.quick else (dict(asked.set), asked.measured, asked.seeds)
    given = {"widths": asked.widths, "seeds": range(seeds), "measured": measured, "extractor": asked.extractor}
    given |= {"arms": asked.arms} if asked.arms else {}
    with tempfile.TemporaryDirectory() as runs:
        study = KIND.begin(Path(runs), knobs=knobs, run={**run, "evaluate_every": 200, "probes_every": 0}, **given)
        engine = InlineEngine(Path(runs))
        Conductor(study, engine, after=lambda cell, record: say(KIND.ended(cell, record))).conduct()
        progress = study.progress()
        if progress.state != "done" or progress.failed:
            raise SystemExit(f"{progress.done} of {progress.total} runs are done: {progress.message}")
        return {
            "rows": KIND.table(study.settings, progress.cells),
            "notes": notes_of(progress.cells),
            "settings": study.settings,
            "seconds": trained(study, progress),
        }


def trained(study: Study, progress: Progress) -> dict[str, list[float]]:
    """Seconds of training by arm and width, measuring not among them."""
    seconds: dict[str, list[float]] = {}
    for state in progress.cells:
        name = f"{state.cell.labels['series']}, H {state.cell.labels['x']}"
        seconds.setdefault(name, []).append(study.run(state.record).status().result["seconds"])
    return seconds


def rows_of(asked: argparse.Namespace, rows: list[dict[str, Any]], seconds: dict[str, list[float]]) -> list[Row]:
    """For each width the best data-free student beside that with data; on digits what a distillation takes."""
    found = []
    for x in sorted({row["x"] for row in rows if row["x"] is not None}):
        best = best_data_free(rows, x)
        if best is None:
            continue
        arm = ARMS[best["series"]].title
        text = f"{ratio_words(best)} times ({arm}; {plural(best['pairs'], 'seed')}, paired)"
        what = f"{asked.benchmark}, H {x}: FID of the best data-free student, of that with data"
        found.append(Row(what, text, f"≤ {RATIO}", best["ratio"] <= RATIO, best["ratio"]))
    data_free = [(max(took), name) for name, took in seconds.items() if _data_free(name)]
    if data_free:
        took, slowest = max(data_free)
        target, met = (f"≤ {SECONDS:.0f} s", took <= SECONDS) if asked.benchmark == "digits" else ("", None)
        what = f"{asked.benchmark}: the longest data-free distillation ({slowest}), its evaluations included"
        found.append(Row(what, f"{took:.0f} s", target, met, took))
    return found


def _data_free(name: str) -> bool:
    return ARMS[name.split(",")[0]].method == "ukd"


def _change(text: str) -> tuple[str, Any]:
    name, _, value = text.partition("=")
    return name, json.loads(value)


def main() -> None:
    def add(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--benchmark", default="digits", help="default digits")
        parser.add_argument("--teacher", default="", help="default: the benchmark's first generative one")
        parser.add_argument("--widths", default=WIDTHS, help=f"of the students, with commas (default {WIDTHS})")
        parser.add_argument("--seeds", type=int, default=SEEDS, help=f"how many (default {SEEDS})")
        parser.add_argument("--arms", default="", help=f"some of {', '.join(ARMS)} (default: all)")
        parser.add_argument(
            "--set", nargs="*", type=_change, default=[], metavar="KNOB=VALUE", help="on top of the preset"
        )
        parser.add_argument("--preset", default="demo", help="of the methods (default demo)")
        parser.add_argument("--measured", type=int, default=1024, help="images of each network (default 1024)")
        parser.add_argument("--extractor", default="", help="of features, as in measure")
        parser.add_argument("--device", default="cpu", help="default cpu")

    asked = options("generative", __doc__, add)
    found = measure(asked)
    table = markdown(text_table(found["rows"], asked.benchmark))
    print("\n".join(["", *table, "", *found["notes"]]))
    part = "-".join([asked.benchmark, *(f"h{width}" for width in asked.widths.split(",") if asked.widths != WIDTHS)])
    rows = rows_of(asked, found["rows"], found["seconds"])
    report("generative", asked.quick, rows, {**found, "table": table}, part)


if __name__ == "__main__":
    main()
