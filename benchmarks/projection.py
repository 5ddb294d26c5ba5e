"""How long Inspect's layouts take: PCA while the page waits, UMAP and t-SNE as the jobs that it starts.

A made-up recorded run of 4,000 samples and 1,000 real images, 512 features each, in ten clusters. PCA is timed as the
page asks for it, reading and keeping the files included; the jobs as the page starts them, from an empty process.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.common import Row, bootstrap, options, report, say
from dfkd_core.analysis.layout import EMBEDDINGS, pca
from dfkd_core.analysis.recorded import Recorded
from dfkd_core.analysis.timeline import Timeline
from dfkd_core.events import Samples
from dfkd_core.store import REAL, EventWriter, RunFolder, store_samples

CLASSES, SHEET = 10, 125
PCA_TARGET, STEP_TARGET = 500.0, 300.0  # ms


def made_up_run(runs: Path, samples: int, real: int, dimension: int) -> RunFolder:
    """A run's folder with sheets of 125 samples, in clusters like those of a teacher's features after a ReLU."""
    random = np.random.default_rng(0)
    centres = 2 * random.normal(size=(CLASSES, dimension))

    def columns(count: int) -> dict[str, np.ndarray]:
        labels = random.integers(0, CLASSES, count)
        features = np.maximum(centres[labels] + random.normal(size=(count, dimension)), 0)
        return {"label": labels.astype(np.int16), "features": features.astype(np.float16)}

    folder = RunFolder.create(runs, {"benchmark": "made up"})
    writer = EventWriter(folder, folder.begin_attempt().number)
    for step in range(1, samples // SHEET + 1):
        writer.add(Samples(step, np.zeros((SHEET, 32, 32, 3), np.uint8), columns(SHEET)), 0.0)
    writer.flush()
    writer.close()
    store_samples(folder, REAL, np.zeros((real, 32, 32, 3), np.uint8), columns(real))
    return folder


def opened(folder: RunFolder) -> Recorded:
    """As a server sees the run that has not looked at it before."""
    recorded = Recorded(Timeline(folder))
    recorded.timeline.update()
    return recorded


@dataclass(frozen=True)
class Timed:
    """Each repeat's wall and CPU time in milliseconds."""

    wall: list[float]
    cpu: list[float]

    def row(self, what: str, target: float) -> Row:
        """The median wall time against ``target``; a busy machine adds to it, so the CPU time stands beside it."""
        wall, cpu = bootstrap(self.wall), bootstrap(self.cpu)
        measured = f"{wall} ms, of it {cpu.median:.3g} ms CPU time"
        return Row(what, measured, f"≤ {target:.0f} ms", wall.median <= target, wall.median)


def timed(action: Callable[[], object], repeats: int) -> Timed:
    """Do ``action`` that often."""
    found = Timed([], [])
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        action()
        found.wall.append(1000 * (time.perf_counter() - wall))
        found.cpu.append(1000 * (time.process_time() - cpu))
    return found


def job_seconds(folder: RunFolder, kind: str) -> float:
    """Seconds of the command that the page's job is."""
    arguments = ["layout", folder.id, "--kind", kind, "--runs", str(folder.path.parent)]
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "dfkd_core", *arguments], check=True, capture_output=True)
    return time.perf_counter() - started


def main() -> None:
    def add(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--repeats", type=int, default=20, help="of PCA (default 20)")

    asked = options("projection", __doc__, add)
    samples, real, dimension, repeats = (250, 50, 16, 2) if asked.quick else (4000, 1000, 512, asked.repeats)
    size = f"{samples + real:,} × {dimension}"
    with tempfile.TemporaryDirectory() as runs:
        folder = made_up_run(Path(runs), samples, real, dimension)
        fit = timed(lambda: pca(opened(folder), refit=True), repeats)
        layout = pca(opened(folder))
        assert layout is not None
        steps = iter(range(1, samples // SHEET + 1))
        step = timed(lambda: layout.positions("samples", next(steps)), min(repeats, samples // SHEET))
        rows = [
            fit.row(f"PCA of {size}, from the files to the axes", PCA_TARGET),
            step.row(f"… positions of a step of {SHEET}, read and placed", STEP_TARGET),
        ]
        say(rows[0].markdown())
        details: dict[str, object] = {"pca_ms": fit, "step_ms": step}
        for kind in EMBEDDINGS:
            seconds = job_seconds(folder, kind)
            say(f"{kind} {seconds:.1f} s")
            details[f"{kind}_s"] = seconds
            rows.append(Row(f"{kind} of the same, the whole job", f"{seconds:.0f} s", value=seconds))
    report("projection", asked.quick, rows, details)


if __name__ == "__main__":
    main()
