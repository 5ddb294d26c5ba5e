"""A view: a component in the browser, the scripts and style sheets that it is made of, and what it asks of Python.

Its scripts are modules that import each other, so they need addresses. They are laid out below ``static/``, which
Streamlit serves, in a folder that is named by their content: no browser shows an old version. Streamlit's own way for
scripts of components, ``asset_dir``, is no way for an app: it searches installed distributions named as a package is,
serves shared modules once for each component, and has no version in its addresses.
"""

from __future__ import annotations

import hashlib
import mimetypes
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import streamlit as st

from pages.ui import boot
from pages.ui.again import HIDDEN

mimetypes.add_type("text/javascript", ".js")  # some machines say otherwise, and no browser runs it then

UI = Path(__file__).parent.parent
KEPT_ORDERS = 50
LESSON = "given"  # of the session: the lesson that is given, if any; no component has this key
SCRIPT = """
const view = import(new URL("{address}/{script}", document.baseURI));
export default async (component) => (await view).default(component);
"""


# --- what it is made of ----------------------------------------------------------------------------------------


def view(name: str, script: str, *styles: str) -> Callable[..., Any]:
    """The view whose module is ``script``; it is there when its ``styles`` are. Both are paths below ``pages/ui``.

    Its data go in a list: in a dictionary Streamlit looks for tables, and imports pandas to do so.
    """
    component = _component(name, f"{boot.base_path()}/app/static/{laid_out()}", script, ("web/look.css", *styles))

    def drawn(key: str, data: dict[str, Any], **given: Any) -> Any:
        key = of_the_stop(key)
        hidden = st.session_state[HIDDEN] = bool((st.session_state.get(key) or {}).get(HIDDEN))
        return component(key=key, data=[data | {"framed": _framed(), "hidden": hidden, "stop": key}], **given)

    return drawn


def of_the_stop(key: str) -> str:
    """Another view for each stop of a lesson: it begins where the address says, whatever was looked at before."""
    here = st.session_state.get(LESSON)
    return key if here is None else f"{key}:{here.number}"


def _framed() -> str:
    """The panel that the stop of a lesson speaks of."""
    here = st.session_state.get(LESSON)
    return "" if here is None else here.stop.panel


@st.cache_resource(show_spinner=False, max_entries=32)
def _component(name: str, address: str, script: str, styles: tuple[str, ...]) -> Callable[..., Any]:
    kinds = [("stylesheet", style) for style in styles] + [("modulepreload", path) for path in sorted(_modules(script))]
    links = "".join(f'<link rel="{kind}" href="{address}/{path}">' for kind, path in kinds)
    component: Callable[..., Any] = st.components.v2.component(
        f"dfkd_{name}",
        html=f'{links}<div class="dfkd-host"></div>',
        js=SCRIPT.format(address=address, script=script),
        isolate_styles=False,  # plotly puts its style sheet into the document, not into a shadow root
    )
    return component


def _modules(script: str) -> set[str]:
    """A module and all that it imports: asked for at once, they come in one round."""
    found, left = set[str](), [script]
    while left:
        name = left.pop()
        found.add(name)
        names = re.findall(r'from "(\.[^"]+)"', (UI / name).read_text())
        left += {os.path.normpath(f"{Path(name).parent}/{other}") for other in names} - found
    return found


def laid_out() -> str:
    """The folder below ``static/`` that holds scripts and style sheets as they are now."""
    files = sorted(path for path in UI.rglob("*") if path.suffix in (".js", ".css"))
    facts = [(str(path.relative_to(UI)), path.stat().st_mtime_ns, path.stat().st_size) for path in files]
    target = boot.STATIC / f"ui-{hashlib.sha256(repr(facts).encode()).hexdigest()[:12]}"
    if not target.exists():
        part = Path(tempfile.mkdtemp(prefix=".ui-", dir=boot.STATIC))
        part.chmod(0o755)
        for path in files:
            copy = part / path.relative_to(UI)
            copy.parent.mkdir(exist_ok=True)
            shutil.copy2(path, copy)
        with suppress(OSError):  # another server laid out the same
            part.rename(target)
        for old in boot.STATIC.glob("ui-*"):
            if old != target:
                shutil.rmtree(old, ignore_errors=True)
    return target.name


# --- what it asks ----------------------------------------------------------------------------------------------


def asked(key: str, about: str) -> dict[str, Any] | None:
    """What the view ``key`` tells of ``about``, a run or a study: what it wants, orders, where the user looks. None
    before it has said anything.

    Whatever it wants is answered in every rerun, until it says that it is there: a rerun may be cut short, and what it
    has drawn be replaced by the next before the browser sees it.
    """
    state = st.session_state.get(of_the_stop(key))
    said = (state.get("ask") if state else None) or {}
    return said if said.get("of") == about else None


def carry_out(key: str, said: dict[str, Any] | None, act: Callable[[dict[str, Any]], object]) -> None:
    """Each order once: the browser repeats them until it sees their ids among those done."""
    done = st.session_state.setdefault(f"{key}:done", [])
    for order in (said or {}).get("orders", []):
        if order["id"] in done:
            continue
        done.append(order["id"])
        del done[:-KEPT_ORDERS]
        act(order)


def answer(key: str, said: dict[str, Any] | None) -> dict[str, Any]:
    """What tells the browser that its question has been heard."""
    return {"answered": (said or {}).get("id", ""), "done": st.session_state.get(f"{key}:done", [])}
