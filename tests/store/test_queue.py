"""Runs that are entrusted to a cluster: who answers for them while no process carries them out."""

from __future__ import annotations

import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import eventually, execute, rows
from running import at_step
from tampering import flip

from dfkd_core.errors import HeldError, StoreError, SupersededError
from dfkd_core.runs.loop import run
from dfkd_core.store import (
    ClusterState,
    Lease,
    Leases,
    Node,
    Owner,
    Queue,
    RunFolder,
    RunStatus,
    Ticket,
    lease,
    queue,
    throw_away,
)


@pytest.fixture
def cluster(runs: Path) -> Queue:
    """The queue of ``runs``, without a coordinator."""
    (runs / "cluster").mkdir(parents=True)
    return Queue(runs)


def entrusted(cluster: Queue, folder: RunFolder) -> Ticket:
    ticket = Ticket(folder.id, folder.queue_attempt(), False, 1, 0, {})
    cluster.keep(ticket)
    return ticket


def coordinated(cluster: Queue) -> Lease:
    return cluster.leases.take(beats=True)


def elsewhere(folder: RunFolder, attempt: int) -> None:
    """Its worker is on another machine, which does not show its locks here."""
    folder.leases.write_owner(attempt, Owner(os.getpid(), "elsewhere", "another", evidence="both"))


def test_a_run_in_the_queue_is_alive_while_its_coordinator_is(cluster: Queue, tiny: RunFolder) -> None:
    with coordinated(cluster):
        ticket = entrusted(cluster, tiny)
        seen = tiny.status_seen()
        assert (seen.state, seen.is_live, seen.attempt, cluster.runs_waiting()) == ("queued", True, 1, [tiny.id])
        with pytest.raises(HeldError, match=f"run {tiny.id} goes on already, in process {os.getpid()} on "):
            tiny.begin_attempt()
        assert cluster.ticket(tiny.id) == ticket
        cluster.drop(tiny.id, 1)
        assert tiny.status_seen().state == "interrupted" and cluster.runs_waiting() == []
    assert execute(tiny).state == "done"


def test_a_coordinator_that_died_is_missed_only_after_a_while(
    cluster: Queue, tiny: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is started again, meanwhile nobody should think that its runs have ended."""
    coordinated(cluster).close()
    entrusted(cluster, tiny)
    assert tiny.status_seen().is_live
    with monkeypatch.context() as with_another_clock:
        with_another_clock.setattr(time, "time", lambda real=time.time: real() + 60)
        assert tiny.status_seen().is_live
    monkeypatch.setattr(queue, "RESTART_SECONDS", 0.0)
    assert tiny.status_seen().state == "interrupted"
    tiny.begin_attempt().close()


def test_only_one_coordinator_hands_out(cluster: Queue) -> None:
    with coordinated(cluster), pytest.raises(HeldError, match="the cluster of .* goes on already, in process"):
        coordinated(cluster)


def test_one_process_enters_an_attempt_and_no_later_one_does_so_again(cluster: Queue, tiny: RunFolder) -> None:
    number, entered, late = tiny.queue_attempt(), list[Lease](), list[StoreError]()
    together = threading.Barrier(4)

    def enter() -> None:
        together.wait()
        try:
            entered.append(tiny.leases.enter(number))
        except StoreError as error:
            late.append(error)

    threads = [threading.Thread(target=enter) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(entered) == 1 and len(late) == 3 and all(isinstance(error, HeldError) for error in late)
    assert run(tiny, entered[0]).state == "done"
    with pytest.raises(HeldError, match="was begun already"):
        tiny.leases.enter(number)


def test_who_wakes_up_late_finds_a_later_attempt_and_writes_nothing(cluster: Queue, tiny: RunFolder) -> None:
    first = tiny.queue_attempt()
    asleep = tiny.leases.enter(first)
    second = tiny.leases.queue(is_over=lambda number: True)  # its machine was taken for dead
    status = run(tiny, asleep)
    assert status.state == "interrupted" and "taken over" in status.message
    with pytest.raises(StoreError):
        tiny.leases.enter(first)
    assert rows(tiny) == [] and tiny.status().state == "queued"
    assert run(tiny, tiny.leases.enter(second)).state == "done" and tiny.attempts() == [1, 2]


def test_what_was_never_begun_is_not_entered_when_a_later_attempt_was(cluster: Queue, tiny: RunFolder) -> None:
    first = tiny.queue_attempt()
    tiny.leases.queue()
    with pytest.raises(SupersededError, match="attempt 2 has taken over from 1"):
        tiny.leases.enter(first)


def test_a_ticket_keeps_no_other_attempt_alive(cluster: Queue, tiny: RunFolder) -> None:
    with coordinated(cluster):
        entrusted(cluster, tiny)
        later = tiny.leases.queue(is_over=lambda number: True)
        tiny.set_status(RunStatus("running", attempt=later))
        assert tiny.status_seen().state == "interrupted"


def test_a_heartbeat_decides_about_a_worker_on_another_machine(
    cluster: Queue, tiny: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "BEAT_SECONDS", 0.1)
    monkeypatch.setattr(lease, "PATIENCE_SECONDS", 1.0)
    number = tiny.queue_attempt()
    tiny.set_status(RunStatus("running", attempt=number))
    worker = tiny.leases.enter(number)
    elsewhere(tiny, number)
    os.rename(tiny.path / "attempts/1/lock", tiny.path / "theirs")  # what is seen here is not locked
    (tiny.path / "attempts/1/lock").touch()
    owner = tiny.status_seen().owner
    assert owner is not None and owner.host == "elsewhere" and owner.seen
    with pytest.raises(HeldError, match="goes on already, in process .* on elsewhere"):
        tiny.begin_attempt()
    with monkeypatch.context() as with_its_clock_set:
        with_its_clock_set.setattr(Leases, "silent_seconds", lambda leases, number: 3600.0)
        with pytest.raises(StoreError, match="stop it before it is deleted"):
            throw_away(tiny)
    worker.close()
    time.sleep(0.2)
    eventually(lambda: tiny.status_seen().state == "interrupted")
    assert execute(tiny).state == "done"


def test_a_damaged_ticket_keeps_nothing_alive_and_is_named(cluster: Queue, tiny: RunFolder) -> None:
    with coordinated(cluster):
        entrusted(cluster, tiny)
        flip(cluster.files.path / f"tickets/{tiny.id}.1.json", 99)
        assert tiny.status_seen().state == "interrupted"
        with pytest.raises(StoreError, match=f"tickets/{tiny.id}.1.json is damaged"):
            cluster.ticket(tiny.id)


def test_what_waits_says_for_what(cluster: Queue, tiny: RunFolder) -> None:
    with coordinated(cluster):
        ticket = entrusted(cluster, tiny)
        assert tiny.status_seen().message == "Starting"
        cluster.tell(ClusterState("head:1", (Node(2, 0), Node(1, 1))))
        assert tiny.status_seen().message == "Waiting for 1 CPU of the cluster (2 nodes, 3 CPUs, 1 GPU)"
        cluster.keep(replace(ticket, cpus=2, gpus=0.5))
        assert "asks for 2 CPUs and 0.5 GPU, which no machine of the cluster has" in tiny.status_seen().message


def test_a_signal_stops_a_run_but_not_one_that_the_cluster_goes_on_with(cluster: Queue, tiny: RunFolder) -> None:
    """As when a machine is shut down."""
    with coordinated(cluster):
        ticket = entrusted(cluster, tiny)
        terminate = at_step(2, lambda: os.kill(os.getpid(), signal.SIGTERM))
        assert run(tiny, tiny.leases.enter(ticket.attempt), terminate).state == "queued"
        seen = tiny.status_seen()
        assert (seen.state, seen.is_live, seen.step) == ("queued", True, 2)
        cluster.drop(tiny.id, ticket.attempt)
    assert execute(tiny, at_step(4, lambda: os.kill(os.getpid(), signal.SIGINT))).state == "stopped"
