"""What all engines have in common."""

from __future__ import annotations

from typing import Any, Protocol

from dfkd_core.runs.spec import RunSpec
from dfkd_core.store import Lease, RunFolder, RunStatus


def take_up(folder: RunFolder, take_over: bool = False) -> Lease | None:
    """What resuming means: a new attempt at a run that has ended, or None where a paused one was told to go on.

    Raises ``HeldError`` while it goes on, and ``StoreError`` when it is done. ``take_over``: also from an owner on a
    machine that is gone for good.
    """
    status = folder.status()
    if status.is_live and not take_over:
        folder.command("resume")  # also for one that waits for room on a disk too full to say so
        if status.state == "paused":
            return None
    return folder.begin_attempt(take_over)


class Engine(Protocol):
    """Submits runs and steers them."""

    def submit(self, spec: RunSpec) -> str:
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
