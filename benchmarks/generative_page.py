"""The pictures in docs/generative.md: one student of guided diffusion, its synthesis and its end.

Trains a student of the benchmark's teacher (preset ``demo``, seed 0, one thread), measures it, and takes both pictures
by a headless browser.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from benchmarks.common import say
from benchmarks.figures import PICTURES
from benchmarks.page import CHROMIUM_FLAGS, serving
from dfkd_core.analysis.measure_latent import measure_generative
from dfkd_core.engine import InlineEngine
from dfkd_core.runs.request import make_spec
from dfkd_core.store import RunFolder
from dfkd_core.teachers.cards import available_teachers

SIZE = {"width": 1280, "height": 800}


def student_of(benchmark: str, runs: Path) -> RunFolder:
    """A finished run in ``runs``, measured."""
    teacher = next(iter(available_teachers(benchmark, "generative")))
    fields = {"method": "ukd", "benchmark": benchmark, "teacher": teacher, "student": "lvae-8", "preset": "demo"}
    spec = make_spec({"source": "diffusion"}, **fields, evaluate_every=25, threads=1, device="cpu")
    folder = RunFolder(runs / InlineEngine(runs).submit(spec))
    if folder.status().state != "done":
        raise SystemExit(folder.status().message)
    measure_generative(folder, runs / "analysis-cache")
    return folder


def take(folder: RunFolder, name: str) -> None:
    """``NAME-synthesis.png`` at the last of the steps that made images, ``NAME-student.png`` at the end."""
    made = folder.spec()["config"]["synthesis_batches"]
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with serving(folder.path.parent) as port, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_FLAGS)
        for picture, step in (("synthesis", f"&step={made}"), ("student", "")):
            page = browser.new_page(viewport=SIZE, color_scheme="light")  # type: ignore[arg-type]
            page.goto(f"http://127.0.0.1:{port}/generative?run={folder.id}{step}")
            page.wait_for_selector("[data-testid=stSidebar] [data-testid=stSelectbox]", timeout=60_000)
            page.wait_for_selector(".dfkd-guidance .main-svg", state="attached", timeout=60_000)
            page.wait_for_timeout(3000)
            page.screenshot(path=PICTURES / f"{name}-{picture}.png")
        browser.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--benchmark", default="mnist", help="default mnist")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as runs:
        folder = student_of(asked.benchmark, Path(runs))
        say(f"final FID {folder.status().result['final']:.3f}")
        take(folder, f"generative-{asked.benchmark}")


if __name__ == "__main__":
    main()
