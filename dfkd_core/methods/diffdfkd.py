"""DiffDFKD: data-free knowledge distillation with diffusion models (Qi et al., ICME 2025, arXiv 2504.00870).

A diffusion model that never saw the teacher's data makes images, and the teacher steers it: at every denoising step
the gradient of α·BNS + β·OH + γ·ADV at the predicted clean image flows back to the noisy one. Two stages of one run:

1. ``synthesis_batches`` steps: a batch of images, of every class in turn, joins the bank; then the student takes
   ``updates`` updates on the bank, since ADV needs one that has learned something. OH is the cross-entropy of the
   teacher with the class that the diffusion model was asked for, BNS the distance from the statistics of the teacher's
   BatchNorm layers, ADV = −KL(T ‖ S) of the images on whose class both agree; it joins in after a tenth of the batches.
2. ``distill_steps`` steps of ``updates`` updates: the student matches the teacher on the bank, T²·KL.

Differences from the paper and from its released code:

1. The released code predicts the clean image without gradients, so the loss never reaches what it means to move. Here
   it flows through the U-Net, as in the paper's figure 1.
2. It subtracts the gradient as it is. Here each image's is scaled to a root mean square of 1 (see
   ``synthesis.guided.guided_sampling``), so that one ``strength`` serves all teachers, and only the ratios of α, β, γ
   count.
3. It makes one image at a time, whose BatchNorm statistics are then those of a single image; here a batch at a time.
4. It trains a student anew after every ten images a class for ADV, and another one on all images. Here it is one
   student all along; its learning rate is annealed in stage 2.
5. Latent CutMix, which saves computing time, is left out, and so is CAM consistency, which the released settings weigh
   with 0.
6. The released code takes the teacher's answers in ADV for constants, as ``adversarial_gradient`` = ``student`` does;
   here the gradient is that of the equation, another direction (cosines of 0.01, 0.58, −0.10 at t = 999, 500, 100).
7. The paper's diffusion model is Stable Diffusion, prompted with the teacher's classes. Where a small one has other
   classes than the teacher (the pool has none), OH takes the teacher's own argmax instead, as DAFL does. With Stable
   Diffusion the last denoising step is not guided: no later one would denoise the correction.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dfkd_core.errors import RequestError
from dfkd_core.events import Event
from dfkd_core.kit import student_stage
from dfkd_core.kit.config import Stage, exactly, knob, other_default
from dfkd_core.kit.contract import Problem, Requirements, Summary, Term
from dfkd_core.kit.method import Method
from dfkd_core.kit.objective import SoftTargets
from dfkd_core.kit.recorder import Seen
from dfkd_core.kit.samples import to_bytes
from dfkd_core.kit.student_stage import StudentConfig, StudentStage, choose, draw
from dfkd_core.losses.bn_statistics import observe
from dfkd_core.losses.generator import decision_adversarial
from dfkd_core.synthesis.guided import Film

ADVERSARIAL_AFTER = 0.1  # of the batches: 20 of 200 images a class in the released settings


class DiffDFKDConfig(StudentConfig):
    """Weights and the student's settings are those of the released code."""

    student_title = "The student learns from the images that were made"
    source: Literal["diffusion", "stable-diffusion"] = knob(
        "diffusion", "Which kind of diffusion model makes the images.", group="Synthesis", first=True
    )
    synthesis_batches: int = knob(500, "Batches of images that are made.", group="Synthesis", ge=1, le=100_000)
    synthesis_size: int = knob(100, "Images of one such batch.", group="Synthesis", ge=2, le=4096, memory=True)
    denoising_steps: int = knob(50, "Steps from noise to image.", group="Guidance", ge=1, le=1000)
    strength: float = knob(
        1.0, "How far the guidance moves a denoising step; 0: not at all.", group="Guidance", live=True, ge=0, le=1000
    )
    class_guidance: float = knob(
        3.0, "Classifier-free guidance of the diffusion model; 1: none.", group="Guidance", live=True, ge=0, le=50
    )
    bn_weight: float = knob(
        0.1, "Weight of the BatchNorm statistics.", group="Guidance", live=True, symbol="α", ge=0, le=1000
    )
    class_prior_weight: float = knob(
        1.0, "Weight of the cross-entropy with the class asked for.", group="Guidance", live=True, symbol="β", ge=0,
        le=100,
    )  # fmt: skip
    adversarial_weight: float = knob(
        1.0, "Weight of the disagreement of student and teacher.", group="Guidance", live=True, symbol="γ", ge=0, le=100
    )
    adversarial_gradient: Literal["both", "student"] = knob(
        "both", "Whether ADV's gradient flows through both networks, or takes the teacher's answers for constants.",
        group="Guidance",
    )  # fmt: skip
    student_lr: float = other_default(StudentConfig, "student_lr", 0.1)
    temperature: float = knob(30.0, "Temperature of the student's targets.", group="Student", symbol="T", gt=0, le=1000)
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "demo": {
            "synthesis_batches": 20,
            "synthesis_size": 50,
            "denoising_steps": 8,
            "class_guidance": 1.0,
            "distill_steps": 150,
            "updates": 5,
            "schedule": "cosine",
            "augmentation": "crop",
        },
        "cpu": {
            "synthesis_batches": 60,
            "denoising_steps": 10,
            "class_guidance": 1.0,
            "distill_steps": 600,
            "updates": 5,
            "schedule": "cosine",
            "augmentation": "crop",
        },
        "paper": {"distill_steps": 4_690, "batch_size": 256, "student_lr": 0.2},
    }

    def stages(self) -> tuple[Stage, ...]:
        title = "The teacher steers a diffusion model"
        return (Stage("synthesis", title, self.synthesis_batches, self.learned), *super().stages())

    def queries(self, stage: str) -> tuple[int, int]:
        made = self.synthesis_size * self.denoising_steps if stage == "synthesis" else 0
        return exactly(made + super().queries(stage)[0])

    @property
    def source_kind(self) -> str:
        return self.source

    @property
    def films(self) -> int:
        return self.synthesis_batches


class DiffDFKD(Method[Problem, DiffDFKDConfig]):
    """See the module's docstring."""

    name, title, Config = "diffdfkd", "DiffDFKD", DiffDFKDConfig
    requires = Requirements(source=True)
    summary = Summary(
        images="a diffusion model that was trained on other data, guided by the teacher",
        student="softened answers",
        kept="all images that were made: {synthesis_batches:,} batches of {synthesis_size:,}",
        fitted=True,
    )
    terms = (
        Term("bn_statistics", "BN statistics", "bn_weight", of="images", batch_norm=True),
        Term("class_prior", "class prior", "class_prior_weight", of="images"),
        Term("adversarial", "adversarial", "adversarial_weight", of="images"),
    )
    phases = ("synthesis", *student_stage.PHASES)
    saved = ("synthesised", "stage")

    def __init__(self, problem: Problem, config: DiffDFKDConfig) -> None:
        super().__init__(problem, config)
        if problem.source is None:
            raise RequestError("diffusion", "", "there is no diffusion model that could make images.")
        self.source = problem.source
        self.stage = StudentStage(self, SoftTargets(problem, config.temperature))

    def train(self) -> Iterator[Event]:
        """First the images, then the student on all of them."""
        for seen in self.steps():
            if seen.stage == "synthesis":
                self.synthesise(seen)
            else:
                self.stage.learn(seen, self.draw)
            yield from seen.events()

    def synthesise(self, seen: Seen) -> None:
        """One batch of images joins the bank; the student learns from the bank so far."""
        count = self.config.synthesis_size  # of every class in turn, going on where the last batch ended
        labels = ((self.step - 1) * count + torch.arange(count, device=self.device)) % len(self.source.names)
        images, film = self.make(labels)
        made = to_bytes(self.image.to_pixels(images)).permute(0, 3, 1, 2).contiguous()
        self.synthesised = made if self.synthesised is None else torch.cat([self.synthesised, made])
        self.queries += count * self.config.denoising_steps
        with torch.set_grad_enabled(seen.measuring):
            pixels = nn.Parameter(images, requires_grad=seen.measuring)
            seen.weigh([pixels], **self.guidance(pixels, labels))
        with torch.no_grad():  # the student before it learns from them
            answers, student_logits = self.teacher.features(images), self.student(images)
        self.stage.learn(seen, self.draw, done=0)
        seen.note(guidance_first=film.loss[0].item(), images=len(self.synthesised))
        seen.samples(answers, student_logits, images=images)
        counts = answers.logits.argmax(dim=1).bincount(minlength=len(self.image.classes))
        seen.class_shares(made=counts / counts.sum())
        seen.film(film)

    def make(self, labels: Tensor) -> tuple[Tensor, Film]:
        """One image for each of ``labels``, normalised, and how it came about."""
        c = self.config

        def loss(images: Tensor) -> Tensor:
            return torch.stack(list(self.guidance(images, labels).values())).sum().expand(len(images))

        self.student.eval()  # as it is: its BatchNorm statistics are not to move
        made = (self.step - 1) * len(labels)
        return self.source.guided(loss, labels, c.denoising_steps, c.strength, c.class_guidance, self.image, made)

    def guidance(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """α·BNS + β·OH + γ·ADV of (B, C, H, W) normalised ``images``, of classes ``labels`` (B,): those that are on."""
        c = self.config
        answers, distance = observe(self.teacher, images)
        logits = answers.logits
        found = logits.argmax(dim=1)
        terms = {}
        if self.is_on("bn_statistics"):
            terms["bn_statistics"] = c.bn_weight * distance
        if self.is_on("class_prior"):
            told = labels if self.source.names == self.image.classes else found
            terms["class_prior"] = c.class_prior_weight * F.cross_entropy(logits, told)
        if self.is_on("adversarial") and self.step > ADVERSARIAL_AFTER * c.synthesis_batches:
            constant = logits.detach() if c.adversarial_gradient == "student" else logits
            terms["adversarial"] = c.adversarial_weight * decision_adversarial(self.student(images), constant)
        return terms or {"class_prior": 0 * logits.sum()}  # nothing guides

    def draw(self) -> Tensor:
        """B images of the bank, in [0, 1]."""
        assert self.synthesised is not None, "the first stage comes first"
        return draw(self.synthesised, self.config.batch_size)

    def synthesize(self, count: int, generator: torch.Generator) -> Tensor:
        """``count`` images of the bank, normalised, in an order that ``generator`` determines; before the first batch,
        the noise that denoising begins with."""
        if self.synthesised is None:
            noise = torch.randn(count, self.image.channels, self.image.size, self.image.size, generator=generator)
            return self.image.normalise(((noise + 1) / 2).clamp(0, 1)).to(self.device)
        return choose(self.synthesised, count, self.image, generator)
