"""HiDFD: every term reaches what it shall train, the gate and the inflation keep their rates, both stages resume."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import execute, new_run, rows
from stepping import (
    by_hand,
    collecting_problem,
    digits,
    events,
    of,
    overhear,
    own_generator,  # noqa: F401 - in every test here
    same,
    shares,
    values,
    weights,
)
from torch import Tensor, nn
from torch.nn import functional

from dfkd_core.errors import RequestError
from dfkd_core.events import ClassShares, Samples, StageEntered
from dfkd_core.images import ImageSpec
from dfkd_core.kit.contract import Problem
from dfkd_core.kit.recording import Recording
from dfkd_core.losses import gan as gan_losses
from dfkd_core.methods import hidfd
from dfkd_core.methods.hidfd import HiDFD, HiDFDConfig
from dfkd_core.networks.classifiers import build_classifier, evaluating
from dfkd_core.networks.gan import ClassGenerator, Discriminator, follow, halvings
from dfkd_core.store import RunFolder, read_samples

SMALL = {
    "gan_steps": 3, "gan_batch_size": 16, "width": 2, "latent": 8, "synthetic": 40, "distill_steps": 3,
    "updates": 2, "batch_size": 16,
}  # fmt: skip
GUIDANCE = ("blend", "transfer", "smoothing")
OFF = dict.fromkeys(GUIDANCE, False)


LOUD = Recording(samples_every=1, samples=8, health_every=1, phases_every=0)


def make(recording: Recording = LOUD, unseen: Tensor | None = None, collected: int = 20, **changes: Any) -> HiDFD:
    problem = collecting_problem(digits(collected), unseen, recording=recording)
    return HiDFD(problem, HiDFDConfig.build("demo", {**SMALL, **changes}))


@pytest.mark.parametrize(
    ("teacher", "width"),
    [
        ("lenet5-bn", 84), ("vgg11-bn", 512), ("shufflenetv2", 1024), ("mobilenetv2", 1280),
        *(pytest.param(*one, marks=pytest.mark.slow) for one in (
            ("resnet8", 64), ("resnet18", 512), ("resnet8x4", 256), ("wrn-16-1", 64), ("shufflenetv1", 960)
        )),
    ],
)  # fmt: skip
def test_the_discriminator_comes_near_the_features_of_every_network(teacher: str, width: int) -> None:
    image = ImageSpec(1, 32, (0.5,), (0.5,), tuple("0123456789"))
    torch.manual_seed(0)
    networks = build_classifier(teacher, image).eval(), build_classifier("lenet5-bn", image)
    collected = torch.randint(256, (8, 1, 32, 32), dtype=torch.uint8)
    problem = Problem(*networks, image, torch.device("cpu"), collected, None, recording=LOUD)
    knobs = {**SMALL, "updates": 1, "gan_batch_size": 4, "blend_gate": 1.0, "objective": "kd"}
    method = HiDFD(problem, HiDFDConfig.build("demo", knobs))
    (metrics,) = values(events(method, 1))
    assert method.discriminator.join.out_features == width
    assert metrics["blend"] > 0 and metrics["transfer"] > 0
    assert shares(metrics)["transfer"] > 0 and method.discriminator.join.weight.grad is not None


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
    found = shares(values(events(make(blend_gate=1.0, updates=1), 1))[0])
    discriminator = {"adversarial_d", "class_real", "class_fake", "blend", "transfer"}
    generator = {"adversarial_g", "class_g", "frequency", "told"}
    assert set(found) == discriminator | generator and min(found.values()) > 0.005, found
    for names in (discriminator, generator):
        assert sum(found[name] for name in names) == pytest.approx(1)


@pytest.mark.parametrize("adversarial", ["hinge", "log"])
def test_the_adversarial_terms_are_those_of_the_discriminators_answers(adversarial: str) -> None:
    method, told = make(adversarial=adversarial, updates=1), []
    method.discriminator.network.register_forward_hook(lambda _, __, output: told.append(output[1]))
    (metrics,) = values(events(method, 1))
    both, fake = told
    discriminator, generator = gan_losses.DISCRIMINATOR[adversarial], gan_losses.GENERATOR[adversarial]
    assert metrics["adversarial_d"] == pytest.approx(discriminator(*both.chunk(2)).item())
    assert metrics["adversarial_g"] == pytest.approx(generator(fake).item())


def movement(term: str) -> float:
    """How far L_D moves the discriminator's first layer in one step with ``term`` on, and no other guidance."""
    moved = []
    for switches in (OFF, {**OFF, term: True}):
        method = make(**switches, blend_gate=1.0, guidance_weight=1.0, updates=1)
        events(method, 1)
        moved.append(torch.cat([p.flatten() for p in method.discriminator.network.blocks[0].parameters()]))
    return (moved[0] - moved[1]).abs().max().item()


@pytest.mark.parametrize("term", ["blend", "transfer"])
def test_guidance_moves_the_discriminators_features(term: str) -> None:
    assert movement(term) > 1e-5


def test_the_teacher_stays_as_it_is_and_gets_no_gradient() -> None:
    method = make()
    before = weights(method.teacher)
    events(method, method.total_steps)
    assert same(before, weights(method.teacher))
    assert all(parameter.grad is None for parameter in method.teacher.parameters()) and not method.teacher.training


def test_the_frequencies_are_those_of_the_generators_batches() -> None:
    """The released code never updates them."""
    method = make(frequency_rate=0.25, gan_steps=4, updates=1)
    counts = torch.full((10,), 1.6)
    for step in range(1, 5):
        (event,) = of(ClassShares, events(method, step))
        counts = 0.75 * counts + 0.25 * 16 * torch.tensor(event.shares["made"])
        assert event.shares["smoothed"] == pytest.approx(gan_losses.class_frequencies(counts).tolist(), abs=1e-6)
    assert torch.allclose(method.counts, counts) and counts.std() > 0.01


def test_the_newest_batch_weighs_by_the_frequencies_before_it() -> None:
    method = make(frequency_weight=0.1, updates=1)
    method.counts = torch.arange(1.0, 11.0)
    frequencies = gan_losses.class_frequencies(method.counts)
    heard = overhear(method.teacher)
    (metrics,) = values(events(method, 1))
    expected = 0.1 * gan_losses.frequency_regulariser(heard[-1][1].logits, frequencies)
    assert metrics["frequency"] == pytest.approx(expected.item(), rel=1e-5)


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
    steps = 100 if 0 < q < 1 else 10
    quiet = Recording(samples_every=0, health_every=0, phases_every=0)
    method = make(quiet, gate=gate, blend_gate=q, transfer=False, gan_steps=steps, gan_batch_size=4)
    opened = sum("blend" in by_hand(method, method.discriminator_step) for _ in range(steps)) / steps
    assert low <= opened <= high


@pytest.mark.parametrize("switch", GUIDANCE)
def test_each_guidance_can_be_switched_off_even_while_it_runs(switch: str) -> None:
    term = {"smoothing": "frequency"}.get(switch, switch)
    method = make(blend_gate=1.0)
    (before,) = values(events(method, 1))
    method.reconfigure(method.config.change({switch: False}))
    (after,) = values(events(method, 2))
    assert term in before and term not in after


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
    method = make(conditioning=conditioning, updates=1)
    found = values(events(method, method.total_steps))
    assert {name for name in found[0] if name.startswith("class")} == terms and len(found) == 6
    assert terms <= shares(found[0]).keys() and min(shares(found[0]).values()) > 0


def test_a_gan_that_knows_no_classes_is_told_none() -> None:
    method = make(conditioning="none", updates=1)
    told: list[Tensor] = []
    for generator in (method.gan.generator, method.average):
        generator.register_forward_hook(lambda _, given, __: told.append(given[1]))
    found = events(method, 1)
    method.synthesize(8, torch.Generator())
    assert len(told) == 3 and not torch.cat(told).any()
    (metrics,), (sheet,) = values(found), of(Samples, found)
    assert not {"told", "share/told", "told_class"} & metrics.keys() and "wanted" not in sheet.columns
    idle = "told_weight does nothing: this GAN knows no classes."
    assert method.config.remarks() == [idle] and make().config.remarks() == []


def test_every_image_that_the_teacher_judges_is_a_query() -> None:
    method = make(blend_gate=0.0, transfer=False)  # 20 pseudo-labels, then the generator's batches
    found = values(events(method, method.total_steps))
    assert [metrics["queries"] for metrics in found] == [52, 84, 116, 148, 180, 212]
    (metrics,) = values(events(make(blend_gate=1.0), 1))
    assert metrics["queries"] == 20 + 2 * (2 * 16 + 16)


def test_the_told_term_is_the_teachers_cross_entropy_with_the_class_that_was_told() -> None:
    method = make(collected=3, updates=1, told_weight=0.7, generator_lr=1e-60)
    told, made = [], []
    method.gan.generator.register_forward_hook(lambda _, given, __: told.append(given[1]))
    method.gan.generator.register_forward_hook(lambda _, __, output: made.append(output))
    (metrics,) = values(events(method, 1))
    logits = method.teacher(method.image.normalise(made[-1].detach()))
    seen, present = logits.argmax(dim=1) == told[-1], torch.isin(told[-1], method.labels)
    expected = functional.cross_entropy(logits[present], told[-1][present]).item()
    assert metrics["told"] == pytest.approx(0.7 * expected, rel=1e-4)
    assert metrics["told_class"] == pytest.approx(seen[present].float().mean().item())


def test_fake_labels_are_those_of_the_collected_images_or_any() -> None:
    for kind, among in (("collected", True), ("uniform", False)):
        method, told = make(collected=3, updates=1, fake_labels=kind), []
        method.gan.generator.register_forward_hook(lambda _, given, output, told=told: told.append(given[1]))
        events(method, 1)
        assert torch.isin(told[0], method.labels).all().item() is among, "the discriminator's step comes first"


def test_the_projection_discriminator_looks_at_the_class() -> None:
    discriminator, images = make(conditioning="projection").discriminator, torch.randn(2, 1, 8, 8)
    with evaluating(discriminator):
        plain = discriminator.network(images)
        told = discriminator(images, torch.tensor([3, 4]))
        expected = plain.real + (plain.features * discriminator.embed.weight[[3, 4]]).sum(dim=1)
    assert torch.allclose(told.real, expected)


def test_what_the_projection_adds_is_bounded_by_the_features() -> None:
    """Spectral norm, as in BigGAN; and a raw weight that is no larger than that of the other heads, or Adam's steps of
    one size would hardly turn it."""
    method = make(conditioning="projection", discriminator_lr=0.1)
    events(method, 3)
    rows = method.discriminator.embed.weight
    assert torch.linalg.matrix_norm(rows, 2).item() == pytest.approx(1, rel=0.05)
    begun = make(conditioning="projection").discriminator
    raw, other = (one.parametrizations.weight.original.abs().max() for one in (begun.embed, begun.network.real))
    assert raw.item() == pytest.approx(other.item(), rel=0.5)


# --- the hybrid set --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("inflation", "expected"), [(0, 2), (1, 1), (7, 7)])
def test_inflation_sets_the_share_of_collected_images(inflation: int, expected: int) -> None:
    """α = N·|D_c| / (N·|D_c| + |D_s|); N = ⌊|D_s| / |D_c|⌋ where it is left to the method."""
    method = make(collected=20, synthetic=50, inflation=inflation, batch_size=2000)
    assert method.inflation == expected
    pixels = method.draw()
    alpha = expected * 20 / (expected * 20 + 50)
    assert method.are_collected.float().mean().item() == pytest.approx(alpha, abs=0.04)
    known = {image.numpy().tobytes() for image in digits(20)}
    drawn = [(image * 255).round().to(torch.uint8).numpy().tobytes() for image in pixels]
    collected = [image in known for image in drawn]
    assert collected == method.are_collected.tolist(), "a collected image is one of D_c, a synthetic one is none"
    assert known <= set(drawn), "and all of them come"


def test_more_collected_than_synthetic_images_are_used_once() -> None:
    assert make(collected=60, synthetic=20).inflation == 1


def test_every_class_is_synthesised_equally_often_and_the_same_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hidfd, "PART", 16)  # no multiple of the classes
    method = make()
    told: list[Tensor] = []
    method.average.register_forward_hook(lambda _, given, __: told.append(given[1]))
    first = method.synthetic()
    assert torch.cat(told).bincount().tolist() == [4] * 10 and len(first) == 40
    torch.manual_seed(99)
    assert torch.equal(method.synthetic(), first)


# --- the run ---------------------------------------------------------------------------------------------------


def test_the_stages_come_in_order_and_say_what_they_are() -> None:
    method = make(unseen=digits(40)[20:])
    found = events(method, method.total_steps)
    assert [(stage.name, stage.steps) for stage in method.config.stages()] == [("gan", 3), ("student", 3)]
    gan, student = values(found)[:3], values(found)[3:]
    assert gan[0].keys() >= {
        "discriminator_loss", "generator_loss", "confidence_real", "confidence_fake", "confidence_unseen",
    }  # fmt: skip
    assert {"student_loss", "learning_rate", "queries"} <= set(student[0]) and "student_loss" not in gan[-1]
    assert all(sum(event.shares["made"]) == pytest.approx(1) for event in of(ClassShares, found))
    assert len(of(ClassShares, found)) == 3 and set(of(ClassShares, found)[0].shares) == {"made", "smoothed"}
    sheets = of(Samples, found)
    assert all("wanted" in sheet.columns for sheet in sheets[:3])
    assert all(sheet.columns["collected"].shape == (8,) for sheet in sheets[3:])


def test_the_student_stands_still_while_the_gan_learns() -> None:
    method = make()
    student = weights(method.student)
    events(method, 3)
    assert not method.student_learns and same(student, weights(method.student))
    average = weights(method.average)
    events(method, 6)
    assert method.student_learns and not same(student, weights(method.student))
    assert same(average, weights(method.average))


def test_unseen_images_teach_nothing() -> None:
    results = []
    for unseen in (None, digits(60)[30:]):
        method = make(unseen=unseen)
        events(method, method.total_steps)
        results.append({**weights(method.student), **weights(method.discriminator)})
    assert same(*results)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = hybrid_run(tmp_path_factory.mktemp("whole"))
    assert execute(folder).state == "done"
    return folder


def hybrid_run(runs: Path, **knobs: Any) -> RunFolder:
    return new_run(runs, {**SMALL, **knobs}, method="hidfd", collected="digits", ratio=0.02)


def test_the_log_holds_both_stages_and_no_evaluation_of_a_student_that_waits(whole: RunFolder) -> None:
    entered = rows(whole, StageEntered.__name__.lower())
    assert [(row["step"], row["name"]) for row in entered] == [(1, "gan"), (4, "student")]
    assert [row["step"] for row in rows(whole, "evaluated")] == [0, 4, 6]
    assert [row["step"] for row in rows(whole, "classshares")] == [1, 3]
    images, columns = read_samples(whole, rows(whole, "samples")[-1]["file"])
    assert images.shape[1:3] == (8, 8) and columns["collected"].dtype == bool
