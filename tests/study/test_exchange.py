"""A run or a study as one file: what comes out of another lab's is what was put in, or a sentence and nothing."""

from __future__ import annotations

import errno
import io
import os
import shutil
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command import call, refused
from conftest import execute, new_run
from running import commanding
from studying import conduct, plain_study
from tampering import flip

from dfkd_core.errors import RequestError
from dfkd_core.runs.spec import read_spec
from dfkd_core.store import Place, RunFolder, runs_in, verify
from dfkd_core.store.listing import CACHE
from dfkd_core.study import Record, Study, studies_in
from dfkd_core.study.exchange import SHIPPED, pack, unpack


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """Another lab's folder of runs."""
    return tmp_path / "elsewhere"


def packed(what: RunFolder | Study) -> io.BytesIO:
    target = io.BytesIO()
    pack(what, target)
    return target


def made(files: dict[str, bytes], **attributes: int) -> io.BytesIO:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name)
            entry.compress_type = zipfile.ZIP_DEFLATED
            for attribute, value in attributes.items():
                setattr(entry, attribute, value)
            archive.writestr(entry, content)
    return target


def test_a_run_goes_to_another_lab_and_goes_on_there(runs: Path, elsewhere: Path, tmp_path: Path, capsys: Any) -> None:
    folder = new_run(runs, checkpoint_seconds=0.0)
    execute(folder)
    file = str(tmp_path / "run.zip")
    assert call(capsys, "export", folder.id, file, "--runs", str(runs))[0] == 0
    assert call(capsys, "import", file, "--runs", str(elsewhere)) == (0, f"{folder.id}\n", "")
    (brought,) = runs_in(elsewhere)
    assert read_spec(brought) == read_spec(folder) and brought.status() == folder.status() and verify(brought) == []
    assert "is already in" in refused(capsys, "import", file, "--runs", str(elsewhere))
    assert "is there already" in refused(capsys, "export", folder.id, file, "--runs", str(runs))


def test_a_run_that_goes_on_is_taken_as_it_is_and_is_not_damaged(
    runs: Path, elsewhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """It deletes its older checkpoint, and a job its layout, while they are read."""
    folder, read = new_run(runs, checkpoint_seconds=0.0), Place.read
    assert execute(folder, commanding(folder, 4, "stop")).state == "stopped"
    folder.files.write_json("analysis/layout.json", {})
    copied = shutil.copytree(folder.path, elsewhere / folder.id)

    def meanwhile(place: Place, name: str, sha256: str = "") -> bytes:
        if name in ("analysis/layout.json", "checkpoints/step-00000003.safetensors"):
            place.remove(name.replace("safetensors", "json"))
            place.remove(name)
        return read(place, name, sha256)

    monkeypatch.setattr(Place, "read", meanwhile)
    assert verify(RunFolder(copied)) == []
    file = tmp_path / "run.zip"
    assert call(capsys, "export", folder.id, str(file), "--runs", str(runs))[0] == 0
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
    assert f"{folder.id}/checkpoints/step-00000004.json" in names
    assert not any(name.endswith(("3.safetensors", "layout.json")) for name in names)


def test_an_export_that_fails_leaves_no_file(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    folder = new_run(runs)

    def read(place: Place, name: str) -> bytes:
        raise OSError(errno.EIO, "it is broken")

    monkeypatch.setattr(Place, "read", read)
    (tmp_path / "out").mkdir()
    assert call(capsys, "export", folder.id, str(tmp_path / "out" / "run.zip"), "--runs", str(runs))[0] == 2
    assert list((tmp_path / "out").iterdir()) == []


def test_a_study_takes_its_runs_along(runs: Path, elsewhere: Path) -> None:
    study = plain_study(runs)
    conduct(study)
    assert unpack(packed(study), elsewhere) == [study.id, *sorted(study.record(cell).run for cell in study.cells)]
    (brought,) = studies_in(elsewhere)
    assert brought.progress() == study.progress() and brought.damage() == []
    assert len(runs_in(elsewhere)) == 2


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("../evil.json", "is no file of a run"), ("/etc/spec.json", "is no file of a run"),
        ("run/../../spec.json", "is no file of a run"), ("run/samples/../../../x.png", "is no file of a run"),
        ("run/bin/sh", "is no file of a run"), ("run/samples/x.py", "is no file of a run"),
        ("studies/../spec.json", "is no file of a run"), (".ssh/spec.json", "is no file of a run"),
        ("run/attempts/1/lock", "is no file of a run"), ("run/status.json", "cannot be read"),
        ("studies/one/cells/a.json", "cannot be read"),
    ],
)  # fmt: skip
def test_what_no_lab_exports_is_refused_and_nothing_is_left(elsewhere: Path, name: str, said: str) -> None:
    with pytest.raises(RequestError, match=said):
        unpack(made({name: b"{}"}), elsewhere)
    assert list(elsewhere.iterdir()) == []


def test_what_is_called_like_a_recording_is_refused(elsewhere: Path) -> None:
    for recorded in (*runs_in(SHIPPED)[:1], *studies_in(SHIPPED)[:1]):
        with pytest.raises(RequestError, match="is the name of a recording that comes with the lab"):
            unpack(packed(recorded), elsewhere)
        assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize("name", ["cluster", CACHE])
def test_a_run_that_is_called_as_the_lab_calls_a_folder_of_its_own_is_refused(elsewhere: Path, name: str) -> None:
    with pytest.raises(RequestError, match=f"^import = '{name}': is a name that the lab keeps for itself"):
        unpack(made({f"{name}/spec.json": b"{}"}), elsewhere)
    assert list(elsewhere.iterdir()) == []


def test_of_two_imports_at_once_one_is_told_so_and_undone(
    runs: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That of a study has just begun to put it there when another one brings its last run."""
    study, rename = plain_study(runs), os.rename
    for cell in study.cells:
        study.keep(cell, Record(run=new_run(runs).id))
    both, last = packed(study), study.folders()[-1]

    def meanwhile(source: Any, target: Any) -> None:
        if Path(target).name == study.id:
            monkeypatch.undo()
            assert unpack(packed(last), elsewhere) == [last.id]
        rename(source, target)

    monkeypatch.setattr(os, "rename", meanwhile)
    with pytest.raises(RequestError, match=f"^import = '{last.id}': is already in .*; nothing was imported"):
        unpack(both, elsewhere)
    assert [one.id for one in runs_in(elsewhere)] == [last.id] and studies_in(elsewhere) == []
    assert verify(runs_in(elsewhere)[0]) == [] and not (elsewhere / last.id / last.id).exists()


@pytest.mark.parametrize(
    ("archive", "said"),
    [
        (lambda: io.BytesIO(b"PK no zip"), "should be a ZIP file"), (lambda: made({}), "holds no run"),
        (lambda: made({"run/spec.json": b"0" * (300 << 20)}), "no bomb"),
        (lambda: made({"run/spec.json": b"{}"}, external_attr=(stat.S_IFLNK | 0o777) << 16), "is no file of a run"),
    ],
    ids=["no zip", "empty", "bomb", "link"],
)  # fmt: skip
def test_a_file_that_is_no_archive_of_a_lab_is_refused(
    elsewhere: Path, archive: Callable[[], io.BytesIO], said: str
) -> None:
    with pytest.raises(RequestError, match=said):
        unpack(archive(), elsewhere)
    assert list(elsewhere.iterdir()) == []


def test_a_damaged_archive_is_refused_and_nothing_is_left(runs: Path, elsewhere: Path, tmp_path: Path) -> None:
    target = tmp_path / "run.zip"
    target.write_bytes(packed(new_run(runs)).getvalue())
    flip(target, 8 * 200)
    with pytest.raises(RequestError), target.open("rb") as file:
        unpack(file, elsewhere)
    assert list(elsewhere.iterdir()) == []


def test_links_of_a_run_are_left_out(runs: Path, elsewhere: Path, outside: Path) -> None:
    folder = new_run(runs)
    shutil.rmtree(folder.path / "samples")
    (folder.path / "samples").symlink_to(outside)
    assert unpack(packed(folder), elsewhere) == [folder.id]
    assert not (elsewhere / folder.id / "samples").exists()
