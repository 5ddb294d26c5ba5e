"""Making a teacher from its card: training by the recipe, what to note on the card, writing both files."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import nn

from dfkd_core.data.catalogue import find_benchmark
from dfkd_core.data.labelled import LabelledImages, evenly_by_class
from dfkd_core.errors import RequestError
from dfkd_core.images import ImageSpec
from dfkd_core.networks.classifiers import Classifier, evaluating
from dfkd_core.networks.diffusion import Diffusion
from dfkd_core.networks.latent import LatentNetwork
from dfkd_core.store import Place
from dfkd_core.teachers.cards import DiffusionRecipe, ElboRecipe, Recipe, TeacherCard, check_same, file_of
from dfkd_core.teachers.load import build_network
from dfkd_core.teachers.train import (
    diffusion_data,
    elbo_of,
    train_classifier,
    train_diffusion,
    train_latent_model,
)

WATCHED = 1000  # test images that tell how far a training is
Progress = Callable[[int, int, float, float | None], None]
"""Called after each epoch with its number (from 1), the number of epochs, its mean loss, and of a classifier the
accuracy on the first ``WATCHED`` test images."""


def train_teacher(
    card: TeacherCard,
    folder: Path,
    progress: Progress | None = None,
    device: str = "cpu",
) -> TeacherCard:
    """Make the teacher of ``card`` from its recipe and seed; writes NAME.safetensors and NAME.json into ``folder``.

    On a CPU the weights come out the same each time on the same machine: it trains on one thread, since sums
    depend on how threads share them. Watching by ``progress`` changes nothing.
    Raises ``RequestError`` without a recipe or without the data, or where another teacher has the name; and
    ``NonFiniteError`` if the training diverges.
    """
    if card.recipe is None:
        raise RequestError("teacher", card.name, "was brought from elsewhere: without a recipe it cannot be made.")
    check_same(card, folder)
    target = torch.device(device)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[target] if target.type == "cuda" else []):
            torch.manual_seed(card.seed)
            network = build_network(card).to(target)
            result = _train(network, card, target, progress)
    finally:
        torch.set_num_threads(threads)
    return store_teacher(network, card.model_copy(update=result), folder)


def _train(network: nn.Module, card: TeacherCard, device: torch.device, progress: Progress | None) -> dict[str, Any]:
    """Train ``network`` by its card's recipe; what to note on the card."""
    image, recipe = card.image.spec(), card.recipe

    def without_accuracy(epoch: int, of: int, loss: float) -> None:
        if progress is not None:
            progress(epoch, of, loss, None)

    if isinstance(network, Diffusion) and isinstance(recipe, DiffusionRecipe):
        train_diffusion(network, diffusion_data(card.benchmark, image), recipe, device, without_accuracy)
        return {}
    task = find_benchmark(card.benchmark, image)
    data, test = task.load(train=True), task.load(train=False)
    about = {"benchmark": task.name, "doubts": tuple(one[:1000] for one in task.doubts())}
    if isinstance(network, LatentNetwork) and isinstance(recipe, ElboRecipe):
        train_latent_model(network, data, image, recipe, device, without_accuracy)
        return about | {"elbo": elbo_of(network, test, image, device, recipe.beta)}
    if isinstance(network, Classifier) and isinstance(recipe, Recipe):
        chosen = evenly_by_class(test.labels, WATCHED)
        few = LabelledImages(test.images[chosen], test.labels[chosen])

        def with_accuracy(epoch: int, of: int, loss: float) -> None:
            if progress is not None:
                progress(epoch, of, loss, evaluate_accuracy(network, few, image, device))

        train_classifier(network, data, image, recipe, device, with_accuracy)
        return about | {"accuracy": evaluate_accuracy(network, test, image, device)}
    raise RequestError("recipe", recipe and recipe.kind, f"does not fit {card.network}, a {card.task} network.")


def store_teacher(network: nn.Module, card: TeacherCard, folder: Path) -> TeacherCard:
    """Write the network's weights and its card."""
    return store(save({name: tensor.cpu().contiguous() for name, tensor in network.state_dict().items()}), card, folder)


def store(data: bytes, card: TeacherCard, folder: Path) -> TeacherCard:
    """Write ``data``, the network of ``card``, and then the card, since it vouches for it."""
    card = card.model_copy(update={"sha256": hashlib.sha256(data).hexdigest(), "torch": torch.__version__})
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{card.name}.json"
    Place(folder).write(file_of(card, path).name, data)
    Place(folder).write(path.name, card.model_dump_json(indent=1).encode() + b"\n")
    return card


def evaluate_accuracy(network: nn.Module, data: LabelledImages, image: ImageSpec, device: torch.device) -> float:
    """Share of ``data`` that ``network`` classifies right, in eval mode; its mode is as before afterwards."""
    with torch.no_grad(), evaluating(network):
        right = sum(
            int((network(image.from_bytes(images.to(device))).argmax(dim=1).cpu() == labels).sum())
            for images, labels in zip(data.images.split(512), data.labels.split(512), strict=True)
        )
    return right / len(data)
