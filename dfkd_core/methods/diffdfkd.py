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
   ``synthesis.guided_sampling``), so that one ``strength`` serves all teachers, and only the ratios of α, β, γ count.
3. It makes one image at a time, whose BatchNorm statistics are then those of a single image; here a batch at a time.
4. It trains a student anew after every ten images a class for ADV, and another one on all images. Here it is one
   student all along; its learning rate is annealed in stage 2.
5. Latent CutMix, which saves computing time, is left out, and so is CAM consistency, which the released settings weigh
   with 0.
6. The paper's diffusion model is Stable Diffusion, prompted with the teacher's classes. Where a small one has other
   classes than the teacher (the pool has none), OH takes the teacher's own argmax instead, as DAFL does.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dfkd_core.errors import RequestError
from dfkd_core.events import ClassShares, Event, Phase, Phases, Samples, Stage, Step
from dfkd_core.kit.config import knob
from dfkd_core.kit.contract import PhaseInfo, Problem, Requirements
from dfkd_core.kit.objectives import SoftTargets
from dfkd_core.kit.samples import describe, to_bytes
from dfkd_core.kit.student_stage import STUDENT_PHASES, Learned, StudentConfig, StudentStage, choose, draw
from dfkd_core.kit.terms import TermGuard, gradient_norms, shares
from dfkd_core.losses import generator as losses
from dfkd_core.losses.bn_statistics import collect_statistics, has_statistics
from dfkd_core.networks.classifiers import Features
from dfkd_core.synthesis.guided import Film
from dfkd_core.synthesis.stable_diffusion import StableDiffusion, guided_images

ADVERSARIAL_AFTER = 0.1  # of the batches: 20 of 200 images a class in the released settings


class DiffDFKDConfig(StudentConfig):
    """Weights and the student's settings are those of the released code."""

    source: Literal["diffusion", "stable-diffusion"] = knob(
        "diffusion", "Which kind of diffusion model makes the images.", group="Synthesis"
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
    student_lr: float = knob(
        0.1, "Learning rate of the student (SGD) at the start.", group="Student", live=True, symbol="η_S", gt=0, le=10
    )
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
        "paper": {"distill_steps": 4_690, "batch_size": 256, "schedule": "cosine"},
    }


class DiffDFKD:
    """See the module's docstring."""

    name: ClassVar[str] = "diffdfkd"
    title: ClassVar[str] = "DiffDFKD"
    Config: ClassVar[type[StudentConfig]] = DiffDFKDConfig
    requires: ClassVar[Requirements] = Requirements(diffusion=True)
    phases: ClassVar[tuple[PhaseInfo, ...]] = (
        PhaseInfo(
            "synthesis",
            "Synthesis",
            "From noise to image: what the clean image is taken to be at each step, and the guidance's loss there.",
            ("diffusion model", "guidance strength", "synthetic image"),
        ),
        *STUDENT_PHASES,
    )

    def __init__(self, problem: Problem, config: DiffDFKDConfig) -> None:
        if problem.diffusion is None:
            raise RequestError("diffusion", "", "there is no diffusion model that could make images.")
        self.config, self.image, self.device = config, problem.image, problem.device
        self.recording, self.guard = problem.recording, TermGuard()
        self.teacher = problem.teacher
        self.diffusion: Any = problem.diffusion
        self.stage = StudentStage(problem, config, SoftTargets(problem, config.temperature))
        self.student = self.stage.student
        self.bank: Tensor | None = None  # (N, C, H, W) uint8
        self.step = 0
        self.slow = False
        self.total_steps = config.synthesis_batches + config.distill_steps

    @property
    def student_learns(self) -> bool:
        return self.step > 0

    @property
    def told_classes(self) -> bool:
        """Whether the diffusion model's classes are the teacher's, so that OH knows which one was asked for."""
        if isinstance(self.diffusion, StableDiffusion):
            return self.diffusion.classes == len(self.image.classes)
        return self.diffusion.image.classes == self.image.classes

    def train(self) -> Iterator[Event]:
        """First the images, then the student on all of them."""
        while self.step < self.total_steps:
            self.step += 1
            if self.step == 1:
                yield Stage(1, "synthesis", "The teacher steers a diffusion model")
            if self.step == self.config.synthesis_batches + 1:
                yield Stage(self.step, "student", "The student learns from the images that were made")
            if self.step <= self.config.synthesis_batches:
                yield from self._synthesis_step()
            else:
                done = self.step - self.config.synthesis_batches - 1
                learned = self._learn(done / self.config.distill_steps)
                yield from self.stage.report(self.step, learned, self.slow, {"queries": self._queries()})

    # --- stage 1: synthesis ---

    def _synthesis_step(self) -> Iterator[Event]:
        """One batch of images joins the bank; the student learns from the bank so far."""
        labels = self._labels()
        images, film = self._make(labels)
        pixels = to_bytes(self.image.to_pixels(images)).permute(0, 3, 1, 2).contiguous()
        self.bank = pixels if self.bank is None else torch.cat([self.bank, pixels])
        measured = self.recording.due(self.recording.health_every, self.step)
        terms, norms = self._judge(images, labels, measured)
        seen, student_logits = self._see(images)
        learned = self._learn(0.0)
        metrics = self._metrics(terms, norms, learned, film)  # first, since it stops the run at a NaN
        if self.slow or self.recording.due(self.recording.phases_every, self.step):
            yield self._phases(terms, film, learned)
        if self.recording.due(self.recording.samples_every, self.step):
            yield self._samples(images, seen, student_logits)
            yield ClassShares(self.step, {"made": self._class_shares(seen)})
        yield Step(self.step, metrics)

    def _labels(self) -> Tensor:
        """The classes of the diffusion model in turn, going on where the last batch ended."""
        first = (self.step - 1) * self.config.synthesis_size
        return (first + torch.arange(self.config.synthesis_size, device=self.device)) % self.diffusion.classes

    def _make(self, labels: Tensor) -> tuple[Tensor, Film]:
        """One image for each of ``labels``, normalised, and how it came about."""
        c = self.config

        def guidance(images: Tensor) -> Tensor:
            return torch.stack(list(self.terms(images, labels).values())).sum().expand(len(images))

        self.student.eval()  # as it is: its BatchNorm statistics are not to move
        return guided_images(
            self.diffusion, guidance, labels, c.denoising_steps, c.strength, c.class_guidance, self.image
        )

    def terms(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """The weighted terms of the guidance of (B, C, H, W) normalised ``images``, of classes ``labels`` (B,)."""
        c = self.config
        with collect_statistics(self.teacher) as statistics:
            logits = self.teacher(images)
        found = logits.argmax(dim=1)
        terms = {}
        if c.bn_weight > 0 and has_statistics(self.teacher):
            terms["bn_statistics"] = c.bn_weight * statistics.distance(images)
        if c.class_prior_weight > 0:
            terms["class_prior"] = c.class_prior_weight * F.cross_entropy(
                logits, labels if self.told_classes else found
            )
        if c.adversarial_weight > 0 and self.step > ADVERSARIAL_AFTER * c.synthesis_batches:
            student_logits = self.student(images)
            agree = (student_logits.argmax(dim=1) == found).float()
            disagreement = losses.kl_discrepancy(student_logits, logits, agree) * agree.mean()
            terms["adversarial"] = -c.adversarial_weight * disagreement
        return terms or {"class_prior": 0 * logits.sum()}  # nothing guides

    # --- the student ---

    def _learn(self, progress: float) -> Learned:
        bank = self.bank
        assert bank is not None, "stage 1 comes first"
        return self.stage.learn(progress, lambda: draw(bank, self.config.batch_size))

    def _queries(self) -> float:
        """Images that the teacher has judged so far: at every denoising step, and for the student."""
        c = self.config
        made = min(self.step, c.synthesis_batches) * c.synthesis_size
        return float(made * c.denoising_steps + self.step * c.updates * c.batch_size)

    # --- what others see ---

    def _judge(self, images: Tensor, labels: Tensor, measured: bool) -> tuple[dict[str, Tensor], dict[str, float]]:
        """The terms of finished images and, if ``measured``, the norms of their gradients at these images."""
        with torch.set_grad_enabled(measured):
            pixels = nn.Parameter(images, requires_grad=measured)
            terms = self.terms(pixels, labels)
        norms = gradient_norms(terms, [pixels]) if measured else {}
        return {name: term.detach() for name, term in terms.items()}, norms

    @torch.no_grad()
    def _see(self, images: Tensor) -> tuple[Features, Tensor]:
        """What the teacher sees in ``images``, and the student's logits before it learns from them."""
        return self.teacher.features(images), self.student(images)

    @torch.no_grad()
    def _metrics(
        self, terms: dict[str, Tensor], norms: dict[str, float], learned: Learned, film: Film
    ) -> dict[str, float]:
        values = self.guard.read(self.step, terms)
        student = self.stage.metrics(self.step, learned)
        if not student:  # nothing is due
            return {}
        assert self.bank is not None
        made = {"guidance": sum(values.values()), "guidance_first": film.loss[0].item(), "images": len(self.bank)}
        return {**values, **student, **made, "queries": self._queries(), **shares(norms)}

    def _samples(self, images: Tensor, seen: Features, student_logits: Tensor) -> Samples:
        """The first images of the batch, as both networks saw them when they were new."""
        count = self.recording.samples
        seen = Features(seen.logits[:count], seen.pooled[:count], {})
        pixels = self.image.to_pixels(images[:count])
        return describe(self.step, pixels, seen, student_logits[:count], None, features=self.recording.features)

    def _class_shares(self, seen: Features) -> list[float]:
        """The classes of the batch as the teacher sees them."""
        counts = torch.bincount(seen.logits.argmax(dim=1), minlength=len(self.image.classes))
        return (counts / counts.sum()).tolist()

    def _phases(self, terms: dict[str, Tensor], film: Film, learned: Learned) -> Phases:
        """The film, those of one denoising step after those of the other; then the student's last update."""
        steps, shown = film.frames.shape[:2]
        frames = to_bytes(self.image.to_pixels(film.frames.flatten(0, 1))).numpy()
        arrays = {
            "loss": film.loss.numpy(),
            "timestep": film.timesteps.numpy(),
            "shown": np.array([steps, shown]),
        }
        values = {name: term.item() for name, term in terms.items()}
        values |= {"guidance": film.loss[-1].item(), "guidance_first": film.loss[0].item()}
        student = self.stage.in_slow_motion(self.step, learned).phases
        return Phases(self.step, (Phase("synthesis", values, frames, arrays), *student))

    def synthesize(self, count: int, generator: torch.Generator) -> Tensor:
        """``count`` images of the bank, normalised, in an order that ``generator`` determines; before the first batch,
        the noise that denoising begins with."""
        if self.bank is None:
            noise = torch.randn(count, self.image.channels, self.image.size, self.image.size, generator=generator)
            return self.image.normalise(((noise + 1) / 2).clamp(0, 1)).to(self.device)
        return choose(self.bank, count, self.image, generator)

    def reconfigure(self, config: DiffDFKDConfig) -> None:
        """Weights, strengths and the learning rate from the next step on."""
        self.config = config
        self.stage.reconfigure(config)

    def state_dict(self) -> dict[str, Any]:
        return {"step": self.step, "stage": self.stage.state_dict(), "bank": self.bank}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.step = state["step"]
        self.bank = None if state["bank"] is None else state["bank"].to(self.device)
        self.stage.load_state_dict(state["stage"])
