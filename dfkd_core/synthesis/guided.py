"""Images made for a teacher without its data: samples of its own prior, optimised latents, guided diffusion.

A guidance is a function ``loss(images) -> (B,)`` of images as the teacher takes them, low where the teacher knows what
it sees. Every source follows its gradient, and has a ``Film`` of how it got there. All draw from torch's global
generators.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from dfkd_core.errors import RequestError
from dfkd_core.images import ImageSpec
from dfkd_core.networks.diffusion import TIMES, Diffusion
from dfkd_core.networks.latent import LatentNetwork, draw_noise
from dfkd_core.synthesis import FILMED, FRAMES

Loss = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Film:
    """How images came about, on the CPU: ``timesteps`` (T,), the diffusion's times or the optimizer's steps;
    ``loss`` (T,), the guidance's mean over the batch, of what was there before the step's correction; ``frames``
    (T, n, C, H, W), the first few images as the teacher takes them. Long ones are thinned out evenly.
    """

    timesteps: Tensor
    loss: Tensor
    frames: Tensor


class Camera:
    """Takes a ``Film`` of at most ``FRAMES`` of ``steps`` steps, the first and the last among them."""

    def __init__(self, steps: int) -> None:
        self.due = set(torch.linspace(0, steps - 1, min(steps, FRAMES)).round().int().tolist())
        self.steps = 0
        self.taken: list[tuple[int, Tensor, Tensor]] = []

    def take(self, timestep: int, loss: Tensor, images: Tensor) -> None:
        """``loss`` (B,) and ``images`` (B, C, H, W) of the next step."""
        if self.steps in self.due:
            self.taken.append((timestep, loss.detach().mean(), images[:FILMED].detach().clone()))
        self.steps += 1

    def film(self) -> Film:
        """What was taken."""
        timesteps, loss, frames = zip(*self.taken, strict=True)
        return Film(torch.tensor(timesteps), torch.stack(loss).cpu(), torch.stack(frames).cpu())


# --- the teacher's own latents ---------------------------------------------------------------------------------


def ancestral_noise(teacher: LatentNetwork, count: int, temperature: float, device: torch.device) -> tuple[Tensor, ...]:
    """Noise for ``count`` samples of the teacher's prior; ``temperature`` is its std."""
    return tuple(temperature * level for level in draw_noise(teacher, count, device))


def optimise_latents(
    teacher: LatentNetwork, loss: Loss, count: int, steps: int, rate: float, temperature: float, device: torch.device
) -> tuple[Tensor, Film]:
    """``steps`` steps of Adam on the noise behind ``count`` samples of the teacher, at the learning rate ``rate``.

    The samples begin as ancestral ones. Returns (B, C, H, W) images without a graph, and the film.
    """
    noise = [level.requires_grad_() for level in ancestral_noise(teacher, count, temperature, device)]
    optimizer, camera = torch.optim.Adam(noise, lr=rate), Camera(steps)
    for step in range(steps):
        images = teacher.generate(noise).images
        losses = loss(images)
        gradients = torch.autograd.grad(losses.sum(), noise)
        for level, gradient in zip(noise, gradients, strict=True):
            level.grad = gradient
        optimizer.step()
        camera.take(step, losses, images)
    with torch.no_grad():
        return teacher.generate(noise).images, camera.film()


# --- diffusion -------------------------------------------------------------------------------------------------


def to_teacher(made: ImageSpec, taken: ImageSpec) -> Callable[[Tensor], Tensor]:
    """From a diffusion model's images, −1 to 1, to what a teacher takes.

    Raises ``RequestError`` (diffusion) where channels or size differ.
    """
    ours, theirs = (f"{spec.channels}×{spec.size}×{spec.size}" for spec in (made, taken))
    if ours != theirs:
        raise RequestError("diffusion", ours, f"should make the teacher's images, {theirs}.")
    return lambda images: taken.normalise((images + 1) / 2)


@dataclass(frozen=True)
class Denoiser:
    """What guided sampling needs of a diffusion model: ``signal`` (times,), ᾱ_t; ``noise(x_t, time)``, ε of a batch;
    ``see(x̂₀)``, the images of its clean predictions as the teacher takes them; ``bound``, the most that |x̂₀| may be.
    """

    signal: Tensor
    noise: Callable[[Tensor, int], Tensor]
    see: Callable[[Tensor], Tensor]
    bound: float = math.inf


def guided_sampling(denoiser: Denoiser, loss: Loss, start: Tensor, steps: int, strength: float) -> tuple[Tensor, Film]:
    """From noise ``start`` (B, …) to images, by DDIM without added noise (Song et al. 2021, eq. 12) in ``steps`` steps.

    Before every step the gradient of ``loss`` through the prediction of the clean image x̂₀(x_t), and so through the
    denoiser, corrects the predicted noise (universal guidance, Bansal et al. 2023, eq. 6): ε ← ε + s·√ᾱ_t·g, which
    moves x̂₀ by −s·√(1 − ᾱ_t)·g. Here g is the gradient at x_t with a root mean square of 1 in each image: ``strength``
    s is how far x̂₀ moves at full noise, whatever the scale of the loss; where x̂₀ has a bound, no strength makes it
    diverge. Where it has none, as latents, the last step corrects nothing: what s moves there, 1.5 rms in 5 steps at
    s = 3 in latents of about unit std, no later step would denoise. Where nothing corrects no gradient is computed.

    Returns (B, C, H, W) images as the teacher takes them, without a graph, and the film.
    """
    noisy, times, camera = start, sampling_times(steps, len(denoiser.signal)), Camera(steps)
    signals = [*denoiser.signal[times], denoiser.signal.new_ones(())]
    for time, signal, next_signal in zip(times, signals[:-1], signals[1:], strict=True):
        corrects = strength > 0 and (time != times[-1] or denoiser.bound < math.inf)
        with torch.set_grad_enabled(corrects):
            noisy.requires_grad_(corrects)
            clean = (noisy - (1 - signal).sqrt() * denoiser.noise(noisy, time)) / signal.sqrt()
            clean = within(clean, denoiser.bound)
            images = denoiser.see(clean)
            losses = loss(images)
            if corrects:
                clean = clean - strength * (1 - signal).sqrt() * direction(losses, noisy)
        camera.take(time, losses, images)
        noisy, clean = noisy.detach(), clean.detach().clamp(-denoiser.bound, denoiser.bound)
        noise = (noisy - signal.sqrt() * clean) / (1 - signal).sqrt()  # what the corrected x̂₀ implies
        noisy = next_signal.sqrt() * clean + (1 - next_signal).sqrt() * noise
    with torch.no_grad():
        return denoiser.see(noisy), camera.film()


@dataclass(frozen=True)
class DiffusionSource:
    """A diffusion model of ours as a source of images."""

    network: Diffusion

    @property
    def names(self) -> tuple[str, ...]:
        """The classes that it can be asked for."""
        return self.network.image.classes

    def guided(
        self,
        loss: Loss,
        labels: Tensor,
        steps: int,
        strength: float,
        class_guidance: float,
        image: ImageSpec,
        made: int = 0,
    ) -> tuple[Tensor, Film]:
        """One image for each of ``labels`` (B,) by ``guided_sampling``, which see for what it returns.

        ``class_guidance`` w: ε = ε(x_t) + w·(ε(x_t, y) − ε(x_t)) (Ho & Salimans 2022); 1 asks for the class only.
        What was ``made`` before makes no difference.
        Raises ``RequestError`` (diffusion) unless its images have the shape of ``image``, the teacher's.
        """
        network = self.network
        see = to_teacher(network.image, image)

        def noise(images: Tensor, time: int) -> Tensor:
            times = torch.full_like(labels, time)
            if class_guidance == 1:
                return network(images, times, labels)
            anything = torch.full_like(labels, network.any_class)
            both = network(images.repeat(2, 1, 1, 1), times.repeat(2), torch.cat([labels, anything]))
            return classifier_free(both, class_guidance)

        start = torch.randn(
            len(labels), network.image.channels, network.image.size, network.image.size, device=labels.device
        )
        return guided_sampling(Denoiser(network.signal, noise, see, 1.0), loss, start, steps, strength)


def classifier_free(both: Tensor, weight: float) -> Tensor:
    """(2B, …) predictions of B images, of their class and then of any, as one: any + w·(class − any)."""
    classed, free = both.chunk(2)
    return free + weight * (classed - free)


def sampling_times(steps: int, times: int = TIMES) -> list[int]:
    """``steps`` of ``times`` times from pure noise on, evenly spaced."""
    return [math.ceil(times * (steps - step) / steps) - 1 for step in range(steps)]


def within(clean: Tensor, bound: float) -> Tensor:
    """``clean`` between ±``bound``, the gradient as if it were not cut: a saturated pixel may be called back."""
    return clean + (clean.detach().clamp(-bound, bound) - clean.detach())


def direction(losses: Tensor, images: Tensor) -> Tensor:
    """The gradient of (B,) ``losses`` at ``images`` (B, …), with a root mean square of 1 in each image; 0 stays 0."""
    (gradient,) = torch.autograd.grad(losses.sum(), images)
    rms = gradient.flatten(1).square().mean(dim=1).sqrt().clamp_min(1e-12)
    return gradient / rms.view(-1, *[1] * (gradient.ndim - 1))
