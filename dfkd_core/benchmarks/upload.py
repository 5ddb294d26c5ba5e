"""Uploaded collections of images: ZIP files, read with suspicion, as folders of PNG files under own names."""

from __future__ import annotations

import os
from pathlib import Path


def uploads() -> Path:
    """Where unpacked uploads lie: ``DFKD_COLLECTED``, else ``collected`` in the current folder."""
    return Path(os.environ.get("DFKD_COLLECTED") or "collected").expanduser()


def uploaded() -> list[str]:
    """Names of the unpacked uploads."""
    folder = uploads()
    return sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
