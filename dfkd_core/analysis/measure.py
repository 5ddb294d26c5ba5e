"""Measuring a run: what its generator makes, beside real images, and how its student ended.

``python -m dfkd_core measure RUN`` writes RUN/analysis/measured.json and RUN/analysis/generated.{png,npz}.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from dfkd_core.analysis.jobs import report
from dfkd_core.analysis.measured import GENERATED, MEASURED, MOST_SAMPLES, SAMPLES, known_figures
from dfkd_core.analysis.timeline import Timeline
from dfkd_core.data.catalogue import find_benchmark
from dfkd_core.errors import RequestError, StoreError
from dfkd_core.kit.contract import GenerativeProblem, Problem
from dfkd_core.kit.method import Method
from dfkd_core.kit.samples import to_bytes
from dfkd_core.quality import measures as quality
from dfkd_core.runs.assemble import assemble_classifier
from dfkd_core.runs.loop import borrowed
from dfkd_core.runs.spec import RunSpec, read_spec
from dfkd_core.store import RunFolder, store_samples
from dfkd_core.store.checkpoints import load_checkpoint
from dfkd_core.teachers.cards import TeacherCard

SEED = 1_912_11006  # of the latents; the same for every run, so that runs are compared on the same ones
SHOWN = 24  # images of a class that are kept
LATE = 0.9  # of the steps: the share kept is averaged over the rest


def measure(
    folder: RunFolder, cache: Path, samples: int = SAMPLES, extractor_name: str = "", force: bool = False
) -> dict[str, Any]:
    """Figures of the run's newest checkpoint; those on disk, unless they are of something else or ``force``.

    ``samples`` images are synthesised from a fixed seed and compared with up to as many test images in the features
    of ``extractor_name`` (see ``quality.find_extractor``); ``cache`` is the folder for what is known of the real ones.
    Raises ``StoreError`` without a checkpoint, ``RequestError`` for a bad extractor, number or missing data.
    """
    if not quality.LEAST <= samples <= MOST_SAMPLES:
        raise RequestError("samples", samples, f"should be from {quality.LEAST} to {MOST_SAMPLES}.")
    started = time.monotonic()
    with restored(folder, assemble_classifier) as (card, problem, method, step):
        extractor = quality.find_extractor(extractor_name, card)
        data = find_benchmark(read_spec(folder).benchmark, problem.image).load(train=False)
        report(0.2, f"Real images in {extractor.title} features")
        real = quality.reference(data, extractor, samples, cache)
        asked = {"step": step, "samples": samples, "extractor": extractor.name, "reference": real.identity}
        if not force and (known := known_of(folder, asked)):
            return known
        report(0.4, f"Synthesising {samples:,} images")
        images, labels, confidence = _generate(method, problem, samples)
        report(0.6, f"Comparing with {len(real.features):,} real images")
        figures = {
            "run": folder.id,
            **asked,
            "seed": SEED,
            "label": extractor.describe(len(real.features), samples),
            "real": len(real.features),
            **_figures(extractor, real, images, labels, card),
            **_course(folder, step),
            "seconds": round(time.monotonic() - started, 2),
        }
    _keep(folder, images, labels, confidence)
    folder.files.write_json(MEASURED, figures, durable=False)  # last: it vouches for the images
    return figures


P = TypeVar("P", Problem, GenerativeProblem)


@contextmanager
def restored(
    folder: RunFolder, assemble: Callable[[RunSpec], tuple[TeacherCard, P, Method[Any, Any]]]
) -> Iterator[tuple[TeacherCard, P, Method[Any, Any], int]]:
    """Card, problem and method of a run at its newest checkpoint, and the step of that; a run of a GPU also where there
    is none. Threads and generators are as before afterwards. Raises ``StoreError`` without a checkpoint."""
    spec = read_spec(folder)
    if spec.device != "cpu" and int(spec.device.removeprefix("cuda:")) >= torch.cuda.device_count():
        spec = spec.model_copy(update={"device": "cpu"})
    with borrowed(spec):
        report(0.05, "Loading the networks")
        card, problem, method = assemble(spec)
        yield card, problem, method, restore(method, folder)


def restore(method: Method[Any, Any], folder: RunFolder) -> int:
    """Bring it to the newest checkpoint; returns the step of that."""
    found = load_checkpoint(folder)
    if found is None:
        raise StoreError(f"run {folder.id} has no checkpoint yet; let it train first")
    method.load_state_dict(found.state["method"])
    return found.step


def known_of(folder: RunFolder, asked: dict[str, Any]) -> dict[str, Any] | None:
    """The figures on disk, if they are of what is ``asked`` for."""
    known = known_figures(folder)
    return known if known is not None and asked.items() <= known.items() else None


@torch.no_grad()
def synthesised(method: Method[Any, Any], problem: Problem, count: int, seed: int) -> Iterator[Tensor]:
    """``count`` images of the method as they would be stored, batch by batch: (B, C, H, W) uint8."""
    generator = torch.Generator().manual_seed(seed)
    for done in range(0, count, quality.BATCH):
        synthetic = method.synthesize(min(quality.BATCH, count - done), generator)
        yield to_bytes(problem.image.to_pixels(synthetic)).permute(0, 3, 1, 2)


@torch.no_grad()
def _generate(method: Method[Any, Any], problem: Problem, samples: int) -> tuple[Tensor, Tensor, Tensor]:
    """(N, C, H, W) uint8 images on the CPU with the teacher's label and confidence, each (N,)."""
    parts = []
    for images in synthesised(method, problem, samples, SEED):
        # The teacher is asked about the bytes, as about real images, not about what lay between them.
        logits = problem.teacher(problem.image.from_bytes(images))
        confidence, label = logits.softmax(dim=1).max(dim=1)
        parts.append((images.cpu(), label.cpu(), confidence.cpu()))
    images, labels, confidences = (torch.cat(part) for part in zip(*parts, strict=True))
    return images.contiguous(), labels, confidences


def _figures(
    extractor: quality.Extractor, real: quality.Reference, images: Tensor, labels: Tensor, card: TeacherCard
) -> dict[str, Any]:
    """Everything about the images. ``labels`` are the teacher's; real images have their true ones."""
    features = extractor.features(images)
    counts = torch.bincount(labels, minlength=len(card.image.classes))
    return {
        "fid": quality.frechet_distance(real, features),
        **quality.neighbourhoods(real.features, features[: len(real.features)]),
        "class_balance": quality.class_balance(counts),
        "diversity": quality.within_class_diversity(features, labels),
        "real_diversity": quality.within_class_diversity(real.features, real.labels),
        "counts": counts.tolist(),
    }


def _course(folder: RunFolder, step: int) -> dict[str, Any]:
    """From the log up to ``step``: final and best score, the teacher's, the share kept (None without selection)."""
    timeline = Timeline(folder)
    timeline.update()

    def values(name: str, after: float = -1.0) -> list[float]:
        curve = timeline.curves.get(name)
        points = zip(curve.steps, curve.values, strict=True) if curve else ()
        return [value for at, value in points if after < at <= step]

    scores, kept = values(timeline.score), values("kept", LATE * step)
    return {
        "measure": timeline.score,
        "final": scores[-1] if scores else None,
        "best": max(scores, default=None),
        "teacher": timeline.teacher,
        "kept": sum(kept) / len(kept) if kept else None,
    }


def _keep(folder: RunFolder, images: Tensor, labels: Tensor, confidence: Tensor) -> None:
    """The first images of each class, as they came: nobody picked them."""
    chosen = torch.cat([(labels == label).nonzero()[:SHOWN, 0] for label in labels.unique()])
    columns = {"label": labels[chosen].to(torch.int16).numpy(), "confidence": confidence[chosen].numpy()}
    store_samples(folder, GENERATED, images[chosen].permute(0, 2, 3, 1).numpy(), columns)
