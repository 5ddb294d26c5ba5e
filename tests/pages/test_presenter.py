"""Giving a lesson: a script from stop to stop, across pages, with notes in another window, and one's own run behind
what is recorded."""

from __future__ import annotations

import re
import shutil
from contextlib import suppress
from pathlib import Path

import pytest
from browser import Lab, wait
from conftest import ROOT, eventually, execute, new_run, visit
from playwright.sync_api import Page, TimeoutError, expect
from streamlit.testing.v1 import AppTest
from studying import plain_study

from dfkd_core.errors import RequestError
from dfkd_core.store import runs_in
from dfkd_core.study import studies_in
from pages.ui import recordings
from pages.ui.present import presenter, script
from pages.ui.web import view

SHIPPED = sorted(path.stem for path in script.SHIPPED.glob("*.toml"))


@pytest.fixture
def own_lessons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DFKD_LESSONS", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("name", SHIPPED)
def test_every_stop_of_a_shipped_lesson_shows_what_is_recorded(app: AppTest, name: str) -> None:
    lesson = script.read(name)
    shown = {folder.id for folder in runs_in(recordings.FOLDER)} | {
        path.name for path in (recordings.FOLDER / "studies").iterdir()
    }
    for number, stop in enumerate(lesson.stops, 1):
        assert {*stop.query.values()} & shown, stop.title
        assert stop.say or stop.ask
        app.query_params.update({"lesson": name, "stop": str(number)})
        app.run()
        assert not app.exception


def test_a_stop_can_frame_the_panels_that_the_scripts_of_its_page_make() -> None:
    views = {"distill": "run/stage", "inspect": "microscope/microscope", "hybrid": "run/hybrid"}
    for page, name in (views | {"generative": "run/generative"}).items():
        text = "".join((view.UI / module).read_text() for module in view._modules(f"{name}.js"))
        made = re.findall(r'[^\w.]panel\(\s*"([a-z-]+)"|scope-panel scope-([a-z]+)|"dfkd-(table)"', text)
        assert sorted(script.PANELS[page]) == sorted("".join(names) for names in made), page
    said = (ROOT / "docs" / "lessons.md").read_text().partition("`panel` is one")[2]
    assert re.findall("`([a-z-]+)`", said) == [name for names in script.PANELS.values() for name in names]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('title = "x"', "stop"),
        ('title = "x"\n[[stop]]\ntitle = "y"\npage = "nowhere"', "page"),
        ('title = "x"\n[[stop]]\ntitle = "y"\ntime = 3', "stop 1 time: there is no such field in a lesson"),
        ('title = "x"\n[[stop]]\ntitle = "y"\npanel = "judge"', "panel = 'judge': should be one of accuracy, samples"),
        ('title = "x"\n[[stop]]\ntitle = "y"\npage = "runs"\npanel = "map"', "the page runs has none to frame"),
        ('title = "x"\n[[stop]]\n[[stop]]\ntitle = "y"\nminutes = 0', "stop 1 title: .* stop 2 minutes = 0: [^:]*$"),
        ('title = "x"\nstop = []', "stop: should have at least one"),
        ("title = ", "cannot be read"),
    ],
)
def test_what_is_wrong_with_a_script_is_said(own_lessons: Path, text: str, said: str) -> None:
    (own_lessons / "mine.toml").write_text(text)
    with pytest.raises(RequestError, match=said):
        script.read("mine")
    assert "mine" in script.names()


def test_a_script_that_is_too_long_says_so(own_lessons: Path) -> None:
    for letters, said in ((2 << 20, "it is larger than 1 MiB"), (60_000, r"stop 1 notes.* at most 50000 characters")):
        (own_lessons / "mine.toml").write_text(f"title = 'a'\n[[stop]]\ntitle = 'b'\nnotes = '{'x' * letters}'\n")
        with pytest.raises(RequestError, match=said) as refused:
            script.read("mine")
        assert len(str(refused.value)) < 500


def test_what_a_stop_shows_and_the_machine_has_not_is_said_where_the_lesson_is_listed(
    app: AppTest, own_lessons: Path
) -> None:
    shows = (
        'run = "ta-dfdk"',
        'run = "ta-dfkd", step = 6000',
        'study = "fig-9"',
        'run = "ta-dfkd", step = 600',
        'study = "fig-1a"',
    )
    stops = "".join(f'[[stop]]\ntitle = "x"\naddress = {{ {what} }}\n' for what in shows)
    (own_lessons / "mine.toml").write_text(f'title = "Mine"\n{stops}')
    app.run()
    visit(app, "lessons", new="1")
    (said,) = [one.value.splitlines() for one in app.warning]
    assert [line.strip() for line in said] == [
        "stop 1 (x): there is no run ta-dfdk.",
        "stop 2 (x): ta-dfkd has no step 6000; it has 600.",
        "stop 3 (x): there is no study fig-9.",
    ]


def press(app: AppTest, key: str) -> None:
    """AppTest comes in by app.py, which draws the card, the first time only; the browser does always."""
    app._finished_page_script_hash = ""
    app.button(key=key).click().run()


def test_ones_own_run_trains_behind_the_recorded_one_and_takes_its_place(
    app: AppTest, runs: Path, tmp_path: Path, own_lessons: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded = new_run(tmp_path / "recorded")
    execute(recorded)
    shutil.move(recorded.path, tmp_path / "recorded" / "short")
    monkeypatch.setattr(recordings, "FOLDER", tmp_path / "recorded")
    stops = (
        '[[stop]]\ntitle = "One"\naddress = { run = "short" }\n[[stop]]\ntitle = "Two"\naddress = { run = "short" }\n'
    )
    (own_lessons / "mine.toml").write_text(f'title = "Mine"\n{stops}')
    app.query_params["lesson"] = "mine"
    app.run()
    assert app.query_params["run"] == "short" and "start" not in [button.key for button in app.button]
    press(app, "lesson-run")
    (own,) = runs_in(runs)
    assert app.query_params["run"] == "short"
    eventually(lambda: own.status_seen().state == "done")
    press(app, "lesson-next")
    assert app.query_params["run"] == "short" and app.query_params["stop"] == "2"
    monkeypatch.setattr(presenter, "ONE_PRESS", 0.0)  # AppTest presses faster than a hand
    press(app, "lesson-back")
    assert app.query_params["run"] == own.id and not app.exception


def test_a_study_is_begun_when_it_was_said_what_it_takes(
    app: AppTest, runs: Path, tmp_path: Path, own_lessons: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded = plain_study(tmp_path / "recorded", count=3)
    monkeypatch.setattr(recordings, "FOLDER", tmp_path / "recorded")
    monkeypatch.setattr(presenter, "_is_open", lambda session: False)
    stop = f'[[stop]]\ntitle = "One"\naddress = {{ study = "{recorded.id}" }}\n'
    (own_lessons / "mine.toml").write_text(f'title = "Mine"\n{stop}')
    app.query_params["lesson"] = "mine"
    app.run()
    press(app, "lesson-run")
    assert [text.value for text in app.markdown if text.value.startswith("**3 runs**, ")] and not studies_in(runs)
    press(app, "lesson-not")
    assert "lesson-start" not in [button.key for button in app.button]
    press(app, "lesson-run")
    press(app, "lesson-start")
    (own,) = studies_in(runs)
    here = app.session_state[presenter.HERE]
    assert "trains behind: 0 of 3" in [text.value for text in app.caption]
    assert opened({name: app.query_params[name] for name in ("lesson", "giving")}).own == here.own == {1: own.id}
    press(app, "lesson-stop")
    assert own.shall_stop() and "lesson-run" in [button.key for button in app.button] and not app.exception
    eventually(lambda: own.progress().state == "stopped")


def opened(address: dict[str, str]) -> presenter.Given:
    """The lesson as another window gives it that opens ``address``."""
    window = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
    window.query_params.update(address)
    window.run()
    assert not window.exception and not window.error, window.error
    found: presenter.Given = window.session_state[presenter.HERE]
    return found


def test_the_notes_follow_the_window_that_gives_the_lesson(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    app.query_params["lesson"] = "hidfd"
    app.run()
    here = app.session_state[presenter.HERE]
    here.begun -= 60
    link = {name: app.query_params[name] for name in ("lesson", "stop", "giving")}
    opened({"lesson": "hidfd", "stop": "3"})
    assert presenter.boards()[here.id] is here, "who opens the same lesson gives another one"
    copied = opened(link)
    assert presenter.boards()[here.id] is here and copied.id != here.id
    monkeypatch.setattr(presenter, "_is_open", lambda session: False)
    again = opened(link)
    assert presenter.boards()[here.id] is again, "loaded again, it goes on"
    assert again.begun == here.begun
    press(app, "lesson-leave")
    assert here.id not in presenter.boards()


def test_each_stop_on_one_page_is_looked_at_as_its_address_says(app: AppTest, own_lessons: Path) -> None:
    stop = '[[stop]]\ntitle = "{0}"\npage = "studies"\naddress = {{ study = "fig-1b", reading = "{0}" }}\n'
    (own_lessons / "mine.toml").write_text('title = "Mine"\n' + stop.format("strip") + stop.format("pair"))
    app.query_params["lesson"] = "mine"
    app.run()
    visit(app, "studies")
    assert app.query_params["reading"] == "strip"
    app.session_state[presenter.HERE].number = 2  # AppTest comes to the page without the card and its arrows
    visit(app, "studies", stop="2", reading="pair")
    assert app.query_params["reading"] == "pair"


def test_back_to_the_link_of_a_stop_leads_to_its_page_and_a_way_on_from_there_does_not(app: AppTest) -> None:
    app.query_params.update({"lesson": "hidfd", "stop": "2"})
    app.run()
    assert app.query_params["run"] == "hidfd"
    for address in ({"lesson": "hidfd", "stop": "2"}, {"lesson": "hidfd"}):
        come_to(app, address)
        assert app.query_params["run"] == "hidfd" and app.query_params["stop"] == "2"
    come_to(app, {"run": "ta-dfkd"})
    assert app.query_params["run"] == "ta-dfkd" and app.query_params["lesson"] == "hidfd"
    come_to(app, {name: app.query_params[name] for name in ("run", "lesson", "giving")})
    assert app.query_params["run"] == "ta-dfkd" and "stop" not in app.query_params


def come_to(app: AppTest, address: dict[str, str]) -> None:
    """``app`` at ``address`` of the first page, as by the browser's arrows."""
    app._finished_page_script_hash = ""  # as in ``press``
    app.query_params.clear()
    app.query_params.update(address)
    app.run()
    assert not app.exception and not app.error


def settled(page: Page, stop: int) -> None:
    """The card of the stop is there, and hears keys: a press while a page comes may be lost."""
    expect(page.locator(".st-key-lesson-card").get_by_text(f"{stop} of 11")).to_be_visible()
    page.wait_for_selector("[data-test-script-state=notRunning]")
    page.wait_for_timeout(700)


def turn(page: Page, key: str, stop: int, to: int) -> None:
    """From the stop ``stop`` to the one ``to``; like a lecturer, press again where nothing comes of it."""
    for _ in range(3):
        settled(page, stop)
        page.keyboard.press(key)
        with suppress(TimeoutError):
            page.wait_for_url(re.compile(f"stop={to}"), timeout=20_000)
            return


def on_a_phone_the_card_is_not_scrolled_away(page: Page) -> None:
    wide = page.viewport_size
    page.set_viewport_size({"width": 390, "height": 844})
    touch = page.context.new_cdp_session(page)
    touch.send("Emulation.setTouchEmulationEnabled", {"enabled": True})
    turn(page, "ArrowLeft", 5, 4)
    settled(page, 4)
    expect(page.locator(".dfkd-judged.framed")).to_have_count(1)
    expect(page.locator(".st-key-lesson-card")).to_be_in_viewport(ratio=0.95)
    bar = page.locator(".dfkd-accuracy .modebar")
    expect(bar).to_have_count(1)
    expect(bar).to_have_css("display", "none")  # a tap would leave it on the chart
    touch.send("Emulation.setTouchEmulationEnabled", {"enabled": False})
    assert wide is not None
    page.set_viewport_size(wide)


@pytest.mark.browser
def test_a_lesson_is_given_by_arrow_keys_with_its_notes_in_another_window(page: Page, lab: Lab) -> None:
    page.goto(lab.url + "lessons")
    page.get_by_role("button", name=re.compile("lenient expert")).click()
    wait(page, "Number(stage.step) > 15")
    expect(page.locator("[data-testid=stSidebarNav]")).to_be_hidden()
    with page.context.expect_page() as opened:
        page.get_by_role("link", name="Notes").click()
    notes = opened.value
    expect(notes.get_by_text("Ask first how they would teach")).to_be_visible()
    page.bring_to_front()
    turn(page, "ArrowRight", 1, 2)
    wait(page, "stage.step === '15'")
    expect(page.get_by_role("button", name="Run it here")).to_be_enabled()  # the form is there, and nothing moves
    for _ in range(3):  # as in ``turn``
        page.locator(".dfkd-stage input[type=range]").first.press("ArrowRight")  # the track's own key
        with suppress(TimeoutError):
            wait(page, "Number(stage.step) >= 30", patience=20_000)
            break
    expect(page).to_have_url(re.compile("stop=2"))
    page.locator(".dfkd-score").click()
    for stop in (3, 4):
        turn(page, "ArrowRight", stop - 1, stop)
    expect(page.locator(".dfkd-judged")).to_be_in_viewport(ratio=0.95)  # what it speaks of, and the card above it
    expect(page.locator(".st-key-lesson-card")).to_be_in_viewport(ratio=0.95)
    assert page.locator(".dfkd-slide input").evaluate(
        "(track) => { const { left, top, height } = track.getBoundingClientRect();"
        " return document.elementFromPoint(left + 9, top + height / 2) === track; }"
    ), "the notes ask to move along the track, which the card does not cover"
    for stop in (5, 6):
        turn(page, "ArrowRight", stop - 1, stop)
    settled(page, 6)
    wait(page, "stage.study === 'fig-1a' && Number(stage.points) > 0", ".dfkd-experiment")
    expect(notes.get_by_text("All four share networks")).to_be_visible()
    turn(page, "ArrowLeft", 6, 5)
    wait(page, "stage.run === 'ta-dfkd' && stage.step !== ''", ".dfkd-microscope")
    rejected = "({ grid, verdict }) => grid.order.slice(0, grid.columns).some((index) => !verdict.clean[index])"
    assert page.evaluate(f"({rejected})(window.dfkdMicroscope)"), "the lesson asks why an image was rejected"
    on_a_phone_the_card_is_not_scrolled_away(page)
    address = page.get_by_role("link", name="Notes").get_attribute("href")
    page.reload()
    settled(page, 4)
    expect(page.get_by_role("link", name="Notes")).to_have_attribute("href", str(address))
    page.get_by_role("button", name="Leave").click()
    expect(page.locator("[data-testid=stSidebarNav]")).to_be_visible()
    expect(page).not_to_have_url(re.compile("lesson="))
    expect(notes.get_by_text("This lesson is over")).to_be_visible()
    notes.close()
