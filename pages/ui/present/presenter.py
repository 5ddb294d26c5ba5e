"""Giving a lesson: the stop's card over every page, arrow keys from stop to stop, a timer, and training of one's own
behind what is recorded."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, replace
from urllib.parse import urlencode

import streamlit as st
from streamlit import runtime
from streamlit.runtime.scriptrunner import get_script_run_ctx

from dfkd_core.errors import RequestError, StoreError, in_words
from dfkd_core.runs.spec import RunSpec, read_spec
from dfkd_core.store import RunFolder, run_in, runs_folder
from dfkd_core.study import Study, studies_in
from pages.ui import boot, link, linked, recordings
from pages.ui.keep import HOME, OF_A_LESSON
from pages.ui.present import script
from pages.ui.present.script import Lesson, Stop
from pages.ui.web.view import LESSON

ONE_PRESS = 0.2  # seconds
KEPT_BOARDS = 500  # of those given last: a window that is closed does not say so
HERE, OWN = LESSON, "lesson:own"  # of the session: what is given, and what was begun at stops of which lesson
ASKED = "lesson:asked"  # at which stop a study is to be begun, and what it takes
NO_MENU = """
:is(section[data-testid="stSidebar"], [data-testid="stExpandSidebarButton"], .st-key-view) { display: none; }
"""
# The page Notes, which is read from where the lecturer stands; pages/ui/shell.py lays it before.
NOTES = (
    NO_MENU
    + """
@media (min-width: 768px) { [data-testid="stMainBlockContainer"] { max-width: 62rem; zoom: 1.35; } }
"""
)
# While a lesson is given; on a page that is about to give one, pages/ui/shell.py lays it before.
RULES = (
    NO_MENU
    + """
.st-key-lesson-card { background: light-dark(#eaf3fa, #16293a); border-color: light-dark(#0072b2, #56b4e9);
  padding: .5rem 1rem; }
.st-key-lesson-card p { font-size: 1.05rem; }
@media (min-width: 768px) {
  [data-testid="stMainBlockContainer"] { zoom: 1.25; }
  [data-testid="stLayoutWrapper"]:has(> * > * > .st-key-lesson-card) { position: sticky; top: 0; z-index: 90; }
  .st-key-lesson-head { flex-wrap: nowrap; gap: .4rem; }
  .st-key-lesson-head :is(button, a) { padding-inline: .45rem; }
  .st-key-lesson-head > :has([data-testid="stCaptionContainer"]) { flex: none; width: auto; }
  .st-key-lesson-head [data-testid="stCaptionContainer"] p { white-space: nowrap; }
}
@media (min-width: 1600px) { [data-testid="stMainBlockContainer"] { zoom: 1.5; } }
"""
)


@dataclass
class Given:
    """A lesson that is given: where it is, and since when. ``id`` stands in the address, so that a page that is loaded
    again goes on with it, and in that of the notes; ``session``: of Streamlit, which gives it; ``own``: what was begun
    on this machine, by stops."""

    name: str
    lesson: Lesson
    number: int
    begun: float
    id: str
    session: str
    own: dict[int, str]
    moved: float = 0.0
    wrong: str = ""  # a stop that a link asked for and the lesson has not

    @property
    def stop(self) -> Stop:
        return self.lesson.stops[self.number - 1]

    def clock(self) -> str:
        """How long it has taken, of how long it shall."""
        passed = int(time.monotonic() - self.begun)
        return f"{passed // 60}:{passed % 60:02d} of {self.lesson.minutes:g} min"


@st.cache_resource(show_spinner=False)
def boards() -> dict[str, Given]:
    """The lessons that are given in this server, by their ids: what a window with notes shows."""
    return {}


# --- where the lesson is ---------------------------------------------------------------------------------------


def given() -> Given | None:
    """The lesson that this session gives; the address is followed once, after that it follows."""
    found: Given | None = st.session_state.get(HERE)
    asked = link.word("lesson")
    if asked and (found is None or found.name != asked):
        try:
            stop, former = link.word("stop"), boards().get(link.word("giving"))
            found = _begin(asked, link.number(stop) or (former.number if former and not stop else 1), former)
            found.wrong = stop if stop not in ("", str(found.number)) else ""
        except RequestError as error:
            st.error(link.plain(error))
            for part in OF_A_LESSON:
                st.query_params.pop(part, None)
    return found


def _begin(name: str, number: int, former: Given | None = None) -> Given:
    """``former``: what the address goes on with. It stays where it is if somebody else has it open, who has passed on
    the address: the notes follow one window."""
    lesson, context = script.read(name), get_script_run_ctx()
    assert context is not None
    begun, key, own = time.monotonic(), secrets.token_hex(4), st.session_state.setdefault(OWN, {})
    if former is not None and former.name == name:
        begun = former.begun
        if not _is_open(former.session):
            key, own[name] = former.id, former.own
    number = min(max(1, number), len(lesson.stops))
    started = Given(name, lesson, number, begun, key, context.session_id, own.setdefault(name, {}))
    st.session_state[HERE] = started
    _open(started)
    return started


def _is_open(session: str) -> bool:
    """Whether a window of a browser shows it."""
    return runtime.get_instance().is_active_session(session)


def begin(name: str) -> None:
    """Give a lesson from its first stop on. Raises ``RequestError`` if its script cannot be read."""
    _begin(name, 1)


def offer() -> None:
    """A button for each lesson that can be given."""
    st.markdown("**Give a lesson**")
    for name in script.names():
        try:
            lesson = script.read(name)
        except RequestError as error:
            st.caption(link.plain(error))
            continue
        label = f"{link.plain(lesson.title)} · {lesson.minutes:g} min"
        st.button(
            label, key=f"give:{name}", help=link.plain(lesson.about), width="stretch", on_click=begin, args=(name,)
        )
        if wrong := script.missing(lesson):
            st.warning("  \n".join(map(link.plain, wrong)))


def leave() -> None:
    here: Given | None = st.session_state.pop(HERE, None)
    if here is not None:  # of two presses the first
        boards().pop(here.id, None)
    for key in (ASKED, "tour:stop"):
        st.session_state.pop(key, None)
    for part in OF_A_LESSON:
        st.query_params.pop(part, None)


def _go(by: int) -> None:
    """Some stops on, or back. While a page comes Streamlit can tell of one press twice, 30 ms apart."""
    here: Given = st.session_state[HERE]
    if (now := time.monotonic()) - here.moved < ONE_PRESS:
        return
    here.moved, here.number = now, min(max(1, here.number + by), len(here.lesson.stops))
    _open(here)


def _open(here: Given) -> None:
    """Have the page of the stop opened, on one's own run or study where that is done."""
    given_now = boards()
    given_now.pop(here.id, None)
    given_now[here.id] = here
    for former in list(given_now)[:-KEPT_BOARDS]:
        given_now.pop(former, None)
    st.session_state["lesson:open"] = True
    st.session_state["tour:stop"] = None  # the lesson frames a panel itself


def wanted(page: str) -> tuple[str, dict[str, str]] | None:
    """Page and address that the stop shows, when it is come to; None while it is there. ``page``: the one that the
    browser asks for."""
    here: Given = st.session_state[HERE]
    if not st.session_state.pop("lesson:open", False) and not _is_elsewhere(here, page):
        return None
    query = here.stop.query
    if (own := _own(here)) is not None and _is_done(own):
        query |= {"study" if isinstance(own, Study) else "run": own.id}
    return f"pages/{here.stop.page}.py", query | in_address(here, here.stop.page)


def _is_elsewhere(here: Given, page: str) -> bool:
    """Whether the browser is at another stop, since a rerun that came in between made Streamlit forget the way, or back
    at the link that the lesson was opened by. An address without a stop is of a page that the stop's own led to."""
    if stop := link.word("stop"):
        return (stop, page or HOME) != (str(here.number), here.stop.page)
    return bool(link.word("lesson")) and not link.word("giving")


def in_address(here: Given, page: str) -> dict[str, str]:
    """What the address says of the lesson on ``page``."""
    stop = {"stop": str(here.number)} if (page or HOME) == here.stop.page else {}
    return {"lesson": here.name, "giving": here.id} | stop


# --- what stands over the page ---------------------------------------------------------------------------------


def card(here: Given, page: str) -> None:
    """The stop: what the class reads, the way on, and what trains behind it."""
    if here.wrong:
        linked.cannot("stop", here.wrong, f"should be a whole number from 1 to {len(here.lesson.stops)}.")
        here.wrong = ""
    st.html(f"<style>{RULES}</style>")  # also: without an element before it, the card is told of each press twice
    _card(here, page)


@st.fragment(run_every=1.0)  # for the clock; the first thing on every page, so that it is always at the same place
def _card(here: Given, page: str) -> None:
    stop, count = here.stop, len(here.lesson.stops)
    with st.container(border=True, key="lesson-card", gap="xsmall"):
        with st.container(horizontal=True, vertical_alignment="center", gap="small", key="lesson-head"):
            st.markdown(f"**{link.plain(stop.title)}** :gray[· {here.number} of {count}]")
            st.space("stretch")
            st.caption(here.clock())
            _run_here(here)
            st.button(
                "Back",
                key="lesson-back",
                disabled=here.number == 1,
                on_click=_go,
                args=(-1,),
                shortcut="Left",
            )
            last = here.number == count
            st.button(
                "Next",
                key="lesson-next",
                type="primary",
                disabled=last,
                on_click=_go,
                args=(1,),
                shortcut="Right",
            )
            notes = f"{boot.base_path()}/notes?{urlencode({'of': here.id})}"
            st.link_button("Notes", notes, icon=":material/speaker_notes:")
            st.button("Leave", key="lesson-leave", type="tertiary", on_click=leave)
        _before(here)
        if stop.say:
            st.markdown(stop.say)
        if stop.ask:
            st.markdown("\n".join(f"{number}. {question}" for number, question in enumerate(stop.ask, 1)))
        if "problem" in st.session_state:
            st.error(link.plain(st.session_state["problem"]))
    left = HERE not in st.session_state
    if left or "lesson:open" in st.session_state or _is_elsewhere(here, page):  # another page is to come
        st.rerun()


# --- training of one's own -------------------------------------------------------------------------------------


def _run_here(here: Given) -> None:
    """A button that begins the same on this machine, of a study when it was said what that takes; what was begun is
    followed, and takes the place of what is recorded when it is done."""
    recorded, own = _recorded(here.stop), _own(here)
    if own is not None:
        _follow(here, own)
    elif recorded is not None:
        waits = _is_asked(here) or not boot.start().ready.is_set()
        if st.button("Run it here", key="lesson-run", icon=":material/play_arrow:", disabled=waits):
            if isinstance(recorded, Study):
                st.session_state[ASKED] = here.name, here.number, _size(recorded)
            else:
                _train(here, recorded)
            st.rerun()


def _before(here: Given) -> None:
    """What the study takes that is to be begun, and whether it shall be."""
    recorded = _recorded(here.stop) if _is_asked(here) else None
    if recorded is None:
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(st.session_state[ASKED][-1], width="content")
        begun = st.button("Start", key="lesson-start", icon=":material/play_arrow:", type="primary")
        if begun or st.button("Not now", key="lesson-not", type="tertiary"):
            del st.session_state[ASKED]
            if begun:
                _train(here, recorded)
            st.rerun()


def _is_asked(here: Given) -> bool:
    """Whether Start waits below."""
    return st.session_state.get(ASKED, ())[:2] == (here.name, here.number)


def _size(recorded: Study) -> str:
    from pages.ui.study import beginning

    return beginning.size([cell.spec for cell in recorded.cells], bool(recorded.settings.get("samples")))


def _train(here: Given, recorded: RunFolder | Study) -> None:
    try:
        here.own[here.number] = _begun_again(recorded)
    except (OSError, RequestError, StoreError) as error:
        st.session_state["problem"] = in_words(error)


def _follow(here: Given, own: RunFolder | Study) -> None:
    so_far, state = _progress(own)
    live = state in ("running", "queued")
    st.caption(f"trains behind: {so_far}" if live else f"yours: {state}")
    if live and st.button("Stop", key="lesson-stop", icon=":material/stop:"):
        _stop(own)
        del here.own[here.number]
        st.rerun()
    swapped, place = st.session_state.setdefault("lesson:swapped", set()), (here.name, here.number)
    if state == "done" and place not in swapped:
        swapped.add(place)
        if own.id not in (link.word("study"), link.word("run")):
            _open(here)


def _stop(own: RunFolder | Study) -> None:
    """It can be continued on its own page."""
    if isinstance(own, Study):
        own.ask_to_stop()
    elif (engine := boot.start().engine) is not None:
        engine.stop(own.id)


def _recorded(stop: Stop) -> RunFolder | Study | None:
    """What the stop shows of the recordings."""
    if name := stop.query.get("study"):
        return next((study for study in studies_in(recordings.FOLDER) if study.id == name), None)
    return run_in(recordings.FOLDER, stop.query.get("run", ""))


def _begun_again(recorded: RunFolder | Study) -> str:
    """The same, trained on this machine; its id."""
    from dfkd_core.study import Conductor

    engine = boot.start().engine
    assert engine is not None
    if isinstance(recorded, RunFolder):
        return engine.submit(_again(read_spec(recorded)))
    cells = [replace(cell, spec=_again(cell.spec)) for cell in recorded.cells]
    study = Study.create(runs_folder(), recorded.kind, recorded.title, recorded.settings, cells)
    Conductor(study, engine, as_jobs=True).start()
    return study.id


def _again(spec: RunSpec) -> RunSpec:
    """The same on this machine. Raises ``RequestError`` where it lacks something."""
    from dfkd_core.runs.request import make_spec

    asked = {name: getattr(spec, name) for name in spec.asked_fields()}
    return make_spec(spec.config, method=spec.method, **asked)


def _own(here: Given) -> RunFolder | Study | None:
    begun = here.own.get(here.number)
    if begun is None:
        return None
    study = next((study for study in studies_in(runs_folder()) if study.id == begun), None)
    return study or run_in(runs_folder(), begun)


def _progress(own: RunFolder | Study) -> tuple[str, str]:
    """How far it is, and its state."""
    if isinstance(own, Study):
        progress = own.progress()
        return f"{progress.done} of {progress.total}", progress.state
    status = own.status_seen()
    return f"{status.step / max(1, status.total_steps):.0%}", status.state


def _is_done(own: RunFolder | Study) -> bool:
    return _progress(own)[1] == "done"
