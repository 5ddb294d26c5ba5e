"""NAYER: Noisy Layer Data Generation (Tran, Le, Le, Harandi, Tran & Phung, CVPR 2024, arXiv 2310.00258).

The generator starts from what a class means instead of from noise: its input is a fixed embedding of the class, and the
only noise are the weights of one layer, drawn anew for each batch. One step is:

1. New noisy layers, each for one image of every class, and the generator descend, for ``synthesis_steps`` iterations,
   L_G = λ_BN·BNS + λ_OH·CE(T(x̂), y) + λ_adv·L_adv (eq. 5), y every class in turn, L_adv = −KL(T ‖ S) on the images of
   whose class student and teacher agree; BNS counts the statistics of earlier batches in, with momentum.
2. Of the iterations the batch of lowest loss joins the pool.
3. After ``warm_steps`` steps, the student takes ``updates`` updates on the pool: T²·KL at T = 20 (eq. 6); L_adv joins
   in. Every ``generator_life`` steps the generator begins anew.

Differences from the paper and from its released code:

1. The embeddings are those of the classes' names by a language model (CLIP) there. Here none is asked: they are drawn
   once, from N(0, I) or one-hot, and a checkpoint keeps them. So no class knows that it is like another.
2. The released code makes two batches, then takes 400 updates; in the warm-up ten batches without any. A step here is
   one batch, so ``updates``, ``warm_steps`` and ``generator_life`` are counted in batches. While the student does not
   learn the generator, there as here, begins anew less often: after ten rounds of ten batches.
3. The lowest loss of a round's first batch is kept there for the second, which mostly stores its first iteration; here
   each batch has its own.
4. The generator has an activation between its first normalisation and the first upsampling, as those of the other
   methods.
5. The student draws from the pool with replacement, and its rate is annealed to 0, not to 2e-4.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from dfkd_core.kit import student_stage
from dfkd_core.kit.config import knob, other_default
from dfkd_core.kit.contract import Problem, Summary
from dfkd_core.kit.method import descend, placed
from dfkd_core.kit.pooled import TERMS, Best, PooledGeneratorMethod, RememberedConfig
from dfkd_core.kit.recorder import Seen
from dfkd_core.kit.recording import SHOWN
from dfkd_core.kit.remembered import RememberedStatistics
from dfkd_core.networks.generators import NoisyLayerGenerator

WARM_LIVES = 5  # lives of a generator that it lives longer while the student does not learn


class NAYERConfig(RememberedConfig):
    """Defaults are the released code's for CIFAR-10, 300 epochs."""

    generator_lr: float = knob(
        4e-3, "Learning rate of the generator (Adam).", group="Generator", live=True, symbol="η_G", gt=0, le=10
    )
    generator_life: int = knob(
        20, "Steps after which the generator begins anew.", group="Generator", unit="steps", ge=1, le=100_000
    )
    embedding: Literal["random", "one-hot"] = knob("random", "What stands for a class.", group="Generator")
    embedding_length: int = knob(512, "Length of a random embedding.", group="Generator", ge=2, le=4096)
    latent: int = other_default(RememberedConfig, "latent", 1000)
    synthesis_steps: int = other_default(RememberedConfig, "synthesis_steps", 30)
    synthesis_size: int = other_default(RememberedConfig, "synthesis_size", 400)
    pool_size: int = other_default(RememberedConfig, "pool_size", 320_000)
    warm_steps: int = other_default(RememberedConfig, "warm_steps", 200)
    distill_steps: int = other_default(RememberedConfig, "distill_steps", 600)
    updates: int = other_default(RememberedConfig, "updates", 200)
    batch_size: int = other_default(RememberedConfig, "batch_size", 512)
    student_lr: float = other_default(RememberedConfig, "student_lr", 0.2)
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "demo": {
            "bn_weight": 0.3, "class_prior_weight": 1.0, "adversarial_weight": 1.0, "generator_lr": 1e-2,
            "synthesis_steps": 10, "synthesis_size": 64, "warm_steps": 5, "distill_steps": 40, "updates": 30,
            "batch_size": 128, "generator_life": 10, "latent": 100, "width": 16, "embedding_length": 64,
            "pool_size": 10_000, "view": "none", "augmentation": "none",
        },
        "cpu": {
            "bn_weight": 0.3, "class_prior_weight": 1.0, "adversarial_weight": 1.0, "generator_lr": 1e-2,
            "synthesis_steps": 20, "synthesis_size": 200, "warm_steps": 20, "distill_steps": 140, "updates": 40,
            "batch_size": 256, "latent": 100, "width": 16, "embedding_length": 64, "pool_size": 40_000, "view": "none",
            "augmentation": "none",
        },
        "paper": {},
    }  # fmt: skip


class NAYER(PooledGeneratorMethod[NAYERConfig]):
    """See the module's docstring."""

    name, title, Config = "nayer", "NAYER", NAYERConfig
    summary = Summary(
        images="a pool that a generator fills from embeddings of the classes",
        student="softened answers",
        kept="a pool of {pool_size:,} images, averages of statistics",
        fitted=True,
    )
    terms = TERMS
    phases = ("generate", "generator", *student_stage.PHASES)
    saved = ("generator", "statistics", "pool", "stage")

    def __init__(self, problem: Problem, config: NAYERConfig) -> None:
        super().__init__(problem, config)
        image, known = self.image, len(self.image.classes)
        random = config.embedding == "random"
        embeddings = torch.randn(known, config.embedding_length) if random else torch.eye(known)
        network = NoisyLayerGenerator(
            embeddings, config.synthesis_size, config.latent, image.channels, image.size, config.width, epsilon=1e-5
        )
        self.generator = placed(network, self.device)
        self.statistics = RememberedStatistics(self.teacher, config.bn_momentum)

    def synthesise(self, seen: Seen) -> Tensor:
        """A batch by a generator with new noisy layers."""
        c, best = self.config, Best()
        self.student.eval()
        life = c.generator_life * (1 if self.student_learns else WARM_LIVES)
        if seen.done % life == 0:
            self.generator.begin_anew()
        self.generator.renew()
        labels = self.classes(c.synthesis_size)
        optimizer = torch.optim.Adam(self.generator.parameters(), c.generator_lr, betas=(0.5, 0.999), fused=True)
        for _ in seen.repeat(c.synthesis_steps):
            pixels = self.generator(labels)
            images = self.view(pixels)
            answers, distance = self.statistics.observe(images)
            loss = seen.weigh(  # L_G
                self.generator,
                bn_statistics=c.bn_weight * distance,
                class_prior=c.class_prior_weight * F.cross_entropy(answers.logits, labels),
                **self.adversarial(c.adversarial_weight, images, answers.logits),
            )
            best.keep(loss, pixels)
            descend(loss, optimizer)
            self.queries += len(images)
        self.statistics.remember()
        (made,) = best.made
        seen.phase("generate", pixels=made, arrays={"wanted": labels[:SHOWN].to(torch.int16)})
        seen.phase("generator", pixels=made, teacher=answers.logits, of="generator")
        return made
