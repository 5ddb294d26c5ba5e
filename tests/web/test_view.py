"""How scripts and style sheets reach the browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import streamlit as st

from pages.ui import boot
from pages.ui.web import view


@pytest.fixture
def ui(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small ``pages/ui`` of the test's own, and a folder to serve from."""
    for name, folder in (("UI", tmp_path / "ui"), ("STATIC", tmp_path / "static")):
        monkeypatch.setattr(view if name == "UI" else boot, name, folder)
        folder.mkdir()
    for name, text in {
        "run/stage.js": 'import { a } from "../web/dom.js";\nimport { b } from "./slow.js";\n',
        "run/slow.js": 'import { a } from "../web/dom.js";\n',
        "run/other.js": "",
        "web/dom.js": "",
        "web/look.css": "",
    }.items():
        (tmp_path / "ui" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "ui" / name).write_text(text)
    st.cache_resource.clear()
    return tmp_path / "ui"


def versions() -> list[Path]:
    return sorted(path for path in boot.STATIC.iterdir() if path.name.startswith("ui-"))


def mounted(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What Streamlit is given for a view of ``run/stage.js``."""
    given: dict[str, Any] = {}
    monkeypatch.setattr(st.components.v2, "component", lambda name, **about: given.update(about) or (lambda: None))
    view.view("stage", "run/stage.js", "run/player.css")
    return given


def test_a_changed_file_has_another_address(ui: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = mounted(monkeypatch)
    (folder,) = versions()
    assert (folder / "run" / "stage.js").read_text() == (ui / "run" / "stage.js").read_text()
    assert f"/app/static/{folder.name}/run/stage.js" in first["js"]
    assert not mounted(monkeypatch), "the same again is no new component"
    (ui / "web" / "dom.js").write_text("export const a = 1;\n")
    second = mounted(monkeypatch)
    (other,) = versions()
    assert other != folder and f"/app/static/{other.name}/run/stage.js" in second["js"]
    assert (other / "web" / "dom.js").read_text() == "export const a = 1;\n"


def test_style_sheets_and_all_modules_are_asked_for_at_once(ui: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    html = mounted(monkeypatch)["html"]
    (folder,) = versions()
    for kind, name in [
        ("stylesheet", "web/look.css"), ("stylesheet", "run/player.css"), ("modulepreload", "run/stage.js"),
        ("modulepreload", "run/slow.js"), ("modulepreload", "web/dom.js"),
    ]:  # fmt: skip
        assert f'<link rel="{kind}" href="/app/static/{folder.name}/{name}">' in html
    assert "other.js" not in html


def test_an_order_is_carried_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    state = {"stage": {"ask": {"of": "run", "id": "1", "orders": [{"id": "a", "name": "slow"}]}}}
    monkeypatch.setattr(st, "session_state", state)
    done: list[str] = []
    for _ in range(2):
        said = view.asked("stage", "run")
        view.carry_out("stage", said, lambda order: done.append(order["name"]))
    assert done == ["slow"] and view.answer("stage", said) == {"answered": "1", "done": ["a"]}
    assert view.asked("stage", "another run") is None and view.asked("elsewhere", "run") is None
