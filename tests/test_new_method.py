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
CHECKS = "proof/checks.py"
EVERY_METHOD = [
    "kit/test_config.py", "kit/test_method.py", "methods/test_slow_motion.py",
    "cli/test_cli.py", "runs/test_run.py", "pages/test_glossary.py", "pages/test_pages.py",
]  # fmt: skip


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """The copy."""
    root = tmp_path / "copy"
    root.mkdir()
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, root / name)
        elif (ROOT / name).exists():
            shutil.copy(ROOT / name, root / name)
    shutil.copy(ROOT / "tests" / "proof" / "pull.py", root / "dfkd_core" / "methods")
    return root


def test_everything_finds_it_and_every_test_of_all_methods_passes_for_it(lab: Path) -> None:
    """Smoke, resume, slow motion, flags, form, glossary: what is asked of every method, and what of this one."""
    files = [f"tests/{path}" for path in (CHECKS, *EVERY_METHOD)]
    chosen = ["-k", "pull or checks", "-m", "not browser and not slow", "-vv"]
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *files, *chosen]
    environment = {**os.environ, "XDG_CACHE_HOME": str(lab / "cache"), "PYTHONPATH": str(lab)}
    done = subprocess.run(command, cwd=lab, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert all(f"{path}::" in done.stdout for path in files), "each of these files asks something of it"
