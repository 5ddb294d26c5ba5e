"""Tags of samples: kept in the run's folder, undone one by one, never lost to a damaged file."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from dfkd_core.analysis.tags import DAMAGED, LONGEST, Tags
from dfkd_core.errors import RequestError
from dfkd_core.store import RunFolder


@pytest.fixture
def folder(runs: Path) -> RunFolder:
    return RunFolder.create(runs, {"benchmark": "digits"})


def test_tags_are_kept_by_sheet_and_seen_by_others(folder: RunFolder) -> None:
    tags = Tags(folder)
    assert tags.of("samples", 10) == {} and tags.counts() == {}
    tags.add("samples", 10, [3, 1], " two strokes ")
    tags.add("samples", 10, np.array([3]), "blurred")
    tags.add("probes", 10, [3], "blurred")
    for seen in (tags, Tags(folder)):
        assert seen.of("samples", 10) == {1: ["two strokes"], 3: ["blurred", "two strokes"]}
        assert seen.of("probes", 10) == {3: ["blurred"]} and seen.of("samples", 20) == {}
        assert seen.counts() == {"blurred": 2, "two strokes": 2}


def test_each_change_can_be_undone(folder: RunFolder) -> None:
    tags = Tags(folder)
    tags.add("samples", 1, [0, 1], "a")
    tags.add("samples", 1, [1, 2], "a")
    tags.remove("samples", 1, [0, 1, 7], "a")
    assert tags.of("samples", 1) == {2: ["a"]}
    assert tags.undo() == "a" and tags.of("samples", 1) == {0: ["a"], 1: ["a"], 2: ["a"]}
    assert tags.undo() == "a" and tags.of("samples", 1) == {0: ["a"], 1: ["a"]}, "1 had it before"
    assert Tags(folder).undo() == "a" and tags.counts() == {}, "the history is kept too"
    assert tags.undo() == ""


def test_what_changes_nothing_is_nothing_to_undo(folder: RunFolder) -> None:
    tags = Tags(folder)
    tags.add("samples", 1, [0], "a")
    tags.add("samples", 1, [0], "a")
    tags.remove("samples", 1, [5], "a")
    tags.remove("samples", 1, [0], "b")
    tags.undo()
    assert tags.counts() == {}


@pytest.mark.parametrize("tag", ["", "   ", "x" * (LONGEST + 1), "two\nlines"])
def test_a_tag_has_bounds(folder: RunFolder, tag: str) -> None:
    with pytest.raises(RequestError, match="1 to 40 printable characters"):
        Tags(folder).add("samples", 1, [0], tag)
    Tags(folder).add("samples", 1, [0], "x" * LONGEST)


@pytest.mark.parametrize(
    ("kind", "indices", "field"), [("fake", [0], "kind"), ("real", [], "indices"), ("real", [-1], "indices")]
)
def test_only_samples_can_be_tagged(folder: RunFolder, kind: str, indices: list[int], field: str) -> None:
    with pytest.raises(RequestError) as caught:
        Tags(folder).add(kind, 0, indices, "a")
    assert caught.value.field == field


@pytest.mark.parametrize("damage", [b"{", b'{"tags": 1}', b'[{"add": 1}]', b"\xff\xfe"])
def test_a_damaged_file_is_kept_aside_and_said(folder: RunFolder, damage: bytes) -> None:
    tags = Tags(folder)
    files = tags.folder.files
    files.write("analysis/tags.json", damage)
    assert tags.of("samples", 1) == {} and tags.problem == DAMAGED
    assert files.read("analysis/tags.json") == damage, "looking changes nothing"
    tags.add("samples", 1, [0], "a")
    tags.add("samples", 1, [1], "a")
    assert tags.of("samples", 1) == {0: ["a"], 1: ["a"]} and tags.problem == ""
    assert files.read("analysis/tags.damaged.json") == damage


def test_a_folder_that_cannot_be_written_to_is_refused_in_words(folder: RunFolder, read_only: None) -> None:
    with pytest.raises(RequestError, match="its tags cannot be written"):
        Tags(folder).add("samples", 1, [0], "a")


def test_pages_that_tag_at_the_same_time_lose_nothing(folder: RunFolder) -> None:
    def tag(index: int) -> None:
        Tags(folder).add("samples", 1, [index], "a")

    threads = [threading.Thread(target=tag, args=(index,)) for index in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Tags(folder).counts() == {"a": 20}
