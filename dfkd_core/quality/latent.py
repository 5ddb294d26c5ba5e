"""How good a latent-variable model is: its images, its reconstructions, its size and its speed.

Images are compared as features (N, D) of an extractor (see ``quality``). Four figures, each by the definition of the
slides *Data-Free Knowledge Distillation of Deep Generative Models* (IIT Mandi, 2025), which is that of Xu et al., *An
empirical study on evaluation metrics of generative adversarial networks* (2018), and by the standard one:

| figure | standard | the slides' |
|---|---|---|
| FID (Heusel et al. 2017) | ``fid``: the Fréchet distance of two Gaussians | ``root_fid``: its square root |
| EMD | ``emd``: mean L2 distance of the cheapest transport | the same |
| MMD (Gretton et al. 2012) | ``mmd_squared``: unbiased MMD², may be negative | ``root_mmd``: √ of the biased MMD² |
| 1NN (Lopez-Paz & Oquab 2017) | ``one_nn``: leave-one-out accuracy, 0.5 is ideal | the same |

All of them depend on the numbers of images, and 1NN means something only where both sets have the same number.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dfkd_core.images import ImageSpec, pixels_of
from dfkd_core.networks.classifiers import evaluating, parameter_count
from dfkd_core.networks.latent import LatentNetwork, draw_noise
from dfkd_core.provenance import device_name
from dfkd_core.quality import measures as quality

TRANSPORT_STEPS = 1_000_000  # of the simplex method; POT's own limit is too low for thousands of points
TIMED_BATCH, REPEATS, WARM_UP = 16, 20, 3
FLOAT_BYTES = 4


# --- generated images against real ones ------------------------------------------------------------------------


def figures(real: quality.Reference, generated: Tensor) -> dict[str, float]:
    """All figures of (N, D) float64 ``generated`` features by the names of the module's table, and 1NN's two halves."""
    fid = quality.frechet_distance(real, generated)
    discrepancy = maximum_mean_discrepancy(real.features, generated)
    neighbour = one_nearest_neighbour(real.features, generated)
    return {
        "fid": fid,
        "root_fid": math.sqrt(fid),
        "emd": earth_movers_distance(real.features, generated),
        "mmd_squared": discrepancy.squared,
        "root_mmd": discrepancy.root,
        "one_nn": neighbour.accuracy,
        "one_nn_real": neighbour.on_real,
        "one_nn_generated": neighbour.on_generated,
    }


def earth_movers_distance(real: Tensor, generated: Tensor) -> float:
    """Mean L2 distance that (R, D) ``real`` is moved to become (N, D) ``generated``; all points weigh alike."""
    import ot

    return float(ot.emd2([], [], _distances(real, generated).numpy(), numItermax=TRANSPORT_STEPS))


class Discrepancy(NamedTuple):
    """``squared``: the unbiased estimate of MMD², which may be negative. ``root``: √ of the biased one."""

    squared: float
    root: float


def maximum_mean_discrepancy(real: Tensor, generated: Tensor) -> Discrepancy:
    """MMD of (R, D) ``real`` and (N, D) ``generated`` (Gretton et al. 2012, eq. 3 and 5).

    The kernel is exp(−d²/2s), s the mean of d² over all R² pairs of real points (Xu et al. 2018).
    """
    within, between, own = _distances(real, real), _distances(real, generated), _distances(generated, generated)
    spread = within.square().mean().clamp(min=torch.finfo(within.dtype).tiny)  # 0 where all real points are the same
    within, between, own = (torch.exp(-matrix.square() / (2 * spread)) for matrix in (within, between, own))
    cross = 2 * between.mean()
    biased = within.mean() + own.mean() - cross
    unbiased = _mean_off_diagonal(within) + _mean_off_diagonal(own) - cross
    return Discrepancy(float(unbiased), float(biased.clamp(min=0).sqrt()))


def _mean_off_diagonal(kernel: Tensor) -> Tensor:
    count = len(kernel)
    return (kernel.sum() - kernel.trace()) / (count * (count - 1))


class NearestNeighbour(NamedTuple):
    """Leave-one-out accuracies: of all points, of the real and of the generated ones."""

    accuracy: float
    on_real: float
    on_generated: float


def one_nearest_neighbour(real: Tensor, generated: Tensor) -> NearestNeighbour:
    """Whether the nearest of all other points tells if a point is of (N, D) ``real`` or (N, D) ``generated``.

    0.5: nobody can tell; 1: they lie apart; 0: copies of the real ones.
    """
    from sklearn.neighbors import NearestNeighbors

    points = torch.cat([real, generated]).numpy()
    is_real = torch.arange(len(points)) < len(real)
    nearest = NearestNeighbors(n_neighbors=1).fit(points).kneighbors(return_distance=False)[:, 0]
    right = (is_real[torch.from_numpy(nearest)] == is_real).double()
    return NearestNeighbour(float(right.mean()), float(right[is_real].mean()), float(right[~is_real].mean()))


def _distances(first: Tensor, second: Tensor) -> Tensor:
    """L2, (N, M). From differences: by matrix products equal points would lie a little apart."""
    return torch.cdist(first, second, compute_mode="donot_use_mm_for_euclid_dist")


# --- reconstruction --------------------------------------------------------------------------------------------


def reconstruct(model: LatentNetwork, images: Tensor, encoder: LatentNetwork | None = None) -> Tensor:
    """(B, C, H, W) ``images`` from the means of the posterior that ``encoder`` has of them, by default ``model``'s.

    Another encoder's latents are shared as noise of the prior: a student whose encoder was not trained takes its
    teacher's.
    """
    return model.infer(images).images if encoder is None else model.generate(encoder.infer(images).noise).images


class Reconstruction(NamedTuple):
    """``mse`` of a pixel in [0, 1]; ``psnr`` in dB, that of this MSE; None where nothing is lost."""

    mse: float
    psnr: float | None


@torch.no_grad()
def reconstruction_error(
    model: LatentNetwork,
    images: Tensor,
    image: ImageSpec,
    device: torch.device,
    encoder: LatentNetwork | None = None,
) -> Reconstruction:
    """Of (N, C, H, W) uint8 ``images`` in eval mode; pixels are clamped to [0, 1]. Modes are as before afterwards."""
    total = 0.0
    with evaluating(model), evaluating(encoder or model):
        for part in images.split(quality.BATCH):
            pixels = pixels_of(part.to(device))
            again = image.to_pixels(reconstruct(model, image.normalise(pixels), encoder)).clamp(0, 1)
            total += float((again - pixels).double().square().sum())
    mse = total / images.numel()
    return Reconstruction(mse, -10 * math.log10(mse) if mse > 0 else None)


# --- size and speed --------------------------------------------------------------------------------------------


def size_of(model: LatentNetwork) -> dict[str, float]:
    """``parameters``, ``decoder_parameters``, and what the weights take in float32: ``megabytes`` (10⁶ bytes) and
    ``mebibytes`` (2²⁰ bytes; the slides' "MB")."""
    count = parameter_count(model)
    return {
        "parameters": count,
        "decoder_parameters": sum(parameter_count(part) for part in model.decoder()),
        "megabytes": FLOAT_BYTES * count / 1e6,
        "mebibytes": FLOAT_BYTES * count / 2**20,
    }


def inference_times(
    models: Sequence[LatentNetwork], device: torch.device, batch: int = TIMED_BATCH, repeats: int = REPEATS
) -> list[dict[str, Any]]:
    """How long each model takes to generate ``batch`` images, in eval mode and after a warm-up.

    ``milliseconds``, the least, as in ``timeit``: what another took above it is other work of the machine. ``spread``,
    standard deviation over ``repeats``, which alternate between the models, so that all of them meet the same load;
    ``batch``, ``repeats`` and ``device`` say of what. Modes and generators are as before afterwards.
    """
    generator = torch.Generator().manual_seed(0)
    noises = [draw_noise(model, batch, device, generator) for model in models]
    times: list[list[float]] = [[] for _ in models]
    with torch.no_grad(), ExitStack() as stack:
        for model in models:
            stack.enter_context(evaluating(model))
        for turn in range(WARM_UP + repeats):
            for model, noise, taken in zip(models, noises, times, strict=True):
                _wait(device)
                started = time.perf_counter()
                model.generate(noise)
                _wait(device)
                if turn >= WARM_UP:
                    taken.append(1000 * (time.perf_counter() - started))
    about = {"batch": batch, "repeats": repeats, "device": _device(device)}
    return [{"milliseconds": min(taken), "spread": statistics.stdev(taken), **about} for taken in times]


def _device(device: torch.device) -> str:
    """Its name; a processor's time also depends on the number of threads."""
    threads = torch.get_num_threads()
    suffix = "" if device.type == "cuda" else f", {threads} thread{'s' * (threads > 1)}"
    return device_name(device) + suffix


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
