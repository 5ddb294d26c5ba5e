"""One run in a process of its own: ``python -m dfkd_core.worker``.

Imports the engine, then waits for one line on standard input, ``FOLDER<tab>ATTEMPT``. If the input closes before
that, the lab has gone and the idle worker goes too; afterwards it no longer matters whether the lab lives.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from dfkd_core.run import run
from dfkd_core.store import RunFolder

NICENESS = 10  # leaves the web server room to breathe


def main() -> int:
    """Exit status 0 if the run ended as asked (done or stopped), 1 if it failed."""
    os.nice(NICENESS)
    line = sys.stdin.readline()
    if not line:
        return 0
    path, attempt = line.rstrip("\n").split("\t")
    folder = RunFolder(Path(path))
    log = os.open(folder.attempt_path(int(attempt)) / "worker.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    return 1 if run(folder, int(attempt)).state == "failed" else 0


if __name__ == "__main__":
    sys.exit(main())
