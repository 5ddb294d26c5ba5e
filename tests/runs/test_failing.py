"""``run``: what it says when something breaks, and a full disk."""

from __future__ import annotations

import errno
import math
import os
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import (
    eventually,
    execute,
    new_run,
    rows,
    tiny_spec,
)
from running import assert_bit_identical, at_step, commanding, in_background

from dfkd_core.errors import StoreError
from dfkd_core.losses import generator as losses
from dfkd_core.methods.ta_dfkd import TADFKD
from dfkd_core.runs import loop as run_module
from dfkd_core.store import SPECS, EventWriter, Place, RunFolder

Start = Callable[..., subprocess.Popen[str]]

# --- failing ---------------------------------------------------------------------------------------------------


def broken(step: int, error: BaseException) -> Callable[[Any, Any], None]:
    """A student phase that raises at ``step``."""
    original = TADFKD.student_phase

    def phase(self: TADFKD, seen: Any) -> None:
        if self.step == step:
            raise error
        original(self, seen)

    return phase


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (
            torch.OutOfMemoryError("CUDA out of memory"),
            "Out of memory on cpu after step 2: lower batch_size (16), width (4)",
        ),
        (MemoryError(), "Out of memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), "Out of memory"),
        (ZeroDivisionError("division by zero"), "ZeroDivisionError: division by zero (the traceback is in worker.log)"),
        (KeyError(), "KeyError: no message"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_a_failure_ends_in_one_sentence(
    tiny: RunFolder, whole: RunFolder, monkeypatch: pytest.MonkeyPatch, capfd: Any, error: Exception, says: str
) -> None:
    execute(tiny, commanding(tiny, 2, "stop"))
    with monkeypatch.context() as patch:
        patch.setattr(TADFKD, "student_phase", broken(3, error))
        status = execute(tiny)
    assert status.state == "failed" and says in status.message and "\n" not in status.message
    assert tiny.status().message == status.message and status.owner is None
    assert type(error).__name__ in (tiny.path / "attempts/2/worker.log").read_text()
    assert capfd.readouterr().err == "", "the sentence is for whoever asked; the traceback lies in the folder"
    execute(tiny)
    assert_bit_identical(tiny, whole)


@pytest.mark.parametrize("sheet", [1, 100], ids=["samples due", "no samples due"])
def test_a_nan_fails_with_step_term_and_last_values(runs: Path, monkeypatch: pytest.MonkeyPatch, sheet: int) -> None:
    folder = new_run(runs, {"l2_weight": 1.0}, samples_every=sheet)
    calls = iter(range(100))
    original = losses.image_norm
    monkeypatch.setattr(losses, "image_norm", lambda images: original(images) * (math.nan if next(calls) == 3 else 1))
    status = execute(folder)
    assert status.state == "failed"
    assert status.message.startswith("L2 became nan at step 4; last finite values: student_loss ")
    assert [row["step"] for row in rows(folder, "step")] == [1, 2, 3]


def test_a_generator_that_explodes_fails_with_a_sentence(runs: Path) -> None:
    folder = new_run(
        runs, {"student_lr": 10, "momentum": 0.999, "iterations": 400, "student_steps": 20}, samples_every=1
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TADFKD.Config, "student_rate", lambda self, done: 1e20)
        status = execute(folder)
    assert status.state == "failed" and " at step " in status.message and "last finite values" in status.message


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"teacher": "nobody"}, "Teacher = 'nobody'"),
        ({"student": "nobody"}, "Network = 'nobody'"),
        ({"benchmark": "folder:/nowhere"}, "Benchmark = 'folder:/nowhere'"),
    ],
)
def test_what_has_vanished_since_the_request_is_named(runs: Path, change: dict[str, str], says: str) -> None:
    folder = RunFolder.create(runs, {**tiny_spec().model_dump(), **change})
    status = execute(folder)
    assert status.state == "failed" and status.message.startswith(says)


@pytest.mark.parametrize("spec", [{}, {"hat": 1}, {"seed": "x"}])
def test_a_specification_of_another_version_is_named(runs: Path, spec: dict[str, Any]) -> None:
    folder = RunFolder.create(runs, {**tiny_spec().model_dump(), **spec})
    if not spec:
        for name in SPECS:
            (folder.path / name).write_text("{")
    with pytest.raises(StoreError, match=f"run {folder.id}: .*spec.json"):
        execute(folder)


# --- a full disk -----------------------------------------------------------------------------------------------


class FullDisk:
    """Every write but of the status raises while ``full``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, error: int = errno.ENOSPC) -> None:
        self.full, self.error = False, error
        for module, name in ((Place, "write"), (run_module, "save_checkpoint"), (EventWriter, "flush")):
            monkeypatch.setattr(module, name, self.guarding(getattr(module, name)))

    def guarding(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def write(*arguments: Any, **options: Any) -> Any:
            if self.full and "status.json" not in arguments:
                raise OSError(self.error, os.strerror(self.error))
            return original(*arguments, **options)

        return write


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("step", [1, 3, 6])
def test_a_full_disk_pauses_the_run_and_loses_nothing(
    tiny: RunFolder, whole: RunFolder, monkeypatch: pytest.MonkeyPatch, error: int, step: int
) -> None:
    disk, lease = FullDisk(monkeypatch, error), tiny.begin_attempt()

    def fill() -> None:
        disk.full = True

    thread = threading.Thread(target=run_module.run, args=(tiny, lease, at_step(step, fill)), daemon=True)
    thread.start()
    eventually(lambda: tiny.status().state == "paused")
    assert "disk is full" in tiny.status().message and tiny.status().is_live
    seen = rows(tiny)
    disk.full = False
    tiny.command("resume")
    thread.join(30)
    assert rows(tiny)[: len(seen)] == seen
    assert_bit_identical(tiny, whole)
    told = [(row["state"], bool(row["message"])) for row in rows(tiny, "status")]
    assert told == [("running", False), ("paused", True), ("running", False), ("done", False)]


def test_what_it_was_told_while_the_disk_was_full_is_done(tiny: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    disk, lease = FullDisk(monkeypatch), tiny.begin_attempt()
    fill = at_step(3, lambda: setattr(disk, "full", True))
    thread = threading.Thread(target=run_module.run, args=(tiny, lease, fill), daemon=True)
    thread.start()
    eventually(lambda: tiny.status().state == "paused")
    disk.full = False
    tiny.command("set", student_lr=0.007)
    tiny.command("resume")
    thread.join(30)
    assert tiny.status().state == "done"
    assert {"student_lr": 0.007} in [row.get("knobs") for row in rows(tiny, "applied")]


def test_a_run_can_be_stopped_while_the_disk_is_full_and_resumed_later(
    tiny: RunFolder, whole: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, lease = FullDisk(monkeypatch), tiny.begin_attempt()
    thread = threading.Thread(
        target=run_module.run, args=(tiny, lease, at_step(4, lambda: setattr(disk, "full", True))), daemon=True
    )
    thread.start()
    eventually(lambda: tiny.status().state == "paused")
    tiny.command("stop")
    thread.join(30)
    assert tiny.status().state == "stopped" and "disk was full" in tiny.status().message
    disk.full = False
    execute(tiny)
    assert_bit_identical(tiny, whole)


@pytest.mark.parametrize("size", ["80k", "300k"])
def test_a_run_on_a_really_full_disk_is_finished_once_there_is_room(
    tmp_path: Path, whole: RunFolder, size: str
) -> None:
    place = tmp_path / "disk"
    place.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place]).returncode:
        pytest.skip("only root can mount a small disk")
    try:
        folder = new_run(place)
        thread = in_background(folder)
        eventually(lambda: "disk is full" in folder.status().message or not thread.is_alive())
        subprocess.run(["mount", "-o", "remount,size=50m", place], check=True)
        for _ in range(50):
            if thread.is_alive():
                folder.command("resume")
                thread.join(0.2)
        if folder.status_seen().state != "done":  # there was not even room to begin, or to say so
            assert folder.status_seen().state in ("failed", "interrupted")
            execute(folder)
        assert_bit_identical(folder, whole)
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)
