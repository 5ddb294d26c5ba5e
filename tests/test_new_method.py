"""A method is one file: in a copy of the lab with one that nobody knows, everything finds it and nothing fails."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

COPIED = ("app.py", "pyproject.toml", "dfkd_core", "pages", "assets", "static", "tests", ".streamlit")
EVERY_METHOD = [
    "kit/test_config.py", "kit/test_method.py", "methods/test_slow_motion.py",
    "cli/test_cli.py", "runs/test_run.py", "pages/test_glossary.py", "pages/test_pages.py",
]  # fmt: skip


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The copy."""
    root = tmp_path_factory.mktemp("copy")
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif (ROOT / name).exists():
            shutil.copy(ROOT / name, root / name)
    shutil.copy(ROOT / "tests" / "proof" / "pull.py", root / "dfkd_core" / "methods")
    return root


def passing(lab: Path, *arguments: str) -> str:
    """What pytest says of tests in the copy."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
    environment = {**os.environ, "XDG_CACHE_HOME": str(lab / "cache"), "PYTHONPATH": str(lab)}
    done = subprocess.run(command, cwd=lab, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    return done.stdout


def test_everything_finds_it(lab: Path) -> None:
    passing(lab, "tests/proof/checks.py")


def test_every_test_of_all_methods_passes_for_it(lab: Path) -> None:
    """Smoke, resume, slow motion, flags, form, glossary: what is asked of every method."""
    chosen = ["-k", "pull", "-m", "not browser and not slow", "-vv"]
    said = passing(lab, *(f"tests/{path}" for path in EVERY_METHOD), *chosen)
    assert all(f"tests/{path}::" in said for path in EVERY_METHOD), "each of these files asks something of it"
