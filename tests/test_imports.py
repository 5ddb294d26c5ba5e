"""The arrows of the design, read from the source: rooms import downwards, and nothing imports in a circle."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from conftest import ROOT

LONGEST_FILE = 450
FRONT = ("streamlit", "app", "pages", "plotly", "tests", "benchmarks")
GROUND = {"errors", "events", "images", "provenance"}
MAY = {
    "networks": set(),
    "losses": {"networks"},
    "selection": {"networks"},
    "synthesis": {"networks"},
    "kit": {"networks", "losses", "selection", "synthesis"},
    "methods": {"networks", "losses", "selection", "synthesis", "kit"},
    "store": set(),
    "data": {"selection"},
    "teachers": {"networks", "losses", "kit", "store", "data"},
    "quality": {"networks", "store", "data", "teachers"},
    "runs": {
        "networks", "losses", "selection", "synthesis", "kit", "methods", "store", "data", "teachers", "quality",
    },
    "engine": {"store", "runs"},
    "analysis": {"networks", "selection", "kit", "methods", "store", "data", "teachers", "quality", "runs"},
    "study": {"kit", "methods", "store", "data", "teachers", "quality", "runs", "engine", "analysis"},
    "cli": {
        "networks", "selection", "methods", "store", "data", "teachers", "quality", "runs", "engine", "analysis",
        "study",
    },
}  # fmt: skip
"""What a room of the engine may import beside the ground."""


def modules() -> dict[str, Path]:
    """Every module of the engine by its dotted name."""
    found = {}
    for path in sorted((ROOT / "dfkd_core").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path) -> Iterator[str]:
    """Dotted names of all that a file imports, within functions and under TYPE_CHECKING too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: relative imports hide where they lead"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def within(name: str, *places: str) -> bool:
    return any(name == place or name.startswith(place + ".") for place in places)


def rooms() -> list[str]:
    return sorted(path.name for path in (ROOT / "dfkd_core").iterdir() if (path / "__init__.py").exists())


@pytest.mark.parametrize("room", rooms())
def test_a_room_imports_downwards_and_never_the_front_end(room: str) -> None:
    inside = [path for name, path in modules().items() if within(name, f"dfkd_core.{room}")]
    found = {name for path in inside for name in imports(path)}
    assert not [name for name in found if within(name, *FRONT)]
    own = {name.split(".")[1] for name in found if within(name, "dfkd_core") and name != "dfkd_core"}
    assert own - {room, "__version__"} - GROUND <= MAY[room], f"{room} imports what is above it"


def test_the_ground_imports_nothing_of_the_rest() -> None:
    for name in GROUND:
        own = {found.split(".")[1] for found in imports(modules()[f"dfkd_core.{name}"]) if within(found, "dfkd_core.")}
        assert own <= GROUND


def test_the_root_holds_the_ground_only() -> None:
    assert {path.stem for path in (ROOT / "dfkd_core").glob("*.py")} == GROUND | {"__init__", "__main__"}


def test_no_module_imports_itself_by_a_detour() -> None:
    found = modules()
    graph = {
        name: {other for other in imports(path) if other in found and other != name} for name, path in found.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a circle: {' → '.join(error.args[1])}")


@pytest.mark.parametrize("name", [name for name in modules() if name.startswith("dfkd_core.methods.")])
def test_a_method_sees_no_other_method(name: str) -> None:
    assert not [found for found in imports(modules()[name]) if within(found, "dfkd_core.methods")]


@pytest.mark.parametrize("name", ["multiprocessing", "pickle"])
def test_workers_are_started_as_modules_and_nothing_is_unpickled(name: str) -> None:
    assert not [module for module, path in modules().items() if name in imports(path)]


def test_no_file_is_too_long_to_be_read() -> None:
    """What the browser is sent is held to the same by tests/web/test_scripts.py."""
    files = [path for room in ("dfkd_core", "pages", "benchmarks", "tests") for path in (ROOT / room).rglob("*.py")]
    assert not [(path.name, lines) for path in files if (lines := len(path.read_text().splitlines())) > LONGEST_FILE]
