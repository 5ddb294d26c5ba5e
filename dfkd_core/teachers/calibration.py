"""Measuring a classifier on labelled images: calibration, and accuracy by class."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from dfkd_core.data.catalogue import find_benchmark
from dfkd_core.data.labelled import LabelledImages
from dfkd_core.images import ImageSpec
from dfkd_core.networks.classifiers import Classifier, evaluating
from dfkd_core.teachers.load import load_teacher
from dfkd_core.teachers.measured import Bin, Measured

BINS = 15  # as Guo et al. 2017 have it
BATCH = 256


def measure(name: str, progress: Callable[[float], None] = lambda share: None) -> Measured:
    """Of the teacher ``name`` on the test images of its benchmark. Raises ``RequestError`` where it is no classifier,
    or the images are missing."""
    network, card = load_teacher(name)
    image = card.image.spec()
    data = find_benchmark(card.benchmark, image).load(train=False)
    logits = _logits(network, data, image, progress)
    return described(logits, data.labels, card.sha256)


@torch.no_grad()
def _logits(network: Classifier, data: LabelledImages, image: ImageSpec, progress: Callable[[float], None]) -> Tensor:
    found = []
    with evaluating(network):
        for done, images in enumerate(data.images.split(BATCH)):
            progress(done * BATCH / len(data))
            found.append(network(image.from_bytes(images)))
    return torch.cat(found)


def described(logits: Tensor, labels: Tensor, sha256: str = "") -> Measured:
    """Of (N, K) ``logits`` of images whose classes are ``labels`` (N,). ECE after Guo et al. 2017, eq. 3."""
    classes = logits.shape[1]
    sure, answers = logits.softmax(dim=1).max(dim=1)
    right = (answers == labels).double()
    confusion = torch.bincount(labels * classes + answers, minlength=classes**2).view(classes, classes)
    place = (sure.double() * BINS).ceil().long().clamp(1, BINS) - 1  # intervals are open below
    counts = torch.bincount(place, minlength=BINS)
    of_sure, of_right = (
        torch.bincount(place, weights, BINS) / counts.clamp(min=1) for weights in (sure.double(), right)
    )
    gaps = (of_sure - of_right).abs() * counts / len(labels)
    rows = zip(counts.tolist(), of_sure.clamp(0, 1).tolist(), of_right.tolist(), strict=True)
    return Measured(
        sha256=sha256,
        images=len(labels),
        accuracy=right.mean().item(),
        confidence=min(1.0, sure.double().mean().item()),
        ece=gaps.sum().item(),
        nll=F.cross_entropy(logits.double(), labels).item(),
        bins=[Bin(count=count, confidence=confidence, accuracy=accuracy) for count, confidence, accuracy in rows],
        confusion=confusion.tolist(),
    )
