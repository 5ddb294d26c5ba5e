"""The run folder under kills, full disks and flipped bits."""

from __future__ import annotations

import errno
import json
import math
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import rows
from tampering import flip

from dfkd_core.events import Applied, Status, Step
from dfkd_core.store import (
    SPECS,
    Cursor,
    EventReader,
    EventWriter,
    Place,
    RunFolder,
    RunStatus,
)
from dfkd_core.store.checkpoints import load_checkpoint, save_checkpoint
from dfkd_core.store.sealed import sealed

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def folder(runs: Path) -> RunFolder:
    return RunFolder.create(runs, {"device": "cpu"})


def log(folder: RunFolder, attempt: int = 1) -> Path:
    return folder.path / folder.attempt_file(attempt, "events.jsonl")


def written(folder: RunFolder, *steps: int) -> EventWriter:
    """A writer of a new attempt that has written these steps."""
    writer = EventWriter(folder, folder.begin_attempt().number)
    for step in steps:
        writer.add(Step(step, {"loss": step / 2}), 0.1 * step)
    writer.flush()
    return writer


# --- the event log ---------------------------------------------------------------------------------------------

WRITER = """
import sys
from pathlib import Path
from dfkd_core.events import Step
from dfkd_core.store import EventWriter, RunFolder
folder = RunFolder(Path(sys.argv[1]))
writer = EventWriter(folder, folder.begin_attempt().number)
for step in range(1, int(sys.argv[2]) + 1):
    writer.add(Step(step, {"x" * (step % 50 + 1): float(step)}), 0.0)
    if step % 3 == 0:
        writer.flush()
writer.flush()
"""


def test_a_reader_sees_each_row_once_in_order_while_another_process_writes(folder: RunFolder, start: Start) -> None:
    count = 20_000
    process = start("-c", WRITER, str(folder.path), str(count))
    reader, seen, reads = EventReader(folder), [], 0
    while len(seen) < count:
        fresh = reader.read()
        reads += bool(fresh)
        seen += [row["step"] for row in fresh]
        assert process.poll() in (None, 0) and (fresh or process.poll() is None or reader.read() == [])
        time.sleep(0.001)
    assert seen == list(range(1, count + 1)) and reads > 3, "it read while the other wrote"
    assert reader.read() == []


def test_a_cursor_goes_on_where_another_reader_stopped(folder: RunFolder) -> None:
    writer, first = written(folder, 1, 2), EventReader(folder)
    first.read()
    writer.add(Step(3), 0)
    writer.flush()
    assert [row["step"] for row in EventReader(folder, first.cursor).read()] == [3]
    assert [row["step"] for row in EventReader(folder, Cursor()).read()] == [1, 2, 3]


def test_a_torn_last_line_waits_until_it_is_whole(folder: RunFolder) -> None:
    written(folder, 1)
    reader = EventReader(folder)
    line = sealed({"seq": 2, "elapsed": 0.0, "type": "step", "step": 2, "values": {}}) + b"\n"
    with open(log(folder), "ab", buffering=0) as file:
        for place in range(len(line) - 1):
            file.write(line[place : place + 1])
            assert [row["step"] for row in reader.read()] == ([1] if place == 0 else [])
        file.write(line[-1:])
    assert [row["step"] for row in reader.read()] == [2]


def test_a_later_attempt_passes_over_a_torn_line_and_numbers_go_on(folder: RunFolder) -> None:
    written(folder, 1, 2).close()
    with open(log(folder), "ab") as file:
        file.write(b'{"seq": 3, "type": "st')
    reader = EventReader(folder)
    assert len(reader.read()) == 2
    written(folder, 3)
    assert [(row["seq"], row["step"]) for row in reader.read()] == [(3, 3)]
    assert [row["seq"] for row in rows(folder)] == [1, 2, 3]


def test_an_attempt_without_a_log_yet_is_no_obstacle(folder: RunFolder) -> None:
    written(folder, 1)
    reader = EventReader(folder)
    folder.begin_attempt()
    assert len(reader.read()) == 1 and reader.read() == []
    written(folder, 2)
    assert [row["step"] for row in reader.read()] == [2]


def test_a_resumed_attempt_repeats_no_row(folder: RunFolder) -> None:
    written(folder, 1, 2, 3, 4).close()
    writer = EventWriter(folder, folder.begin_attempt().number)
    new = [writer.add(Step(step), 0) for step in (3, 4, 5)]
    writer.add(Applied(5, "pause"), 0)
    writer.flush()
    assert new == [False, False, True]
    assert [(row["seq"], row["step"]) for row in rows(folder)] == [(1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (6, 5)]


def test_commands_and_states_are_told_again_since_they_happened_again(folder: RunFolder) -> None:
    written(folder, 1).close()
    writer = EventWriter(folder, folder.begin_attempt().number)
    assert [writer.add(event, 0) for event in (Status(0, "running"), Step(1), Step(2))] == [True, False, True]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_no_reader_meets_nan(folder: RunFolder, value: float) -> None:
    writer = written(folder, 1)
    with pytest.raises(ValueError):
        writer.add(Step(2, {"loss": value}), 0)
    writer.flush()
    assert [row["step"] for row in rows(folder)] == [1]


# --- a full disk -----------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)]
    try:
        subprocess.run(mounting, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("only root can mount a small disk")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(disk: Path) -> Path:
    """Use up what is left, to the last byte."""
    filler = disk / "filler"
    with open(filler, "ab", buffering=0) as file:
        for size in (4096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError as error:
                assert error.errno == errno.ENOSPC
    return filler


def test_a_full_disk_leaves_the_log_whole_and_the_rows_wait(small_disk: Path) -> None:
    folder = RunFolder.create(small_disk, {})
    writer, reader = written(folder, 1), EventReader(folder)
    filler = fill(small_disk)
    for step in range(2, 202):
        writer.add(Step(step, {"loss": 0.5}), 0)
    with pytest.raises(OSError, match="No space"):
        writer.flush()
    seen = [row["step"] for row in reader.read()]
    assert log(folder).read_bytes().endswith(b"\n") and 1 <= len(seen) < 201
    filler.unlink()
    writer.add(Step(202), 0)
    writer.flush()
    assert seen + [row["step"] for row in reader.read()] == list(range(1, 203))
    assert [row["seq"] for row in rows(folder)] == list(range(1, 203))


@pytest.mark.parametrize("room", [0, 1, 60, 80, 130, 190])
def test_a_short_write_keeps_the_rows_that_went_out_whole(
    folder: RunFolder, room: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        """A file on a disk with ``room`` bytes left."""

        def __init__(self, file: Any, room: int) -> None:
            self.file, self.room, self.fileno = file, room, file.fileno

        def write(self, data: bytes) -> int:
            if not self.room:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            count = self.file.write(data[: self.room])
            self.room -= count
            return count

    writer, reader = written(folder), EventReader(folder)
    file = writer._file
    monkeypatch.setattr(writer, "_file", Full(file, room))
    for step in (1, 2, 3):
        writer.add(Step(step), 0)
    length = len(writer._pending[0])
    with pytest.raises(OSError):
        writer.flush()
    before = [row["step"] for row in reader.read()]
    assert len(before) == room // length < 3 and log(folder).stat().st_size == len(before) * length
    monkeypatch.setattr(writer, "_file", file)
    writer.flush()
    assert before + [row["step"] for row in reader.read()] == [1, 2, 3]


@pytest.mark.parametrize("durable", [True, False])
def test_a_full_disk_leaves_the_old_file_and_no_half(small_disk: Path, durable: bool) -> None:
    place = Place(small_disk)
    place.write("file", b"old", durable)
    filler = fill(small_disk)
    with pytest.raises(OSError):
        place.write("file", b"new" * 10_000, durable)
    assert (small_disk / "file").read_bytes() == b"old"
    assert sorted(path.name for path in small_disk.iterdir()) == ["file", filler.name]


def test_a_full_disk_leaves_the_last_checkpoint(small_disk: Path) -> None:
    folder = RunFolder.create(small_disk, {})
    save_checkpoint(folder, 1, {"weights": torch.ones(100)})
    fill(small_disk)
    with pytest.raises(OSError):
        save_checkpoint(folder, 2, {"weights": torch.ones(10_000)})
    found = load_checkpoint(folder)
    assert found is not None and found.step == 1


# --- checkpoints -----------------------------------------------------------------------------------------------

STATE = {
    "step": 7,
    "none": None,
    "flag": True,
    "rate": 0.1 + 0.2,
    "name": "äöü",
    "betas": (0.9, (0.999, [1, 2])),
    "empty": {},
    "state": {0: {"step": torch.tensor(3.0), "exp_avg": torch.randn(3, 4)}, 17: {"x": [torch.arange(3), ()]}},
    "half": torch.ones(2, dtype=torch.bfloat16),
    "scalar": torch.tensor(5),
    "a/b": torch.ones(1),
    "a": {"b": torch.zeros(1)},
}


def assert_same(found: Any, expected: Any) -> None:
    assert type(found) is type(expected)
    if isinstance(expected, torch.Tensor):
        assert found.dtype == expected.dtype and torch.equal(found, expected)
        assert found.stride() == expected.clone().stride(), "optimizers rely on the layout"
    elif isinstance(expected, dict):
        assert list(found) == list(expected)
        for key in expected:
            assert_same(found[key], expected[key])
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected)
        for pair in zip(found, expected, strict=True):
            assert_same(*pair)
    else:
        assert found == expected


def test_a_checkpoint_gives_back_the_very_structure(folder: RunFolder) -> None:
    state = {key: value for key, value in STATE.items() if key != "a/b"}
    save_checkpoint(folder, 7, state)
    found = load_checkpoint(folder)
    assert found is not None and found.step == 7
    assert_same(found.state, state)


def test_tensors_whose_paths_read_alike_are_kept_apart(folder: RunFolder) -> None:
    save_checkpoint(folder, 7, STATE)
    found = load_checkpoint(folder)
    assert found is not None
    assert_same(found.state, STATE)


def test_tensors_that_share_memory_or_lie_crosswise_are_stored(folder: RunFolder) -> None:
    shared = torch.randn(4, 4)
    state = {
        "one": shared,
        "two": shared,
        "part": shared[1:, :2].T,
        "last": torch.ones(2, 3, 4, 4).to(memory_format=torch.channels_last),
    }
    save_checkpoint(folder, 1, state)
    found = load_checkpoint(folder)
    assert found is not None
    assert_same(found.state, state)


def test_what_a_checkpoint_cannot_hold_is_named(folder: RunFolder) -> None:
    with pytest.raises(TypeError, match="state/method/oops.*set"):
        save_checkpoint(folder, 1, {"method": {"oops": {1, 2}}})


def test_the_last_two_are_kept_and_halves_are_swept_away(folder: RunFolder) -> None:
    place = folder.path / "checkpoints"
    (place / ".step-00000001.safetensors.ab12.part").write_bytes(b"half")
    (place / "step-00000001.safetensors").write_bytes(b"whole, but its mark was never written")
    for step in (2, 3, 4):
        save_checkpoint(folder, step, {"step": step})
    (place / "notes.txt").write_text("mine")
    save_checkpoint(folder, 5, {"step": 5})
    assert (place / "notes.txt").exists(), "what is not ours stays"
    (place / "notes.txt").unlink()
    assert sorted(path.name for path in place.iterdir()) == [
        f"step-{step:08d}.{ending}" for step in (4, 5) for ending in ("json", "safetensors")
    ]


def test_a_damaged_later_one_does_not_outlive_the_next(folder: RunFolder) -> None:
    for step in (10, 20):
        save_checkpoint(folder, step, {"step": step})
    flip(folder.path / "checkpoints" / "step-00000020.safetensors", 3)
    save_checkpoint(folder, 12, {"step": 12})
    assert [path.stem for path in sorted((folder.path / "checkpoints").glob("*.json"))] == [
        "step-00000010",
        "step-00000012",
    ]


@pytest.mark.parametrize("ending", ["json", "safetensors"])
def test_any_flipped_bit_falls_back_to_the_one_before(folder: RunFolder, ending: str) -> None:
    for step in (1, 2):
        save_checkpoint(folder, step, {"step": step, "rate": 0.125, "weights": torch.full((8,), float(step))})
    newest = folder.path / "checkpoints" / f"step-00000002.{ending}"
    draw = random.Random(0)
    bits = 8 * newest.stat().st_size
    for bit in draw.sample(range(bits), 300):
        flip(newest, bit)
        found = load_checkpoint(folder)
        assert found is not None
        assert found.step == 1 and found.damaged[0].startswith(f"checkpoints/step-00000002.{ending} is damaged")
        flip(newest, bit)
    found = load_checkpoint(folder)
    assert found is not None and found.step == 2


@pytest.mark.parametrize("ending", ["json", "safetensors"])
@pytest.mark.parametrize("damage", ["missing", "empty", "cut"])
def test_a_file_that_is_not_whole_falls_back_to_the_one_before(folder: RunFolder, ending: str, damage: str) -> None:
    for step in (1, 2):
        save_checkpoint(folder, step, {"step": step, "weights": torch.ones(50)})
    path = folder.path / "checkpoints" / f"step-00000002.{ending}"
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:100] if damage == "cut" else b"")
    found = load_checkpoint(folder)
    assert found is not None and found.step == 1


def test_without_a_whole_one_there_is_none(folder: RunFolder) -> None:
    assert load_checkpoint(folder) is None


def test_killed_at_any_moment_of_saving_a_whole_checkpoint_is_there(folder: RunFolder) -> None:
    """Twenty kills. Forked, since importing torch twenty times would take a minute."""
    draw, last = random.Random(1), 0
    for _ in range(20):
        child = os.fork()
        if child == 0:
            _save_for_ever(folder, last)
        time.sleep(draw.uniform(0.02, 0.12))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        found = load_checkpoint(folder)
        if found is not None:
            assert found.step >= last and found.state["step"] == found.step
            assert torch.equal(found.state["weights"], torch.full((50_000,), float(found.step)))
            last = found.step
    assert last > 20, "it did save"
    assert len(list((folder.path / "checkpoints").iterdir())) <= 4 + 3


def _save_for_ever(folder: RunFolder, step: int) -> None:
    try:
        while True:
            step += 1
            save_checkpoint(folder, step, {"step": step, "weights": torch.full((50_000,), float(step))})
    finally:
        os._exit(1)


def test_the_manifest_covers_what_the_run_made(folder: RunFolder) -> None:
    written(folder, 1).close()
    save_checkpoint(folder, 1, {"step": 1})
    folder.set_status(RunStatus("done"))
    (folder.path / "checkpoints" / ".half.part").write_bytes(b"")
    (folder.path / "analysis").mkdir()
    (folder.path / "analysis" / "tags.json").write_text("{}")  # what looking at it left behind
    folder.write_manifest()
    assert set(json.loads(folder.files.read("manifest.json"))) - {"crc32"} == {
        *SPECS,
        "attempts/1/events.jsonl",
        "checkpoints/step-00000001.json",
        "checkpoints/step-00000001.safetensors",
    }


@pytest.mark.parametrize("line", [1, 2, 3])
def test_every_flipped_bit_of_a_row_is_seen_and_named_and_the_others_are_read(folder: RunFolder, line: int) -> None:
    written(folder, 1, 2, 3).close()
    lines = log(folder).read_bytes().splitlines(keepends=True)
    start = 8 * sum(map(len, lines[: line - 1]))
    for bit in range(start, start + 8 * len(lines[line - 1])):
        flip(log(folder), bit)
        reader = EventReader(folder)
        seen = [row["step"] for row in reader.read()]
        of_the_end = bit >= start + 8 * (len(lines[line - 1]) - 1)  # then the next row is part of this line
        assert seen == [step for step in (1, 2, 3) if step not in (line, line + of_the_end)]
        assert reader.damaged[0].startswith(f"attempts/1/events.jsonl, line {line}: ") and reader.read() == []
        flip(log(folder), bit)


def test_a_damaged_row_is_written_anew_when_its_step_comes_again(folder: RunFolder) -> None:
    written(folder, 1, 2, 3).close()
    flip(log(folder), 8 * len(log(folder).read_bytes().splitlines()[0]) + 100)
    written(folder, 1, 2, 3, 4)
    assert [(row["seq"], row["step"]) for row in rows(folder)] == [(1, 1), (3, 3), (4, 2), (5, 4)]
