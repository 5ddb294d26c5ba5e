"""HiDFD: every term reaches what it shall train, the gate and the inflation keep their rates, both stages resume."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import execute, new_run, rows
from stepping import (
    assert_resumes,
    collecting_problem,
    digits,
    events,
    of,
    own_generator,  # noqa: F401 - in every test here
)
from torch import Tensor, nn

from dfkd_core.errors import RequestError
from dfkd_core.events import ClassShares, Samples, Stage, Step
from dfkd_core.kit.contract import Recording
from dfkd_core.losses import gan as gan_losses
from dfkd_core.methods import hidfd
from dfkd_core.methods.hidfd import HiDFD, HiDFDConfig
from dfkd_core.networks.gan import ClassGenerator, Discriminator, follow, halvings
from dfkd_core.store import RunFolder, read_samples

SMALL = {
    "gan_steps": 3, "gan_batch_size": 16, "width": 2, "latent": 8, "synthetic": 40, "distill_steps": 3,
    "updates": 2, "batch_size": 16,
}  # fmt: skip
GUIDANCE = ("blend", "transfer", "smoothing")
OFF = dict.fromkeys(GUIDANCE, False)


def make(unseen: Tensor | None = None, collected: int = 20, **changes: Any) -> HiDFD:
    recording = Recording(samples_every=1, samples=8, health_every=1, phases_every=0)
    problem = collecting_problem(digits(collected), unseen, recording=recording)
    return HiDFD(problem, HiDFDConfig.build("demo", {**SMALL, **changes}))


# --- the networks ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "count"), [(8, 1), (28, 2), (32, 3), (64, 4), (224, 5)])
def test_the_gan_makes_and_judges_every_usual_size(size: int, count: int) -> None:
    assert halvings(size) == count
    generator, judge = ClassGenerator(8, 3, 1, size, width=2), Discriminator(1, size, width=2, outputs=6)
    pixels = generator(torch.randn(2, 8), torch.tensor([0, 2]))
    assert pixels.shape == (2, 1, size, size) and pixels.min() >= 0 and pixels.max() <= 1
    features, real, classes = judge(pixels)
    assert (features.shape, real.shape, classes.shape) == ((2, 8), (2,), (2, 6))


@pytest.mark.parametrize("size", [4, 9, 22])
def test_other_sizes_are_refused_with_the_size(size: int) -> None:
    with pytest.raises(RequestError, match=f"size = {size}"):
        halvings(size)


def test_the_class_decides_what_is_made_once_it_has_a_gain_of_its_own() -> None:
    generator = ClassGenerator(8, 2, 1, 8, width=2).eval()
    latents = torch.randn(4, 8)
    first, second = (generator(latents, torch.full((4,), label)) for label in (0, 1))
    assert torch.equal(first, second), "gains begin alike"
    nn.init.normal_(generator.blocks[0].norm1.gain.weight)
    first, second = (generator(latents, torch.full((4,), label)) for label in (0, 1))
    assert not torch.allclose(first, second)


def test_the_average_follows_by_hand() -> None:
    average, network = nn.BatchNorm1d(1), nn.BatchNorm1d(1)
    nn.init.constant_(average.weight, 2.0)
    nn.init.constant_(network.weight, 4.0)
    network.running_mean.fill_(3.0)
    follow(average, network, 0.75)
    assert average.weight.item() == pytest.approx(0.75 * 2 + 0.25 * 4) and average.running_mean.item() == 3.0


# --- every term pulls ------------------------------------------------------------------------------------------


def test_every_term_reaches_the_network_that_it_shall_train() -> None:
    """The released code computes L_blend and L_trans without gradients: here their shares would be 0."""
    gan = make(blend_gate=1.0).gan
    judged, made = gan.update(measured=True)
    assert set(judged.norms) == {"adversarial_d", "class_real", "class_fake", "blend", "transfer"}
    assert set(made.norms) == {"adversarial_g", "class_g", "frequency"}
    for norms in (judged.norms, made.norms):
        assert min(norms.values()) > 0.005 * sum(norms.values()), norms


def movement(term: str) -> float:
    """How far L_D moves the discriminator's first layer in one step with ``term`` on, and no other guidance."""
    moved = []
    for switches in (OFF, {**OFF, term: True}):
        gan = make(**switches, blend_gate=1.0, guidance_weight=1.0).gan
        torch.manual_seed(5)
        gan.update(measured=False)
        moved.append(torch.cat([p.flatten() for p in gan.judge["discriminator"].blocks[0].parameters()]))
    return (moved[0] - moved[1]).abs().max().item()


@pytest.mark.parametrize("term", ["blend", "transfer"])
def test_guidance_moves_the_discriminators_features(term: str) -> None:
    assert movement(term) > 1e-5


def test_the_teacher_stays_as_it_is_and_gets_no_gradient() -> None:
    method = make()
    before = {name: tensor.clone() for name, tensor in method.teacher.state_dict().items()}
    events(method, method.total_steps)
    assert all(torch.equal(tensor, before[name]) for name, tensor in method.teacher.state_dict().items())
    assert all(parameter.grad is None for parameter in method.teacher.parameters()) and not method.teacher.training


def test_the_frequencies_are_those_of_the_generators_batches() -> None:
    """The released code never updates them."""
    gan = make(frequency_rate=0.25).gan
    counts = torch.full((10,), 1.6)
    for _ in range(4):
        _, made = gan.update(measured=False)
        counts = 0.75 * counts + 0.25 * made.shares * 16
        assert torch.allclose(gan.counts, counts)
    assert counts.std() > 0.01


def test_the_newest_batch_weighs_by_the_frequencies_before_it() -> None:
    gan = make(frequency_weight=0.1).gan
    gan.counts = torch.arange(1.0, 11.0)
    frequencies = gan_losses.class_frequencies(gan.counts)
    _, made = gan.update(measured=False)
    expected = 0.1 * gan_losses.frequency_regulariser(made.seen.logits, frequencies)
    assert made.terms["frequency"].item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize(
    ("gate", "q", "low", "high"),
    [
        ("probability-q", 0.7, 0.6, 0.8),
        ("above-q", 0.7, 0.2, 0.4),
        ("probability-q", 0.0, 0.0, 0.0),
        ("probability-q", 1.0, 1.0, 1.0),
    ],
)
def test_the_gate_opens_as_often_as_it_says(gate: str, q: float, low: float, high: float) -> None:
    gan = make(gate=gate, blend_gate=q).gan
    images, features = torch.randn(4, 1, 8, 8), torch.randn(4, gan.judge["join"].in_features)
    opened = sum("blend" in gan._guidance(images, features) for _ in range(300)) / 300
    assert low <= opened <= high


@pytest.mark.parametrize("switch", GUIDANCE)
def test_each_guidance_can_be_switched_off_even_while_it_runs(switch: str) -> None:
    term = {"smoothing": "frequency"}.get(switch, switch)
    method = make(blend_gate=1.0)
    judged, made = method.gan.update(measured=False)
    assert term in judged.terms | made.terms
    method.reconfigure(method.config.change({switch: False}))
    judged, made = method.gan.update(measured=False)
    assert term not in judged.terms | made.terms


@pytest.mark.parametrize(
    ("conditioning", "terms"),
    [
        ("adc", {"class_real", "class_fake", "class_g"}),
        ("ac", {"class_real", "class_g"}),
        ("projection", set()),
        ("none", set()),
    ],
)
def test_the_other_gans_have_their_own_class_terms(conditioning: str, terms: set[str]) -> None:
    method = make(conditioning=conditioning)
    judged, made = method.gan.update(measured=True)
    assert {name for name in judged.terms | made.terms if name.startswith("class")} == terms
    assert all(norm > 0 for norm in (judged.norms | made.norms).values())
    assert len(events(method, method.total_steps)) > 6


def test_a_gan_that_knows_no_classes_is_told_none() -> None:
    method = make(conditioning="none")
    told: list[Tensor] = []
    for generator in (method.gan.generator, method.gan.average):
        generator.register_forward_hook(lambda _, given, __: told.append(given[1]))
    method.gan.update(measured=False)
    method.synthesize(8, torch.Generator())
    assert len(told) == 3 and not torch.cat(told).any()


def test_every_image_that_the_teacher_judges_is_a_query() -> None:
    method = make(blend_gate=0.0, transfer=False)  # 20 pseudo-labels, then the generator's batches
    found = of(Step, events(method, method.total_steps))
    assert [step.values["queries"] for step in found] == [52, 84, 116, 148, 180, 212]
    method = make()
    assert of(Step, events(method, 1))[0].values["queries"] == 20 + 2 * (2 * 16 + 16)


def test_the_projection_discriminator_looks_at_the_class() -> None:
    gan = make(conditioning="projection").gan
    features = torch.randn(2, gan.judge["join"].in_features)
    by_hand = (features * gan.judge["embed"].weight[[3, 4]]).sum(dim=1)
    assert torch.allclose(gan._projection(features, torch.tensor([3, 4])), by_hand)


# --- the hybrid set --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("inflation", "expected"), [(0, 2), (1, 1), (7, 7)])
def test_inflation_sets_the_share_of_collected_images(inflation: int, expected: int) -> None:
    """α = N·|D_c| / (N·|D_c| + |D_s|); N = ⌊|D_s| / |D_c|⌋ where it is left to the method."""
    method = make(collected=20, synthetic=50, inflation=inflation, batch_size=2000)
    assert method.inflation == expected
    pixels = method._draw()
    alpha = expected * 20 / (expected * 20 + 50)
    assert method.are_collected.float().mean().item() == pytest.approx(alpha, abs=0.04)
    known = {image.numpy().tobytes() for image in digits(20)}
    drawn = [(image * 255).round().to(torch.uint8).numpy().tobytes() in known for image in pixels]
    assert drawn == method.are_collected.tolist(), "a collected image is one of D_c, a synthetic one is none"


def test_more_collected_than_synthetic_images_are_used_once() -> None:
    assert make(collected=60, synthetic=20).inflation == 1


def test_every_class_is_synthesised_equally_often_and_the_same_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hidfd, "PART", 16)  # no multiple of the classes
    method = make()
    told: list[Tensor] = []
    method.gan.average.register_forward_hook(lambda _, given, __: told.append(given[1]))
    first = method._hybrid()
    assert torch.cat(told).bincount().tolist() == [4] * 10 and len(first) == 20 + 40
    method.hybrid = None
    torch.manual_seed(99)
    assert torch.equal(method._hybrid(), first)


# --- the run ---------------------------------------------------------------------------------------------------


def test_the_stages_come_in_order_and_say_what_they_are() -> None:
    method = make(unseen=digits(40)[20:])
    found = events(method, method.total_steps)
    assert [(stage.step, stage.name) for stage in of(Stage, found)] == [(1, "gan"), (4, "student")]
    gan, student = of(Step, found)[:3], of(Step, found)[3:]
    assert {"discriminator_loss", "generator_loss", "confidence_real", "confidence_fake", "confidence_unseen"} <= set(
        gan[0].values
    )
    assert {"student_loss", "learning_rate", "queries"} <= set(student[0].values)
    assert all(abs(sum(shares.shares["made"]) - 1) < 1e-5 for shares in of(ClassShares, found))
    assert len(of(ClassShares, found)) == 3 and set(of(ClassShares, found)[0].shares) == {"made", "smoothed"}
    sheets = of(Samples, found)
    assert all("wanted" in sheet.columns for sheet in sheets[:3])
    assert all(sheet.columns["collected"].shape == (8,) for sheet in sheets[3:])


def test_the_student_stands_still_while_the_gan_learns() -> None:
    method = make()
    before = {name: tensor.clone() for name, tensor in method.student.state_dict().items()}
    events(method, 3)
    assert not method.student_learns
    assert all(torch.equal(tensor, before[name]) for name, tensor in method.student.state_dict().items())
    generator = {name: tensor.clone() for name, tensor in method.gan.state_dict()["average"].items()}
    events(method, 6)
    assert method.student_learns
    assert any(not torch.equal(tensor, before[name]) for name, tensor in method.student.state_dict().items())
    assert all(torch.equal(tensor, generator[name]) for name, tensor in method.gan.average.state_dict().items())


def test_unseen_images_teach_nothing() -> None:
    results = []
    for unseen in (None, digits(60)[30:]):
        method = make(unseen=unseen)
        events(method, method.total_steps)
        results.append({**method.student.state_dict(), **method.gan.judge.state_dict()})
    assert all(torch.equal(tensor, results[1][name]) for name, tensor in results[0].items())


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = hybrid_run(tmp_path_factory.mktemp("whole"))
    assert execute(folder).state == "done"
    return folder


def hybrid_run(runs: Path, **knobs: Any) -> RunFolder:
    return new_run(runs, {**SMALL, **knobs}, method="hidfd", collected="digits", ratio=0.02)


@pytest.mark.parametrize("stops", [(2,), (3,), (5,), (1, 4)], ids=str)
def test_a_run_stopped_in_either_stage_resumes_bit_identically(
    runs: Path, whole: RunFolder, stops: tuple[int, ...]
) -> None:
    assert_resumes(lambda: hybrid_run(runs), stops, whole)


def test_the_log_holds_both_stages_and_no_evaluation_of_a_student_that_waits(whole: RunFolder) -> None:
    assert [(row["step"], row["name"]) for row in rows(whole, "stage")] == [(1, "gan"), (4, "student")]
    assert [row["step"] for row in rows(whole, "evaluated")] == [0, 4, 6]
    assert [row["step"] for row in rows(whole, "classshares")] == [1, 3]
    images, columns = read_samples(whole, rows(whole, "samples")[-1]["file"])
    assert images.shape[1:3] == (8, 8) and columns["collected"].dtype == bool
