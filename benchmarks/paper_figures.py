"""The figures of the TA-DFKD paper, and HiDFD's way, as this lab's pages show them, for docs/figures.md.

Takes pictures of the pages on a folder of runs in which the studies and runs are done already: Fig. 1a (Lessons),
Figs. 2 and 3 (Class prior), Fig. 4 (Inspect, ★ and ×), and a run of HiDFD (Hybrid), for each benchmark that it finds.
Fills its parts between ``<!-- figures -->`` and ``<!-- /figures -->``, and ``<!-- hybrid -->`` and
``<!-- /hybrid -->``, with those that it found and the settings behind each. Any of them can be made from the pages
alone; the commands are printed beside.
"""

from __future__ import annotations

import argparse
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, sync_playwright

from benchmarks.figures import DOCS, PICTURES, fill
from benchmarks.page import CHROMIUM_FLAGS, serving
from dfkd_core import methods
from dfkd_core.store import RunFolder, runs_in
from dfkd_core.study import Study, find, studies_in

TITLES = {"digits": "Digits", "mnist": "MNIST"}


def done(runs: Path, kind: str, benchmark: str) -> Study | None:
    """The newest finished study of ``kind``, or None."""
    studies = [study for study in studies_in(runs) if (study.kind, study.settings["benchmark"]) == (kind, benchmark)]
    return next((study for study in studies if study.progress().state == "done"), None)


def fig4_run(runs: Path, benchmark: str) -> RunFolder | None:
    """The newest run with the class prior and without the adversarial term, outside any study."""
    for folder in runs_in(runs):
        spec, config = folder.spec(), folder.spec()["config"]
        prior = config.get("class_prior_weight", 0) > 0 and config.get("adversarial_weight", 1) == 0
        if prior and spec["benchmark"] == benchmark and config["bn_weight"] > 0 and folder.status().state == "done":
            return folder
    return None


def settings(spec: dict[str, Any], *left_out: str) -> str:
    """What determines a run: preset, and the knobs that differ from it."""
    config = methods.find(spec["method"]).Config
    start = config.build(spec["preset"]).model_dump()
    changed = {name: value for name, value in spec["config"].items() if value != start[name] and name not in left_out}
    knobs = ", ".join(
        f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}" for name, value in changed.items()
    )
    return f"`{spec['method']}`, preset `{spec['preset']}`" + (f", {knobs}" if knobs else "")


@dataclass(frozen=True)
class Figure:
    """``name`` of the picture, ``address`` of the page, what to wait for, and the ``text`` below it."""

    name: str
    address: str
    ready: str
    text: str


def ends(study: Study) -> list[str]:
    """Each variant's final and best accuracy, teacher by teacher."""
    found: dict[str, list[str]] = {}
    for state in study.progress().cells:
        result = study.run(state.record).status().result
        found.setdefault(state.cell.labels["variant"], []).append(f"{result['final']:.1%} ({result['best']:.1%})")
    return [f"{variant} {' and '.join(scores)}" for variant, scores in found.items()]


def fig1a(study: Study, benchmark: str) -> Figure:
    spec = study.cells[-1].spec.model_dump()
    teachers = " and ".join(f"`{name}`" for name in study.settings["teachers"])
    text = (
        f"**Fig. 1a, {TITLES[benchmark]}** (*Lessons*). {teachers} → `{spec['student']}`, seed {spec['seed']}, "
        f"{settings(spec)}. Final accuracy, best in brackets: {'; '.join(ends(study))}."
    )
    return Figure(f"fig1a-{benchmark}", f"lessons?study={study.id}", "svg.main-svg", text)


def fig2(study: Study, benchmark: str) -> Figure:
    kind, spec, asked = find(study.kind), study.cells[0].spec.model_dump(), study.settings
    text = (
        f"**Figs. 2 and 3, {TITLES[benchmark]}** (*Class prior*). `{spec['teacher']}` → `{spec['student']}`, "
        f"λ {', '.join(f'{value:g}' for value in asked['intensities'])} × seeds {', '.join(map(str, asked['seeds']))}, "
        f"{settings(spec, 'class_prior_weight')}. {kind.reading(asked, kind.table(asked, study.progress().cells))}"
    )
    return Figure(f"fig2-{benchmark}", f"prior?study={study.id}", "svg.main-svg", text)


def fig4(folder: RunFolder, benchmark: str) -> Figure:
    spec = folder.spec()
    text = (
        f"**Fig. 4, {TITLES[benchmark]}** (*Inspect*). `{spec['teacher']}` → `{spec['student']}`, seed {spec['seed']}, "
        f"{settings(spec)}."
    )
    return Figure(f"fig4-{benchmark}", f"inspect?run={folder.id}&mark=boundary&sort=class", ".dfkd-microscope", text)


def hybrid(runs: Path) -> list[Figure]:
    """The newest run of HiDFD on each benchmark, late in its first stage."""
    found = []
    for benchmark in TITLES:
        of_it = (folder for folder in runs_in(runs) if folder.spec()["benchmark"] == benchmark)
        folder = next((run for run in of_it if run.spec()["method"] == "hidfd" and run.status().state == "done"), None)
        if folder is None:
            continue
        spec, result = folder.spec(), folder.status().result
        step = spec["config"]["gan_steps"] // spec["samples_every"] * spec["samples_every"]
        text = (
            f"**HiDFD, {TITLES[benchmark]}** (*Hybrid*, step {step}). `{spec['teacher']}` → `{spec['student']}`, seed "
            f"{spec['seed']}, ρ {spec['ratio']:g} of `{spec['collected']}`, {settings(spec)}. Final accuracy "
            f"{result['final']:.1%}, best {result['best']:.1%}, teacher {result['teacher']:.1%}, "
            f"{result['seconds']:.0f} s."
        )
        found.append(Figure(f"hybrid-{benchmark}", f"hybrid?run={folder.id}&step={step}", "svg.main-svg", text))
    return found


def figures(runs: Path) -> list[Figure]:
    """All of TA-DFKD that can be shown of what is there."""
    found: list[Figure | None] = []
    for benchmark in TITLES:
        lesson, experiment, run = (
            done(runs, "fig1a", benchmark), done(runs, "prior", benchmark), fig4_run(runs, benchmark),
        )  # fmt: skip
        found.append(fig1a(lesson, benchmark) if lesson else None)
        found.append(fig2(experiment, benchmark) if experiment else None)
        found.append(fig4(run, benchmark) if run else None)
    return [figure for figure in found if figure is not None]


def shoot(browser: Browser, port: int, figure: Figure) -> None:
    """One page as a visitor on a laptop sees it, a little taller."""
    page = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme="light")
    page.goto(f"http://127.0.0.1:{port}/{figure.address}")
    page.wait_for_selector(figure.ready, timeout=120_000)
    page.wait_for_timeout(6000)
    page.screenshot(path=PICTURES / f"{figure.name}.png")
    page.close()


def main() -> None:
    parser = argparse.ArgumentParser("paper_figures", description=__doc__)
    parser.add_argument("--runs", type=Path, required=True, help="where the studies and runs are")
    runs = parser.parse_args().runs
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    blocks = {"figures": figures(runs), "hybrid": hybrid(runs)}
    with serving(runs) as port, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_FLAGS)
        for figure in (figure for found in blocks.values() for figure in found):
            shoot(browser, port, figure)
        browser.close()
    for name, found in blocks.items():
        parts = [f"![{figure.name}](../assets/pictures/{figure.name}.png)\n\n{figure.text}" for figure in found]
        if parts:
            fill(DOCS / "figures.md", name, "\n\n".join(parts))


if __name__ == "__main__":
    main()
