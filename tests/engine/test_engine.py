"""The local engine: queues, kills, adoption."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from conftest import eventually, new_run, rows, student_hash, tiny_spec, write_mnist

from dfkd_core.engine import LocalEngine, local
from dfkd_core.errors import HeldError
from dfkd_core.store import Owner, Place, RunFolder, RunStatus

Start = Callable[..., subprocess.Popen[str]]
LONG = {"iterations": 100_000}


@pytest.fixture
def engines(runs: Path) -> Iterator[Callable[..., LocalEngine]]:
    """Make engines over ``runs``; at the end they are closed and every worker is killed."""
    made: list[LocalEngine] = []

    def make(**options: Any) -> LocalEngine:
        made.append(LocalEngine(runs, **{"keep_warm": False, **options}))
        return made[-1]

    yield make
    for engine in made:
        engine.close()
        for run_id in engine.poll():
            RunFolder(runs / run_id).leases.kill_holder()


def state(engine: LocalEngine, run_id: str) -> str:
    return engine.poll()[run_id].state


def training(engine: LocalEngine, knobs: dict[str, Any] | None = None, **fields: Any) -> tuple[str, RunFolder]:
    """A run that has come to its third step in a worker."""
    run_id = engine.submit(tiny_spec(knobs if knobs is not None else LONG, **fields))
    folder = RunFolder(engine.runs / run_id)
    eventually(lambda: len(rows(folder, "step")) >= 3)
    return run_id, folder


def test_a_run_that_waits_is_left_alone_by_others_until_they_stop_it(engines: Callable[..., LocalEngine]) -> None:
    engine = engines()
    _, training_folder = training(engine)
    folders = [RunFolder(engine.runs / engine.submit(tiny_spec())) for _ in range(2)]
    eventually(lambda: all("Waiting" in folder.status().message for folder in folders))
    other = engines(grace=0.0)
    for folder in folders:
        assert state(other, folder.id) == "queued" and folder.status().is_live and training_folder.status().is_live
        with pytest.raises(HeldError, match=f"in process {os.getpid()} on "):
            other.resume(folder.id)
    by_another_lab, by_the_command_line = folders
    other.stop(by_another_lab.id)
    by_the_command_line.command("stop")
    eventually(lambda: all(state(engine, folder.id) == "stopped" for folder in folders))
    assert all(rows(folder) == [] and folder.attempts() == [1] for folder in folders)
    assert training_folder.status().is_live


def test_a_stranger_whom_a_run_names_as_its_owner_is_not_killed(
    engines: Callable[..., LocalEngine], runs: Path, start: Start
) -> None:
    """Not even while somebody does hold the run."""
    folder, stranger = new_run(runs), start("-c", "input()")
    with folder.begin_attempt() as lease:
        folder.set_status(RunStatus("running"))
        folder.leases.write_owner(lease.number, replace(Owner.current(), pid=stranger.pid))
        engine = engines(grace=0.0)
        engine.stop(folder.id)
        eventually(lambda: not engine._deadlines)
        time.sleep(0.5)
    assert stranger.poll() is None


@pytest.mark.parametrize("owner", ['{"pid": -1, "host": ""}', '{"pid": "x"}', "[]"])
@pytest.mark.parametrize("status", ['{"state": "running", "owner": {"pid": -1, "started": "x"}}', "[1]"])
def test_a_damaged_folder_does_not_keep_the_lab_from_starting(
    engines: Callable[..., LocalEngine], runs: Path, owner: str, status: str
) -> None:
    folder = new_run(runs)
    with folder.begin_attempt():
        (folder.path / "attempts/1/owner.json").write_text(owner)
        (folder.path / "status.json").write_text(status)
        assert state(engines(), folder.id) in ("running", "interrupted")


def test_a_run_that_another_machine_carries_out_is_left_alone(engines: Callable[..., LocalEngine], runs: Path) -> None:
    """Its process id means nothing here, and its lock cannot be seen."""
    folder = new_run(runs)
    folder.begin_attempt().close()
    folder.set_status(RunStatus("running"))
    folder.leases.write_owner(1, Owner(os.getpid(), "elsewhere", "another"))
    engine = engines(grace=0.0)
    seen = engine.poll()[folder.id]
    assert seen.state == "running" and "on elsewhere, as far as" in seen.message and "--take-over" in seen.message
    with pytest.raises(HeldError, match=f"on elsewhere, as far as .* resume {folder.id} --take-over"):
        engine.resume(folder.id)
    engine.stop(folder.id)
    later = engine.submit(tiny_spec({"iterations": 1}))
    eventually(lambda: state(engine, later) == "done")
    assert folder_status(engine, folder.id).state == "running" and folder.attempts() == [1]


def test_a_deleted_run_in_the_queue_holds_nobody_up(engines: Callable[..., LocalEngine]) -> None:
    engine = engines()
    first, _ = training(engine)
    deleted, last = (engine.submit(tiny_spec()) for _ in range(2))
    eventually(lambda: "Waiting" in engine.poll()[last].message)
    shutil.rmtree(engine.runs / deleted)
    engine.stop(first)
    eventually(lambda: state(engine, last) == "done")


def test_the_thread_survives_a_tick_that_fails(
    engines: Callable[..., LocalEngine], monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    original, calls = local._spawn, []

    def spawn() -> Any:
        calls.append(1)
        if len(calls) < 4:
            raise OSError(12, "Cannot allocate memory")
        return original()

    monkeypatch.setattr(local, "_spawn", spawn)
    engine = engines()
    run_id = engine.submit(tiny_spec())
    eventually(lambda: state(engine, run_id) == "done")
    assert len([record for record in caplog.records if "Cannot allocate" in record.message]) == 1, "said once"


def test_a_run_whose_commands_cannot_be_read_is_tried_again_and_holds_no_other_up(
    engines: Callable[..., LocalEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, broken = Place.open, []

    def too_many(place: Place, name: str) -> Any:
        if name.endswith("control.jsonl") and place.path.name in broken:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), name)
        return opened(place, name)

    engine = engines()
    with engine._lock:  # no tick comes in between
        first, second = engine.submit(tiny_spec()), engine.submit(tiny_spec())
        broken.append(first)
        monkeypatch.setattr(Place, "open", too_many)
    eventually(lambda: state(engine, second) == "done")
    assert state(engine, first) == "queued"
    broken.clear()
    eventually(lambda: state(engine, first) == "done")


def test_where_no_status_can_be_written_it_tries_again_with_the_same_worker(
    engines: Callable[..., LocalEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    original, write, begun, refused = local._spawn, RunFolder.set_status, [], []

    def refuse(folder: RunFolder, status: Any) -> None:
        if status.state == "running" and len(refused) < 5:
            refused.append(status)
            raise OSError(errno.ENOSPC, "No space left on device")
        write(folder, status)

    monkeypatch.setattr(RunFolder, "set_status", refuse)
    monkeypatch.setattr(local, "_spawn", lambda: begun.append(1) or original())
    engine = engines()
    run_id = engine.submit(tiny_spec())
    eventually(lambda: state(engine, run_id) == "done")
    assert len(refused) == 5 and len(begun) == 1


def test_a_worker_that_dies_before_it_begins_is_noticed(
    engines: Callable[..., LocalEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> Any:
        ours, its_end = socket.socketpair()
        with its_end:
            process = subprocess.Popen(["false"], stdin=its_end, start_new_session=True)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        return local._Worker(process, ours)

    monkeypatch.setattr(local, "_spawn", broken)
    engine = engines()
    run_id = engine.submit(tiny_spec())
    eventually(lambda: "Its process died" in engine.poll()[run_id].message, 20)
    assert state(engine, run_id) == "interrupted"


def test_a_worker_that_does_not_listen_is_killed_after_the_grace_period(engines: Callable[..., LocalEngine]) -> None:
    engine = engines(grace=0.5)
    run_id, folder = training(engine)
    pid = folder.status().owner.pid
    os.kill(pid, signal.SIGSTOP)
    engine.stop(run_id)
    assert psutil.pid_exists(pid)
    eventually(lambda: state(engine, run_id) == "interrupted", 20)
    eventually(lambda: not psutil.pid_exists(pid), 20)


def test_a_run_of_another_lab_that_does_not_listen_is_killed_too_but_not_its_next_attempt(
    engines: Callable[..., LocalEngine],
) -> None:
    other, engine = engines(), engines(grace=0.5)
    run_id, folder = training(other)
    with engine._lock:  # as of an attempt that was stopped before, and resumed there since the last tick
        engine._live[run_id], engine._deadlines[run_id] = local._Going(0, None), 0.0
    eventually(lambda: not engine._deadlines)
    with engine._lock:  # that tick is over
        seen = len(rows(folder, "step"))
    eventually(lambda: len(rows(folder, "step")) > seen + 1)
    os.kill(folder.status().owner.pid, signal.SIGSTOP)
    engine.stop(run_id)
    eventually(lambda: state(engine, run_id) == "interrupted", 20)


def test_a_run_that_is_resumed_at_once_is_not_killed_for_the_stop_before(engines: Callable[..., LocalEngine]) -> None:
    engine = engines(slots=2, grace=1.0)
    run_id, folder = training(engine)
    engine._live[run_id].worker.has_done = lambda: False  # one of a GPU never says so, and takes its time to end
    engine.stop(run_id)
    eventually(lambda: state(engine, run_id) == "stopped")
    engine.resume(run_id)
    time.sleep(1.5)
    assert state(engine, run_id) == "running" and folder.attempts() == [1, 2]


def test_the_next_engine_adopts_what_still_runs_and_marks_what_does_not(engines: Callable[..., LocalEngine]) -> None:
    first = engines()
    run_id, folder = training(first)
    waiting = first.submit(tiny_spec())
    dead = new_run(first.runs)
    dead.begin_attempt().close()
    dead.set_status(RunStatus("running", step=4))
    first.close()
    assert "still waiting when the lab was closed" in folder_status(first, waiting).message
    owner = folder.status().owner

    second = engines()
    assert state(second, run_id) == "running" and folder.status().owner == owner
    assert (state(second, waiting), state(second, dead.id)) == ("interrupted", "interrupted")
    assert folder_status(second, dead.id).state == "running", "seen, but what is not ours is not written to"
    later = second.submit(tiny_spec())
    eventually(lambda: f"now {run_id}" in second.poll()[later].message)
    second.stop(run_id)
    eventually(lambda: state(second, run_id) == "stopped")
    eventually(lambda: state(second, later) == "done")


def folder_status(engine: LocalEngine, run_id: str) -> RunStatus:
    return RunFolder(engine.runs / run_id).status()


def test_an_adopted_run_that_stops_and_is_resumed_at_once_does_not_wait_for_itself(
    engines: Callable[..., LocalEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "TICK_SECONDS", 1.0)
    engine = engines()
    folder = new_run(engine.runs)
    folder.begin_attempt().close()
    engine._live[folder.id] = local._Going(1, None)  # adopted, and stopped since the last tick
    folder.set_status(RunStatus("stopped"))
    engine.resume(folder.id)
    eventually(lambda: state(engine, folder.id) == "done")


ENGINE = """
import sys, time
from pathlib import Path
from dfkd_core.engine import LocalEngine
from dfkd_core.runs.spec import read_spec
from dfkd_core.store import RunFolder
engine = LocalEngine(Path(sys.argv[1]))
run_id = engine.submit(read_spec(RunFolder(Path(sys.argv[2]))))
print(run_id, flush=True)
time.sleep(600)
"""


def test_a_run_outlives_a_killed_lab_and_the_idle_worker_does_not(
    engines: Callable[..., LocalEngine], runs: Path, tmp_path: Path, start: Start
) -> None:
    lab = start("-c", ENGINE, str(runs), str(new_run(tmp_path / "template", LONG).path))
    run_id = lab.stdout.readline().strip()
    folder = RunFolder(runs / run_id)
    eventually(lambda: len(rows(folder, "step")) >= 3)
    worker = folder.status().owner
    process = psutil.Process(worker.pid)
    assert process.ppid() == lab.pid and worker.pid == os.getsid(worker.pid) == os.getpgid(worker.pid)
    assert process.cmdline()[1:] == ["-m", "dfkd_core.runs.worker"], "not forked, not multiprocessing's spawn"
    assert process.nice() > psutil.Process(lab.pid).nice() or process.nice() == 19
    workers = eventually(lambda: _others(lab.pid, worker.pid))
    os.kill(lab.pid, signal.SIGKILL)
    lab.wait()
    eventually(lambda: not any(psutil.pid_exists(pid) for pid in workers), 30)
    engine = engines()
    assert state(engine, run_id) == "running" and folder.status().owner == worker
    seen = len(rows(folder, "step"))
    eventually(lambda: len(rows(folder, "step")) > seen)
    engine.stop(run_id)
    eventually(lambda: state(engine, run_id) == "stopped")


def _others(lab: int, worker: int) -> list[int]:
    return [child.pid for child in psutil.Process(lab).children() if child.pid != worker]


def test_closing_ends_the_idle_worker_and_the_thread(engines: Callable[..., LocalEngine]) -> None:
    engine = engines(keep_warm=True)
    idle = eventually(lambda: engine._idle)[0]
    engine.close()
    assert not idle.is_alive() and not engine._thread.is_alive()


def test_an_idle_worker_that_died_is_replaced(engines: Callable[..., LocalEngine]) -> None:
    engine = engines(keep_warm=True)
    first = eventually(lambda: engine._idle)[0]
    first.process.kill()
    eventually(lambda: engine._idle and engine._idle[0] is not first)


def test_a_worker_takes_the_next_run_that_waits_and_is_ended_when_none_does(
    engines: Callable[..., LocalEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "USED_SECONDS", 0.5)
    engine = engines()
    first, stopped = training(engine)
    folders = [RunFolder(engine.runs / engine.submit(tiny_spec())) for _ in range(2)]
    engine.stop(first)
    eventually(lambda: all(folder.status().state == "done" for folder in folders))
    owners = {folder.leases.owner(1).pid for folder in (stopped, *folders)}
    assert len(owners) == 1 and len({student_hash(folder) for folder in folders}) == 1
    eventually(lambda: not psutil.pid_exists(owners.copy().pop()))
    assert all((folder.path / "attempts/1/worker.log").exists() for folder in folders)


def test_a_worker_is_told_the_data_folder_of_the_lab(
    engines: Callable[..., LocalEngine], mnist_sized_teacher: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have been chosen after the worker was started."""
    engine = engines()
    engine._idle.append(local._spawn())
    monkeypatch.setenv("DFKD_DATA", str(write_mnist(tmp_path / "elsewhere")))
    spec = tiny_spec({"iterations": 1}, benchmark="mnist", teacher=mnist_sized_teacher)
    run_id = engine.submit(spec)
    eventually(lambda: state(engine, run_id) == "done")
    assert engine.poll()[run_id].result["measure"] == "accuracy"
