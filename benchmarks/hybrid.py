"""HiDFD with few collected images, over seeds: against its rivals and the collected images alone, or its ablations.

Every arm gets the same collected images (drawn with the run's seed), and its student equally many updates on equally
large batches with the same augmentation; whatever else sets a method apart is its own preset ``demo``. So many runs as
``--jobs`` at a time, each in a process and on a thread of its own. Differences are paired by seed.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from statistics import fmean
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from benchmarks.command import Benchmark, Quick, Seeds, command
from benchmarks.report import Report, Row, at_most, say
from benchmarks.timing import Stopwatch
from benchmarks.training import folder_of_runs, spread
from dfkd_core import methods
from dfkd_core.runs.request import make_spec
from dfkd_core.study.hidfd_experiments import AS_PUBLISHED, EXPERIMENTS, SHARED
from dfkd_core.study.tables import in_points, interval

VARIANTS = EXPERIMENTS["ablation"].variants
ALONE = "collected images alone, classifier sharing"
PAPER = AS_PUBLISHED["hidfd"]
PARTS: dict[str, dict[str, tuple[str, dict[str, Any]]]] = {  # the first arm is what the others are compared with
    "rivals": {
        "HiDFD": ("hidfd", PAPER),
        ALONE: ("collected", {"objective": "classifier-sharing"}),
        "collected images alone, KD": ("collected", {"objective": "kd"}),
        "DeGAN": ("degan", {}),
        "DFND": ("dfnd", {}),
        "KD3": ("kd3", {}),
    },
    "closest": {"HiDFD": ("hidfd", PAPER), "DeGAN": ("degan", {})},
    "ablation": {
        f"HiDFD, {name}": ("hidfd", {**PAPER, **VARIANTS[name]}) for name in ("full", "w/o all three", *VARIANTS)
    },
}
SEEDS = 3
SECONDS = 300.0  # for HiDFD and the collected images alone, three seeds, two at a time
Results = list[dict[str, Any]]  # of an arm, by seed


def trained(method: str, knobs: dict[str, Any], fields: dict[str, Any], seed: int) -> dict[str, Any]:
    """The result of one run in a process of its own. Exits if it failed."""
    flags = {"method": method, **fields, "seed": seed, **knobs}
    with folder_of_runs() as runs:
        asked = [f"--{name.replace('_', '-')}={value}" for name, value in {**flags, "runs": runs}.items()]
        train = [sys.executable, "-m", "dfkd_core", "train", "--json", *asked]
        done = subprocess.run(train, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{flags}: {done.stderr[-500:]}{done.stdout[-500:]}")
    return dict(json.loads(done.stdout.splitlines()[-1])["result"])


def rows_of(benchmark: str, reported: bool, results: dict[str, Results], walls: dict[str, float]) -> Iterator[Row]:
    """Each arm's final accuracy, beside the best, and the lead of the first one over it, which is held against a target
    unless it is only ``reported`` as it comes out."""
    first, *_ = results
    for name, runs in results.items():
        finals = [run["final"] for run in runs]
        best = fmean(run["best"] for run in runs)
        text = f"final {spread(finals)}, best {best:.1%}, {walls[name]:.0f} s for {len(runs)} runs"
        target, met = "", None
        if name != first:
            lead = interval([own["final"] - run["final"] for own, run in zip(results[first], runs, strict=True)])
            text += f"; the lead of {first} {in_points(*lead)} points"
            if not reported:
                target, met = "lead clear of 0", lead[1] is not None and lead[1] > 0
        yield Row(f"{benchmark}: {name}", text, target, met, fmean(finals))


def measure(
    *,
    part: Annotated[Literal["rivals", "closest", "ablation"], Parameter(help="Which arms.")] = "rivals",
    arms: Annotated[int | None, Parameter(help="Only the first so many.")] = None,
    benchmark: Benchmark = "digits",
    ratio: Annotated[float, Parameter(help="ρ; 0: the benchmark's usual one.")] = 0.0,
    seeds: Seeds = SEEDS,
    jobs: Annotated[int, Parameter(help="Runs at a time.")] = 2,
    quick: Quick = False,
) -> Iterator[Report]:
    fields = {"benchmark": benchmark, "evaluate_every": 20} | ({"ratio": ratio} if ratio else {})
    shared = {name: make_spec({}, method="hidfd", **fields).config[name] for name in SHARED}
    shared |= {"gan_steps": 2, "distill_steps": 2} if quick else {}
    results, walls = dict[str, Results](), dict[str, float]()
    for name, (method, changes) in islice(PARTS[part].items(), arms):
        known = methods.find(method).Config.model_fields
        knobs = {knob: value for knob, value in shared.items() if knob in known} | changes
        with Stopwatch() as watch, ThreadPoolExecutor(jobs) as pool:
            runs = [pool.submit(trained, method, knobs, fields, seed) for seed in range(2 if quick else seeds)]
            results[name] = [run.result() for run in runs]
        walls[name] = watch.wall
        say(f"{name}: {spread([result['final'] for result in results[name]])}, {walls[name]:.0f} s")
    rows = list(rows_of(benchmark, part == "ablation", results, walls))
    if ALONE in walls:
        took, count = walls["HiDFD"] + walls[ALONE], len(results[ALONE])
        what = f"{benchmark}: HiDFD and the collected images alone, {count} seeds, {jobs} runs at a time"
        held = at_most(SECONDS, what, f"{took:.0f} s", took, f"≤ {SECONDS:.0f} s")
        rows.append(held if count == SEEDS else Row(what, held.measured, value=took))
    parts = [part] * (part != "rivals") + [benchmark]
    parts += [f"first-{arms}"] * (arms is not None) + [f"{seeds}-seeds"] * (seeds != SEEDS)
    yield Report(rows, {"results": results, "seconds": walls}, "-".join(parts))


if __name__ == "__main__":
    command(measure)
