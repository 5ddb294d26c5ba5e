"""SpaceshipNet: Feature Exchange and Activation Region Constraint (Yu, Chen, Han & Jiang, CVPR 2023).

What the pool keeps are the generator's features, not its images: the student learns from images of which the features
were exchanged, and is held to look where the teacher looks. One step is:

1. The generator descends, for ``synthesis_steps`` iterations on the same latents, λ_OH·CE(T(x̂), y) + λ_BN·BNS, y every
   class in turn. Of the iterations, the features of the batch of lowest loss, behind the projection and behind either
   convolution, join three pools.
2. The student takes ``updates`` updates. For each, a batch is drawn from one of the pools; with probability p each of
   it has half of its channels from another (channel-wise feature exchange, CFE); the generator makes images of them.
   The student descends KL at T = 30 + λ_CAM·MSE of the class activation maps + λ_Grad·Σ_l MSE of the Grad-CAMs
   (multi-scale spatial activation region consistency, mSARC).

Differences from the paper and from its released code:

1. The released code keeps every batch; on CIFAR-10 one of 256 takes 53 MB, in half precision. Here ``pool_size`` says
   how many images the pools hold, 2,048 unless it is changed.
2. It averages KL over the classes, too, which weighs it K times less beside the maps; here it is the divergence.
3. Partners are counterparts in the reversed batch, and the weights of Grad-CAM are constants, as released. Grad-CAMs
   are of every stage behind the stem. Class activation maps need networks that average their last feature maps, and
   are left out of others.
4. The latents do not learn, as in the released code, which gives them a gradient but no optimizer.
5. The generator has an activation between its first normalisation and the first upsampling, as those of the other
   methods. Crops and flips are drawn per sample. The student draws with replacement.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from dfkd_core.images import ImageSpec
from dfkd_core.kit import student_stage
from dfkd_core.kit.config import knob, other_default
from dfkd_core.kit.contract import Problem, Requirements, Summary, Term
from dfkd_core.kit.method import descend, placed
from dfkd_core.kit.pooled import Best, PooledGeneratorConfig, PooledGeneratorMethod
from dfkd_core.kit.recorder import Seen
from dfkd_core.kit.recording import SHOWN
from dfkd_core.kit.region_objectives import ActivationRegions
from dfkd_core.kit.ring import Ring
from dfkd_core.losses.bn_statistics import observe
from dfkd_core.networks.classifiers import evaluating
from dfkd_core.networks.generators import StagedGenerator, exchange_channels


class SpaceshipNetConfig(PooledGeneratorConfig):
    """Defaults are the released code's for CIFAR-10, but for the size of its pools."""

    bn_weight: float = knob(
        1.0, "Weight of the BatchNorm statistics.", group="Generator", live=True, symbol="λ_BN", ge=0, le=1000
    )
    class_prior_weight: float = knob(
        0.5, "Weight of the cross-entropy with the class wanted.", group="Generator", live=True, symbol="λ_OH", ge=0,
        le=100,
    )  # fmt: skip
    generator_lr: float = knob(
        1e-3, "Learning rate of the generator (Adam).", group="Generator", live=True, symbol="η_G", gt=0, le=10
    )
    exchange: float = knob(
        0.7, "Probability that a batch's features are exchanged.", group="Student", live=True, symbol="p", ge=0, le=1
    )
    cam_weight: float = knob(1.0, "Weight of the class activation maps.", group="Student", symbol="λ_CAM", ge=0, le=100)
    grad_cam_weight: float = knob(1.0, "Weight of the Grad-CAMs.", group="Student", symbol="λ_Grad", ge=0, le=100)
    pool_size: int = other_default(PooledGeneratorConfig, "pool_size", 2048)
    updates: int = other_default(PooledGeneratorConfig, "updates", 2000)
    temperature: float = other_default(PooledGeneratorConfig, "temperature", 30.0)
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "demo": {
            "synthesis_steps": 15, "synthesis_size": 64, "distill_steps": 25, "updates": 40, "batch_size": 128,
            "generator_lr": 1e-2, "latent": 100, "width": 16, "bn_weight": 0.03, "class_prior_weight": 1.0,
            "pool_size": 4096, "view": "none", "augmentation": "none",
        },
        "cpu": {
            "synthesis_steps": 30, "synthesis_size": 128, "distill_steps": 120, "updates": 40, "generator_lr": 1e-2,
            "latent": 100, "width": 16, "bn_weight": 0.1, "class_prior_weight": 1.0, "view": "none",
            "augmentation": "none",
        },
        "paper": {},
    }  # fmt: skip

    def kept_bytes(self, image: ImageSpec, width: int) -> int:
        channels = 2 * self.width / 16 + 2 * self.width / 4 + self.width  # of a pixel, over the three stages
        return super().kept_bytes(image, width) + round(self.pool_size * channels * image.size**2 * 2)  # 16 bits


class SpaceshipNet(PooledGeneratorMethod[SpaceshipNetConfig]):
    """See the module's docstring."""

    name, title, Config = "spaceshipnet", "SpaceshipNet", SpaceshipNetConfig
    requires = Requirements(of_teacher="inside")
    summary = Summary(
        images="a generator's features, exchanged between images",
        student="softened answers, and where the teacher looks",
        kept="a pool of {pool_size:,} images, and their features at three stages",
        fitted=True,
    )
    terms = (
        Term("bn_statistics", "BN statistics", "bn_weight", batch_norm=True),
        Term("class_prior", "class prior", "class_prior_weight"),
    )
    phases = ("latents", "generate", "generator", *student_stage.PHASES)
    saved = ("generator", "features", "middle_features", "last_features", "pool", "stage")

    generator: StagedGenerator

    def __init__(self, problem: Problem, config: SpaceshipNetConfig) -> None:
        super().__init__(problem, config)
        image = self.image
        network = StagedGenerator(config.latent, image.channels, image.size, config.width, epsilon=1e-5)
        self.generator = placed(network, self.device)
        with torch.no_grad(), evaluating(self.generator):
            *found, _ = self.generator.features(torch.zeros(1, config.latent, device=self.device))
        rings = [Ring(config.pool_size, tuple(one.shape[1:]), torch.half, self.device) for one in found]
        self.features, self.middle_features, self.last_features = rings

    def objective(self) -> ActivationRegions:
        """KL and mSARC."""
        c = self.config
        return ActivationRegions(self.problem, c.temperature, c.cam_weight, c.grad_cam_weight)

    @property
    def rings(self) -> tuple[Ring, ...]:
        """The pools of features, by the generator's stage."""
        return self.features, self.middle_features, self.last_features

    def synthesise(self, seen: Seen) -> Tensor:
        """Features of a batch, and its images."""
        c, best = self.config, Best()
        self.generator.train()
        latents = torch.randn(c.synthesis_size, c.latent, device=self.device)
        labels = self.classes(c.synthesis_size)
        optimizer = torch.optim.Adam(self.generator.parameters(), c.generator_lr, betas=(0.5, 0.999), fused=True)
        for _ in seen.repeat(c.synthesis_steps):
            *features, pixels = self.generator.features(latents)
            answers, distance = observe(self.teacher, self.view(pixels))
            loss = seen.weigh(
                self.generator,
                bn_statistics=c.bn_weight * distance,
                class_prior=c.class_prior_weight * F.cross_entropy(answers.logits, labels),
            )
            best.keep(loss, pixels, *features)
            descend(loss, optimizer)
            self.queries += len(pixels)
        made, *features = best.made
        for ring, rows in zip(self.rings, features, strict=True):
            ring.add(rows)
        self.generator.eval()
        seen.phase_latents(latents)
        seen.phase("generate", pixels=made, arrays={"wanted": labels[:SHOWN].to(torch.int16)})
        seen.phase("generator", pixels=made, teacher=answers.logits, of="generator")
        return made

    @torch.no_grad()
    def draw(self) -> Tensor:
        """Images of features of one stage, exchanged or not."""
        stage, chance = int(torch.randint(len(self.rings), ())), torch.rand(()).item()
        rows = self.rings[stage].rows
        features = rows[torch.randint(len(rows), (self.config.batch_size,), device=self.device)].float()
        if chance < self.config.exchange:
            features = exchange_channels(features)
        return self.generator.from_features(features, stage)
