"""How good the student is, on data that no method sees."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from dfkd_core.data.catalogue import find_benchmark
from dfkd_core.data.labelled import LabelledImages, evenly_by_class
from dfkd_core.events import Evaluated, Probes, Quality, Samples
from dfkd_core.images import ImageSpec
from dfkd_core.kit.method import Method
from dfkd_core.kit.samples import describe
from dfkd_core.networks.classifiers import Classifier, evaluating
from dfkd_core.selection.collected import Predictor

BATCH = 512
PIXELS = 1 << 22  # of a batch on a GPU: 4096 images of 32×32
AGREEMENT_SAMPLES = 512
PROBE_SEED = 2_402_12406  # any number will do, as long as it never changes


E = TypeVar("E", Evaluated, Quality)


class Evaluator(ABC, Generic[E]):
    """Tells how good a student is on data that no method sees. Leaves networks' modes as they were."""

    def __init__(self, benchmark: str, image: ImageSpec, device: torch.device) -> None:
        self.image, self.device = image, device
        found = find_benchmark(benchmark, image)
        self.data: LabelledImages | None = found.load(train=False) if found.is_there() else None

    def fingerprint(self) -> str:
        """SHA-256 of the evaluation data, or ``none``."""
        return self.data.fingerprint() if self.data is not None else "none"

    def judged_in(self) -> tuple[str, str]:
        """The name of the extractor in whose features images are compared, and what tells those features from others';
        both empty where none are."""
        return "", ""

    @abstractmethod
    def measure(self, method: Method[Any, Any], seed: int) -> E:
        """All figures now."""

    @abstractmethod
    def score_of(self, event: E) -> float:
        """The one figure that counts; NaN where it could not be computed."""

    @abstractmethod
    def result(self, scores: list[float]) -> dict[str, Any]:
        """``measure``, its name; ``final`` beside ``best``, never the best alone; ``teacher``, the same of it."""

    @abstractmethod
    def real(self, count: int) -> tuple[np.ndarray, dict[str, np.ndarray]] | None:
        """Up to ``count`` real images to keep with the run, with their columns; None where there are none."""

    @abstractmethod
    def probe(self, method: Method[Any, Any], count: int, features: bool) -> Samples:
        """Images of the same latents in every run."""


class ClassifierEvaluator(Evaluator[Evaluated]):
    """The student against the labels and the teacher's answers.

    Without evaluation data it is the agreement with the teacher on images that the method synthesises.
    """

    def __init__(self, benchmark: str, image: ImageSpec, teacher: Classifier, student: nn.Module, device: torch.device):
        super().__init__(benchmark, image, device)
        self.teacher, self.student = teacher, student
        self.teacher_answers: Tensor | None = None
        self.teacher_accuracy: float | None = None
        if self.data is not None:
            self.teacher_answers = self._answers(teacher, self.data.images)
            self.teacher_accuracy = _share(self.teacher_answers, self.data.labels)

    def measure(self, method: Method[Any, Any], seed: int) -> Evaluated:
        if self.data is None or self.teacher_answers is None:
            images = method.synthesize(AGREEMENT_SAMPLES, torch.Generator().manual_seed(seed))
            both = [self._answers(network, images) for network in (self.teacher, self.student)]
            return Evaluated(method.step, _share(*both))
        answers = self._answers(self.student, self.data.images)
        accuracy = _share(answers, self.data.labels)
        return Evaluated(method.step, _share(answers, self.teacher_answers), accuracy, self.teacher_accuracy)

    def score_of(self, event: Evaluated) -> float:
        """The accuracy, or without data the agreement."""
        return event.agreement if event.accuracy is None else event.accuracy

    def result(self, scores: list[float]) -> dict[str, Any]:
        measure = "agreement" if self.data is None else "accuracy"
        return {"measure": measure, "final": scores[-1], "best": max(scores), "teacher": self.teacher_accuracy}

    def real(self, count: int) -> tuple[np.ndarray, dict[str, np.ndarray]] | None:
        """Up to ``count`` test images, as many of each class as there are, (N, H, W, C) uint8, with their true
        ``label`` and, of the teacher, ``features`` and ``teacher_logits``; None without data."""
        if self.data is None or count == 0:
            return None
        chosen = evenly_by_class(self.data.labels, count)
        seen = Predictor(self.teacher, self.image, self.device).predict(self.data.images[chosen])
        columns = {
            "label": self.data.labels[chosen].to(torch.int16),
            "features": seen.pooled.half(),
            "teacher_logits": seen.logits.half(),
        }
        pixels = self.data.images[chosen].permute(0, 2, 3, 1).contiguous().numpy()
        return pixels, {name: column.numpy() for name, column in columns.items()}

    @torch.no_grad()
    def probe(self, method: Method[Any, Any], count: int, features: bool) -> Samples:
        """``count`` images of latents that are the same in every run, judged among themselves."""
        images = method.synthesize(count, torch.Generator().manual_seed(PROBE_SEED))
        seen = self.teacher.features(images)
        with evaluating(self.student):
            student_logits = self.student(images)
        verdict, pixels = method.verdict(seen.logits), self.image.to_pixels(images)
        return describe(method.step, pixels, seen, student_logits, verdict, kind=Probes, features=features)

    @torch.no_grad()
    def _answers(self, network: nn.Module, images: Tensor) -> Tensor:
        """Argmax of ``network`` on uint8 or normalised ``images``, (N,) on the CPU."""
        parts = []
        batch = BATCH if self.device.type == "cpu" else max(1, PIXELS // self.image.size**2)
        with evaluating(network):
            for part in (part.to(self.device) for part in images.split(batch)):
                part = self.image.from_bytes(part) if part.dtype == torch.uint8 else part
                parts.append(network(part.contiguous(memory_format=torch.channels_last)).argmax(dim=1))
        return torch.cat(parts).cpu()


def _share(answers: Tensor, truth: Tensor) -> float:
    return (answers == truth).float().mean().item()
