"""The run folder: the only channel between a run and whoever watches or steers it.

Importing this package does not import torch (``store.checkpoints`` does), so that a page can show runs at once.
"""

from dfkd_core.store.events_log import (
    COLLECTED,
    REAL,
    Cursor,
    EventReader,
    EventWriter,
    read_phases,
    read_samples,
    store_samples,
)
from dfkd_core.store.folder import (
    ACTIVE,
    STATES,
    Command,
    Owner,
    RunFolder,
    RunStatus,
    find_run,
    runs_folder,
    runs_in,
)

__all__ = [
    "ACTIVE",
    "COLLECTED",
    "REAL",
    "STATES",
    "Command",
    "Cursor",
    "EventReader",
    "EventWriter",
    "Owner",
    "RunFolder",
    "RunStatus",
    "find_run",
    "read_phases",
    "read_samples",
    "runs_folder",
    "runs_in",
    "store_samples",
]
