"""A measurement as a command: flags from a function's signature, what it found as a table and as a file."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import shlex
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import psutil
import torch
from cyclopts import App, Parameter

from dfkd_core.errors import RequestError, StoreError
from dfkd_core.provenance import code_version, processor

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"
PACKAGES = ("torch", "torchvision", "numpy", "scikit-learn", "streamlit", "playwright")
HEAD = ("| what | measured | target |", "|---|---|---|")
Quick = Annotated[bool, Parameter(help="Only try the command; the figures mean nothing.")]
Benchmark = Annotated[str, Parameter(help="What students are evaluated on.")]
Teacher = Annotated[str, Parameter(help="The benchmark's usual one unless given.")]
Seeds = Annotated[int, Parameter(help="How many.")]
Rounds = Annotated[int, Parameter(help="Of all that is compared.")]


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


def command(measure: Callable[..., Iterable[Report] | None]) -> None:
    """Carry out ``measure`` with the flags of the command line, on one torch thread; the command is called as the file
    in which it stands. What it yields is printed and kept, as it comes. A request that is wrong ends in one line."""
    module = sys.modules["__main__"]
    name = Path(str(module.__file__)).stem
    flags = Parameter(negative=(), consume_multiple=True)
    app = App(f"python -m benchmarks.{name}", help=module.__doc__, help_format="plaintext", default_parameter=flags)

    @app.default
    @wraps(measure)
    def run(**asked: Any) -> None:
        torch.set_num_threads(1)
        for report in measure(**asked) or ():
            keep(name, report, asked.get("quick", False))

    try:
        app()
    except (RequestError, StoreError) as error:
        raise SystemExit(str(error)) from None


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
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        "torch_threads": torch.get_num_threads(),
        "code": code_version(),
    }


def say(message: str) -> None:
    """Progress, on standard error, so that standard output holds the table alone."""
    print(message, file=sys.stderr, flush=True)
