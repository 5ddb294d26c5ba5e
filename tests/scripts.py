"""The scripts of the pages, run outside a browser by node."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent


def node(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Node with these arguments; without node the test is skipped."""
    found = shutil.which("node")
    if found is None:
        pytest.skip("node, which runs the pages' scripts outside a browser, is not installed")
    return subprocess.run([found, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120)


def evaluated(script: str, expression: str, names: str) -> Any:
    """What ``expression`` is, given the ``names`` that a module exports."""
    code = f'import {{ {names} }} from "./{script}"; console.log(JSON.stringify({expression}));'
    done = node("--input-type=module", "--eval", code)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
