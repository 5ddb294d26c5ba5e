"""Generative: a model that makes images is distilled without its data; teacher and student side by side."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from dfkd_core.analysis.jobs import Job
from dfkd_core.errors import RequestError
from dfkd_core.store import RunFolder, RunStatus
from pages.ui import boot, link, look
from pages.ui.run import generative, steering
from pages.ui.study import generative_table, watching

if TYPE_CHECKING:
    from pages.ui.form.form import Choice

VIEWS = {"run": "Run", "table": "Table"}
ROWS, COLUMNS, TILE = 6, 12, 48  # of the preview; a tile's pixels
EMPTY = """
**A model that makes images is made small, without one image of its training data.** The teacher turns random numbers,
its latents, into images; the student, with far fewer parameters, learns to turn the *same* random numbers into the
same images (UKD). Choose on the left, then press **Start**: teacher and student appear side by side, and the student's
FID falls towards the teacher's. With the source *diffusion*, images are made first, under the teacher's guidance.
"""


def main() -> None:
    """One script run of the page."""
    if watching.view("generative", VIEWS) == "run":
        watched = steering.Watched("generative", _chosen_run, _show, _empty, _goes_on)
        steering.watch(watched, steering.choose(task="generative"))
    else:
        _table()


# --- the view of a run -----------------------------------------------------------------------------------------


def _chosen_run() -> RunFolder | None:
    return steering.newest_or_asked(steering.is_generative)


def _goes_on(folder: RunFolder, status: RunStatus) -> bool:
    """The run, or the job that measures it."""
    return status.is_live or measuring(folder).state().state == "running"


def _empty(choice: Choice | None) -> None:
    st.info(EMPTY, icon=":material/auto_awesome:")
    if choice is not None:
        _preview(choice)


def _show(folder: RunFolder, status: RunStatus) -> None:
    job = measuring(folder)
    steer = partial(steering.steer, folder=folder, job=job, asked=["--force"])
    generative.show(folder, status, boot.timeline(str(folder.path)), job.state(), steer)


def measuring(folder: RunFolder) -> Job:
    """What compares teacher and student with test images, in the background."""
    return Job(folder, "measure")


def _preview(choice: Choice) -> None:
    """What the chosen teacher makes of random numbers, and how much smaller the chosen student is."""
    try:
        images, sizes = _drawn(choice.fields["teacher"], choice.fields["student"])
    except RequestError:
        return  # Start says what is wrong
    with st.container(horizontal=True, gap="medium"):
        st.image(images, caption=f"What {link.name(choice.fields['teacher'])} makes of random numbers", width=620)
        with st.container(width="stretch"):
            teacher, student = sizes
            st.metric("Teacher's parameters", f"{teacher:,}")
            st.metric(
                "Student's parameters",
                f"{student:,}",
                f"{teacher / student:.1f} × smaller",
                delta_color="off",
                delta_arrow="off",
            )


@st.cache_data(show_spinner=False, max_entries=32)
def _drawn(teacher: str, student: str) -> tuple[np.ndarray, tuple[int, int]]:
    """A sheet of the teacher's samples, (H, W, C) uint8, and both numbers of parameters."""
    import torch

    from dfkd_core.kit.samples import to_bytes
    from dfkd_core.networks.classifiers import parameter_count
    from dfkd_core.networks.latent import build_latent_model, draw_noise
    from dfkd_core.teachers.load import load_latent_model

    network, card = load_latent_model(teacher)
    image = card.image.spec()
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        other = build_latent_model(student, image)
        generator = torch.Generator().manual_seed(0)
        made = network.generate(draw_noise(network, ROWS * COLUMNS, torch.device("cpu"), generator)).images
    pixels = to_bytes(image.to_pixels(made)).numpy()
    zoom = max(1, TILE // image.size)
    tiles = np.pad(pixels.repeat(zoom, axis=1).repeat(zoom, axis=2), ((0, 0), (2, 2), (2, 2), (0, 0)))
    _, side, _, channels = tiles.shape
    sheet = tiles.reshape(ROWS, COLUMNS, side, side, channels).swapaxes(1, 2)
    return sheet.reshape(ROWS * side, COLUMNS * side, channels), (parameter_count(network), parameter_count(other))


# --- the view of the table -------------------------------------------------------------------------------------


def _table() -> None:
    """Students of several widths, with data and without, beside their teacher; it fills as runs end."""
    study = watching.chosen(generative_table.KIND)
    if study is None:
        generative_table.set_up(steering.choose(task="generative"))
        return
    names = ("benchmark", "teacher", "preset", "diffusion", "values", "seeds", "samples", "extractor")
    titles = {"values": "widths H", "samples": "images measured"}
    facts = {titles.get(name, name): study.settings[name] for name in names if study.settings[name]}
    watching.begun_with(study, facts)
    watching.watch(study, generative_table.offer_csv, generative_table.show)


look.through_app("pages/generative.py")
main()
