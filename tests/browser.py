"""A lab and a browser for the tests that need both. The fixtures come by conftest."""

from __future__ import annotations

import io
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect, sync_playwright

from dfkd_core.store import RunFolder, runs_in
from dfkd_core.study import studies_in

ROOT = Path(__file__).parent.parent
SHOTS = ROOT / "screenshots"
BROWSERS = ("chromium-headless-shell", "chromium", "google-chrome", "chromium-browser")  # the first at half the cost
CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)
LONG = "?k.epochs=300&k.iterations=10&k.batch_size=16&k.width=4&k.student_steps=1"  # goes on until it is stopped
PATIENCE = 60_000
LOOKS = [  # theme and size: on a laptop and by a projector
    ("light", (1280, 800)),
    pytest.param("dark", (1920, 1080), marks=pytest.mark.slow),
]
FOLDERS = ("runs", "data", "teachers", "collected")
expect.set_options(timeout=PATIENCE)


# --- the server -----------------------------------------------------------------------------------------------------


@dataclass
class Lab:
    """A server with folders of its own below ``root``."""

    root: Path
    port: int
    process: subprocess.Popen[bytes]

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    def empty(self) -> None:
        """As it began: what goes on is stopped, then all runs, studies, data and uploads are deleted."""
        for study in studies_in(self.runs):
            study.ask_to_stop()
        for folder in runs_in(self.runs):
            if folder.status_seen().is_live:
                folder.command("stop")
        until(lambda: not any(study.is_conducted() for study in studies_in(self.runs)))
        until(lambda: not any(folder.status_seen().is_live for folder in runs_in(self.runs)))
        for path in (path for name in FOLDERS for path in (self.root / name).iterdir()):
            until(lambda path=path: is_deleted(path))

    def kill(self) -> None:
        """The server and the make that started it; the workers have sessions of their own."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        until(lambda: not listening(self.port))

    @property
    def said(self) -> str:
        """What it has printed so far."""
        return (self.root / "said").read_text()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"


def is_deleted(path: Path) -> bool:
    """Whether it is gone now: a worker that ends may take its last file away at the same time."""
    shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
    return not path.exists()


def listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


FORKING = f"""#!{sys.executable}
import sys
sys.path[:0] = {[str(ROOT), str(ROOT / "tests")]}
from dfkd_core.engine import local
from forked import spawn
from streamlit.web.cli import main
local._spawn = spawn
main()
"""


def start_lab(root: Path, port: int, token: str | None = "", forks: bool = False) -> Lab:
    """``token`` is what the lab asks for: nothing where it is empty, one of its own making where it is None. Where it
    ``forks``, its workers need not import torch each."""
    for name in FOLDERS:
        (root / name).mkdir(exist_ok=True)
    environment = {**os.environ, **{f"DFKD_{name.upper()}": str(root / name) for name in FOLDERS}}
    environment |= {} if token is None else {"DFKD_TOKEN": token}
    installed = f"{sys.prefix}/.installed"  # taken as it is: these tests install nothing
    command = ["make", "app", f"PORT={port}", f"VENV={sys.prefix}", f"--assume-old={installed}"]
    if forks:
        (root / "streamlit").write_text(FORKING)
        (root / "streamlit").chmod(0o755)
        command.append(f"BIN={root}")
    with (root / "said").open("wb") as said:
        out = {"stdout": said, "stderr": subprocess.STDOUT}
        process = subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True, **out)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if listening(port):
            return Lab(root, port, process)
        time.sleep(0.1)
    raise TimeoutError("the server did not start")


@contextmanager
def running_lab(root: Path, token: str | None = "", forks: bool = False) -> Iterator[Lab]:
    """A lab on a free port; at the end nothing that it started is left."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    started = start_lab(root, port, token, forks)
    yield started
    started.kill()
    for folder in runs_in(started.runs):
        owner = folder.status().owner
        if owner is not None and owner.pid != os.getpid():
            os.killpg(owner.pid, signal.SIGKILL)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with running_lab(tmp_path_factory.mktemp("lab"), forks=True) as started:
        yield started


@pytest.fixture
def lab(server: Lab, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """The lab of all tests that let it live, empty; this process sees the folders that it sees."""
    server.empty()
    for name in FOLDERS:
        monkeypatch.setenv(f"DFKD_{name.upper()}", str(server.root / name))
    return server


@pytest.fixture
def mortal_lab(tmp_path: Path) -> Iterator[Lab]:
    """One of the test's own, to kill."""
    with running_lab(tmp_path, forks=True) as started:
        yield started


# --- the browser ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    assert CHROMIUM, "these tests need chromium; .ci/run installs it"
    quiet = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    quiet += ["--font-render-hinting=none"]  # in the headless shell words are as wide as on a screen
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=quiet)
        yield started
        started.close()


@pytest.fixture(scope="session")
def window(browser: Browser) -> BrowserContext:
    """Of all pages, so that the browser compiles the lab's scripts once and not for every test."""
    return browser.new_context(viewport={"width": 1280, "height": 800})


@pytest.fixture
def page(window: BrowserContext) -> Iterator[Page]:
    """A tab that knows nothing of those before it; at the end it is closed, and what it opened."""
    opened = window.new_page()
    opened.set_default_timeout(PATIENCE)
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    yield opened
    forgets = {"origin": "*", "storageTypes": "local_storage"}
    window.new_cdp_session(opened).send("Storage.clearDataForOrigin", forgets)
    # What is cached brings no cookie with it, and without this one the server takes no file.
    window.clear_cookies(name=re.compile("^(?!_streamlit_xsrf$)"))
    for one in window.pages:
        one.close()
    assert not errors, errors


def button(page: Page, name: str) -> Locator:
    return page.get_by_role("button", name=re.compile(name + "$")).first


def wait(page: Page, condition: str, of: str = ".dfkd-stage", patience: float = PATIENCE) -> None:
    """Until JavaScript ``condition`` about ``stage``, the data attributes of the element ``of``, holds."""
    look = f"() => {{ const stage = document.querySelector('{of}')?.dataset; return stage && ({condition}); }}"
    page.wait_for_function(look, timeout=patience)


def start(page: Page, lab: Lab, query: str) -> RunFolder:
    page.goto(lab.url + query)
    expect(button(page, "Start")).to_be_enabled(timeout=PATIENCE)
    button(page, "Start").click()
    wait(page, "stage.state === 'running' && stage.step !== ''")
    return runs_in(lab.runs)[0]


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.1)


def set_look(page: Page, theme: str, size: tuple[int, int]) -> None:
    """As one of ``LOOKS`` does."""
    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.emulate_media(color_scheme=theme)


INSIDE = """one => {
  one.scrollIntoView({ block: "center" });
  const { left, top, width, height } = one.getBoundingClientRect(), edge = one.clientLeft;
  return [left + edge, top + edge, width - 2 * edge, height - 2 * edge];
}"""


def grey_of(tile: Locator, side: int = 8) -> np.ndarray:
    """The ``side`` × ``side`` grey values of an image as it is seen, whatever its size and border."""
    left, top, width, height = tile.evaluate(INSIDE)
    seen = np.asarray(Image.open(io.BytesIO(tile.page.screenshot())).convert("L"))
    middle = (np.arange(side) + 0.5) / side
    return seen[np.ix_((top + middle * height).astype(int), (left + middle * width).astype(int))]


def shoot(page: Page, name: str) -> None:
    SHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SHOTS / f"{name}.png")
