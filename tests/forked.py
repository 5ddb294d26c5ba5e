"""Workers of the local engine without the seconds that each takes to import torch: forked by one process that has."""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import socket
import subprocess
import sys
from functools import cache
from pathlib import Path

from dfkd_core.engine import local

NURSERY = """
import json, os, select, socket, sys
import torch._dynamo, torchvision.models.resnet  # which the first step of a run imports
from dfkd_core.runs import worker

with socket.socket(fileno=os.dup(0)) as tests:
    ends = {}
    while True:
        for pid in [pid for pid in ends if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)]:
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            with os.fdopen(ends.pop(pid), "wb") as end:
                end.write(b"%d" % code)
        if not select.select([tests], [], [], 0.02)[0]:
            continue
        asked, given, *_ = socket.recv_fds(tests, 65_536, 3)
        if not asked:
            break
        channel, said, end = given
        if pid := os.fork():
            ends[pid] = end
            os.close(channel), os.close(said)
            tests.send(b"%d" % pid)
            continue
        tests.close()
        os.setsid()
        os.dup2(channel, 0), os.dup2(said, 1), os.dup2(said, 2)
        os.closerange(3, max(channel, said, end, *ends.values()) + 1)
        os.environ.clear()
        os.environ.update(json.loads(asked))
        os._exit(worker.main())
"""


class Forked:
    """As much of ``subprocess.Popen`` as the engine asks of a worker; ``end`` says with what it exited, when it has."""

    def __init__(self, pid: int, end: int) -> None:
        self.pid, self.end, self.returncode = pid, end, None

    def poll(self, seconds: float | None = 0.0) -> int | None:
        if self.returncode is None and select.select([self.end], [], [], seconds)[0]:
            self.returncode = int(os.read(self.end, 16) or -signal.SIGKILL)
            os.close(self.end)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int | None:
        return self.poll(timeout)

    def kill(self) -> None:
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)


@cache
def nursery() -> socket.socket:
    """To which an environment is sent, with a worker's standard input, its output, and what its end is written to."""
    ours, its_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with its_end:
        process = subprocess.Popen(
            [sys.executable, "-c", NURSERY],
            stdin=its_end.fileno(),
            cwd=Path(local.__file__).parents[2],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            start_new_session=True,
        )
    atexit.register(lambda: (ours.close(), process.wait()))
    return ours


def spawn() -> local._Worker:
    """In place of the engine's own."""
    channel, its_end = socket.socketpair()
    end, written = os.pipe()
    with its_end, open(os.devnull, "wb") as said:
        asked = json.dumps(dict(os.environ)).encode()
        socket.send_fds(nursery(), [asked], [its_end.fileno(), said.fileno(), written])
        pid = int(nursery().recv(16))
    os.close(written)
    return local._Worker(Forked(pid, end), channel)
