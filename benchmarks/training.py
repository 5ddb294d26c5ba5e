"""Runs and studies to measure, carried out to their end."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from benchmarks.report import say
from dfkd_core.engine import InlineEngine, LocalEngine
from dfkd_core.events import Event
from dfkd_core.runs.spec import RunSpec
from dfkd_core.store import RunFolder
from dfkd_core.study import Conductor, Progress, Study, find


@contextmanager
def folder_of_runs(kept: Path | None = None) -> Iterator[Path]:
    """The folder ``kept``, or one that is gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        yield kept or Path(folder)


@contextmanager
def local_engine(keep_warm: bool = True) -> Iterator[LocalEngine]:
    """A local engine on a temporary folder of runs."""
    with folder_of_runs() as runs:
        engine = LocalEngine(runs, keep_warm=keep_warm)
        try:
            yield engine
        finally:
            engine.close()


def carried_out(runs: Path, spec: RunSpec, progress: Callable[[Event], None] | None = None) -> RunFolder:
    """``spec`` in this process, to its end; its folder. Exits if the run isn't done."""
    folder = RunFolder(runs / InlineEngine(runs, progress).submit(spec))
    result_of(folder)
    return folder


def result_of(folder: RunFolder) -> dict[str, Any]:
    """What a run that has ended came to. Exits if it isn't done."""
    status = folder.status()
    if status.state != "done":
        raise SystemExit(f"run {folder.id}: {status.state}. {status.message}")
    return dict(status.result)


def conducted(study: Study) -> Progress:
    """Carry a study out, one run after the other in this process, a line for each. Exits if it was stopped, or if no
    run is done."""
    kind = find(study.kind)
    say(f"study {study.id}: {study.title}")
    Conductor(study, InlineEngine(study.runs), after=lambda cell, record: say(kind.ended(cell, record))).conduct()
    progress = study.progress()
    if progress.state != "done" or not progress.done:
        raise SystemExit(f"study {study.id}: {progress.done} of {progress.total} runs are done. {progress.message}")
    return progress


def spread(values: Sequence[float]) -> str:
    """Mean ± standard deviation of shares, in percent; one seed has no spread, and says so."""
    return f"{fmean(values):.2%}" + (f" ± {stdev(values):.2%}" if len(values) > 1 else " (1 seed)")
