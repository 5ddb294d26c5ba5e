"""The run folder: the only channel between a run and whoever watches or steers it."""

from dfkd_core.store.checkpoints import load_checkpoint, save_checkpoint
from dfkd_core.store.events_log import Cursor, EventReader, EventWriter, read_samples
from dfkd_core.store.folder import ACTIVE, STATES, Owner, RunFolder, RunStatus, runs_in

__all__ = [
    "ACTIVE",
    "STATES",
    "Cursor",
    "EventReader",
    "EventWriter",
    "Owner",
    "RunFolder",
    "RunStatus",
    "load_checkpoint",
    "read_samples",
    "runs_in",
    "save_checkpoint",
]
