"""DeGAN: its terms against their formulas, what each trains, and a run that resumes in both stages."""

from __future__ import annotations

import math
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
    same,
    weights,
)
from torch import Tensor

from dfkd_core.errors import RequestError
from dfkd_core.events import ClassShares, Samples, Stage, Step
from dfkd_core.kit.contract import Recording
from dfkd_core.losses import generator as losses
from dfkd_core.losses import rival as rival_losses
from dfkd_core.methods.degan import DeGAN, DeGANConfig
from dfkd_core.store import RunFolder

SMALL = {"gan_steps": 3, "gan_batch_size": 16, "width": 2, "latent": 8, "distill_steps": 3, "updates": 2}
TERMS = ("adversarial_g", "entropy", "class_balance")


def make(collected: Tensor | None = None, unseen: Tensor | None = None, **changes: Any) -> DeGAN:
    recording = Recording(samples_every=1, samples=8, health_every=1, phases_every=0)
    problem = collecting_problem(collected, unseen, recording=recording)
    return DeGAN(problem, DeGANConfig.build("demo", {**SMALL, "batch_size": 16, **changes}))


# --- the terms -------------------------------------------------------------------------------------------------


def test_every_term_reaches_the_generator_weighted_and_not_negligibly() -> None:
    method = make(entropy_weight=0.5, diversity_weight=5.0, width=8)
    for _ in range(15):  # a fresh discriminator has nothing to say yet
        played = method._gan_update(measured=True)
    assert tuple(played.norms) == TERMS
    assert min(played.norms.values()) > 0.005 * sum(played.norms.values()), played.norms
    expected = 5.0 * losses.class_balance(played.seen.logits)
    assert played.generator_terms["class_balance"].item() == pytest.approx(expected.item())
    expected = 0.5 * rival_losses.prediction_entropy(played.seen.logits)
    assert played.generator_terms["entropy"].item() == pytest.approx(expected.item())


@pytest.mark.parametrize(("knob", "term"), [("entropy_weight", "entropy"), ("diversity_weight", "class_balance")])
def test_a_weight_of_zero_switches_a_term_off_even_while_it_runs(knob: str, term: str) -> None:
    method = make(entropy_weight=0.5)
    assert term in method._gan_update(measured=False).generator_terms
    method.reconfigure(method.config.change({knob: 0.0}))
    assert term not in method._gan_update(measured=False).generator_terms


def test_the_discriminator_learns_to_tell_and_the_generator_does_not_learn_with_it() -> None:
    method = make()
    drawn = digits(16).float() / 255
    images = method.image.normalise(torch.rand(16, 1, 8, 8))
    before = weights(method.generator)
    told = [method._judge_step(drawn, images) for _ in range(60)]
    first, last = told[0][2]["adversarial_d"], told[-1][2]["adversarial_d"]
    assert last < 0.5 * first and told[-1][0].mean() > 0 > told[-1][1].mean()
    assert same(before, weights(method.generator))


def test_the_generators_step_leaves_the_discriminators_weights_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    method = make()
    monkeypatch.setattr(method, "_judge_step", lambda drawn, images: (torch.zeros(2), torch.zeros(2), {}))
    judge, generator = [p.clone() for p in method.judge.parameters()], weights(method.generator)
    method._gan_update(measured=False)
    assert all(map(torch.equal, judge, method.judge.parameters()))
    assert not same(weights(method.generator), generator)


# --- the two stages --------------------------------------------------------------------------------------------


def test_the_stages_come_in_order_and_say_what_they_are() -> None:
    method = make(unseen=digits(40)[20:])
    found = events(method, method.total_steps)
    assert [(stage.step, stage.name) for stage in of(Stage, found)] == [(1, "gan"), (4, "student")]
    gan, student = of(Step, found)[:3], of(Step, found)[3:]
    assert {"adversarial_d", "confidence_real", "confidence_fake", "confidence_unseen", "coverage"} <= set(
        gan[0].values
    )
    assert {"student_loss", "learning_rate", "coverage"} <= set(student[0].values)
    assert gan[0].values["generator_loss"] == pytest.approx(
        gan[0].values["adversarial_g"] + gan[0].values["class_balance"]
    )
    assert len(of(Samples, found)) == 6 and len(of(ClassShares, found)) == 3
    assert all(sum(event.shares["made"]) == pytest.approx(1) for event in of(ClassShares, found))


def test_the_student_stands_still_while_the_gan_learns_and_the_generator_while_the_student_does() -> None:
    method = make()
    student = weights(method.student)
    events(method, 3)
    assert not method.student_learns and same(student, weights(method.student))
    generator = weights(method.generator)
    events(method, 6)
    assert method.student_learns and not same(student, weights(method.student))
    assert same(generator, weights(method.generator)), "its BatchNorm statistics included"


def test_every_weight_of_the_student_learns_from_fresh_images_by_the_tempered_divergence() -> None:
    method = make(temperature=20.0)
    drawn = [method._fresh() for _ in range(2)]
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
        results.append({**weights(method.student), **weights(method.judge)})
    assert same(*results)


def test_every_query_is_counted() -> None:
    method = make(gan_batch_size=12, batch_size=16)
    asked: list[int] = []
    features = method.teacher.features
    method.teacher.features = lambda images: asked.append(len(images)) or features(images)  # type: ignore[method-assign]
    counted = [step.values["queries"] for step in of(Step, events(method, 6))]
    assert counted[2] == 3 * 2 * 12 and counted[-1] == sum(asked) == 3 * 2 * 12 + 3 * 2 * 16


def test_fixed_latents_give_fixed_images_and_touch_nothing() -> None:
    method = make()
    events(method, 2)
    before, training = weights(method.generator), method.generator.training
    state = torch.get_rng_state()
    images = [method.synthesize(6, torch.Generator().manual_seed(3)) for _ in range(2)]
    assert torch.equal(*images) and images[0].shape == (6, 1, 8, 8)
    assert same(before, weights(method.generator)) and method.generator.training is training
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


@pytest.mark.parametrize("stops", [(2,), (3,), (5,), (1, 4)], ids=str)
def test_a_run_stopped_in_either_stage_resumes_bit_identically(
    runs: Path, whole: RunFolder, stops: tuple[int, ...]
) -> None:
    assert_resumes(lambda: small_run(runs), stops, whole)


def test_a_student_that_waits_is_not_evaluated(whole: RunFolder) -> None:
    assert [row["step"] for row in rows(whole, "evaluated")] == [0, 4, 6]
