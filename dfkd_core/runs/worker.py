"""Runs in a process of their own, one after the other: ``python -m dfkd_core.runs.worker``.

Imports the engine, then waits for one line of JSON on the socket that is its standard input: the run's ``folder``, its
``attempt``, and whether to ``insist``. The descriptor of the attempt's lock comes with it. A line goes back when the
run is done or stopped, and the next may come; after a failure it goes, and after a run on a GPU, whose memory only the
end of a process gives back. If the input closes the lab has gone, and an idle worker goes too; while a run goes on it
does not matter whether the lab lives.
"""

from __future__ import annotations

import importlib
import json
import os
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from dfkd_core.runs.loop import WORKER_LOG, run
from dfkd_core.store import RunFolder

NICENESS = 10  # leaves the web server room to breathe
AS_ASKED = ("done", "stopped")


def main() -> int:
    """Exit status 0 if the last run ended as asked, 1 if it failed."""
    os.nice(NICENESS)
    importlib.import_module("torchvision.models.resnet")  # while there is nothing else to do
    state = "done"
    with socket.socket(fileno=os.dup(0)) as lab:
        while state in AS_ASKED and not torch.cuda.is_initialized() and (told := _told(lab)):
            state = _carry_out(*told)
            if state in AS_ASKED and not torch.cuda.is_initialized():
                with suppress(OSError):  # the lab has gone
                    lab.send(b"\n")
    return 1 if state == "failed" else 0


def _told(lab: socket.socket) -> tuple[dict[str, Any], int] | None:
    """The next job, with the lock's descriptor; None if none will come."""
    with suppress(OSError):
        line, descriptors, *_ = socket.recv_fds(lab, 65_536, 1)
        while line and not line.endswith(b"\n"):
            line += lab.recv(65_536)
        if line:
            return json.loads(line), descriptors[0]
    return None


def _carry_out(job: dict[str, Any], descriptor: int) -> str:
    """The state in which the run ended."""
    folder = RunFolder(Path(job["folder"]))
    lease = folder.leases.received(job["attempt"], descriptor)
    with folder.files.append(folder.attempt_file(lease.number, WORKER_LOG)) as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    return run(folder, lease, insist=job["insist"]).state


if __name__ == "__main__":
    sys.exit(main())
