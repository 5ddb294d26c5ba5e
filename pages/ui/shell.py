"""What stands in Streamlit's own page before any script has run: the style, so that nothing moves when the first answer
comes, and a script that says what it means when the server does not answer any more."""

from __future__ import annotations

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pages.ui import boot, look
from pages.ui.present import presenter
from pages.ui.web import view

CONDITIONS = ("accept-encoding", "if-none-match", "if-modified-since")  # of a request, that we cannot answer to
STAMPS = ("etag", "last-modified")  # of Streamlit's file, which is not all that is sent


class Shell:
    """ASGI middleware that adds to each HTML page."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (
            scope["type"] != "http"
            or scope["method"] != "GET"
            or "text/html" not in Headers(scope=scope).get("accept", "")
        ):
            await self.app(scope, receive, send)
            return
        added = b""

        async def send_more(message: Message) -> None:
            nonlocal added
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if headers.get("content-type", "").startswith("text/html") and "content-length" in headers:
                    added = _added(_until(scope))
                    headers["content-length"] = str(int(headers["content-length"]) + len(added))
                    for name in STAMPS:
                        del headers[name]
            elif not message.get("more_body", False):
                message = {**message, "body": message.get("body", b"") + added}
            await send(message)

        kept = [(name, value) for name, value in scope["headers"] if name.decode("latin-1") not in CONDITIONS]
        await self.app({**scope, "headers": kept}, receive, send_more)


def _until(scope: Scope) -> dict[str, str]:
    """Style sheets that hold until something is there, by its name. Notes, a run beside another page, and a page that
    is about to give a lesson have no menu."""
    if b"beside=" in scope["query_string"]:
        return {"alone": presenter.NO_MENU}
    if scope["path"].endswith("/notes"):
        return {"elsewhere": presenter.NOTES}
    return {"lesson": presenter.RULES} if b"lesson=" in scope["query_string"] else look.UNTIL


def _added(until: dict[str, str]) -> bytes:
    """Behind the page's own end, where a browser takes it for the end of its body: after Streamlit's own styles."""
    sheets = "".join(f'<style data-until="{what}">{rules}</style>' for what, rules in until.items())
    script = f'<script type="module" src="{boot.base_path()}/app/static/{view.laid_out()}/web/server.js"></script>'
    return (look.STYLE + sheets + script).encode()
