"""The run folder: the only channel between a run and whoever watches or steers it.

Importing this package does not import torch (``store.checkpoints`` does), so that a page can show runs at once.
"""

from dfkd_core.store.events_log import (
    COLLECTED,
    LOG,
    REAL,
    Cursor,
    EventReader,
    EventWriter,
    Facts,
    read_arrays,
    read_facts,
    read_phases,
    read_picture,
    read_samples,
    read_sheet,
    store_arrays,
    store_samples,
    turned,
)
from dfkd_core.store.folder import (
    ACTIVE,
    KEPT_CHECKPOINTS,
    LEFT_WAITING,
    OUT_OF_MEMORY,
    SPECS,
    STATES,
    Command,
    Commands,
    RunFolder,
    RunStatus,
    new_id,
)
from dfkd_core.store.lease import Lease, Leases, Owner
from dfkd_core.store.listing import find_run, orphans_in, remove_orphans, run_in, runs_folder, runs_in
from dfkd_core.store.place import Place, is_plain
from dfkd_core.store.queue import ClusterState, Node, Queue, Ticket
from dfkd_core.store.trash import empty_trash, restore, throw_away, thrown_away
from dfkd_core.store.verify import damage, verify
