"""Measuring runs that distil generative models: both networks on disk, side by side, from the same noise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command import call, refused
from conftest import execute, new_run
from tampering import content, copied
from torch import Tensor

from dfkd_core.analysis import measure_latent as measuring
from dfkd_core.analysis.measure_latent import measure_generative, measure_run
from dfkd_core.analysis.measured import GENERATED, MEASURED, NEAREST, generative_notes, generative_table
from dfkd_core.data.catalogue import find_benchmark
from dfkd_core.data.labelled import LabelledImages
from dfkd_core.errors import RequestError, StoreError
from dfkd_core.networks.latent import draw_noise
from dfkd_core.quality import latent as generative_quality
from dfkd_core.quality import measures as quality
from dfkd_core.runs.assemble import assemble_generative
from dfkd_core.runs.spec import read_spec
from dfkd_core.store import RunFolder, read_samples
from dfkd_core.store.checkpoints import load_checkpoint
from dfkd_core.teachers.cards import ElboRecipe, TeacherCard, find_card, user_folder
from dfkd_core.teachers.make import train_teacher
from dfkd_core.teachers.train import elbo_of

SAMPLES = 60
CPU = torch.device("cpu")
NAME = "digits-vae-tiny"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small generative teacher of digits that has learned a little."""
    folder = tmp_path_factory.mktemp("generative")
    image = find_card("digits-resnet20-plain")[0].image.model_copy(update={"mean": (0.5,), "std": (0.5,)})
    recipe = ElboRecipe(kind="tiny", epochs=3, learning_rate=3e-3)
    card = TeacherCard(
        task="generative", name=NAME, title="Tiny", benchmark="digits", network="conv-vae-4", image=image, recipe=recipe
    )  # fmt: skip
    train_teacher(card, folder)
    return folder


@pytest.fixture(autouse=True)
def teacher(trained: Path, own_folders: None) -> None:
    user_folder().parent.mkdir(exist_ok=True)
    user_folder().symlink_to(trained, target_is_directory=True)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generative_quality, "WARM_UP", 1)


def new(runs: Path, method: str = "ukd", **knobs: Any) -> RunFolder:
    tiny = {"distill_steps": 4, "batch_size": 16, **knobs}
    return new_run(runs, tiny, method=method, teacher=NAME, student="conv-vae-2", samples_every=0, evaluate_every=1000)


@pytest.fixture(scope="module")
def carried_out(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DFKD_TEACHERS", str(trained))
        folder = new(tmp_path_factory.mktemp("distilled"))
        assert execute(folder).state == "done"
    return folder


@pytest.fixture
def done(runs: Path, carried_out: RunFolder) -> RunFolder:
    return copied(carried_out, runs / carried_out.id)


@pytest.fixture
def cache(runs: Path) -> Path:
    return runs / "analysis-cache"


def assembled(folder: RunFolder) -> tuple[Any, Any, Any]:
    card, problem, method = assemble_generative(read_spec(folder))
    found = load_checkpoint(folder)
    assert found is not None
    method.load_state_dict(found[1]["method"])
    return card, problem, method


def reference_images(count: int = SAMPLES) -> Tensor:
    data = find_benchmark("digits").load(train=False)
    return data.images[quality.evenly_by_class(data.labels, count)]


def test_both_networks_are_compared_on_the_same_noise(done: RunFolder, cache: Path) -> None:
    figures = measure_generative(done, cache, SAMPLES)
    assert content(done.files, MEASURED) == figures
    card, problem, _ = assembled(done)
    extractor = quality.find_extractor("", card)
    wanted = f"FID, EMD, MMD and 1NN in {extractor.title} features, n = 60 real, 60 generated"
    assert figures["label"] == wanted and figures["extractor"] == extractor.name
    real = quality.reference(find_benchmark("digits").load(train=False), extractor, SAMPLES, cache)
    noise = draw_noise(problem.teacher, SAMPLES, CPU, torch.Generator().manual_seed(measuring.SEED))
    kept, columns = read_samples(done, GENERATED)
    assert columns["student"].tolist() == [False] * 24 + [True] * 24
    for number, (name, network) in enumerate((("teacher", problem.teacher), ("student", problem.student))):
        network.eval()
        with torch.no_grad():
            pixels = problem.image.to_pixels(network.generate(noise).images).clamp(0, 1)
        images = (pixels * 255).round().to(torch.uint8)
        expected = generative_quality.figures(real, extractor.features(images))
        assert {key: figures[name][key] for key in expected} == pytest.approx(expected, rel=1e-6)
        shown = kept[24 * number : 24 * number + 24]
        assert np.array_equal(shown, images[:24].permute(0, 2, 3, 1).numpy())


def test_a_student_that_makes_no_finite_images_is_not_measured(
    done: RunFolder, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    restore = measuring.classifiers.restore

    def broken(method: Any, folder: RunFolder) -> int:
        step = restore(method, folder)
        with torch.no_grad():
            next(iter(method.student.decoder()[-1].parameters())).fill_(torch.nan)
        return step

    monkeypatch.setattr(measuring.classifiers, "restore", broken)
    with pytest.raises(StoreError, match="images that are not finite"):
        measure_generative(done, cache, SAMPLES)
    assert not (done.path / MEASURED).exists()


def test_a_student_whose_encoder_stood_still_has_its_teachers_and_no_elbo(done: RunFolder, cache: Path) -> None:
    figures = measure_generative(done, cache, SAMPLES)
    _, problem, _ = assembled(done)
    student = figures["student"]
    again = generative_quality.reconstruction_error(
        problem.student, reference_images(), problem.image, CPU, problem.teacher
    )
    assert (student["encoder"], student["elbo"]) == ("teacher", None)
    assert (student["mse"], student["psnr"]) == pytest.approx(again)
    assert figures["teacher"]["encoder"] == "own"
    chosen = LabelledImages(reference_images(), torch.zeros(SAMPLES, dtype=torch.int64))
    assert figures["teacher"]["elbo"] == pytest.approx(elbo_of(problem.teacher, chosen, problem.image, CPU))
    assert student["parameters"] < figures["teacher"]["parameters"]


def test_a_student_that_learned_as_a_vae_does_has_an_encoder_of_its_own(runs: Path, cache: Path) -> None:
    folder = new(runs, "with-data", objective="elbo")
    assert execute(folder).state == "done"
    figures = measure_generative(folder, cache, SAMPLES)
    _, problem, _ = assembled(folder)
    error = generative_quality.reconstruction_error(problem.student, reference_images(), problem.image, CPU)
    assert figures["student"]["encoder"] == "own" and figures["student"]["elbo"] < figures["teacher"]["elbo"]
    assert figures["student"]["mse"] == pytest.approx(error.mse)
    assert not (folder.path / f"{NEAREST}.npz").exists(), "it synthesised nothing"


def test_the_elbo_of_a_student_is_of_its_own_beta(runs: Path, cache: Path) -> None:
    folder = new(runs, "with-data", objective="elbo", beta=0.5)
    assert execute(folder).state == "done"
    figures = measure_generative(folder, cache, SAMPLES)
    _, problem, _ = assembled(folder)
    chosen = LabelledImages(reference_images(), torch.zeros(SAMPLES, dtype=torch.int64))
    for name, beta in (("student", 0.5), ("teacher", 0.1)):
        expected = elbo_of(getattr(problem, name), chosen, problem.image, CPU, beta)
        assert figures[name]["elbo"] == pytest.approx(expected)


def test_beside_synthetic_images_stand_their_nearest_real_ones(runs: Path, cache: Path) -> None:
    folder = new(runs, source="latents", synthesis_batches=1, synthesis_size=10, latent_steps=2)
    assert execute(folder).state == "done"
    measure_generative(folder, cache, SAMPLES)
    card, _, method = assembled(folder)
    pairs, columns = read_samples(folder, NEAREST)
    assert len(pairs) == 20 and np.array_equal(pairs[:10], method.synthesised.permute(0, 2, 3, 1).numpy())
    extractor, images = quality.find_extractor("", card), reference_images()
    features = extractor.features(images)
    for number, synthetic in enumerate(extractor.features(method.synthesised)):
        distances = [float((synthetic - other).norm()) for other in features]
        assert columns["distance"][number] == pytest.approx(min(distances))
        nearest = images[int(np.argmin(distances))].permute(1, 2, 0).numpy()
        assert np.array_equal(pairs[10 + number], nearest)


def test_the_same_is_not_measured_twice(done: RunFolder, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    real = measuring._Both.generate
    monkeypatch.setattr(measuring._Both, "generate", lambda both: made.append(len(both.data)) or real(both))
    first = measure_run(done, cache, SAMPLES)
    assert measure_run(done, cache, SAMPLES) == first and made == [60]
    measure_run(done, cache, SAMPLES, force=True)
    measure_run(done, cache, SAMPLES, "teacher:digits-lenet5-long")
    assert made == [60, 60, 60]
    assert measure_run(done, cache)["real"] == len(find_benchmark("digits").load(train=False)), "fewer than 1,024"


def test_measuring_leaves_the_callers_generators_alone(done: RunFolder, cache: Path) -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    measure_generative(done, cache, SAMPLES)
    assert torch.equal(torch.rand(4), expected)


def test_what_cannot_be_measured_is_one_sentence(done: RunFolder, runs: Path, cache: Path) -> None:
    with pytest.raises(StoreError, match="no checkpoint yet"):
        measure_run(new(runs), cache)
    with pytest.raises(RequestError, match="should be from 6 to 5000"):
        measure_run(done, cache, 6000)
    with pytest.raises(RequestError, match="is the teacher that the images were made from"):
        measure_run(done, cache, SAMPLES, f"teacher:{NAME}")


def test_the_command_line_prints_the_table(capsys: Any, done: RunFolder) -> None:
    status, out, _ = call(capsys, "measure", done.id, "--samples", str(SAMPLES))
    figures = content(done.files, MEASURED)
    assert status == 0 and out.startswith(figures["label"])
    for title, teacher, student in generative_table(figures):
        assert any(line.split() == [*title.split(), *teacher.split(), *student.split()] for line in out.splitlines())
    assert all(note in out for note in generative_notes(figures)) and "from its teacher's latents" in out
    status, out, _ = call(capsys, "measure", done.id, "--samples", str(SAMPLES), "--json")
    assert json.loads(out) == figures
    assert "should be inception, or teacher:NAME" in refused(capsys, "measure", done.id, "--extractor", "vgg")


def test_the_table_has_a_dash_where_there_is_no_figure() -> None:
    side = {name: 0.5 for _, name, how in measuring_rows() if how[-1] == "f"}
    side |= {name: 1234 for _, name, how in measuring_rows() if how[-1] == "d"}
    side |= {"milliseconds": 1.234, "spread": 0.1, "batch": 16}
    table = generative_table({"teacher": side, "student": {**side, "elbo": None}})
    assert ("ELBO, nats an image", "0.50", "–") in table and ("parameters", "1,234", "1,234") in table
    assert table[-1] == ("inference of 16 images, ms", "1.23 ± 0.10", "1.23 ± 0.10")


def measuring_rows() -> Any:
    from dfkd_core.analysis.measured import GENERATIVE_ROWS

    return GENERATIVE_ROWS
