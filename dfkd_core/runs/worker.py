"""One run in a process of its own: ``python -m dfkd_core.runs.worker``.

Imports the engine, then waits for one line of JSON on the socket that is its standard input: the run's ``folder``, its
``attempt``, and whether to ``insist``. The descriptor of the attempt's lock comes with it. If the input closes before
that, the lab has gone and the idle worker goes too; afterwards it no longer matters whether the lab lives.
"""

from __future__ import annotations

import importlib
import json
import os
import socket
import sys
from pathlib import Path

from dfkd_core.runs.loop import WORKER_LOG, run
from dfkd_core.store import RunFolder

NICENESS = 10  # leaves the web server room to breathe


def main() -> int:
    """Exit status 0 if the run ended as asked (done or stopped), 1 if it failed."""
    os.nice(NICENESS)
    importlib.import_module("torchvision.models.resnet")  # while there is nothing else to do
    with socket.socket(fileno=os.dup(0)) as lab:
        line, descriptors, *_ = socket.recv_fds(lab, 65_536, 1)
        while line and not line.endswith(b"\n"):
            line += lab.recv(65_536)
    if not line:
        return 0
    job = json.loads(line)
    folder = RunFolder(Path(job["folder"]))
    lease = folder.leases.received(job["attempt"], descriptors[0])
    with folder.files.append(folder.attempt_file(lease.number, WORKER_LOG)) as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    return 1 if run(folder, lease, insist=job["insist"]).state == "failed" else 0


if __name__ == "__main__":
    sys.exit(main())
