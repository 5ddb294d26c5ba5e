"""The scripts of the pages: what needs no browser, and a shape that can be read."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import ROOT
from scripts import node

FILES = sorted(path for kind in ("js", "css") for path in (ROOT / "pages").rglob(f"*.{kind}"))
TESTS = sorted(Path(__file__).parent.glob("*.test.mjs"))
LONGEST_LINE, LONGEST_FILE = 120, 450


def test_what_needs_no_browser() -> None:
    assert TESTS
    done = node("--test", *map(str, TESTS))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", [*FILES, *TESTS], ids=lambda path: path.name)
def test_a_file_fits_on_screens(path: Path) -> None:
    lines = path.read_text().splitlines()
    long = [number for number, line in enumerate(lines, 1) if len(line) > LONGEST_LINE]
    assert not long, "these lines are too long"
    assert len(lines) <= LONGEST_FILE
