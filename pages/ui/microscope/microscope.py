"""The microscope: one component in the browser in which the histogram, the projection and the images of a recorded step
share one cut and one selection.

The browser asks for what it lacks by key, ``frame samples 300`` or ``detail probes 40 7``, and is answered with as many
items as a short rerun allows; it asks again for the rest. Orders (fit a layout, tag samples) come with an id and are
carried out once. While something goes on, the browser also asks at intervals: one question at a time, so that no rerun
begins right behind another (then Streamlit can drop what the first one drew). Nothing here needs torch.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from urllib.parse import urlencode

import numpy as np
import streamlit as st

from dfkd_core.analysis import export
from dfkd_core.analysis import layout as layouts
from dfkd_core.analysis.audit import Audit
from dfkd_core.analysis.jobs import Job
from dfkd_core.analysis.recorded import Recorded, detail
from dfkd_core.analysis.tags import Tags
from dfkd_core.errors import RequestError, StoreError
from dfkd_core.runs.spec import RunSpec, read_spec
from dfkd_core.store import REAL, RunFolder, RunStatus, read_samples, read_sheet
from dfkd_core.store.sheets import in_rows, packed, png, sheet
from pages.ui import boot, linked, recordings
from pages.ui.again import poll_seconds
from pages.ui.web.view import answer, asked, carry_out, view

SOURCES = ("samples", "probes")
BADGES = {"queued": "waiting"}
ANSWER_SECONDS, ANSWER_BYTES = 0.25, 4_000_000  # of one answer, after its first item
AUDIT_SECONDS = 0.2
WORDS = {  # of the address bar: what is allowed, the usual first
    "source": SOURCES,
    "colour": ("verdict", "class", "loss", "posterior", "tag"),
    "layout": layouts.KINDS,
    "sort": ("loss", "confidence", "class", "posterior", "latent"),
    "mark": ("verdict", "boundary"),
}
FIGURE_4 = {"class_prior_weight": 1.0, "adversarial_weight": 0.0}


class Lens:
    """What all pages of this server share about one run."""

    def __init__(self, recorded: Recorded) -> None:
        self.recorded, self.folder = recorded, recorded.folder
        self.audit, self.tags = Audit(recorded), Tags(recorded.folder)
        self.audited = False

    def layout(self, kind: str) -> layouts.Layout | None:
        """The layout; principal components are fitted when first asked for, the others by their job."""
        return layouts.pca(self.recorded) if kind == "pca" else layouts.load_layout(self.recorded, kind)

    def version(self, kind: str) -> str | None:
        """Changes with the layout; None while there is none, and for principal components nobody has asked for."""
        found = self.recorded.kept.get("pca") if kind == "pca" else self.layout(kind)
        return None if found is None else f"{found.fitted_to}/{id(found)}"

    def job(self, kind: str) -> Job:
        """The background job that fits a layout."""
        return Job(self.folder, f"layout-{kind}")

    def is_busy(self) -> bool:
        """Whether something of it will be new without anybody asking."""
        return not self.audited or any(self.job(kind).state().state == "running" for kind in layouts.KINDS[1:])


@st.cache_resource(show_spinner=False, max_entries=64)
def lens(path: str) -> Lens:
    """One lens a run, shared by all sessions."""
    return Lens(boot.recorded(path))


def show(folder: RunFolder, status: RunStatus) -> None:
    """Draw the run, or bring what is drawn up to date. Call it at the same place in every rerun."""
    looked = lens(str(folder.path))
    said = asked("microscope", folder.id)
    if said is not None:
        _view_to_address(said["view"])
    carry_out("microscope", said, lambda order: _carry_out(looked, order))
    data = _data(looked, status, said)
    if recordings.is_one(folder):
        data |= {"badge": "recorded run"}
    mounted = view("microscope", "microscope/microscope.js", "microscope/microscope.css")
    mounted(key="microscope", data=data, on_ask_change=lambda: None)
    looked.audited = looked.audit.update(AUDIT_SECONDS)


# --- what the browser asked for --------------------------------------------------------------------------------


def _view_in_address() -> dict[str, Any]:
    view: dict[str, Any] = {name: linked.one_of(name, known) for name, known in WORDS.items()}
    view = {name: value for name, value in view.items() if value}
    return {**view, "step": linked.whole_of("step"), "tau": linked.number_of("tau", 0, 1)}


def _view_to_address(view: dict[str, Any]) -> None:
    """Only what differs from the usual view, so that links stay short."""
    wanted = {name: view[name] for name, known in WORDS.items() if view[name] != known[0]}
    wanted |= {"step": str(view["step"])} if view["step"] is not None else {}
    wanted |= {"tau": f"{view['tau']:.6f}".rstrip("0").rstrip(".")} if view["tau"] is not None else {}
    others = {name: value for name, value in st.query_params.items() if name not in (*WORDS, "step", "tau")}
    if {**others, **wanted} != st.query_params.to_dict():
        st.query_params.from_dict({**others, **wanted})


def _carry_out(looked: Lens, order: dict[str, Any]) -> None:
    try:
        _ORDERS[order["name"]](looked, order)
        st.session_state.pop("microscope:problem", None)
    except (RequestError, StoreError) as error:
        st.session_state["microscope:problem"] = str(error)


def _fit(looked: Lens, order: dict[str, Any]) -> None:
    kind = order["layout"]
    if kind == "pca":
        layouts.pca(looked.recorded, refit=True)
        return
    folder = looked.folder.path
    looked.job(kind).start(["layout", folder.name, "--kind", kind, "--runs", str(folder.parent.resolve())])


def _open_in_distill(looked: Lens, order: dict[str, Any]) -> None:
    run = {"run": looked.folder.id}
    step = {} if order["step"] is None else {"step": str(order["step"])}
    st.switch_page("pages/distill.py", query_params={**run, **step})


_ORDERS: dict[str, Callable[[Lens, dict[str, Any]], Any]] = {
    "fit": _fit,
    "halt": lambda looked, order: looked.job(order["layout"]).stop(),
    "tag": lambda looked, order: looked.tags.add(order["source"], order["step"], order["indices"], order["tag"]),
    "untag": lambda looked, order: looked.tags.remove(order["source"], order["step"], order["indices"], order["tag"]),
    "undo": lambda looked, order: looked.tags.undo(),
    "distill": lambda looked, order: _open_in_distill(looked, order),
}

# --- what it is told -------------------------------------------------------------------------------------------


def _data(looked: Lens, status: RunStatus, said: dict[str, Any] | None) -> dict[str, Any]:
    recorded, timeline = looked.recorded, looked.recorded.timeline
    version = timeline.update()
    spec = read_spec(looked.folder)
    steps = {source: recorded.steps(source) for source in SOURCES}
    shown = _view_in_address() if said is None else said["view"]
    items = _items(looked, _first(recorded, shown) if said is None else said["want"])
    return {
        **answer("microscope", said),
        "run": looked.folder.id,
        "version": version,
        "base": boot.base_path(),
        "state": status.state,
        "live": status.state in ("running", "paused"),
        "poll": poll_seconds() if status.is_live or looked.is_busy() else None,
        "badge": BADGES.get(status.state, status.state),
        "message": status.message,
        "problem": st.session_state.get("microscope:problem", ""),
        "title": spec.title,
        "total": status.total_steps or max(timeline.step, 1),
        "newest": max([step for found in steps.values() for step in found], default=0),
        "classes": _classes(recorded, steps),
        "steps": steps,
        "real": looked.folder.files.exists(f"{REAL}.npz"),
        "layouts": {kind: _layout_state(looked, kind) for kind in layouts.KINDS},
        "audit": {"done": looked.audited, "count": len(looked.audit.rows), "total": len(steps["samples"])},
        "tags": _tags_state(looked.tags),
        "figure4": _figure_4(spec),
        "view": shown,
        "items": items,
    }


def _classes(recorded: Recorded, steps: dict[str, list[int]]) -> list[str]:
    if names := recorded.classes:
        return names
    first = next(((source, found[0]) for source, found in steps.items() if found), None)
    sheet = recorded.sheet(*first) if first else None
    return [str(label) for label in range(sheet.classes if sheet else 0)]


def _layout_state(looked: Lens, kind: str) -> dict[str, Any]:
    state = looked.job(kind).state()
    job = {"state": state.state, "share": state.share, "message": state.message, "left": state.seconds_left()}
    version = looked.version(kind)
    return {"version": version, "there": kind == "pca" or version is not None, "job": job}


def _tags_state(tags: Tags) -> dict[str, Any]:
    counts = tags.counts()
    stamp = tags.version()
    return {"version": stamp, "counts": counts, "problem": tags.problem, "undo": stamp > 0}


def _figure_4(spec: RunSpec) -> dict[str, Any]:
    """Whether the run is one as TA-DFKD's Fig. 4 shows it, class prior on and adversarial term off; a link to that."""
    alike = spec.knob("class_prior_weight", 0) > 0 and spec.knob("adversarial_weight") == 0
    same = ("benchmark", "teacher", "student", "seed")
    fields: dict[str, Any] = {name: getattr(spec, name) for name in same} | {"method": "ta-dfkd"}
    if spec.method == "ta-dfkd":
        fields |= {"preset": spec.preset} | {f"k.{name}": value for name, value in spec.config.items()}
    fields |= {f"k.{name}": value for name, value in FIGURE_4.items()}
    return {"is": alike, "href": f"{boot.base_path()}/?{urlencode(fields)}"}


# --- items -----------------------------------------------------------------------------------------------------


def _items(looked: Lens, want: list[str]) -> dict[str, Any]:
    """Answers by key, at least one, until they take long or grow big. None stands for what does not exist."""
    found: dict[str, Any] = {}
    deadline, size = time.monotonic() + ANSWER_SECONDS, 0
    for key in want:
        name, *about = key.split()
        try:
            found[key] = _ITEMS[name](looked, *about)
        except (RequestError, StoreError, OSError, ValueError, KeyError):  # gone, or not a question that this page asks
            found[key] = None
        size += len(found[key].get("png", "")) if isinstance(found[key], dict) else 0
        if time.monotonic() > deadline or size > ANSWER_BYTES:
            break
    return found


def _first(recorded: Recorded, view: dict[str, Any]) -> list[str]:
    """What the browser is going to ask for first: all of the step in the address bar, or of the newest one."""
    source = view.get("source", SOURCES[0])
    steps = recorded.steps(source)
    if not steps:
        return []
    step = steps[-1] if view["step"] is None else min(steps, key=lambda step: abs(step - view["step"]))
    return [f"frame {source} {step}", f"inside {source} {step}", "layout pca", f"places pca {source} {step}", "real"]


def _frame(looked: Lens, source: str, step: str) -> dict[str, Any] | None:
    row = _row(looked, source, int(step))
    found = read_sheet(looked.folder, row["file"], mixture=row["mixture"])
    return found if found is not None and "label" in found["columns"] else None


def _row(looked: Lens, source: str, step: int) -> dict[str, Any]:
    """What the log says of a sheet."""
    return {"samples": looked.recorded.timeline.frames, "probes": looked.recorded.timeline.probes}[source][step]


def _real(looked: Lens) -> dict[str, Any] | None:
    return read_sheet(looked.folder, REAL, mixture=None)


def _layout(looked: Lens, kind: str) -> dict[str, Any] | None:
    found = looked.layout(kind)
    if found is None:
        return None
    real = None if found.real is None else packed(found.real.ravel())
    return {"version": looked.version(kind), "bounds": found.bounds, "fitted": found.fitted_to, "real": real}


def _places(looked: Lens, kind: str, source: str, step: str) -> dict[str, Any]:
    found = looked.layout(kind)
    positions = found.positions(source, int(step)) if found is not None else None
    return {"version": looked.version(kind), "xy": None if positions is None else packed(positions.ravel())}


def _inside(looked: Lens, source: str, step: str) -> dict[str, str] | None:
    sheet = looked.recorded.sheet(source, int(step))
    found = None if sheet is None else looked.recorded.inside(sheet)
    return None if found is None else packed(found)


def _detail(looked: Lens, source: str, step: str, index: str) -> dict[str, Any]:
    return detail(looked.recorded, source, int(step), int(index))


def _film(looked: Lens, index: str, _: str) -> dict[str, Any] | None:
    """The same latent at all recorded steps: a sheet with the short facts. (The key ends in the number of steps, so
    that a live run's film is asked for again.)"""
    facts, images = [], []
    for fact in looked.recorded.film(int(index)):
        with suppress(StoreError):  # one that is damaged is left out
            shown = read_samples(looked.folder, _row(looked, "probes", fact["step"])["file"])[0]
            images.append(shown[int(index)].copy())
            facts.append(fact)
    return sheet(png(in_rows(np.stack(images))), (len(images), *images[0].shape), {}, steps=facts) if facts else None


def _tags(looked: Lens, _: str, source: str, step: str) -> dict[str, list[str]]:
    return {str(index): tags for index, tags in looked.tags.of(source, int(step)).items()}


def _export(looked: Lens, form: str, kind: str, source: str, step: str, chosen: str) -> dict[str, str] | None:
    """A file of the samples ``chosen``: their indices with commas between, or ``all``; positions are of layout
    ``kind``. It goes through the component, since files that a download button makes when it is pressed are thrown away
    by the next rerun, and here one may come at any moment."""
    sheet = looked.recorded.sheet(source, int(step))
    if sheet is None:
        return None
    indices = list(range(len(sheet))) if chosen == "all" else [int(index) for index in chosen.split(",")]
    made = {
        "png": lambda: export.sheet_png(sheet, indices),
        "csv": lambda: export.table_csv(looked.recorded, sheet, indices, looked.layout(kind), looked.tags),
        "npz": lambda: export.arrays_npz(sheet, indices),
    }[form]()
    return {"name": f"{looked.folder.id}-{source}-{step}.{form}", "data": base64.b64encode(made).decode()}


def _audit(looked: Lens, _: str) -> dict[str, Any]:
    rows = [row for _, row in sorted(looked.audit.rows.items())]
    counts = ("clean_inside", "clean", "rejected_inside", "rejected")
    names = (*counts, "precision", "recall", "disagreement_clean", "disagreement_rejected")
    columns = {name: [row[name] for row in rows] for name in names}
    columns["inside_rejected"] = [_share(row["rejected_inside"], row["rejected"]) for row in rows]
    return {"run": looked.folder.id, "version": len(rows), "steps": [row["step"] for row in rows], "columns": columns}


def _share(part: int | None, whole: int) -> float | None:
    return None if part is None or not whole else part / whole


_ITEMS: dict[str, Callable[..., Any]] = {
    "frame": _frame,
    "real": _real,
    "layout": _layout,
    "places": _places,
    "inside": _inside,
    "detail": _detail,
    "film": _film,
    "tags": _tags,
    "audit": _audit,
    "export": _export,
}
