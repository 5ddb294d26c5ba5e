"""How often a run has something to show, and what that takes on disk. Does not import torch."""

from __future__ import annotations

from dataclasses import dataclass

from dfkd_core.images import ImageSpec
from dfkd_core.kit.config import MethodConfig
from dfkd_core.synthesis import FILMED, FRAMES

FILE = 4_000  # bytes that a recorded file takes beside its arrays
SHOWN = 12  # thumbnails of one phase in slow motion


@dataclass(frozen=True)
class Recording:
    """How often a method has something to show, in steps. Changing these never changes the training."""

    log_every: int = 1
    samples_every: int = 10
    samples: int = 128
    health_every: int = 25
    features: bool = True
    phases_every: int = 50

    def due(self, every: int, step: int) -> bool:
        """Whether something that happens every ``every`` steps is due at ``step``; the first step always is."""
        return every > 0 and (step == 1 or step % every == 0)

    def image_bytes(self, image: ImageSpec, width: int) -> int:
        """Of one recorded image with its columns; ``width`` of the teacher's pooled features.

        PNG hardly compresses what a generator makes, so images count raw.
        """
        answers = 2 * (width + 2 * len(image.classes)) if self.features else 0
        return image.channels * image.size**2 + answers + 20

    def bytes_of(self, config: MethodConfig, steps: int, image: ImageSpec, width: int) -> int:
        """About how much disk the samples, slow motion and films of a run of so many steps take."""
        one, picture = self.image_bytes(image, width), image.channels * image.size**2
        batch = min(self.samples, config.shown)
        slow = 4 * SHOWN * picture + SHOWN * 4 * (config.latent_length + 4 * len(image.classes)) + 8 * batch
        film = self.samples * one + FRAMES * FILMED * picture + 2 * FILE
        sheets = times(self.samples_every, steps) * (batch * one + FILE)
        return sheets + times(self.phases_every, steps) * (slow + FILE) + config.films * film


def times(every: int, steps: int) -> int:
    """How often something that is due every ``every`` steps happens in a run; 0 where it never does."""
    return steps // every + 1 if every else 0
