"""The page Lessons: Fig. 1a begun, watched and stopped in a browser, and a finished one as a class sees it."""

from __future__ import annotations

import shutil

import pytest
from browser import LOOKS, Lab, button, set_look, shoot, wait
from conftest import STUDENT, TINY
from playwright.sync_api import Page, expect
from streamlit.testing.v1 import AppTest

from dfkd_core.engine import InlineEngine
from dfkd_core.study import Conductor, Study, find, find_study, studies_in
from dfkd_core.study.fig1a import VARIANTS

ROOT = ".dfkd-lesson"
TEACHERS = ["digits-resnet20-plain", "digits-lenet5-bn-mixup"]


@pytest.mark.slow  # as the class prior's study is, in every suite
def test_a_lesson_is_begun_watched_and_stopped(page: Page, lab: Lab) -> None:
    page.goto(lab.url + "lessons?new=1")
    expect(page.get_by_text("Which of the two numbers")).to_be_visible()
    expect(button(page, "Start")).to_be_enabled()
    button(page, "Start").click()
    wait(page, "stage.state === 'running' && Number(stage.points) >= 2", ROOT)
    (study,) = studies_in(lab.runs, "fig1a")
    assert study.id in page.url and study.settings["teachers"] == TEACHERS
    shoot(page, "lesson-running")
    button(page, "Stop").click()
    wait(page, "stage.state === 'stopped'", ROOT)
    expect(button(page, "Continue")).to_be_enabled()


@pytest.fixture(scope="module")
def carried_out(tmp_path_factory: pytest.TempPathFactory) -> Study:
    study = find("fig1a").begin(
        tmp_path_factory.mktemp("lesson"),
        teachers=TEACHERS,
        knobs={**TINY, "iterations": 4},
        run={"student": STUDENT, "evaluate_every": 1},
    )
    Conductor(study, InlineEngine(study.runs)).conduct()
    assert study.progress().state == "done"
    return study


@pytest.fixture
def finished(lab: Lab, carried_out: Study) -> Study:
    shutil.copytree(carried_out.runs, lab.runs, dirs_exist_ok=True)
    return find_study(lab.runs, carried_out.id)


def test_final_stands_beside_best_and_each_run_has_its_links(page: Page, lab: Lab, finished: Study) -> None:
    page.goto(f"{lab.url}lessons?study={finished.id}")
    wait(page, "stage.state === 'done'", ROOT)
    page.wait_for_selector(".lesson-panel .main-svg")
    for cell in finished.cells:
        record = finished.record(cell)
        panel = page.locator(f".lesson-panel[data-teacher='{cell.labels['teacher']}']")
        shown = panel.locator(f"tr[data-variant='{cell.labels['variant']}'] td")
        figures = record.figures
        expect(shown.nth(1)).to_have_text(f"{figures['final']:.1%}".replace("%", " %"))
        expect(shown.nth(2)).to_have_text(f"{figures['best']:.1%}".replace("%", " %"))
        links = [link.get_attribute("href") for link in shown.nth(3).get_by_role("link").all()]
        assert links == [f"/?run={record.run}", f"/inspect?run={record.run}"]
    plot = page.locator(".lesson-panel .exp-plot").first
    names = plot.evaluate("node => node.data.map((trace) => [trace.name, trace.x.length])")
    assert names == [["teacher", 2], *([name, 5] for name in VARIANTS)], "from before the first step to the last"
    expect(page.locator(".exp-reading")).to_contain_text("The teachers lie furthest apart with")
    expect(page.get_by_text("Questions for the class")).to_be_in_viewport()


@pytest.mark.slow  # on a laptop, as every page: test_access
@pytest.mark.parametrize(("theme", "size"), LOOKS)
def test_nothing_overflows(page: Page, lab: Lab, finished: Study, theme: str, size: tuple[int, int]) -> None:
    set_look(page, theme, size)
    page.goto(f"{lab.url}lessons?study={finished.id}")
    page.wait_for_selector(".lesson-panel .main-svg")
    expect(page.get_by_text("Questions for the class")).to_be_in_viewport()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    cut = "[...document.querySelectorAll('h4, td')].filter(h => h.scrollWidth > h.clientWidth + 1).length"
    assert page.evaluate(cut) == 0, "something is cut off"
    shoot(page, f"lesson-{theme}-{size[0]}")


# --- without a browser -----------------------------------------------------------------------------------------


@pytest.fixture
def lessons(app: AppTest) -> AppTest:
    app.run()
    app.query_params["new"] = "1"
    app.switch_page("pages/lessons.py").run()
    return app


def test_the_lesson_is_ready_to_start_and_says_how_long_it_takes(lessons: AppTest) -> None:
    assert not lessons.exception and not lessons.error
    assert [box.value for box in lessons.selectbox] == ["digits", *TEACHERS]
    assert any("8 runs" in text.value and "min" in text.value for text in lessons.markdown)
    lessons.selectbox(key="lesson:benchmark").set_value("mnist").run()
    assert [box.value for box in lessons.selectbox][1:] == ["mnist-lenet5-plain", "mnist-lenet5-bn-smooth"]


def test_the_same_teacher_twice_is_refused_in_one_sentence(lessons: AppTest) -> None:
    lessons.selectbox(key="lesson:digits:Teacher on the right").set_value(TEACHERS[0]).run()
    lessons.button(key="start").click().run()
    assert not lessons.exception and "each once" in lessons.error[0].value
