"""Who may talk to the lab's server, and what a browser may do with what it is served. Nothing is served past it.

Whoever reaches the lab can start trainings and see files of its user, and on a shared machine everybody reaches
``localhost``. So a request has to name a host that the lab goes by (no other name was made to lead here), to come from
the lab's own pages, and to know the token that the lab printed when it started.
"""

from __future__ import annotations

import html
import ipaddress
import os
import re
import secrets
import socket
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import streamlit as st
from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from pages.ui import boot

LOOPBACK = ("localhost", "127.0.0.1", "::1")
WILDCARDS = ("", "0.0.0.0", "::")
READING = ("GET", "HEAD")
INLINE = re.findall(r"<script>(.*?)</script>", (Path(st.__file__).parent / "static" / "index.html").read_text(), re.S)
HASHES = [f"'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'" for script in INLINE]
POLICY = {  # inline: styles of Streamlit's and our components; blob: scripts of ours, workers; data: fonts, pictures
    "default-src": "'self'",
    "script-src": f"'self' blob: {' '.join(HASHES)}",
    "style-src": "'self' 'unsafe-inline'",
    "img-src": "'self' data: blob:",
    "media-src": "'self' data: blob:",
    "font-src": "'self' data:",
    "worker-src": "'self' blob:",
    "object-src": "'none'",
    "base-uri": "'none'",
    "form-action": "'self'",
    "frame-ancestors": "'self'",  # a run beside another page
}
HEADERS = {
    "Content-Security-Policy": "; ".join(f"{what} {sources}" for what, sources in POLICY.items()),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
}
ASK = """<!doctype html><meta charset="utf-8"><title>DFKD Lab</title>
<style>body{{font:1rem/1.5 sans-serif;max-width:34rem;margin:15vh auto;padding:0 1rem}}html{{color-scheme:light dark}}
input,button{{font:inherit;padding:.3rem .6rem}}</style>
<h1>DFKD Lab</h1><p>{says} The lab printed it, in its address, when it started.</p>
<form>{kept}<input name="token" type="password" aria-label="Token" autofocus> <button>Open</button></form>"""


def _token() -> str:
    """``DFKD_TOKEN``, where it is set: empty asks nobody for one. Else a new one for each start."""
    given = os.environ.get("DFKD_TOKEN")
    return secrets.token_urlsafe(24) if given is None else given


TOKEN = _token()


class Gate:
    """ASGI middleware around all that the server answers. ``token`` is empty where none is asked for."""

    def __init__(self, app: ASGIApp, token: str = "") -> None:
        self.app = app
        self.token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"].endswith("response.start"):
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        answer = self._refusal(HTTPConnection(scope)) or self.app
        if isinstance(answer, Response) and scope["type"] == "websocket":
            answer = WebSocketClose()  # which nobody reads
        await answer(scope, receive, send_guarded)

    def _refusal(self, asked: HTTPConnection) -> ASGIApp | None:
        """The answer instead of the lab's; None to whom may pass."""
        host = asked.headers.get("host", "")
        if not _is_ours(host):
            return _refuse(f"This lab does not go by the name {host[:100]!r}; names are added by server.allowedHosts.")
        reads = asked.scope["type"] == "http" and asked.scope["method"] in READING
        origin = asked.headers.get("origin")
        if not reads and origin is not None and not _is_own(origin, host):
            return _refuse("This comes from another site's page, which may not steer the lab.")
        if not self.token:
            return None
        cookie = f"dfkd-token-{(asked.scope.get('server') or ('', ''))[1]}"  # cookies of all ports are one heap
        if self._is_it(asked.cookies.get(cookie, "")):
            return None
        given = asked.query_params.get("token")
        if given is None or not reads:
            return _ask(asked, "This lab asks for its token.")
        if not self._is_it(given):
            return _ask(asked, "This is not the token of this lab, or of an earlier start of it.")
        opened = RedirectResponse(_without_token(asked), status_code=303)
        opened.set_cookie(cookie, self.token, httponly=True, samesite="lax", secure=asked.url.scheme == "https")
        return opened

    def _is_it(self, given: str) -> bool:
        return secrets.compare_digest(given.encode(), self.token.encode())


def _is_ours(host: str) -> bool:
    """Whether a request may name this ``host``: one that the lab was told to serve under. A page elsewhere can give a
    name of its own this machine's address, but not an address another one; so where the lab listens on all of them,
    every address is taken.
    """
    try:
        name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return False
    bound = st.get_option("server.address") or ""
    named = {*LOOPBACK, bound, st.get_option("browser.serverAddress"), *st.get_option("server.allowedHosts")}
    if bound in WILDCARDS:
        named |= {socket.gethostname()}
        if _is_address(name):
            return True
    patterns = {str(one).strip().lower().rstrip(".") for one in named} - {""}
    return "*" in patterns or any(
        name.endswith(one[1:]) if one.startswith("*.") else name == one for one in patterns if name
    )


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_own(origin: str, host: str) -> bool:
    """Whether a page of ``origin`` is one of the lab's, or of a site that it was told to trust."""
    return urlsplit(origin).netloc.lower() == host.lower() or origin in st.get_option("server.corsAllowedOrigins")


def _refuse(says: str) -> Response:
    return Response(says, status_code=403, media_type="text/plain")


def _ask(asked: HTTPConnection, says: str) -> Response:
    """A page to put the token in; the rest of the address is kept."""
    rest = [(name, value) for name, value in asked.query_params.multi_items() if name != "token"]
    kept = "".join(f'<input type="hidden" name="{html.escape(n)}" value="{html.escape(v)}">' for n, v in rest)
    return HTMLResponse(ASK.format(says=says, kept=kept), status_code=403)


def _without_token(asked: HTTPConnection) -> str:
    """The same address without it, relative: whatever stands before it, and never another host."""
    query = parse_qsl(asked.url.query, keep_blank_values=True)
    rest = urlencode([(name, value) for name, value in query if name != "token"])
    return "./" + asked.url.path.rsplit("/", 1)[1] + (f"?{rest}" if rest else "")


@asynccontextmanager
async def announced(_: Any) -> AsyncIterator[None]:
    """While the server runs; at first the address is printed, with the token. The engine is loaded while somebody goes
    there."""
    boot.start()
    bound = st.get_option("server.address") or ""
    host = st.get_option("browser.serverAddress") if bound in WILDCARDS else bound
    host = f"[{host}]" if ":" in host else host
    scheme = "https" if st.get_option("server.sslCertFile") else "http"
    path = st.get_option("server.baseUrlPath").strip("/")
    address = f"{scheme}://{host}:{st.get_option('server.port')}/{path and path + '/'}"
    print(f"\n  DFKD Lab: {address}{'?' + urlencode({'token': TOKEN}) if TOKEN else ''}\n", flush=True)
    yield
