"""Commands to a live run, in whatever process it trains."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from dfkd_core.cli.flags import RunId, Runs, run_of
from dfkd_core.errors import RequestError, StoreError
from dfkd_core.runs.spec import read_spec
from dfkd_core.store import RunFolder

Change = Annotated[str, Parameter(name="KNOB=VALUE", help="Learning rates, term weights, the threshold.")]


def pause(id: RunId, /, *, runs: Runs = None) -> int:
    """Pause a live run."""
    return _steer(run_of(runs, id), "pause")


def step(id: RunId, /, *, runs: Runs = None) -> int:
    """Do one step of a live run."""
    return _steer(run_of(runs, id), "step")


def stop(id: RunId, /, *, runs: Runs = None) -> int:
    """Stop a live run."""
    return _steer(run_of(runs, id), "stop")


def _steer(folder: RunFolder, command: str) -> int:
    _check_live(folder, f"told to {command}")
    folder.command(command)
    return 0


def change(id: RunId, /, *changes: Change, runs: Runs = None) -> int:
    """Change knobs of a live run from its next step on."""
    from dfkd_core.runs.request import check_change

    folder, asked = run_of(runs, id), {}
    for text in changes or ("",):
        name, given, value = text.partition("=")
        if not given:
            raise RequestError("change", text, "should read KNOB=VALUE, student_lr=0.05 for example.")
        asked[name.replace("-", "_")] = value
    knobs = check_change(read_spec(folder), asked)
    _check_live(folder, "changed")
    folder.command("set", **knobs)
    return 0


def _check_live(folder: RunFolder, what: str) -> None:
    status = folder.status_seen()
    if not status.is_live:
        raise StoreError(f"run {folder.id} is {status.state}; only a live run can be {what}")
