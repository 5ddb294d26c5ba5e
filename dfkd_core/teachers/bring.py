"""Bringing weights of one's own as a teacher."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import torch

from dfkd_core.data.catalogue import find_benchmark
from dfkd_core.errors import RequestError, validated
from dfkd_core.images import ImageSpec
from dfkd_core.networks.weights import WeightsError, fill, from_pt, from_safetensors, read_file
from dfkd_core.teachers.cards import ImageCard, TeacherCard, is_taken
from dfkd_core.teachers.load import blank, byte_limit
from dfkd_core.teachers.make import evaluate_accuracy, store_teacher


def import_weights(
    weights: Path,
    network: str,
    benchmark: str,
    name: str,
    folder: Path,
    title: str = "",
    image: ImageSpec | None = None,
) -> TeacherCard:
    """Bring a state dict of your own, ``.safetensors`` or ``.pt``, as the teacher ``name`` of ``benchmark``.

    ``image`` is only needed where it is not the benchmark's (or that is ``folder:PATH``, which has none). The
    accuracy is None where the evaluation data are missing. Raises ``RequestError`` naming what was wrong.
    """
    task = find_benchmark(benchmark, image)
    spec = image or task.image
    about = validated(ImageCard, asdict(spec))
    named = {"name": name, "title": title or name, "benchmark": benchmark, "network": network}
    card = validated(TeacherCard, {**named, "image": about})
    if is_taken(name, folder):
        raise RequestError("name", name, "is taken by another teacher; choose a new one.")
    classifier = blank(card)
    try:
        data = read_file(weights, byte_limit(classifier))
        fill(classifier, from_safetensors(data) if weights.suffix == ".safetensors" else from_pt(data))
    except WeightsError as error:
        raise RequestError("weights", str(weights), f"{error}.") from None
    if task.is_there():
        accuracy = evaluate_accuracy(classifier, task.load(train=False), spec, torch.device("cpu"))
        card = card.model_copy(update={"accuracy": accuracy})
    return store_teacher(classifier, card, folder)
