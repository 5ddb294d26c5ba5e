"""KD3: Knowledge Distillation between Different Distributions (Tang et al., ICCV 2023, arXiv 2307.11469).

No generator: the student learns from collected images, D_c, under the teacher's shared classifier. Their distribution
is not that of the original data, which three parts allow for:

1. Dynamic selection, ``selections`` times in the run: α·T(x) + (1 − α)·S(x), the joint prediction, judges D_c;
   an image is kept where its confidence exceeds the threshold of its class, which is lower for classes that are
   predicted rarely: τ_c = τ σ_c / (2 − σ_c), σ_c = n_c / max n, τ = 0.95.
2. Weighted feature alignment under the shared, frozen classifier (SimKD): E[w·MSE(Φ_S, Φ_T)] on the last feature
   maps, w = σ(‖S(x) − T(x)‖₂).
3. MixDistribution: each image of the batch takes over part of the channel statistics of another; the student's
   features of both are aligned by a contrastive loss (temperature 0.3), weight 1e-3.

A step is ``updates`` updates on L = alignment + contrast. Where the paper leaves room, the released code decides:

1. α falls with the progress p of the run: 1 − exp(−5(1.5 p − 1)²) while p < ½, then 0: from there on the student alone
   chooses. That is the released schedule of 240 epochs; one epoch is one selection here, and 240 the default.
2. The weights w are between ½ and 1 and grow with the distance: the student's mistakes count more.
3. MixDistribution mixes the images, not feature maps: λ ~ Beta(0.1, 0.1), one of each image. The student's BatchNorm
   sees mixed batches as well.
4. The released code also trains an embedding of the teacher's features by the same contrastive loss. Nothing of it
   reaches the student; it is left out.
5. What is contrasted is the average of the last feature map behind a learned linear map to 128 numbers.
6. Where no image passes its threshold all are kept; there, the loader fails.
7. The released code judges augmented images; here they are judged as they are. Defaults are those of HiDFD's student
   stage, its batch and length too; ``paper`` has the released random resized crops, the batch of 1,024 and 240 epochs
   of ImageNet's 1.28 million images.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dfkd_core.events import Event
from dfkd_core.kit import student_stage
from dfkd_core.kit.config import knob
from dfkd_core.kit.contract import Problem, Requirements, Summary, Term
from dfkd_core.kit.method import Method
from dfkd_core.kit.objective import Objective, last_of
from dfkd_core.kit.shared_classifier import SharedClassifier
from dfkd_core.kit.student_stage import StudentConfig, StudentStage, choose, collected_images, draw, show_choice
from dfkd_core.losses import student as losses
from dfkd_core.networks.classifiers import Features
from dfkd_core.selection.collected import BATCH, Predictor, class_adaptive, class_histogram

EMBEDDING = 128


class KD3Config(StudentConfig):
    """Defaults are the released code's, as long as HiDFD's student stage."""

    selections: int = knob(240, "How often in the run the images are chosen.", group="Choice", ge=1, le=100_000)
    confidence_cut: float = knob(
        0.95, "Confidence asked of the class that is predicted most; rarer ones need less.", group="Choice", live=True,
        symbol="τ", ge=0, lt=1,
    )  # fmt: skip
    contrast_weight: float = knob(1e-3, "Weight of the contrastive loss.", group="Contrast", live=True, ge=0, le=100)
    contrast_temperature: float = knob(0.3, "Temperature of the contrastive loss.", group="Contrast", gt=0, le=100)
    mixing: float = knob(
        0.1, "Concentration of the Beta distribution that the shares of two images are drawn from.", group="Contrast",
        symbol="a", gt=0, le=100,
    )  # fmt: skip
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "demo": {
            "distill_steps": 320,
            "updates": 5,
            "student_lr": 0.2,  # the mean over the map is small, and a demo short
            "schedule": "cosine",
            "augmentation": "crop",
            "selections": 20,
        },
        "cpu": {"distill_steps": 600, "updates": 5, "student_lr": 0.2, "schedule": "cosine", "selections": 20},
        "paper": {"distill_steps": 30_000, "batch_size": 1024, "augmentation": "resized-crop+flip"},
    }


def teacher_share(progress: float) -> float:
    """α, the teacher's part of the joint prediction after the share ``progress`` (0 to 1) of the run."""
    return 1 - math.exp(-5 * (1.5 * progress - 1) ** 2) if progress < 0.5 else 0.0


class _Alignment(Objective):
    """Weighted alignment under the shared classifier, and the contrast of images with mixed ones."""

    student: SharedClassifier
    terms = (
        Term("align", "feature alignment", of="student"),
        Term("contrast", "contrast", "contrast_weight", of="student"),
    )

    def __init__(self, method: KD3) -> None:
        super().__init__()
        self.config_of = lambda: method.config
        self.student = SharedClassifier(method.problem)
        channels = next(layer for layer in self.student.project if isinstance(layer, nn.Conv2d)).in_channels
        self.embed = nn.Linear(channels, EMBEDDING).to(method.device)

    def forward(self, images: Tensor, seen: Features) -> tuple[dict[str, Tensor], Tensor]:
        last_map = self._last_map(images)
        projected = self.student.project(F.adaptive_avg_pool2d(last_map, self.student.side))
        target = F.adaptive_avg_pool2d(last_of(seen.maps), self.student.side)
        with torch.no_grad():
            logits = self.student.classify(projected)
            weights = losses.distance_weights(logits, seen.logits)
        terms = {"align": losses.weighted_mse(projected, target, weights)}
        weight = self.config_of().contrast_weight
        if weight > 0:
            terms["contrast"] = weight * self._contrast(images, last_map)
        return terms, logits

    def _contrast(self, images: Tensor, last_map: Tensor) -> Tensor:
        c = self.config_of()
        mixed = self._last_map(losses.mix_distribution(images, c.mixing))
        one, other = (self.embed(features.mean(dim=(2, 3))) for features in (last_map, mixed))
        return losses.instance_contrast(one, other, c.contrast_temperature)

    def _last_map(self, images: Tensor) -> Tensor:
        return last_of(self.student.network.features(images).maps)


class KD3(Method[Problem, KD3Config]):
    """See the module's docstring."""

    name, title, Config = "kd3", "KD3", KD3Config
    requires = Requirements(collected=True, of_teacher="inside")
    summary = Summary(
        images="collected images",
        student="features under the shared classifier, contrast",
        chosen="those that teacher and student are both sure of",
    )
    phases = ("choose", *student_stage.PHASES)
    saved = ("joint", "kept", "stage")

    def __init__(self, problem: Problem, config: KD3Config) -> None:
        super().__init__(problem, config)
        self.collected = collected_images(problem)
        self.teacher_logits = Predictor(problem.teacher, problem.image, problem.device).predict(self.collected).logits
        self.queries = len(self.collected)
        self.stage = StudentStage(self, _Alignment(self))
        self.joint = self.teacher_logits  # (N, K), the joint prediction of the last selection
        self.kept = torch.ones(len(self.collected), dtype=torch.bool)

    def train(self) -> Iterator[Event]:
        """Updates on the images that were kept last."""
        images = self.collected[self.kept.to(self.device)]
        for seen in self.steps():
            if self.is_selecting():
                self.select(teacher_share((self.step - 1) / self.total_steps))
                counts = class_histogram(self.joint[self.kept].argmax(dim=1), len(self.image.classes))
                images = self.collected[self.kept.to(self.device)]
                seen.class_shares(always=True, kept=counts / counts.sum())
            if seen.watched:
                unsure = -self.joint.log_softmax(dim=1).amax(dim=1)
                show_choice(seen, self.collected, self.kept.nonzero()[:, 0], unsure)
            self.stage.learn(seen, lambda: draw(images, self.config.batch_size))  # noqa: B023 - called here
            seen.note(kept=self.kept.float().mean())
            yield from seen.events()

    def is_selecting(self) -> bool:
        """Whether one of the run's ``selections``, evenly spread, falls on this step."""
        before, now = ((step * self.config.selections) // self.total_steps for step in (self.step - 2, self.step - 1))
        return before < now

    @torch.no_grad()
    def select(self, share: float) -> None:
        """Keep the images of which the joint prediction α·T(x) + (1 − α)·S(x) is sure, ``share`` being α."""
        self.student.eval()
        student_logits = torch.cat([self.student(self.see(part)).cpu() for part in self.collected.split(BATCH)])
        self.joint = torch.lerp(student_logits, self.teacher_logits, share)
        kept = class_adaptive(self.joint, self.config.confidence_cut)
        self.kept = kept if kept.any() else torch.ones_like(kept)

    def synthesize(self, count: int, generator: torch.Generator) -> Tensor:
        """Nothing is made here: ``count`` collected images, normalised, in an order that ``generator`` determines."""
        return choose(self.collected, count, self.image, generator)
