"""A run's folder: sheets of samples, status, commands, the list of runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import rows
from recording import MIXTURE

from dfkd_core.errors import StoreError
from dfkd_core.events import Samples
from dfkd_core.store import (
    SPECS,
    Command,
    EventWriter,
    Leases,
    RunFolder,
    RunStatus,
    read_samples,
    runs_in,
)

RESULT = {"measure": "accuracy", "final": 0.5, "best": 0.6, "teacher": None, "seconds": 1.5}


@pytest.fixture
def folder(runs: Path) -> RunFolder:
    return RunFolder.create(runs, {"device": "cpu"})


# --- samples ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("count", [1, 16, 37])
def test_a_sheet_of_samples_gives_back_images_and_columns(folder: RunFolder, channels: int, count: int) -> None:
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (count, 8, 8, channels), dtype=np.uint8)
    columns = {
        "clean": generator.random(count) < 0.5,
        "loss": generator.random(count, dtype=np.float32),
        "label": np.arange(count, dtype=np.int16),
    }
    writer = EventWriter(folder, folder.begin_attempt().number)
    writer.add(Samples(12, images, columns, MIXTURE), 1.0)
    writer.flush()
    (row,) = rows(folder, "samples")
    assert (row["count"], row["mixture"]) == (count, MIXTURE)
    stored_images, stored_columns = read_samples(folder, row["file"])
    np.testing.assert_array_equal(stored_images, images)
    assert stored_columns.keys() == columns.keys()
    for name, column in columns.items():
        np.testing.assert_array_equal(stored_columns[name], column)
        assert stored_columns[name].dtype == column.dtype


def test_a_sheet_is_there_before_its_row(folder: RunFolder) -> None:
    writer = EventWriter(folder, folder.begin_attempt().number)
    writer.add(Samples(1, np.zeros((2, 8, 8, 1), np.uint8), {}), 0)
    assert rows(folder) == [] and (folder.path / "samples" / "00000001.png").exists()


# --- status, owner, commands -----------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["queued", "running", "paused", "done", "stopped", "failed", "interrupted"])
def test_an_active_run_whose_lock_is_free_is_seen_as_interrupted(folder: RunFolder, state: str) -> None:
    folder.begin_attempt().close()
    folder.set_status(RunStatus(state, "words", 5, 9, 1, None, RESULT))
    seen, active = folder.status_seen(), state in ("queued", "running", "paused")
    assert seen.state == ("interrupted" if active else state) and (seen.step, seen.total_steps) == (5, 9)
    assert seen.message == "words" or ("Resume" in seen.message and active)
    assert folder.status().state == state, "looking writes nothing"


@pytest.mark.parametrize("state", ["queued", "running", "paused"])
def test_an_active_run_whose_lock_is_held_is_live(folder: RunFolder, state: str) -> None:
    with folder.begin_attempt():
        folder.set_status(RunStatus(state))
        assert folder.status_seen().state == folder.status().state == state and folder.status().is_live
    assert not folder.status().is_live


def test_last_words_written_while_its_death_is_noticed_are_heard(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.set_status(RunStatus("running"))

    def finishes_and_dies(leases: Leases) -> None:
        folder.set_status(RunStatus("done"))

    monkeypatch.setattr(Leases, "holder", finishes_and_dies)
    assert folder.status_seen().state == "done"


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", "null", '{"state": "dancing"}', '{"state": "done", "step": "x"}']
)
def test_a_damaged_status_is_an_interrupted_run(folder: RunFolder, content: str) -> None:
    (folder.path / "status.json").write_text(content)
    assert folder.status().state == folder.status_seen().state == "interrupted"


def test_a_status_comes_back_as_it_was(folder: RunFolder) -> None:
    status = RunStatus("stopped", "why", 3, 10, 2, None, RESULT)
    folder.set_status(status)
    assert replace(folder.status(), updated=0.0) == status and folder.status().updated > 0


def test_commands_come_once_and_in_order(folder: RunFolder) -> None:
    commands = folder.commands(folder.begin_attempt().number)
    assert next(commands) == []
    for name in ("pause", "step", "step"):
        folder.command(name)
    assert next(commands) == [Command("pause"), Command("step"), Command("step")] and next(commands) == []
    folder.command("set", student_lr=0.05)
    assert next(commands) == [Command("set", {"student_lr": 0.05})]


def test_a_torn_command_spoils_no_other(folder: RunFolder) -> None:
    commands = folder.commands(folder.begin_attempt().number)
    with folder.files.append("attempts/1/control.jsonl") as file:
        file.write(b'{"command": "sto')
    assert next(commands) == []
    folder.command("resume")
    assert next(commands) == [Command("resume")]


def test_a_command_goes_to_the_newest_attempt_and_needs_one(folder: RunFolder) -> None:
    with pytest.raises(StoreError, match="not been started"):
        folder.command("stop")
    first, second = (folder.commands(folder.begin_attempt().number) for _ in range(2))
    folder.command("stop")
    assert (next(first), next(second)) == ([], [Command("stop")])


def test_runs_are_listed_newest_first_and_other_folders_are_not_runs(runs: Path) -> None:
    assert runs_in(runs) == []
    made = [RunFolder.create(runs, {"n": number}) for number in range(3)]
    (runs / "notes").mkdir()
    (runs / "zzz.txt").write_text("no run")
    assert [folder.id for folder in runs_in(runs)] == sorted((folder.id for folder in made), reverse=True)
    assert made[1].spec() == {"n": 1}


@pytest.mark.parametrize("content", [None, "", "[1]"])
def test_a_damaged_specification_is_read_from_its_copy_and_else_named(folder: RunFolder, content: str | None) -> None:
    for last, name in enumerate(SPECS):
        path = folder.path / name
        path.unlink() if content is None else path.write_text(content)
        if last:
            with pytest.raises(StoreError, match=f"{folder.id}.*spec.*json"):
                folder.spec()
        else:
            assert folder.spec() == {"device": "cpu"} and [found.id for found in runs_in(folder.path.parent)] == [
                folder.id
            ]


def test_runs_of_one_second_are_listed_newest_first(tmp_path: Path) -> None:
    made = [RunFolder.create(tmp_path, {}).id for _ in range(12)]
    assert [found.id for found in runs_in(tmp_path)] == made[::-1]
