"""A run as one HTML file, to be read without the lab and without a network: what was asked, what came out, how it went.

Curves are drawn as SVG, images lie in the file; there is no script in it. Imports torch, for the method's words.
"""

from __future__ import annotations

import base64
import inspect
import re
import shlex
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from dfkd_core import __version__, methods
from dfkd_core.analysis.about import about
from dfkd_core.analysis.alarms import alarms
from dfkd_core.analysis.document import document, key_figures, marked, table, text
from dfkd_core.analysis.svg import Line, chart
from dfkd_core.analysis.timeline import Timeline
from dfkd_core.errors import RequestError, StoreError
from dfkd_core.kit.config import MethodConfig
from dfkd_core.quality.score import DISTANCES, score_text
from dfkd_core.runs.spec import NOT_DATA_FREE, RunSpec, read_spec
from dfkd_core.store import COLLECTED, REAL, RunFolder, RunStatus, read_samples
from dfkd_core.store.sheets import in_rows, png
from dfkd_core.teachers.cards import find_card

SHEETS = 3  # of what was generated: the first, the middle, the last
SHEET_PIXELS = 448  # width of one on the page
SCORES = ("accuracy", "agreement", "fid", "mismatch")
SELECTION = ("kept", "coverage", "diversity")
MOST_SHOWN = 128  # images of a sheet
WORDS = {"accuracy": "an accuracy of", "agreement": "an agreement of", "fid": "a FID of", "mismatch": "a mismatch of"}
WITHOUT_TEST_IMAGES = ("agreement", "mismatch")


def report(folder: RunFolder) -> str:
    """The whole file. Raises ``StoreError`` where it cannot be told what the run is."""
    spec, status, timeline = read_spec(folder), folder.status_seen(), Timeline(folder)
    timeline.update()
    facts, said = folder.environment(), about(folder)
    title = said.name or f"{spec.method}: {spec.teacher} → {spec.student}"
    parts = [
        f"<h1>{text(title)}</h1>",
        f'<p class="soft">Data-free knowledge distillation · run {text(folder.id)}</p>',
        *_lead(spec, status),
        _key_figures(spec, status, timeline),
        f"<p>{text(said.note)}</p>" if said.note else "",
        *_noticed(timeline, spec, facts),
        *_curves(timeline, facts),
        *_images(folder, timeline),
        *_method(spec),
        *_settings(spec),
        *_environment(spec, facts),
        f'<p class="soft">Written by DFKD Lab {__version__}. The run itself, with every number and image of this page, '
        f"is one folder; <code>python -m dfkd_core export {text(folder.id)}</code> packs it.</p>",
    ]
    return document(title, parts)


# --- what came out ---------------------------------------------------------------------------------------------


def _lead(spec: RunSpec, status: RunStatus) -> Iterator[str]:
    result = status.result
    if result:
        measure, final = result["measure"], score_text(result["measure"], result["final"])
        teacher = score_text(measure, result["teacher"])
        tested = f"test images of {text(spec.benchmark)}" + (", which no method sees" if measure == "accuracy" else "")
        on = "images that the method makes" if measure in WITHOUT_TEST_IMAGES else tested
        of_teacher = f"; its teacher has {teacher}" if result["teacher"] is not None else ""
        yield (
            f'<p class="lead">In the end the student has {text(WORDS.get(measure, measure))} <b>{final}</b> on '
            f"{on}{of_teacher}. That took {status.step:,} steps and {result['seconds']:,.0f} s.</p>"
        )
    else:
        where = f"at step {status.step:,} of {status.total_steps:,}"
        yield f'<p class="lead">This run is {text(status.state)}, {where}.</p>'
    if spec.not_data_free:
        yield f'<p class="warn"><b>{NOT_DATA_FREE.capitalize()}</b>: it collects the teacher\'s own data.</p>'
    if status.message:
        yield f'<p class="warn">{text(status.message)}</p>'


def _key_figures(spec: RunSpec, status: RunStatus, timeline: Timeline) -> str:
    result, cells = status.result, []
    if result:
        words = {"final": "student, final", "best": "student, best", "teacher": "teacher"}
        cells = [(title, score_text(result["measure"], result[name])) for name, title in words.items()]
        if result["measure"] not in DISTANCES and result["teacher"] and result["final"] is not None:
            cells.append(("of the teacher's", f"{result['final'] / result['teacher']:.1%}"))
    if queries := timeline.recent("queries", 1):
        cells.append(("teacher queries", f"{queries[0]:,.0f}"))
    cells += [("seed", f"{spec.seed}"), ("state", status.state)]
    return key_figures(cells)


def _noticed(timeline: Timeline, spec: RunSpec, facts: dict[str, Any]) -> Iterator[str]:
    classes, terms = len(facts.get("classes", [])) or 1, facts.get("terms", [])
    found = [alarm.text for alarm in alarms(timeline, spec.total_steps, classes, terms, spec.config)]
    found += [f"Damaged: {one}" for one in timeline.damaged]
    found += [f"At step {mark['step']:,}: {mark['text']}" for mark in timeline.marks]
    if found:
        yield "<h2>What was noticed</h2><ul>" + "".join(f"<li>{text(one)}</li>" for one in found) + "</ul>"


# --- how it went -----------------------------------------------------------------------------------------------


def _curves(timeline: Timeline, facts: dict[str, Any]) -> Iterator[str]:
    curves = timeline.curves
    if not curves:
        return
    lines = [Line(f"student, {name}", curves[name].steps, curves[name].values) for name in SCORES if name in curves]
    if timeline.teacher is not None and lines:
        ends = [lines[0].x[0], lines[0].x[-1]]
        lines.append(Line("teacher", ends, [timeline.teacher] * 2, dashed=True))
    first = chart("Student against teacher", lines, y_label=timeline.score)
    yield f'<h2>How it went</h2><div class="main">{first}</div>'
    terms = {term["name"]: term["title"] for term in facts.get("terms", [])}
    groups = {
        "Losses by term, weights included": {name: terms[name] for name in terms if name in curves},
        "Each term's share of its network's gradient": {
            f"share/{name}": terms[name] for name in terms if f"share/{name}" in curves
        },
        "What is generated and kept": {name: name for name in SELECTION if name in curves},
    }
    done = {name for group in groups.values() for name in group} | set(SCORES)
    groups |= {name.replace("_", " "): {name: name.replace("_", " ")} for name in curves if name not in done}
    yield '<div class="charts">'
    for title, group in groups.items():
        yield chart(title, [Line(words, curves[name].steps, curves[name].values) for name, words in group.items()])
    yield "</div>"


def _images(folder: RunFolder, timeline: Timeline) -> Iterator[str]:
    steps = sorted(timeline.frames)
    picked = sorted({steps[index * (len(steps) - 1) // (SHEETS - 1)] for index in range(SHEETS)}) if steps else []
    sheets = [(f"generated, step {step:,}", timeline.frames[step]["file"]) for step in picked]
    sheets += [("collected images that it learned from", COLLECTED)] * folder.files.exists(f"{COLLECTED}.png")
    sheets += [("real test images, for comparison only: nothing learned from them", REAL)]
    shown = []
    for words, stem in sheets:
        with suppress(OSError, StoreError):
            images, _ = read_samples(folder, stem)
            count, picture = len(images), png(in_rows(images[:MOST_SHOWN]))
            data = f"data:image/png;base64,{base64.b64encode(picture).decode()}"
            image = f'<img src="{data}" width="{SHEET_PIXELS}" alt="{text(words)}">'
            told = f"{count} images" if count <= MOST_SHOWN else f"{MOST_SHOWN} of {count:,} images"
            shown.append(f"<figure>{image}<figcaption>{text(words)}: {told}</figcaption></figure>")
    if shown:
        yield f'<h2>Images</h2><div class="sheets">{"".join(shown)}</div>'


# --- what was asked --------------------------------------------------------------------------------------------


def _method(spec: RunSpec) -> Iterator[str]:
    if spec.method not in methods.available():
        return
    method = methods.find(spec.method)
    words = inspect.getdoc(inspect.getmodule(method)) or ""
    yield f"<h2>The method: {text(method.title)}</h2><p class='soft'>It needs {text(method.requires.words())}.</p>"
    words = re.sub(r"\n(?!\d+\. |\n)(?<!\n\n)", " ", words)  # lines that are broken for width only
    yield '<div class="words">' + "".join(f"<p>{marked(part)}</p>" for part in words.split("\n\n")) + "</div>"


def _settings(spec: RunSpec) -> Iterator[str]:
    preset = _preset(spec)
    yield "<h2>Settings</h2>"
    fields = ("benchmark", "teacher", "student", "collected", "ratio", "collecting", "diffusion", "seed", "preset")
    rows = [(name, getattr(spec, name)) for name in fields if getattr(spec, name) not in ("", 0.0) or name == "seed"]
    with suppress(RequestError):
        card = find_card(spec.teacher)[0]
        rows.append(("teacher's network", card.network))
        rows.append(("teacher's SHA-256", card.sha256))
    yield table(rows)
    yield "<h3>Knobs</h3>"
    known = preset.model_fields if preset is not None else {}
    rows_of_knobs = []
    for name, value in spec.config.items():
        usual = getattr(preset, name) if preset is not None and name in known else value
        note = known[name].description or "" if name in known else ""
        cell = f'<td class="changed">{text(value)} (preset: {text(usual)})</td>' if usual != value else ""
        rows_of_knobs.append(f"<tr><td>{text(name)}</td>{cell or f'<td>{text(value)}</td>'}<td>{text(note)}</td></tr>")
    yield f"<table><tr><th>knob</th><th>value</th><th>what it does</th></tr>{''.join(rows_of_knobs)}</table>"


def _preset(spec: RunSpec) -> MethodConfig | None:
    """What the run's preset would have; None where the method is not here, or has other knobs."""
    with suppress(RequestError):
        config = methods.find(spec.method).Config
        return config.build(spec.preset if spec.preset in config.presets else "", {})
    return None


def _environment(spec: RunSpec, facts: dict[str, Any]) -> Iterator[str]:
    rows = [("device", f"{spec.device} ({facts.get('device', 'unknown')})"), ("precision", spec.precision)]
    rows += [("threads", str(facts.get("threads", spec.threads))), ("code", str(facts.get("code", "unknown")))]
    rows += [(name, str(version)) for name, version in (facts.get("packages") or {}).items()]
    rows += [("fingerprint", str(facts.get("fingerprint", "")))] if facts.get("fingerprint") else []
    yield f"<h2>Where it ran</h2>{table(rows)}<h2>The same again</h2><pre>{text(command_of(spec))}</pre>"


def command_of(spec: RunSpec) -> str:
    """The command that starts this run again: what differs from the preset is a flag."""
    preset = _preset(spec)
    asked = {"benchmark": spec.benchmark, "method": spec.method, "teacher": spec.teacher, "student": spec.student}
    asked |= {"preset": spec.preset} if spec.preset else {}
    asked |= {"seed": str(spec.seed)}
    if spec.device != "cpu":  # where the lab chooses for itself
        asked |= {"precision": spec.precision, "compile": spec.compile}
    elif spec.precision != "float32":
        asked["precision"] = spec.precision
    for name in (
        "collected",
        "ratio",
        "collecting",
        "not_data_free",
        "diffusion",
        "device",
        "threads",
        "deterministic",
    ):
        value = getattr(spec, name)
        if value != RunSpec.model_fields[name].default:
            asked[name] = str(value).lower() if isinstance(value, bool) else str(value)
    for name, value in spec.config.items():
        if preset is None or getattr(preset, name, None) != value:
            asked[name] = str(value).lower() if isinstance(value, bool) else str(value)
    flags = (f"--{name.replace('_', '-')} {shlex.quote(value)}" for name, value in asked.items())
    return "python -m dfkd_core train " + " ".join(flags)
