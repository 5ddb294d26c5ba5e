"""What all engines have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from dfkd_core.errors import RequestError, StoreError
from dfkd_core.store import RunFolder, RunStatus


def find_run(runs: Path, run_id: str) -> RunFolder:
    """The run ``run_id`` below ``runs``; a unique beginning or end of the id will do.

    Raises ``RequestError`` if there is none or more than one.
    """
    names = [path.name for path in runs.iterdir()] if runs.is_dir() else []
    exact = [name for name in names if name == run_id]
    fitting = exact or [name for name in names if run_id and (name.startswith(run_id) or name.endswith(run_id))]
    if len(fitting) != 1:
        problem = "fits several runs" if fitting else "is not the id of a run"
        raise RequestError("run", run_id, f"{problem} in {runs}; `python -m dfkd_core runs` lists them.")
    return RunFolder(runs / fitting[0])


def begin_again(folder: RunFolder) -> int:
    """A new attempt at a run that has ended. Raises ``StoreError`` while it goes on or when it is done."""
    status = folder.status()
    if status.is_live:
        raise StoreError(f"run {folder.id} is {status.state} already; stop it first")
    if status.state == "done":
        raise StoreError(f"run {folder.id} is done; there is nothing left to resume")
    return folder.begin_attempt()


class Engine(Protocol):
    """Submits runs and steers them. ``spec`` is a ``RunSpec`` as plain data."""

    def submit(self, spec: dict[str, Any]) -> str:
        """Start, or queue, a run; returns its id."""

    def resume(self, run_id: str) -> None:
        """Go on with a paused, stopped, failed or interrupted run."""

    def pause(self, run_id: str) -> None: ...

    def one_step(self, run_id: str) -> None: ...

    def change(self, run_id: str, knobs: dict[str, Any]) -> None:
        """Other values of live knobs (``spec.check_change`` has seen them), from the next step on."""

    def stop(self, run_id: str) -> None: ...

    def poll(self) -> dict[str, RunStatus]: ...

    def close(self) -> None: ...
