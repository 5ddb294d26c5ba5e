"""How long Inspect's layouts take: PCA while the page waits, UMAP and t-SNE as the jobs that it starts.

A made-up recorded run of 4,000 samples and 1,000 real images, 512 features each, in ten clusters. PCA is timed as the
page asks for it, reading and keeping the files included; the jobs as the page starts them, from an empty process.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
from cyclopts import Parameter

from benchmarks.command import Quick, command
from benchmarks.report import Report, Row, at_most, say
from benchmarks.timing import Stopwatch, bootstrap, repeated
from benchmarks.training import folder_of_runs
from dfkd_core.analysis.layout import EMBEDDINGS, pca
from dfkd_core.analysis.recorded import Recorded
from dfkd_core.analysis.timeline import Timeline
from dfkd_core.events import Samples
from dfkd_core.store import REAL, EventWriter, RunFolder, store_samples

CLASSES, SHEET = 10, 125
PCA_TARGET, STEP_TARGET = 500, 300  # ms


def made_up_run(runs: Path, samples: int, real: int, dimension: int) -> RunFolder:
    """A run's folder with sheets of 125 samples, in clusters like those of a teacher's features after a ReLU."""
    random = np.random.default_rng(0)
    centres = 2 * random.normal(size=(CLASSES, dimension))

    def sheet(count: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        labels = random.integers(0, CLASSES, count)
        features = np.maximum(centres[labels] + random.normal(size=(count, dimension)), 0)
        columns = {"label": labels.astype(np.int16), "features": features.astype(np.float16)}
        return np.zeros((count, 32, 32, 3), np.uint8), columns

    folder = RunFolder.create(runs, {"benchmark": "made up"})
    writer = EventWriter(folder, folder.begin_attempt().number)
    for step in range(1, samples // SHEET + 1):
        writer.add(Samples(step, *sheet(SHEET)), 0.0)
    writer.flush()
    writer.close()
    store_samples(folder, REAL, *sheet(real))
    return folder


def opened(folder: RunFolder) -> Recorded:
    """As a server sees the run that has not looked at it before."""
    recorded = Recorded(Timeline(folder))
    recorded.timeline.update()
    return recorded


def row_of(what: str, watches: list[Stopwatch], target: int) -> Row:
    """The median wall time against ``target``; a busy machine adds to it, so the CPU time stands beside it."""
    wall, cpu = (bootstrap([1000 * getattr(watch, of) for watch in watches]) for of in ("wall", "cpu"))
    return at_most(target, what, f"{wall} ms, of it {cpu.median:.3g} ms CPU time", wall.median, f"≤ {target} ms")


def measure(*, repeats: Annotated[int, Parameter(help="Of PCA.")] = 20, quick: Quick = False) -> Iterator[Report]:
    samples, real, dimension, repeats = (250, 50, 16, 2) if quick else (4000, 1000, 512, repeats)
    with folder_of_runs() as runs:
        folder = made_up_run(runs, samples, real, dimension)
        fit = repeated(lambda: pca(opened(folder), refit=True), repeats)
        layout = pca(opened(folder))
        assert layout is not None
        steps = iter(range(1, samples // SHEET + 1))
        step = repeated(lambda: layout.positions("samples", next(steps)), min(repeats, samples // SHEET))
        rows = [
            row_of(f"PCA of {samples + real:,} × {dimension}, from the files to the axes", fit, PCA_TARGET),
            row_of(f"… positions of a step of {SHEET}, read and placed", step, STEP_TARGET),
        ]
        for kind in EMBEDDINGS:
            job = [sys.executable, "-m", "dfkd_core", "layout", folder.id, "--kind", kind, "--runs", str(runs)]
            with Stopwatch() as watch:
                subprocess.run(job, check=True, capture_output=True)
            rows.append(Row(f"{kind} of the same, the whole job", f"{watch.wall:.0f} s", value=watch.wall))
            say(rows[-1].markdown())
    seconds = {name: [(watch.wall, watch.cpu) for watch in watches] for name, watches in (("pca", fit), ("step", step))}
    yield Report(rows, {"wall_and_cpu_seconds": seconds})


if __name__ == "__main__":
    command(measure)
