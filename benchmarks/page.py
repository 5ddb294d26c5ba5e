"""A lab to measure: the server on a free port, light websocket clients, a headless browser, a training to watch."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from benchmarks.common import say
from dfkd_core.engine import LocalEngine
from dfkd_core.runs.request import make_spec
from dfkd_core.store import EventReader, RunFolder

ROOT = Path(__file__).parent.parent
SERVE = f"{shlex.quote(sys.executable)} -m streamlit run app.py --server.port {{port}} --server.headless true"
CHROMIUM_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]

# --- server ----------------------------------------------------------------------------------------------------


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(runs: Path, command: str = SERVE, wait: bool = True) -> Iterator[int]:
    """Start the lab on the folder ``runs`` by ``command``, in which {port} is filled in; gives the port, and the
    lab's whole process group ends with the block. ``wait``: only when the server answers."""
    port = free_port()
    server = subprocess.Popen(
        shlex.split(command.format(port=port)),
        cwd=ROOT,
        env={**os.environ, "DFKD_RUNS": str(runs)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        if wait:
            wait_for_port(port)
        yield port
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
        try:
            server.wait(timeout=15)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


def wait_for_port(port: int, timeout: float = 120.0) -> None:
    """Return when somebody listens. Exits after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)
    raise SystemExit("the lab did not start")


# --- training --------------------------------------------------------------------------------------------------


class Training:
    """A run of the default preset, long enough, in a worker of its own; the lab on the same folder shows it."""

    def __init__(self, runs: Path) -> None:
        self.engine = LocalEngine(runs, keep_warm=False)
        spec = make_spec({"epochs": 2000}, preset="demo")
        self.folder = RunFolder(runs / self.engine.submit(spec))
        self.reader, self.step = EventReader(self.folder), 0
        while self.steps() < 3:
            time.sleep(0.1)
            if self.folder.status().state == "failed":
                raise SystemExit(self.folder.status().message)

    def steps(self) -> int:
        """Steps done, as the log says."""
        self.step = max([self.step, *(row["step"] for row in self.reader.read() if row["type"] == "step")])
        return self.step

    def cpu_seconds(self) -> float:
        """CPU time of the worker so far."""
        owner = self.folder.status().owner
        assert owner is not None
        times = psutil.Process(owner.pid).cpu_times()
        return times.user + times.system

    def pause(self) -> None:
        self._command("pause", "paused")

    def go_on(self) -> None:
        self._command("resume", "running")

    def _command(self, name: str, state: str) -> None:
        if self.folder.status().state != state:
            self.folder.command(name)
        while self.folder.status().state != state:
            time.sleep(0.05)

    def close(self) -> None:
        self.folder.command("stop")
        while self.folder.status().is_live:
            time.sleep(0.1)
        self.engine.close()


# --- light clients ---------------------------------------------------------------------------------------------


class Client:
    """A page without a browser: speaks streamlit's protocol, reruns fragments when their timers say so.

    It decodes what it gets and draws nothing, so three of them cost little beside what they ask of the server.
    """

    def __init__(self, port: int, query: str = "") -> None:
        from websockets.sync.client import connect
        from websockets.typing import Origin, Subprotocol

        self.socket = connect(
            f"ws://127.0.0.1:{port}/_stcore/stream",
            origin=Origin(f"http://127.0.0.1:{port}"),
            subprotocols=[Subprotocol("streamlit")],
            max_size=None,
        )
        self.query, self.page = query, ""
        self.timers: dict[str, tuple[float, float]] = {}  # fragment -> interval, when due

    def rerun(self, timeout: float = 60.0) -> float:
        """Ask for a whole rerun; seconds until the server says that the script has finished."""
        started = time.perf_counter()
        self.timers.clear()
        self._ask()
        while time.perf_counter() - started < timeout:
            if self._receive(timeout) == "finished":
                return time.perf_counter() - started
        raise SystemExit("the page did not finish a rerun")

    def watch(self, until: threading.Event) -> None:
        """Sit there as an open page does, until told otherwise."""
        while not until.is_set():
            now = time.monotonic()
            for fragment, (interval, due) in list(self.timers.items()):
                if now >= due:
                    self.timers[fragment] = (interval, now + interval)
                    self._ask(fragment)
            soonest = min((due for _, due in self.timers.values()), default=now + 0.2)
            self._receive(min(0.2, max(0.001, soonest - now)))

    def close(self) -> None:
        self.socket.close()

    def _ask(self, fragment: str = "") -> None:
        from streamlit.proto.BackMsg_pb2 import BackMsg

        message = BackMsg()
        message.rerun_script.query_string = self.query
        message.rerun_script.page_script_hash = self.page
        message.rerun_script.fragment_id = fragment
        message.rerun_script.is_auto_rerun = bool(fragment)
        self.socket.send(message.SerializeToString())

    def _receive(self, timeout: float) -> str:
        """Take in one message, if one comes."""
        from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

        try:
            data = self.socket.recv(timeout)
        except TimeoutError:
            return ""
        message = ForwardMsg.FromString(data if isinstance(data, bytes) else data.encode())
        kind = message.WhichOneof("type")
        if kind == "new_session":
            self.page = message.new_session.page_script_hash
        elif kind == "auto_rerun":
            interval = message.auto_rerun.interval
            self.timers[message.auto_rerun.fragment_id] = (interval, time.monotonic() + interval)
        elif kind == "stop_auto_rerun":
            for fragment in message.stop_auto_rerun.fragment_ids:
                self.timers.pop(fragment, None)
        elif kind == "script_finished":
            return "finished"
        return ""


@contextmanager
def watching(port: int, count: int, query: str) -> Iterator[list[Client]]:
    """``count`` light clients, each on a thread, while the block lasts."""
    leave, clients = threading.Event(), [Client(port, query) for _ in range(count)]
    for client in clients:
        client.rerun()
    threads = [threading.Thread(target=client.watch, args=(leave,)) for client in clients]
    for thread in threads:
        thread.start()
    try:
        if clients and not any(client.timers for client in clients):
            say("no fragment of the page reruns by itself: the clients watch a page that stands still")
        yield clients
    finally:
        leave.set()
        for thread in threads:
            thread.join()
        for client in clients:
            client.close()


# --- browser ---------------------------------------------------------------------------------------------------


@contextmanager
def browser() -> Iterator[Any]:
    """A headless Chromium: the system's where there is one, else playwright's."""
    from playwright.sync_api import sync_playwright

    system = Path("/usr/bin/chromium")
    with sync_playwright() as playwright:
        path = str(system) if system.exists() else None
        opened = playwright.chromium.launch(executable_path=path, headless=True, args=CHROMIUM_FLAGS)
        try:
            yield opened
        finally:
            opened.close()
