"""What a run is foretold to take of a GPU, as far as that can be seen without one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from conftest import tiny_spec

from dfkd_core.kit.student_stage import StudentStage
from dfkd_core.runs.memory import foretold_peak


@pytest.mark.parametrize("method", ["hidfd", "diffdfkd"])
def test_every_stage_is_tried(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The student learns in the last one, and holds memory of its own there."""
    for name in ("reset_peak_memory_stats", "empty_cache"):
        monkeypatch.setattr(torch.cuda, name, lambda *given: None)
    learn, learned = StudentStage.learn, list[str]()

    def watch(stage: StudentStage, seen: Any, *given: Any, **named: Any) -> Any:
        learned.append(seen.stage)
        return learn(stage, seen, *given, **named)

    monkeypatch.setattr(StudentStage, "learn", watch)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 1000 * len(learned))
    sizes = {"batch_size": 64, "gan_batch_size": 64, "synthesis_size": 64}
    spec = tiny_spec(
        {name: size for name, size in sizes.items() if name in tiny_spec(method=method).config}, method=method
    )
    monkeypatch.setattr("dfkd_core.runs.memory.SMALL", 1)
    assert foretold_peak(spec) and "student" in learned
