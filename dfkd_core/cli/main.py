"""The command line: ``python -m dfkd_core``. Exit 0 done, 1 the run failed, 2 the request was wrong.

Every command is looked up where it stands when it is called, and imports torch only if it needs it.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence

from cyclopts import CycloptsError

from dfkd_core.analysis.jobs import own_job
from dfkd_core.cli.flags import group
from dfkd_core.errors import RequestError, StoreError, in_words

COMMANDS = {
    "train": ("train:train", "Distil a teacher."),
    "resume": ("train:resume", "Go on with a run."),
    "pause": ("steering:pause", "Pause a live run."),
    "step": ("steering:step", "Do one step of a live run."),
    "stop": ("steering:stop", "Stop a live run."),
    "set": ("steering:change", "Change knobs of a live run from its next step on."),
    "runs": ("looking:runs", "List the runs."),
    "show": ("looking:show", "Show one run."),
    "verify": ("looking:verify", "Hold every file of a run, or of a study, against its checksum."),
    "export": ("exchange:export", "Write a run, or a study with all its runs, as one file: ZIP, report, ONNX …"),
    "import": ("exchange:take_in", "Put the runs and studies of a ZIP file into the folder of runs."),
    "measure": ("looking:measure", "Measure what a run's generator or generative student makes."),
    "distance": ("looking:distance", "Tell a run's synthetic images from its collected ones."),
    "layout": ("looking:layout", "Lay out a run's samples in the plane, for Inspect."),
    "study": ("study:study", "Carry out a study of many runs, continue, list or show one."),
    "audit": ("audit:audit", "Look at the gradient of each term of a method at each network."),
    "methods": ("methods:methods", "List the methods."),
    "networks": ("networks:networks", "List the networks that suit a benchmark as students."),
    "benchmarks": ("benchmarks:benchmarks", "List the benchmarks, or download one."),
    "collected": ("collected:collected", "List where images can be collected, look at them, or add some."),
    "teachers": ("teachers:teachers", "List the teachers."),
    "teacher": ("teachers:teacher", "Train a teacher from its card, import one, or measure one."),
}
"""Where each command stands below this folder, and what it does."""

app = group("dfkd_core", "Data-free knowledge distillation: train, steer and look at runs, one or many.")
for name, (place, help) in COMMANDS.items():
    app.command(f"dfkd_core.cli.{place}", name=name, help=help)


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out one command; returns the exit status. As a page's job it also writes down how it ended."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that knows ASCII only gets a ? for a bar, not a traceback
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    job, problem = own_job(), ""
    try:
        _check_complete(arguments)
        status = int(app(arguments) or 0)
        sys.stdout.flush()
        return status
    except (RequestError, StoreError, CycloptsError) as error:
        problem = " ".join(str(error).split())
        print(f"dfkd_core: {problem}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the reader, `head` say, has seen enough
        return 0
    except OSError as error:
        problem = in_words(error)
        print(f"dfkd_core: {problem}", file=sys.stderr)
        return 2
    except Exception as error:
        problem = f"{type(error).__name__}: {error}"
        raise
    finally:
        if job is not None:
            job.end(problem)


def _check_complete(arguments: list[str]) -> None:
    """Raises ``CycloptsError`` where a group of commands is named, but none of them: that asks for nothing."""
    _, apps, rest = app.parse_commands(arguments)
    if not rest and apps[-1].default_command is None:
        where = " ".join(["dfkd_core", *arguments])
        raise CycloptsError(msg=f"Which command? `{where} --help` lists them.")
