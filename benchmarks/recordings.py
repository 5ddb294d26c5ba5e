"""Make what the lab opens on again: ``python -m benchmarks.recordings``, all or ``--only`` some.

``assets/recorded`` is a folder of runs and studies like any other. Each is trained from scratch, seed 0 first; kept is
what a replay needs: no weights, few sheets. With ``--runs`` a study that was broken off goes on.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from benchmarks.command import command
from benchmarks.report import ROOT, say
from benchmarks.training import carried_out, conducted, folder_of_runs
from dfkd_core.analysis.measured import GENERATED
from dfkd_core.cli.main import main as lab
from dfkd_core.runs.request import make_spec
from dfkd_core.runs.spec import read_spec
from dfkd_core.store import LOG, REAL, SPECS, EventReader, RunFolder, read_samples, store_samples
from dfkd_core.store.sealed import sealed, unsealed
from dfkd_core.store.sheets import WIDE
from dfkd_core.study import Study, find, studies_in
from dfkd_core.study import file as files

TARGET = ROOT / "assets" / "recorded"
KEPT = (*SPECS, "status.json", "attempts/1/events.jsonl", "attempts/1/environment.json")
SHOWN_IMAGES = 320  # of a generator that was measured
SPARSE = {"samples_every": 120, "probes_every": 0, "phases_every": 0, "real": 100}  # of a study's run
RUNS: dict[str, dict[str, Any]] = {
    "ta-dfkd": {"samples_every": 15},
    "fig-4": {
        "knobs": {"adversarial_weight": 0.0, "class_prior_weight": 1.0, "epochs": 12},
        "samples_every": 60,
        "probes_every": 0,
        "phases_every": 0,
    },
    "hidfd": {"method": "hidfd", "samples_every": 30, "probes_every": 0, "phases_every": 60},
    "ukd": {"method": "ukd", "samples_every": 60, "probes_every": 60, "phases_every": 100},
}
"""Name -> what is asked for, beside the usual."""
AFTERWARDS = {"hidfd": ("distance",), "ukd": ("measure",)}
STUDIES: dict[str, tuple[str, dict[str, Any]]] = {
    "fig-1a": (
        "fig1a",
        {
            "teachers": ["digits-resnet20-plain", "digits-lenet5-bn-mixup"],
            "knobs": {"epochs": 12},
            "run": {**SPARSE, "benchmark": "digits"},
        },
    ),
    "figs-2-3": ("prior", {"knobs": {"epochs": 12}, "run": {**SPARSE, "benchmark": "digits"}}),
    "figs-2-3-mnist": (
        "prior",
        {
            "intensities": [0.0, 0.5, 1.0],
            "seeds": [0, 1],
            "knobs": {"epochs": 10},
            "run": {**SPARSE, "benchmark": "mnist", "teacher": "mnist-lenet5-bn-smooth"},
        },
    ),
    "fig-1b": ("grid", files.read(files.find_file("fig-1b").read_bytes(), "fig-1b").given),
    "hidfd-table-1": (
        "experiment",
        {"experiment": "comparison", "values": [0.05, 0.2], "run": {**SPARSE, "benchmark": "digits"}},
    ),
    "slides-table": (
        "generative",
        {"run": {"benchmark": "digits", "preset": "cpu", "evaluate_every": 200, "probes_every": 0}},
    ),
}
"""Name -> kind, and what it is asked for."""
THIN = (
    "fig-1b",
    "hidfd-table-1",
    "slides-table",
)  # of so many runs that each keeps what its curves need, and its last images
FEW_IMAGES, FEW_ROWS = 64, 30


def run_recording(name: str, runs: Path) -> None:
    """Train the run ``name``, and copy what a replay needs."""
    given = dict(RUNS[name])
    folder = carried_out(runs, make_spec(given.pop("knobs", {}), **given))
    for job in AFTERWARDS.get(name, ()):
        lab([job, folder.id, "--runs", str(runs)])
    copied(folder, name)
    say(f"{name}: {folder.status().result}")


def study_recording(name: str, runs: Path) -> None:
    """Carry the study ``name`` out, or on, and copy it with its runs."""
    kind, given = STUDIES[name]
    asked = find(kind).specs(find(kind).Request.build(given))
    begun = (study for study in studies_in(runs, kind) if [cell.spec for cell in study.cells] == [s for _, s in asked])
    study = next(begun, None) or find(kind).begin(runs, **given)
    if study.progress().state != "done":
        conducted(study)
    kept = Study(TARGET / "studies" / name)
    shutil.rmtree(kept.path, ignore_errors=True)
    shutil.copytree(study.path / "cells", kept.path / "cells")
    stored = json.loads(unsealed(study.files.read("study.json")))
    for cell in stored["cells"]:
        cell["spec"]["data"] = ""
    kept.files.write_json("study.json", stored)
    for cell in study.cells:
        recording = f"{name}-{cell.key}"
        copied(study.run(study.record(cell)), recording)
        kept_run = RunFolder(TARGET / recording)
        thinned(kept_run) if name in THIN else shortened(kept_run)
        kept.keep(cell, replace(study.record(cell), run=recording))


def copied(folder: RunFolder, name: str) -> None:
    """What a replay needs of a run, as the recording ``name``; nothing of the machine that it was made on."""
    kept = RunFolder(TARGET / name)
    shutil.rmtree(kept.path, ignore_errors=True)
    for file in folder.files.walk():
        if file in KEPT or file.startswith(("samples/", "probes/", "real/", "collected/", "phases/", "analysis/")):
            (kept.path / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder.path / file, kept.path / file)
    shutil.rmtree(kept.path / "analysis" / "jobs", ignore_errors=True)
    facts = kept.environment()
    kept.write_environment(1, {**facts, "platform": facts["platform"].split("-")[0]})
    for file in SPECS:
        kept.files.write_json(file, {**read_spec(folder).model_dump(mode="json"), "data": ""})


def shortened(kept: RunFolder) -> None:
    """Of a study's run: every fourth row of metrics, some of the images that were measured, and features of the newest
    sheet only."""
    rows = EventReader(kept).read()
    evaluated = _evaluated(rows)
    _keep_rows(kept, [row for row in rows if row["type"] != "step" or not row["step"] % 4 or row["step"] in evaluated])
    stems = sorted(
        name.removesuffix(".npz") for name in kept.files.walk() if name.startswith("samples/") and name.endswith(".npz")
    )
    for stem in stems[:-1]:
        images, columns = read_samples(kept, stem)
        store_samples(kept, stem, images, {name: values for name, values in columns.items() if name not in WIDE})
    if kept.files.exists(f"{GENERATED}.png"):
        images, columns = read_samples(kept, GENERATED)
        few = {column: values[:SHOWN_IMAGES] for column, values in columns.items()}
        store_samples(kept, GENERATED, images[:SHOWN_IMAGES], few)


def _evaluated(rows: list[dict[str, Any]]) -> list[int]:
    """The steps after which the student was."""
    return sorted({row["step"] for row in rows if row["type"] in ("evaluated", "quality")})


def _keep_rows(kept: RunFolder, rows: list[dict[str, Any]]) -> None:
    numbered = (sealed({**row, "seq": index}) for index, row in enumerate(rows, 1))
    kept.files.write(kept.attempt_file(1, LOG), b"\n".join([*numbered, b""]), durable=False)


def thinned(kept: RunFolder) -> None:
    """Of a run of a large study: every evaluation, what was logged at some of them, and some of the last images."""
    rows = EventReader(kept).read()
    evaluated = _evaluated(rows)
    told = {*evaluated[:: -(-len(evaluated) // FEW_ROWS)], *evaluated[-1:]}
    last = [row for row in rows if row["type"] == "samples"][-1:]
    wanted = [row for row in rows if row["type"] not in ("step", "samples", "probes", "phases") or row in last
              or (row["type"] == "step" and row["step"] in told)]  # fmt: skip
    _keep_rows(kept, wanted)
    for folder in ("probes", "phases"):
        shutil.rmtree(kept.path / folder, ignore_errors=True)
    sheets = [row["file"] for row in last]
    for file in (kept.path / "samples").iterdir():
        if f"samples/{file.stem}" not in sheets:
            file.unlink()
    for stem in [*sheets, *([REAL] if kept.files.exists(f"{REAL}.png") else [])]:
        images, columns = read_samples(kept, stem)
        few = {name: values[:FEW_IMAGES] for name, values in columns.items() if name not in WIDE}
        store_samples(kept, stem, images[:FEW_IMAGES], few)


def measure(
    *,
    only: Annotated[list[str] | None, Parameter(help="Names of recordings; all unless given.")] = None,
    runs: Annotated[Path | None, Parameter(help="Train there, and keep that.")] = None,
) -> None:
    makers = dict.fromkeys(RUNS, run_recording) | dict.fromkeys(STUDIES, study_recording)
    if unknown := set(only or ()) - set(makers):
        raise SystemExit(f"{', '.join(sorted(unknown))}: no recording; there are {', '.join(makers)}")
    with folder_of_runs(runs) as folder:
        for name in only or makers:
            makers[name](name, folder)


if __name__ == "__main__":
    command(measure)
