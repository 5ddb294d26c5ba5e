"""Training on original data, by a recipe: how teachers are made. No method imports this."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dfkd_core.data.catalogue import BENCHMARKS, find_benchmark
from dfkd_core.data.labelled import LabelledImages
from dfkd_core.data.pictures import resize, to_channels
from dfkd_core.data.sources import find_source
from dfkd_core.errors import NonFiniteError, RequestError
from dfkd_core.images import ImageSpec, pixels_of
from dfkd_core.kit import augmentation as crops
from dfkd_core.kit.schedules import cosine
from dfkd_core.losses.latent import BETA, negative_elbo
from dfkd_core.networks.classifiers import evaluating
from dfkd_core.networks.diffusion import TIMES, Diffusion
from dfkd_core.networks.gan import follow
from dfkd_core.networks.latent import LatentNetwork, draw_noise
from dfkd_core.teachers.cards import DiffusionRecipe, ElboRecipe, Recipe

Progress = Callable[[int, int, float], None]
"""Called after each epoch with its number (from 1), the number of epochs, and the epoch's mean loss."""


def _train(
    network: nn.Module,
    count: int,
    recipe: Recipe | ElboRecipe | DiffusionRecipe,
    device: torch.device,
    loss_of: Callable[[Tensor, int, int], Tensor],
    name: str,
    progress: Progress | None,
    after: Callable[[], None] = lambda: None,
) -> None:
    """Train ``network`` in place on ``count`` samples; draws their order from torch's global generators.

    ``loss_of(chosen, step, steps)`` is the loss, called ``name``, of a batch of indices in step 1, 2, … of ``steps``;
    ``after`` is called when each is done. Raises ``NonFiniteError`` after the first epoch whose loss is not finite.
    """
    batch = min(recipe.batch_size, count)
    batches = count // batch  # the incomplete last one is dropped: BatchNorm would weigh it like the others
    steps, step = recipe.epochs * batches, 0
    optimizer = _optimizer(network, recipe)
    factor = (lambda done: 1.0) if recipe.schedule == "constant" else (lambda done: cosine(done / steps))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    last: dict[str, float] = {}
    network.train()
    for epoch in range(1, recipe.epochs + 1):
        total = torch.zeros((), device=device)
        order = torch.randperm(count).to(device)
        for chosen in order[: batches * batch].split(batch):
            step += 1
            loss = loss_of(chosen, step, steps)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            after()
            total += loss.detach()
        mean = total.item() / batches
        if not math.isfinite(mean):
            raise NonFiniteError(step, name, mean, last)
        last = {name: mean}
        if progress is not None:
            progress(epoch, recipe.epochs, mean)
    network.eval()


def _optimizer(network: nn.Module, recipe: Recipe | ElboRecipe | DiffusionRecipe) -> torch.optim.Optimizer:
    parameters, rate = network.parameters(), recipe.learning_rate
    decay = 0.0 if isinstance(recipe, DiffusionRecipe) else recipe.weight_decay
    if isinstance(recipe, Recipe) and recipe.optimizer == "sgd":
        return torch.optim.SGD(parameters, lr=rate, momentum=recipe.momentum, weight_decay=decay)
    return torch.optim.Adam(parameters, lr=rate, weight_decay=decay)


# --- classifiers ---


def train_classifier(
    network: nn.Module,
    data: LabelledImages,
    image: ImageSpec,
    recipe: Recipe,
    device: torch.device,
    progress: Progress | None = None,
) -> None:
    """Train ``network`` in place by the cross-entropy; the whole data set stays on ``device``."""
    images, labels = data.images.to(device), data.labels.to(device)

    def loss(chosen: Tensor, step: int, steps: int) -> Tensor:
        return _batch_loss(network, images[chosen], labels[chosen], image, recipe)

    _train(network, len(labels), recipe, device, loss, "cross-entropy", progress)


def _batch_loss(network: nn.Module, images: Tensor, labels: Tensor, image: ImageSpec, recipe: Recipe) -> Tensor:
    """Cross-entropy of one batch; ``images`` (B, C, H, W) uint8, ``labels`` (B,)."""
    pixels = augment(pixels_of(images), recipe.augment)
    smoothing = recipe.label_smoothing
    if recipe.mixup == 0:
        return F.cross_entropy(network(image.normalise(pixels)), labels, label_smoothing=smoothing)
    # mixup (Zhang et al. 2018): one λ ~ Beta(α, α) a batch, partners from a permutation of it.
    share = torch.distributions.Beta(recipe.mixup, recipe.mixup).sample().item()
    partner = torch.randperm(len(labels)).to(labels.device)
    logits = network(image.normalise(share * pixels + (1 - share) * pixels[partner]))
    own = F.cross_entropy(logits, labels, label_smoothing=smoothing)
    others = F.cross_entropy(logits, labels[partner], label_smoothing=smoothing)
    return share * own + (1 - share) * others


def augment(pixels: Tensor, kind: str) -> Tensor:
    """As ``Recipe.augment`` says. ``pixels``: (B, C, H, W) in [0, 1]."""
    if kind == "none":
        return pixels
    if kind == "shift+flip":
        return crops.augment(pixels, "crop+flip")
    side = pixels.shape[-1]
    if kind == "strong":
        pixels = _erase(_warp(pixels), side // 4)
    return crops.random_crop(pixels, max(1, side // 8))


def _warp(pixels: Tensor) -> Tensor:
    """Turn by up to 15°, shear by up to 0.2 and scale by 0.85 to 1.15, per sample; black moves in."""
    count = len(pixels)
    angle, shear, scale = (torch.rand(3, count, device=pixels.device) * 2 - 1).unbind()
    angle, shear, scale = angle * math.radians(15), shear * 0.2, 1 + scale * 0.15
    matrix = pixels.new_zeros(count, 2, 3)
    matrix[:, 0, 0], matrix[:, 0, 1] = angle.cos() * scale, shear - angle.sin() * scale
    matrix[:, 1, 0], matrix[:, 1, 1] = angle.sin() * scale, angle.cos() * scale
    grid = F.affine_grid(matrix, list(pixels.shape), align_corners=False)
    return F.grid_sample(pixels, grid, align_corners=False)


def _erase(pixels: Tensor, side: int) -> Tensor:
    """Blacken one square of ``side`` pixels a sample, at a random place (cutout, DeVries & Taylor 2017)."""
    count, _, height, width = pixels.shape
    top = torch.randint(0, height - side + 1, (count, 1, 1, 1), device=pixels.device)
    left = torch.randint(0, width - side + 1, (count, 1, 1, 1), device=pixels.device)
    rows = torch.arange(height, device=pixels.device).view(1, 1, -1, 1)
    columns = torch.arange(width, device=pixels.device).view(1, 1, 1, -1)
    inside = (rows >= top) & (rows < top + side) & (columns >= left) & (columns < left + side)
    return pixels.masked_fill(inside, 0.0)


# --- generative teachers ---


def train_latent_model(
    network: LatentNetwork,
    data: LabelledImages,
    image: ImageSpec,
    recipe: ElboRecipe,
    device: torch.device,
    progress: Progress | None = None,
) -> None:
    """Train ``network`` in place by the ELBO on ``data``, normalised; labels are not looked at.

    The KL's weight rises from 0 to 1 over ``recipe.warmup`` (Sønderby et al. 2016, 2.3).
    """
    images = data.images.to(device)

    def loss(chosen: Tensor, step: int, steps: int) -> Tensor:
        pixels = image.from_bytes(images[chosen])
        inferred = network.infer(pixels, draw_noise(network, len(chosen), device))
        kl_weight = min(1.0, step / (recipe.warmup * steps)) if recipe.warmup else 1.0
        terms = negative_elbo(pixels, inferred, kl_weight, recipe.beta)
        return terms["reconstruction"] + terms["kl"]

    _train(network, len(images), recipe, device, loss, "negative ELBO", progress)


@torch.no_grad()
def elbo_of(
    network: LatentNetwork, data: LabelledImages, image: ImageSpec, device: torch.device, beta: float = BETA
) -> float:
    """ELBO in nats an image, one draw of the posterior each, in eval mode; the mode is as before afterwards."""
    total, generator = 0.0, torch.Generator().manual_seed(0)
    with evaluating(network):
        for part in data.images.split(512):
            pixels = image.from_bytes(part.to(device))
            inferred = network.infer(pixels, draw_noise(network, len(part), device, generator))
            total -= float(sum(negative_elbo(pixels, inferred, 1.0, beta).values())) * len(part)
    return total / len(data)


# --- diffusion models ---


def diffusion_data(name: str, image: ImageSpec) -> LabelledImages:
    """What a diffusion model learns from, in the shape of ``image``: the training images of a benchmark with their
    labels, or a source of collected images, which has none and is one class.

    Raises ``RequestError`` where ``image`` has another number of classes, or the images are missing.
    """
    if name in BENCHMARKS or name.startswith("folder:"):
        task = find_benchmark(name, image)
        data, classes = task.load(train=True), len(task.image.classes)
        data = LabelledImages(resize(to_channels(data.images, image.channels), image.size), data.labels)
    else:
        source, classes = find_source(name), 1
        images = source.read(torch.arange(source.count()), image)
        data = LabelledImages(images, torch.zeros(len(images), dtype=torch.long))
    if classes != len(image.classes):
        raise RequestError("classes", len(image.classes), f"should be {classes} for images of {name}.")
    return data


def train_diffusion(
    network: Diffusion,
    data: LabelledImages,
    recipe: DiffusionRecipe,
    device: torch.device,
    progress: Progress | None = None,
) -> None:
    """Train ``network`` in place to predict the noise in ``data`` at a random time (Ho et al. 2020, algorithm 1).

    With probability ``recipe.drop_class`` an image is of "any" class (Ho & Salimans 2022, algorithm 1). In the end the
    weights are their exponential moving average.
    """
    images, labels = data.images.to(device), data.labels.to(device)
    average = copy.deepcopy(network)

    def loss(chosen: Tensor, step: int, steps: int) -> Tensor:
        dropped = torch.rand(len(chosen), device=device) < recipe.drop_class
        return _noise_loss(network, images[chosen], labels[chosen].masked_fill(dropped, network.any_class))

    _train(
        network, len(images), recipe, device, loss, "noise", progress, lambda: follow(average, network, recipe.average)
    )
    network.load_state_dict(average.state_dict())


def _noise_loss(network: Diffusion, images: Tensor, labels: Tensor) -> Tensor:
    """E ‖ε − ε(x_t, t, y)‖² (Ho et al. 2020, eq. 14), a mean over pixels; ``images`` (B, C, H, W) uint8."""
    clean = network.image.from_bytes(images)
    times = torch.randint(TIMES, (len(clean),), device=clean.device)
    noise = torch.randn_like(clean)
    return F.mse_loss(network(network.noised(clean, times, noise), times, labels), noise)
