"""The command line, called in this process."""

from __future__ import annotations

from typing import Any

from conftest import TINY

from dfkd_core.cli.main import main

FLAGS = [part for name, value in TINY.items() for part in (f"--{name.replace('_', '-')}", str(value))]


def call(capsys: Any, *arguments: str) -> tuple[int, str, str]:
    """Exit status, standard output and standard error."""
    try:
        status = main(arguments)
    except SystemExit as ended:
        status = int(ended.code or 0)
    out, err = capsys.readouterr()
    return status, out, err


def refused(capsys: Any, *arguments: str) -> str:
    """The one line that a wrong request is answered with."""
    status, out, err = call(capsys, *arguments)
    assert (status, out) == (2, "") and err.count("\n") == 1 and "Traceback" not in err
    return err
