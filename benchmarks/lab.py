"""A lab to measure or to take pictures of: the server on a free port, and a headless browser."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.report import ROOT

SERVE = f"{shlex.quote(sys.executable)} -m streamlit run app.py --server.port {{port}} --server.headless true"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
PICTURES = ROOT / "assets" / "pictures"


@contextmanager
def serving(runs: Path, command: str = SERVE) -> Iterator[str]:
    """Start the lab on the folder ``runs`` by ``command``, in which {port} is filled in; gives its address when it
    answers, and the lab's whole process group ends with the block."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    words, environment = (
        shlex.split(command.format(port=port)),
        {**os.environ, "DFKD_RUNS": str(runs), "DFKD_TOKEN": ""},
    )
    quiet = subprocess.DEVNULL
    with subprocess.Popen(
        words, cwd=ROOT, env=environment, stdout=quiet, stderr=quiet, start_new_session=True
    ) as server:
        try:
            _wait_for(port)
            yield f"http://127.0.0.1:{port}/"
        finally:
            with suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGKILL)


def _wait_for(port: int, timeout: float = 120.0) -> None:
    """Return when somebody listens. Exits after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)
    raise SystemExit("the lab did not start")


@contextmanager
def browsing() -> Iterator[Browser]:
    """A headless Chromium: the system's where there is one, else playwright's."""
    system = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright, playwright.chromium.launch(executable_path=system, args=FLAGS) as browser:
        yield browser


def new_page(browser: Browser, height: int = 800, dark: bool = False) -> Page:
    """A tab without cookies or cache, as wide as a small laptop."""
    scheme = "dark" if dark else "light"
    return browser.new_page(viewport={"width": 1280, "height": height}, color_scheme=scheme)  # type: ignore[arg-type]


def take(page: Page, address: str, name: str, *ready: str) -> None:
    """The picture ``name`` of a page, a while after everything that ``ready`` selects is there; closes the page."""
    page.goto(address)
    for selector in ready:
        page.wait_for_selector(selector, state="attached", timeout=120_000)
    page.wait_for_timeout(6000)
    page.screenshot(path=PICTURES / f"{name}.png")
    page.close()
