"""Fast: Up to 100× Faster Data-Free Knowledge Distillation (Fang, Mo, Wang, Song, Bei, Zhang & Song, AAAI 2022,
arXiv 2112.06253).

A meta-generator learns what all images have in common, so that from it a batch takes a few iterations instead of
hundreds. One step is:

1. A copy of the meta-generator and latents z descend, for ``synthesis_steps`` iterations,
   L_inv = λ_BN·BNS + λ_OH·CE(T(x̂), y) + λ_adv·L_adv, y drawn at random, L_adv = −KL(T ‖ S) on the images of whose class
   student and teacher agree; BNS counts the statistics of earlier batches in, with momentum.
2. Of the iterations the batch of lowest loss joins the pool.
3. The meta-generator θ descends, by Adam: FOMAML the sum of the gradients that the copy met, Reptile the way back from
   where the copy ended, θ − θ_k.
4. After ``warm_steps`` steps, the student takes ``updates`` updates on the pool: T²·KL at T = 20; L_adv joins in.

Differences from the paper and from its released code:

1. Both gradients are first-order. FOMAML proper takes the gradient at the copy's end only; the released code adds up
   those of all iterations, as here.
2. The released code scales Reptile's gradient by 67 before Adam, which does not care; left out.
3. Where it begins the generator's first layer anew, at epoch 120 of 200, its BatchNorm layer starts from gains near 0,
   N(0, 0.02²), as the linear one's weights do; as released (``reset_at``), and not among the paper's equations.
4. The generator has an activation between its first normalisation and the first upsampling, as those of the other
   methods.
5. The student draws from the pool with replacement, and its rate is annealed to 0, not to 2e-4.
6. ``paper`` is Fast-10; Fast-5 has a generator's rate of 3e-3, Fast-2 one of 5e-3 and 0.015 for the latents.
"""

from __future__ import annotations

import copy
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dfkd_core.kit import student_stage
from dfkd_core.kit.config import knob, other_default
from dfkd_core.kit.contract import Problem, Summary
from dfkd_core.kit.method import descend, placed
from dfkd_core.kit.pooled import TERMS, Best, PooledGeneratorMethod, RememberedConfig
from dfkd_core.kit.recorder import Seen
from dfkd_core.kit.recording import SHOWN
from dfkd_core.kit.remembered import RememberedStatistics
from dfkd_core.networks.generators import ConvGenerator

BETAS = (0.5, 0.999)


class FastConfig(RememberedConfig):
    """Defaults are those of Fast-10 on CIFAR-10."""

    meta: Literal["fomaml", "reptile"] = knob("fomaml", "What the meta-generator learns by.", group="Generator")
    generator_lr: float = knob(
        2e-3, "Learning rate of the copy (Adam); times k that of the meta-generator.", group="Generator", live=True,
        symbol="η_G", gt=0, le=10,
    )  # fmt: skip
    latent_lr: float = knob(
        0.01, "Learning rate of the latents (Adam).", group="Generator", live=True, symbol="η_z", gt=0, le=10
    )
    reset_at: float = knob(
        0.6, "Share of the student's steps at which the generator's first layer begins anew; 0: never.",
        group="Generator", ge=0, le=1,
    )  # fmt: skip
    synthesis_steps: int = other_default(RememberedConfig, "synthesis_steps", 10)
    warm_steps: int = other_default(RememberedConfig, "warm_steps", 20)
    student_lr: float = other_default(RememberedConfig, "student_lr", 0.2)
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "demo": {
            "bn_weight": 0.3, "class_prior_weight": 1.0, "adversarial_weight": 1.0, "generator_lr": 5e-3,
            "synthesis_steps": 5, "synthesis_size": 64, "warm_steps": 30, "distill_steps": 120, "updates": 20,
            "batch_size": 128, "latent": 100, "width": 16, "view": "none", "augmentation": "none",
        },
        "cpu": {
            "bn_weight": 0.3, "class_prior_weight": 1.0, "adversarial_weight": 1.0, "synthesis_steps": 5,
            "warm_steps": 20, "distill_steps": 180, "updates": 40, "generator_lr": 5e-3, "latent": 100, "width": 16,
            "view": "none", "augmentation": "none",
        },
        "paper": {},
    }  # fmt: skip


class Fast(PooledGeneratorMethod[FastConfig]):
    """See the module's docstring."""

    name, title, Config = "fast", "Fast", FastConfig
    summary = Summary(
        images="a pool that a meta-generator fills in a few iterations each",
        student="softened answers",
        kept="a pool of {pool_size:,} images, a meta-generator, averages of statistics",
        fitted=True,
    )
    terms = TERMS
    phases = ("latents", "generate", "generator", *student_stage.PHASES)
    saved = ("generator", "meta_optimizer", "statistics", "pool", "stage")

    def __init__(self, problem: Problem, config: FastConfig) -> None:
        super().__init__(problem, config)
        image = self.image
        network = ConvGenerator(config.latent, image.channels, image.size, config.width, epsilon=1e-5)
        self.generator = placed(network, self.device)  # θ
        self.copy = copy.deepcopy(self.generator)
        rate = config.generator_lr * config.synthesis_steps
        self.meta_optimizer = torch.optim.Adam(self.generator.parameters(), rate, BETAS, fused=True)
        self.statistics = RememberedStatistics(self.teacher, config.bn_momentum)

    def reconfigure(self, config: FastConfig) -> None:
        super().reconfigure(config)
        for group in self.meta_optimizer.param_groups:
            group["lr"] = config.generator_lr * config.synthesis_steps

    def synthesise(self, seen: Seen) -> Tensor:
        """A batch by a copy of the meta-generator, from which that learns."""
        c, best = self.config, Best()
        self.student.eval()
        if seen.stage == "student" and seen.done + 1 == round(c.reset_at * c.distill_steps):
            self.generator.begin_first_layer_anew()
        self.copy.load_state_dict(self.generator.state_dict())
        met = [torch.zeros_like(parameter) for parameter in self.generator.parameters()]
        latents = nn.Parameter(torch.randn(c.synthesis_size, c.latent, device=self.device))
        labels = torch.randint(len(self.image.classes), (c.synthesis_size,), device=self.device)
        moved: list[dict[str, Any]] = [{"params": self.copy.parameters()}, {"params": [latents], "lr": c.latent_lr}]
        optimizer = torch.optim.Adam(moved, c.generator_lr, BETAS, fused=True)
        seen.phase_latents(latents)
        for _ in seen.repeat(c.synthesis_steps):
            pixels = self.copy(latents)
            images = self.view(pixels)
            answers, distance = self.statistics.observe(images)
            loss = seen.weigh(  # L_inv
                self.copy,
                bn_statistics=c.bn_weight * distance,
                class_prior=c.class_prior_weight * F.cross_entropy(answers.logits, labels),
                **self.adversarial(c.adversarial_weight, images, answers.logits),
            )
            best.keep(loss, pixels)
            descend(loss, optimizer)
            for total, parameter in zip(met, self.copy.parameters(), strict=True):
                if parameter.grad is not None:  # without any term there is none
                    total += parameter.grad
            self.queries += len(images)
        self.statistics.remember()
        self.learn_start(met)
        (made,) = best.made
        seen.phase("generate", pixels=made, arrays={"wanted": labels[:SHOWN].to(torch.int16)})
        seen.phase("generator", pixels=made, teacher=answers.logits, of="generator")
        return made

    @torch.no_grad()
    def learn_start(self, met: list[Tensor]) -> None:
        """One step of the meta-generator; ``met``: Σ_i ∇L_inv(θ_i) over the copy's iterations."""
        if self.config.meta == "reptile":
            both = zip(self.generator.parameters(), self.copy.parameters(), strict=True)
            met = [start - end for start, end in both]  # θ − θ_k
        for parameter, gradient in zip(self.generator.parameters(), met, strict=True):
            parameter.grad = gradient
        self.meta_optimizer.step()
