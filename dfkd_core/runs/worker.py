"""One run in a process of its own: ``python -m dfkd_core.runs.worker``.

Imports the engine, then waits for one line of JSON on standard input: the run's ``folder``, its ``attempt``, and the
``data`` folder, which the lab may have been given after this worker was started. If the input closes before
that, the lab has gone and the idle worker goes too; afterwards it no longer matters whether the lab lives.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path

from dfkd_core.runs.loop import run
from dfkd_core.store import RunFolder

NICENESS = 10  # leaves the web server room to breathe


def main() -> int:
    """Exit status 0 if the run ended as asked (done or stopped), 1 if it failed."""
    os.nice(NICENESS)
    importlib.import_module("torchvision.models.resnet")  # while there is nothing else to do
    line = sys.stdin.readline()
    if not line:
        return 0
    job = json.loads(line)
    folder, attempt = RunFolder(Path(job["folder"])), int(job["attempt"])
    if job["data"]:
        os.environ["DFKD_DATA"] = job["data"]
    log = os.open(folder.attempt_path(attempt) / "worker.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    return 1 if run(folder, attempt).state == "failed" else 0


if __name__ == "__main__":
    sys.exit(main())
