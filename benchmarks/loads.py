"""Thousands of page loads by a server that may open few files: is everybody served, the last one too?

Streamlit keeps what a visit opened until 128 later ones have come or some minutes have passed, so the number of its
open files rises and then stands still. Light clients load the front page one after the other, each until its script
has run to the end, whatever it drew; at the end a browser opens it and waits for the stage.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Annotated

import psutil
from cyclopts import Parameter

from benchmarks.clients import Client
from benchmarks.command import Quick, command
from benchmarks.lab import SERVE, browsing, new_page, serving
from benchmarks.report import Report, Row, at_most, say
from benchmarks.training import folder_of_runs

LIMIT = 1024  # files, soft and hard: the server cannot raise it
STAGE = ".dfkd-stage[data-step]"


def measure(*, loads: Annotated[int, Parameter(help="Page loads.")] = 2000, quick: Quick = False) -> Iterator[Report]:
    count = 10 if quick else loads
    limited = f"bash -c {shlex.quote(f'ulimit -n {LIMIT}; exec {SERVE}')}"
    with folder_of_runs() as runs, serving(runs, limited) as address:
        server, handles, seconds = _listening(address), [], []
        for number in range(1, count + 1):
            with closing(Client(address)) as client:
                seconds.append(client.rerun())
            handles.append(server.num_fds())
            if number % 100 == 0:
                say(f"{number} loads: {handles[-1]} files open")
        started = time.perf_counter()
        with browsing() as browser:
            page = new_page(browser)
            page.goto(address)
            page.wait_for_selector(STAGE, timeout=60_000)
        last = time.perf_counter() - started
    yield Report(
        [
            Row(
                f"page loads at `ulimit -n {LIMIT}`",
                f"{len(seconds)} served, then a browser in {last:.1f} s",
                "all",
                True,
            ),
            at_most(LIMIT, "… files open at once, at most", str(max(handles)), max(handles), f"< {LIMIT}"),
        ],
        {"handles": handles[:: max(1, count // 100)], "seconds": seconds[:: max(1, count // 100)]},
    )


def _listening(address: str) -> psutil.Process:
    """Who serves at ``address``."""
    port = int(address.rstrip("/").rsplit(":", 1)[1])
    return next(
        psutil.Process(one.pid)
        for one in psutil.net_connections("tcp")
        if one.laddr.port == port and one.status == psutil.CONN_LISTEN
    )


if __name__ == "__main__":
    command(measure)
