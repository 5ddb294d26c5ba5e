"""Where a run was made: versions, device, threads, code revision."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
from pathlib import Path
from typing import Any

import torch

import dfkd_core


def environment(device: torch.device) -> dict[str, Any]:
    """JSON-ready facts. ``repeats_exactly`` says whether the same seed gives the same bits here."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: importlib.metadata.version(name) for name in ("torch", "torchvision", "numpy")},
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine(),
        "threads": torch.get_num_threads(),
        "code": code_version(),
        "repeats_exactly": device.type == "cpu" or torch.are_deterministic_algorithms_enabled(),
    }


def device_name(device: torch.device) -> str:
    """The GPU's, or the processor's."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else processor()


def processor() -> str:
    """The model's name where the system tells it, else the architecture's."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def code_version() -> str:
    """The git revision, with ``+changes`` where the engine differs from it; elsewhere the package's version."""
    try:
        revision = _git("rev-parse", "--short=12", "HEAD")
        return revision + ("+changes" if _git("status", "--porcelain", "--", "dfkd_core") else "")
    except (OSError, subprocess.SubprocessError):
        return dfkd_core.__version__


def _git(*arguments: str) -> str:
    root = Path(dfkd_core.__file__).parent.parent
    done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()
