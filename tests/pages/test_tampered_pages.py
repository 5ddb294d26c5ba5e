"""Folders from anybody in a real browser: whatever is amiss in a run, its pages raise nothing, in Python or in
JavaScript. ``page`` fails on an error of the scripts."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from browser import Lab
from conftest import execute, new_run
from playwright.sync_api import Page
from tampering import run_of_each_file, tampered

from dfkd_core.cli.main import main
from dfkd_core.store import RunFolder

PAGES = {"hidfd": ("", "inspect", "hybrid"), "ukd": ("generative",)}
EXCEPTION = "[data-testid=stException]"
SETTLING = 700  # ms: what is drawn in the browser after the script has run


def generative_run(runs: Path) -> RunFolder:
    """Measured, and with slow motion."""
    folder = new_run(runs, method="ukd", phases_every=2)
    execute(folder)
    assert main(["measure", folder.id, "--samples", "60", "--runs", str(runs)]) == 0
    return folder


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, RunFolder]:
    """A run with every kind of file, by its method."""
    return {
        "hidfd": run_of_each_file(tmp_path_factory.mktemp("hidfd")),
        "ukd": generative_run(tmp_path_factory.mktemp("ukd")),
    }


def visit(page: Page, lab: Lab, templates: dict[str, RunFolder], outside: Path, numbers: Iterable[int]) -> None:
    """Every page of every tampered run, then some of them in the list of runs."""
    wrong: list[str] = []
    chosen: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))

    def look(address: str, said: str) -> None:
        page.goto(lab.url + address)
        page.wait_for_selector("[data-test-script-state=notRunning]")
        page.wait_for_timeout(SETTLING)
        wrong.extend(f"{address}, {said}: {text}" for text in page.locator(EXCEPTION).all_inner_texts())

    for number in numbers:
        method = tuple(PAGES)[number % len(PAGES)]
        folder, said = tampered(templates[method], lab.runs, outside, number)
        chosen.append(folder.id)
        for one in PAGES[method]:
            look(f"{one}?run={folder.id}", said)
    look(f"runs?chosen={','.join(chosen[:8])}", "several")
    assert not wrong


@pytest.mark.browser
def test_pages_of_tampered_runs_raise_nothing_in_the_browser(
    page: Page, lab: Lab, templates: dict[str, RunFolder], outside: Path
) -> None:
    visit(page, lab, templates, outside, range(40, 42))


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_pages_of_a_hundred_tampered_runs_raise_nothing_in_the_browser(
    page: Page, lab: Lab, templates: dict[str, RunFolder], outside: Path
) -> None:
    visit(page, lab, templates, outside, range(100))
