"""What every method is: an object whose ``train()`` is a generator of events.

A method file holds its docstring, its ``Config``, its declared terms and its algorithm. When something is due, whether
a loss is finite, what slow motion shows, what a checkpoint holds: all that stands here and in ``recorder``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from itertools import accumulate
from operator import attrgetter
from typing import Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor, nn

from dfkd_core.errors import RequestError
from dfkd_core.events import Event
from dfkd_core.kit.config import MethodConfig, Stage
from dfkd_core.kit.contract import GenerativeProblem, Problem, Requirements, Summary, Term
from dfkd_core.kit.recorder import Seen
from dfkd_core.kit.schedules import set_rate
from dfkd_core.kit.terms import TermGuard, watcher
from dfkd_core.losses.bn_statistics import has_statistics
from dfkd_core.losses.latent import BETA
from dfkd_core.networks.known import OF_PROGRAM, Known, enough
from dfkd_core.selection.mixture import Selection

P = TypeVar("P", Problem, GenerativeProblem)
C = TypeVar("C", bound=MethodConfig)


class Method(ABC, Generic[P, C]):
    """A distillation algorithm; a file of ``methods`` that holds one is found by itself.

    ``terms`` and ``phases`` (in the order of a step) are declared once, for whoever draws them. ``saved`` names the
    attributes that a checkpoint holds: what has a ``state_dict``, tensors, numbers, None. ``rates`` maps the names of
    optimizers to the knobs that are their learning rates, where they may change while a run goes on.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    Config: ClassVar[type[MethodConfig]]
    requires: ClassVar[Requirements] = Requirements()
    summary: ClassVar[Summary] = Summary()
    terms: ClassVar[tuple[Term, ...]] = ()
    phases: ClassVar[tuple[str, ...]] = ()
    saved: ClassVar[tuple[str, ...]] = ()
    rates: ClassVar[dict[str, str]] = {}

    student: nn.Module  # images to logits, or a latent-variable model: what is evaluated, and kept in the end
    student_terms: tuple[Term, ...] = ()  # of its objective, where that is chosen
    encoder_trained = False  # of a latent-variable student
    synthesised: Tensor | None = None  # (N, C, H, W) uint8: images that were made beforehand

    def __init__(self, problem: P, config: C) -> None:
        self.problem: P = problem
        self.config: C = config
        self.image, self.device, self.recording = problem.image, problem.device, problem.recording
        self.teacher: Any = problem.teacher
        self.student = problem.student
        self.beta = getattr(problem, "beta", BETA)  # of a latent-variable student's output, whose std is √(β/2)
        self.take(config, problem.teacher.known)
        self.guard = TermGuard()
        self.batch_norm = has_statistics(problem.teacher)
        self.step = self.queries = 0  # queries: images that the teacher has judged so far
        self.slow = False  # somebody watches the next step in slow motion

    @classmethod
    def needs(cls) -> str:
        """What it needs beside its teacher, in words."""
        return cls.requires.words(always=bool(cls.requires.source and cls.Config().source_kind))

    @classmethod
    def take(cls, config: MethodConfig, known: Known) -> None:
        """Raises ``RequestError`` where, configured so, it asks for more than is ``known`` of the teacher."""
        asked, reads = cls.requires.of_teacher, "reads the teacher's features"
        if not enough(known, asked):
            does = reads if asked == "inside" else "follows gradients through the teacher"
            raise RequestError("method", cls.name, f"{does}, and {OF_PROGRAM[known]}; take another of either.")
        for term in cls.terms if known != "inside" else ():
            if term.inside and term.knob and getattr(config, term.knob) > 0:
                weight = getattr(config, term.knob)
                raise RequestError(term.knob, weight, f"{reads}, and {OF_PROGRAM[known]}; it should be 0.")

    @classmethod
    def remarks(cls, config: MethodConfig, batch_norm: bool) -> list[str]:
        """What is to be said of a run before it starts; ``batch_norm``: whether its teacher has such layers."""
        guiding = [term for term in cls.terms if term.of != "student"]
        on = [term for term in guiding if not term.knob or getattr(config, term.knob) > 0]
        idle = ", ".join(term.title for term in on if term.batch_norm)
        left = ", ".join(term.title for term in on if not term.batch_norm)
        said = config.remarks()
        if idle and not batch_norm:
            lacks = f"{idle} cannot act, for this teacher has no BatchNorm layers; left to guide the images: "
            said.insert(0, f"{lacks}{left or 'nothing'}.")
        return said

    # --- the algorithm ---

    @abstractmethod
    def train(self) -> Iterator[Event]:
        """Yield events, ``Step`` last in every step, from ``self.step + 1`` to ``self.total_steps``."""

    @abstractmethod
    def synthesize(self, count: int, generator: torch.Generator) -> Tensor:
        """``count`` images, (N, C, H, W), normalised, determined by ``generator``; leaves the training untouched."""

    def steps(self) -> Iterator[Seen]:
        """The steps from the next to the last, each as what the recorder has ``Seen`` of it."""
        while self.step < self.total_steps:
            self.step += 1
            first = 1
            for stage in self.stages:
                if self.step < first + stage.steps:
                    break
                first += stage.steps
            yield Seen(self, stage, self.step - first)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages of this run, in order."""
        collected = getattr(self.problem, "collected", None)
        return self.config.stages_with(0 if collected is None else len(collected))

    @property
    def total_steps(self) -> int:
        return sum(stage.steps for stage in self.stages)

    @property
    def student_learns(self) -> bool:
        """False while the student stands still: it need not be evaluated again."""
        ends = accumulate(stage.steps for stage in self.stages)
        learned = (stage.learned for stage, end in zip(self.stages, ends, strict=True) if self.step <= end)
        return self.step > 0 and next(learned) > 0

    def verdict(self, teacher_logits: Tensor) -> Selection | None:
        """Which samples of a batch (B, K) are clean, where a method tells them from rejected ones."""
        return None

    @property
    def declared_terms(self) -> tuple[Term, ...]:
        """The terms of this run; those of the student's objective are among them."""
        return (*self.terms, *self.student_terms)

    def term(self, name: str) -> Term:
        """Raises ``ValueError`` for one that is not declared."""
        known = {term.name: term for term in self.declared_terms}
        if name not in known:
            raise ValueError(f"{self.title} declares no term {name!r}; it has {', '.join(known) or 'none'}.")
        return known[name]

    def is_on(self, term: str) -> bool:
        """Whether ``term`` has a weight, and the teacher what it needs (LeNet-5 has no BatchNorm layers)."""
        declared = self.term(term)
        weighed = not declared.knob or getattr(self.config, declared.knob) > 0
        return weighed and (self.batch_norm or not declared.batch_norm)

    def see(self, images: Tensor) -> Tensor:
        """(N, C, H, W) uint8 images as the networks take them."""
        return self.image.from_bytes(images).contiguous(memory_format=torch.channels_last)

    # --- what runs and resumes it ---

    def reconfigure(self, config: C) -> None:
        """Go on with another ``config``, which differs in live knobs only, from the next step on. Raises
        ``RequestError`` where that asks for more than is known of the teacher."""
        self.take(config, self.problem.teacher.known)
        self.config = config
        for optimizer, knob in self.rates.items():
            set_rate(attrgetter(optimizer)(self), getattr(config, knob))

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        state = {"step": self.step, "queries": self.queries}
        for name in self.saved:
            part = getattr(self, name)
            state[name] = part.state_dict() if hasattr(part, "state_dict") else part
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.step, self.queries = state["step"], state["queries"]
        for name in self.saved:
            part, kept = getattr(self, name), state[name]
            if hasattr(part, "load_state_dict"):
                part.load_state_dict(kept)
            else:
                device = part.device if isinstance(part, Tensor) else self.device
                setattr(self, name, kept.to(device) if isinstance(kept, Tensor) else kept)


# --- what algorithms are made of -------------------------------------------------------------------------------


def descend(loss: Tensor, *optimizers: torch.optim.Optimizer) -> None:
    """One step of each of ``optimizers`` down the gradient of ``loss``; none where nothing depends on them."""
    parameters = [one for optimizer in optimizers for group in optimizer.param_groups for one in group["params"]]
    for optimizer in optimizers:
        optimizer.zero_grad(set_to_none=True)
    if loss.requires_grad:
        if (listens := watcher.get()) is not None:
            listens.descends(loss, optimizers)
        loss.backward(inputs=parameters)
        for optimizer in optimizers:
            optimizer.step()


def sgd(parameters: Iterable[nn.Parameter], config: Any) -> torch.optim.SGD:
    """The student's optimizer."""
    return torch.optim.SGD(parameters, config.student_lr, config.momentum, weight_decay=config.weight_decay, fused=True)


N = TypeVar("N", bound=nn.Module)


def placed(network: N, device: torch.device) -> N:
    """``network`` on ``device``, its weights where convolutions want them."""
    return network.to(device).to(memory_format=torch.channels_last)
