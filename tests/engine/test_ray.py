"""The Ray engine: what a cluster adds to the contract. ``make test-slow`` runs these."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from command import FLAGS, call
from conftest import TINY, eventually, new_run, rows, tiny_spec
from harnesses import (
    LONG,
    OFTEN,
    SOME,
    Harness,
    cluster,
    ends_clusters,  # noqa: F401 - after all tests here
    harness,  # noqa: F401 - a fixture
    made,
    undisturbed,  # noqa: F401 - a fixture
)
from running import assert_bit_identical
from studying import plain_study

from benchmarks.clusters import begin_cluster, begin_node, end_cluster
from dfkd_core.engine import find
from dfkd_core.engine import ray as on_ray
from dfkd_core.errors import RequestError
from dfkd_core.store import Queue, RunFolder, RunStatus
from dfkd_core.store.queue import ClusterState, Node
from dfkd_core.study import Conductor

if TYPE_CHECKING:
    from dfkd_core.engine.coordinator import Coordinator

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def kind() -> str:
    return "ray"


def test_without_ray_it_is_said_what_to_install(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_ray, "find_spec", lambda name: None)
    with pytest.raises(RequestError, match=r"^engine = 'ray': needs the package ray: pip install"):
        find("ray", runs)


@pytest.fixture
def engine(runs: Path, monkeypatch: pytest.MonkeyPatch) -> on_ray.RayEngine:
    """That of a cluster that nobody is."""
    monkeypatch.setattr(on_ray, "find_spec", lambda name: name)
    monkeypatch.setattr(on_ray.RayEngine, "_reach", lambda engine: None)
    return on_ray.RayEngine(runs)


def test_a_stop_that_nobody_has_read_yet_does_not_stop_what_is_resumed(runs: Path, engine: on_ray.RayEngine) -> None:
    """The run may obey before the coordinator has looked."""
    folder = new_run(runs)
    with folder.begin_attempt():
        folder.set_status(RunStatus("stopped", attempt=1))
    engine.queue.ask_to_stop(folder.id, 30.0)
    engine.resume(folder.id)
    assert engine.queue.runs_waiting() == [folder.id] and engine.queue.stops() == []


def test_a_study_has_as_many_runs_at_a_time_as_the_cluster_has_room_for(runs: Path, engine: on_ray.RayEngine) -> None:
    """Machine by machine, whatever this one has."""
    engine.queue.tell(ClusterState("there", (Node(65.0, 2.0), Node(3.0, 0.0))))
    on_cpu, on_gpu = tiny_spec(threads=2), tiny_spec().model_copy(update={"device": "cuda:0", "gpu_share": 0.5})
    assert (engine.room([on_cpu]), engine.room([on_gpu])) == (33, 4)
    assert engine.room([on_cpu.model_copy(update={"threads": 100})]) == 1, "it waits, and says so"
    study = plain_study(runs, 40)
    conductor = Conductor(study, engine)
    conductor.start()
    assert conductor.slots == 68
    eventually(lambda: len(engine.queue.runs_waiting()) == 40)
    study.ask_to_stop()
    eventually(lambda: not study.is_conducted())


class _Tasks:
    """Ray, as the coordinator sees it: tasks that nobody carries out."""

    def __init__(self) -> None:
        self.handed: list[str] = []
        self.ended: dict[str, Exception | None] = {}

    def options(self, **amounts: float) -> _Tasks:
        return self

    def remote(self, path: str, attempt: int, *rest: Any) -> str:
        self.handed.append(f"{Path(path).name} {attempt}")
        return self.handed[-1]

    def wait(self, tasks: list[str], **options: Any) -> tuple[list[str], list[str]]:
        return [task for task in tasks if task in self.ended], []

    def get(self, task: str) -> None:
        if (problem := self.ended[task]) is not None:
            raise problem

    def nodes(self) -> list[dict[str, Any]]:
        return []


@pytest.fixture
def tasks() -> _Tasks:
    return _Tasks()


@pytest.fixture
def coordinator(
    runs: Path, engine: on_ray.RayEngine, tasks: _Tasks, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Coordinator]:
    """The one that ``engine`` entrusts runs to. It does nothing by itself."""
    pytest.importorskip("ray")
    from dfkd_core.engine import coordinator

    monkeypatch.setattr(coordinator, "ray", tasks)
    monkeypatch.setattr(coordinator, "_ON_CPU", tasks)
    monkeypatch.setattr(coordinator.Coordinator, "_loop", lambda coordinator: None)
    made = coordinator.Coordinator(str(runs), "there:1")
    yield made
    made.lease.close()


def test_a_run_that_is_resumed_at_the_moment_its_task_is_heard_of_is_handed_out(
    runs: Path, engine: on_ray.RayEngine, coordinator: Coordinator, tasks: _Tasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, drop = RunFolder(runs / engine.submit(tiny_spec())), Queue.drop
    coordinator._tick()
    with folder.leases.enter(1):
        folder.set_status(RunStatus("stopped", attempt=1))
    tasks.ended[f"{folder.id} 1"] = None

    def meanwhile(queue: Queue, *what: Any) -> None:
        monkeypatch.setattr(Queue, "drop", drop)
        engine.resume(folder.id)
        drop(queue, *what)

    monkeypatch.setattr(Queue, "drop", meanwhile)
    coordinator._tick()
    coordinator._tick()
    assert tasks.handed == [f"{folder.id} 1", f"{folder.id} 2"]
    assert (folder.status_seen().state, engine.queue.runs_waiting()) == ("queued", [folder.id])


def test_a_run_that_is_deleted_while_it_waits_is_forgotten(
    runs: Path, engine: on_ray.RayEngine, coordinator: Coordinator, tasks: _Tasks
) -> None:
    gone = engine.submit(tiny_spec())
    shutil.rmtree(runs / gone)
    coordinator._tick()
    assert engine.queue.runs_waiting() == [] and tasks.handed == []


class _MuteError(Exception):
    def __str__(self) -> str:
        raise RuntimeError


def test_a_task_whose_error_says_nothing_is_settled_and_holds_no_other_up(
    runs: Path, engine: on_ray.RayEngine, coordinator: Coordinator, tasks: _Tasks
) -> None:
    from ray.exceptions import RayTaskError

    ids = [engine.submit(tiny_spec()) for _ in range(2)]
    coordinator._tick()
    for task, cause in zip(list(tasks.handed), (_MuteError(), MemoryError()), strict=True):
        tasks.ended[task] = RayTaskError("carry_out", "", cause, "worker", 1, "there")
    coordinator._tick()
    assert tasks.handed[2:] == [f"{ids[1]} 2"]
    assert "its worker was ended (MemoryError); it goes on from step 0" in RunFolder(runs / ids[1]).status().message


@pytest.mark.slow
def test_a_coordinator_that_is_killed_goes_on_with_its_queue(harness: Harness, undisturbed: RunFolder) -> None:
    folders = [harness.begin(tiny_spec(SOME, **OFTEN)) for _ in range(4)]
    eventually(lambda: len(rows(folders[0], "step")) >= 3, 120)
    queue = Queue(harness.runs)
    first = queue.leases.process(queue.leases.newest())
    assert first is not None
    os.kill(first.pid, signal.SIGKILL)
    assert {folder.status_seen().is_live or folder.status().state == "done" for folder in folders} == {True}
    for folder in folders:
        assert harness.ended(folder) == "done", folder.status().message
        assert_bit_identical(folder, undisturbed)
    owner = queue.coordinator()
    assert owner is not None and owner.pid != first.pid
    eventually(lambda: not queue.runs_waiting())


@pytest.mark.slow
@pytest.mark.parametrize("fields", [{"device": "cuda:0"}, {"threads": 64}])
def test_a_run_that_asks_for_more_than_there_is_says_so_and_can_be_stopped(
    harness: Harness, fields: dict[str, object]
) -> None:
    folder = harness.begin(tiny_spec(LONG).model_copy(update=fields))
    said = eventually(lambda: "no machine of the cluster has" in (text := folder.status_seen().message) and text)
    assert said.startswith("Waiting: it asks for ") and harness.state(folder) == "queued"
    after = harness.begin(tiny_spec())
    assert harness.ended(after) == "done", "it holds nobody up"
    harness.engine.stop(folder.id)
    assert harness.ended(folder) == "stopped" and rows(folder) == []


@pytest.mark.slow
def test_a_worker_that_does_not_listen_is_killed_and_not_begun_again(harness: Harness) -> None:
    harness.engine.grace = 0.5  # type: ignore[attr-defined]
    folder = harness.training()
    owner = folder.status().owner
    assert owner is not None
    os.kill(owner.pid, signal.SIGSTOP)
    harness.engine.stop(folder.id)
    eventually(lambda: harness.state(folder) == "interrupted")
    eventually(lambda: not psutil.pid_exists(owner.pid))
    assert folder.attempts() == [1] and "told to stop" in folder.status().message


@pytest.mark.slow
def test_a_run_that_kills_its_workers_is_given_up(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = harness.training()
    seen: set[int] = set()

    def kill_the_next() -> bool:
        owner = folder.leases.process(folder.leases.newest())
        if owner is not None and owner.pid not in seen:
            seen.add(owner.pid)
            os.kill(owner.pid, signal.SIGKILL)
        return harness.state(folder) == "interrupted"

    eventually(kill_the_next, 240)
    assert len(folder.attempts()) == len(seen) == 5
    eventually(lambda: not Queue(harness.runs).runs_waiting())


@pytest.mark.slow
def test_runs_of_a_machine_that_is_removed_go_on_elsewhere(harness: Harness, undisturbed: RunFolder) -> None:
    raylet = begin_node(cluster())
    eventually(lambda: harness.engine.title.startswith("a Ray cluster: 2 nodes, 4 CPUs"))
    folders = [harness.begin(tiny_spec(SOME, **OFTEN)) for _ in range(8)]
    on_it = eventually(lambda: [one for one in folders if _runs_below(one, raylet) and len(rows(one, "step")) > 2], 120)
    raylet.kill()
    for folder in folders:
        assert harness.ended(folder) == "done", folder.status().message
        assert_bit_identical(folder, undisturbed)
    assert all(len(folder.attempts()) > 1 for folder in on_it)
    eventually(lambda: harness.engine.title.startswith("a Ray cluster: 1 node, 2 CPUs"), 120)


def _runs_below(folder: RunFolder, raylet: psutil.Process) -> bool:
    owner = folder.leases.process(folder.leases.newest()) if folder.attempts() else None
    try:
        return owner is not None and psutil.Process(owner.pid).ppid() == raylet.pid
    except psutil.Error:
        return False


@pytest.mark.slow
def test_the_command_line_trains_there(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made("ray", runs).end()
    where = ["--engine", f"ray:{cluster()}", "--runs", str(runs)]
    status, out, err = call(capsys, "train", *where, *FLAGS)
    assert status == 0 and out.startswith("done: ta-dfkd on digits: accuracy final "), err
    knobs = ", ".join(f"{name}: {value}" for name, value in TINY.items())
    file = runs.parent / "two.yaml"
    file.write_text(f"kind: grid\nmethods: [ta-dfkd]\nseeds: [0, 1]\nknobs: {{{knobs}}}\nrun: {{benchmark: digits}}\n")
    status, out, err = call(capsys, "study", "run", str(file), *where)
    assert status == 0 and "done: 2 / 2 runs, 0 failed" in out, err


@pytest.mark.slow
def test_a_cluster_that_obeys_anybody_is_not_used(runs: Path) -> None:
    pytest.importorskip("ray")
    folder = Path(tempfile.mkdtemp(prefix="dfkd-ray-"))
    try:
        address = begin_cluster(folder, RAY_AUTH_MODE="disabled")
        with pytest.raises(RequestError, match="takes orders from anybody .*RAY_AUTH_MODE=token ray start --head"):
            find(f"ray:{address}", runs)
    finally:
        end_cluster(folder)


@pytest.mark.slow
def test_an_address_at_which_there_is_nothing_is_said(runs: Path) -> None:
    pytest.importorskip("ray")
    with pytest.raises(RequestError, match="^engine = 'ray:127.0.0.1:9': no cluster answers there"):
        find("ray:127.0.0.1:9", runs)
