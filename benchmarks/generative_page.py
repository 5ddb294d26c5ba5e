"""The pictures in docs/generative.md: one student of guided diffusion, its synthesis and its end.

Trains a student of the benchmark's teacher (preset ``demo``, seed 0, one thread), measures it, and takes both pictures
by a headless browser.
"""

from __future__ import annotations

from benchmarks.command import Benchmark, command
from benchmarks.lab import browsing, new_page, serving, take
from benchmarks.report import say
from benchmarks.training import carried_out, folder_of_runs
from dfkd_core.analysis.measure_latent import measure_generative
from dfkd_core.runs.request import make_spec


def measure(*, benchmark: Benchmark = "mnist") -> None:
    fields = {"method": "ukd", "benchmark": benchmark, "student": "lvae-8", "evaluate_every": 25}
    spec = make_spec({"source": "diffusion"}, **fields)
    with folder_of_runs() as runs:
        folder = carried_out(runs, spec)
        measure_generative(folder, runs / "analysis-cache")
        say(f"final FID {folder.status().result['final']:.3f}")
        made = spec.config["synthesis_batches"]  # the last of the steps that made images
        with serving(runs) as lab, browsing() as browser:
            for picture, step in (("synthesis", f"&step={made}"), ("student", "")):
                address = f"{lab}generative?run={folder.id}{step}"
                take(new_page(browser), address, f"generative-{benchmark}-{picture}", ".dfkd-guidance .main-svg")


if __name__ == "__main__":
    command(measure)
