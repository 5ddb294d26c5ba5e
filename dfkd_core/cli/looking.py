"""Looking at runs: listing and showing them, and measuring what they made."""

from __future__ import annotations

import gc
import json
import sys
from dataclasses import asdict
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from dfkd_core import store
from dfkd_core.analysis.finding import in_order, matching, names_of
from dfkd_core.analysis.index import Entry, RunIndex
from dfkd_core.analysis.jobs import report
from dfkd_core.analysis.measured import GENERATIVE_SAMPLES, SAMPLES, generative_notes, generative_table
from dfkd_core.cli.flags import Json, RunId, Runs, run_of, runs_of
from dfkd_core.errors import RequestError
from dfkd_core.quality.score import score_text
from dfkd_core.runs.spec import NOT_DATA_FREE, read_spec
from dfkd_core.store import EventReader, RunFolder, RunStatus, damage, is_plain, orphans_in, remove_orphans
from dfkd_core.study.folder import FOLDER, Study

MOST_SAID = 3  # of what is damaged in one run of a list
Samples = Annotated[
    int | None,
    Parameter(help=f"Images to synthesise ({SAMPLES}, of a generative student {GENERATIVE_SAMPLES})."),
]
Extractor = Annotated[str, Parameter(help="inception, or teacher:NAME; the usual one: another kind of network.")]


# --- what there is ---------------------------------------------------------------------------------------------


def summary(folder: RunFolder, status: RunStatus) -> dict[str, Any]:
    """All that a run's small files say, and what is damaged of them and of its log. Raises ``StoreError`` if there is
    no readable specification."""
    spec = read_spec(folder).model_dump()
    return {"id": folder.id, **asdict(status), "damaged": damage(folder), "spec": spec}


def runs(
    *,
    search: Annotated[
        str, Parameter(help='Only some: words, and comparisons of any field, knob or result: "method=dafl best>90%".')
    ] = "",
    sort: Annotated[str, Parameter(help="By any field, knob or result; the newest first unless given.")] = "",
    descending: Annotated[bool, Parameter(help="The largest first.")] = False,
    columns: Annotated[str, Parameter(help="What else to show of each, between commas: seed,student_lr.")] = "",
    clean: Annotated[bool, Parameter(help="Remove what starts that were killed have left.")] = False,
    runs: Runs = None,
    as_json: Json = False,
) -> int:
    """List the runs, all or those that are sought."""
    gc.disable()  # what thousands of runs say is kept to the end, and would be gone through again and again
    where = runs_of(runs)
    if where.exists() and not where.is_dir():
        raise RequestError("runs", str(where), "is a file; should be the folder of the runs.")
    if not where.is_dir():
        print(f"There is no folder {where} yet, so there are no runs.", file=sys.stderr)
    said = "removed" if clean else "`python -m dfkd_core runs --clean` removes it"
    there = RunIndex(where).entries()
    for path in orphans_in(where, {entry.id for entry in there}):
        print(f"{path.name}  never begun: its start was killed; {said}", file=sys.stderr)
    if clean:
        remove_orphans(where)
    found = matching(there, search)
    names = [name.strip() for name in columns.split(",") if name.strip()]
    if unknown := names and found and set(names) - set(names_of(found)):
        raise RequestError("columns", sorted(unknown)[0], "no run has that.")
    for entry in in_order(found, sort, descending) if sort else found:
        if entry.problem:
            print(f"{entry.id}  damaged: {entry.problem}", file=sys.stderr)
            continue
        print(json.dumps(_facts(entry)) if as_json else _line(entry, names))
        for said in entry.damaged[:MOST_SAID]:
            print(f"{entry.id}  damaged: {said}", file=sys.stderr)
    return 0


def _facts(entry: Entry) -> dict[str, Any]:
    spec = entry.spec.model_dump() if entry.spec else {}
    said = {"damaged": list(entry.damaged), "spec": spec, "about": entry.about.model_dump()}
    return {"id": entry.id, **asdict(entry.status), **said}


def _line(entry: Entry, names: list[str]) -> str:
    result, spec, status, score = entry.status.result, entry.fields, entry.status, ""
    if result:
        final, best = (score_text(result["measure"], result[name]) for name in ("final", "best"))
        score = f"{result['measure']} {final} (best {best})"
    progress = f"{status.step}/{status.total_steps}"
    what = f"{spec['method']} {spec['teacher']}" + (f" ({NOT_DATA_FREE})" if spec["not_data_free"] else "")
    words = "  ".join(filter(None, [entry.about.name, *(f"{name}={entry.values.get(name, '–')}" for name in names)]))
    return f"{entry.id}  {status.state:<11} {progress:>11}  {what}  {score}  {words}".rstrip()


def show(
    id: RunId,
    /,
    *,
    events: Annotated[bool, Parameter(help="With all rows of its log.")] = False,
    runs: Runs = None,
    as_json: Json = False,
) -> int:
    """Show one run."""
    folder = run_of(runs, id)
    shown = summary(folder, folder.status_seen())
    if events:
        shown["events"] = EventReader(folder).read()
    if as_json:
        print(json.dumps(shown))
        return 0
    for key, value in shown.items():
        print(f"{key}: {json.dumps(value) if isinstance(value, dict | list) else value}")
    return 0


def verify(id: RunId, /, *, runs: Runs = None) -> int:
    """Hold every file of a run, or of a study, against its checksum."""
    study = runs_of(runs) / FOLDER / id
    if is_plain(id) and study.is_dir():
        what, found = f"study {id}", Study(study).damage()
    else:
        folder = run_of(runs, id)
        what, found = f"run {folder.id}", store.verify(folder)
    for said in found:
        print(said)
    print(f"{what}: {len(found)} damaged" if found else f"{what} is as it was written")
    return 1 if found else 0


# --- what it made ----------------------------------------------------------------------------------------------


def measure(
    id: RunId,
    /,
    *,
    samples: Samples = None,
    extractor: Extractor = "",
    force: Annotated[bool, Parameter(help="Even if the same was measured before.")] = False,
    runs: Runs = None,
    as_json: Json = False,
) -> int:
    """Measure what a run's generator or generative student makes."""
    from dfkd_core.analysis.measure_latent import measure_run
    from dfkd_core.store.listing import CACHE

    figures = measure_run(run_of(runs, id), runs_of(runs) / CACHE, samples, extractor, force)
    lines = _generative_lines if "student" in figures else _measured_lines
    print(json.dumps(figures) if as_json else lines(figures))
    return 0


def _generative_lines(figures: dict[str, Any]) -> str:
    """The table of teacher and student, after what it is a table of."""
    rows = [("", "teacher", "student"), *generative_table(figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    table = [f"{title:<{widths[0]}}  {one:>{widths[1]}}  {other:>{widths[2]}}" for title, one, other in rows]
    return "\n".join([*generative_notes(figures), *table])


def _measured_lines(figures: dict[str, Any]) -> str:
    names = ("density", "coverage", "precision", "recall", "class_balance", "diversity", "real_diversity")
    rest = ", ".join(f"{name.replace('_', ' ')} {figures[name]:.3f}" for name in names if figures[name] is not None)
    return f"{figures['fid']:.3f}: {figures['label']}, step {figures['step']}\n{rest}"


def distance(id: RunId, /, *, runs: Runs = None, as_json: Json = False) -> int:
    """Tell a run's synthetic images from its collected ones."""
    from dfkd_core.analysis import two_sample

    figures = two_sample.distance(run_of(runs, id))
    interval = f"[{figures['low']:.3f}, {figures['high']:.3f}]"
    chance = "above" if figures["above_chance"] else "not above"
    said = f"TVD at least {figures['tvd']:.3f} {interval}, {chance} chance: {figures['images']} collected images"
    print(json.dumps(figures) if as_json else said)
    return 0


def layout(
    id: RunId,
    /,
    *,
    kind: Annotated[Literal["umap", "tsne"], Parameter(help="Of layout.")] = "umap",
    runs: Runs = None,
) -> int:
    """Lay out a run's samples in the plane, for Inspect."""
    from tqdm import tqdm

    from dfkd_core.analysis.layout import fit_embedding

    folder = run_of(runs, id)
    with tqdm(total=100, bar_format="{l_bar}{bar}| {elapsed}", dynamic_ncols=True, file=sys.stderr) as bar:

        def tell(share: float, message: str) -> None:
            report(share, message)
            bar.n = round(100 * share)
            bar.set_description(message)

        found = fit_embedding(folder, kind, tell)
        bar.set_description("Done")
        bar.update(100 - bar.n)
    print(f"{kind} of run {folder.id}: fitted to the samples up to step {found.fitted_to}")
    return 0
