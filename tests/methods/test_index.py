"""What is kept of the methods, so that listing them does not import torch; and that nothing kept is trusted blindly."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from dfkd_core import methods
from dfkd_core.methods import index

LOOK = """
import sys
from dfkd_core.methods.index import listed

print(len(listed()), "torch" in sys.modules)
"""


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file in a cache folder that does not exist yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "dfkd-lab" / "methods.json"


def looked_up(cache: str) -> list[str]:
    """How many methods a process of its own lists, and whether it has imported torch."""
    environment = {**os.environ, "XDG_CACHE_HOME": cache}
    done = subprocess.run([sys.executable, "-c", LOOK], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_what_is_listed_is_what_the_methods_say(kept: Path) -> None:
    found = index.listed()
    assert [method.name for method in found] == list(methods.available())
    for method, known in zip(found, methods.available().values(), strict=True):
        assert (method.title, method.needs) == (known.title, known.needs())
        assert (method.presets, method.knobs) == (list(known.Config.presets), len(known.Config.model_fields))
    assert kept.is_file() and index.listed() == found
    assert [path.name for path in kept.parent.iterdir()] == [kept.name], "nothing is left beside it"


def test_torch_is_imported_the_first_time_only(tmp_path: Path) -> None:
    count = str(len(methods.available()))
    assert looked_up(str(tmp_path)) == [count, "True"]
    assert looked_up(str(tmp_path)) == [count, "False"]


@pytest.mark.parametrize(
    "damage", ["", "{", "[]", '{"sources": 1}', '{"methods": [], "sources": "", "more": 1}', "\0\xff"]
)
def test_damage_is_found_anew_and_mended(kept: Path, damage: str) -> None:
    found = index.listed()
    whole = kept.read_text()
    kept.write_text(damage)
    assert index.listed() == found and kept.read_text() == whole


def test_other_sources_are_looked_at_anew(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = index.listed()
    stale = kept.read_text().replace(found[0].title, "Stale")
    kept.write_text(stale)
    assert index.listed()[0].title == "Stale", "what is kept is believed while the sources are the same"
    monkeypatch.setattr(index, "_sources", lambda: "others")
    assert index.listed() == found and '"sources": "others"' in kept.read_text()


def test_a_folder_that_cannot_be_written_is_done_without(kept: Path) -> None:
    kept.parent.parent.mkdir()
    kept.parent.write_text("in the way")
    assert [method.name for method in index.listed()] == list(methods.available())


def test_a_changed_source_changes_what_it_is_kept_under(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for room in index.ROOMS:
        (tmp_path / room).mkdir()
    (tmp_path / "kit" / "config.py").write_text("one = 1\n")
    monkeypatch.setattr(index, "__file__", str(tmp_path / "methods" / "index.py"))
    before = index._sources()
    assert index._sources() == before
    (tmp_path / "kit" / "config.py").write_text("one = 2\n")
    assert index._sources() != before
