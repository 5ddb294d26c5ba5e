"""TA-DFKD: Teacher as a Lenient Expert (Shin & Choi, AAAI 2024, arXiv 2402.12406).

The generator gets no class prior. The teacher judges its samples instead, and only those it vouches for are
learned from. One step is:

1. ``student_steps`` times: generate batches, let the teacher judge them (cross-entropy with its own argmax), split
   the losses by a two-component mixture, until B clean samples are there; the student learns from them by
   L_S = mean |S(x̂) − T(x̂)|.
2. Once: the generator descends L_G = L_adv + λ_BN·BNS + λ_L2·‖x̂‖₂ + λ_TV·TV(x̂), its adversarial term on the clean
   samples only, the others on the whole batch.

The terms of DAFL (class prior λ, class balance, activation) are there for the paper's Figures 1 and 2; they are off.

Differences from the paper and from its released code:

1. The released code norms the whole batch in TV and L2, so its weights hold for B = 1024 only; here both are
   divided by √(B/1024), and the published weights carry over to any batch size.
2. The number of draws per student step is bounded (``max_draws``); the released loop is not. It also always draws at
   least twice; here one draw is enough when all of it is clean.
3. The generator does not change between the student steps of one step, so clean samples beyond B are kept for the
   next student step instead of being thrown away.
4. The student is in eval mode while the generator learns; in the released code it stays in train mode.
5. BNS comes from the forward of the full generated batch; there, from whichever teacher forward ran last.
6. A batch of equal losses is kept whole; there, min–max scaling makes it NaN.
7. Crops and flips are drawn per sample; there, once per batch.
8. The adversarial term is chosen by ``adversarial``. ``js-released`` is the published one; it averages over classes,
   which leaves its gradient far below that of the other terms.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dfkd_core.events import Epoch, Event, Phase, Phases, Samples, Step
from dfkd_core.kit.augmentation import augment
from dfkd_core.kit.config import MethodConfig, knob
from dfkd_core.kit.contract import PhaseInfo, Problem, Requirements
from dfkd_core.kit.samples import SHOWN, answers, describe, thumbnails
from dfkd_core.kit.terms import TermGuard, gradient_norm, gradient_norms, shares
from dfkd_core.losses import generator as losses
from dfkd_core.losses.bn_statistics import collect_statistics, has_statistics
from dfkd_core.networks.classifiers import Features
from dfkd_core.networks.generators import ConvGenerator
from dfkd_core.selection.mixture import Selection, judge, select


class TADFKDConfig(MethodConfig):
    """Defaults are the paper's CIFAR-10 settings."""

    adversarial: Literal["l1", "kl", "js", "js-released"] = knob(
        "js-released", "How the disagreement between student and teacher is measured.", group="Generator", symbol="D"
    )
    adversarial_weight: float = knob(
        1.0,
        "Weight of the adversarial term; 0 switches it off.",
        group="Generator",
        live=True,
        symbol="λ_adv",
        ge=0,
        le=100,
    )
    bn_weight: float = knob(
        10.0, "Weight of the BatchNorm statistics term.", group="Generator", live=True, symbol="λ_BN", ge=0, le=1000
    )
    l2_weight: float = knob(
        6e-3,
        "Weight of the image norm, for a batch of 1024.",
        group="Generator",
        live=True,
        symbol="λ_L2",
        ge=0,
        le=100,
    )
    tv_weight: float = knob(
        1.5e-5,
        "Weight of the total variation, for a batch of 1024.",
        group="Generator",
        live=True,
        symbol="λ_TV",
        ge=0,
        le=100,
    )
    class_prior_weight: float = knob(
        0.0,
        "Intensity of the class prior that TA-DFKD does without.",
        group="Class prior",
        live=True,
        symbol="λ",
        ge=0,
        le=10,
    )
    class_balance_weight: float = knob(
        0.0, "Weight of the class balance (DAFL).", group="Class prior", live=True, symbol="λ_BAL", ge=0, le=100
    )
    activation_weight: float = knob(
        0.0, "Weight of the activation term (DAFL).", group="Class prior", live=True, symbol="λ_a", ge=0, le=100
    )
    selection: bool = knob(True, "Learn only from samples that the teacher vouches for.", group="Selection", live=True)
    posterior_cut: float = knob(
        0.5, "A sample is clean above this posterior of the low-loss component.", group="Selection", live=True,
        symbol="τ", ge=0, lt=1,
    )  # fmt: skip
    max_draws: int = knob(
        10, "Batches generated at most for one student step.", group="Selection", unit="batches", ge=1, le=100
    )
    epochs: int = knob(200, "Length of the run.", group="Schedule", unit="epochs", ge=1, le=100_000)
    iterations: int = knob(36, "Steps in an epoch.", group="Schedule", unit="steps", ge=1, le=100_000)
    student_steps: int = knob(
        10, "Student steps per generator step.", group="Schedule", symbol="k", unit="steps", ge=1, le=1000
    )
    batch_size: int = knob(
        1024, "Images per batch.", group="Schedule", symbol="B", unit="images", memory=True, ge=4, le=16384
    )
    student_lr: float = knob(
        0.01, "Learning rate of the student (SGD, cosine).", group="Optimisation", live=True, symbol="η_S", gt=0, le=10
    )
    momentum: float = knob(0.9, "Momentum of the student's SGD.", group="Optimisation", ge=0, lt=1)
    weight_decay: float = knob(5e-4, "Weight decay of the student's SGD.", group="Optimisation", ge=0, le=1)
    generator_lr: float = knob(
        1e-3, "Learning rate of the generator (Adam).", group="Optimisation", live=True, symbol="η_G", gt=0, le=10
    )
    latent: int = knob(1000, "Length of a latent vector.", group="Networks", symbol="z", ge=1, le=10_000)
    width: int = knob(
        64, "Channels of the generator's last hidden layer.", group="Networks", symbol="w", memory=True, ge=4, le=512
    )
    augmentation: Literal["none", "crop", "crop+flip"] = knob(
        "crop+flip", "Augmentation of the view that is learned from.", group="Networks"
    )
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "demo": {
            "adversarial": "l1",
            "epochs": 30,
            "iterations": 20,
            "student_steps": 5,
            "batch_size": 128,
            "latent": 100,
            "width": 16,
            "student_lr": 0.1,
            "generator_lr": 0.01,
            "bn_weight": 0.03,
            "l2_weight": 0.0,
            "tv_weight": 0.0,
            "augmentation": "none",
        },
        "cpu": {
            "adversarial": "l1",
            "epochs": 28,
            "iterations": 50,
            "student_steps": 5,
            "batch_size": 256,
            "latent": 100,
            "width": 16,
            "student_lr": 0.05,
            "bn_weight": 0.1,
            "l2_weight": 0.0,
            "tv_weight": 0.0,
            "augmentation": "none",
        },
        "paper": {},
    }


@dataclass(frozen=True)
class _Drawn:
    """One batch that the generator drew for the student, as the teacher judged it."""

    latents: Tensor
    pixels: Tensor
    logits: Tensor
    verdict: Selection | None


@dataclass(frozen=True)
class _Learned:
    """What the student steps of one step leave behind; the last of them learned from ``images``."""

    loss: Tensor
    drawn: int
    kept: int
    images: Tensor
    teacher_logits: Tensor


@dataclass(frozen=True)
class _Explored:
    """What the generator step leaves behind. ``terms`` are weighted; ``judged`` is the un-augmented view."""

    pixels: Tensor
    judged: Features
    student_logits: Tensor
    verdict: Selection
    terms: dict[str, Tensor]
    norms: dict[str, float]


class TADFKD:
    """See the module's docstring."""

    name: ClassVar[str] = "ta-dfkd"
    title: ClassVar[str] = "TA-DFKD"
    Config: ClassVar[type[MethodConfig]] = TADFKDConfig
    requires: ClassVar[Requirements] = Requirements()
    student_learns = True
    phases: ClassVar[tuple[PhaseInfo, ...]] = (
        PhaseInfo(
            "latents", "Draw latents", "Random vectors z ~ N(0, I): all that the generator starts from.", ("latent",)
        ),
        PhaseInfo(
            "generate",
            "Generate",
            "The generator turns each latent into an image, x̂ = G(z).",
            ("generator", "synthetic image"),
        ),
        PhaseInfo(
            "judge",
            "The teacher judges",
            "The teacher names a class for each image. Its loss against its own answer, "
            "ℓ = CE(T(x̂), argmax T(x̂)), is low where it is sure.",
            ("teacher", "judged loss", "cross-entropy", "confidence"),
        ),
        PhaseInfo(
            "split",
            "The mixture splits",
            "Two Gaussians are fitted to the losses of the batch. A sample is clean when the one of lower mean "
            "explains it with a posterior above τ.",
            ("mixture", "posterior", "threshold", "clean", "rejected"),
        ),
        PhaseInfo(
            "student",
            "The student learns",
            "On clean samples only, the student's logits move towards the teacher's: L_S = mean |S(x̂) − T(x̂)|.",
            ("student", "student loss", "logit", "gradient", "learning rate"),
        ),
        PhaseInfo(
            "generator",
            "The generator learns",
            "A new batch: the generator looks for images on which student and teacher disagree (adversarial), with the "
            "statistics of the data that the teacher remembers in its BatchNorm layers.",
            ("generator loss", "adversarial term", "BN statistics", "term health"),
        ),
    )

    def __init__(self, problem: Problem, config: TADFKDConfig) -> None:
        self.config, self.image, self.device = config, problem.image, problem.device
        self.recording, self.guard = problem.recording, TermGuard()
        self.teacher, self.student = problem.teacher, problem.student
        generator = ConvGenerator(config.latent, problem.image.channels, problem.image.size, config.width)
        self.generator = generator.to(problem.device).to(memory_format=torch.channels_last)
        self.student_optimizer = torch.optim.SGD(
            self.student.parameters(), config.student_lr, config.momentum, weight_decay=config.weight_decay, fused=True
        )
        self.generator_optimizer = torch.optim.Adam(self.generator.parameters(), config.generator_lr, fused=True)
        self.step = self.queries = 0
        self.slow = False
        self.total_steps = config.epochs * config.iterations

    def train(self) -> Iterator[Event]:
        """k student steps on clean samples, then one generator step."""
        self.generator.train()
        while self.step < self.total_steps:
            self.step += 1
            rate = self._anneal()
            learned = self._student_phase()
            explored = self._generator_step()
            self.queries += (learned.drawn + 1) * self.config.batch_size
            metrics = self._metrics(learned, explored, rate)  # first, since it stops the run at a NaN
            if self._is_watched():
                yield self._in_slow_motion(learned, explored, rate)
            if self.recording.due(self.recording.samples_every, self.step):
                yield self._samples(explored)
            if self.step % self.config.iterations == 0:
                yield Epoch(self.step, self.step // self.config.iterations, rate)
            yield Step(self.step, metrics)

    # --- student ---

    def _student_phase(self) -> _Learned:
        """k student steps, each on B clean samples."""
        self.student.train()
        pool: list[tuple[Tensor, Tensor]] = []
        drawn = kept = 0
        loss = torch.zeros((), device=self.device)
        learned_from = teacher_says = torch.empty(0, device=self.device)
        for _ in range(self.config.student_steps):
            pool, draws, clean = self._draw_clean(pool)
            drawn, kept = drawn + draws, kept + clean
            images, teacher_logits, pool = self._take(pool)
            if len(images) < 2:  # BatchNorm in train mode needs two
                continue
            loss = F.l1_loss(self.student(images), teacher_logits)  # L_S
            self.student_optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.student_optimizer.step()
            learned_from, teacher_says = images, teacher_logits
        return _Learned(loss.detach(), drawn, kept, learned_from, teacher_says)

    @torch.no_grad()
    def _draw_clean(self, pool: list[tuple[Tensor, Tensor]]) -> tuple[list[tuple[Tensor, Tensor]], int, int]:
        """Fill ``pool``, of (images, teacher's logits), up to B. Returns it, the batches drawn, the samples kept."""
        c = self.config
        have, draws, clean = sum(len(images) for images, _ in pool), 0, 0
        while have < c.batch_size and draws < c.max_draws:
            draws += 1
            latents = self._latents()
            pixels = self.generator(latents)
            images = self.image.normalise(pixels)
            teacher_logits = self.teacher(images)  # judged on the un-augmented view
            verdict = select(judge(teacher_logits), c.posterior_cut) if c.selection else None
            self.drawn = _Drawn(latents, pixels, teacher_logits, verdict)
            if c.augmentation != "none":
                images = self.image.normalise(augment(pixels, c.augmentation))
            if verdict is not None:
                images, teacher_logits = images[verdict.clean], teacher_logits[verdict.clean]
            pool = [*pool, (images, teacher_logits)]
            have, clean = have + len(images), clean + len(images)
        return pool, draws, clean

    @torch.no_grad()
    def _take(self, pool: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor, list[tuple[Tensor, Tensor]]]:
        """The first B images of ``pool`` with the teacher's logits on them, and the rest."""
        size = self.config.batch_size
        images, logits = (torch.cat(parts) for parts in zip(*pool, strict=True))
        rest = [(images[size:], logits[size:])]
        images, logits = images[:size], logits[:size]
        if self.config.augmentation != "none" and len(images):
            logits = self.teacher(images)  # the pool's logits are of the un-augmented view
        return images, logits, rest

    # --- generator ---

    def _generator_step(self) -> _Explored:
        """One step on L_G."""
        c = self.config
        self.student.eval()
        pixels = self.generator(self._latents())
        images = self.image.normalise(augment(pixels, c.augmentation))
        with collect_statistics(self.teacher) as statistics:
            seen = self.teacher.features(images)
        with torch.no_grad():
            judged = seen if c.augmentation == "none" else self.teacher.features(self.image.normalise(pixels))
            verdict = select(judge(judged.logits), c.posterior_cut)
        student_logits = self.student(images)
        discrepancy = losses.DISCREPANCIES[c.adversarial]
        clean = verdict.clean if c.selection else None
        scale = math.sqrt(c.batch_size / 1024)
        terms = {
            "adversarial": -c.adversarial_weight * discrepancy(student_logits, seen.logits, clean),
            "bn_statistics": c.bn_weight * statistics.distance(images),
            "l2": c.l2_weight * losses.image_norm(images) / scale,
            "tv": c.tv_weight * losses.total_variation(images) / scale,
            "class_prior": c.class_prior_weight * losses.class_prior(seen.logits),
            "class_balance": c.class_balance_weight * losses.class_balance(seen.logits),
            "activation": c.activation_weight * losses.activation(seen.pooled),
        }
        terms = {name: term for name, term in terms.items() if self._is_on(name)}
        loss = sum(terms.values(), torch.zeros((), device=self.device))  # L_G
        norms = {}
        if self._is_watched() or self.recording.due(self.recording.health_every, self.step):
            norms = gradient_norms(terms, list(self.generator.parameters()))
        self.generator_optimizer.zero_grad(set_to_none=True)
        if loss.requires_grad:
            loss.backward(inputs=list(self.generator.parameters()))
            self.generator_optimizer.step()
        return _Explored(pixels, judged, student_logits, verdict, terms, norms)

    def _is_on(self, term: str) -> bool:
        """Whether the term has a weight; BNS also needs a teacher with BatchNorm layers (LeNet-5 has none)."""
        if term == "bn_statistics":
            return self.config.bn_weight > 0 and has_statistics(self.teacher)
        return bool(getattr(self.config, f"{term}_weight") > 0)

    def _latents(self) -> Tensor:
        return torch.randn(self.config.batch_size, self.config.latent, device=self.device)

    def _anneal(self) -> float:
        """Cosine per epoch, a function of the step alone so that a resumed run needs no scheduler."""
        epoch = (self.step - 1) // self.config.iterations
        rate = self.config.student_lr * 0.5 * (1 + math.cos(math.pi * epoch / self.config.epochs))
        for group in self.student_optimizer.param_groups:
            group["lr"] = rate
        return rate

    # --- what others see ---

    @torch.no_grad()
    def _metrics(self, learned: _Learned, explored: _Explored, rate: float) -> dict[str, float]:
        """Floats where they are due. On a CPU reading them is free, so every step is checked for NaN there."""
        healthy = self.recording.due(self.recording.health_every, self.step)
        due = healthy or self.recording.due(self.recording.log_every, self.step)
        if not due and self.device.type != "cpu":
            return {}
        values = self.guard.read(self.step, {"student_loss": learned.loss, **explored.terms})
        if not due:
            return {}
        balance = losses.class_balance(explored.judged.logits)
        return {
            **values,
            "generator_loss": sum(values[name] for name in explored.terms),
            "kept": learned.kept / max(1, learned.drawn * self.config.batch_size),
            "draws": learned.drawn / self.config.student_steps,
            "queries": float(self.queries),  # images that the teacher has judged so far
            "coverage": math.exp(-float(balance)) / len(self.image.classes),
            "diversity": float(losses.diversity(explored.judged.pooled)),
            "learning_rate": rate,
            **(shares(explored.norms) if healthy else {}),
        }

    @torch.no_grad()
    def _samples(self, explored: _Explored) -> Samples:
        """The first samples of the generator's batch, as teacher and student see them un-augmented."""
        count = min(self.recording.samples, self.config.batch_size)
        judged = Features(explored.judged.logits[:count], explored.judged.pooled[:count], {})
        student_logits = explored.student_logits[:count]
        if self.config.augmentation != "none":
            student_logits = self.student(self.image.normalise(explored.pixels[:count]))
        pixels, verdict = explored.pixels[:count], explored.verdict
        return describe(self.step, pixels, judged, student_logits, verdict, features=self.recording.features)

    def _is_watched(self) -> bool:
        return self.slow or self.recording.due(self.recording.phases_every, self.step)

    def _in_slow_motion(self, learned: _Learned, explored: _Explored, rate: float) -> Phases:
        """This step's tensors, phase by phase: the last batch drawn for the student, then the generator's."""
        drawn = self.drawn
        images, loss = thumbnails(drawn.pixels), judge(drawn.logits).float().cpu().numpy()
        latents = drawn.latents[:SHOWN].cpu().numpy()
        return Phases(
            self.step,
            (
                Phase("latents", {"length": float(self.config.latent)}, None, {"latents": latents}),
                Phase("generate", {}, images),
                Phase("judge", {}, images, {**answers("teacher", drawn.logits), "loss": loss[:SHOWN]}),
                self._phase_split(images, loss, drawn.verdict),
                self._phase_student(learned, rate),
                self._phase_generator(explored),
            ),
        )

    def _phase_split(self, images: np.ndarray, loss: np.ndarray, verdict: Selection | None) -> Phase:
        if verdict is None:
            everything = np.ones(len(loss), dtype=bool)
            return Phase("split", {"kept": 1.0, "batch": float(len(loss))}, images, {"loss": loss, "clean": everything})
        fit, clean = verdict.summary(), verdict.clean.cpu().numpy()
        values = {"kept": float(clean.mean()), "batch": float(len(loss))}
        values |= {name: float(fit[name]) for name in ("low", "high", "threshold")}
        fitted = {name: np.array(fit[name]) for name in ("weights", "means", "deviations", "region") if fit["usable"]}
        return Phase("split", values, images, {"loss": loss, "clean": clean, **fitted})

    @torch.no_grad()
    def _phase_student(self, learned: _Learned, rate: float) -> Phase:
        values = {
            "student_loss": float(learned.loss),
            "gradient": gradient_norm(self.student),
            "learning_rate": rate,
            "student_steps": float(self.config.student_steps),
        }
        images = learned.images[:SHOWN]
        if not len(images):  # nothing was clean
            return Phase("student", values)
        both = answers("teacher", learned.teacher_logits) | answers("student", self.student(images))
        return Phase("student", values, thumbnails(self.image.to_pixels(images)), both)

    @torch.no_grad()
    def _phase_generator(self, explored: _Explored) -> Phase:
        values = {name: term.item() for name, term in explored.terms.items()}
        values |= {f"gradient/{name}": norm for name, norm in explored.norms.items()}
        clean = explored.verdict.clean[:SHOWN].cpu().numpy()
        return Phase("generator", values, thumbnails(explored.pixels), {"clean": clean})

    @torch.no_grad()
    def synthesize(self, count: int, generator: torch.Generator) -> Tensor:
        """``count`` normalised images from latents of ``generator`` (a CPU one); the training state stays as it is."""
        latents = torch.randn(count, self.config.latent, generator=generator).to(self.device)
        self.generator.eval()
        pixels = self.generator(latents)
        self.generator.train()
        return self.image.normalise(pixels)

    def reconfigure(self, config: TADFKDConfig) -> None:
        """Weights, threshold and learning rates from the next step on."""
        self.config = config
        for group in self.generator_optimizer.param_groups:
            group["lr"] = config.generator_lr

    def state_dict(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "queries": self.queries,
            "student": self.student.state_dict(),
            "generator": self.generator.state_dict(),
            "student_optimizer": self.student_optimizer.state_dict(),
            "generator_optimizer": self.generator_optimizer.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.step = state["step"]
        self.student.load_state_dict(state["student"])
        self.generator.load_state_dict(state["generator"])
        self.queries = state["queries"]
        self.student_optimizer.load_state_dict(state["student_optimizer"])
        self.generator_optimizer.load_state_dict(state["generator_optimizer"])
