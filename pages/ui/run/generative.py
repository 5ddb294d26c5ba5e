"""The stage of a run that distils a generative model: teacher and student side by side, and where images came from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dfkd_core.analysis.jobs import JobState
from dfkd_core.analysis.measured import MEASURED, NEAREST, generative_notes, generative_table, known_figures
from dfkd_core.analysis.timeline import Timeline
from dfkd_core.errors import RequestError, StoreError
from dfkd_core.runs.spec import RunSpec, read_spec
from dfkd_core.store import RunFolder, RunStatus, read_picture
from dfkd_core.store.sheets import sheet
from dfkd_core.teachers.cards import TeacherCard, available_teachers, find_card
from pages.ui.run import stage
from pages.ui.web.view import view

ORIGINS = {
    "ancestral": "Samples of the teacher's own prior, drawn anew in every step: nothing is made beforehand.",
    "latents": "Samples of the teacher's own prior, whose latents were moved to where the guidance is low. "
    "No other model and no data took part.",
    "stable-diffusion": "Stable Diffusion learned from images of the web; whether some like the teacher's were among "
    "them, nobody can say.",
}


def show(folder: RunFolder, status: RunStatus, timeline: Timeline, job: JobState, steer: Callable[[str], None]) -> None:
    """Draw the run, or bring what is drawn up to date. Call it at the same place in every rerun.

    ``job`` is how far its measurement is; ``steer`` carries out what the stage wants of the run.
    """
    asked = stage.what_is_asked("generative", folder, steer)
    recorded = _Recorded(timeline)
    data = stage.data_of("generative", folder, status, timeline, asked, recorded.steps, recorded.frame)
    spec = read_spec(folder)
    data |= {
        "recorded": recorded.kinds(),
        "source": spec.knob("source", "original"),
        "border": spec.steps_of("synthesis"),
        "own_encoder": spec.knob("objective") == "elbo",
        "origin": origin(spec),
        "teacher_figures": timeline.quality,
        "quality_label": timeline.quality_label,
        "levels": recorded.levels(),
        "beside": _nearest(folder, asked.get("has")),
        "measured": _measured(folder),
        "job": {"state": job.state, "share": job.share, "message": job.message, "left": job.seconds_left()},
        "measurable": folder.has_checkpoint(),
    }
    styles = ("run/player.css", "run/staged.css", "run/generative.css")
    view("generative", "run/generative.js", *styles)(key="generative", data=data, on_ask_change=lambda: None)


class _Recorded:
    """What such a run keeps of some steps, by kind: the ``probes``, what teacher and student make of the same; the
    last batch as ``samples``; the ``made`` images of a synthesis, and their ``films``."""

    def __init__(self, timeline: Timeline) -> None:
        self.timeline = timeline

    def kinds(self) -> dict[str, list[int]]:
        """The steps of each, ascending."""
        films = self.timeline.films
        samples = sorted(self.timeline.frames)
        return {
            "probes": sorted(self.timeline.probes),
            "samples": [step for step in samples if step not in films],
            "made": [step for step in samples if step in films],
            "films": films,
        }

    def steps(self) -> list[int]:
        """All of them: where the scrubber can stand."""
        return sorted({step for steps in self.kinds().values() for step in steps})

    def frame(self, step: int) -> dict[str, Any]:
        """All that was kept of one step, and the newest evaluation's levels up to there."""
        samples = self.timeline.frame(step)
        made = step in self.timeline.films
        return {
            "step": step,
            "probes": self.timeline.probe(step),
            "samples": None if made else samples,
            "made": samples if made else None,
            "films": self.timeline.film(step),
            "levels": self.levels(step),
        }

    def levels(self, until: int | None = None) -> dict[str, Any] | None:
        """Posterior and priors of each level at the newest evaluation up to a step."""
        known = [step for step in self.timeline.levels if until is None or step <= until]
        return {"step": max(known), **self.timeline.levels[max(known)]} if known else None


# --- where images come from ------------------------------------------------------------------------------------


def origin(spec: RunSpec) -> str:
    """Where the images that the student learns from come from, in a sentence or two; what a diffusion model learned
    from is always declared."""
    source = spec.knob("source", "original")
    if source == "original":
        return "Not data-free: the student learns from the teacher's own training images, their labels unknown."
    if source != "diffusion":
        return ORIGINS[source]
    try:
        return declared(find_card(spec.diffusion)[0], find_card(spec.teacher)[0])
    except RequestError:
        return f"What the diffusion model {spec.diffusion} was trained on is not known on this machine."


def declared(diffusion: TeacherCard, teacher: TeacherCard) -> str:
    """What a diffusion model was trained on, and which of its classes are the teacher's as well."""
    theirs = teacher.image.classes
    shared = [name for name in diffusion.image.classes if name in theirs]
    classes = f"{len(shared)} of the teacher's {len(theirs)} classes" + (f": {', '.join(shared)}" if shared else "")
    return (
        f"The diffusion model “{diffusion.title}” was trained on {diffusion.benchmark}, never on {teacher.benchmark}. "
        f"It shares {classes}."
    )


def fitting_diffusion(teacher: TeacherCard) -> dict[str, TeacherCard]:
    """The diffusion models that may make images for ``teacher``: of its shape, and trained on other data."""
    from dfkd_core.runs.request import find_diffusion

    def fits(name: str) -> bool:
        try:
            return bool(find_diffusion(name, teacher))
        except RequestError:
            return False

    return {name: card for name, card in available_teachers(None, "diffusion").items() if fits(name)}


# --- what was measured -----------------------------------------------------------------------------------------


def _measured(folder: RunFolder) -> dict[str, Any] | None:
    """The table of teacher and student, and what it has to say about itself."""
    figures = known_figures(folder)
    if figures is None or "student" not in figures:
        return None
    return {
        "version": stage.seconds(folder.files.changed(MEASURED)),
        "rows": generative_table(figures),
        "notes": generative_notes(figures),
    }


def _nearest(folder: RunFolder, known: float | None) -> dict[str, Any] | None:
    """Synthetic images and then the real one that is nearest to each; None where the browser has them, or there are
    none."""
    name = f"{NEAREST}.png"
    version = stage.seconds(folder.files.changed(name))
    if version in (0, known):
        return None
    try:
        picture, shape, columns = read_picture(folder, NEAREST)
        distance = [round(float(value), 4) for value in columns["distance"][: len(columns["distance"]) // 2]]
        return sheet(picture, shape, {}, version=version, distance=distance)
    except (OSError, StoreError, KeyError):
        return None
