"""Runs in the calling thread: command line, notebooks, tests."""

from __future__ import annotations

from pathlib import Path

from dfkd_core.engine.base import Engine, take_up
from dfkd_core.runs.loop import Progress, run
from dfkd_core.runs.spec import RunSpec
from dfkd_core.store import RunFolder, find_run


class InlineEngine(Engine):
    """``submit`` and ``resume`` return when the run has ended; another thread may steer it meanwhile."""

    def __init__(self, runs: Path, progress: Progress | None = None) -> None:
        super().__init__(runs)
        self.progress = progress

    def submit(self, spec: RunSpec) -> str:
        folder, lease = RunFolder.begin(self.runs, spec.model_dump())
        run(folder, lease, self.progress)
        return folder.id

    def resume(self, run_id: str, insist: bool = False) -> None:
        folder = find_run(self.runs, run_id)
        if (lease := take_up(folder)) is not None:
            run(folder, lease, self.progress, insist)

    def close(self) -> None:
        """Nothing to let go of."""
