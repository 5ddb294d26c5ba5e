"""What all engines have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dfkd_core.errors import RequestError, StoreError
from dfkd_core.runs.spec import RunSpec, read_spec
from dfkd_core.store import Lease, RunFolder, RunStatus, find_run, runs_in


def take_up(folder: RunFolder, take_over: bool = False) -> Lease | None:
    """What resuming means: a new attempt at a run that has ended, or None where a paused one was told to go on.

    Raises ``HeldError`` while it goes on, and ``StoreError`` when it is done or its device is not here. ``take_over``:
    also from an owner on a machine that is gone for good.
    """
    if not take_over and go_on(folder):
        return None
    from dfkd_core.runs.request import check_device  # imports torch

    device = read_spec(folder).device
    try:
        check_device(device)
    except RequestError:
        said = f"it trains on {device}, which this machine has not; resume it on one that has"
        raise StoreError(f"run {folder.id}: {said}") from None
    return folder.begin_attempt(take_over)


def go_on(folder: RunFolder) -> bool:
    """Tell a run that is alive to go on; whether it was paused, and so does."""
    status = folder.status()
    if status.is_live:
        folder.command("resume")  # also for one that waits for room on a disk too full to say so
    return status.is_live and status.state == "paused"


class Engine(ABC):
    """Submits runs into the folder ``runs`` and steers them. ``slots``: how many train at once, as far as is known;
    whoever has many runs need not hold them back, since what is submitted beyond that waits its turn."""

    slots = 1
    in_this_thread = False  # ``submit`` and ``resume`` return when the run has ended

    def __init__(self, runs: Path) -> None:
        self.runs = Path(runs)

    @property
    @abstractmethod
    def title(self) -> str:
        """What it is and what it has, in a line."""

    def room(self, specs: Sequence[RunSpec]) -> int:
        """How many of these runs it makes sense to have train at once, on each device."""
        return 1

    def make_room(self, slots: int) -> None:  # noqa: B027 - most need not
        """Let as many train at once on each device, for as long as the engine lives."""

    @abstractmethod
    def submit(self, spec: RunSpec) -> str:
        """Start, or queue, a run; returns its id."""

    @abstractmethod
    def resume(self, run_id: str, insist: bool = False) -> None:
        """Go on with a paused, stopped, failed or interrupted run. ``insist``: even where what it depends on has
        changed."""

    def pause(self, run_id: str) -> None:
        find_run(self.runs, run_id).command("pause")

    def one_step(self, run_id: str) -> None:
        find_run(self.runs, run_id).command("step")

    def change(self, run_id: str, knobs: dict[str, Any]) -> None:
        """Other values of live knobs (``request.check_change`` has seen them), from the next step on."""
        find_run(self.runs, run_id).command("set", **knobs)

    def stop(self, run_id: str) -> None:
        find_run(self.runs, run_id).command("stop")

    def poll(self) -> dict[str, RunStatus]:
        """The status of every run in the folder."""
        return {folder.id: folder.status_seen() for folder in runs_in(self.runs)}

    @abstractmethod
    def close(self) -> None:
        """Let go of what it holds; runs that train go on."""
