"""CMI: Contrastive Model Inversion (Fang, Song, Wang, Shen, Wang & Song, IJCAI 2021, arXiv 2105.08584).

Images are made in batches, each by a generator of its own, and each image has to be told from all that were made
before: diversity becomes something to optimise. One step is:

1. A new generator G and latents z descend, for ``synthesis_steps`` iterations, L_inv + α·L_cr with
   L_inv = λ_BN·BNS + λ_OH·CE(T(x̂), y) + λ_adv·L_adv: y drawn at random, L_adv = −KL(T ‖ S) on the images of whose class
   student and teacher agree. L_cr is InfoNCE (eq. 6): a head h learns to find, for a part of an image, the whole image
   it is of, among the batch and ``negatives`` earlier images of a feature bank, by the teacher's features.
2. Of the iterations the batch of lowest loss joins the pool, its features the bank.
3. The student takes ``updates`` updates on the pool: T²·KL at T = 20.

Differences from the paper and from its released code:

1. The features of h are the means over pixels of what each of the teacher's stages gives, whatever the teacher. The
   released code takes what enters each BatchNorm layer and, of a ResNet-34, what enters its four stages.
2. The bank is kept in half precision. A part is a square; there, its sides may be as 3 to 4.
3. As released, no gradient flows through the whole views, and the earlier images' own losses are added: they train h.
4. ``paper`` are the released settings that start from nothing; the paper's best start from images that another program
   inverted beforehand. Labels are drawn for each batch, as there.
5. The student draws from the pool with replacement.
6. The generator has an activation between its first normalisation and the first upsampling, as those of the other
   methods.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dfkd_core.images import ImageSpec
from dfkd_core.kit import student_stage
from dfkd_core.kit.augmentation import resized_crop
from dfkd_core.kit.config import knob, other_default
from dfkd_core.kit.contract import Problem, Requirements, Summary, Term
from dfkd_core.kit.method import descend, placed
from dfkd_core.kit.pooled import TERMS, Best, InversionConfig, PooledGeneratorMethod
from dfkd_core.kit.recorder import Seen
from dfkd_core.kit.recording import SHOWN
from dfkd_core.kit.ring import Ring
from dfkd_core.losses.bn_statistics import observe
from dfkd_core.losses.generator import instance_discrimination
from dfkd_core.networks.classifiers import Features
from dfkd_core.networks.generators import ConvGenerator, reset

LEAST_PART = 0.25  # of an image's area


class CMIConfig(InversionConfig):
    """Defaults are the released code's for CIFAR-10, without images from elsewhere."""

    bn_weight: float = other_default(InversionConfig, "bn_weight", 1.0)
    class_prior_weight: float = other_default(InversionConfig, "class_prior_weight", 1.0)
    adversarial_weight: float = other_default(InversionConfig, "adversarial_weight", 0.5)
    contrast_weight: float = knob(
        0.8, "Weight of telling images apart.", group="Contrast", live=True, symbol="α", ge=0, le=100
    )
    contrast_temperature: float = knob(
        0.1, "Temperature of the similarities.", group="Contrast", symbol="τ", gt=0, le=10
    )
    bank_size: int = knob(
        40_960, "Images of which the bank holds features.", group="Contrast", unit="images", ge=4, le=1_000_000
    )
    negatives: int = knob(
        4096, "Earlier images that a batch is told from.", group="Contrast", unit="images", memory=True, ge=0, le=65_536
    )
    head_width: int = knob(256, "Numbers in which images are compared.", group="Contrast", ge=2, le=4096)
    generator_lr: float = knob(
        1e-3, "Learning rate of generator, latents and head (Adam).", group="Generator", symbol="η_G", gt=0, le=10
    )
    batch_size: int = other_default(InversionConfig, "batch_size", 128)
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "demo": {
            "bn_weight": 0.3, "adversarial_weight": 1.0, "contrast_weight": 0.3, "negatives": 512, "generator_lr": 1e-2,
            "head_width": 128, "synthesis_steps": 40, "synthesis_size": 64, "distill_steps": 20, "updates": 50,
            "latent": 100, "width": 16, "view": "none",
        },
        "cpu": {
            "bn_weight": 0.3, "adversarial_weight": 1.0, "contrast_weight": 0.3, "negatives": 1024,
            "head_width": 128, "generator_lr": 1e-2, "synthesis_steps": 40, "distill_steps": 120, "updates": 40,
            "latent": 100, "width": 16, "view": "none", "augmentation": "none",
        },
        "paper": {},
    }  # fmt: skip

    @property
    def queries_a_batch(self) -> int:
        return super().queries_a_batch * (2 if self.contrast_weight > 0 else 1)  # their parts, too

    def kept_bytes(self, image: ImageSpec, width: int) -> int:
        features = 2 * width  # of all stages: each of a ResNet is half as wide as the next
        return super().kept_bytes(image, width) + self.bank_size * 2 * features * 2  # part and whole, 16 bits


class CMI(PooledGeneratorMethod[CMIConfig]):
    """See the module's docstring."""

    name, title, Config = "cmi", "CMI", CMIConfig
    requires = Requirements(of_teacher="inside")
    summary = Summary(
        images="a pool that a new generator for each batch fills, unlike what was made before",
        student="softened answers",
        kept="a pool of {pool_size:,} images, a bank of features of {bank_size:,}",
        fitted=True,
    )
    terms = (
        *TERMS,
        Term("contrast", "contrast", "contrast_weight"),
    )
    phases = ("latents", "generate", "generator", *student_stage.PHASES)
    saved = ("pool", "bank", "head", "head_optimizer", "stage")

    def __init__(self, problem: Problem, config: CMIConfig) -> None:
        super().__init__(problem, config)
        image = self.image
        network = ConvGenerator(config.latent, image.channels, image.size, config.width, epsilon=1e-5)
        self.generator = placed(network, self.device)
        with torch.no_grad():
            blank = torch.zeros(1, image.channels, image.size, image.size, device=self.device)
            features = stage_means(self.teacher.features(blank)).shape[1]
        head = nn.Sequential(nn.Linear(features, features), nn.ReLU(), nn.Linear(features, config.head_width))
        self.head = head.to(self.device)
        self.head_optimizer = torch.optim.Adam(self.head.parameters(), config.generator_lr, fused=True)
        self.bank = Ring(config.bank_size, (2 * features,), torch.half, self.device)

    def synthesise(self, seen: Seen) -> Tensor:
        """A batch by a generator that begins anew; min L_inv + α·L_cr (eq. 7)."""
        c, best = self.config, Best()
        self.student.eval()
        reset(self.generator)
        latents = nn.Parameter(torch.randn(c.synthesis_size, c.latent, device=self.device))
        labels = torch.randint(len(self.image.classes), (c.synthesis_size,), device=self.device)
        moved = [*self.generator.parameters(), latents]
        optimizer = torch.optim.Adam(moved, c.generator_lr, betas=(0.5, 0.999), fused=True)
        seen.phase_latents(latents)
        for _ in seen.repeat(c.synthesis_steps):
            pixels = self.generator(latents)
            images = self.view(pixels)
            answers, distance = observe(self.teacher, images)
            contrast, *features = self.told_apart(pixels, answers)
            loss = seen.weigh(
                self.generator,
                bn_statistics=c.bn_weight * distance,
                class_prior=c.class_prior_weight * F.cross_entropy(answers.logits, labels),
                contrast=c.contrast_weight * contrast,
                **self.adversarial(c.adversarial_weight, images, answers.logits),
            )
            best.keep(loss, pixels, *features)
            descend(loss, optimizer, self.head_optimizer)
            self.queries += len(images)
        made, *features = best.made
        for row in features:
            self.bank.add(row)
        seen.phase("generate", pixels=made, arrays={"wanted": labels[:SHOWN].to(torch.int16)})
        seen.phase("generator", pixels=made, teacher=answers.logits, of="generator")
        return made

    def told_apart(self, pixels: Tensor, whole: Features) -> tuple[Tensor, ...]:
        """L_cr of (B, C, H, W) ``pixels``, which as a ``whole`` the teacher saw, and their features (B, 2D), of parts
        and wholes; 0 and no features where the term is off."""
        c = self.config
        if not self.is_on("contrast"):
            return (torch.zeros((), device=self.device),)
        parts = resized_crop(pixels, LEAST_PART, mirror="flip" in c.view)
        features = torch.cat([stage_means(self.teacher.features(self.image.normalise(parts))), stage_means(whole)], 1)
        self.queries += len(parts)
        earlier = self.bank.draw(c.negatives).to(features.dtype)
        local, of_whole = torch.cat([features, earlier]).chunk(2, dim=1)
        loss = instance_discrimination(self.head(local), self.head(of_whole), c.contrast_temperature, len(earlier))
        return loss, features


def stage_means(seen: Features) -> Tensor:
    """What each of a classifier's stages gives, averaged over pixels, side by side: (B, D)."""
    return torch.cat([stage.mean(dim=(2, 3)) for stage in seen.maps.values()], dim=1)
