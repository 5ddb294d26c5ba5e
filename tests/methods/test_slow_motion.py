"""One step in slow motion: what is shown is what happened, and watching changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import execute, metric_rows, new_run, rows, tiny_method, tiny_spec
from stepping import (
    events,
    of,
    own_generator,  # noqa: F401 - in every test here
)

from dfkd_core import methods
from dfkd_core.events import Event, Phase, Phases, Step, to_row
from dfkd_core.kit.recording import SHOWN
from dfkd_core.kit.terms import gradient_norm
from dfkd_core.methods.ta_dfkd import TADFKD
from dfkd_core.runs.assemble import assemble, config_of
from dfkd_core.runs.loop import run
from dfkd_core.runs.request import make_spec
from dfkd_core.runs.spec import read_spec
from dfkd_core.selection.mixture import judge
from dfkd_core.store import RunFolder, read_phases
from dfkd_core.teachers.load import load_teacher


def slow_step(**knobs: Any) -> tuple[Any, dict[str, Phase]]:
    """TA-DFKD's first step, watched."""
    method = tiny_method({"batch_size": 32, **knobs}, phases_every=0)
    method.slow = True
    (shown,) = of(Phases, events(method, 1))
    return method, {phase.name: phase for phase in shown.phases}


@pytest.mark.parametrize("name", methods.available())
def test_every_method_shows_the_phases_it_announces_in_their_order(name: str) -> None:
    """Those of all of its stages together, where it has several."""
    _, _, method = assemble(tiny_spec(method=name, phases_every=1))
    shown = of(Phases, events(method, method.total_steps))
    names = dict.fromkeys(phase.name for one in shown for phase in one.phases)
    assert len(shown) == method.total_steps and list(names) == list(methods.find(name).phases)
    assert all(any(phase.images is not None and phase.images.max() > 0 for phase in one.phases) for one in shown)


def test_the_phases_hang_together() -> None:
    method, phases = slow_step()
    images = torch.from_numpy(phases["generate"].images).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        again = method.teacher(method.image.normalise(images))
    assert np.allclose(phases["judge"].arrays["loss"], judge(again), atol=0.1), "the loss is that of the images shown"
    assert phases["judge"].arrays["teacher_label"].tolist() == again.argmax(dim=1).tolist()
    assert np.allclose(phases["judge"].arrays["loss"], phases["split"].arrays["loss"][:SHOWN])
    assert phases["split"].values["kept"] == pytest.approx(phases["split"].arrays["clean"].mean())
    assert phases["latents"].arrays["latents"].shape == (SHOWN, 8)


def test_gradient_norms_by_term_are_those_of_autograd() -> None:
    """Of a term alone it is what the generator descends; beside others it stays the same."""
    knobs = {"adversarial": "adversarial_weight", "bn_statistics": "bn_weight", "class_prior": "class_prior_weight"}
    off = dict.fromkeys(knobs.values(), 0.0)
    _, together = slow_step(**dict.fromkeys(off, 0.5))
    for term, knob in knobs.items():
        method, alone = slow_step(**{**off, knob: 0.5})
        norm = gradient_norm(method.generator)
        assert norm > 0
        for phases in (together, alone):
            assert phases["generator"].values[f"gradient/{term}"] == pytest.approx(norm, rel=1e-4)


def test_the_students_gradient_is_that_of_its_last_step() -> None:
    method, phases = slow_step(student_steps=1)
    gradients = torch.cat([parameter.grad.flatten() for parameter in method.student.parameters()])
    assert phases["student"].values["gradient"] == pytest.approx(gradients.norm().item(), rel=1e-4)
    assert phases["student"].values["student_loss"] > 0


@pytest.mark.parametrize("features", [True, False])
def test_what_recording_takes_on_disk_is_foretold(runs: Path, features: bool) -> None:
    # Noise, which does not compress, and so much of it that the images weigh more than the files around them.
    often = {"samples_every": 1, "probes_every": 1, "phases_every": 1, "probes": 512, "features": features}
    knobs = {"epochs": 1, "iterations": 8, "student_steps": 1, "batch_size": 16, "kind": "uniform"}
    folder = RunFolder.create(runs, make_spec(knobs, method="noise", student="lenet5-half-bn", **often).model_dump())
    execute(folder)
    spec, (network, card) = read_spec(folder), load_teacher("digits-resnet20-plain")
    foretold = spec.recorded_bytes(config_of(spec), card.image.spec(), network.head.in_features, original=0)
    places = ("samples", "probes", "phases", "real")
    taken = sum(path.stat().st_size for place in places for path in (folder.path / place).glob("*"))
    assert taken == pytest.approx(foretold, rel=0.3)


def test_watching_changes_nothing(runs: Path) -> None:
    watched, alone = new_run(runs, phases_every=1), new_run(runs, phases_every=0)
    execute(watched), execute(alone)
    kept = [read_phases(watched, row) for row in rows(watched, "phases")]
    assert [[phase.name for phase in phases] for phases in kept] == [list(TADFKD.phases)] * 6
    assert not rows(alone, "phases")
    assert metric_rows(watched) == metric_rows(alone)


def test_a_single_step_is_recorded_in_slow_motion_and_no_other(runs: Path) -> None:
    folder = new_run(runs, phases_every=0)
    lease = folder.begin_attempt()
    for name in ("pause", "step", "step"):
        folder.command(name)  # after step 1: two single steps
    assert run(folder, lease, lambda event: _resume_after(folder, event, 3)).state == "done"
    assert [row["step"] for row in rows(folder, "phases")] == [2, 3]


def _resume_after(folder: RunFolder, event: Event, step: int) -> None:
    if isinstance(event, Step) and event.step == step:
        folder.command("resume")


def test_a_resumed_run_shows_no_step_twice(runs: Path) -> None:
    folder = new_run(runs, phases_every=2, checkpoint_seconds=1000)
    execute(folder, lambda event: folder.command("stop") if event.step == 3 else None)
    for path in (folder.path / "checkpoints").iterdir():
        path.unlink()  # from the beginning again
    execute(folder)
    assert [row["step"] for row in rows(folder, "phases")] == [1, 2, 4, 6]


def test_a_gradient_that_overflowed_leaves_no_number_but_its_phase() -> None:
    event = Phases(3, (Phase("student", {"gradient": float("inf"), "student_loss": 2.0}), Phase("batch")))
    assert to_row(event)["values"] == {"student": {"student_loss": 2.0}, "batch": {}}
