"""Which engine a name stands for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from dfkd_core import engine as engines
from dfkd_core.engine import InlineEngine, LocalEngine
from dfkd_core.errors import RequestError


@pytest.mark.parametrize(("name", "slots"), [("local", 1), ("local:3", 3)])
def test_a_name_says_how_many_runs_train_at_once(runs: Path, name: str, slots: int) -> None:
    engine = engines.find(name, runs)
    try:
        assert isinstance(engine, LocalEngine) and engine.slots == slots and engine.title
    finally:
        engine.close()


def test_the_environment_says_which_one_where_nobody_else_does(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DFKD_ENGINE", "inline")
    assert isinstance(engines.find("", runs), InlineEngine)
    monkeypatch.delenv("DFKD_ENGINE")
    assert isinstance(engines.find("", runs, usual="inline"), InlineEngine)


@pytest.mark.parametrize("name", ["cloud", "local:0", "local:two", "inline:2", "local:-1"])
def test_a_name_that_is_none_is_refused_with_those_there_are(
    runs: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RequestError, match=f"^engine = '{name}': should be local .*, ray .*, or inline"):
        engines.find(name, runs)
    monkeypatch.setenv("DFKD_ENGINE", name)
    with pytest.raises(RequestError, match=f"^DFKD_ENGINE = '{name}': should be"):
        engines.find("", runs)


def test_choosing_an_engine_needs_neither_torch_nor_ray() -> None:
    code = (
        "import sys; from pathlib import Path; from dfkd_core.engine import find; find('inline', Path('.')); "
        "sys.exit('torch' in sys.modules or 'ray' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
