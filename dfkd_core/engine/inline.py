"""Runs in the calling thread: command line, notebooks, tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dfkd_core.engine.base import take_up
from dfkd_core.runs.loop import Progress, run
from dfkd_core.runs.spec import RunSpec
from dfkd_core.store import RunFolder, RunStatus, find_run, runs_in


class InlineEngine:
    """``submit`` and ``resume`` return when the run has ended; another thread may steer it meanwhile."""

    def __init__(self, runs: Path, progress: Progress | None = None) -> None:
        self.runs, self.progress = Path(runs), progress

    def submit(self, spec: RunSpec) -> str:
        folder = RunFolder.create(self.runs, spec.model_dump())
        run(folder, folder.begin_attempt(), self.progress)
        return folder.id

    def resume(self, run_id: str) -> None:
        folder = find_run(self.runs, run_id)
        if (lease := take_up(folder)) is not None:
            run(folder, lease, self.progress)

    def pause(self, run_id: str) -> None:
        find_run(self.runs, run_id).command("pause")

    def one_step(self, run_id: str) -> None:
        find_run(self.runs, run_id).command("step")

    def change(self, run_id: str, knobs: dict[str, Any]) -> None:
        find_run(self.runs, run_id).command("set", **knobs)

    def stop(self, run_id: str) -> None:
        find_run(self.runs, run_id).command("stop")

    def poll(self) -> dict[str, RunStatus]:
        return {folder.id: folder.status() for folder in runs_in(self.runs)}

    def close(self) -> None:
        """Nothing to let go of."""
