"""Who gets an answer from the lab's server, and with which headers: everybody else's requests change nothing."""

from __future__ import annotations

import http.client
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from browser import Lab, button, running_lab, until
from playwright.sync_api import Browser, expect
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin, Subprotocol

SERVED = (
    "/",
    "/runs",
    "/_stcore/health",
    "/_stcore/host-config",
    "/_stcore/metrics",
    "/media/x.png",
    "/app/static/x.js",
)


@dataclass
class Guarded:
    """A lab that asks for its token."""

    lab: Lab
    token: str

    @property
    def here(self) -> str:
        return f"127.0.0.1:{self.lab.port}"

    @property
    def cookie(self) -> str:
        return f"dfkd-token-{self.lab.port}={self.token}"

    def ask(self, path: str, method: str = "GET", **headers: str) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", self.lab.port, timeout=20)
        connection.request(method, path, headers={"Host": self.here, **headers})
        return connection.getresponse()

    def opens(self, host: str, origin: str | None, cookie: str) -> bool:
        """Whether a page of ``origin`` gets the socket by which the lab is steered."""
        given = {"additional_headers": {"Cookie": cookie}, "subprotocols": [Subprotocol("streamlit")]}
        here = socket.create_connection(("127.0.0.1", self.lab.port))
        try:
            with connect(f"ws://{host}/_stcore/stream", sock=here, origin=Origin(origin) if origin else None, **given):
                return True
        except InvalidStatus:
            return False


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    with running_lab(tmp_path_factory.mktemp("guarded"), token=None) as lab:
        until(lambda: "token=" in lab.said)
        printed = re.search(rf"http://127\.0\.0\.1:{lab.port}/\?token=(\S+)", lab.said)
        assert printed, lab.said
        yield Guarded(lab, printed[1])


def test_nothing_is_served_without_the_token(guarded: Guarded) -> None:
    assert len(guarded.token) >= 32
    for path in SERVED:
        assert guarded.ask(path).status == 403, path
        assert guarded.ask(f"{path}?token=guessed").status == 403, path
        assert guarded.ask(path, Cookie=guarded.cookie).status != 403, path
        assert guarded.ask(path, Cookie=guarded.cookie[:-1]).status == 403, path
    assert not guarded.opens(guarded.here, f"http://{guarded.here}", cookie="")
    assert guarded.opens(guarded.here, f"http://{guarded.here}", guarded.cookie)


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "localhost.evil.example", "", "192.0.2.1", "@"]
)
def test_a_name_that_is_not_the_labs_gets_nothing(guarded: Guarded, host: str) -> None:
    host = host.format(port=guarded.lab.port)
    assert guarded.ask("/", Host=host, Cookie=guarded.cookie).status == 403
    if "evil" in host:
        assert not guarded.opens(host, f"http://{host}", guarded.cookie)


@pytest.mark.parametrize("host", ["localhost", "localhost:{port}", "LOCALHOST:1", "127.0.0.1", "[::1]:{port}"])
def test_the_labs_own_names_are_answered(guarded: Guarded, host: str) -> None:
    assert guarded.ask("/", Host=host.format(port=guarded.lab.port), Cookie=guarded.cookie).status == 200


@pytest.mark.parametrize("origin", ["http://localhost:9999", "http://127.0.0.1", "https://evil.example", "null"])
def test_another_sites_page_cannot_steer_the_lab(guarded: Guarded, origin: str) -> None:
    assert not guarded.opens(guarded.here, origin, guarded.cookie)
    for method in ("PUT", "POST", "DELETE"):
        assert guarded.ask("/_stcore/upload_file/a/b", method, Cookie=guarded.cookie, Origin=origin).status == 403


def test_every_answer_forbids_frames_elsewhere_and_requests_there(guarded: Guarded) -> None:
    for path in (*SERVED, f"/?token={guarded.token}"):
        for cookie in ("", guarded.cookie):
            headers = guarded.ask(path, Cookie=cookie).headers
            policy = dict(part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";"))
            assert policy["default-src"] == "'self'" and policy["frame-ancestors"] == "'self'"
            assert not re.search(r"https?:|\*|//", headers["Content-Security-Policy"])
            assert headers["X-Frame-Options"] == "SAMEORIGIN" and headers["X-Content-Type-Options"] == "nosniff"
            assert headers["Referrer-Policy"] == "no-referrer"


def test_the_token_leaves_the_address_and_leads_nowhere_else(guarded: Guarded) -> None:
    for path, leads in {
        "/?token=T": "./",
        "/runs?token=T&run=a%26b&x=": "./runs?run=a%26b&x=",
        "//evil.example/?token=T": "./",
        "//evil.example?token=T": "./evil.example",
    }.items():
        answer = guarded.ask(path.replace("=T", f"={guarded.token}"))
        assert (answer.status, answer.headers["Location"]) == (303, leads)
        cookie = answer.headers["Set-Cookie"].lower()
        assert "httponly" in cookie and "samesite=lax" in cookie


@pytest.mark.browser
def test_whoever_has_no_token_is_asked_for_it_and_keeps_the_rest_of_the_address(
    guarded: Guarded, browser: Browser
) -> None:
    page = browser.new_page()
    page.goto(f'{guarded.lab.url}runs?view="><b>x&k.width=4')
    page.get_by_label("Token").fill("another")
    button(page, "Open").click()
    expect(page.get_by_text("not the token")).to_be_visible()
    assert page.locator("b").count() == 0
    page.get_by_label("Token").fill(guarded.token)
    button(page, "Open").click()
    expect(page.get_by_text("No runs yet").or_(page.get_by_text("Runs")).first).to_be_visible()
    assert "k.width=4" in page.url and guarded.token not in page.url
    page.close()
