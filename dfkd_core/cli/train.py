"""``train`` and ``resume``: a run in this process, with a progress bar, closed by one line."""

from __future__ import annotations

import json
import sys
from typing import Any

from tqdm import tqdm

from dfkd_core.cli.flags import (
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
from dfkd_core.errors import RequestError
from dfkd_core.events import Evaluated, Event, Quality, Status, Step
from dfkd_core.quality.score import score_text
from dfkd_core.runs.spec import read_spec
from dfkd_core.store import Lease, RunFolder, RunStatus
from dfkd_core.teachers.cards import find_card

METHOD = "ta-dfkd"
UNFINISHED = ("failed", "interrupted")


def _command(method: str) -> Any:
    def begin(*, runs: Runs = None, as_json: Json = False, **given: Any) -> int:
        from dfkd_core.runs.request import make_spec, notes

        changes, fields = asked(method, given)
        spec, folder = make_spec(changes, **{"method": method, **fields}), runs_of(runs)
        for said in notes(spec):
            print(f"dfkd_core: {said}", file=sys.stderr)
        for doubt in find_card(spec.teacher)[0].doubts:
            print(f"warning: {spec.teacher}: {doubt}", file=sys.stderr)
        try:
            run, lease = RunFolder.begin(folder, spec.model_dump())
        except OSError as error:
            raise RequestError("runs", str(folder), f"cannot be written to ({error.strerror}).") from None
        return _follow(run, lease, as_json)

    return with_flags(begin, *training(method))


train = dispatched("train", "Distil a teacher in this process.", METHOD, _command)


def resume(
    id: RunId, /, *, take_over: TakeOver = False, insist: Insist = False, runs: Runs = None, as_json: Json = False
) -> int:
    """Go on with a run."""
    from dfkd_core.engine.base import take_up

    folder = run_of(runs, id)
    lease = take_up(folder, take_over)
    if lease is None:
        print(f"run {folder.id}: told to go on")
        return 0
    return _follow(folder, lease, as_json, insist)


def _follow(folder: RunFolder, lease: Lease, as_json: bool, insist: bool = False) -> int:
    from dfkd_core.runs.loop import run

    with tqdm(unit="step", disable=as_json, dynamic_ncols=True, file=sys.stderr) as bar:

        def show(event: Event) -> None:
            if isinstance(event, Step):
                if bar.total is None:
                    bar.reset(total=folder.status().total_steps or None)
                    bar.initial = bar.last_print_n = event.step - 1
                bar.n = event.step
                bar.update(0)
            elif isinstance(event, Evaluated):
                known = event.accuracy is not None
                bar.set_postfix_str(f"student {event.accuracy:.2%}" if known else f"agreement {event.agreement:.2%}")
            elif isinstance(event, Status) and event.message:
                bar.write(f"run {folder.id}: {event.message}", file=sys.stderr)
            elif isinstance(event, Quality):
                measure = "fid" if "fid" in event.teacher else "mismatch"
                bar.set_postfix_str(f"{measure} {score_text(measure, event.values.get(measure))}")

        status = run(folder, lease, show, insist)
    if as_json:
        print(json.dumps(summary(folder, status)))
    elif status.state in UNFINISHED:
        print(f"dfkd_core: run {folder.id} {status.state}: {status.message}", file=sys.stderr)
    else:
        print(_closing_line(folder, status))
    return 1 if status.state in UNFINISHED else 0


def _closing_line(folder: RunFolder, status: RunStatus) -> str:
    spec, result = read_spec(folder), status.result
    final, best, of_teacher = (score_text(result["measure"], result[name]) for name in ("final", "best", "teacher"))
    teacher = f", teacher {of_teacher}" if result["teacher"] is not None else ""
    return (
        f"{status.state}: {spec.method} on {spec.benchmark}: {result['measure']} final {final}, "
        f"best {best}{teacher}{spec.mark}, {result['seconds']:.1f} s, run {folder.id}"
    )
