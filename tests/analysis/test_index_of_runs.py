"""The list of runs: what it says is what the folders say, whatever has become of the index."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from command import call, refused
from conftest import new_run, result_after
from tampering import flip

from dfkd_core.analysis import about
from dfkd_core.analysis.finding import configurations, differences, in_order, matching
from dfkd_core.analysis.index import FILE, Entry, RunIndex
from dfkd_core.errors import RequestError, StoreError
from dfkd_core.store import (
    SPECS,
    RunFolder,
    RunStatus,
    empty_trash,
    restore,
    runs_in,
    throw_away,
    thrown_away,
    verify,
)


def ended(runs: Path, final: float, knobs: dict[str, Any] | None = None, **fields: Any) -> RunFolder:
    """A run that says how it ended."""
    folder = new_run(runs, knobs, **fields)
    folder.begin_attempt().close()
    result = result_after(1.0) | {"final": final, "best": final}
    folder.set_status(RunStatus("done", "", 6, 6, 1, None, result))
    return folder


@pytest.fixture
def three(runs: Path) -> list[RunFolder]:
    """Two seeds of one configuration, and another method."""
    made = [ended(runs, 0.5, seed=0), ended(runs, 0.95, seed=1), ended(runs, 0.7, method="dafl", seed=0)]
    about.say(made[2], tags=("good", "for class"), note="odd at step 3")
    return made


def ids(entries: list[Entry]) -> set[str]:
    return {entry.id for entry in entries}


def finals(runs: Path) -> list[float | None]:
    """As somebody sees them who comes anew."""
    return sorted(entry.status.result.get("final") for entry in RunIndex(runs).entries())


DAMAGE: dict[str, Callable[[Path], Any]] = {
    "as it was": lambda file: None,
    "deleted": lambda file: file.unlink(),
    "no database": lambda file: file.write_bytes(b"not a database at all" * 100),
    "torn": lambda file: file.write_bytes(file.read_bytes()[:3000]),
    "empty": lambda file: file.write_bytes(b""),
    "a folder": lambda file: (file.unlink(), file.mkdir()),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_an_index_in_any_state_lists_the_runs(runs: Path, three: list[RunFolder], damage: str) -> None:
    assert finals(runs) == [0.5, 0.7, 0.95]
    DAMAGE[damage](runs / FILE)
    assert finals(runs) == [0.5, 0.7, 0.95]
    assert finals(runs) == [0.5, 0.7, 0.95]
    if damage != "a folder":  # which nobody takes away
        with closing(sqlite3.connect(runs / FILE)) as connection:
            assert connection.execute("SELECT count(*) FROM runs").fetchone() == (3,), "it is made again"


def test_a_row_of_the_index_that_was_changed_is_not_believed(runs: Path, three: list[RunFolder]) -> None:
    assert len(finals(runs)) == 3
    with sqlite3.connect(runs / FILE) as connection:
        said = connection.execute("SELECT said FROM runs").fetchone()[0]
        connection.execute("UPDATE runs SET said = ?", (said.replace(b'"final": 0.', b'"final": 9.'),))
    connection.close()
    assert finals(runs) == [0.5, 0.7, 0.95]


def test_the_index_is_used(runs: Path, three: list[RunFolder], monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(finals(runs)) == 3
    monkeypatch.setattr(RunFolder, "spec", lambda *_: pytest.fail("a folder that did not change was read again"))
    assert finals(runs) == [0.5, 0.7, 0.95]


def test_what_changes_behind_the_index_is_seen(runs: Path, three: list[RunFolder]) -> None:
    index = RunIndex(runs)
    assert len(index.entries()) == 3
    one, two, other = three
    one.set_status(RunStatus("stopped", "", 3, 6, 1))
    about.say(two, name="the best")
    flip(other.path / SPECS[0], 100)
    new = new_run(runs)
    seen = {entry.id: entry for entry in index.entries()}
    assert seen[one.id].status.state == "stopped" and seen[two.id].title == "the best"
    assert any("spec.json is damaged" in said for said in seen[other.id].damaged)
    assert seen[new.id].status.state == "interrupted"
    throw_away(new)
    assert ids(index.entries()) == ids(RunIndex(runs).entries()) == {one.id, two.id, other.id}


def test_a_run_that_goes_on_is_live_until_its_owner_is_gone(runs: Path) -> None:
    folder, index = new_run(runs), RunIndex(runs)
    with folder.begin_attempt() as lease:
        folder.set_status(RunStatus("running", "", 3, 6, lease.number))
        assert index.entries()[0].status.is_live
    assert index.entries()[0].status.state == RunIndex(runs).entries()[0].status.state == "interrupted"


def test_where_no_index_can_be_written_the_list_is_right(runs: Path, three: list[RunFolder]) -> None:
    (runs / FILE).mkdir()
    assert finals(runs) == [0.5, 0.7, 0.95]


# --- finding ---------------------------------------------------------------------------------------------------

FOUND = {
    "": 3,
    "dafl": 1,
    "-dafl": 2,
    "method=ta-dfkd": 2,
    "method!=ta-dfkd": 1,
    "final>60%": 2,
    "final>0.6 seed=1": 1,
    "seed<1": 2,
    "tags=good": 1,
    'tags="for class"': 1,
    "-tags=good": 2,
    '"at step 3"': 1,
    "odd step": 1,
    "selection=true": 2,  # DAFL has no such knob
    "teacher=nobody": 0,
}


@pytest.mark.parametrize("asked", FOUND)
def test_runs_are_found_by_words_and_comparisons(runs: Path, three: list[RunFolder], asked: str) -> None:
    assert len(matching(RunIndex(runs).entries(), asked)) == FOUND[asked]


@pytest.mark.parametrize(("asked", "said"), [("methot=dafl", "did you mean method"), ("seed<", "followed by a value")])
def test_a_search_for_nothing_is_a_sentence(runs: Path, three: list[RunFolder], asked: str, said: str) -> None:
    with pytest.raises(RequestError, match=said):
        matching(RunIndex(runs).entries(), asked)


def test_runs_are_sorted_by_any_knob_or_result(runs: Path, three: list[RunFolder]) -> None:
    entries = RunIndex(runs).entries()
    assert [entry.values["final"] for entry in in_order(entries, "final", descending=True)] == [0.95, 0.7, 0.5]
    assert in_order(entries, "posterior_cut")[-1].id == three[2].id, "what has no such knob comes last"
    with pytest.raises(RequestError, match="sort"):
        in_order(entries, "nothing")


def test_what_differs_and_what_is_one_configuration(runs: Path, three: list[RunFolder]) -> None:
    one, two, other = ({entry.id: entry for entry in RunIndex(runs).entries()}[folder.id] for folder in three)
    assert differences([one, two]) == {"seed": [0, 1]}
    assert {"method", "selection"} <= differences([one, other]).keys()
    assert [ids(group) for group in configurations([one, other, two])] == [{one.id, two.id}, {other.id}]


def test_the_command_finds_sorts_and_shows(capsys: Any, runs: Path, three: list[RunFolder]) -> None:
    where = ("--runs", str(runs))
    asked = ("runs", "--search", "seed<2", "--sort", "final", "--descending", "--columns", "student_lr", *where)
    status, out, _ = call(capsys, *asked)
    assert status == 0 and [line.split()[0] for line in out.splitlines()] == [three[n].id for n in (1, 2, 0)]
    assert all("student_lr=" in line for line in out.splitlines())
    (found,) = map(json.loads, call(capsys, "runs", "--search", "dafl", "--json", *where)[1].splitlines())
    assert found["about"]["tags"] == ["good", "for class"] and found["spec"]["method"] == "dafl"
    for wrong in (("--search", "methot=dafl"), ("--sort", "nothing"), ("--columns", "nothing")):
        assert "no run has that" in refused(capsys, "runs", *wrong, *where)


# --- words, and the trash --------------------------------------------------------------------------------------


def test_what_is_said_of_a_run_stays_in_its_folder(runs: Path, three: list[RunFolder]) -> None:
    folder = three[0]
    about.say(folder, name="first", group="july", note="a\nb")
    about.say(folder, tags=("x",))
    assert about.about(folder) == about.About(name="first", group="july", tags=("x",), note="a\nb")
    assert verify(folder) == []
    for wrong in ({"name": "x" * 61}, {"tags": ("a,b",)}, {"name": "two\nlines"}):
        with pytest.raises(RequestError):
            about.say(folder, **wrong)
    flip(folder.path / about.FILE, 20)
    assert about.about(folder) == about.NOTHING and verify(folder)
    about.say(folder, name="again")
    assert about.about(folder).name == "again" and (folder.path / about.PUT_ASIDE).is_file()


def test_a_deleted_run_comes_back_as_it_was(runs: Path, three: list[RunFolder]) -> None:
    folder = three[0]
    before = {name: folder.files.read(name) for name in folder.files.walk()}
    throw_away(folder)
    assert folder.id not in {one.id for one in runs_in(runs)} and [one.id for one in thrown_away(runs)] == [folder.id]
    again = restore(runs, folder.id)
    assert {name: again.files.read(name) for name in again.files.walk()} == before and thrown_away(runs) == []
    throw_away(again)
    empty_trash(runs)
    with pytest.raises(StoreError, match="not in the trash"):
        restore(runs, folder.id)


def test_a_run_that_goes_on_is_not_deleted(runs: Path) -> None:
    folder = new_run(runs)
    with folder.begin_attempt() as lease:
        folder.set_status(RunStatus("running", "", 3, 6, lease.number))
        with pytest.raises(StoreError, match="stop it before"):
            throw_away(folder)
    throw_away(folder)
