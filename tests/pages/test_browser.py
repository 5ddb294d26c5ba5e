"""The whole story in a real browser. Screenshots land in ``screenshots/``, to be looked at."""

from __future__ import annotations

import os
import re
import signal
import time

import psutil
import pytest
from browser import LONG, LOOKS, PATIENCE, Lab, button, set_look, shoot, start, start_lab, until, wait
from playwright.sync_api import Page, Route, expect
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

from dfkd_core.store import runs_in

# Every place where a button was seen, frame by frame: as long as it stays put, there is one.
WATCH_PLACE = """node => {
  window.places = [];
  const look = () => {
    const place = Math.round(node.getBoundingClientRect().x);
    if (!window.places.includes(place)) window.places.push(place);
    requestAnimationFrame(look);
  };
  look();
}"""

HIDE = """hidden => {
  Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""
SILENT = 3.0  # seconds, in which a tab that is seen is sent something


def test_a_visitor_sees_the_recorded_run_play_before_anything_is_trained(page: Page, lab: Lab) -> None:
    frames: list[bytes] = []
    page.on("websocket", lambda socket: socket.on("framereceived", lambda frame: frames.append(frame)))
    page.goto(lab.url)
    expect(page.locator(".dfkd-state")).to_have_text("recorded run")
    page.wait_for_selector(".dfkd-tile")
    wait(page, "Number(stage.step) > 0 && Number(stage.step) < 100")
    judged = page.locator(".dfkd-idea li").nth(1)  # the idea, in three boxes that play with it
    expect(judged.locator(".clean, .rejected")).to_have_count(6)
    said = judged.inner_text()
    expect(judged).not_to_have_text(said)
    wait(page, "Number(stage.step) > 150 && Number(stage.step) < 600")
    shoot(page, "recorded")
    expect(page.locator(".st-key-showing")).to_have_text("Showing ta-dfkd (recorded) · the form says the same")
    assert not runs_in(lab.runs)
    messages = [ForwardMsg.FromString(frame) for frame in frames if isinstance(frame, bytes)]
    assert any(message.HasField("delta") for message in messages)
    # A reference to a message that the browser has just forgotten would disconnect the page for good.
    assert not any(message.HasField("ref_hash") for message in messages)


def test_of_a_recorded_run_that_selects_nothing_nothing_is_said_to_be_rejected(page: Page, lab: Lab) -> None:
    page.goto(lab.url + "?run=fig-1b-dfad-digits-lenet5-long-seed-0-3dbcb057&step=840")
    boxes = page.locator(".dfkd-idea li")
    expect(boxes.nth(2)).to_contain_text("The student learns from all of them")
    expect(boxes.nth(1).locator(".dfkd-image")).to_have_count(6)
    expect(boxes.locator(".clean, .rejected")).to_have_count(0)
    page.goto(lab.url + "?run=fig-1a-0-adversarial&step=600")  # judged all the same
    expect(page.locator(".dfkd-samples h5.rejected")).to_contain_text("(not applied)")
    expect(page.locator(".dfkd-judged h4")).to_contain_text("not applied")
    expect(boxes.nth(1).locator(".dfkd-image")).to_have_count(6)
    expect(boxes.locator(".clean, .rejected")).to_have_count(0)


# The next three answers that hold a frame never reach the page, as when Streamlit replaces what a rerun has drawn.
SHEETS = re.compile(r"/feed-\d+/\w+/[0-9a-f]{20}\.json")


def test_images_that_are_lost_on_their_way_are_asked_for_again(page: Page, lab: Lab) -> None:
    page.goto(lab.url + "?step=300")
    page.wait_for_selector(".dfkd-tile")
    lost: list[str] = []

    def lose(route: Route) -> None:
        lost.append(route.request.url)
        if len(lost) <= 3:
            route.abort()
        else:
            route.continue_()

    page.route(SHEETS, lose)
    page.get_by_label("Training step shown").press("Home")
    expect(page.locator(".dfkd-samples h4")).to_contain_text("at step 1")
    assert len(lost) == 4
    page.unroute(SHEETS)


def test_the_story_from_start_to_stop(page: Page, lab: Lab) -> None:
    run = start(page, lab, LONG)
    wait(page, "Number(stage.step) >= 30")
    page.wait_for_selector(".dfkd-tile")
    shoot(page, "running")

    # The scrubber goes back and stays there while new data come in.
    slider = page.get_by_label("Training step shown")
    slider.focus()
    page.keyboard.press("Home")
    wait(page, "stage.step === '1'")
    seen = int(page.locator(".dfkd-stage").get_attribute("data-version"))
    wait(page, f"Number(stage.version) > {seen}")
    assert page.locator(".dfkd-stage").get_attribute("data-step") == "1"
    page.wait_for_url(re.compile(r"[?&]step=1(&|$)"))

    # A zoom survives the next update.
    chart = page.locator(".dfkd-accuracy .dfkd-plot")
    shown = "node => node._fullLayout.xaxis.range.map(Math.round)"
    whole = chart.evaluate(shown)
    box = page.locator(".dfkd-accuracy .nsewdrag").first.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 0.2 * box["width"], box["y"] + 0.3 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 0.7 * box["height"], steps=5)
    page.mouse.up()
    zoomed = chart.evaluate(shown)
    assert zoomed != whole
    seen = int(page.locator(".dfkd-stage").get_attribute("data-version"))
    wait(page, f"Number(stage.version) > {seen + 2}")
    assert chart.evaluate(shown) == zoomed

    # A reload and a second visitor show the same run, still going on.
    heard = [time.monotonic()]
    page.on("request", lambda _: heard.append(time.monotonic()))
    page.on("websocket", lambda socket: socket.on("framereceived", lambda _: heard.append(time.monotonic())))
    page.reload()
    wait(page, "stage.state === 'running' && stage.step === '1'")

    # A tab that nobody sees asks for nothing and is sent nothing, and is as new as ever when somebody looks.
    page.evaluate(HIDE, True)
    until(lambda: hears_nothing(page, heard))
    page.evaluate(HIDE, False)
    seen = int(page.locator(".dfkd-stage").get_attribute("data-version"))
    wait(page, f"Number(stage.version) > {seen + 2}")
    assert not hears_nothing(page, heard)
    other = page.context.new_page()
    other.goto(lab.url)
    wait(other, "stage.state === 'running'")
    other.wait_for_url(re.compile(run.id))

    # A second run on the same device waits and says so.
    expect(button(other, "Start")).to_be_enabled()
    button(other, "Start").click()
    wait(other, "stage.state === 'queued'")
    expect(other.locator(".dfkd-message")).to_contain_text(f"one run at a time trains on cpu, now {run.id}")
    shoot(other, "waiting")
    button(other, "Stop").click()
    wait(other, "stage.state === 'stopped'")
    assert run.status().state == "running"
    other.close()

    # Pause, one step, resume, stop; meanwhile no button moves under the pointer.
    button(page, "Follow live").click()
    button(page, "One step").evaluate(WATCH_PLACE)
    button(page, "Pause").click()
    wait(page, "stage.state === 'paused'")
    before = run.status().step
    button(page, "One step").click()
    until(lambda: run.status().state == "paused" and run.status().step == before + 1)
    shoot(page, "paused")
    expect(button(page, "Resume")).to_be_enabled()
    button(page, "Resume").click()
    wait(page, "stage.state === 'running'")
    assert page.evaluate("window.places.length") == 1
    button(page, "Stop").click()
    wait(page, "stage.state === 'stopped'")
    assert run.status().state == "stopped"
    left_at = run.status().step
    page.wait_for_function(f"() => ({shown})(document.querySelector('.dfkd-accuracy .dfkd-plot'))[1] === {left_at}")


def hears_nothing(page: Page, heard: list[float]) -> bool:
    page.wait_for_timeout(1000 * SILENT)  # in which what the page hears is written down
    return time.monotonic() - heard[-1] > SILENT


def test_a_run_survives_the_server_and_is_resumed_where_its_worker_dies(page: Page, mortal_lab: Lab) -> None:
    lab = mortal_lab
    run = start(page, lab, LONG)
    gone = page.get_by_role("alert").filter(has_text="Runs that train go on")
    expect(gone).to_have_count(0)
    lab.kill()
    owner = run.status().owner
    assert owner is not None and psutil.pid_exists(owner.pid)
    expect(gone).to_be_visible()
    lab.process = start_lab(lab.root, lab.port, forks=True).process
    expect(gone).to_have_count(0)

    page.goto(lab.url)  # the next server adopts it
    wait(page, "stage.state === 'running'")
    expect(button(page, "Stop")).to_be_enabled(timeout=PATIENCE)
    os.kill(owner.pid, signal.SIGKILL)
    wait(page, "stage.state === 'interrupted'")
    shoot(page, "interrupted")
    button(page, "Resume").click()
    wait(page, "stage.state === 'running'")
    button(page, "Stop").click()  # while it makes up for what was lost
    until(lambda: run.status().state == "stopped" and run.status().attempt == 2)


@pytest.mark.slow  # on a laptop, as every page: test_access
@pytest.mark.parametrize(("theme", "size"), LOOKS)
def test_nothing_overflows_on_laptop_and_projector_in_both_themes(
    page: Page, lab: Lab, theme: str, size: tuple[int, int]
) -> None:
    set_look(page, theme, size)
    page.goto(lab.url + "?step=300")
    expect(button(page, "Start")).to_be_enabled()
    page.wait_for_selector(".dfkd-tile")
    page.wait_for_selector(".dfkd-accuracy .main-svg")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    cut_off = "[...document.querySelectorAll('.dfkd-panel h4')].filter(h => h.scrollWidth > h.clientWidth + 1).length"
    assert page.evaluate(cut_off) == 0, "a panel's heading or legend is cut off"
    shoot(page, f"recorded-{theme}-{size[0]}")
