"""DeepInversion, and ADI: Dreaming to Distill (Yin, Molchanov, Li, Alvarez, Mallya, Hoiem, Jha & Kautz, CVPR 2020,
arXiv 1912.08795).

There is no generator: the pixels themselves descend. One step is:

1. A batch of noise x̂ descends, for ``synthesis_steps`` iterations, CE(T(x̂), y) + α_tv·TV(x̂) + α_l2·‖x̂‖₂ + α_f·BNS
   (eqs. 1 to 4), y every class in turn; Adaptive DeepInversion adds α_c·(1 − JS(T, S)) (eqs. 5 and 6), which asks for
   images on which the student disagrees. Each iteration sees them jittered, and half of the time mirrored.
2. Of the iterations the batch of lowest loss joins the pool.
3. The student takes ``updates`` updates on the pool: T²·KL.

Differences from the paper and from its released code:

1. The released code means to keep the batch of lowest loss, but keeps a reference to the one that goes on descending:
   it stores the last. Here it is the batch of lowest loss.
2. JS is the plain divergence, in nats. ``divergence`` = released takes the code's: temperature 3, probabilities cut to
   [0.01, 0.99], the other way round. 1 is left out of 1 − JS, since it moves nothing.
3. TV and ‖x̂‖₂ are norms over the whole batch, weighed for one of 256; here both are divided by √(B/256).
4. Pixels are kept within [0, 1]; the released code for CIFAR-10 lets them leave it.
5. The paper makes all images before its student learns; a step here makes one batch, then takes ``updates`` updates, as
   the re-implementation that comes with Fast and CMI does, whose 200 rounds of 400 updates ``paper`` has. The
   temperature is that one's, too.
6. Mirroring is that of the released code for ImageNet; that for CIFAR-10 shifts only (``jitter`` = shift). The images'
   rate is that of its better variant of CIFAR-10; the parameters that it calls the paper's have 0.05.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dfkd_core.kit import student_stage
from dfkd_core.kit.config import knob, other_default
from dfkd_core.kit.contract import Summary, Term
from dfkd_core.kit.method import descend
from dfkd_core.kit.pooled import Best, PoolConfig, PooledMethod
from dfkd_core.kit.recorder import Seen
from dfkd_core.losses import generator as losses
from dfkd_core.losses.bn_statistics import observe


class DeepInversionConfig(PoolConfig):
    """Defaults are the paper's for CIFAR-10, with the competition of ADI."""

    class_prior_weight: float = knob(
        1.0, "Weight of the cross-entropy with the class wanted.", group="Images", live=True, symbol="λ_OH", ge=0,
        le=100,
    )  # fmt: skip
    bn_weight: float = knob(
        10.0, "Weight of the BatchNorm statistics.", group="Images", live=True, symbol="α_f", ge=0, le=1000
    )
    tv_weight: float = knob(
        2.5e-5, "Weight of the total variation, for a batch of 256.", group="Images", live=True, symbol="α_tv", ge=0,
        le=100,
    )  # fmt: skip
    l2_weight: float = knob(
        3e-8, "Weight of the image norm, for a batch of 256.", group="Images", live=True, symbol="α_l2", ge=0, le=100
    )
    adversarial_weight: float = knob(
        10.0, "Weight of the competition with the student (ADI); 0: plain DeepInversion.", group="Images", live=True,
        symbol="α_c", ge=0, le=100,
    )  # fmt: skip
    divergence: Literal["js", "released"] = knob("js", "How that competition is measured.", group="Images")
    jitter: Literal["none", "shift", "shift+flip"] = knob(
        "shift+flip", "How the images move between iterations: by up to 2 of 32 pixels, and mirrored.", group="Images"
    )
    image_lr: float = knob(
        0.1, "Learning rate of the images (Adam).", group="Images", live=True, symbol="η_x", gt=0, le=10
    )
    synthesis_steps: int = other_default(PoolConfig, "synthesis_steps", 2000)
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "demo": {
            "bn_weight": 0.1, "adversarial_weight": 1.0, "synthesis_steps": 25, "synthesis_size": 64,
            "distill_steps": 30, "updates": 40, "jitter": "none", "augmentation": "none",
        },
        "cpu": {
            "bn_weight": 0.1, "adversarial_weight": 1.0, "synthesis_steps": 50, "synthesis_size": 128,
            "distill_steps": 100, "updates": 50, "jitter": "none", "augmentation": "none",
        },
        "paper": {},
    }  # fmt: skip


class DeepInversion(PooledMethod[DeepInversionConfig]):
    """See the module's docstring."""

    name, title, Config = "deepinversion", "DeepInversion", DeepInversionConfig
    summary = Summary(
        images="a pool of images whose pixels descended",
        student="softened answers",
        kept="a pool of {pool_size:,} images",
        fitted=True,
    )
    terms = (
        Term("class_prior", "class prior", "class_prior_weight", of="images"),
        Term("bn_statistics", "BN statistics", "bn_weight", of="images", batch_norm=True),
        Term("tv", "total variation", "tv_weight", of="images"),
        Term("l2", "image norm", "l2_weight", of="images"),
        Term("adversarial", "adversarial", "adversarial_weight", of="images"),
    )
    phases = ("noise", "invert", *student_stage.PHASES)

    def synthesise(self, seen: Seen) -> Tensor:
        """A batch of noise becomes images."""
        c, best, shape = self.config, Best(), (self.image.channels, self.image.size, self.image.size)
        self.student.eval()
        images = nn.Parameter(torch.randn(c.synthesis_size, *shape, device=self.device))
        labels = self.classes(c.synthesis_size)
        optimizer = torch.optim.Adam([images], c.image_lr, fused=True)
        black, white = (self.image.normalise(torch.full((1, *shape), at, device=self.device)) for at in (0.0, 1.0))
        scale = math.sqrt(c.synthesis_size / 256)
        seen.phase("noise", images=images.detach().clone())
        for _ in seen.repeat(c.synthesis_steps):
            moved = self.moved(images)
            answers, distance = observe(self.teacher, moved)
            terms = {
                "class_prior": c.class_prior_weight * F.cross_entropy(answers.logits, labels),
                "bn_statistics": c.bn_weight * distance,
                "tv": c.tv_weight * losses.total_variation(moved) / scale,
                "l2": c.l2_weight * losses.image_norm(moved) / scale,
            }
            if c.adversarial_weight and self.student_learns:
                terms["adversarial"] = -c.adversarial_weight * self.competition(moved, answers.logits)
            loss = seen.weigh([images], **terms)
            best.keep(loss, images)
            descend(loss, optimizer)
            with torch.no_grad():
                images.copy_(torch.maximum(torch.minimum(images, white), black))
            self.queries += c.synthesis_size
        (made,) = best.made
        wanted = {"wanted": labels[:12].to(torch.int16)}
        seen.phase("invert", images=made, teacher=answers.logits, of="images", arrays=wanted)
        return self.image.to_pixels(made).clamp(0, 1)

    def moved(self, images: Tensor) -> Tensor:
        """The whole batch, shifted around its edges and mirrored, or not."""
        if self.config.jitter == "none":
            return images
        most = max(1, self.image.size // 16)
        down, right = (torch.randint(2 * most + 1, (2,)) - most).tolist()
        images = images.roll((down, right), dims=(2, 3))
        return images.flip(3) if self.config.jitter == "shift+flip" and torch.rand(()).item() < 0.5 else images

    def competition(self, images: Tensor, teacher_logits: Tensor) -> Tensor:
        """JS(T, S) of normalised ``images``."""
        student_logits = self.student(images)
        if self.config.divergence == "js":
            return losses.js_discrepancy(student_logits, teacher_logits)
        return losses.js_released(student_logits, teacher_logits) * teacher_logits.shape[1]
