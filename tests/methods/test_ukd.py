"""UKD without data: what each term trains, where its images come from, what it never sees, and that it resumes."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import execute, new_run, rows, student_hash, tiny_knobs
from stepping import (
    Overheard,
    assert_resumes,
    by_hand,
    digits,
    events,
    generative_problem,
    of,
    own_generator,  # noqa: F401 - in every test here
    same,
    values,
    weights,
)
from torch import Tensor, nn

from dfkd_core import methods
from dfkd_core.data.catalogue import find_benchmark
from dfkd_core.data.labelled import LabelledImages
from dfkd_core.errors import NonFiniteError, RequestError
from dfkd_core.events import Phases, Samples
from dfkd_core.kit.generative_stage import SYNTHETIC, GenerativeStage
from dfkd_core.kit.recorder import Seen
from dfkd_core.kit.recording import Recording
from dfkd_core.kit.samples import to_bytes
from dfkd_core.losses import latent as losses
from dfkd_core.methods.ukd import UKD, UKDConfig
from dfkd_core.networks.classifiers import evaluating
from dfkd_core.networks.latent import draw_noise
from dfkd_core.runs.latent_evaluation import PANELS, LatentEvaluator
from dfkd_core.runs.request import find_diffusion, make_spec
from dfkd_core.store import RunFolder
from dfkd_core.store.checkpoints import load_checkpoint
from dfkd_core.synthesis.guided import DiffusionSource
from dfkd_core.teachers.cards import find_card, user_folder
from dfkd_core.teachers.load import load_diffusion

pytestmark = pytest.mark.usefixtures("few_judged")
SOURCES = ("ancestral", "latents", "diffusion")
DIFFUSION = "mnist-unet-32-8px"


def make(source: str = "ancestral", student: str = "lvae-4", **changes: Any) -> UKD:
    model = Overheard(DiffusionSource(load_diffusion(DIFFUSION)[0])) if source == "diffusion" else None
    recording = Recording(samples_every=1, samples=8, phases_every=0)
    problem = generative_problem(student, source=model, recording=recording)
    return UKD(problem, UKDConfig.build("demo", {**tiny_knobs("ukd"), "source": source, **changes}))


def encoder_of(network: nn.Module) -> dict[str, Tensor]:
    """Weights and statistics of what does not generate."""
    generating = ("down", "down_heads", "output")
    return {name: tensor for name, tensor in weights(network).items() if name.split(".")[0] not in generating}


# --- the terms -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("term", ["output_kl", "latent_match"])
def test_each_term_pulls_at_what_generates_in_the_student_and_at_nothing_else(term: str) -> None:
    method = make()
    noise = draw_noise(method.teacher, 16, method.problem.device)
    teacher, student = method.teacher.generate(noise), method.student.generate(noise)
    if term == "output_kl":
        losses.output_kl(teacher, student).backward()
        reached = [method.student.down, method.student.down_heads, method.student.output]
    else:
        losses.latent_match(teacher.prior, student.prior).backward()
        reached = [method.student.down[:-1], method.student.down_heads]
    pulled = {name for name, one in method.student.named_parameters() if one.grad is not None and one.grad.any()}
    ids = {id(one) for part in reached for one in part.parameters()}
    assert pulled == {name for name, one in method.student.named_parameters() if id(one) in ids}
    assert all(one.grad is None for one in method.teacher.parameters())


def test_with_ukd_the_students_encoder_stays_as_it_is_and_with_elbo_it_learns() -> None:
    for objective, stays in (("ukd", True), ("elbo", False)):
        method = make(objective=objective)
        teacher, before, encoder = weights(method.teacher), weights(method.student), encoder_of(method.student)
        events(method, 3)
        after = weights(method.student)
        assert method.encoder_trained is not stays and same(encoder, encoder_of(method.student)) is stays
        trained = [name for name, one in method.student.named_parameters() if stays is False or name not in encoder]
        # The output's head predicts a std that no loss asks for: half of it only decays.
        assert trained and not any(torch.equal(before[name], after[name]) for name in trained)
        assert same(teacher, weights(method.teacher))


def test_the_loss_is_the_weighted_sum_of_the_terms_on_the_same_noise() -> None:
    method = make(latent_weight=0.7, beta=0.3)
    noise = draw_noise(method.teacher, 16, method.problem.device)
    twin = copy.deepcopy(method.student).train()
    teacher, student = method.teacher.generate(noise), twin.generate(noise)
    metrics = by_hand(method, lambda seen: method.stage.learn(seen, noise))
    output_kl = losses.output_kl(teacher, student, 0.3).item()
    latent_match = 0.7 * losses.latent_match(teacher.prior, student.prior).item()
    assert metrics["output_kl"] == pytest.approx(output_kl, rel=1e-5)
    assert metrics["latent_match"] == pytest.approx(latent_match, rel=1e-5)
    assert metrics["student_loss"] == pytest.approx(output_kl + latent_match, rel=1e-5)


@pytest.mark.parametrize("inferred", [False, True], ids=["ancestral noise", "inferred noise"])
def test_a_student_that_is_its_teacher_has_nothing_to_learn(inferred: bool) -> None:
    method = make(student="lvae-32")
    twin = copy.deepcopy(method.teacher)
    images = method.image.normalise(digits(12).float() / 255)
    noise = method.stage.infer(images) if inferred else draw_noise(method.teacher, 12, method.problem.device)
    teacher, student = method.teacher.generate(noise), twin.generate(noise)
    other = twin.generate(draw_noise(method.teacher, 12, method.problem.device))
    assert losses.output_kl(teacher, student) == 0 and losses.latent_match(teacher.prior, student.prior) == 0
    assert losses.output_kl(teacher, other) > 1, "noise of its own is another image"


def test_what_is_shared_of_images_is_the_teachers_posterior_on_them() -> None:
    method = make()
    images = method.image.normalise(digits(12).float() / 255)
    torch.manual_seed(5)
    drawn = draw_noise(method.teacher, 12, method.problem.device)
    expected = method.teacher.infer(images, drawn)
    torch.manual_seed(5)
    noise = method.stage.infer(images)
    again = method.teacher.generate(noise).images
    assert torch.allclose(again, expected.images, atol=1e-3)
    far = method.teacher.generate(drawn).images
    assert (again - images).square().mean() < 0.2 * (far - images).square().mean(), "it is of these images"


@pytest.mark.parametrize("temperature", [0.0, 0.5])
def test_the_temperature_multiplies_the_noise(temperature: float, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[Tensor, ...]] = []
    learn = GenerativeStage.learn

    def spy(stage: GenerativeStage, seen: Seen, noise: tuple[Tensor, ...]) -> None:
        given.append(noise)
        learn(stage, seen, noise)

    monkeypatch.setattr(GenerativeStage, "learn", spy)
    for factor in (1.0, temperature):
        events(make(temperature=factor), 1)
    for full, less in zip(*given, strict=True):
        assert torch.equal(less, temperature * full)


def test_the_latent_terms_weight_changes_while_it_runs() -> None:
    method = make()
    (before,) = values(events(method, 1))
    method.reconfigure(method.config.change({"latent_weight": 0.0, "student_lr": 1e-4}))
    (after,) = values(events(method, 2))
    assert before["latent_match"] > 0 == after["latent_match"]
    assert after["learning_rate"] < 1e-4 < before["learning_rate"]


def test_a_student_comes_closer_to_its_teacher() -> None:
    method = make(distill_steps=20, student_lr=1e-2)
    found = [metrics["output_kl"] for metrics in values(events(method, 20))]
    assert sum(found[-3:]) < 0.7 * sum(found[:3])


# --- synthesis -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", SOURCES[1:])
def test_images_are_made_first_and_the_student_learns_on_them(source: str) -> None:
    method = make(source)
    found = events(method, 3)
    assert not method.student_learns and method.synthesised is not None
    assert method.synthesised.shape == (24, 1, 8, 8) and method.synthesised.dtype == torch.uint8
    made, panel = method.synthesised.clone(), SYNTHETIC
    sheets = of(Samples, found)
    assert [(stage.name, stage.steps) for stage in method.config.stages()] == [("synthesis", 3), ("student", 3)]
    assert PANELS[panel] == "synthetic" and not any("student_loss" in metrics for metrics in values(found))
    assert [set(sheet.columns["panel"].tolist()) for sheet in sheets] == [{panel}] * 3
    assert torch.equal(made[8:16].permute(0, 2, 3, 1), torch.as_tensor(sheets[1].images)), "those that it keeps"
    films = of(Phases, found)
    assert len(films) == 3, "each batch is filmed, whether somebody watches or not"
    for event in films:
        (phase,) = event.phases
        steps, shown = phase.arrays["shown"].tolist()
        assert (steps, len(phase.images)) == (2, 2 * shown) and len(phase.arrays["loss"]) == 2
    found = events(method, 6)
    assert method.student_learns and all("student_loss" in metrics for metrics in values(found))
    assert torch.equal(method.synthesised, made) and method.step == method.total_steps == 6


def test_ancestral_samples_are_not_made_beforehand() -> None:
    method = make()
    found = events(method, 3)
    assert method.total_steps == 3 and method.synthesised is None and not of(Phases, found)
    assert [stage.name for stage in method.config.stages()] == ["student"]


def test_classes_take_turns_from_batch_to_batch() -> None:
    """With batches smaller than the number of classes the last ones would never be made."""
    method = make("diffusion", synthesis_batches=3, synthesis_size=4, denoising_steps=1)
    events(method, 3)
    assert method.problem.source.asked == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 0, 1]]
    assert method.problem.source.made == [0, 4, 8]


def test_a_guidance_that_is_not_finite_stops_the_run_and_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    method = make("latents", synthesis_batches=1, latent_steps=2)
    monkeypatch.setattr(losses, "guidance", lambda images, *more: images.flatten(1).sum(dim=1) * math.inf)
    with pytest.raises(NonFiniteError, match="guidance"):
        events(method, 1)


@pytest.mark.parametrize("source", SOURCES[1:])
def test_the_guidance_lowers_the_teachers_loss(source: str) -> None:
    method = make(source, latent_steps=6, latent_lr=0.3, denoising_steps=6, synthesis_batches=1, synthesis_size=4)
    (guided,) = values(events(method, 1))
    assert guided["guidance"] < 0.8 * guided["guidance_first"]
    if source == "diffusion":
        off = make(source, denoising_steps=6, synthesis_batches=1, synthesis_size=4, strength=0.0)
        (unguided,) = values(events(off, 1))
        assert guided["guidance"] < 0.8 * unguided["guidance"]


# --- runs ------------------------------------------------------------------------------------------------------


def test_with_a_diffusion_model_it_resumes_bit_identically_in_both_stages(runs: Path) -> None:
    def new() -> RunFolder:
        return new_run(runs, {"source": "diffusion"}, method="ukd", probes_every=0)

    whole = new()
    assert execute(whole).state == "done", whole.status().message
    assert_resumes(new, (2, 4), whole)


def test_a_sheet_of_one_sample_has_one_of_each_network(runs: Path) -> None:
    folder = new_run(runs, {"source": "ancestral"}, method="ukd", samples=1, samples_every=1)
    assert execute(folder).state == "done", folder.status().message


def test_a_student_without_a_score_neither_ends_the_run_nor_is_forgotten(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """JSON has no NaN: the score is none in the checkpoint, and again NaN when the run is resumed from it."""
    monkeypatch.setattr(LatentEvaluator, "score_of", lambda self, event: math.nan)
    folder = new_run(runs, {"source": "ancestral"}, method="ukd", evaluate_every=1)
    status = execute(folder)
    assert status.state == "done", status.message
    assert status.result["final"] is None and status.result["best"] is None
    found = load_checkpoint(folder)
    assert found is not None and set(found[1]["evaluated"]) == {None}


def panels(evaluation: LatentEvaluator, method: UKD) -> dict[str, np.ndarray]:
    """What an evaluation shows, (N, H, W, C) by its panel."""
    probes = evaluation.probe(method, 4, False)
    return {name: probes.images[probes.columns["panel"] == number] for number, name in enumerate(PANELS)}


@pytest.mark.parametrize("objective", ["ukd", "elbo"])
def test_reconstructions_are_of_the_encoder_that_was_trained(runs: Path, objective: str) -> None:
    method = make(objective=objective)
    events(method, 2)
    card = find_card("digits-lvae-32")[0]
    evaluation = LatentEvaluator("digits", card, method.problem, runs)
    shown = panels(evaluation, method)
    real = method.image.normalise(torch.from_numpy(shown["real"]).permute(0, 3, 1, 2).float() / 255)
    with evaluating(method.student), torch.no_grad():
        own = method.student.infer(real).images
        lent = method.student.generate(method.teacher.infer(real).noise).images
    own, lent = (to_bytes(method.image.to_pixels(images)).numpy() for images in (own, lent))
    expected, other = (own, lent) if objective == "elbo" else (lent, own)
    assert np.array_equal(shown["student reconstruction"], expected)
    assert not np.array_equal(shown["student reconstruction"], other)


def test_what_has_diverged_has_no_figures(runs: Path) -> None:
    method = make()
    evaluation = LatentEvaluator("digits", find_card("digits-lvae-32")[0], method.problem, runs)
    whole = evaluation.measure(method, 0).levels
    with torch.no_grad():
        for parameter in method.student.down_heads.parameters():
            parameter.fill_(math.nan)
    found = evaluation.measure(method, 0)
    assert found.levels == {name: row for name, row in whole.items() if not name.startswith("student")}
    assert len(whole) == 7 and len(found.levels) == 5
    assert not {"fid", "mismatch", "mse"} & {*found.values} and found.teacher


def test_live_figures_are_of_all_classes_even_where_files_come_class_by_class(runs: Path) -> None:
    method = make()
    evaluation = LatentEvaluator("digits", find_card("digits-lvae-32")[0], method.problem, runs)
    assert evaluation.data is not None
    order = evaluation.data.labels.argsort(stable=True)
    images, labels = evaluation.data.images[order], evaluation.data.labels[order]
    evaluation.data = LabelledImages(images, labels)
    first = [int((labels == label).nonzero()[0]) for label in range(10)]
    assert np.array_equal(panels(evaluation, method)["real"], images[first].permute(0, 2, 3, 1).numpy())


def test_looking_more_or_less_often_does_not_change_the_student(runs: Path) -> None:
    recordings = ({"evaluate_every": 1, "probes_every": 1}, {"evaluate_every": 100, "probes_every": 0, "log_every": 4})
    folders = [new_run(runs, method="ukd", **recording) for recording in recordings]
    for folder in folders:
        assert execute(folder).state == "done", folder.status().message
    assert student_hash(folders[0]) == student_hash(folders[1])
    assert len(rows(folders[0], "quality")) > len(rows(folders[1], "quality"))


def test_no_image_of_the_benchmark_reaches_the_method(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []
    original = UKD.__init__
    monkeypatch.setattr(
        UKD,
        "__init__",
        lambda self, problem, config: (given.append((self, problem)), original(self, problem, config))[1],
    )
    assert execute(new_run(runs, {"source": "diffusion"}, method="ukd", probes_every=0)).state == "done"
    ((method, problem),) = given
    benchmark = find_benchmark("digits")
    real = torch.cat([benchmark.load(train=True).images, benchmark.load(train=False).images]).flatten(1)
    assert problem.original is None and not methods.find("ukd").requires.original
    assert not (method.synthesised.flatten(1)[:, None] == real).all(dim=2).any(), "nor has it made one of them"


# --- refusals --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (
            {"method": "ukd", "teacher": "digits-resnet20-plain"},
            "is a classifier network; UKD, data-free takes a gener",
        ),
        ({"method": "ta-dfkd", "teacher": "digits-lvae-32"}, "is a generative network; TA-DFKD takes a classifier one"),
        ({"method": "ukd", "student": "conv-vae-8"}, "should be lvae-H, with a width H of 1 to 512"),
        ({"method": "ukd", "student": "resnet8"}, "should be lvae-H"),
        ({"method": "ukd", "student": "lvae-0"}, "should be lvae-H"),
        ({"method": "ukd", "student": "lvae-600"}, "should be lvae-H"),
        ({"method": "ta-dfkd", "student": "lvae-8"}, "should be one of lenet5"),
        ({"method": "ukd", "benchmark": "mnist", "teacher": "digits-lvae-32"}, "takes other images than MNIST"),
        ({"method": "ukd", "benchmark": "cifar10"}, "there is no generative one for cifar10; train one from a card"),
    ],
)
def test_networks_that_do_not_fit_are_refused_in_a_sentence(asked: dict[str, str], why: str) -> None:
    with pytest.raises(RequestError, match=why):
        make_spec(**asked)


def diffusion_card(folder: Path, **changes: Any) -> str:
    """The path of a card, of a diffusion model that is as the shipped one but for ``changes``."""
    stored = json.loads(find_card(DIFFUSION)[0].model_dump_json())
    stored["image"] |= changes.pop("image", {})
    path = folder / "other.json"
    path.write_text(json.dumps({**stored, **changes}))
    return str(path)


def test_a_diffusion_model_that_saw_the_teachers_data_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RequestError, match="was trained on digits, which has the teacher's own data"):
        make_spec({"source": "diffusion"}, method="ukd", diffusion=diffusion_card(tmp_path, benchmark="digits"))
    own = tmp_path / "teachers"
    own.mkdir(exist_ok=True)
    monkeypatch.setenv("DFKD_TEACHERS", str(own))
    diffusion_card(own, benchmark="digits", name="other")
    teacher = find_card("digits-lvae-32")[0]
    assert find_diffusion("", teacher) == DIFFUSION, "and never taken by itself"
    assert make_spec({"source": "diffusion"}, method="ukd").diffusion == DIFFUSION
    natural = teacher.model_copy(update={"benchmark": "tiny-imagenet"})
    with pytest.raises(RequestError, match="trained on pool"):  # which is part of TinyImageNet
        find_diffusion(diffusion_card(tmp_path, benchmark="pool"), natural)


@pytest.mark.parametrize(
    ("diffusion", "teacher"),
    [
        ("cinic10", "cifar10"),  # CINIC-10 has every image of CIFAR-10
        ("cifar10", "cinic10"),
        ("tiny-imagenet", "tiny-imagenet-10"),
        ("folder:images", "folder:images/"),
        ("folder:images", "folder:images/cats"),
    ],
)
def test_data_that_have_images_in_common_are_the_teachers_own(tmp_path: Path, diffusion: str, teacher: str) -> None:
    card = find_card("digits-lvae-32")[0].model_copy(update={"benchmark": teacher})
    with pytest.raises(RequestError, match="which has the teacher's own data"):
        find_diffusion(diffusion_card(tmp_path, benchmark=diffusion), card)
    other = card.model_copy(update={"benchmark": "mnist"})
    assert find_diffusion(diffusion_card(tmp_path, benchmark=diffusion), other)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"image": {"size": 28}}, "makes other images than digits-lvae-32 takes"),
        ({"image": {"mean": [0.3], "std": [0.5]}}, "should make images from −1 to 1"),
        ({"image": {"mean": [0.5], "std": [0.2]}}, "should make images from −1 to 1"),
        ({"task": "generative", "network": "lvae-4"}, "is a generative network; take a diffusion model"),
    ],
)
def test_a_diffusion_model_that_does_not_fit_is_refused(tmp_path: Path, changes: dict[str, Any], why: str) -> None:
    if "task" in changes:
        changes = {**changes, "recipe": None}
    with pytest.raises(RequestError, match=why):
        make_spec({"source": "diffusion"}, method="ukd", diffusion=diffusion_card(tmp_path, **changes))


def test_a_diffusion_model_in_another_range_is_not_taken_by_itself() -> None:
    user_folder().mkdir()
    teacher = find_card("digits-lvae-32")[0]
    teacher = teacher.model_copy(update={"image": teacher.image.model_copy(update={"size": 12})})
    for mean, fits in ((0.5, True), (0.3, False)):
        diffusion_card(user_folder(), name="other", image={"size": 12, "mean": [mean]})
        if fits:
            assert find_diffusion("", teacher) == "other"
        else:
            with pytest.raises(RequestError, match="there is none for digits"):
                find_diffusion("", teacher)


def test_only_the_diffusion_source_asks_for_a_diffusion_model() -> None:
    for source in ("ancestral", "latents"):
        assert make_spec({"source": source}, method="ukd", diffusion="no-such").diffusion == ""
    assert make_spec({}, method="with-data").diffusion == ""
    with pytest.raises(RequestError, match="no-such"):
        make_spec({"source": "diffusion"}, method="ukd", diffusion="no-such")


def test_the_diffusion_source_without_a_model_is_refused() -> None:
    problem = generative_problem()
    with pytest.raises(RequestError, match="there is no diffusion model; take another source"):
        UKD(problem, UKDConfig.build("demo", {"source": "diffusion"}))
