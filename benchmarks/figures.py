"""The pictures and tables of README.md and docs/ again: ``make figures``.

Tables are filled in between ``<!-- NAME -->`` and ``<!-- /NAME -->`` from ``benchmarks/results/``, the teachers' cards
and the recorded run, each in one place. Pictures are taken of the page by a headless browser. The measurements
themselves are commands of their own, since they take hours.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from benchmarks.command import command
from benchmarks.lab import browsing, new_page, serving, take
from benchmarks.report import HEAD, RESULTS, ROOT, Row
from benchmarks.training import folder_of_runs
from dfkd_core import methods
from dfkd_core.kit.method import Method
from dfkd_core.runs.spec import read_spec
from dfkd_core.store import RunFolder
from dfkd_core.teachers.cards import SHIPPED, available_teachers

DOCS = ROOT / "docs"
ORDER = (
    "digits", "mnist", "step_overhead", "methods_overhead", "mixture", "student_step", "watchers-watchers",
    "watchers-reruns", "watchers-paint", "watchers-latency", "watchers-class", "loads", "answers-first",
    "answers-buttons", "answers-pages", "lesson", "soak", "projection", "microscope",
    "prior-digits", "prior-mnist", "hybrid-digits", "hybrid-closest-digits-5-seeds",
    "hybrid-ablation-digits-first-2-5-seeds", "gradients", "gradients-digits-lenet5-long",
    "gradients-digits-lenet5-bn-mixup", "gan_step", "generative-digits", "generative-mnist", "guidance",
    "throughput-local", "throughput-ray", "ray_kills-kills", "ray_kills-nodes", "many_runs",
)  # fmt: skip
GENERATIVE = ("digits", "mnist")  # whose tables of generative students are shown


def stored(name: str) -> dict[str, Any] | None:
    """What a measurement kept, or None if it was never made."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None


def measured() -> str:
    """Every stored result under the command that measured it; its ``note`` says where that has changed since."""
    sections: dict[str, tuple[list[str], list[str]]] = {}
    for name in ORDER:
        if result := stored(name):
            files, rows = sections.setdefault(result["command"], ([], []))
            note = f" ({result['note']})" if "note" in result else ""
            files.append(f"[{name}.json](../benchmarks/results/{name}.json){note}")
            rows += [Row(**row).markdown() for row in result["rows"]]
    return "\n\n".join(
        "\n".join([f"### `{command}`", "", f"Raw values: {', '.join(files)}.", "", *HEAD, *rows])
        for command, (files, rows) in sections.items()
    )


def teachers() -> str:
    """The shipped teachers."""
    lines = ["| teacher | network | recipe | test accuracy |", "|---|---|---|---|"]
    for name, card in available_teachers().items():
        if (SHIPPED / f"{name}.json").exists() and card.recipe is not None and card.accuracy is not None:
            lines.append(f"| `{name}` | {card.network} | {card.recipe.kind} | {card.accuracy:.2%} |")
    return "\n".join(lines)


def generative_students(result: dict[str, Any]) -> str:
    """The table of a generative teacher and its students, and what it is of."""
    details = result["details"]
    return "\n".join([*details["table"], "", " ".join([*details["notes"], f"`{result['command']}`"])])


def overview() -> str:
    """Every method with what it declares of itself."""
    lines = ["| method | needs beside its teacher | images come from | the student matches |", "|---|---|---|---|"]
    for name, method in methods.available().items():
        said = method.summary
        chosen = f", on {said.chosen}" if said.chosen else ""
        lines.append(f"| [{method.title}]({name}.md) | {method.needs()} | {said.images} | {said.student}{chosen} |")
    return "\n".join(lines)


def knobs(method: type[Method[Any, Any]]) -> str:
    """Every knob of a method, with its default and what the presets change of it."""
    config = method.Config
    lines = ["| knob | symbol | what it does | default | " + " | ".join(config.presets) + " |"]
    lines.append("|---" * (4 + len(config.presets)) + "|")
    for name in config.knobs():
        field, about = config.model_fields[name], config.about(name)
        what = (field.description or "") + (" *Live.*" if about["live"] else "")
        values = [field.default, *(preset.get(name, "") for preset in config.presets.values())]
        cells = [f"`{name}`", about["symbol"], what, *map(str, values)]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def recorded() -> str:
    """What the pictures show, with its specification."""
    folder = RunFolder(ROOT / "assets" / "recorded" / "ta-dfkd")
    spec, result = read_spec(folder), folder.status().result
    knobs = ", ".join(f"{name} {value}" for name, value in spec.config.items())
    return (
        f"The pictures show the recorded run: {spec.method}, {spec.teacher} → {spec.student}, preset "
        f"{spec.preset}, seed {spec.seed}; final {result['final']:.2%}, best {result['best']:.2%}, teacher "
        f"{result['teacher']:.2%}. Its knobs: {knobs}."
    )


def pictures() -> None:
    """The page with the recorded run, in both themes."""
    ready = (".dfkd-tile", ".dfkd-accuracy .main-svg")
    with folder_of_runs() as runs, serving(runs) as lab, browsing() as browser:
        for theme in ("light", "dark"):
            take(new_page(browser, dark=theme == "dark"), f"{lab}?step=300", f"distill-{theme}", *ready)


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
        if result := stored(f"generative-{benchmark}"):
            yield DOCS / "generative.md", f"generative {benchmark}", generative_students(result)
    yield DOCS / "methods" / "README.md", "methods", overview()
    for name, method in methods.available().items():
        yield DOCS / "methods" / f"{name}.md", f"knobs {name}", knobs(method)


def measure(
    *, only: Annotated[bool, Parameter("--tables", help="Only these: pictures need a browser.")] = False
) -> None:
    if not only:
        pictures()
    for path, name, content in tables():
        fill(path, name, content)


if __name__ == "__main__":
    command(measure)
