"""The documents hold what they say: links, commands and file names lead somewhere, and nothing is missing."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import get_args

import pytest
import torch
from command import FLAGS, call
from conftest import ROOT, tiny_spec
from stepping import collecting_problem
from test_imports import rooms

from benchmarks.figures import tables
from dfkd_core import methods
from dfkd_core.events import Step
from dfkd_core.kit.objectives import ObjectiveName, build_objective
from dfkd_core.runs.assemble import assemble
from dfkd_core.runs.loop import borrowed
from dfkd_core.store import EventReader, find_run, runs_folder

DOCS = ROOT / "docs"
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "benchmarks" / "README.md", *sorted(DOCS.rglob("*.md"))]
LINK = re.compile(r"\]\(([^)\s]+)\)|(?:src|srcset)=\"([^\"]+)\"")
FILE = re.compile(r"`((?:dfkd_core|pages|tests|benchmarks|assets|docs)/[\w./-]*)`")


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def without_code(text: str) -> str:
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE))


@cache
def anchors(document: Path) -> set[str]:
    """Of its headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```", "", document.read_text(), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@cache
def commands() -> set[str]:
    """Of the command line, as its help lists them."""
    helped = subprocess.run([sys.executable, "-m", "dfkd_core", "--help"], cwd=ROOT, capture_output=True, text=True)
    return set(re.findall(r"^\W*([a-z]+)(?:\s{2,}|$)", helped.stdout, flags=re.MULTILINE))


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_links_lead_somewhere(document: Path) -> None:
    links = [one or other for one, other in LINK.findall(without_code(document.read_text()))]
    for link in links:
        if link.startswith("https://"):
            continue
        place, _, anchor = link.partition("#")
        target = (document.parent / place).resolve() if place else document
        assert target.is_relative_to(ROOT) and target.exists(), f"{link} leads nowhere"
        assert not anchor or anchor in anchors(target), f"{link}: there is no such heading"


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_what_is_named_exists(document: Path) -> None:
    text = document.read_text()
    assert [name for name in FILE.findall(text) if "NAME" not in name and not (ROOT / name).exists()] == []
    assert set(re.findall(r"python -m dfkd_core ([a-z]+)", text)) <= commands()
    measuring = set(re.findall(r"python -m benchmarks\.([a-z]\w*)", text))
    assert measuring <= {path.stem for path in (ROOT / "benchmarks").glob("*.py")}


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_commands_have_the_flags_that_they_are_shown_with(document: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = document.read_text()
    shown = re.findall(r"^python -m dfkd_core (.*)$", text, flags=re.MULTILINE)
    for line in shown + re.findall(r"`python -m dfkd_core ([^`]+)`", text):
        arguments = shlex.split(line, comments=True)
        _, helped, _ = call(capsys, *arguments, "--help")
        flags = {part for part in arguments if part.startswith("--")}
        assert flags <= set(re.findall(r"--[\w-]+", helped)), line


def test_the_readme_is_one_page() -> None:
    assert (ROOT / "README.md").stat().st_size <= 9_000


def test_every_document_is_reached_from_the_readme() -> None:
    reached, ahead = set(), [ROOT / "README.md"]
    while ahead:
        document = ahead.pop()
        reached.add(document)
        links = (one.partition("#")[0] for one, _ in LINK.findall(without_code(document.read_text())))
        found = {(document.parent / link).resolve() for link in links if link.endswith(".md")}
        ahead += found - reached
    assert reached >= set(DOCUMENTS)


def test_the_map_has_every_room() -> None:
    on_it = set(re.findall(r"^\| `(\w+)/` \|", (DOCS / "architecture.md").read_text(), flags=re.MULTILINE))
    assert set(rooms()) <= on_it


# --- methods ---------------------------------------------------------------------------------------------------


def test_every_method_has_a_page_and_no_page_lacks_its_method() -> None:
    pages = {path.stem for path in (DOCS / "methods").glob("*.md")} - {"README"}
    assert pages == set(methods.available())
    assert set(re.findall(r"\]\(([\w-]+)\.md\)", (DOCS / "methods" / "README.md").read_text())) == pages


def logged(name: str) -> set[str]:
    """The numbers in the rows of a tiny run's steps."""
    spec = tiny_spec(method=name, samples_every=0, probes_every=0, phases_every=0)
    with borrowed(spec):
        _, _, method = assemble(spec)
        return {number for event in method.train() if isinstance(event, Step) for number in event.values}


@pytest.mark.parametrize("name", methods.available())
def test_a_page_explains_every_number_that_its_method_logs(name: str) -> None:
    text = (DOCS / "methods" / f"{name}.md").read_text()
    numbers = {re.sub("^share/.*", "share/TERM", number) for number in logged(name)}
    numbers |= {term.name for term in methods.find(name).terms}
    assert {number for number in numbers if f"`{number}`" not in text} == set()


def test_every_objective_and_its_terms_are_explained() -> None:
    text = (DOCS / "objectives.md").read_text()
    with torch.random.fork_rng(devices=[]):
        for name in get_args(ObjectiveName):
            terms = build_objective(name, collecting_problem(student="resnet8"), batch_size=8).terms
            wanted = {name, *(term.name for term in terms if len(terms) > 1)}
            assert {one for one in wanted if f"`{one}`" not in text} == set()


def test_the_example_of_a_method_is_found_and_trains_as_one_file(tmp_path: Path) -> None:
    """In a copy of the engine, where nothing else was touched."""
    text = (DOCS / "bring-your-own.md").read_text()
    code = re.search(r"^```python\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    place = re.search(r"As `(\w+\.py)` in `(dfkd_core/methods/)` it is there at once, as `train --method (\w+)`", text)
    assert code is not None and place is not None
    file, room, method = place.groups()
    shutil.copytree(ROOT / "dfkd_core", tmp_path / "dfkd_core", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "assets").symlink_to(ROOT / "assets")
    (tmp_path / room / file).write_text(code[1])
    train = ["train", "--method", method]
    script = f"from dfkd_core.cli.main import main; main({[*train, '--help']}); main({[*train, *FLAGS, '--json']})"
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache"), "COLUMNS": "200"}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    helped, closing = done.stdout.rsplit("\n", 2)[:2]
    assert "--adversarial-weight" in helped
    folder = find_run(runs_folder(), json.loads(closing)["id"])
    assert folder.status().state == "done"
    assert [term["name"] for term in folder.environment()["terms"]] == ["adversarial"]
    rows = EventReader(folder).read()
    (phases, *_) = (row["values"] for row in rows if row["type"] == "phases")
    assert list(phases) == folder.environment()["phases"]
    (values, *_) = (row["values"] for row in rows if row["type"] == "step" and "share/adversarial" in row["values"])
    assert {"student_loss", "adversarial", "generator_loss", "queries"} <= set(values)


# --- what is written by a command ------------------------------------------------------------------------------


def test_generated_parts_are_what_the_results_say() -> None:
    for path, name, content in tables():
        assert f"<!-- {name} -->\n{content}\n<!-- /{name} -->" in path.read_text(), f"`make figures` for {path.name}"
