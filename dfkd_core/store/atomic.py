"""Files that are either the old ones or the new ones, never half of either."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any


def write_atomic(path: Path, data: bytes, durable: bool = True) -> None:
    """Write beside, fsync, rename over, fsync the folder. ``durable=False`` skips the syncs (survives a kill of
    the process, not a power cut)."""
    beside = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.part")
    try:
        with open(beside, "wb") as file:
            file.write(data)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        os.replace(beside, path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise
    if durable:
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def write_json(path: Path, value: Any, durable: bool = True) -> None:
    """``write_atomic`` of indented JSON. NaN is refused: no reader of the folder should meet it."""
    write_atomic(path, json.dumps(value, indent=1, allow_nan=False).encode(), durable)


def read_json(path: Path) -> Any:
    """The parsed file, or None if it is missing or damaged."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
