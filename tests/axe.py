"""axe-core, which finds what keeps people from using a page by keyboard or by ear. It comes by npm, once a machine."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

VERSION = "4.14.1"
KEPT = Path.home() / ".cache" / "dfkd-tests" / f"axe-core-{VERSION}.js"
BAD = ("serious", "critical")
COLOURS = ["color-contrast"]
"""The rules that another theme can break."""
RUN = """async (rules) => {
  const only = rules ? { runOnly: rules } : {};
  const { violations } = await axe.run(document, { resultTypes: ["violations"], ...only });
  const places = (nodes) => nodes.map(({ target }) => target.join(" "));
  return violations.map(({ id, impact, nodes }) => ({ id, impact, nodes: places(nodes) }));
}"""


@pytest.fixture(scope="session")
def axe() -> str:
    """Its script. Skips the test where npm is missing, or cannot bring it."""
    if not KEPT.exists():
        _fetch()
    return KEPT.read_text()


def _fetch() -> None:
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("axe-core comes by npm, which is not installed; .ci/run installs it")
    KEPT.parent.mkdir(parents=True, exist_ok=True)
    command = [npm, "pack", "--silent", f"axe-core@{VERSION}"]
    done = subprocess.run(command, cwd=KEPT.parent, capture_output=True, text=True, timeout=120)
    if done.returncode != 0:
        pytest.skip(f"npm did not bring axe-core: {done.stderr.strip()[-300:]}")
    packed = KEPT.parent / done.stdout.split()[-1]
    with tarfile.open(packed) as archive:
        script = archive.extractfile("package/axe.min.js")
        assert script is not None
        KEPT.write_bytes(script.read())
    packed.unlink()


def serious(page: Page, script: str, rules: list[str] | None = None) -> list[dict[str, Any]]:
    """What axe-core finds serious or critical on the page as it is, by all of its ``rules`` or by some."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(f"{script}; 0")
    return [found for found in page.evaluate(RUN, rules) if found["impact"] in BAD]
