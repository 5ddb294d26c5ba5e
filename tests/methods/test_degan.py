"""DeGAN: its terms against their formulas, what each trains, and a run that resumes in both stages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import execute, new_run, rows
from stepping import (
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
from torch import Tensor

from dfkd_core.errors import RequestError
from dfkd_core.events import ClassShares, Samples
from dfkd_core.kit.recording import Recording
from dfkd_core.losses import gan as gan_losses
from dfkd_core.losses import generator as losses
from dfkd_core.methods.degan import DeGAN, DeGANConfig
from dfkd_core.store import RunFolder

SMALL = {"gan_steps": 3, "gan_batch_size": 16, "width": 2, "latent": 8, "distill_steps": 3, "updates": 2}
STILL = 1e-60  # a learning rate that leaves every weight as it is


LOUD = Recording(samples_every=1, samples=8, health_every=1, phases_every=0)
QUIET = Recording(samples_every=0, health_every=15, phases_every=0)


def make(
    collected: Tensor | None = None, unseen: Tensor | None = None, recording: Recording = LOUD, **changes: Any
) -> DeGAN:
    problem = collecting_problem(collected, unseen, recording=recording)
    return DeGAN(problem, DeGANConfig.build("demo", {**SMALL, "batch_size": 16, **changes}))


# --- the terms -------------------------------------------------------------------------------------------------


def test_every_term_reaches_the_generator_weighted_and_not_negligibly() -> None:
    knobs = {"entropy_weight": 0.5, "diversity_weight": 5.0, "width": 8, "gan_steps": 15, "updates": 1}
    method = make(recording=QUIET, **knobs)
    heard, told = overhear(method.teacher), []
    method.gan.discriminator.register_forward_hook(lambda _, __, output: told.append(output.real))
    metrics = values(events(method, 15))[-1]  # a fresh discriminator has nothing to say yet
    found = shares(metrics)
    assert set(found) == {"adversarial_g", "entropy", "class_balance"} and min(found.values()) > 0.005, found
    assert metrics["adversarial_g"] == pytest.approx(gan_losses.non_saturating(told[-1]).item())
    logits = heard[-1][1].logits
    assert metrics["class_balance"] == pytest.approx(5.0 * losses.class_balance(logits).item())
    assert metrics["entropy"] == pytest.approx(0.5 * losses.prediction_entropy(logits).item())


@pytest.mark.parametrize(("knob", "term"), [("entropy_weight", "entropy"), ("diversity_weight", "class_balance")])
def test_a_weight_of_zero_switches_a_term_off_even_while_it_runs(knob: str, term: str) -> None:
    method = make(entropy_weight=0.5)
    (before,) = values(events(method, 1))
    method.reconfigure(method.config.change({knob: 0.0}))
    (after,) = values(events(method, 2))
    assert term in before and term not in after


def test_the_discriminator_learns_to_tell_and_the_generator_does_not_learn_with_it() -> None:
    method = make(recording=QUIET, gan_steps=20, generator_lr=STILL)
    before = [parameter.clone() for parameter in method.gan.generator.parameters()]
    found = values(events(method, 20))
    first, last = found[0], found[-1]
    assert last["adversarial_d"] < 0.5 * first["adversarial_d"] and last["discriminator_loss"] == last["adversarial_d"]
    assert last["confidence_real"] > 0.5 > last["confidence_fake"]
    assert all(map(torch.equal, before, method.gan.generator.parameters()))
    for optimizer in (method.gan.generator_optimizer, method.gan.discriminator_optimizer):
        assert {int(state["step"]) for state in optimizer.state.values()} == {20 * 2}, "each steps once an update"


def test_the_generators_step_leaves_the_discriminators_weights_alone() -> None:
    method = make(discriminator_lr=STILL)
    discriminator, generator = (
        [parameter.clone() for parameter in network.parameters()]
        for network in (method.gan.discriminator, method.gan.generator)
    )
    events(method, 1)
    assert all(map(torch.equal, discriminator, method.gan.discriminator.parameters()))
    assert not any(map(torch.equal, generator, method.gan.generator.parameters()))


# --- the two stages --------------------------------------------------------------------------------------------


def test_the_stages_come_in_order_and_say_what_they_are() -> None:
    method = make(unseen=digits(40)[20:])
    found = events(method, method.total_steps)
    assert [(stage.name, stage.steps) for stage in method.config.stages()] == [("gan", 3), ("student", 3)]
    gan, student = values(found)[:3], values(found)[3:]
    assert {"adversarial_d", "confidence_real", "confidence_fake", "confidence_unseen", "coverage"} <= set(gan[0])
    assert {"student_loss", "learning_rate", "coverage"} <= set(student[0]) and "student_loss" not in gan[-1]
    assert gan[0]["generator_loss"] == pytest.approx(gan[0]["adversarial_g"] + gan[0]["class_balance"])
    assert len(of(Samples, found)) == 6 and len(of(ClassShares, found)) == 3
    assert all(sum(event.shares["made"]) == pytest.approx(1) for event in of(ClassShares, found))


def test_the_student_stands_still_while_the_gan_learns_and_the_generator_while_the_student_does() -> None:
    method = make()
    student = weights(method.student)
    events(method, 3)
    assert not method.student_learns and same(student, weights(method.student))
    generator = weights(method.gan.generator)
    events(method, 6)
    assert method.student_learns and not same(student, weights(method.student))
    assert same(generator, weights(method.gan.generator)), "its BatchNorm statistics included"


def test_every_weight_of_the_student_learns_from_fresh_images_by_the_tempered_divergence() -> None:
    method = make(temperature=20.0)
    drawn = [method.fresh() for _ in range(2)]
    assert not torch.equal(*drawn)
    images = method.image.normalise(drawn[0])
    with torch.no_grad():
        seen = method.teacher.features(images)
    terms, logits = method.stage.objective(images, seen)
    p, q = (torch.softmax(each.double() / 20, dim=1) for each in (seen.logits, logits))
    by_hand = 400 * (p * (p.log() - q.log())).sum(dim=1).mean()
    assert list(terms) == ["kl"] and terms["kl"].item() == pytest.approx(by_hand.item(), rel=1e-3)
    terms["kl"].backward()
    assert all(parameter.grad.norm() > 0 for parameter in method.student.parameters())
    assert all(parameter.grad is None for parameter in method.teacher.parameters())


def test_the_teacher_stays_as_it_is() -> None:
    method = make()
    before = weights(method.teacher)
    events(method, method.total_steps)
    assert same(before, weights(method.teacher)) and not method.teacher.training


def test_unseen_images_teach_nothing() -> None:
    results = []
    for unseen in (None, digits(60)[30:]):
        method = make(unseen=unseen)
        events(method, method.total_steps)
        results.append({**weights(method.student), **weights(method.gan.discriminator)})
    assert same(*results)


def test_every_query_is_counted() -> None:
    method = make(gan_batch_size=12, batch_size=16)
    heard = overhear(method.teacher)
    counted = [metrics["queries"] for metrics in values(events(method, 6))]
    asked = sum(len(images) for images, _ in heard)
    assert counted[2] == 3 * 2 * 12 and counted[-1] == asked == 3 * 2 * 12 + 3 * 2 * 16


def test_fixed_latents_give_fixed_images_and_touch_nothing() -> None:
    method = make()
    events(method, 2)
    generator = method.gan.generator
    before, training = weights(generator), generator.training
    state = torch.get_rng_state()
    images = [method.synthesize(6, torch.Generator().manual_seed(3)) for _ in range(2)]
    assert torch.equal(*images) and images[0].shape == (6, 1, 8, 8)
    assert same(before, weights(generator)) and generator.training is training
    assert torch.equal(state, torch.get_rng_state())


def test_without_collected_images_it_says_so() -> None:
    with pytest.raises(RequestError, match="collected"):
        make(collected=digits(0))


# --- the run ---------------------------------------------------------------------------------------------------


def small_run(runs: Path) -> RunFolder:
    return new_run(runs, {**SMALL, "batch_size": 16}, method="degan", collected="digits", ratio=0.02)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = small_run(tmp_path_factory.mktemp("whole"))
    assert execute(folder).state == "done"
    return folder


def test_a_student_that_waits_is_not_evaluated(whole: RunFolder) -> None:
    assert [row["step"] for row in rows(whole, "evaluated")] == [0, 4, 6]
