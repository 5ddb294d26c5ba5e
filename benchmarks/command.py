"""A measurement as a command: its flags from a function's signature."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import torch
from cyclopts import App, Parameter

from benchmarks.report import Report, keep
from dfkd_core.errors import RequestError, StoreError

Quick = Annotated[bool, Parameter(help="Only try the command; the figures mean nothing.")]
Benchmark = Annotated[str, Parameter(help="What students are evaluated on.")]
Teacher = Annotated[str, Parameter(help="The benchmark's usual one unless given.")]
Seeds = Annotated[int, Parameter(help="How many.")]
Rounds = Annotated[int, Parameter(help="Of all that is compared.")]


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
