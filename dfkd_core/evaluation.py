"""How good the student is, on data that no method sees."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dfkd_core.benchmarks import LabelledImages, find_benchmark
from dfkd_core.events import Evaluated
from dfkd_core.images import ImageSpec
from dfkd_core.problem import Method

BATCH = 512
AGREEMENT_SAMPLES = 512


class Evaluation:
    """The student against the labels and the teacher's answers.

    Without evaluation data it is the agreement with the teacher on images that the method synthesises.
    Leaves the networks' modes as they were.
    """

    def __init__(self, benchmark: str, image: ImageSpec, teacher: nn.Module, student: nn.Module, device: torch.device):
        self.image, self.teacher, self.student, self.device = image, teacher, student, device
        found = find_benchmark(benchmark, image)
        self.data: LabelledImages | None = found.load(train=False) if found.is_there() else None
        self.teacher_answers: Tensor | None = None
        self.teacher_accuracy: float | None = None
        if self.data is not None:
            self.teacher_answers = self._answers(teacher, self.data.images)
            self.teacher_accuracy = _share(self.teacher_answers, self.data.labels)

    def fingerprint(self) -> str:
        """SHA-256 of the evaluation data, or ``none``."""
        return self.data.fingerprint() if self.data is not None else "none"

    def measure(self, method: Method, seed: int) -> Evaluated:
        """Accuracy and agreement now."""
        if self.data is None or self.teacher_answers is None:
            images = method.synthesize(AGREEMENT_SAMPLES, torch.Generator().manual_seed(seed))
            both = [self._answers(network, images) for network in (self.teacher, self.student)]
            return Evaluated(method.step, _share(*both))
        answers = self._answers(self.student, self.data.images)
        accuracy = _share(answers, self.data.labels)
        return Evaluated(method.step, _share(answers, self.teacher_answers), accuracy, self.teacher_accuracy)

    @torch.no_grad()
    def _answers(self, network: nn.Module, images: Tensor) -> Tensor:
        """Argmax of ``network`` on uint8 or normalised ``images``, (N,) on the CPU."""
        training = network.training
        network.eval()
        parts = []
        for part in images.split(BATCH):
            part = part.to(self.device)
            if part.dtype == torch.uint8:
                part = self.image.normalise(part.float() / 255)
            parts.append(network(part.contiguous(memory_format=torch.channels_last)).argmax(dim=1))
        network.train(training)
        return torch.cat(parts).cpu()


def _share(answers: Tensor, truth: Tensor) -> float:
    return (answers == truth).float().mean().item()
