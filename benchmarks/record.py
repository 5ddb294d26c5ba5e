"""Make the recorded run in ``assets/`` again: ``python -m benchmarks.record``.

The default run, seed 0, trained from scratch; only what a replay needs is kept (no checkpoints, no weights).
"""

from __future__ import annotations

import shutil

from benchmarks.report import ROOT
from benchmarks.training import carried_out, folder_of_runs
from dfkd_core.runs.request import make_spec
from dfkd_core.store import SPECS, RunFolder

TARGET = ROOT / "assets" / "recorded-run"
KEPT = (*SPECS, "status.json", "attempts/1/events.jsonl", "attempts/1/environment.json")
FOLDERS = ("samples", "probes", "real", "phases")


def main() -> None:
    """Train, copy what a replay needs, and print what it reached."""
    with folder_of_runs() as runs:
        folder = carried_out(runs, make_spec(samples_every=15))
        shutil.rmtree(TARGET, ignore_errors=True)
        for name in FOLDERS:
            shutil.copytree(folder.path / name, TARGET / name)
        for name in KEPT:
            (TARGET / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder.path / name, TARGET / name)
    kept = RunFolder(TARGET)
    facts = kept.environment()
    kept.write_environment(1, {**facts, "platform": facts["platform"].split("-")[0]})
    print(kept.status().result)


if __name__ == "__main__":
    main()
