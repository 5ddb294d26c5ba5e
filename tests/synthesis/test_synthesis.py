"""Images made for a teacher without its data: the guidance really guides, and plain sampling is what it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from stepping import own_generator, same, weights  # noqa: F401 - its own generator in every test here
from torch import Tensor

from dfkd_core.errors import RequestError
from dfkd_core.images import ImageSpec
from dfkd_core.losses.latent import guidance
from dfkd_core.networks.diffusion import TIMES, Diffusion
from dfkd_core.networks.latent import LatentNetwork
from dfkd_core.synthesis import FILMED, FRAMES
from dfkd_core.synthesis import guided as synthesis
from dfkd_core.synthesis.guided import Denoiser, DiffusionSource, Film, ancestral_noise, optimise_latents, to_teacher
from dfkd_core.teachers.load import load_diffusion, load_latent_model, load_teacher

CPU = torch.device("cpu")
LABELS = torch.arange(20) % 10
PLAIN = ImageSpec(1, 8, (0.5,), (0.5,), tuple("0123456789"))  # of a teacher that takes images as they are made


@pytest.fixture(scope="module")
def diffusion() -> Diffusion:
    return load_diffusion("mnist-unet-32-8px")[0]


@pytest.fixture(scope="module")
def teacher() -> LatentNetwork:
    return load_latent_model("digits-lvae-32")[0]


def loss_of(teacher: LatentNetwork) -> Callable[[Tensor], Tensor]:
    return lambda images: guidance(images, teacher.infer(images), PLAIN, 1.0, 0.1)


def plain(images: Tensor) -> Tensor:
    return images


def brightness(images: Tensor) -> Tensor:
    return images.flatten(1).mean(dim=1)


def sample(diffusion: Diffusion, loss: Any = brightness, seed: int = 3, **changes: Any) -> tuple[Tensor, Film]:
    torch.manual_seed(seed)
    usual = {"labels": LABELS, "steps": 5, "strength": 0.0, "class_guidance": 1.0, "image": PLAIN}
    return DiffusionSource(diffusion).guided(loss, **{**usual, **changes})


# --- plain sampling --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [1, 5, 20])
def test_with_the_true_noise_predictor_the_clean_images_are_recovered(diffusion: Diffusion, steps: int) -> None:
    clean = torch.rand(4, 1, 8, 8) * 2 - 1

    def noise(noisy: Tensor, time: int) -> Tensor:
        return (noisy - diffusion.signal[time].sqrt() * clean) / (1 - diffusion.signal[time]).sqrt()

    denoiser = Denoiser(diffusion.signal, noise, plain, 1.0)
    images, film = synthesis.guided_sampling(denoiser, brightness, torch.randn(4, 1, 8, 8), steps, 0.0)
    assert torch.allclose(images, clean, atol=1e-3)
    assert torch.allclose(film.frames, clean.expand(steps, -1, -1, -1, -1), atol=1e-2)


def test_a_step_is_the_published_one(diffusion: Diffusion) -> None:
    """√ᾱ' x̂₀ + √(1 − ᾱ') ε, by hand, where x̂₀ is within its bound; two steps, so that one of them is no last one."""
    network = torch.nn.Conv2d(1, 1, 3, padding=1).requires_grad_(False)
    start, (first, second) = torch.randn(2, 1, 8, 8), synthesis.sampling_times(2)
    assert (first, second) == (TIMES - 1, TIMES // 2 - 1)
    denoiser = Denoiser(diffusion.signal, lambda noisy, time: network(noisy) / (1 + time), plain)
    images, _ = synthesis.guided_sampling(denoiser, brightness, start.clone(), 2, 0.0)
    expected = start
    for time, after in ((first, diffusion.signal[second]), (second, torch.ones(()))):
        signal, noise = diffusion.signal[time], network(expected) / (1 + time)
        clean = (expected - (1 - signal).sqrt() * noise) / signal.sqrt()
        expected = after.sqrt() * clean + (1 - after).sqrt() * noise
    assert torch.allclose(images, expected, rtol=1e-3)


def test_the_shipped_model_draws_the_class_that_it_is_asked_for(diffusion: Diffusion) -> None:
    """Digits' own teacher, which never saw MNIST, says so of its middle: MNIST's digits have a wider margin."""
    classifier, card = load_teacher("digits-resnet20-plain")
    labels = torch.arange(60) % 10
    pixels = (sample(diffusion, labels=labels, class_guidance=2.0)[0] + 1) / 2
    middle = F.interpolate(pixels[..., 1:7, 1:7], (8, 8), mode="bicubic").clamp(0, 1)
    middle = middle / middle.amax(dim=(1, 2, 3), keepdim=True)
    seen = classifier(card.image.spec().normalise(middle)).argmax(dim=1)
    assert (seen == labels).float().mean() > 0.35, "chance is 0.1"


def test_classifier_free_guidance_asks_for_the_class_and_for_any(diffusion: Diffusion) -> None:
    asked: list[Tensor] = []
    hook = diffusion.register_forward_pre_hook(lambda _, inputs: asked.append(inputs[2]))
    one, _ = sample(diffusion, steps=1)
    two, _ = sample(diffusion, steps=1, class_guidance=2.0)
    hook.remove()
    assert torch.equal(asked[0], LABELS) and torch.equal(asked[1], torch.cat([LABELS, torch.full((20,), 10)]))
    assert not torch.equal(one, two)
    both = torch.tensor([5.0, 1.0])
    assert synthesis.classifier_free(both, 3.0).item() == 1 + 3 * (5 - 1)


# --- guidance --------------------------------------------------------------------------------------------------


def test_guided_images_end_with_a_clearly_lower_loss(diffusion: Diffusion, teacher: LatentNetwork) -> None:
    """A guidance whose prediction is made without gradients would leave both alike."""
    loss = loss_of(teacher)
    for steps in (5, 20):
        ends, paths = [], []
        for strength in (0.0, 0.5):
            images, film = sample(diffusion, loss, steps=steps, strength=strength)
            with torch.no_grad():
                ends.append(loss(images).mean())
            paths.append(film.loss)
        assert ends[1] < 0.9 * ends[0]
        assert paths[0][0] == pytest.approx(paths[1][0].item(), rel=1e-3), "what is there before the first correction"
        assert paths[1][-1] < 0.9 * paths[0][-1]


def test_the_gradient_reaches_the_noisy_image_through_the_network(diffusion: Diffusion) -> None:
    """One step by hand: the move is along the gradient through the U-Net, which is not that beside it."""
    time, strength = TIMES - 1, 0.2
    torch.manual_seed(3)
    noisy = torch.randn(20, 1, 8, 8, requires_grad=True)
    times = torch.full_like(LABELS, time)
    signal = diffusion.signal[time]
    clean = (noisy - (1 - signal).sqrt() * diffusion(noisy, times, LABELS)) / signal.sqrt()
    target = torch.rand(20, 1, 8, 8) - 0.5

    def loss(images: Tensor) -> Tensor:
        return (images - target).square().flatten(1).sum(dim=1)

    inside = clean.detach().clamp(-1, 1)
    through = torch.autograd.grad(clean, noisy, 2 * (inside - target), retain_graph=True)[0]
    rms = through.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
    expected = (inside - strength * (1 - diffusion.signal[time]).sqrt() * through / rms).clamp(-1, 1)
    images, _ = sample(diffusion, loss, steps=1, strength=strength)
    assert torch.allclose(images, expected, atol=1e-4)
    beside = inside - target  # where the prediction's noise has no gradient, up to a factor
    alike = torch.cosine_similarity(through.flatten(1), beside.flatten(1)).abs()
    assert alike.max() < 0.9


def test_no_gradient_is_computed_at_strength_0_though_the_losses_are_recorded(diffusion: Diffusion) -> None:
    graphs: list[bool] = []

    def loss(images: Tensor) -> Tensor:
        graphs.append(torch.is_grad_enabled())
        return brightness(images)

    _, film = sample(diffusion, loss)
    assert not any(graphs) and film.loss.abs().min() > 0
    sample(diffusion, loss, strength=0.1)
    assert all(graphs[-5:])


@pytest.mark.parametrize("strength", [0.01, 1.0, 1000.0])
def test_no_strength_makes_it_diverge_and_neither_does_a_loss_of_any_scale(
    diffusion: Diffusion, strength: float
) -> None:
    images, _ = sample(diffusion, lambda images: 1e6 * brightness(images), strength=strength)
    assert images.abs().max() <= 1
    scaled, _ = sample(diffusion, lambda images: 1e-6 * brightness(images), strength=strength)
    assert torch.allclose(images, scaled, atol=1e-2)


def test_a_loss_without_a_slope_leaves_the_images_alone(diffusion: Diffusion) -> None:
    flat, _ = sample(diffusion, lambda images: 0 * brightness(images), strength=1.0)
    assert torch.allclose(flat, sample(diffusion)[0], atol=1e-5)


def test_a_saturated_pixel_can_be_called_back() -> None:
    clean = torch.tensor([-3.0, 0.5, 2.0], requires_grad=True)
    inside = synthesis.within(clean, 1.0)
    assert inside.tolist() == [-1.0, 0.5, 1.0]
    inside.sum().backward()
    assert clean.grad is not None and clean.grad.tolist() == [1, 1, 1]


def test_the_networks_are_left_as_they_are(diffusion: Diffusion, teacher: LatentNetwork) -> None:
    before = weights(diffusion), weights(teacher)
    images, _ = sample(diffusion, loss_of(teacher), strength=0.5)
    made, _ = optimise_latents(teacher, loss_of(teacher), 4, 3, 0.1, 1.0, CPU)
    assert same(before[0], diffusion.state_dict()) and same(before[1], teacher.state_dict())
    assert all(one.grad is None for network in (diffusion, teacher) for one in network.parameters())
    assert not images.requires_grad and not made.requires_grad


def test_a_film_shows_every_step_of_the_first_images(diffusion: Diffusion) -> None:
    _, film = sample(diffusion, strength=0.3)
    assert film.timesteps.tolist() == [999, 799, 599, 399, 199]
    assert film.loss.shape == (5,) and film.frames.shape == (5, FILMED, 1, 8, 8)
    shown = film.frames.flatten(0, 1)
    assert brightness(shown).view(5, -1).mean(dim=1).sub(film.loss).abs().max() < 0.2, "of 8 of the 20 images"


def test_the_same_seed_makes_the_same_images(diffusion: Diffusion, teacher: LatentNetwork) -> None:
    loss = loss_of(teacher)
    one, two, other = (sample(diffusion, loss, seed, strength=0.5)[0] for seed in (3, 3, 4))
    assert torch.equal(one, two) and not torch.equal(one, other)


def test_images_are_brought_to_the_teachers_scale_or_refused() -> None:
    made, taken = (ImageSpec(1, 8, (mean,), (std,), ("a", "b")) for mean, std in ((0.5, 0.5), (0.3, 0.37)))
    images = torch.tensor([-1.0, 0.0, 1.0]).view(3, 1, 1, 1)
    assert torch.allclose(to_teacher(made, taken)(images), taken.normalise((images + 1) / 2))
    with pytest.raises(RequestError, match="1×8×8.*3×32×32"):
        to_teacher(made, ImageSpec(3, 32, (0.5,) * 3, (0.5,) * 3, ("a", "b")))


# --- the teacher's own latents ---------------------------------------------------------------------------------


def test_latents_are_moved_to_a_lower_loss(teacher: LatentNetwork) -> None:
    torch.manual_seed(5)
    start = teacher.generate(ancestral_noise(teacher, 12, 1.0, CPU)).images
    torch.manual_seed(5)
    images, film = optimise_latents(teacher, loss_of(teacher), 12, 15, 0.1, 1.0, CPU)
    assert torch.allclose(film.frames[0], start[:FILMED])
    assert (images - start).abs().amax(dim=(1, 2, 3)).min() > 0.05, "every image moved"
    assert loss_of(teacher)(images).mean() < 0.8 * film.loss[0]
    assert film.timesteps.tolist() == list(range(15)) and film.loss.shape == (15,)


def test_a_long_film_is_thinned_out_evenly(teacher: LatentNetwork) -> None:
    _, film = optimise_latents(teacher, brightness, 2, 50, 0.01, 1.0, CPU)
    assert len(film.timesteps) == len(film.loss) == len(film.frames) == FRAMES
    assert film.timesteps[0] == 0 and film.timesteps[-1] == 49 and film.timesteps.diff().max() <= 2


def test_the_temperature_is_the_noises_spread(teacher: LatentNetwork) -> None:
    noise = ancestral_noise(teacher, 400, 0.5, CPU)
    assert [level.shape[1:] for level in noise] == [torch.Size(shape) for shape in teacher.noise_shapes]
    assert all(level.std() == pytest.approx(0.5, abs=0.02) for level in noise)
    assert not any(level.any() for level in ancestral_noise(teacher, 3, 0.0, CPU))
