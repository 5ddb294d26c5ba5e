"""What a method is given, and what it says of itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

import torch
from torch import Tensor

from dfkd_core.images import ImageSpec
from dfkd_core.kit.recording import Recording
from dfkd_core.losses.latent import BETA
from dfkd_core.networks.classifiers import Classifier
from dfkd_core.networks.known import Known
from dfkd_core.networks.latent import LatentNetwork
from dfkd_core.synthesis.guided import Film

Task = Literal["classifier", "generative"]
Moved = Literal["student", "generator", "discriminator", "images", "memory"]


class ImageModel(Protocol):
    """A frozen model that makes images and never saw the teacher's data: a diffusion model of any kind.

    ``names``: the classes that it can be asked for.
    """

    @property
    def names(self) -> tuple[str, ...]: ...

    def guided(
        self,
        loss: Callable[[Tensor], Tensor],
        labels: Tensor,
        steps: int,
        strength: float,
        class_guidance: float,
        image: ImageSpec,
        made: int = 0,
    ) -> tuple[Tensor, Film]:
        """One image for each of ``labels`` (B,), normalised as ``image`` says, moved down the gradient of ``loss``
        (B, C, H, W) -> (B,) at each of ``steps`` denoising steps (see ``synthesis.guided.guided_sampling``). ``made``:
        how many images of the run there are already, of every class in turn."""


@dataclass(frozen=True)
class Problem:
    """All that a method may see.

    ``collected``: (N, C, H, W) uint8 images without labels, only for methods that require them. ``unseen``: others
    of the same source, or None; nothing may learn from them, they show what is not just memorised. ``source``: only
    for methods that require one, and None for those that take none as they are configured.
    """

    teacher: Classifier
    student: Classifier
    image: ImageSpec
    device: torch.device
    collected: Tensor | None = None
    unseen: Tensor | None = None
    source: ImageModel | None = None
    recording: Recording = field(default_factory=Recording)


@dataclass(frozen=True)
class GenerativeProblem:
    """All that a method for generative models may see.

    ``original``: (N, C, H, W) uint8 images that the teacher learned from, only for baselines that require them.
    ``source``: as in ``Problem``. ``beta``: β of the teacher's output, whose std is √(β/2).
    """

    teacher: LatentNetwork
    student: LatentNetwork
    image: ImageSpec
    device: torch.device
    original: Tensor | None = None
    source: ImageModel | None = None
    recording: Recording = field(default_factory=Recording)
    beta: float = BETA


@dataclass(frozen=True)
class Requirements:
    """What ``runs`` has to supply: ``task`` says of which kind teacher and student are, the others what beyond them.

    ``source``: whether the method may need a model of images; its configuration says whether this run does.
    ``of_teacher``: how much of the teacher has to be known; its terms and its student's objective may ask for more.
    """

    collected: bool = False
    original: bool = False
    source: bool = False
    task: Task = "classifier"
    of_teacher: Known = "gradients"

    def words(self, always: bool = False) -> str:
        """What a method needs beside its teacher; ``always``: a model of images however it is configured."""
        if self.collected:
            return "collected images"
        if self.original:
            return "the teacher's training images"
        if self.source:
            return f"{'' if always else 'nothing but the teacher, or '}a diffusion model that was trained on other data"
        return "nothing but the teacher"


class Summary(NamedTuple):
    """What tables say of a method beside all else that it declares, in a few words each.

    ``images``: where those come from that the student learns from. ``student``: what it matches of its teacher.
    ``chosen``: which of the images it learns from; empty: all. ``kept``: what is kept of images from step to step, with
    knobs in braces as ``str.format`` takes them; empty: nothing. ``fitted``: each batch of images takes an optimisation
    of its own.
    """

    images: str = ""
    student: str = ""
    chosen: str = ""
    kept: str = ""
    fitted: bool = False


class Term(NamedTuple):
    """One term of a loss, declared once: legends, charts, alarms and audits read it from here.

    ``name``: of its curve. ``title``: in words. ``knob``: which one weighs it; none where it cannot be weighed.
    ``of``: whose gradient it is. ``batch_norm``: it needs BatchNorm layers in the teacher. ``without_batch_norm``: the
    weight with which it makes up for those that need them, where it was measured. ``inside``: it reads features of the
    teacher, which a program does not show.
    """

    name: str
    title: str
    knob: str = ""
    of: Moved = "generator"
    batch_norm: bool = False
    without_batch_norm: float | None = None
    inside: bool = False


def facts_of(terms: tuple[Term, ...]) -> list[dict[str, Any]]:
    """JSON-ready, for a run's ``environment.json``."""
    return [term._asdict() for term in terms]
