"""What a page has the command line do, in a process of its own: it may import, and take, what a server should not."""

from __future__ import annotations

import subprocess
import sys
from typing import NamedTuple

from dfkd_core.errors import RequestError
from pages.ui import boot

PATIENCE_SECONDS = 600


class Said(NamedTuple):
    """The exit ``status``, all that was printed, and the last sentence of what was said beside it."""

    status: int
    out: str
    sentence: str


def carry_out(*words: str, field: str, value: str) -> Said:
    """``python -m dfkd_core WORDS``. Raises ``RequestError`` of ``field`` and ``value`` where it takes too long."""
    command = [sys.executable, "-m", "dfkd_core", *words]
    try:
        done = subprocess.run(command, cwd=boot.ROOT, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        words_of_it = f"took longer than {PATIENCE_SECONDS // 60} minutes; have it done on the command line."
        raise RequestError(field, value, words_of_it) from None
    said = (done.stderr.strip().splitlines() or ["it failed without a word"])[-1]
    return Said(done.returncode, done.stdout, said.removeprefix("dfkd_core: "))
