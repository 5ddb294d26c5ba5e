"""What many browsers fetch of one run: files that are written once and tell the same as the run's log."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import eventually, new_run

from dfkd_core.analysis.timeline import Timeline
from dfkd_core.events import Applied, Step
from dfkd_core.store import EventWriter, RunFolder
from pages.ui import again
from pages.ui.run import feed as feeds
from pages.ui.run.feed import Feed


@pytest.fixture
def folder(runs: Path) -> RunFolder:
    return new_run(runs)


@pytest.fixture
def writer(folder: RunFolder) -> EventWriter:
    return EventWriter(folder, folder.begin_attempt().number)


@pytest.fixture
def feed(folder: RunFolder, tmp_path: Path) -> Feed:
    return Feed(Timeline(folder), tmp_path / "feed")


def write(writer: EventWriter, *steps: int, **more: float) -> None:
    for step in steps:
        writer.add(Step(step, {"student_loss": 1 / step, **more}), float(step))
    writer.flush()


def put_together(at: Path, versions: list[int]) -> dict[str, Any]:
    """What a browser makes of them."""
    curves: dict[str, Any] = json.loads((at / f"{versions[0]}.json").read_text())
    for before, after in zip(versions, versions[1:], strict=False):
        for name, added in json.loads((at / f"{before}-{after}.json").read_text()).items():
            curve = curves.setdefault(name, {"x": [], "y": []})
            curve["x"] += added["x"]
            curve["y"] += added["y"]
    return curves


def test_a_whole_and_what_was_added_make_the_curves(feed: Feed, writer: EventWriter, tmp_path: Path) -> None:
    write(writer, 1, 2)
    first = feed.curves()
    assert len(first) == 1 and feed.curves() == first, "nothing new, nothing written"
    write(writer, 3)
    write(writer, 4, 5, kept=0.5)
    versions = feed.curves()
    assert versions[:1] == first and len(versions) == 2
    curves = put_together(tmp_path / "feed", versions)
    assert curves["student_loss"] == {"x": [1, 2, 3, 4, 5], "y": [1.0, 0.5, 0.333333, 0.25, 0.2]}
    assert curves["kept"] == {"x": [4, 5], "y": [0.5, 0.5]}


def test_what_a_run_turned_away_from_is_in_no_curve(feed: Feed, writer: EventWriter, tmp_path: Path) -> None:
    write(writer, 1, 2, 3, 4)
    before = feed.curves()
    writer.add(Applied(2, "set", "", {"student_lr": 0.1}), 5.0)
    write(writer, 3, kept=0.5)
    versions = feed.curves()
    assert not {*before} & {*versions} and versions[0] > before[-1], "browsers take the whole anew"
    write(writer, 4)
    curves = put_together(tmp_path / "feed", feed.curves())
    assert curves["student_loss"]["x"] == [1, 2, 3, 4] and curves["kept"]["x"] == [3]


def test_old_files_go_but_not_those_that_somebody_was_just_told(
    feed: Feed, writer: EventWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeds, "MOST_STEPS", 2)
    told = []
    for step in range(1, 30):
        write(writer, step)
        told.append(feed.curves())
    for versions in told[-6:]:
        assert put_together(tmp_path / "feed", versions)["student_loss"]["x"] == list(range(1, versions[-1] + 1))
    assert len(list((tmp_path / "feed").iterdir())) < 15


def test_a_file_is_named_by_its_content(feed: Feed, tmp_path: Path) -> None:
    one, again, other = (feed.file({"count": count}) for count in (1, 1, 2))
    assert one == again != other and feed.file(None) is None
    assert json.loads((tmp_path / "feed" / str(other)).read_text()) == {"count": 2}


def test_the_frames_of_a_run_that_has_ended_have_names_until_it_goes_on(
    feed: Feed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeds, "AT_ONCE", 2)
    frames: dict[int, dict[str, int] | None] = {1: {"count": 1}, 4: None, 9: {"count": 9}}
    assert set(feed.names(list(frames), frames.get)) == {1, 4}, "some more with each look"
    names = feed.names(list(frames), frames.get)
    assert set(names) == {1, 4, 9} and names[4] is None
    assert json.loads((tmp_path / "feed" / str(names[9])).read_text()) == {"count": 9}
    feed.tell(dict)
    frames[9] = {"count": 10}
    assert feed.names([9], frames.get)[9] != names[9], "a frame may come to hold more"


def test_news_are_kept_as_long_as_somebody_watches(feed: Feed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "EVERY_SECONDS", 0.01)
    monkeypatch.setattr(feeds, "ALONE_SECONDS", 0.3)
    count = iter(range(1_000_000))
    feed.tell(lambda: {"step": next(count)})
    now = tmp_path / "feed" / feeds.NOW
    eventually(lambda: now.exists() and json.loads(now.read_text())["step"] > 3)
    assert now.stat().st_size % feeds.PADDED == 0
    assert feed._teller is not None
    feed._teller.join(10)
    assert not feed._teller.is_alive()


def test_browsers_look_less_often_where_more_watch_than_a_full_class() -> None:
    again._sessions.clear()
    assert (again.look_seconds(), again.poll_seconds()) == (0.7, 1.0)
    again._sessions().update({str(number): time.monotonic() for number in range(99)})
    assert (again.look_seconds(), again.poll_seconds()) == (pytest.approx(1.4), pytest.approx(20.0))
    again._sessions.clear()
