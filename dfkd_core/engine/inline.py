"""Runs in the calling thread: command line, notebooks, tests."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dfkd_core.engine.base import Engine, take_up
from dfkd_core.runs.spec import RunSpec
from dfkd_core.store import Lease, RunFolder, find_run

if TYPE_CHECKING:
    from dfkd_core.runs.loop import Progress


class InlineEngine(Engine):
    """``submit`` and ``resume`` return when the run has ended; another thread may steer it meanwhile."""

    in_this_thread = True

    def __init__(self, runs: Path, progress: Progress | None = None) -> None:
        super().__init__(runs)
        self.progress = progress

    @property
    def title(self) -> str:
        return "this process, one run after the other"

    def submit(self, spec: RunSpec) -> str:
        folder, lease = RunFolder.begin(self.runs, spec.model_dump())
        self._run(folder, lease)
        return folder.id

    def resume(self, run_id: str, insist: bool = False) -> None:
        folder = find_run(self.runs, run_id)
        if (lease := take_up(folder)) is not None:
            self._run(folder, lease, insist)

    def _run(self, folder: RunFolder, lease: Lease, insist: bool = False) -> None:
        from dfkd_core.runs.loop import run  # imports torch

        run(folder, lease, self.progress, insist)

    def close(self) -> None:
        """Nothing to let go of."""
