"""Who carries something out: one process at a time, as long as it lives, whatever the clocks say."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from conftest import eventually

from dfkd_core.errors import HeldError, StoreError, SupersededError
from dfkd_core.store import Leases, Owner, Place, lease

Start = Callable[..., subprocess.Popen[str]]
HOLDER = """
import sys, time
from pathlib import Path
from dfkd_core.store import Leases, Place
lease = Leases(Place(Path(sys.argv[1]), "run 7"), "attempts", "Take over.").take()
print(lease.number, flush=True)
time.sleep(600)
"""
STRANGER = """
import fcntl, sys, time
file = open(sys.argv[1], "w")
fcntl.flock(file, fcntl.LOCK_EX)
print("locked", flush=True)
time.sleep(600)
"""


@pytest.fixture
def leases(tmp_path: Path) -> Leases:
    (tmp_path / "run").mkdir()
    return Leases(Place(tmp_path / "run", "run 7"), "attempts", "Take over.")


def held(start: Start, leases: Leases, code: str = HOLDER) -> subprocess.Popen[str]:
    """Another process that has taken the next lease."""
    process = start("-c", code, str(leases.files.path))
    assert process.stdout.readline().strip().isdigit()
    return process


def test_a_lease_is_held_until_it_is_closed(leases: Leases) -> None:
    assert leases.holder() is None and leases.newest() == 0
    with leases.take() as first:
        owner = leases.holder()
        assert owner is not None and (owner.pid, owner.host) == (os.getpid(), socket.gethostname())
        with pytest.raises(HeldError, match=f"run 7 goes on already, in process {os.getpid()} on "):
            leases.take()
        first.check()
    assert leases.holder() is None
    with leases.take() as second:
        assert (first.number, second.number, leases.numbers()) == (1, 2, [1, 2])


def test_a_process_holds_it_until_it_dies(leases: Leases, start: Start) -> None:
    process = held(start, leases)
    owner = leases.holder()
    assert owner is not None and owner.pid == process.pid
    with pytest.raises(HeldError, match=f"process {process.pid} on {socket.gethostname()}"):
        leases.take()
    process.kill()
    eventually(lambda: leases.holder() is None)
    assert process.returncode is None, "a zombie, which nobody has waited for yet, is dead already"
    leases.take().close()


def test_neither_a_clock_nor_a_used_id_says_who_lives(
    leases: Leases, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = held(start, leases)
    real, began = time.time, psutil.Process.create_time
    monkeypatch.setattr(time, "time", lambda: real() + 1e6)
    monkeypatch.setattr(psutil.Process, "create_time", lambda self: began(self) + 1e6)
    assert leases.holder() is not None
    with pytest.raises(HeldError):
        leases.take()
    process.kill()
    eventually(lambda: leases.holder() is None)
    owner = json.loads((leases.files.path / "attempts/1/owner.json").read_text())
    leases.files.write_json("attempts/1/owner.json", {**owner, "pid": os.getpid()})
    assert leases.holder() is None, "its id was given to another process"


def test_many_who_look_disturb_neither_each_other_nor_who_begins(leases: Leases, start: Start) -> None:
    look = (
        HOLDER.replace("time.sleep(600)", "")
        .replace("lease = ", "leases = ")
        .replace(".take()\nprint(lease.number", "\nprint(0")
        + "while True: leases.holder()"
    )
    for _ in range(3):
        held(start, leases, look)
    for _ in range(200):
        with leases.take():
            assert leases.holder() is not None
        assert leases.holder() is None


def test_closing_lets_go_for_a_forgotten_copy_as_well(leases: Leases) -> None:
    mine = leases.take()
    copy = os.dup(mine.descriptor)  # as a child that was forked meanwhile has one
    mine.close()
    assert leases.holder() is None
    os.close(copy)


def test_what_has_ended_may_be_begun_again_though_its_process_is_not_gone_yet(leases: Leases) -> None:
    first = leases.take()
    with leases.take(is_over=lambda number: number == 1) as second:
        assert second.number == 2
        with pytest.raises(SupersededError, match=f"run 7: attempt 2, process {os.getpid()} on .* has taken over"):
            first.check()
    first.close()


def test_a_lease_is_handed_over_without_a_gap(leases: Leases, start: Start) -> None:
    mine = leases.take()
    process = subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[mine.descriptor], text=True
    )
    mine.give_to(process.pid)
    owner = leases.holder()
    assert owner is not None and owner.pid == process.pid
    mine.close()
    assert leases.holder() is not None, "closing what was given away takes nothing away"
    process.communicate("\n")
    assert leases.holder() is None


def test_one_who_is_too_late_is_told_who_was_quicker(leases: Leases, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both have seen that nobody holds it."""
    first = leases.take()
    monkeypatch.setattr(leases, "newest", lambda: 0)
    with pytest.raises(HeldError, match=f"run 7 was begun at the same moment, in process {os.getpid()} on "):
        leases.take()
    assert os.listdir(leases.files.path / "attempts") == ["1"], "and leaves nothing behind"
    first.check()
    first.close()


@pytest.mark.parametrize("owner", ["", "{", "[1]", '{"pid": -1, "host": "x"}', '{"pid": "x", "host": 7}', "null"])
def test_a_damaged_owner_changes_nothing_about_who_lives(leases: Leases, owner: str) -> None:
    with leases.take():
        (leases.files.path / "attempts/1/owner.json").write_text(owner)
        assert leases.holder() is not None
        with pytest.raises(HeldError, match="a process that is not named"):
            leases.take()
        leases.kill_holder()
    assert leases.holder() is None


def test_a_folder_that_cannot_be_written_to_is_said(leases: Leases) -> None:
    (leases.files.path / "attempts").write_text("no folder")
    with pytest.raises(StoreError, match="run 7: attempts is not a regular folder"):
        leases.take()


# --- other machines --------------------------------------------------------------------------------------------


def on_another_machine(leases: Leases, number: int = 1) -> None:
    owner = {"pid": os.getpid(), "host": "elsewhere", "boot": "another", "evidence": "lock"}
    leases.files.write_json(leases.file(number, "owner.json"), owner)


def test_an_owner_elsewhere_whose_lock_is_seen_to_be_held_lives(leases: Leases) -> None:
    with leases.take():
        on_another_machine(leases)
        owner = leases.holder()
        assert owner is not None and owner.seen and not owner.is_here
        with pytest.raises(HeldError, match="goes on already"):
            leases.take(take_over=True)


def test_an_owner_elsewhere_who_cannot_be_seen_is_never_taken_for_dead(leases: Leases) -> None:
    leases.take().close()
    on_another_machine(leases)
    owner = leases.holder()
    assert owner is not None and not owner.seen
    with pytest.raises(HeldError, match=r"on elsewhere, as far as can be seen from this machine\. Take over\."):
        leases.take()
    with leases.take(take_over=True) as taken:
        assert taken.number == 2
    assert leases.holder() is None


def test_what_has_ended_elsewhere_is_taken_up_here(leases: Leases) -> None:
    leases.take().close()
    on_another_machine(leases)
    leases.take(is_over=lambda number: True).close()


# --- a file system without locks -------------------------------------------------------------------------------


@pytest.fixture
def without_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(*arguments: Any) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", flock)
    monkeypatch.setattr(lease, "BEAT_SECONDS", 0.1)
    monkeypatch.setattr(lease, "PATIENCE_SECONDS", 0.6)


@pytest.mark.usefixtures("without_locks")
def test_without_locks_a_heartbeat_says_who_lives(leases: Leases) -> None:
    with leases.take() as mine:
        time.sleep(1)
        assert leases.holder() is not None
        with pytest.raises(HeldError):
            leases.take()
        received = leases.received(mine.number, os.dup(mine.descriptor))
        mine.give_to(os.getpid())
        time.sleep(1)
        assert leases.holder() is not None, "whoever was given it goes on"
        received.close()
    eventually(lambda: leases.holder() is None)
    leases.take().close()


@pytest.mark.usefixtures("without_locks")
def test_without_locks_a_clock_decides_nothing(leases: Leases) -> None:
    """A heartbeat that is far too old, or of tomorrow, is waited for before anything is begun."""
    with leases.take():
        for seconds in (-1e6, 1e6):
            then = time.time() + seconds
            os.utime(leases.files.path / "attempts/1/heartbeat", (then, then))
            with pytest.raises(HeldError):
                leases.take()
    then = time.time() + 1e6
    os.utime(leases.files.path / "attempts/1/heartbeat", (then, then))
    leases.take().close()


@pytest.mark.usefixtures("without_locks")
@pytest.mark.parametrize("ahead", [-1e6, 1e6])
def test_without_locks_it_is_seen_who_lives_whatever_this_machines_clock_says(
    leases: Leases, monkeypatch: pytest.MonkeyPatch, ahead: float
) -> None:
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + ahead)
    with leases.take():
        assert leases.holder() is not None
    time.sleep(1)
    assert leases.holder() is None


@pytest.mark.usefixtures("without_locks")
def test_without_locks_only_one_begins(leases: Leases, monkeypatch: pytest.MonkeyPatch) -> None:
    with leases.take():
        monkeypatch.setattr(leases, "newest", lambda: 0)
        with pytest.raises(HeldError, match="at the same moment"):
            leases.take()


@pytest.mark.parametrize("locks", [True, False], ids=["with locks", "without locks"])
def test_what_waits_is_entered_once_however_slow_one_is(
    leases: Leases, locks: bool, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One has found that it waits when another one enters, and is done."""
    if not locks:
        request.getfixturevalue("without_locks")
    number, owner, entered = leases.queue(), Leases.owner, list[str]()

    def enter(who: str) -> None:
        with suppress(HeldError), leases.enter(number):
            entered.append(who)

    def slowly(self: Leases, number: int) -> Owner:
        found = owner(self, number)
        monkeypatch.setattr(Leases, "owner", owner)
        enter("another")
        return found

    monkeypatch.setattr(Leases, "owner", slowly)
    enter("one")
    enter("late")
    assert len(entered) == 1


def test_a_lock_that_cannot_be_seen_from_here_is_no_death(
    leases: Leases, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same folder, mounted here without locks."""
    held(start, leases)

    def flock(*arguments: Any) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", flock)
    owner = leases.holder()
    assert owner is not None and not owner.seen
    with pytest.raises(HeldError):
        leases.take()


# --- killing ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("leads", [True, False], ids=["leading its session", "in the shell's group"])
def test_killing_hits_the_holder_and_not_its_neighbours(leases: Leases, leads: bool) -> None:
    neighbour = subprocess.Popen(["sleep", "60"], process_group=0)
    group = None if leads else neighbour.pid
    mine = leases.take()
    holder = subprocess.Popen(
        ["sh", "-c", "sleep 60; true"], start_new_session=leads, process_group=group, pass_fds=[mine.descriptor]
    )
    child = eventually(lambda: psutil.Process(holder.pid).children())[0]
    mine.give_to(holder.pid)
    try:
        leases.kill_holder()
        assert holder.wait(10) == -9 and neighbour.poll() is None
        eventually(lambda: child.is_running() is not leads or child.status() == psutil.STATUS_ZOMBIE)
        leases.kill_holder()
    finally:
        neighbour.kill()
        neighbour.wait()
        if not leads:
            child.kill()


@pytest.mark.parametrize("trick", ["named", "the id only", "linked", "with a second name", "copied"])
def test_a_stranger_who_is_named_as_the_owner_lives(leases: Leases, start: Start, tmp_path: Path, trick: str) -> None:
    """Even where the lock of the folder is the stranger's own, by a link of either kind."""
    theirs = tmp_path / "theirs"
    stranger = start("-c", STRANGER, str(theirs))
    assert stranger.stdout.readline() == "locked\n"
    mine = leases.take()
    lock, owner = (leases.files.path / "attempts/1" / name for name in ("lock", "owner.json"))
    named = {**json.loads(owner.read_text()), "pid": stranger.pid}
    if trick == "named":
        mine.close()
    elif trick != "the id only":
        lock.unlink()
        {
            "linked": lambda: lock.symlink_to(theirs),
            "with a second name": lambda: os.link(theirs, lock),
            "copied": lambda: shutil.copy(theirs, lock),
        }[trick]()
    owner.write_text(json.dumps(named))
    try:
        leases.kill_holder()
    except StoreError as error:
        assert trick == "linked" and "is a link" in str(error)
    time.sleep(0.2)
    assert stranger.poll() is None
    mine.close()


def test_this_very_process_is_not_killed(leases: Leases) -> None:
    with leases.take():
        leases.kill_holder()
