"""No room, no files, no memory: whatever is refused is said, and a run can be steered all the same."""

from __future__ import annotations

import errno
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import Any

import pytest
from command import call, refused
from conftest import eventually, execute, new_run, rows, tiny_spec
from streamlit.testing.v1 import AppTest

from dfkd_core import errors
from dfkd_core.engine import InlineEngine, LocalEngine
from dfkd_core.engine.base import take_up
from dfkd_core.errors import StoreError, in_words
from dfkd_core.runs.loop import run
from dfkd_core.store import Command, Place, RunFolder, RunStatus, lease, memory, orphans_in


class FullDisk:
    """While ``full``, a file system without a byte left, but for what a run has reserved and lets go of."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full = False
        write, append, create = Place.write, Place.append, Place.create

        def checked(place: Place) -> None:
            if self.full and ((place.path / ".reserve").exists() or not (place.path / "spec.json").exists()):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(place.path))

        def guarded_write(place: Place, name: str, *arguments: Any, **options: Any) -> None:
            checked(place)
            write(place, name, *arguments, **options)

        def guarded_append(place: Place, name: str) -> FileIO:
            class Log(FileIO):
                def write(self, data: Any) -> int:
                    checked(place)
                    return super().write(data)

            file = append(place, name)
            return Log(os.dup(file.fileno()), "ab")

        def guarded_create(place: Place, name: str) -> FileIO:
            checked(place)
            return create(place, name)

        for name, guarded in (("write", guarded_write), ("append", guarded_append), ("create", guarded_create)):
            monkeypatch.setattr(Place, name, guarded)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[FullDisk]:
    found = FullDisk(monkeypatch)
    yield found
    found.full = False


@pytest.fixture
def training(runs: Path) -> Iterator[RunFolder]:
    """A run that trains in another thread."""
    folder = new_run(runs, {"iterations": 100_000})
    thread = threading.Thread(target=run, args=(folder, folder.begin_attempt()), daemon=True)
    thread.start()
    eventually(lambda: len(rows(folder, "step")) > 2)
    yield folder
    folder.command("stop")
    thread.join(30)


# --- a full disk -----------------------------------------------------------------------------------------------


def test_on_a_full_disk_a_run_says_so_can_be_told_to_go_on_and_to_stop(
    disk: FullDisk, training: RunFolder, capsys: Any
) -> None:
    disk.full = True
    eventually(lambda: training.status().state == "paused")
    assert "disk is full" in training.status().message and training.status().is_live
    for command in ("pause", "step", "resume"):
        assert call(capsys, command, training.id)[0] == 0, command
    time.sleep(0.2)
    assert training.status().state == "paused" and "disk is full" in training.status().message
    assert call(capsys, "stop", training.id)[0] == 0
    eventually(lambda: training.status().state == "stopped")
    assert "disk was full" in training.status().message
    disk.full = False
    last = rows(training, "step")[-1]["step"]
    eventually(lambda: not training.status().is_live)
    lease = take_up(training)
    assert lease is not None
    training.command("stop")
    assert run(training, lease).state == "stopped" and last > 2


def test_a_stop_that_meets_a_full_disk_is_a_stop(disk: FullDisk, training: RunFolder) -> None:
    training.command("pause")
    eventually(lambda: training.status().state == "paused")
    disk.full = True
    training.command("stop")
    eventually(lambda: training.status().state == "stopped")


def test_a_start_on_a_full_disk_leaves_nothing(disk: FullDisk, runs: Path, capsys: Any) -> None:
    disk.full = True
    engine = LocalEngine(runs, keep_warm=False)
    try:
        for begin in (engine.submit, InlineEngine(runs).submit):
            with pytest.raises(OSError) as refusal:
                begin(tiny_spec())
            assert "The disk is full" in in_words(refusal.value)
    finally:
        engine.close()
    assert "cannot be written to (No space left on device)" in refused(capsys, "train")
    assert list(runs.iterdir()) == []


def test_the_buttons_answer_on_a_full_disk(disk: FullDisk, training: RunFolder, app: AppTest) -> None:
    app.query_params["run"] = training.id
    app.run()
    disk.full = True
    eventually(lambda: training.status().state == "paused")
    app.run()
    app.button("start").click().run()
    assert not app.exception and "The disk is full" in app.error[0].value
    app.button("stop").click().run()
    assert not app.exception and not app.error
    eventually(lambda: training.status().state == "stopped")


def test_what_is_reserved_is_given_back_when_a_run_ends(tiny: RunFolder) -> None:
    assert (tiny.path / ".reserve").stat().st_blocks * 512 >= 4096
    assert execute(tiny).state == "done" and not (tiny.path / ".reserve").exists()


@pytest.mark.parametrize("what", ["-o size=300k", "-o nr_inodes=100"])
def test_a_disk_that_is_really_full(what: str, tmp_path: Path) -> None:
    place = tmp_path / "disk"
    place.mkdir()
    try:
        subprocess.run(["mount", "-t", "tmpfs", *what.split(), "tmpfs", str(place)], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("only root can mount a small disk")
    try:
        folder = RunFolder.create(place, {"device": "cpu"})
        held = folder.begin_attempt()
        folder.set_status(RunStatus("running"))
        commands = folder.commands(held.number)
        with pytest.raises(OSError) as full:
            for number in range(10**6):
                (place / f"filler-{number}").write_bytes(b"x" * ("size" in what) * 1024)
        said = in_words(full.value)
        assert ("disk is full" if "size" in what else "for no more files") in said
        for number in range(20):
            folder.command("pause")
            folder.set_status(RunStatus("paused", f"{number}"))
        assert next(commands) == [Command("pause")] * 20 and folder.status().message == "19"
        with pytest.raises(OSError):
            RunFolder.create(place, {})
        assert len([path for path in place.iterdir() if path.is_dir()]) == 1
        held.close()
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_inodes_that_are_used_up_are_told_from_bytes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(tmp_path / "no" / "file"))
    facts = os.statvfs(tmp_path)
    used_up = os.statvfs_result([100 if place == 3 else value for place, value in enumerate(facts)])
    assert "The disk is full" in in_words(full)
    without = [*used_up]
    without[4], without[5], without[6], without[7] = 10, 1000, 0, 0
    monkeypatch.setattr(errors.os, "statvfs", lambda path: os.statvfs_result(without))
    assert "for no more files" in in_words(full)


# --- memory ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("groups", "file"),
    [
        ("0::/a/b\n", "a/b/memory.events"),
        ("0::/host/path\n", "memory.events"),
        ("4:memory:/a\n0::/\n", "memory/a/memory.oom_control"),
        ("4:memory:/host/path\n", "memory/memory.oom_control"),
    ],
)
def test_the_kernel_s_count_is_found(groups: str, file: str, tmp_path: Path) -> None:
    (tmp_path / "cgroup").write_text(groups)
    assert memory.oom_kills(tmp_path / "cgroup", tmp_path) == 0
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_text("low 0\noom 4\noom_kill 3\n")
    assert memory.oom_kills(tmp_path / "cgroup", tmp_path) == 3
    assert memory.oom_kills(tmp_path / "nothing", tmp_path) == 0


@pytest.mark.parametrize("kills", [0, 1])
def test_a_run_that_was_ended_for_want_of_memory_says_so(
    runs: Path, monkeypatch: pytest.MonkeyPatch, kills: int
) -> None:
    folder = RunFolder.create(runs, {"device": "cpu"})
    monkeypatch.setattr(lease, "oom_kills", lambda: 7)
    folder.begin_attempt().close()
    folder.set_status(RunStatus("running"))
    monkeypatch.setattr(lease, "oom_kills", lambda: 7 + kills)
    assert ("memory" in folder.status_seen().message) == bool(kills) and folder.status_seen().state == "interrupted"


# --- what is not here ------------------------------------------------------------------------------------------


def test_a_run_of_a_gpu_is_not_resumed_where_there_is_none(runs: Path, capsys: Any) -> None:
    folder = RunFolder.create(runs, tiny_spec().model_dump() | {"device": "cuda:63"})
    assert "it trains on cuda:63, which this machine has not" in refused(capsys, "resume", folder.id)
    with pytest.raises(StoreError, match="cuda:63"):
        InlineEngine(runs).resume(folder.id)
    assert folder.attempts() == []


@pytest.mark.timeout(20)
def test_a_pipe_is_no_file_of_weights(tmp_path: Path, capsys: Any) -> None:
    os.mkfifo(tmp_path / "pipe.pt")
    flags = ("--network", "lenet5", "--benchmark", "digits", "--name", "piped")
    assert "is not a regular file" in refused(capsys, "teacher", "import", str(tmp_path / "pipe.pt"), *flags)


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EROFS])
def test_a_teacher_that_cannot_be_written_is_a_sentence(
    error: int, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch, mnist_sized_teacher: str
) -> None:
    def refuse(*arguments: Any, **options: Any) -> None:
        raise OSError(error, os.strerror(error), str(tmp_path))

    monkeypatch.setattr(Place, "write", refuse)
    weights = str(tmp_path / "weights.pt")
    flags = ("--network", "lenet5", "--benchmark", "mnist", "--name", "another")
    said = refused(capsys, "teacher", "import", weights, *flags)
    assert ("disk is full" if error == errno.ENOSPC else "Read-only file system") in said


# --- starts that were killed -----------------------------------------------------------------------------------


def test_what_a_killed_start_left_is_shown_and_removed_when_asked(runs: Path, capsys: Any, app: AppTest) -> None:
    kept = [runs / name for name in ("notes", "20260101-000000-00000a", "20260101-000000-00000b")]
    left = [runs / f"20260101-000000-{number:06x}" for number in range(3)]
    for path in (*kept, *left):
        (path / "samples").mkdir(parents=True)
    unborn = runs / "studies" / left[0].name
    (unborn / "cells").mkdir(parents=True)
    (unborn / ".study.json.ab12.part").write_bytes(b"{")
    (left[0] / ".reserve").write_bytes(b"")
    (left[1] / ".spec.json.ab12.part").write_bytes(b"{")
    (kept[1] / "samples" / "thesis.tex").write_text("the only copy")
    (kept[2] / "thesis.tex").write_text("the only copy")
    young = RunFolder(runs / "20260101-000000-00000c").path
    young.mkdir()
    for path in (*kept, *left, unborn):
        os.utime(path, (0, 0))
    assert "damaged" not in call(capsys, "study", "list")[2]
    status, _, err = call(capsys, "runs")
    assert status == 0 and all(path.name in err for path in left) and "00000c" not in err
    assert not any(path.name in err for path in kept)
    app.switch_page("pages/runs.py").run()
    assert any("4 starts" in caption.value for caption in app.caption)
    app.button("orphans").click().run()
    assert not app.exception and orphans_in(runs) == []
    assert sorted(runs.iterdir()) == sorted([*kept, young, runs / "studies"])
    os.utime(young, (0, 0))
    assert "00000c" in call(capsys, "runs", "--clean")[2] and not young.exists()
