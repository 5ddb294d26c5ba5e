"""What all engines have in common."""

from __future__ import annotations

from typing import Any, Protocol

from dfkd_core.errors import StoreError
from dfkd_core.store import RunFolder, RunStatus


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
