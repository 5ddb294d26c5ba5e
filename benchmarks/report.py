"""What a measurement found, as a table and as a file."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import shlex
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import torch

from dfkd_core.provenance import code_version, processor

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"
PACKAGES = ("torch", "torchvision", "numpy", "scikit-learn", "streamlit", "playwright")
HEAD = ("| what | measured | target |", "|---|---|---|")


@dataclass(frozen=True)
class Row:
    """One line of a report: what was measured, how it came out, what it should be, and whether it is."""

    what: str
    measured: str
    target: str = ""
    met: bool | None = None
    value: float | None = None

    def markdown(self) -> str:
        mark = {True: " ✓", False: " ✗", None: ""}[self.met]
        return f"| {self.what} | {self.measured} | {self.target}{mark} |"


def at_most(limit: float, what: str, measured: str, value: float, target: str = "") -> Row:
    """A row whose ``value`` should not be above ``limit``; ``target`` says so in other words or units."""
    return Row(what, measured, target or f"≤ {limit:g}", value <= limit, value)


@dataclass(frozen=True)
class Report:
    """What a measurement found: ``rows``, and the raw values behind them. ``part``: of what, where it isn't all."""

    rows: list[Row]
    details: dict[str, Any] = field(default_factory=dict)
    part: str = ""


def keep(name: str, report: Report, quick: bool) -> None:
    """Print the rows as a markdown table and keep them, with the details and the machine, as results/NAME.json, or
    results/NAME-PART.json; trials end in -quick and git ignores them."""
    print(f"\n{'QUICK TRIAL, figures mean nothing. ' if quick else ''}{_command_line(name)}\n")
    print("\n".join([*HEAD, *(row.markdown() for row in report.rows)]))
    stored = {
        "command": _command_line(name),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "quick": quick,
        "rows": [asdict(row) for row in report.rows],
        "machine": machine(),
        "details": report.details,
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / ("-".join(filter(None, [name, report.part, "quick" * quick])) + ".json")
    path.write_text(json.dumps(stored, indent=1, default=asdict, allow_nan=False) + "\n")
    say(f"written to {path.relative_to(ROOT)}")


def _command_line(name: str) -> str:
    """Without the values that are paths: they say something about one machine only."""
    shown = ["PATH" if os.sep in argument else argument for argument in sys.argv[1:]]
    return shlex.join(["python", "-m", f"benchmarks.{name}", *shown])


def machine() -> dict[str, Any]:
    """Facts that bear on the figures; nothing that names the machine."""
    return {
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "load_1_min": round(os.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
        "torch_threads": torch.get_num_threads(),
        "code": code_version(),
    }


def _version(package: str) -> str:
    """Empty where it is not installed."""
    with suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(package)
    return ""


def say(message: str) -> None:
    """Progress, on standard error, so that standard output holds the table alone."""
    print(message, file=sys.stderr, flush=True)
