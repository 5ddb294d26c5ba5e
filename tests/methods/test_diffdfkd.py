"""DiffDFKD: its terms against their formulas, what they move, and a run that resumes in both stages."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from conftest import execute, new_run, rows
from stepping import (
    Overheard,
    collecting_problem,
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

from dfkd_core.errors import RequestError
from dfkd_core.events import ClassShares, Phases, Samples
from dfkd_core.kit.recording import Recording
from dfkd_core.methods.diffdfkd import DiffDFKD, DiffDFKDConfig
from dfkd_core.networks.diffusion import Diffusion
from dfkd_core.store import RunFolder
from dfkd_core.synthesis import FILMED
from dfkd_core.synthesis.guided import DiffusionSource
from dfkd_core.teachers.load import load_diffusion, load_teacher

SMALL = {
    "synthesis_batches": 3, "synthesis_size": 12, "denoising_steps": 2, "distill_steps": 3, "updates": 2,
    "batch_size": 16,
}  # fmt: skip
LABELS = torch.arange(12) % 10


def make(diffusion: Diffusion | None = None, **changes: Any) -> DiffDFKD:
    recording = Recording(samples_every=1, samples=8, health_every=1, phases_every=1)
    source = Overheard(DiffusionSource(diffusion or load_diffusion("mnist-unet-32-8px")[0]))
    problem = replace(collecting_problem(recording=recording), collected=None, source=source)
    return DiffDFKD(problem, DiffDFKDConfig.build("demo", {**SMALL, **changes}))


def made_by(method: DiffDFKD, seed: int = 2) -> Tensor:
    torch.manual_seed(seed)
    return method.make(LABELS)[0]


# --- the terms -------------------------------------------------------------------------------------------------


def test_the_class_prior_is_the_cross_entropy_with_the_class_asked_for() -> None:
    method = make(bn_weight=0, class_prior_weight=2.0, adversarial_weight=0)
    images = torch.randn(12, 1, 8, 8)
    terms, logits = method.guidance(images, LABELS), method.teacher(images)
    assert list(terms) == ["class_prior"]
    assert terms["class_prior"].item() == pytest.approx(2 * F.cross_entropy(logits, LABELS).item())


def test_a_diffusion_model_of_other_classes_leaves_the_choice_to_the_teacher() -> None:
    image = replace(collecting_problem().image, mean=(0.5,), std=(0.5,), classes=("image",))
    method = make(Diffusion(image, 16), bn_weight=0, adversarial_weight=0)
    images = torch.randn(12, 1, 8, 8)
    logits = method.teacher(images)
    expected = F.cross_entropy(logits, logits.argmax(dim=1)).item()
    assert method.guidance(images, LABELS)["class_prior"].item() == pytest.approx(expected)
    events(method, 1)
    assert method.source.asked == [[0] * 12], "it can only be asked for what it has"


def test_the_batch_norm_term_is_the_distance_from_the_stored_statistics() -> None:
    method = make(bn_weight=0.3, class_prior_weight=0, adversarial_weight=0)
    images, inputs = torch.randn(12, 1, 8, 8), {}
    layers = [module for module in method.teacher.modules() if isinstance(module, nn.BatchNorm2d)]
    hooks = [layer.register_forward_pre_hook(lambda layer, seen: inputs.update({layer: seen[0]})) for layer in layers]
    method.teacher(images)
    for hook in hooks:
        hook.remove()
    by_hand = 0.0
    for layer in layers:
        assert layer.running_mean is not None and layer.running_var is not None
        mean, variance = inputs[layer].mean(dim=(0, 2, 3)), inputs[layer].var(dim=(0, 2, 3), unbiased=False)
        by_hand += float((mean - layer.running_mean).norm() + (variance - layer.running_var).norm())
    terms = method.guidance(images, LABELS)
    assert list(terms) == ["bn_statistics"]
    assert terms["bn_statistics"].item() == pytest.approx(0.3 * by_hand, rel=1e-3)


def test_the_adversarial_term_is_the_divergence_where_both_agree_and_joins_in_later() -> None:
    method = make(bn_weight=0, class_prior_weight=0, adversarial_weight=0.5, synthesis_batches=20)
    images = made_by(method)
    method.step = 2
    assert "adversarial" not in method.guidance(images, LABELS), "in a tenth of the batches"
    method.step = 3
    method.student.eval()
    logits, own = method.teacher(images), method.student(images)
    agree = logits.argmax(dim=1) == own.argmax(dim=1)
    p, q = logits.double().softmax(dim=1), own.double().softmax(dim=1)
    by_hand = ((p * (p.log() - q.log())).sum(dim=1) * agree).mean()
    assert method.guidance(images, LABELS)["adversarial"].item() == pytest.approx(
        -0.5 * by_hand.item(), rel=1e-3, abs=1e-6
    )
    method.teacher = method.student  # who agrees everywhere has nothing to disagree about
    assert method.guidance(images, LABELS)["adversarial"].item() == pytest.approx(0, abs=1e-5)


def test_every_term_reaches_the_images_and_not_negligibly() -> None:
    found = shares(values(events(make(synthesis_batches=4), 4))[-1])
    assert set(found) == {"bn_statistics", "class_prior", "adversarial"} and min(found.values()) > 0.005, found


@pytest.mark.parametrize(("knob", "term"), [("bn_weight", "bn_statistics"), ("class_prior_weight", "class_prior")])
def test_guidance_by_one_term_alone_lowers_that_term(knob: str, term: str) -> None:
    """Through the diffusion model to the noise: a prediction without gradients would change nothing."""
    names = ("bn_weight", "class_prior_weight", "adversarial_weight")
    method = make(**{name: float(name == knob) for name in names}, denoising_steps=4)
    reached = []
    for strength in (0.0, 0.5):
        method.reconfigure(method.config.change({"strength": strength}))
        with torch.no_grad():
            reached.append(method.guidance(made_by(method), LABELS)[term].item())
    assert reached[1] < reached[0] - 0.1 * abs(reached[0]), reached


def test_down_the_gradient_of_the_adversarial_term_teacher_and_student_drift_apart() -> None:
    """A small step: a larger one may end where the two no longer agree, and then the image no longer counts."""
    method = make(bn_weight=0, class_prior_weight=0)
    method.step = method.config.synthesis_batches
    method.student = load_teacher("digits-lenet5-long")[0]
    images = made_by(method).requires_grad_()
    before = method.guidance(images, LABELS)["adversarial"]
    (gradient,) = torch.autograd.grad(before, images)
    with torch.no_grad():
        after = method.guidance(images - 0.001 * gradient / gradient.norm(), LABELS)["adversarial"]
    assert after < before < 0


def test_as_released_the_teachers_answers_are_constants() -> None:
    """The gradient is then the student's part alone: that of the divergence from answers that do not move."""
    found = {}
    for gradient in ("both", "student"):
        method = make(bn_weight=0, class_prior_weight=0, adversarial_gradient=gradient)
        method.step = method.config.synthesis_batches
        method.student = load_teacher("digits-lenet5-long")[0]
        torch.manual_seed(3)
        images = made_by(method).requires_grad_()
        (found[gradient],) = torch.autograd.grad(method.guidance(images, LABELS)["adversarial"], images)
    answers = method.teacher(images)
    agree = answers.argmax(dim=1) == method.student(images).argmax(dim=1)
    log_student = method.student(images).log_softmax(dim=1)
    by_hand = (agree * (answers.detach().softmax(dim=1) * log_student).sum(dim=1)).mean()
    (expected,) = torch.autograd.grad(by_hand, images)
    torch.testing.assert_close(found["student"], expected, atol=1e-6, rtol=1e-3)
    assert not torch.allclose(found["both"], expected, atol=1e-6, rtol=1e-1)


def test_the_teacher_takes_guided_images_for_the_class_asked_for() -> None:
    method = make(bn_weight=0.02, denoising_steps=8, strength=1.0)
    right = (method.teacher(made_by(method)).argmax(dim=1) == LABELS).float().mean()
    method.reconfigure(method.config.change({"strength": 0.0}))
    assert right > 0.8 > (method.teacher(made_by(method)).argmax(dim=1) == LABELS).float().mean()


def test_with_all_weights_at_zero_nothing_guides() -> None:
    method = make(bn_weight=0, class_prior_weight=0, adversarial_weight=0)
    free = made_by(method)
    method.reconfigure(method.config.change({"strength": 0.0}))
    assert torch.allclose(free, made_by(method), atol=1e-4)


# --- the two stages --------------------------------------------------------------------------------------------


def test_the_stages_come_in_order_and_say_what_they_are() -> None:
    method = make()
    found = events(method, method.total_steps)
    assert [(stage.name, stage.steps) for stage in method.config.stages()] == [("synthesis", 3), ("student", 3)]
    metrics = values(found)
    first, last = metrics[0], metrics[-1]
    assert {"guidance", "guidance_first", "images", "bn_statistics", "class_prior", "coverage"} <= set(first)
    terms = [first[name] for name in ("bn_statistics", "class_prior", "adversarial")]
    assert first["guidance"] == pytest.approx(sum(terms))
    assert [one["images"] for one in metrics[:3]] == [12, 24, 36]
    assert {"student_loss", "learning_rate", "queries"} <= set(last) and "guidance" not in last
    assert len(of(Samples, found)) == 6 and len(of(ClassShares, found)) == 3
    assert all(sum(event.shares["made"]) == pytest.approx(1) for event in of(ClassShares, found))


def test_the_phases_show_the_film_step_by_step() -> None:
    method = make()
    found = of(Phases, events(method, 4))
    assert [phase.name for phase in found[0].phases] == list(DiffDFKD.phases)
    assert [phase.name for phase in found[3].phases] == list(DiffDFKD.phases[1:])
    film = found[0].phases[0]
    assert film.images is not None and film.images.shape == (2 * FILMED, 8, 8, 1)
    assert film.arrays["shown"].tolist() == [2, FILMED] and film.arrays["timestep"].tolist() == [999, 499]
    assert film.arrays["loss"][0] == pytest.approx(film.values["guidance_first"])


def test_the_bank_grows_and_then_stays_and_the_student_learns_from_it_all_along() -> None:
    method = make()
    network = method.source.source.network
    student, teacher, diffusion = (weights(each) for each in (method.student, method.teacher, network))
    events(method, 3)
    bank = method.synthesised
    assert bank is not None and bank.shape == (36, 1, 8, 8) and bank.dtype == torch.uint8
    middle = weights(method.student)
    assert method.student_learns and not same(student, middle)
    events(method, 6)
    assert method.synthesised is bank and not same(middle, weights(method.student))
    assert same(teacher, weights(method.teacher)) and same(diffusion, weights(network))


def test_classes_take_turns_from_batch_to_batch() -> None:
    method = make()
    events(method, 3)
    assert sum(method.source.asked, []) == [index % 10 for index in range(36)]
    assert method.source.made == [0, 12, 24]


def test_synthesis_leaves_the_students_statistics_alone() -> None:
    method = make()
    method.step = 3
    before = weights(method.student)
    made_by(method)
    assert same(before, weights(method.student))
    assert all(parameter.grad is None for parameter in method.student.parameters())


def test_the_student_learns_by_the_tempered_divergence() -> None:
    method = make(temperature=10.0)
    images = torch.randn(6, 1, 8, 8)
    with torch.no_grad():
        seen = method.teacher.features(images)
    terms, logits = method.stage.objective(images, seen)
    p, q = (torch.softmax(each.double() / 10, dim=1) for each in (seen.logits, logits))
    by_hand = 100 * (p * (p.log() - q.log())).sum(dim=1).mean()
    assert list(terms) == ["kl"] and terms["kl"].item() == pytest.approx(by_hand.item(), rel=1e-3)


def test_every_query_is_counted() -> None:
    method = make()
    heard = overhear(method.teacher)
    counted = [metrics["queries"] for metrics in values(events(method, 6))]
    assert counted[2] == 3 * 12 * 2 + 3 * 2 * 16 and counted[-1] == 3 * 12 * 2 + 6 * 2 * 16
    looked = 2 * 3 * 12  # each image that was made is judged once for its terms and once for its sheet
    assert sum(len(images) for images, _ in heard) == counted[-1] + looked


def test_fixed_latents_give_fixed_images_and_touch_nothing() -> None:
    method = make()
    noise = method.synthesize(6, torch.Generator().manual_seed(3))
    events(method, 2)
    state = torch.get_rng_state()
    images = [method.synthesize(30, torch.Generator().manual_seed(3)) for _ in range(2)]
    assert noise.shape == (6, 1, 8, 8) and images[0].shape == (30, 1, 8, 8) and torch.equal(*images)
    assert torch.equal(state, torch.get_rng_state()) and not images[0].requires_grad


def test_without_a_diffusion_model_it_says_so() -> None:
    with pytest.raises(RequestError, match="diffusion"):
        DiffDFKD(collecting_problem(), DiffDFKDConfig.build("demo", SMALL))


# --- the run ---------------------------------------------------------------------------------------------------


def small_run(runs: Path, **fields: Any) -> RunFolder:
    return new_run(runs, SMALL, method="diffdfkd", **fields)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = small_run(tmp_path_factory.mktemp("whole"))
    assert execute(folder).state == "done"
    return folder


def test_a_run_takes_the_usual_diffusion_model_and_plans_its_steps(whole: RunFolder) -> None:
    assert whole.spec()["diffusion"] == "mnist-unet-32-8px"
    assert [row["step"] for row in rows(whole, "step")] == [1, 2, 3, 4, 5, 6]


def test_a_diffusion_model_that_saw_the_teachers_data_is_refused(runs: Path) -> None:
    with pytest.raises(RequestError, match="trained on mnist"):
        new_run(runs, SMALL, method="diffdfkd", teacher="mnist-lenet5-bn-long", benchmark="mnist",
                diffusion="mnist-unet-32-8px")  # fmt: skip
