"""The arrows of the design, read from the source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT

FRONT = ("streamlit", "app", "pages", "plotly")
METHODS_MAY = (
    "augmentation", "bn_statistics", "collecting", "config", "errors", "events", "gan_losses", "generative_losses",
    "generative_stage", "images", "losses", "networks", "objectives", "problem", "rival_losses", "samples", "selection",
    "stable_diffusion", "student_stage", "synthesis", "terms",
)  # fmt: skip


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


@pytest.mark.parametrize("name", modules())
def test_the_engine_never_imports_the_front_end(name: str) -> None:
    assert not [found for found in imports(modules()[name]) if within(found, *FRONT, "tests", "benchmarks")]


@pytest.mark.parametrize("name", [name for name in modules() if within(name, "dfkd_core.methods")])
def test_a_method_sees_neither_other_methods_nor_what_runs_it(name: str) -> None:
    allowed = tuple(f"dfkd_core.{part}" for part in METHODS_MAY)
    own = [found for found in imports(modules()[name]) if within(found, "dfkd_core") and found != "dfkd_core"]
    assert not [found for found in own if not within(found, *allowed, name)]


FORBIDDEN = {
    "dfkd_core.store": ("run", "engine", "methods", "benchmarks", "evaluation", "analysis", "study", "spec", "cli"),
    "dfkd_core.data.catalogue": ("run", "engine", "methods", "store", "analysis", "spec", "teachers", "cli"),
    "dfkd_core.networks": ("run", "engine", "methods", "store", "analysis", "spec", "benchmarks", "teachers", "cli"),
    "dfkd_core.networks.weights": (
        "run",
        "engine",
        "methods",
        "store",
        "analysis",
        "spec",
        "benchmarks",
        "teachers",
        "cli",
    ),
    "dfkd_core.kit.contract": (
        "run",
        "engine",
        "methods",
        "store",
        "analysis",
        "spec",
        "benchmarks",
        "teachers",
        "cli",
    ),
    "dfkd_core.losses.generator": (
        "run",
        "engine",
        "methods",
        "store",
        "analysis",
        "benchmarks",
        "problem",
        "networks",
    ),
    "dfkd_core.selection.mixture": (
        "run",
        "engine",
        "methods",
        "store",
        "analysis",
        "benchmarks",
        "problem",
        "networks",
    ),
    "dfkd_core.teachers.training": ("run", "engine", "methods", "store", "analysis", "spec", "cli"),
    "dfkd_core.runs.loop": ("engine", "analysis", "study", "cli", "worker"),
    "dfkd_core.engine": ("analysis", "study", "cli", "methods", "benchmarks"),
    "dfkd_core.analysis": ("engine", "study", "cli", "worker"),
    "dfkd_core.study": ("cli", "worker"),
}


@pytest.mark.parametrize("place", FORBIDDEN)
def test_no_arrow_points_upwards(place: str) -> None:
    forbidden = [f"dfkd_core.{part}" for part in FORBIDDEN[place]]
    inside = [path for name, path in modules().items() if within(name, place)]
    assert inside
    assert not [(path.name, found) for path in inside for found in imports(path) if within(found, *forbidden)]


def test_only_those_who_evaluate_look_at_data() -> None:
    """A method cannot peek at test data even by accident."""
    may = ("benchmarks", "evaluation", "generative_evaluation", "quality", "run", "spec", "teachers", "training", "cli",
           "analysis", "study")  # fmt: skip
    allowed = tuple(f"dfkd_core.{part}" for part in may)
    peeking = [
        name for name, path in modules().items()
        if not within(name, *allowed) and any(within(found, "dfkd_core.data.catalogue") for found in imports(path))
    ]  # fmt: skip
    assert not peeking


@pytest.mark.parametrize("name", ["multiprocessing", "pickle"])
def test_workers_are_started_as_modules_and_nothing_is_unpickled(name: str) -> None:
    users = [module for module, path in modules().items() if name in imports(path)]
    assert users == (["dfkd_core.networks.weights"] if name == "pickle" else []), (
        "weights names pickle's exception only"
    )
