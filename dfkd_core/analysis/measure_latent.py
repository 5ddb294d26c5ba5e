"""Measuring a run that distils a generative model: the table of its teacher and its student.

``python -m dfkd_core measure RUN`` writes RUN/analysis/measured.json, and RUN/analysis/generated.{png,npz}: the first
images of the teacher, then the student's from the same noise. Of a run that synthesised images there is also
RUN/analysis/nearest.{png,npz}: the first of them, then the real one that is nearest to each.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dfkd_core.analysis import measure as classifiers
from dfkd_core.analysis.jobs import report
from dfkd_core.analysis.measured import (
    GENERATED,
    GENERATIVE_SAMPLES,
    MEASURED,
    MOST_GENERATIVE_SAMPLES,
    NEAREST,
    SAMPLES,
)
from dfkd_core.data.catalogue import find_benchmark
from dfkd_core.data.labelled import LabelledImages, evenly_by_class
from dfkd_core.errors import RequestError, StoreError
from dfkd_core.kit.contract import GenerativeProblem
from dfkd_core.kit.method import Method
from dfkd_core.kit.samples import to_bytes
from dfkd_core.networks.classifiers import evaluating
from dfkd_core.networks.latent import LatentNetwork, draw_noise
from dfkd_core.quality import latent as generative_quality
from dfkd_core.quality import measures as quality
from dfkd_core.runs.assemble import assemble_generative
from dfkd_core.runs.spec import read_spec
from dfkd_core.store import RunFolder, store_samples
from dfkd_core.teachers.train import elbo_of

SEED = 2_211_06385  # of the noise; the same for every run, so that runs are compared on the same
SHOWN = 24  # images of a kind that are kept
COMPARED = "FID, EMD, MMD and 1NN"


def measure_run(
    folder: RunFolder, cache: Path, samples: int | None = None, extractor_name: str = "", force: bool = False
) -> dict[str, Any]:
    """``measure_generative``, or ``measure`` of a run that distils a classifier. ``samples`` None: as many as usual."""
    generative = read_spec(folder).task == "generative"
    usual, how = (GENERATIVE_SAMPLES, measure_generative) if generative else (SAMPLES, classifiers.measure)
    return how(folder, cache, usual if samples is None else samples, extractor_name, force)


def measure_generative(
    folder: RunFolder, cache: Path, samples: int = GENERATIVE_SAMPLES, extractor_name: str = "", force: bool = False
) -> dict[str, Any]:
    """Figures of the run's newest checkpoint and of its teacher; those on disk, unless they are of something else.

    Up to ``samples`` test images, and as many of each network from the same noise, are compared in the features of
    ``extractor_name`` (see ``quality.find_extractor``). ``teacher`` and ``student`` each hold the figures of
    ``generative_quality.figures``, ``mse`` and ``psnr`` of reconstructions through ``encoder`` (``own``, or the
    ``teacher``'s where the student's was not trained), ``elbo`` in nats an image (None without an own encoder), and
    size and times. Raises ``StoreError`` without a checkpoint, ``RequestError`` for a bad extractor, number or
    missing data.
    """
    if not quality.LEAST <= samples <= MOST_GENERATIVE_SAMPLES:
        raise RequestError("samples", samples, f"should be from {quality.LEAST} to {MOST_GENERATIVE_SAMPLES}.")
    started = time.monotonic()
    with classifiers.restored(folder, assemble_generative) as (card, problem, method, step):
        extractor = quality.find_extractor(extractor_name, card)
        data = find_benchmark(read_spec(folder).benchmark, problem.image).load(train=False)
        report(0.1, f"Real images in {extractor.title} features")
        real = quality.reference(data, extractor, samples, cache)
        asked = {"step": step, "samples": samples, "extractor": extractor.name, "reference": real.identity}
        if not force and (known := classifiers.known_of(folder, asked)):
            return known
        count = len(real.features)
        chosen = evenly_by_class(data.labels, count)
        both = _Both(problem, method, LabelledImages(data.images[chosen], data.labels[chosen]))
        report(0.2, f"Generating {count:,} images by either network")
        images = both.generate()
        report(0.4, f"Comparing them with {count:,} real images")
        compared = {name: generative_quality.figures(real, extractor.features(made)) for name, made in images.items()}
        report(0.6, "Reconstructing, and taking the time")
        themselves = both.themselves()
        figures = {
            "run": folder.id,
            **asked,
            "seed": SEED,
            "label": extractor.describe(count, count, COMPARED),
            "real": count,
            **{name: {**compared[name], **themselves[name]} for name in images},
            "seconds": round(time.monotonic() - started, 2),
        }
        report(0.9, "Looking for the nearest real images")
        _keep_generated(folder, images)
        synthetic = method.synthesised
        if synthetic is not None:
            _keep_nearest(folder, extractor, real.features, both.data.images, synthetic[:SHOWN].cpu())
    folder.files.write_json(MEASURED, figures, durable=False)  # last: it vouches for the images
    return figures


class _Both:
    """Teacher and student beside each other. ``data``: the real images that they are compared with."""

    def __init__(self, problem: GenerativeProblem, method: Method[Any, Any], data: LabelledImages) -> None:
        self.networks = {"teacher": problem.teacher, "student": problem.student}
        self.own_encoder = {"teacher": True, "student": method.encoder_trained}
        self.image, self.device, self.data = problem.image, problem.device, data
        self.beta = {"teacher": problem.beta, "student": method.beta}

    @torch.no_grad()
    def generate(self) -> dict[str, Tensor]:
        """(N, C, H, W) uint8 images of each network on the CPU, as many as there are real ones, from the same noise."""
        noise = draw_noise(self.networks["teacher"], len(self.data), self.device, torch.Generator().manual_seed(SEED))
        return {name: self._images(network, noise) for name, network in self.networks.items()}

    def _images(self, network: LatentNetwork, noise: tuple[Tensor, ...]) -> Tensor:
        with evaluating(network):
            parts = zip(*(level.split(quality.BATCH) for level in noise), strict=True)
            made = torch.cat([network.generate(part).images for part in parts])
        if not made.isfinite().all():
            raise StoreError("Its student makes images that are not finite: there is nothing to measure.")
        return to_bytes(self.image.to_pixels(made)).permute(0, 3, 1, 2).contiguous().cpu()

    def themselves(self) -> dict[str, dict[str, Any]]:
        """What is not about generated images, of each network."""
        times = generative_quality.inference_times(list(self.networks.values()), self.device)
        return {
            name: {**self._encoding(name), **generative_quality.size_of(network), **taken}
            for (name, network), taken in zip(self.networks.items(), times, strict=True)
        }

    def _encoding(self, name: str) -> dict[str, Any]:
        network, own = self.networks[name], self.own_encoder[name]
        error = generative_quality.reconstruction_error(
            network, self.data.images, self.image, self.device, None if own else self.networks["teacher"]
        )
        elbo = elbo_of(network, self.data, self.image, self.device, self.beta[name]) if own else None
        return {"encoder": "own" if own else "teacher", **error._asdict(), "elbo": elbo}


def _keep_generated(folder: RunFolder, images: dict[str, Tensor]) -> None:
    """The first of each network, as they came: nobody picked them."""
    shown = [made[:SHOWN] for made in images.values()]
    student = np.concatenate([np.full(len(made), name == "student") for name, made in zip(images, shown, strict=True)])
    store_samples(folder, GENERATED, torch.cat(shown).permute(0, 2, 3, 1).numpy(), {"student": student})


def _keep_nearest(
    folder: RunFolder, extractor: quality.Extractor, real: Tensor, images: Tensor, synthetic: Tensor
) -> None:
    """Beside each of the ``synthetic`` images that one of ``images`` whose features, a row of ``real``, are nearest."""
    distance, index = torch.cdist(extractor.features(synthetic), real).min(dim=1)
    pairs = torch.cat([synthetic, images[index]]).permute(0, 2, 3, 1)
    store_samples(folder, NEAREST, pairs.numpy(), {"distance": distance.repeat(2).numpy()})
