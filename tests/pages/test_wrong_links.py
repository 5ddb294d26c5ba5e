"""A link that asks for what is not there: each page names the part, the value and what would be right, and does the
rest of what the link says."""

from __future__ import annotations

import shutil

import pytest
from conftest import ROOT, TEACHER, visit
from streamlit.testing.v1 import AppTest

from dfkd_core.store import runs_folder
from pages.ui import linked

RECORDED = ("fig-1a-0-both", "fig-1a-1-both")
GRID, RUN = {"study": "fig-1b"}, {"run": RECORDED[0]}
ALL = {"chosen": ",".join(RECORDED)}
BOTH = {"method": "ta-dfkd"}
CASES = [
    ("teachers", "teacher", "no-such", "should be one of digits-", {"view": "zoo", "benchmark": "digits"}),
    ("teachers", "benchmark", "no-such", "cifar10", {"teacher": TEACHER}),
    ("teachers", "view", "no-such", "zoo, train, bring", {}),
    ("methods", "preset", "no-such", "demo, cpu", {"method": "dafl"}),
    ("methods", "view", "no-such", "methods, benchmarks", {"preset": "cpu"}),
    ("methods", "method", "<b>x</b>", "ta-dfkd", {"preset": "cpu"}),
    ("methods", "with", "no-such", "dafl", BOTH),
    ("methods", "part", "no-such", "knobs", BOTH),
    ("methods", "need", "no-such", "should be one of", {"preset": "cpu"}),
    ("studies", "reading", "nonsense", "map, strip, curves", GRID),
    ("studies", "over", "no-such", "step, seconds", GRID | {"reading": "curves"}),
    ("studies", "at", "no-such", "step, seconds", GRID),
    ("studies", "budget", "abc", "a number from 0", GRID | {"at": "step"}),
    ("studies", "blind", "perhaps", "one of 1", GRID | {"reading": "strip"}),
    ("studies", "study", "../../etc", "no study in", {}),
    ("generative", "view", "no-such", "should be one of", {}),
    ("inspect", "tau", "abc", "a number from 0 to less than 1", RUN | {"step": "3"}),
    ("inspect", "step", "abc", "whole number", RUN | {"tau": "0.5"}),
    ("inspect", "colour", "no-such", "verdict, class", RUN),
    ("inspect", "run", "no-such", "no run in", {}),
    ("distill", "run", "../../etc", "no run in", {}),
    ("distill", "slow", "abc", "a step and a phase", RUN),
    ("distill", "step", "abc", "whole number", RUN),
    ("distill", "tour", "99", "1, 2, 3", RUN),
    ("lessons", "stop", "99", "whole number from 1", {"lesson": "ta-dfkd"}),
    ("runs", "sort", "no-such", "seconds", {"search": "both"}),
    ("runs", "order", "no-such", "up, down", {"sort": "seed"}),
    ("runs", "columns", "seed,no-such", "teacher", {"sort": "seed"}),
    ("runs", "chosen", f"{RECORDED[0]},no-such", RECORDED[1], {"sort": "seed"}),
    ("runs", "method", "no-such", "one of ta-dfkd", {"sort": "seed"}),
    ("runs", "tags", "no-such", "none here", {"sort": "seed"}),
    ("runs", "metric", "no-such", "accuracy", ALL),
    ("runs", "bands", "no-such", "off", ALL),
    ("glossary", "term", "nonsense", "Search for it", {}),
]  # fmt: skip


@pytest.fixture(autouse=True)
def some_runs() -> None:
    for name in RECORDED:
        shutil.copytree(ROOT / "assets" / "recorded" / name, runs_folder() / name)


@pytest.mark.parametrize(("page", "part", "value", "right", "more"), CASES, ids=lambda case: str(case)[:24])
def test_a_part_of_a_link_that_cannot_be_done_is_said(
    app: AppTest, page: str, part: str, value: str, right: str, more: dict[str, str]
) -> None:
    visit(app, page, **more, **{part: value})
    assert not app.exception, app.exception
    (box,) = [one.value for one in app.warning if "The link asks for" in one.value]
    assert part in box and value.split(",")[-1].strip("<b>x/.")[-7:] in box and right in box, box
    lost = {name: said for name, said in more.items() if app.query_params.get(name) not in (said, [said], None)}
    assert not lost, lost
    app.button(key=f"{linked.KEY}:seen").click().run()
    assert not app.exception and not [one for one in app.warning if "The link asks for" in one.value]


def test_what_is_right_is_not_said_to_be_wrong_and_another_page_has_words_of_its_own(app: AppTest) -> None:
    visit(app, "teachers", teacher=TEACHER, benchmark="digits")
    app.selectbox(key="teachers:benchmark").set_value("mnist").run()
    assert not app.exception and not app.warning and "teacher" not in app.query_params
    visit(app, "teachers", view="no-such")
    app.switch_page("pages/runs.py").run()
    assert not app.warning
