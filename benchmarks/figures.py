"""The pictures and tables of README.md and docs/ again: ``make figures``.

Tables are filled in between ``<!-- NAME -->`` and ``<!-- /NAME -->`` from ``benchmarks/results/``, the teachers' cards
and the recorded run, each in one place. Pictures are taken of the page by a headless browser. The measurements
themselves are commands of their own, since they take hours.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from benchmarks.common import RESULTS
from benchmarks.page import CHROMIUM_FLAGS, serving
from dfkd_core import methods
from dfkd_core.kit.method import Method
from dfkd_core.store import RunFolder
from dfkd_core.teachers.cards import SHIPPED, available_teachers

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PICTURES = ROOT / "assets" / "pictures"
MEASURED = (
    "digits",
    "mnist",
    "step_overhead",
    "mixture",
    "student_step",
    "watchers",
    "watchers-watchers",
    "watchers-reruns",
    "watchers-paint",
    "watchers-latency",
    "projection",
    "microscope",
    "prior-digits",
    "prior-mnist",
    "hybrid-digits",
    "hybrid-closest-digits-5-seeds",
    "hybrid-ablation-digits-first-2-5-seeds",
    "gan_step",
    "generative-digits",
    "generative-mnist",
    "guidance",
)
GENERATIVE = ("digits", "mnist")  # whose tables of generative students are shown


def measured() -> str:
    """Every stored result under the command that measured it."""
    sections: dict[str, tuple[list[str], list[str]]] = {}
    for name in MEASURED:
        path = RESULTS / f"{name}.json"
        if not path.exists():
            continue
        result: dict[str, Any] = json.loads(path.read_text())
        files, rows = sections.setdefault(result["command"], ([], []))
        files.append(f"[{path.name}](../{path.relative_to(ROOT)})")
        for row in result["rows"]:
            verdict = {True: " ✓", False: " ✗", None: ""}[row["met"]]
            rows.append(f"| {row['what']} | {row['measured']} | {row['target']}{verdict} |")
    return "\n\n".join(_section(command, *found) for command, found in sections.items())


def _section(command: str, files: list[str], rows: list[str]) -> str:
    raw = f"Raw values: {', '.join(files)}."
    return "\n".join([f"### `{command}`", "", raw, "", "| what | measured | target |", "|---|---|---|", *rows])


def teachers() -> str:
    """The shipped teachers."""
    lines = ["| teacher | network | recipe | test accuracy |", "|---|---|---|---|"]
    for name, card in available_teachers().items():
        if (SHIPPED / f"{name}.json").exists() and card.recipe is not None and card.accuracy is not None:
            lines.append(f"| `{name}` | {card.network} | {card.recipe.kind} | {card.accuracy:.2%} |")
    return "\n".join(lines)


def generative_students(benchmark: str) -> str:
    """The table of a generative teacher and its students, and what it is of; empty if it was not measured."""
    path = RESULTS / f"generative-{benchmark}.json"
    if not path.exists():
        return ""
    result: dict[str, Any] = json.loads(path.read_text())
    details = result["details"]
    return "\n".join([*details["table"], "", " ".join([*details["notes"], f"`{result['command']}`"])])


def knobs(method: type[Method[Any, Any]]) -> str:
    """Every knob of a method, with its default and what the presets change of it."""
    config = method.Config
    presets = config.presets.values()
    lines = ["| knob | symbol | what it does | default | " + " | ".join(config.presets) + " |"]
    lines.append("|---" * (4 + len(presets)) + "|")
    for name in config.knobs():
        field, about = config.model_fields[name], config.about(name)
        what = (field.description or "") + (" *Live.*" if about["live"] else "")
        values = [field.default, *(preset.get(name, "") for preset in presets)]
        cells = [f"`{name}`", about["symbol"], what, *map(str, values)]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def recorded() -> str:
    """What the pictures show, with its specification."""
    folder = RunFolder(ROOT / "assets" / "recorded-run")
    spec, result = folder.spec(), folder.status().result
    knobs = ", ".join(f"{name} {value}" for name, value in spec["config"].items())
    return (
        f"The pictures show the recorded run: {spec['method']}, {spec['teacher']} → {spec['student']}, preset "
        f"{spec['preset']}, seed {spec['seed']}; final {result['final']:.2%}, best {result['best']:.2%}, teacher "
        f"{result['teacher']:.2%}. Its knobs: {knobs}."
    )


def pictures() -> None:
    """The page with the recorded run, in both themes."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with tempfile.TemporaryDirectory() as runs, serving(Path(runs)) as port, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_FLAGS)
        for theme in ("light", "dark"):
            page = browser.new_page(viewport={"width": 1280, "height": 800}, color_scheme=theme)
            page.goto(f"http://127.0.0.1:{port}/?step=300")
            page.wait_for_selector("[data-testid=stSidebar] [data-testid=stSelectbox]", timeout=60_000)
            page.wait_for_selector(".dfkd-tile", timeout=60_000)
            page.wait_for_selector(".dfkd-accuracy .main-svg", timeout=60_000)
            page.wait_for_timeout(1500)
            page.screenshot(path=PICTURES / f"distill-{theme}.png")
        browser.close()


def fill(path: Path, name: str, content: str) -> None:
    """``content`` between the marks of ``name``; a file without them is an error."""
    pattern, text = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL), path.read_text()
    if not pattern.search(text):
        raise SystemExit(f"{path.relative_to(ROOT)} has no <!-- {name} --> … <!-- /{name} -->")
    path.write_text(pattern.sub(lambda found: found[1] + content + "\n" + found[2], text))


def tables() -> Iterator[tuple[Path, str, str]]:
    """What is written without a browser: the file, the name of its marks, the content between them."""
    yield DOCS / "results.md", "measured", measured()
    yield DOCS / "bring-your-own.md", "teachers", teachers()
    yield DOCS / "pages.md", "recorded", recorded()
    for benchmark in GENERATIVE:
        if table := generative_students(benchmark):
            yield DOCS / "generative.md", f"generative {benchmark}", table
    for name, method in methods.available().items():
        yield DOCS / "methods" / f"{name}.md", f"knobs {name}", knobs(method)


def main() -> None:
    """Pictures first, then the tables."""
    parser = argparse.ArgumentParser(
        "figures", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tables", action="store_true", help="only these: pictures need a browser")
    if not parser.parse_args().tables:
        pictures()
    for path, name, content in tables():
        fill(path, name, content)


if __name__ == "__main__":
    main()
