"""A study as one HTML file, to be read without the lab and without a network: what was asked, and what the runs say.

A grid has its map, peaks and ends, curves, what holds across teachers and every pair of series; other kinds have the
table that the command line shows. What failed is listed, every run named. There is no script in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import combinations
from pathlib import Path
from typing import Any

from dfkd_core import __version__
from dfkd_core.analysis.document import document, key_figures, table, text
from dfkd_core.analysis.svg import Dots, Line, chart, strips
from dfkd_core.errors import RequestError, StoreError
from dfkd_core.quality.score import score_text
from dfkd_core.study import Progress, Study, find, traces
from dfkd_core.study.file import text_of
from dfkd_core.study.robustness import COSTS, Place, compared, places, robustness
from dfkd_core.study.tables import COST_TITLES, counted_in_words, plural

Rows = Sequence[dict[str, Any]]
Known = dict[str, traces.Trace]
TINT = 70  # per cent of the colour that the best place of a map has


def report(study: Study) -> str:
    """The whole file. Raises ``StoreError`` for a study that cannot be read, ``RequestError`` for one of an unknown
    kind."""
    kind, progress = find(study.kind), study.progress()
    rows = kind.table(study.settings, progress.cells)
    parts = [
        f"<h1>{text(study.title)}</h1>",
        f'<p class="soft">Data-free knowledge distillation · study {text(study.id)} · {text(kind.title)}</p>',
        *_lead(progress, kind.verdict(study.settings, progress.cells, rows)),
        *(_grid(study, rows) if study.kind == "grid" else _plain(kind.lines(study.settings, progress.cells))),
        *_failed(progress),
        *_runs(progress),
        *_asked(study),
        f'<p class="soft">Written by DFKD Lab {text(__version__)}.</p>',
    ]
    return document(study.title, parts)


# --- what came out ---------------------------------------------------------------------------------------------


def _lead(progress: Progress, reading: str) -> Iterator[str]:
    if reading:
        yield f'<p class="lead">{text(reading)}</p>'
    cells = [("runs done", f"{progress.done:,} of {progress.total:,}"), ("failed", f"{progress.failed:,}")]
    seconds = sum(cell.record.figures.get("seconds", 0.0) for cell in progress.cells)
    yield key_figures([*cells, ("hours of training", f"{seconds / 3600:,.1f}"), ("state", progress.state)])


def _plain(lines: Sequence[str]) -> Iterator[str]:
    yield f"<h2>What came out</h2><pre>{text(chr(10).join(lines))}</pre>"


def _grid(study: Study, rows: Rows) -> Iterator[str]:
    measure = next((row["measure"] for row in rows if row["measure"]), "accuracy")
    known = traces.of_study(study, rows)
    yield from _map(rows, measure)
    yield from _ends(rows, measure)
    yield from _curves(rows, known, measure)
    yield from _across(study, rows, known, measure)
    yield from _pairs(rows)


def _map(rows: Rows, measure: str) -> Iterator[str]:
    found = {(place.teacher, place.series): place for place in places(rows)}
    means = [place.mean for place in found.values() if place.mean is not None]
    if not means:
        return
    series, teachers = _each(rows, "series"), _each(rows, "teacher")
    head = "".join(f"<th>{text(one)}</th>" for one in ["teacher", *series])
    lines = []
    for teacher in teachers:
        cells = [_cell(found.get((teacher, one)), min(means), max(means), measure) for one in series]
        lines.append(f"<tr><th>{text(Path(teacher).stem)}</th>{''.join(cells)}</tr>")
    yield f"<h2>Final {text(_named(measure))}, mean over seeds ± standard deviation (runs)</h2>"
    yield f'<table class="map"><tr>{head}</tr>{"".join(lines)}</table>'


def _cell(place: Place | None, low: float, high: float, measure: str) -> str:
    if place is None or place.cannot:
        return f"<td>{'cannot be run' if place else '–'}</td>"
    words = [f"{place.failed} failed"] if place.failed else []
    if place.mean is None:
        return f"<td>{', '.join(words) or '–'}</td>"
    share = (place.mean - low) / (high - low) if high > low else 1.0
    tint = round(TINT * (1 - share if place.lower_is_better else share))
    shown = score_text(measure, place.mean)
    shown += f" ± {score_text(measure, place.deviation)}" if place.deviation is not None else ""
    style = f"background: color-mix(in srgb, #0072b2 {tint}%, transparent)"
    return f'<td style="{style}">{text(" · ".join([f"{shown} ({place.n})", *words]))}</td>'


def _ends(rows: Rows, measure: str) -> Iterator[str]:
    lanes = [
        Dots(_short(place.teacher, rows), place.series, list(place.values.values()), list(place.peaks.values()))
        for place in places(rows)
    ]
    title = "Each run's best score (hollow) and its last (filled)"
    if drawn := strips(title, lanes, _named(measure)):
        yield f'<h2>Peaks and ends</h2><div class="main">{drawn}</div>'


def _curves(rows: Rows, known: Known, measure: str) -> Iterator[str]:
    drawn = []
    for axis in ("step", "queries"):
        found = traces.bands(rows, known, axis)
        lines = [Line(name, one.x, one.mean, band=(one.low, one.high)) for name, one in found.items()]
        title = f"Over {traces.AXES[axis]}: mean of all runs, and a standard deviation to each side"
        drawn.append(chart(title, lines, traces.AXES[axis], _named(measure)))
    if any(drawn):
        yield f'<h2>Curves</h2><div class="charts">{"".join(drawn)}</div>'


def _across(study: Study, rows: Rows, known: Known, measure: str) -> Iterator[str]:
    lines = []
    for row in robustness(rows, traces.stabilities(study, known), traces.spent(known)):
        names = ("mean", "minimum", "spread", "stability")
        figures = [score_text(measure, row[name]) if row[name] is not None else "–" for name in names]
        counted = [row["n"], row["failed"], row["cannot"]]
        costs = [counted_in_words(row[name]) for name in COSTS]
        lines.append([row["series"], *figures, Path(row["worst"]).stem, *counted, *costs])
    words = (
        "Of the means over seeds with each teacher. Stability: the best score of a run minus the mean of its last "
        f"{traces.LAST_EPOCHS} epochs; a student that is still rising has a value too. It, seconds, images and queries "
        "are means over runs."
    )
    heads = ["", "mean", "worst", "spread", "stability", "worst with", "runs", "failed", "cannot", *COST_TITLES]
    yield f'<h2>Across teachers</h2><p class="soft">{words}</p>{table(lines, heads)}'


def _pairs(rows: Rows) -> Iterator[str]:
    pairs = list(combinations(_each(rows, "series"), 2))
    if pairs:
        items = "".join(f"<li>{text(compared(rows, *pair).sentence)}</li>" for pair in pairs)
        words = (
            "Pairs of the same teacher and seed. 95 % intervals are Student's t: of three teachers or more over their "
            "means, of fewer over seeds. They are not corrected for how many there are."
        )
        yield f'<h2>Against each other</h2><p class="soft">{words}</p><ul>{items}</ul>'


# --- what it stands on -----------------------------------------------------------------------------------------


def _failed(progress: Progress) -> Iterator[str]:
    failed = [(_labels(cell.cell.labels), cell.message) for cell in progress.cells if cell.state == "failed"]
    if failed:
        yield f"<h2>What failed</h2>{table(failed)}"


def _runs(progress: Progress) -> Iterator[str]:
    lines = []
    for cell in progress.cells:
        figures, measure = cell.record.figures, cell.record.figures.get("measure", "accuracy")
        scores = [score_text(measure, figures[name]) if name in figures else "–" for name in ("final", "best")]
        lines.append([_labels(cell.cell.labels), *scores, cell.state, cell.record.run])
    heads = ["", "final", "best", "state", "run"]
    yield f"<details><summary>{plural(len(lines), 'run')}</summary>{table(lines, heads)}</details>"


def _asked(study: Study) -> Iterator[str]:
    with suppress(RequestError, StoreError):
        words = "Save it as a file and run it: <code>python -m dfkd_core study run FILE</code>"
        yield f"<h2>The same again</h2><p>{words}</p><pre>{text(text_of(study, find(study.kind)))}</pre>"


# --- words -----------------------------------------------------------------------------------------------------


def _each(rows: Rows, name: str) -> list[str]:
    return list(dict.fromkeys(row[name] for row in rows))


def _named(measure: str) -> str:
    return "FID" if measure == "fid" else measure


def _labels(labels: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in labels.items() if value is not None)


def _short(teacher: str, rows: Rows) -> str:
    """A teacher's name without what all have before it."""
    stems = [Path(one).stem for one in _each(rows, "teacher")]
    first = stems[0].partition("-")[0] + "-"
    return Path(teacher).stem.removeprefix(first if all(stem.startswith(first) for stem in stems) else "")
