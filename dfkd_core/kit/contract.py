"""What a method is given, and what it has to offer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol

import torch
from torch import Tensor, nn

from dfkd_core.events import Event
from dfkd_core.images import ImageSpec
from dfkd_core.kit.config import MethodConfig
from dfkd_core.networks.classifiers import Classifier
from dfkd_core.networks.diffusion import Diffusion
from dfkd_core.networks.latent import LatentNetwork
from dfkd_core.synthesis.stable_diffusion import StableDiffusion

Task = Literal["classifier", "generative"]


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


@dataclass(frozen=True)
class Problem:
    """All that a method may see.

    ``collected``: (N, C, H, W) uint8 images without labels, only for methods that require them. ``unseen``: others
    of the same source, or None; nothing may learn from them, they show what is not just memorised.
    """

    teacher: Classifier
    student: Classifier
    image: ImageSpec
    device: torch.device
    collected: Tensor | None = None
    unseen: Tensor | None = None
    diffusion: Diffusion | StableDiffusion | None = None
    recording: Recording = field(default_factory=Recording)


@dataclass(frozen=True)
class GenerativeProblem:
    """All that a method for generative models may see.

    ``original``: (N, C, H, W) uint8 images that the teacher learned from, only for baselines that require them.
    ``diffusion``: a frozen diffusion model that never saw them, only for methods that require one, and None for
    those that take none as they are configured.
    """

    teacher: LatentNetwork
    student: LatentNetwork
    image: ImageSpec
    device: torch.device
    original: Tensor | None = None
    diffusion: Diffusion | StableDiffusion | None = None
    recording: Recording = field(default_factory=Recording)


@dataclass(frozen=True)
class Requirements:
    """What ``run`` has to supply: ``task`` says of which kind teacher and student are, the others what beyond them.

    ``diffusion``: whether the method may need a diffusion model; its configuration says whether this run does.
    """

    collected: bool = False
    original: bool = False
    diffusion: bool = False
    task: Task = "classifier"

    def words(self) -> str:
        """What a method needs beside its teacher."""
        if self.collected:
            return "collected images"
        if self.original:
            return "the teacher's training images"
        if self.diffusion:
            return "nothing but the teacher, or a diffusion model that was trained on other data"
        return "nothing but the teacher"


@dataclass(frozen=True)
class PhaseInfo:
    """One phase of a method's step, for slow motion: what it is called, in a sentence or two what happens, and the
    ``terms`` that somebody new may want to look up."""

    name: str
    title: str
    caption: str
    terms: tuple[str, ...] = ()


class Method(Protocol):
    """A distillation algorithm. Subclasses nothing; ``methods.available()`` finds it by its attributes."""

    name: ClassVar[str]
    title: ClassVar[str]
    Config: ClassVar[type[MethodConfig]]
    requires: ClassVar[Requirements]
    phases: ClassVar[tuple[PhaseInfo, ...]]
    config: Any
    student: nn.Module  # images to logits, or a latent-variable model: what is evaluated, and kept in the end
    slow: bool  # somebody watches the next step in slow motion: yield its ``Phases``
    step: int
    total_steps: int

    def __init__(self, problem: Any, config: Any) -> None: ...  # a Problem, or a GenerativeProblem

    @property
    def student_learns(self) -> bool:
        """False while the student stands still: it need not be evaluated again."""

    def train(self) -> Iterator[Event]:
        """Yield events, ``Step`` last in every step, from ``self.step + 1`` to ``self.total_steps``."""

    def synthesize(self, count: int, generator: torch.Generator) -> Tensor:
        """``count`` images, (N, C, H, W), normalised, determined by ``generator``; leaves the training untouched."""

    def reconfigure(self, config: Any) -> None:
        """Go on with another ``config``, which differs in live knobs only."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...
