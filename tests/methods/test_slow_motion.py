"""One step in slow motion: what is shown is what happened, and watching changes nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import execute, metric_rows, new_run, rows, tiny_method

from dfkd_core import methods
from dfkd_core.events import Event, Phase, Phases, Step, to_row
from dfkd_core.kit.samples import SHOWN
from dfkd_core.methods import ta_dfkd
from dfkd_core.runs.loop import run
from dfkd_core.runs.request import make_spec
from dfkd_core.runs.spec import read_spec
from dfkd_core.selection.mixture import judge
from dfkd_core.store import RunFolder, read_phases
from dfkd_core.teachers.load import load_teacher


def slow_step(knobs: dict | None = None) -> tuple[object, dict[str, Phase]]:
    """TA-DFKD's first step, watched."""
    method = tiny_method({"batch_size": 32, **(knobs or {})}, phases_every=0)
    method.slow = True
    phases = next(event for event in method.train() if isinstance(event, Phases))
    return method, {phase.name: phase for phase in phases.phases}


@pytest.mark.usefixtures("few_judged")
@pytest.mark.parametrize("name", methods.available())
def test_every_method_shows_the_phases_it_announces_in_their_order(runs: Path, name: str) -> None:
    """Those of all of its stages together, where it has several."""
    folder = new_run(runs, method=name, phases_every=1)
    execute(folder)
    shown = [read_phases(folder, row) for row in rows(folder, "phases")]
    names = dict.fromkeys(phase.name for phases in shown for phase in phases)
    assert list(names) == [info.name for info in methods.find(name).phases]
    assert all(any(phase.images is not None and phase.images.max() > 0 for phase in phases) for phases in shown)


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


def test_gradient_norms_by_term_are_those_of_autograd(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {}
    original = ta_dfkd.gradient_norms

    def spy(terms: dict[str, torch.Tensor], parameters: list[torch.Tensor]) -> dict[str, float]:
        for name, term in terms.items():
            gradients = torch.autograd.grad(term, parameters, retain_graph=True, allow_unused=True)
            seen[name] = torch.cat([g.flatten() for g in gradients if g is not None]).norm().item()
        return original(terms, parameters)

    monkeypatch.setattr(ta_dfkd, "gradient_norms", spy)
    _, phases = slow_step({"class_prior_weight": 0.5})
    values = phases["generator"].values
    assert set(seen) >= {"adversarial", "bn_statistics", "class_prior"}
    for name, norm in seen.items():
        assert values[f"gradient/{name}"] == pytest.approx(norm, rel=1e-4) and norm > 0


def test_the_students_gradient_is_that_of_its_last_step() -> None:
    method, phases = slow_step({"student_steps": 1})
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
    foretold = spec.recorded_bytes(8, card.image.spec(), network.head.in_features)
    places = ("samples", "probes", "phases", "real")
    taken = sum(path.stat().st_size for place in places for path in (folder.path / place).glob("*"))
    assert taken == pytest.approx(foretold, rel=0.3)


def test_watching_changes_nothing(runs: Path) -> None:
    watched, alone = new_run(runs, phases_every=1), new_run(runs, phases_every=0)
    execute(watched), execute(alone)
    assert len(rows(watched, "phases")) == 6 and not rows(alone, "phases")
    assert metric_rows(watched) == metric_rows(alone)


def test_a_single_step_is_recorded_in_slow_motion_and_no_other(runs: Path) -> None:
    folder = new_run(runs, phases_every=0)
    attempt = folder.begin_attempt()
    for name in ("pause", "step", "step"):
        folder.command(name)  # after step 1: two single steps
    assert run(folder, attempt, lambda event: _resume_after(folder, event, 3)).state == "done"
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
