"""``train`` and ``resume``: a run with a progress bar, closed by one line; in this process, or by another engine."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

from dfkd_core import engine as engines
from dfkd_core.cli.flags import (
    EngineName,
    Insist,
    Json,
    RunId,
    Runs,
    TakeOver,
    asked,
    dispatched,
    run_of,
    runs_of,
    training,
    with_flags,
)
from dfkd_core.cli.looking import summary
from dfkd_core.engine import Engine, InlineEngine
from dfkd_core.engine.base import take_up
from dfkd_core.errors import RequestError
from dfkd_core.events import to_row
from dfkd_core.quality.score import score_text
from dfkd_core.runs.spec import read_spec
from dfkd_core.store import EventReader, Lease, RunFolder, RunStatus
from dfkd_core.teachers.cards import find_card

METHOD = "ta-dfkd"
UNFINISHED = ("failed", "interrupted")
LOOK_SECONDS = 0.2


def _command(method: str) -> Any:
    def begin(*, engine: EngineName = "", runs: Runs = None, as_json: Json = False, **given: Any) -> int:
        from dfkd_core.runs.request import make_spec, notes

        (changes, fields), folder = asked(method, given), runs_of(runs)
        carries_out = engines.find(engine, folder, usual="inline")  # first: a cluster has devices of its own
        spec = make_spec(changes, **{"method": method, **fields})
        for said in notes(spec):
            print(f"dfkd_core: {said}", file=sys.stderr)
        for doubt in find_card(spec.teacher)[0].doubts:
            print(f"warning: {spec.teacher}: {doubt}", file=sys.stderr)
        try:
            if not isinstance(carries_out, InlineEngine):
                return _watch(carries_out, carries_out.submit(spec), as_json)
            run, lease = RunFolder.begin(folder, spec.model_dump())
        except OSError as error:
            raise RequestError("runs", str(folder), f"cannot be written to ({error.strerror}).") from None
        return _follow(run, lease, as_json)

    return with_flags(begin, *training(method))


train = dispatched("train", "Distil a teacher.", METHOD, _command)


def resume(
    id: RunId,
    /,
    *,
    take_over: TakeOver = False,
    insist: Insist = False,
    engine: EngineName = "",
    runs: Runs = None,
    as_json: Json = False,
) -> int:
    """Go on with a run."""
    folder = run_of(runs, id)
    carries_out = engines.find(engine, runs_of(runs), usual="inline")
    if not isinstance(carries_out, InlineEngine):
        if take_over:
            raise RequestError("take_over", take_over, "is for a run in this process; add --engine inline.")
        carries_out.resume(folder.id, insist)
        return _watch(carries_out, folder.id, as_json)
    lease = take_up(folder, take_over)
    if lease is None:
        print(f"run {folder.id}: told to go on")
        return 0
    return _follow(folder, lease, as_json, insist)


def _follow(folder: RunFolder, lease: Lease, as_json: bool, insist: bool = False) -> int:
    """Carry it out here."""
    from dfkd_core.runs.loop import run

    with _bar(folder, as_json) as show:
        status = run(folder, lease, lambda event: show(to_row(event)), insist)
    return _close(folder, status, as_json)


def _watch(engine: Engine, run_id: str, as_json: bool) -> int:
    """Until the run has ended, wherever it trains; Ctrl-C stops it."""
    folder = run_of(engine.runs, run_id)
    reader, said = EventReader(folder), ""
    with _bar(folder, as_json) as show:
        while True:
            try:
                status = folder.status_seen()
                for row in reader.read():
                    show(row)
                if status.state == "queued" and status.message != said:
                    said = status.message
                    show({"type": "status", "message": said})
                if not status.is_live:
                    break
                time.sleep(LOOK_SECONDS)
            except KeyboardInterrupt:
                engine.stop(folder.id)
    engine.close()
    return _close(folder, status, as_json)


@contextmanager
def _bar(folder: RunFolder, as_json: bool) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Gives what shows a row of the log."""
    with tqdm(unit="step", disable=as_json, dynamic_ncols=True, file=sys.stderr) as bar:

        def show(row: dict[str, Any]) -> None:
            if row["type"] == "step":
                if bar.total is None:
                    bar.reset(total=folder.status().total_steps or None)
                    bar.initial = bar.last_print_n = row["step"] - 1
                bar.n = row["step"]
                bar.update(0)
            elif row["type"] == "evaluated":
                known = row["accuracy"] is not None
                bar.set_postfix_str(f"student {row['accuracy']:.2%}" if known else f"agreement {row['agreement']:.2%}")
            elif row["type"] == "status" and row["message"]:
                bar.write(f"run {folder.id}: {row['message']}", file=sys.stderr)
            elif row["type"] == "quality":
                measure = "fid" if "fid" in row["teacher"] else "mismatch"
                bar.set_postfix_str(f"{measure} {score_text(measure, row['values'].get(measure))}")

        yield show


def _close(folder: RunFolder, status: RunStatus, as_json: bool) -> int:
    if as_json:
        print(json.dumps(summary(folder, status)))
    elif status.state in UNFINISHED:
        print(f"dfkd_core: run {folder.id} {status.state}: {status.message}", file=sys.stderr)
    else:
        print(_closing_line(folder, status))
    return 1 if status.state in UNFINISHED else 0


def _closing_line(folder: RunFolder, status: RunStatus) -> str:
    spec, result = read_spec(folder), status.result
    if not result:  # it never trained: what waited was stopped
        return f"{status.state}: {spec.method} on {spec.benchmark}, run {folder.id}"
    final, best, of_teacher = (score_text(result["measure"], result[name]) for name in ("final", "best", "teacher"))
    teacher = f", teacher {of_teacher}" if result["teacher"] is not None else ""
    return (
        f"{status.state}: {spec.method} on {spec.benchmark}: {result['measure']} final {final}, "
        f"best {best}{teacher}{spec.mark}, {result['seconds']:.1f} s, run {folder.id}"
    )
