"""How good a set of generated images is, in the features of a network that had no part in making them.

- FID (Heusel et al. 2017): Fréchet distance between Gaussians fitted to the two sets; torchmetrics computes it.
- Density and coverage (Naeem et al. 2020, eq. 3 and 4), k = 5; precision and recall (Kynkäänniemi et al. 2019,
  eq. 1), k = 3. All four compare as many generated images as there are real ones, since they depend on the numbers.
- Within-class diversity: mean Euclidean distance of two images of a class, averaged over classes.
- Class balance: exponential of the entropy of the labels' shares over the number of classes; 1 is even.

A figure means something only beside others of the same extractor, data and numbers of images: ``describe`` says which.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from dfkd_core.data.labelled import LabelledImages, evenly_by_class
from dfkd_core.errors import RequestError
from dfkd_core.images import ImageSpec
from dfkd_core.networks.classifiers import Classifier
from dfkd_core.networks.known import PROGRAMS
from dfkd_core.quality import DENSITY_NEIGHBOURS, LEAST, PRECISION_NEIGHBOURS
from dfkd_core.store import Place
from dfkd_core.teachers.cards import TeacherCard, available_teachers, find_card
from dfkd_core.teachers.load import load_teacher

if TYPE_CHECKING:
    from torchmetrics.image.fid import FrechetInceptionDistance

BATCH = 512
STATES = ("real_features_sum", "real_features_cov_sum", "real_features_num_samples")  # of torchmetrics' metric


# --- extractors ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Extractor:
    """``module``: (B, C, H, W) uint8 images -> (B, D) features. ``identity`` changes whenever its features do."""

    name: str
    title: str
    identity: str
    module: nn.Module

    def describe(self, real: int, generated: int, figures: str = "FID") -> str:
        """What an axis has to say: ``figures`` under another label are not comparable."""
        return f"{figures} in {self.title} features, n = {real:,} real, {generated:,} generated"

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        """(N, C, H, W) uint8 -> (N, D) float64."""
        return torch.cat([self.module(part).double() for part in images.split(BATCH)])


class Penultimate(nn.Module):
    """What the last layer of a classifier sees."""

    def __init__(self, network: Classifier, image: ImageSpec) -> None:
        super().__init__()
        self.network, self.image = network, image
        self.num_features = network.head.in_features

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) uint8 -> (B, D)."""
        return self.network.features(self.image.from_bytes(images)).pooled


class _Coloured(nn.Module):
    """Inception takes three channels: grey ones are repeated."""

    num_features = 2048

    def __init__(self, inception: nn.Module) -> None:
        super().__init__()
        self.inception = inception

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.inception(images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images[:, :3])
        return features


def find_extractor(name: str, under_test: TeacherCard) -> Extractor:
    """``inception``, ``teacher:NAME``, or for an empty name the usual one of the benchmark that can be read.

    ``under_test`` is the teacher that the images were made from: it judges its own images too kindly, so it is
    refused. Raises ``RequestError`` also for an unknown name, a program, and where there is no usual one.
    """
    if name == "inception":
        return _inception()
    if not name:
        return _usual(under_test)
    if not name.startswith("teacher:"):
        raise RequestError("extractor", name, "should be inception, or teacher:NAME.")
    card, _ = find_card(name.removeprefix("teacher:"))
    if card.sha256 == under_test.sha256:
        raise RequestError("extractor", name, "is the teacher that the images were made from; take another one.")
    if (card.benchmark, card.image.channels, card.image.size) != _task(under_test):
        raise RequestError("extractor", name, f"was made for {card.benchmark}; take one of {under_test.benchmark}.")
    if card.network in PROGRAMS:
        raise RequestError("extractor", name, "is a program, which shows no features; take a network, or inception.")
    return _classifier(name)


def usual_extractor(under_test: TeacherCard) -> str:
    """The most accurate classifier of the same benchmark whose network is of another kind, as ``teacher:NAME``.

    For a generative teacher every classifier is of another kind; no program is among them. Raises ``RequestError`` if
    there is none.
    """
    return _rivals(under_test)[0]


def _usual(under_test: TeacherCard) -> Extractor:
    """A file that is damaged or gone is passed over; if all are, the last one's ``RequestError`` is raised."""
    *better, last = _rivals(under_test)
    for name in better:
        with suppress(RequestError):
            return _classifier(name)
    return _classifier(last)


def _rivals(under_test: TeacherCard) -> list[str]:
    """All that could be the usual one, the most accurate first."""
    others = [card for card in available_teachers(under_test.benchmark).values() if _is_rival(card, under_test)]
    if not others:
        raise RequestError(
            "extractor",
            "",
            f"there is no classifier of {under_test.benchmark} with another kind of network than "
            f"{under_test.network}; import one, or take inception.",
        )
    others.sort(key=lambda card: card.accuracy or 0.0, reverse=True)
    return [f"teacher:{card.name}" for card in others]


def _is_rival(card: TeacherCard, under_test: TeacherCard) -> bool:
    known = card.network not in PROGRAMS
    return known and _kind(card) != _kind(under_test) and _task(card) == _task(under_test)


def _task(card: TeacherCard) -> tuple[str, int, int]:
    return card.benchmark, card.image.channels, card.image.size


def _kind(card: TeacherCard) -> tuple[str, str]:
    """``resnet`` of ``resnet20``, ``lenet`` of ``lenet5-bn``, and what such networks are for."""
    return card.task, re.split(r"[^a-z]", card.network)[0]


def _classifier(name: str) -> Extractor:
    network, card = load_teacher(name.removeprefix("teacher:"))
    identity = f"penultimate features, SHA-256 {card.sha256}"
    return Extractor(name, card.name, identity, Penultimate(network, card.image.spec()).eval())


def _inception() -> Extractor:
    """torch-fidelity's copy of the original network, with its weights."""
    from torchmetrics.image.fid import NoTrainInceptionV3

    try:
        network = NoTrainInceptionV3("inception-v3-compat", ["2048"])
    except ModuleNotFoundError:
        raise RequestError(
            "extractor", "inception", "needs the package torch-fidelity; install it, or take teacher:NAME."
        ) from None
    except (OSError, RuntimeError) as error:
        raise RequestError(
            "extractor", "inception", f"could not read or fetch its weights ({error}); take teacher:NAME."
        ) from None
    return Extractor("inception", "Inception-v3", "inception-v3-compat 2048", _Coloured(network))


# --- the real side ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Reference:
    """Real images as an extractor sees them. ``features``: (R, D) float64; ``labels``: (R,) true ones; ``states``:
    the real side of torchmetrics' FID; ``identity`` tells data, extractor and number apart."""

    identity: str
    features: Tensor
    labels: Tensor
    states: dict[str, Tensor]


def reference(data: LabelledImages, extractor: Extractor, count: int, cache: Path) -> Reference:
    """Up to ``count`` real images, evenly by class; read from ``cache`` where it was computed before.

    Raises ``RequestError`` where there are too few.
    """
    count = min(count, len(data))
    if count < LEAST:
        raise RequestError("samples", count, f"should be at least {LEAST}, and so should the number of test images.")
    facts = json.dumps([data.fingerprint(), extractor.identity, count])
    identity = hashlib.sha256(facts.encode()).hexdigest()[:16]
    path = cache / f"reference-{identity}.safetensors"
    stored = _read(path)
    if stored is None:
        chosen = evenly_by_class(data.labels, count)
        features = extractor.features(data.images[chosen])
        stored = {"features": features, "labels": data.labels[chosen], **_states(features)}
        cache.mkdir(parents=True, exist_ok=True)
        Place(cache).write(path.name, save(stored), durable=False)
    return Reference(identity, stored["features"], stored["labels"], {name: stored[name] for name in STATES})


def _read(path: Path) -> dict[str, Tensor] | None:
    """None for a file that is missing, damaged or of something else: it is computed again."""
    try:
        stored = load(path.read_bytes())
    except (OSError, SafetensorError):
        return None
    return stored if {"features", "labels", *STATES} == set(stored) else None


def _states(features: Tensor) -> dict[str, Tensor]:
    metric = _distance_of(features)
    metric.update(features, real=True)
    return {name: getattr(metric, name).clone() for name in STATES}


def _distance_of(features: Tensor) -> FrechetInceptionDistance:
    """torchmetrics' metric, that takes (N, D) ``features`` where it expects images."""
    from torchmetrics.image.fid import FrechetInceptionDistance

    given = nn.Identity()
    given.num_features = features.shape[1]  # type: ignore[assignment]
    return FrechetInceptionDistance(given)


# --- figures ---------------------------------------------------------------------------------------------------


def frechet_distance(reference: Reference, generated: Tensor) -> float:
    """FID of (N, D) float64 features. The eigenvalues' rounding errors can make it a hair negative: cut at 0."""
    metric = _distance_of(generated)
    for name, value in reference.states.items():
        setattr(metric, name, value)
    metric.update(generated, real=False)
    return max(0.0, float(metric.compute()))


def neighbourhoods(real: Tensor, generated: Tensor) -> dict[str, float]:
    """``density``, ``coverage``, ``precision`` and ``recall`` of (N, D) ``generated`` against (R, D) ``real``."""
    from sklearn.metrics import pairwise_distances_chunked

    theirs, ours = real.numpy(), generated.numpy()
    wide, narrow = _radii(theirs, DENSITY_NEIGHBOURS), _radii(theirs, PRECISION_NEIGHBOURS)
    own = _radii(ours, PRECISION_NEIGHBOURS)
    within = precise = done = 0
    covered, recalled = np.zeros(len(theirs), bool), np.zeros(len(theirs), bool)
    for distances in pairwise_distances_chunked(ours, theirs):  # (part of N, R)
        inside = distances <= wide
        within += int(inside.sum())
        covered |= inside.any(axis=0)
        precise += int((distances <= narrow).any(axis=1).sum())
        recalled |= (distances <= own[done : done + len(distances), None]).any(axis=0)
        done += len(distances)
    return {
        "density": within / (DENSITY_NEIGHBOURS * len(ours)),
        "coverage": float(covered.mean()),
        "precision": precise / len(ours),
        "recall": float(recalled.mean()),
    }


def _radii(points: np.ndarray, count: int) -> np.ndarray:
    """(N,) distance of each point to its ``count``-th nearest neighbour, itself not counted."""
    from sklearn.neighbors import NearestNeighbors

    distances: np.ndarray = NearestNeighbors(n_neighbors=count).fit(points).kneighbors()[0]
    return distances[:, -1]


def within_class_diversity(features: Tensor, labels: Tensor) -> float | None:
    """Mean distance between two of a class, averaged over the classes with at least two; None if there is none."""
    groups = [features[labels == label] for label in labels.unique()]
    means = [float(torch.pdist(group).mean()) for group in groups if len(group) > 1]
    return sum(means) / len(means) if means else None


def class_balance(counts: Tensor) -> float:
    """From 1/K, all of one class, to 1, all K classes alike. ``counts``: (K,) images of each class."""
    shares = counts.double() / counts.sum()
    return math.exp(float(torch.special.entr(shares).sum())) / len(counts)
