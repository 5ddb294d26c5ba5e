"""Runs that are entrusted to a cluster: its queue, as files below the runs, which all its machines see.

cluster/tickets/RUN.N.json    that attempt N of a run is to be carried out, until it has ended
cluster/stops/RUN.json        that a run is to stop, and after how many seconds by force
cluster/coordinators/N/       the lease of who hands the runs out
cluster/state.json            the machines that there are

Whoever entrusts a run only writes here, so that neither has to live, or be reached, while the other does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import ConfigDict, Field, TypeAdapter
from pydantic.dataclasses import dataclass as checked

from dfkd_core.errors import StoreError
from dfkd_core.store.lease import Leases, Owner
from dfkd_core.store.place import Place
from dfkd_core.store.rows import Count

FOLDER = "cluster"
TICKETS, STOPS, STATE = "tickets", "stops", "state.json"
RESTART_SECONDS = 30.0  # a coordinator that died is started again in that time, wherever the cluster has room
WAY_OUT = "If that cluster is gone for good, delete the folder cluster beside the runs."
EPSILON = 1e-6  # three shares of 0.33 and the like
FINITE = ConfigDict(allow_inf_nan=False, extra="forbid")
Amount = Annotated[float, Field(ge=0)]


@checked(frozen=True, config=FINITE)
class Ticket:
    """``attempt`` of ``run`` is to be carried out. ``insist``: even where what it depends on has changed.

    ``deaths``: how often in a row its worker died, without a checkpoint after that of ``step``. ``folders`` are the
    settings of whoever asked for it, which say where data and teachers lie.
    """

    run: str
    attempt: Annotated[int, Field(ge=1)]
    insist: bool
    cpus: Amount
    gpus: Amount
    folders: dict[str, str]
    deaths: Count = 0
    step: Count = 0


@checked(frozen=True, config=FINITE)
class Node:
    """A machine of a cluster."""

    cpus: Amount
    gpus: Amount


@checked(frozen=True, config=FINITE)
class ClusterState:
    """What a cluster has."""

    address: str
    nodes: tuple[Node, ...]

    @property
    def cpus(self) -> float:
        return sum(node.cpus for node in self.nodes)

    @property
    def gpus(self) -> float:
        return sum(node.gpus for node in self.nodes)

    def room(self, cpus: float, gpus: float) -> int:
        """For how many runs that ask for so much, at the same time."""
        fit = [min(node.cpus // cpus, (node.gpus + EPSILON) // gpus if gpus else math.inf) for node in self.nodes]
        return int(sum(fit))

    def __str__(self) -> str:
        return f"{_many(len(self.nodes), 'node')}, {_many(self.cpus, 'CPU')}, {_many(self.gpus, 'GPU')}"


def _many(count: float, noun: str) -> str:
    return f"{count:g} {noun}{'s' * (count > 1)}" if count else f"no {noun}"


@dataclass(frozen=True)
class Stop:
    """A run is to stop; its processes are killed after ``grace`` seconds."""

    grace: Annotated[float, Field(ge=0, allow_inf_nan=False)]


_TICKET, _STOP, _STATE = TypeAdapter(Ticket), TypeAdapter(Stop), TypeAdapter(ClusterState)


class Queue:
    """What is entrusted to the cluster of the folder ``runs``."""

    def __init__(self, runs: Path) -> None:
        self.runs = Path(runs)
        self.files = Place(self.runs / FOLDER, f"the cluster of {self.runs}")
        self.leases = Leases(self.files, "coordinators", WAY_OUT)

    # --- tickets ---

    def runs_waiting(self) -> list[str]:
        """The ids of all runs with a ticket, also of those that train."""
        return sorted({run for run, _ in self._tickets()})

    def ticket(self, run: str) -> Ticket | None:
        """Of its newest attempt. Raises ``StoreError`` for one that is damaged."""
        attempt = max((number for other, number in self._tickets() if other == run), default=0)
        found = self.files.read_json(_of(TICKETS, f"{run}.{attempt}"), _TICKET) if attempt else None
        if found is not None and (found.run, found.attempt) != (run, attempt):
            raise StoreError(f"{self.files.title}: the ticket of {run} is of another run")
        return found

    def keep(self, ticket: Ticket) -> None:
        """Write it down, beside those of earlier attempts: whoever drops these, meanwhile, does not drop it."""
        self.files.write_json(_of(TICKETS, f"{ticket.run}.{ticket.attempt}"), _TICKET.dump_python(ticket))

    def drop(self, run: str, attempt: int) -> None:
        """It has ended, and so have those before."""
        for other, number in self._tickets():
            if other == run and number <= attempt:
                self.files.remove(_of(TICKETS, f"{run}.{number}"))

    def _tickets(self) -> list[tuple[str, int]]:
        """Runs and attempts."""
        parted = [name.rpartition(".") for name in _ids(self.files.names(TICKETS))]
        return [(run, int(number)) for run, _, number in parted if number.isascii() and number.isdecimal()]

    # --- stopping ---

    def ask_to_stop(self, run: str, grace: float) -> None:
        self.files.write_json(_of(STOPS, run), _STOP.dump_python(Stop(grace)), durable=False)

    def stops(self) -> list[str]:
        """Runs that are to stop."""
        return _ids(self.files.names(STOPS))

    def grace(self, run: str) -> float | None:
        """Seconds until a run that is to stop is ended by force; None if it may go on."""
        stop = self.files.read_json(_of(STOPS, run), _STOP)
        return stop.grace if stop is not None else None

    def forget_stop(self, run: str) -> None:
        self.files.remove(_of(STOPS, run))

    # --- the cluster ---

    def state(self) -> ClusterState | None:
        """What the cluster said last of itself."""
        return self.files.read_json(STATE, _STATE)

    def why_waiting(self, run: str) -> str:
        """Of a run that no worker has begun; empty where nothing is known."""
        try:
            ticket = self.ticket(run)
            state = self.state() if ticket is not None else None
        except (OSError, StoreError):
            return ""
        if ticket is None or state is None:
            return ""
        need = " and ".join(
            _many(amount, kind) for amount, kind in ((ticket.cpus, "CPU"), (ticket.gpus, "GPU")) if amount
        )
        if not any(node.cpus >= ticket.cpus and node.gpus >= ticket.gpus for node in state.nodes):
            return f"Waiting: it asks for {need}, which no machine of the cluster has ({state})"
        return f"Waiting for {need} of the cluster ({state})"

    def tell(self, state: ClusterState) -> None:
        self.files.write_json(STATE, _STATE.dump_python(state), durable=False)

    def coordinator(self) -> Owner | None:
        """Who hands the runs out; also one that died just now, since it is started again. None if nobody does."""
        owner, number = self.leases.holder(), self.leases.newest()
        if owner is not None or not number:
            return owner
        return self.leases.owner(number) if self.leases.silent_seconds(number) < RESTART_SECONDS else None

    def keeper(self, run: str, attempt: int) -> Owner | None:
        """Who sees to it that an attempt, or the one after it, is carried out, though no process does it now; None if
        nobody does."""
        try:
            ticket = self.ticket(run)
            return self.coordinator() if ticket is not None and ticket.attempt >= attempt else None
        except (OSError, StoreError):
            return None


def _of(folder: str, run: str) -> str:
    return f"{folder}/{run}.json"


def _ids(names: list[str]) -> list[str]:
    return [name.removesuffix(".json") for name in names if name.endswith(".json") and name[0] != "."]
