"""Steering a run from a test, and comparing it with one that was never stopped."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from conftest import (
    execute,
    metric_rows,
    rows,
    student_hash,
)

from dfkd_core.events import Event, Step
from dfkd_core.runs import loop as run_module
from dfkd_core.store import RunFolder

PAUSED = """
import sys
from pathlib import Path
from dfkd_core.runs.loop import run
from dfkd_core.store import RunFolder
folder = RunFolder(Path(sys.argv[1]))
lease = folder.begin_attempt()
folder.command("pause")
run(folder, lease)
"""


def at_step(step: int, action: Callable[[], Any]) -> Callable[[Event], None]:
    """A progress callback that acts once, when ``step`` closes."""
    return lambda event: action() if isinstance(event, Step) and event.step == step else None


def commanding(folder: RunFolder, step: int, *names: str) -> Callable[[Event], None]:
    return at_step(step, lambda: [folder.command(name) for name in names])


def assert_bit_identical(folder: RunFolder, whole: RunFolder) -> None:
    assert folder.status().state == "done"
    assert student_hash(folder) == student_hash(whole)
    assert metric_rows(folder) == metric_rows(whole)
    numbers = [row["seq"] for row in rows(folder)]
    assert numbers == list(range(1, len(numbers) + 1))
    result, expected = folder.status().result, whole.status().result
    assert {**result, "seconds": 0} == {**expected, "seconds": 0}


def in_background(folder: RunFolder) -> threading.Thread:
    thread = threading.Thread(target=execute, args=(folder,), daemon=True)
    thread.start()
    return thread


def applied(folder: RunFolder) -> list[tuple[int, str]]:
    return [(row["step"], row["command"]) for row in rows(folder, "applied")]


def in_background_with(folder: RunFolder, command: str) -> threading.Thread:
    lease = folder.begin_attempt()
    folder.command(command)
    thread = threading.Thread(target=run_module.run, args=(folder, lease), daemon=True)
    thread.start()
    return thread
