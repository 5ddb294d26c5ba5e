"""The figures of the TA-DFKD paper, and HiDFD's way, as this lab's pages show them, for docs/figures.md.

Takes pictures of the pages on a folder of runs in which the studies and runs are done already: Fig. 1a (Lessons),
Figs. 2 and 3 (Class prior), Fig. 4 (Inspect, ★ and ×), Fig. 1b (Studies), and a run of HiDFD (Hybrid), for each
benchmark that it finds. Fills its parts between ``<!-- figures -->`` and ``<!-- /figures -->``, and so for ``grid`` and
``hybrid``, with those that it found and the settings behind each. Any of them can be made from the pages alone; the
commands are printed beside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from cyclopts import Parameter

from benchmarks.command import command
from benchmarks.figures import DOCS, fill
from benchmarks.lab import browsing, new_page, serving, take
from dfkd_core import methods
from dfkd_core.runs.spec import RunSpec, read_spec
from dfkd_core.store import RunFolder, runs_in
from dfkd_core.study import Study, find, studies_in, traces
from dfkd_core.study.robustness import COSTS, Place, compared, places, robustness
from dfkd_core.study.tables import COST_TITLES, counted_in_words, markdown, plus_minus

MOST_COMPARED = 6  # series, each with each other one
TITLES = {"digits": "Digits", "mnist": "MNIST"}


class Figure(NamedTuple):
    """``name`` of the picture, ``address`` of the page, the ``text`` below it, and what to wait for."""

    name: str
    address: str
    text: str
    ready: str = "svg.main-svg"


# --- what is there: the newest that is done, if any ------------------------------------------------------------


def done_studies(runs: Path, kind: str, benchmark: str, id: str = "") -> Iterator[tuple[Study, list[dict[str, Any]]]]:
    """With its table; ``id``: that one and no other."""
    for study in studies_in(runs):
        if (study.kind, study.settings["benchmark"]) == (kind, benchmark) and id in ("", study.id):
            progress = study.progress()
            if progress.state == "done":
                yield study, find(kind).table(study.settings, progress.cells)
                return


def done_runs(
    runs: Path, benchmark: str, wanted: Callable[[RunSpec], bool]
) -> Iterator[tuple[RunFolder, RunSpec, dict[str, Any]]]:
    """Outside any study, with what it came to."""
    for folder in runs_in(runs):
        spec, status = read_spec(folder), folder.status()
        if spec.benchmark == benchmark and status.state == "done" and wanted(spec):
            yield folder, spec, status.result
            return


def without_adversary(spec: RunSpec) -> bool:
    """Whether the class prior leads the generator, with BatchNorm's statistics and no adversarial term."""
    weights = {name: spec.config.get(f"{name}_weight", 0) for name in ("class_prior", "bn", "adversarial")}
    return weights["class_prior"] > 0 and weights["bn"] > 0 and weights["adversarial"] == 0


# --- in words --------------------------------------------------------------------------------------------------


def settings(spec: RunSpec, *left_out: str) -> str:
    """What determines a run: preset, and the knobs that differ from it."""
    start = methods.find(spec.method).Config.build(spec.preset).model_dump()
    changed = {name: value for name, value in spec.config.items() if value != start[name] and name not in left_out}
    knobs = [f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}" for name, value in changed.items()]
    return ", ".join([f"`{spec.method}`, preset `{spec.preset}`", *knobs])


def tadfkd(runs: Path, benchmark: str) -> Iterator[Figure]:
    """All of TA-DFKD that can be shown of what is there."""
    title = TITLES[benchmark]
    for study, table in done_studies(runs, "fig1a", benchmark):
        spec = study.cells[-1].spec
        teachers = " and ".join(f"`{name}`" for name in study.settings["teachers"])
        ends: dict[str, str] = {}  # by variant, teacher by teacher
        for name, final, best in ((row["variant"], row["final"], row["best"]) for row in table):
            ends[name] = f"{ends[name]} and" if name in ends else name
            ends[name] += f" {final:.1%} ({best:.1%})"
        text = (
            f"**Fig. 1a, {title}** (*Lessons*). {teachers} → `{spec.student}`, seed {spec.seed}, {settings(spec)}. "
            f"Final accuracy, best in brackets: {'; '.join(ends.values())}."
        )
        yield Figure(f"fig1a-{benchmark}", f"lessons?study={study.id}", text)
    for study, table in done_studies(runs, "prior", benchmark):
        spec = study.cells[0].spec
        varied = (", ".join(f"{value:g}" for value in study.settings[name]) for name in ("intensities", "seeds"))
        text = (
            f"**Figs. 2 and 3, {title}** (*Class prior*). `{spec.teacher}` → `{spec.student}`, "
            f"λ {' × seeds '.join(varied)}, {settings(spec, 'class_prior_weight')}. "
            f"{find(study.kind).reading(study.settings, table)}"
        )
        yield Figure(f"fig2-{benchmark}", f"prior?study={study.id}", text)
    for run, spec, _ in done_runs(runs, benchmark, without_adversary):
        text = (
            f"**Fig. 4, {title}** (*Inspect*). `{spec.teacher}` → `{spec.student}`, seed {spec.seed}, {settings(spec)}."
        )
        yield Figure(f"fig4-{benchmark}", f"inspect?run={run.id}&mark=boundary&sort=class", text, ".dfkd-microscope")


def hybrid(runs: Path, benchmark: str) -> Iterator[Figure]:
    """A run of HiDFD, late in its first stage."""
    for run, spec, result in done_runs(runs, benchmark, lambda spec: spec.method == "hidfd"):
        step = spec.steps_of("gan") // spec.samples_every * spec.samples_every
        text = (
            f"**HiDFD, {TITLES[benchmark]}** (*Hybrid*, step {step}). `{spec.teacher}` → `{spec.student}`, seed "
            f"{spec.seed}, ρ {spec.ratio:g} of `{spec.collected}`, {settings(spec)}. Final accuracy "
            f"{result['final']:.1%}, best {result['best']:.1%}, teacher {result['teacher']:.1%}, "
            f"{result['seconds']:.0f} s."
        )
        yield Figure(f"hybrid-{benchmark}", f"hybrid?run={run.id}&step={step}", text)


def grid(runs: Path, benchmark: str, id: str = "", part: str = "grid") -> Iterator[Figure]:
    """Methods × teachers, with what holds across these and what it took; and all of them over teacher queries."""
    for study, table in done_studies(runs, "grid", benchmark, id):
        spec, seeds = study.cells[0].spec, ", ".join(map(str, study.settings["seeds"]))
        series, teachers = (list(dict.fromkeys(row[name] for row in table)) for name in ("series", "teacher"))
        found = {(place.teacher, place.series): place for place in places(table)}
        cells = [[_cell(found[teacher, one]) for one in series] for teacher in teachers]
        ends = [[f"`{teacher}`", *line] for teacher, line in zip(teachers, cells, strict=True)]
        known = traces.of_study(study, table)
        across = robustness(table, traces.stabilities(study, known), traces.spent(known))
        names = ("mean", "minimum", "spread", "stability")
        holds = [
            [row["series"], *(_share(row[name]) for name in names), str(row["failed"])]
            + [counted_in_words(row[name]) for name in COSTS]
            for row in across
        ]
        pairs = combinations(series, 2) if len(series) <= MOST_COMPARED else ()
        sentences = [compared(table, one, other).sentence for one, other in pairs]
        text = [
            f"**{study.title}** (*Studies*). → `{spec.student}`, seeds {seeds}, preset `{spec.preset}`. Final accuracy "
            "in per cent, mean ± standard deviation over seeds, mean of the best in brackets.",
            "\n".join(markdown([["teacher", *series], *ends])),
            "Of each method's means over seeds, across teachers; stability is the best evaluation minus the mean of "
            f"the last {traces.LAST_EPOCHS} epochs, or of so many evaluations where there are none; a student that is "
            "still rising has a value too. Seconds, images and queries are means over runs.",
            "\n".join(markdown([["method", "mean", "worst", *names[2:], "failed", *COST_TITLES], *holds])),
            "\n".join(f"- {sentence}" for sentence in sentences) or "*Studies* compares any two.",
        ]
        address = f"studies?study={study.id}"
        yield Figure(f"{part}-{benchmark}", f"{address}&reading=strip", "\n\n".join(text))
        words = f"**{study.title}**: accuracy over the images that the teacher judged, mean and standard deviation."
        yield Figure(f"{part}-{benchmark}-queries", f"{address}&reading=curves&over=queries", words)


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def _cell(place: Place) -> str:
    return f"{plus_minus(place.mean, place.deviation)} ({plus_minus(place.peak, None)})"


def measure(
    *,
    runs: Annotated[Path, Parameter(help="Where the studies and runs are.")],
    study: Annotated[str, Parameter(help="Only this grid, by its id; else the newest, and all other figures.")] = "",
    part: Annotated[str, Parameter(help="The part of docs/figures.md that it fills.")] = "grid",
) -> None:
    all_of = {"figures": tadfkd, "grid": grid, "hybrid": hybrid}
    wanted = {part: partial(grid, id=study, part=part)} if study else all_of
    with serving(runs) as lab, browsing() as browser:
        for name, found in wanted.items():
            figures = [figure for benchmark in TITLES for figure in found(runs, benchmark)]
            for figure in figures:
                take(new_page(browser, height=900), f"{lab}{figure.address}", figure.name, figure.ready)
            parts = [f"![{figure.name}](../assets/pictures/{figure.name}.png)\n\n{figure.text}" for figure in figures]
            if parts:
                fill(DOCS / "figures.md", name, "\n\n".join(parts))


if __name__ == "__main__":
    command(measure)
