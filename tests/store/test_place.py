"""Files below one folder: whatever lies there, nothing outside is read, written or deleted, and nothing hangs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from dfkd_core.errors import StoreError
from dfkd_core.store import Place


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder that has nothing to do with the place."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "file").write_bytes(b"secret")
    return folder


@pytest.fixture
def place(tmp_path: Path) -> Place:
    (tmp_path / "inside").mkdir()
    return Place(tmp_path / "inside", "run 7")


ANYTHING = TypeAdapter(dict[str, Any])
USES: dict[str, Callable[[Place, str], Any]] = {
    "open": lambda place, name: place.open(name).close(),
    "read": Place.read,
    "read_json": lambda place, name: place.read_json(name, ANYTHING),
    "tail": lambda place, name: place.tail(name, 2),
    "append": lambda place, name: place.append(name).close(),
}
WRITES: dict[str, Callable[[Place, str], Any]] = {
    "write": lambda place, name: place.write(name, b"new"),
    "create": lambda place, name: place.create(name).close(),
    "remove": Place.remove,
}


def test_what_was_written_is_read(place: Place) -> None:
    place.write("deep/er/file", b"one")
    place.write("deep/er/file", b"two", durable=False)
    with place.append("deep/er/log") as log:
        log.write(b"more")
    assert place.read("deep/er/file") == b"two" and place.tail("deep/er/log", 2) == b"re"
    assert place.names("deep/er") == ["file", "log"] and list(place.walk()) == ["deep/er/file", "deep/er/log"]
    place.remove("deep/er/log")
    place.remove("deep/er/log")
    assert not place.exists("deep/er/log") and place.exists("deep/er/file") and place.exists("deep")


def test_what_is_missing_is_missing(place: Place) -> None:
    for name in ("nothing", "no/thing"):
        assert not place.exists(name) and place.names(name) == [] and place.read_json(name, ANYTHING) is None
        assert place.tail(name, 0) == b"" and place.changed(name) is None
        with pytest.raises(FileNotFoundError):
            place.read(name)


def test_the_place_itself_may_be_reached_through_a_link(place: Place, tmp_path: Path) -> None:
    place.write("file", b"here")
    (tmp_path / "link").symlink_to(place.path)
    assert Place(tmp_path / "link").read("file") == b"here"


@pytest.mark.parametrize("use", {**USES, **WRITES}.values(), ids={**USES, **WRITES})
@pytest.mark.parametrize(
    "name", ["", ".", "..", "../outside/file", "a/../../outside/file", "a//b", "/etc/passwd", "a\0b", "\ud800", 7, None]
)
def test_a_name_that_leads_elsewhere_is_refused(place: Place, use: Callable[..., Any], name: Any) -> None:
    with pytest.raises(StoreError, match="run 7: .* is not the name of a file in its folder"):
        use(place, name)


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_a_link_is_not_followed(place: Place, outside: Path, use: Callable[..., Any]) -> None:
    (place.path / "file").symlink_to(outside / "file")
    (place.path / "folder").symlink_to(outside)
    with pytest.raises(StoreError, match="run 7: file is a link, and links in its folder are not followed"):
        use(place, "file")
    with pytest.raises(StoreError, match="run 7: folder is a link"):
        use(place, "folder/file")
    assert (outside / "file").read_bytes() == b"secret"


@pytest.mark.parametrize("use", WRITES.values(), ids=WRITES)
def test_nothing_is_written_or_deleted_behind_a_link(place: Place, outside: Path, use: Callable[..., Any]) -> None:
    (place.path / "folder").symlink_to(outside)
    for name in ("file", "another"):
        with pytest.raises(StoreError, match="is a link"):
            use(place, f"folder/{name}")
    assert [path.name for path in outside.iterdir()] == ["file"] and (outside / "file").read_bytes() == b"secret"


def test_a_link_in_the_place_of_a_file_is_replaced_or_removed_itself(place: Place, outside: Path) -> None:
    for name in ("written", "removed"):
        (place.path / name).symlink_to(outside / "file")
    place.write("written", b"new")
    place.remove("removed")
    assert place.read("written") == b"new" and not place.exists("removed")
    assert (outside / "file").read_bytes() == b"secret"


def test_a_file_with_a_second_name_elsewhere_is_not_appended_to(place: Place, outside: Path) -> None:
    os.link(outside / "file", place.path / "log")
    with pytest.raises(StoreError, match="run 7: log is linked with a file elsewhere"):
        place.append("log")
    assert (outside / "file").read_bytes() == b"secret"


@pytest.mark.timeout(10)
@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_a_pipe_or_a_folder_in_the_place_of_a_file_holds_nobody_up(place: Place, use: Callable[..., Any]) -> None:
    os.mkfifo(place.path / "pipe")
    (place.path / "folder").mkdir()
    for name in ("pipe", "folder"):
        with pytest.raises(StoreError, match=f"run 7: {name} is not a regular file"):
            use(place, name)


def test_walking_passes_over_what_is_deleted_meanwhile(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file between listing its folder and looking at it, a folder before descending into it."""
    for name in ("a", "b/file", "c"):
        place.write(name, b"")
    listed = os.scandir

    def scandir(handle: int) -> Any:
        entries = list(listed(handle))
        place.remove("c")
        return nullcontext(entries)

    monkeypatch.setattr(os, "scandir", scandir)
    assert list(place.walk()) == ["a", "b/file"]
    for name in (walk := place.walk()):
        assert name == "a"
        monkeypatch.undo()
        shutil.rmtree(place.path / "b")
    assert list(walk) == []


def test_walking_passes_links_over(place: Place, outside: Path) -> None:
    (place.path / "file").symlink_to(outside / "file")
    (place.path / "folder").symlink_to(outside)
    place.write("own", b"")
    assert list(place.walk()) == ["own"]
