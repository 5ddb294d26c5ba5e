"""Latent-variable models and their losses, against closed forms of Gaussians and against torch's distributions."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from stepping import digits, own_generator  # noqa: F401 - a generator of its own in every test here
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from dfkd_core.data.catalogue import find_benchmark
from dfkd_core.errors import RequestError
from dfkd_core.images import ImageSpec
from dfkd_core.losses import latent as losses
from dfkd_core.networks.classifiers import evaluating, parameter_count
from dfkd_core.networks.latent import (
    ConvVAE,
    Gaussian,
    Generated,
    Inferred,
    LatentNetwork,
    _crop,
    _pad,
    build_latent_model,
    draw_noise,
    padded_side,
    precision_weighted,
)
from dfkd_core.teachers.cards import DiffusionRecipe, ElboRecipe, TeacherCard, find_card
from dfkd_core.teachers.load import load_latent_model
from dfkd_core.teachers.make import train_teacher
from dfkd_core.teachers.train import elbo_of

CPU = torch.device("cpu")


def image_spec(channels: int = 1, size: int = 8) -> ImageSpec:
    return ImageSpec(channels, size, (0.5,) * channels, (0.5,) * channels, tuple("0123456789"))


def gaussian(*shape: int) -> Gaussian:
    return Gaussian(torch.randn(shape, dtype=torch.double), torch.rand(shape, dtype=torch.double) + 0.2)


def normal(one: Gaussian) -> Normal:
    return Normal(one.mean, one.std)


# --- the losses ------------------------------------------------------------------------------------------------


def test_the_kl_of_gaussians_is_that_of_torch_and_zero_only_of_equals() -> None:
    one, other = gaussian(5, 4, 2, 2), gaussian(5, 4, 2, 2)
    expected = kl_divergence(normal(one), normal(other)).flatten(1).sum(dim=1)
    assert torch.allclose(losses.gaussian_kl(one, other), expected)
    assert torch.allclose(losses.gaussian_kl(one, one), torch.zeros(5, dtype=torch.double), atol=1e-12)
    assert not torch.allclose(losses.gaussian_kl(one, other), losses.gaussian_kl(other, one))


def two_levels(count: int = 6) -> tuple[Tensor, Inferred]:
    posterior, prior = (tuple(gaussian(count, 16, side, side) for side in (1, 2)) for _ in range(2))
    images = torch.randn(count, 3, 4, 4, dtype=torch.double)
    return images, Inferred(torch.randn_like(images), posterior, prior, tuple(one.mean for one in posterior))


def test_the_negative_elbo_is_what_torch_says_of_the_same_gaussians() -> None:
    images, inferred = two_levels()
    output = Normal(inferred.images, math.sqrt(0.05))  # β 0.1
    likelihood = output.log_prob(images).flatten(1).sum(dim=1).mean()
    levels = zip(inferred.posterior, inferred.prior, strict=True)
    kl = sum(kl_divergence(normal(q), normal(p)).flatten(1).sum(dim=1).mean() for q, p in levels)
    terms = losses.negative_elbo(images, inferred, kl_weight=0.3)
    assert terms["reconstruction"].item() == pytest.approx(-likelihood.item())
    assert terms["kl"].item() == pytest.approx(0.3 * kl.item())


def test_the_outputs_kl_is_that_of_two_gaussians_in_nats_an_image() -> None:
    teacher, student = (torch.randn(4, 3, 5, 5, dtype=torch.double) for _ in range(2))
    for beta in (0.1, 1.0):
        std = torch.full_like(teacher, math.sqrt(beta / 2))
        expected = kl_divergence(Normal(teacher, std), Normal(student, std)).flatten(1).sum(dim=1).mean()
        found = losses.output_kl(Generated(teacher, (), ()), Generated(student, (), ()), beta)
        assert found.item() == pytest.approx(expected.item())


def test_the_latent_match_by_hand() -> None:
    """The sum over levels of the means of squared differences: a level counts the same whatever its size."""
    teacher = [Gaussian(torch.zeros(2, 1, 1, 1), torch.ones(2, 1, 1, 1)), gaussian(2, 3, 4, 4)]
    student = [Gaussian(torch.full((2, 1, 1, 1), 0.5), torch.ones(2, 1, 1, 1)), gaussian(2, 3, 4, 4)]
    by_hand = 0.25
    pairs = zip(teacher[1].mean.flatten().tolist(), student[1].mean.flatten().tolist(), strict=True)
    by_hand += sum((one - other) ** 2 for one, other in pairs) / 96
    pairs = zip(teacher[1].std.flatten().tolist(), student[1].std.flatten().tolist(), strict=True)
    by_hand += sum((one - other) ** 2 for one, other in pairs) / 96
    assert losses.latent_match(teacher, student).item() == pytest.approx(by_hand)
    assert losses.latent_match(teacher, teacher).item() == 0


@pytest.mark.parametrize(("mean", "std"), [(0.5, 0.5), (0.3, 0.2), (1.0, -1.0)])
def test_the_guidance_sums_over_pixels_from_0_to_1_and_over_latents(mean: float, std: float) -> None:
    images, inferred = two_levels()
    image = ImageSpec(3, 4, (mean,) * 3, (std,) * 3, ())
    error = (image.to_pixels(images) - image.to_pixels(inferred.images)).square().flatten(1).sum(dim=1)
    levels = zip(inferred.posterior, inferred.prior, strict=True)
    kl = sum(kl_divergence(normal(q), normal(p)).flatten(1).sum(dim=1) for q, p in levels)
    assert torch.allclose(losses.guidance(images, inferred, image, 2.0, 0.3), 2 * error + 0.3 * kl)


# --- the networks ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "parameters"), [(128, 5_386_496), (32, 366_656), (8, 30_416)])
def test_the_lvae_has_the_published_number_of_parameters(width: int, parameters: int) -> None:
    network = build_latent_model(f"lvae-{width}", image_spec(3, 32))
    assert parameter_count(network) == parameters
    assert network.noise_shapes == ((16, 1, 1), (16, 2, 2), (16, 4, 4), (16, 8, 8), (16, 16, 16))


def test_the_precision_weighted_gaussian_is_the_product_of_the_two() -> None:
    up, down = gaussian(3, 4), gaussian(3, 4)
    product = normal(precision_weighted(up, down))
    points = torch.randn(50, 3, 4, dtype=torch.double)
    apart = normal(up).log_prob(points) + normal(down).log_prob(points) - product.log_prob(points)
    assert torch.allclose(apart, apart[:1].expand_as(apart)), "only a constant lies between them"


@pytest.mark.parametrize("name", ["lvae-4", "conv-vae-4"])
@pytest.mark.parametrize("size", [4, 5, 8, 12, 28])
def test_squares_of_any_side_come_out_as_they_went_in(name: str, size: int) -> None:
    network = build_latent_model(name, image_spec(3, size)).eval()
    images = torch.randn(2, 3, size, size)
    noise = draw_noise(network, 2, CPU)
    assert isinstance(network, LatentNetwork)
    assert network.generate(noise).images.shape == network.infer(images, noise).images.shape == images.shape
    assert [level.shape[1:] for level in network.infer(images).latents] == list(network.noise_shapes)


def test_what_is_padded_comes_out_of_the_middle_again() -> None:
    images = torch.randn(2, 1, 5, 5)
    padded = _pad(images, padded_side(5))
    assert padded.shape == (2, 1, 8, 8) and torch.equal(_crop(padded, 5), images)


@pytest.mark.parametrize("name", ["lvae-4", "conv-vae-4"])
def test_what_generates_is_the_decoder_alone(name: str) -> None:
    network = build_latent_model(name, image_spec())
    network.generate(draw_noise(network, 3, CPU)).images.sum().backward()
    used = {id(parameter) for parameter in network.parameters() if parameter.grad is not None}
    assert used == {id(parameter) for part in network.decoder() for parameter in part.parameters()}
    assert 0 < len(used) < len(list(network.parameters()))


@pytest.mark.parametrize("name", ["lvae-8", "conv-vae-8"])
@pytest.mark.parametrize("drawn", [True, False], ids=["drawn", "mean"])
def test_inferred_latents_are_noise_that_generates_the_same(name: str, drawn: bool) -> None:
    network = build_latent_model(name, image_spec(1, 12)).double().eval()
    noise = [level.double() for level in draw_noise(network, 4, CPU)] if drawn else None
    inferred = network.infer(torch.randn(4, 1, 12, 12, dtype=torch.double), noise)
    generated = network.generate(inferred.noise)
    assert torch.allclose(generated.images, inferred.images)
    for one, other in zip(generated.latents, inferred.latents, strict=True):
        assert torch.allclose(one, other)


def test_the_conv_vaes_only_prior_is_standard_and_its_posterior_has_64_latents() -> None:
    network = build_latent_model("conv-vae-4", image_spec())
    inferred = network.infer(torch.randn(3, 1, 8, 8))
    ((mean, std),) = inferred.prior
    assert isinstance(network, ConvVAE) and mean.shape == (3, 64, 1, 1)
    assert not mean.any() and torch.equal(std, torch.ones_like(std)) and (inferred.posterior[0].std > 0).all()


@pytest.mark.parametrize("name", ["lvae-0", "lvae-513", "lvae-x", "lvae", "resnet8", "conv-vae--4"])
def test_another_name_is_refused(name: str) -> None:
    with pytest.raises(RequestError, match="should be lvae-H or conv-vae-H with a width H of 1 to 512"):
        build_latent_model(name, image_spec())


def test_an_image_of_three_pixels_is_refused() -> None:
    with pytest.raises(RequestError, match="at least 4 pixels"):
        build_latent_model("lvae-4", image_spec(1, 3))


def test_evaluating_gives_every_part_its_own_mode_back() -> None:
    network = build_latent_model("lvae-4", image_spec())
    network.train()
    network.down[0].eval()
    with evaluating(network):
        assert not any(part.training for part in network.modules())
    assert network.training and not network.down[0].training


# --- teachers --------------------------------------------------------------------------------------------------


def test_a_generator_determines_the_noise_whatever_was_drawn_before() -> None:
    network = build_latent_model("lvae-4", image_spec())
    first = draw_noise(network, 5, CPU, torch.Generator().manual_seed(3))
    torch.rand(7)
    again = draw_noise(network, 5, CPU, torch.Generator().manual_seed(3))
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))


def test_the_shipped_teacher_is_frozen_and_knows_digits_from_noise() -> None:
    teacher, card = load_latent_model("digits-lvae-32")
    assert isinstance(teacher, LatentNetwork) and not teacher.training and card.task == "generative"
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    image = card.image.spec()
    both = image.from_bytes(digits(50)), torch.randn(50, 1, 8, 8)
    loss = [losses.guidance(images, teacher.infer(images), image, 1.0, 0.1).mean() for images in both]
    assert loss[0] < 0.2 * loss[1]


def test_a_card_that_only_says_the_usual_has_the_recipe_of_its_task() -> None:
    """Fields that all kinds of recipe have were once taken for a classifier's."""
    card = json.loads(find_card("digits-lvae-32")[0].model_dump_json())
    brief = {"kind": "brief", "epochs": 2, "batch_size": 8, "learning_rate": 0.1, "schedule": "cosine"}
    assert isinstance(TeacherCard.model_validate({**card, "recipe": brief}).recipe, ElboRecipe)
    network = {"task": "diffusion", "network": "unet-8"}
    assert isinstance(TeacherCard.model_validate({**card, **network, "recipe": brief}).recipe, DiffusionRecipe)
    with pytest.raises(ValidationError, match="epochs"):
        TeacherCard.model_validate({**card, "recipe": {**brief, "epochs": 0}})


@pytest.mark.parametrize("name", ["digits-lvae-32", "mnist-lvae-32"])
def test_a_shipped_teacher_makes_images_that_it_knows(name: str) -> None:
    teacher, card = load_latent_model(name)
    image = card.image.spec()
    with torch.no_grad():
        made = teacher.generate(draw_noise(teacher, 50, CPU, torch.Generator().manual_seed(0))).images
        loss = [
            losses.guidance(one, teacher.infer(one), image, 1.0, 0.1).mean() for one in (made, torch.randn_like(made))
        ]
    assert loss[0] < 0.2 * loss[1]
    pixels = image.to_pixels(made)
    assert 0.05 < pixels.mean() < 0.5 and pixels.std(dim=0).mean() > 0.1, "images that differ, on a dark ground"


def test_the_shipped_generative_teachers_are_small() -> None:
    files = [path.with_suffix(".safetensors") for _, path in map(find_card, ("digits-lvae-32", "mnist-lvae-32"))]
    assert sum(path.stat().st_size for path in files) < 5e6


def test_a_recipe_trains_a_teacher_with_its_elbo_on_the_card(tmp_path: Path) -> None:
    """One epoch of it: better than none, and the card says what the weights do."""
    recipe = ElboRecipe(kind="one epoch", epochs=1, batch_size=64, learning_rate=2e-3)
    asked = find_card("digits-lvae-32")[0].model_copy(update={"name": "brief", "network": "lvae-4", "recipe": recipe})
    made = train_teacher(asked, tmp_path)
    network, card = load_latent_model(str(tmp_path / "brief.json"))
    assert card.elbo is not None and card.accuracy is None and card == made
    data, spec = find_benchmark("digits").load(train=False), card.image.spec()
    assert elbo_of(network, data, spec, CPU) == pytest.approx(card.elbo)
    assert card.elbo > elbo_of(build_latent_model("lvae-4", spec), data, spec, CPU)
