"""HiDFD with few collected images, over seeds: against its rivals and the collected images alone, or its ablations.

Every arm gets the same collected images (drawn with the run's seed), and its student equally many updates on equally
large batches with the same augmentation; whatever else sets a method apart is its own preset ``demo``. So many runs as
``--jobs`` at a time, each in a process and on a thread of its own. Differences are paired by seed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

from benchmarks.common import Row, options, report, say
from dfkd_core import methods
from dfkd_core.runs.request import make_spec
from dfkd_core.study.hidfd_catalogue import EXPERIMENTS, SHARED
from dfkd_core.study.tables import in_points, interval, plus_minus

Arms = dict[str, tuple[str, dict[str, Any]]]
VARIANTS = EXPERIMENTS["ablation"].variants
ALONE = "collected images alone, classifier sharing"
PARTS: dict[str, Arms] = {  # the first arm is what the others are compared with
    "rivals": {
        "HiDFD": ("hidfd", {}),
        ALONE: ("collected", {"objective": "classifier-sharing"}),
        "collected images alone, KD": ("collected", {"objective": "kd"}),
        "DeGAN": ("degan", {}),
        "DFND": ("dfnd", {}),
        "KD3": ("kd3", {}),
    },
    "closest": {"HiDFD": ("hidfd", {}), "DeGAN": ("degan", {})},
    "ablation": {f"HiDFD, {name}": ("hidfd", VARIANTS[name]) for name in ("full", "w/o all three", *VARIANTS)},
}
SEEDS = 3
SECONDS = 300.0  # for HiDFD and the collected images alone, three seeds, two at a time


def trained(method: str, knobs: dict[str, Any], fields: dict[str, Any]) -> dict[str, Any]:
    """The result of one run in a process of its own. Exits if it failed."""
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in {**fields, **knobs}.items()]
    with tempfile.TemporaryDirectory() as runs:
        command = [sys.executable, "-m", "dfkd_core", "train", "--json", f"--method={method}", f"--runs={runs}", *flags]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{method}, {flags}: {done.stderr[-500:]}{done.stdout[-500:]}")
    return dict(json.loads(done.stdout.splitlines()[-1])["result"])


def knobs_of(method: str, changes: dict[str, Any], shared: dict[str, Any]) -> dict[str, Any]:
    """``changes`` and those of ``shared`` that the method has."""
    known = methods.find(method).Config.model_fields
    return {name: value for name, value in shared.items() if name in known} | changes


def measure(asked: argparse.Namespace) -> tuple[dict[str, list[dict[str, Any]]], dict[str, float]]:
    """Results of every arm by seed, and the seconds that each arm's runs took together."""
    fields = {"benchmark": asked.benchmark, "evaluate_every": 20}
    fields |= {"ratio": asked.ratio} if asked.ratio else {}
    shared = {name: make_spec({}, method="hidfd", **fields).config[name] for name in SHARED}
    shared |= {"gan_steps": 2, "distill_steps": 2} if asked.quick else {}
    results: dict[str, list[dict[str, Any]]] = {}
    walls = {}
    for name, (method, changes) in islice(PARTS[asked.part].items(), asked.arms):
        knobs, started = knobs_of(method, changes, shared), time.monotonic()
        with ThreadPoolExecutor(asked.jobs) as pool:
            runs = [
                pool.submit(trained, method, knobs, {**fields, "seed": seed})
                for seed in range(2 if asked.quick else asked.seeds)
            ]
            results[name] = [run.result() for run in runs]
        walls[name] = time.monotonic() - started
        finals = ", ".join(f"{result['final']:.2%}" for result in results[name])
        say(f"{name}: {finals}, {walls[name]:.0f} s")
    return results, walls


def rows_of(asked: argparse.Namespace, results: dict[str, list[dict[str, Any]]], walls: dict[str, float]) -> list[Row]:
    """Each arm's final accuracy, beside the best, and the lead of the first one over it."""
    first = next(iter(results))
    ours = [result["final"] for result in results[first]]
    seeds, rows = len(ours), []
    for name, runs in results.items():
        mean, _, high = interval([run["final"] for run in runs])
        best = interval([run["best"] for run in runs])[0] or 0.0
        text = f"final {plus_minus(mean, high)} %, best {100 * best:.1f} %, {walls[name]:.0f} s for {seeds} runs"
        what = f"{asked.benchmark}: {name}"
        if name == first:
            rows.append(Row(what, text, value=mean))
            continue
        lead = interval([own - run["final"] for own, run in zip(ours, runs, strict=True)])
        text += f"; the lead of {first} {in_points(*lead)} points"
        if asked.part == "ablation":  # reported as it comes out
            rows.append(Row(what, text, value=mean))
        else:
            rows.append(Row(what, text, "lead clear of 0", lead[1] is not None and lead[1] > 0, mean))
    if ALONE in walls:
        took = walls[first] + walls[ALONE]
        what = f"{asked.benchmark}: HiDFD and the collected images alone, {seeds} seeds, {asked.jobs} runs at a time"
        target, met = (f"≤ {SECONDS:.0f} s", took <= SECONDS) if seeds == SEEDS else ("", None)
        rows.append(Row(what, f"{took:.0f} s", target, met, took))
    return rows


def main() -> None:
    def add(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--part", choices=PARTS, default="rivals", help="which arms (default rivals)")
        parser.add_argument("--arms", type=int, help="only the first so many")
        parser.add_argument("--benchmark", default="digits", help="default digits")
        parser.add_argument("--ratio", type=float, default=0.0, help="ρ (default: the benchmark's usual one)")
        parser.add_argument("--seeds", type=int, default=SEEDS, help=f"how many (default {SEEDS})")
        parser.add_argument("--jobs", type=int, default=2, help="runs at a time (default 2)")

    asked = options("hybrid", __doc__, add)
    results, walls = measure(asked)
    part = "-".join(
        [asked.part] * (asked.part != "rivals")
        + [asked.benchmark]
        + [f"first-{asked.arms}"] * (asked.arms is not None)
        + [f"{asked.seeds}-seeds"] * (asked.seeds != SEEDS)
    )
    report("hybrid", asked.quick, rows_of(asked, results, walls), {"results": results, "seconds": walls}, part)


if __name__ == "__main__":
    main()
