"""Make the recorded run in ``assets/`` again: ``python -m benchmarks.record``.

The default run, seed 0, trained from scratch; only what a replay needs is kept (no checkpoints, no weights).
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from dfkd_core.engine import InlineEngine
from dfkd_core.runs.request import make_spec
from dfkd_core.store import RunFolder

TARGET = Path(__file__).parent.parent / "assets" / "recorded-run"
KEPT = ("spec.json", "status.json", "attempts/1/events.jsonl", "attempts/1/environment.json")
FOLDERS = ("samples", "probes", "real", "phases")


def main() -> None:
    """Train, copy what a replay needs, and print what it reached."""
    with tempfile.TemporaryDirectory() as runs:
        run_id = InlineEngine(Path(runs)).submit(make_spec(samples_every=15))
        folder = RunFolder(Path(runs) / run_id)
        assert folder.status().state == "done", folder.status()
        shutil.rmtree(TARGET, ignore_errors=True)
        for name in (*KEPT, *FOLDERS):
            source, target = folder.path / name, TARGET / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target)
            else:
                shutil.copyfile(source, target)
    kept = RunFolder(TARGET)
    facts = kept.environment()
    kept.write_environment(1, {**facts, "platform": facts["platform"].split("-")[0]})
    print(kept.status().result)


if __name__ == "__main__":
    main()
