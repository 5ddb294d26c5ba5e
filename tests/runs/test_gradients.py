"""The gradient audit: what it says of a sound method, and of one whose author made the usual mistakes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from command import call, refused
from stepping import collecting_problem, own_generator  # noqa: F401 - in every test here

from dfkd_core.events import Event
from dfkd_core.kit.contract import Term
from dfkd_core.kit.generation import GeneratorConfig, GeneratorMethod
from dfkd_core.kit.method import descend
from dfkd_core.losses import generator as losses
from dfkd_core.methods.hidfd import HiDFD, HiDFDConfig
from dfkd_core.methods.pre_dfkd import PREDFKD, PREDFKDConfig
from dfkd_core.runs.gradients import Found, examine

TINY = {"epochs": 2, "iterations": 3, "batch_size": 8, "latent": 4, "width": 4}


class Careless(GeneratorMethod[GeneratorConfig]):
    """Takes one term without gradients, one a millionfold too small, and trains the student on images that are not
    detached."""

    name, title, Config = "careless", "Careless", GeneratorConfig
    terms = (Term("prior", "prior"), Term("balance", "balance"), Term("norm", "norm"))

    def train(self) -> Iterator[Event]:
        for seen in self.steps():
            seen.anneal(self.student_optimizer)
            images = self.image.normalise(self.generator(self.latents()))
            logits = self.teacher(images)
            loss = seen.weigh(
                self.generator,
                prior=losses.class_prior(logits.detach()),
                balance=losses.class_balance(logits),
                norm=1e-6 * losses.image_norm(images),
            )
            descend(loss, self.generator_optimizer)
            images = self.image.normalise(self.generator(self.latents()))
            loss = losses.l1_discrepancy(self.student(images), self.teacher(images).detach())
            seen.student_loss(loss)
            descend(loss, self.student_optimizer)
            yield from seen.events()


def careless() -> Careless:
    return Careless(collecting_problem(), GeneratorConfig.build("", TINY))


def verdicts(found: Found) -> dict[str, str]:
    return {pull.term: pull.verdict for pull in found.pulls}


def test_the_usual_mistakes_are_named() -> None:
    found = examine(careless(), 0, 2, 2)
    assert verdicts(found) == {"prior": "dead", "balance": "alive", "norm": "drowned", "student_loss": "leaking"}
    assert found.wrong and not found.warnings


def test_what_balances_latents_is_not_the_students_loss() -> None:
    method = PREDFKD(collecting_problem(), PREDFKDConfig.build("", {**TINY, "memory_width": 4}))
    found = examine(method, 0, 1, 1)
    assert verdicts(found)["student_loss"] == "alive" and not found.wrong


def test_a_teacher_that_moves_is_warned_of() -> None:
    method = careless()
    method.teacher.train()
    next(iter(method.teacher.parameters())).requires_grad_(True)
    frozen, changed = examine(method, 0, 1, 1).warnings
    assert "freeze" in frozen and "changed" in changed


def test_norms_and_shares_are_those_of_the_terms_at_what_descends_them() -> None:
    pulls = {pull.term: pull for pull in examine(careless(), 0, 2, 2).pulls}
    of_generator = [pulls[name] for name in ("prior", "balance", "norm")]
    for when in ("start", "later"):
        norms = [pull.norm[when] for pull in of_generator]
        assert sum(pull.share[when] for pull in of_generator) == pytest.approx(1)
        assert pulls["balance"].share[when] == pytest.approx(norms[1] / sum(norms), rel=1e-2)
    assert pulls["student_loss"].elsewhere["later"] > 0 == pulls["balance"].elsewhere["later"]


def test_every_stage_is_looked_at_from_its_beginning() -> None:
    knobs: dict[str, Any] = {
        "gan_steps": 40,
        "distill_steps": 40,
        "updates": 1,
        "gan_batch_size": 8,
        "batch_size": 8,
        "blend_gate": 1.0,
    }
    method = HiDFD(collecting_problem(), HiDFDConfig.build("demo", {**knobs, "width": 4, "synthetic": 20}))
    found = examine(method, 0, 1, 2)
    stages = {pull.term: pull.stage for pull in found.pulls}
    assert stages["adversarial_d"] == stages["frequency"] == "gan" and stages["align"] == "student"
    assert "off" not in verdicts(found).values()


def test_the_command_names_the_method_first_and_prints_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in TINY.items()]
    asked = ("audit", "dafl", "--benchmark", "digits", "--steps", "1", "--later", "1", *flags)
    head, *rows = call(capsys, *asked)[1].splitlines()
    assert head.split()[:3] == ["stage", "term", "of"] and {row.split()[1] for row in rows} >= {"class_prior"}
    status, out, _ = call(capsys, *asked, "--json")
    assert status == 0 and {pull["term"] for pull in json.loads(out)["pulls"]} >= {"class_prior", "student_loss"}
    assert "steps" in refused(capsys, "audit", "dafl", "--steps", "0")
