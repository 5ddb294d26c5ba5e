"""Pages without a browser: light clients that speak streamlit's protocol."""

from __future__ import annotations

import gzip
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from http.client import HTTPConnection, HTTPException
from itertools import pairwise
from typing import Any
from urllib.parse import urlsplit

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import connect
from websockets.typing import Origin, Subprotocol

from benchmarks.report import say

LOOK_SECONDS = 0.7  # as in pages/ui/again.py


class Client:
    """A page that is asked for, and whose fragments rerun when their timers say so.

    It decodes what it gets and draws nothing, so three of them cost little beside what they ask of the server.
    """

    def __init__(self, address: str) -> None:
        """``address``: of the page, with its query."""
        parts = urlsplit(address)
        self.socket = connect(
            f"ws://{parts.netloc}/_stcore/stream",
            origin=Origin(f"http://{parts.netloc}"),
            subprotocols=[Subprotocol("streamlit")],
            max_size=None,
        )
        self.close = self.socket.close
        self.query, self.page = parts.query, ""
        self.timers: dict[str, tuple[float, float]] = {}  # fragment -> interval, when due
        self.received = 0  # bytes
        self.seen: list[tuple[float, float]] = []  # seconds of training shown, and when they were there
        self._host, self._feed, self._have = parts.netloc, "", 0
        self._http = HTTPConnection(parts.netloc, timeout=30)

    def rerun(self, timeout: float = 60.0) -> float:
        """Ask for a whole rerun; seconds until the server says that the script has finished."""
        started = time.perf_counter()
        self.timers.clear()
        self._ask()
        while time.perf_counter() - started < timeout:
            if self._receive(timeout) == "script_finished":
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
            if self._feed and now >= self._look_at:
                self._look()
                self._look_at = time.monotonic() + LOOK_SECONDS
            soonest = min((due for _, due in self.timers.values()), default=now + 0.2)
            soonest = min(soonest, self._look_at) if self._feed else soonest
            self._receive(min(0.2, max(0.001, soonest - now)))

    _look_at, _fragment = 0.0, ""

    def _look(self) -> None:
        """What a page's script fetches of a live run between two reruns."""
        news = self._fetched("now.json")
        if news is None or news["version"] <= self._have:
            return
        versions = news["versions"]
        if self._have not in versions:
            self._fetched(f"{versions[0]}.json")
            self._have = versions[0]
        for before, after in pairwise(versions[versions.index(self._have) :]):
            self._fetched(f"{before}-{after}.json")
        self._have = versions[-1]
        for name in news["newest"].values():
            if name != self._sheet:
                self._fetched(name)
                self._sheet = name
        self.seen.append((news["elapsed"], time.time()))

    _sheet = ""

    def _fetched(self, name: str) -> Any:
        try:
            self._http.request("GET", f"{self._feed}/{name}", headers={"Accept-Encoding": "gzip"})
            answer = self._http.getresponse()
            body = answer.read()
        except HTTPException:  # a page would look again, too
            self._http.close()
            return None
        self.received += len(body) + 400  # of headers, about
        body = gzip.decompress(body) if answer.headers["Content-Encoding"] == "gzip" else body
        return json.loads(body) if answer.status == 200 else None

    def _ask(self, fragment: str = "") -> None:
        self._fragment = fragment
        message = BackMsg()
        asked = message.rerun_script
        asked.query_string, asked.page_script_hash = self.query, self.page
        asked.fragment_id, asked.is_auto_rerun = fragment, bool(fragment)
        self.socket.send(message.SerializeToString())

    def _receive(self, timeout: float) -> str | None:
        """Take in one message, if one comes, and say of what kind it is."""
        try:
            data = self.socket.recv(timeout, decode=False)
        except TimeoutError:
            return None
        self.received += len(data)
        message = ForwardMsg.FromString(data)
        if not self._feed and (found := re.search(rb"/app/static/feed-[\w/-]+", data)):
            self._feed = found[0].decode()
        kind: str | None = message.WhichOneof("type")
        if kind == "new_session":
            self.page = message.new_session.page_script_hash
            if not self._fragment:  # of the whole page
                self.timers.clear()
            self._fragment = ""
        elif kind == "auto_rerun":
            interval = message.auto_rerun.interval
            self.timers[message.auto_rerun.fragment_id] = (interval, time.monotonic() + interval)
        elif kind == "stop_auto_rerun":
            for fragment in message.stop_auto_rerun.fragment_ids:
                self.timers.pop(fragment, None)
        return kind


@contextmanager
def watching(address: str, count: int) -> Iterator[list[Client]]:
    """``count`` light clients, each on a thread, while the block lasts."""
    leave = threading.Event()
    with ExitStack() as stack:
        clients = [stack.enter_context(closing(Client(address))) for _ in range(count)]
        for client in clients:
            client.rerun()
        if clients and not any(client.timers for client in clients):
            say("no fragment of the page reruns by itself: the clients watch a page that stands still")
        for client in clients:
            thread = threading.Thread(target=client.watch, args=(leave,))
            thread.start()
            stack.callback(thread.join)
        stack.callback(leave.set)
        yield clients
