"""Diffusion models: what they learn from, how they are trained, and how a card makes one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import write_mnist
from PIL import Image
from stepping import digits, own_generator, weights  # noqa: F401 - its own generator in every test here
from torch import Tensor

from dfkd_core.cli import main as cli
from dfkd_core.data.catalogue import find_benchmark
from dfkd_core.data.labelled import LabelledImages
from dfkd_core.errors import NonFiniteError, RequestError
from dfkd_core.images import ImageSpec
from dfkd_core.networks.diffusion import Diffusion
from dfkd_core.teachers.cards import DiffusionRecipe, ImageCard, TeacherCard
from dfkd_core.teachers.load import load_diffusion
from dfkd_core.teachers.make import train_teacher
from dfkd_core.teachers.train import diffusion_data, train_diffusion

CPU = torch.device("cpu")
TEN = tuple("0123456789")
SPEC = ImageSpec(1, 8, (0.5,), (0.5,), TEN)


def recipe(**changes: Any) -> DiffusionRecipe:
    return DiffusionRecipe.model_validate({"kind": "tiny", "epochs": 2, "batch_size": 20, **changes})


def some_digits(count: int = 100) -> LabelledImages:
    data = find_benchmark("digits").load(train=True)
    return LabelledImages(data.images[:count], data.labels[:count])


def trained(seed: int = 0, **changes: Any) -> tuple[Diffusion, list[float]]:
    torch.manual_seed(seed)
    network, losses = Diffusion(SPEC, 16), []
    train_diffusion(network, some_digits(), recipe(**changes), CPU, lambda epoch, of, loss: losses.append(loss))
    return network, losses


# --- training --------------------------------------------------------------------------------------------------


def test_the_loss_falls_and_the_noise_is_predicted() -> None:
    network, losses = trained(epochs=8, learning_rate=3e-3, average=0.8)
    assert not network.training and len(losses) == 8
    assert losses[0] > 0.5 and losses[-1] < 0.4, "to predict no noise at all would cost 1"
    clean, times = SPEC.normalise(digits(60).float() / 255), torch.full((60,), 600)
    noise = torch.randn_like(clean)
    with torch.no_grad():
        predicted = network(network.noised(clean, times, noise), times, some_digits(60).labels)
    assert (predicted - noise).square().mean() < 0.2


@pytest.mark.parametrize(("drop_class", "hidden"), [(0.0, 0.0), (0.5, 0.5), (1.0, 1.0)])
def test_the_class_is_hidden_as_often_as_asked(
    drop_class: float, hidden: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Tensor] = []
    forward = Diffusion.forward

    def spied(self: Diffusion, images: Tensor, times: Tensor, labels: Tensor) -> Tensor:
        seen.append(labels)
        return forward(self, images, times, labels)

    monkeypatch.setattr(Diffusion, "forward", spied)
    trained(drop_class=drop_class, epochs=4)
    labels = torch.cat(seen)
    assert (labels == 10).float().mean() == pytest.approx(hidden, abs=0.08)
    assert drop_class == 1 or len(labels.unique()) >= 10


def test_the_kept_weights_are_their_moving_average() -> None:
    torch.manual_seed(0)
    start = weights(Diffusion(SPEC, 16))["enter.weight"]
    moved = [(trained(average=average)[0].enter.weight - start).norm().item() for average in (0.0, 0.9, 0.999)]
    assert moved[0] > 1.3 * moved[1] > 10 * moved[2] > 0


def test_a_training_that_diverges_says_so() -> None:
    network = Diffusion(SPEC, 16)
    torch.nn.init.constant_(network.enter.weight, 1e30)
    with pytest.raises(NonFiniteError, match="noise became nan at step 5"):
        train_diffusion(network, some_digits(), recipe(), CPU)


# --- data ------------------------------------------------------------------------------------------------------


def test_images_of_a_benchmark_come_in_the_models_shape_with_their_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DFKD_DATA", str(write_mnist(tmp_path)))
    data = diffusion_data("mnist", SPEC)
    assert data.images.shape == (12, 1, 8, 8) and data.images.dtype == torch.uint8
    assert data.labels.tolist() == [*range(10), 0, 1]
    coloured = diffusion_data("digits", ImageSpec(3, 32, (0.5,) * 3, (0.5,) * 3, TEN))
    assert coloured.images.shape == (1198, 3, 32, 32) and torch.equal(coloured.images[:, 0], coloured.images[:, 2])


def test_collected_images_are_of_one_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DFKD_DATA", str(tmp_path))
    (tmp_path / "collected-pool").mkdir()
    for index in range(3):
        noise = np.random.default_rng(index).integers(0, 256, (9, 9, 3), np.uint8)
        Image.fromarray(noise).save(tmp_path / "collected-pool" / f"{index}.png")
    data = diffusion_data("pool", ImageSpec(3, 8, (0.5,) * 3, (0.5,) * 3, ("image",)))
    assert data.images.shape == (3, 3, 8, 8) and data.labels.tolist() == [0, 0, 0]
    with pytest.raises(RequestError, match="should be 1 for images of pool"):
        diffusion_data("pool", SPEC)


def test_classes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(RequestError, match="should be 10 for images of digits"):
        diffusion_data("digits", ImageSpec(1, 8, (0.5,), (0.5,), ("a", "b")))


# --- cards -----------------------------------------------------------------------------------------------------


def card_of(**changes: Any) -> TeacherCard:
    image = ImageCard(channels=1, size=8, mean=(0.5,), std=(0.5,), classes=TEN)
    usual: dict[str, Any] = {
        "task": "diffusion", "name": "tiny", "title": "Tiny", "benchmark": "digits", "network": "unet-16",
        "image": image, "recipe": recipe(epochs=1, batch_size=600),
    }  # fmt: skip
    return TeacherCard.model_validate({**usual, **changes})


def test_a_card_makes_the_same_model_each_time(tmp_path: Path) -> None:
    before, told = torch.get_rng_state(), []
    first = train_teacher(card_of(), tmp_path, progress=lambda *state: told.append(state[:2]))
    assert told == [(1, 1)] and torch.equal(before, torch.get_rng_state())
    assert train_teacher(card_of(), tmp_path).sha256 == first.sha256
    assert train_teacher(card_of(seed=1), tmp_path).sha256 != first.sha256
    train_teacher(card_of(), tmp_path)
    network, card = load_diffusion(tmp_path / "tiny.json")
    assert card == first and not network.training and network.classes == 10


def test_the_command_line_makes_one_from_its_card(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.json").write_text(card_of(name="mine").model_dump_json())
    assert cli.main(["teacher", "train", str(tmp_path / "mine.json"), "--to", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert said.startswith("mine: unet-16") and f"written to {tmp_path / 'out'}" in said
    assert json.loads((tmp_path / "out" / "mine.json").read_text())["recipe"]["drop_class"] == 0.1


def test_a_recipe_of_another_network_and_a_classifier_of_one_class_are_refused(tmp_path: Path) -> None:
    plain = {"kind": "plain", "epochs": 1, "momentum": 0.9}
    with pytest.raises(RequestError, match="does not fit unet-16, a diffusion network"):
        train_teacher(card_of(recipe=plain), tmp_path)
    one = ImageCard(channels=1, size=8, mean=(0.5,), std=(0.5,), classes=("image",))
    assert card_of(image=one).image.classes == ("image",)
    with pytest.raises(ValueError, match="two classes"):
        card_of(image=one, task="classifier", network="lenet5")
