"""What a step leaves to look at: metrics, samples, slow motion. It alone knows what is due, and does nothing where
nothing is; a method tells it what there is in passing, and asks for the ``events`` when the step is over.

Sources of the two figures that are always there: ``coverage`` is exp of the entropy of the mean prediction over the
number of classes, ``diversity`` one minus the mean pairwise cosine similarity of the teacher's pooled features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from dfkd_core.events import ClassShares, Epoch, Event, Phase, Phases, Samples, Step
from dfkd_core.images import ImageSpec
from dfkd_core.kit.config import Stage
from dfkd_core.kit.contract import Term
from dfkd_core.kit.recording import SHOWN, Recording
from dfkd_core.kit.samples import answers, describe, thumbnails, to_bytes
from dfkd_core.kit.schedules import set_rate
from dfkd_core.kit.terms import TermGuard, gradient_norm, gradient_norms, shares, watcher
from dfkd_core.losses.generator import coverage, diversity
from dfkd_core.networks.classifiers import Features
from dfkd_core.selection.mixture import Selection
from dfkd_core.synthesis.guided import Film

SUMS = {
    "generator": "generator_loss", "discriminator": "discriminator_loss", "images": "guidance", "memory": "memory_loss",
}  # fmt: skip
Number = float | Tensor | Callable[[], Tensor | float]


class Watched(Protocol):
    """What the recorder has to know of a method."""

    step: int
    queries: int
    slow: bool
    config: Any
    recording: Recording
    image: ImageSpec
    device: torch.device
    guard: TermGuard
    phases: ClassVar[tuple[str, ...]]

    @property
    def declared_terms(self) -> tuple[Term, ...]: ...

    def term(self, name: str) -> Term: ...

    def is_on(self, term: str) -> bool: ...


class Seen:
    """One step. ``stage`` and ``done``: where it is, and how many steps of the stage came before it, as ``progress`` 0
    to 1.

    ``healthy``: the share of each term in the gradient is due; ``watched``: slow motion is. ``numbers``: metrics of the
    method's own.
    """

    def __init__(self, method: Watched, stage: Stage, done: int) -> None:
        recording = method.recording
        self._method, self.step, self.stage, self.done = method, method.step, stage.name, done
        self.watched = method.slow or recording.due(recording.phases_every, self.step)
        self._sampled = recording.due(recording.samples_every, self.step)
        self.progress = done / stage.steps
        self.healthy = recording.due(recording.health_every, self.step)
        self._due = self.healthy or recording.due(recording.log_every, self.step)
        self._last = True
        self._rate: float | None = None
        self._loss: dict[str, Tensor] = {}
        self._terms: dict[str, dict[str, Tensor]] = {}
        self._norms: dict[str, dict[str, float]] = {}
        self.numbers: dict[str, Number] = {}
        self._features: Features | None = None
        self._samples: Callable[[], Samples] | None = None
        self._columns: dict[str, Tensor] = {}
        self._shares: dict[str, list[float]] = {}
        self._phases: dict[str, Callable[[], Phase]] = {}

    @property
    def measuring(self) -> bool:
        """Whether gradients of terms are looked at in this step."""
        return self.healthy or self.watched

    # --- what the algorithm says in passing ---

    def repeat(self, times: int) -> Iterator[int]:
        """``range(times)``; gradients are measured in the last round only, what else is said last counts."""
        outer = self._last
        for index in range(times):
            self._last = outer and index == times - 1
            yield index

    def anneal(self, optimizer: torch.optim.Optimizer, done: int | None = None) -> None:
        """Give the student's optimizer the rate that its ``Config`` has for this step."""
        self._rate = self._method.config.student_rate(self.done if done is None else done)
        set_rate(optimizer, self._rate)

    def weigh(self, moved: nn.Module | list[Tensor] | None, **terms: Tensor) -> Tensor:
        """The sum of those of the weighted ``terms`` that are on; each is declared by the method.

        ``moved``: what their gradient is for, to measure each term's share in it; None: not to be measured.
        """
        on = {name: term for name, term in terms.items() if self._method.is_on(name)}
        of = self._method.term(next(iter(terms))).of
        self._terms[of] = {name: term.detach() for name, term in on.items()}
        self._tell(of, on)
        if not on:
            return torch.zeros((), device=self._method.device)
        if moved is not None and self._last and self.measuring:
            parameters = list(moved.parameters()) if isinstance(moved, nn.Module) else moved
            self._norms[of] = gradient_norms(on, parameters)
        return torch.stack(list(on.values())).sum()

    def student_loss(self, loss: Tensor, terms: dict[str, Tensor] | None = None) -> None:
        """What the student descends, and the ``terms`` that it is the sum of where there are several."""
        several = terms if terms is not None and len(terms) > 1 else {}
        self._tell("student", terms or {"student_loss": loss})
        self._loss = {name: term.detach() for name, term in {"student_loss": loss, **several}.items()}

    def check(self, **numbers: Tensor) -> None:
        """Metrics that have to be finite, like losses."""
        self._loss |= {name: number.detach() for name, number in numbers.items()}

    def note(self, **numbers: Number) -> None:
        """Metrics of the method's own; a function is called only where they are due."""
        self.numbers |= numbers

    def judged(self, features: Features) -> None:
        """What the teacher sees in a batch: coverage and diversity are taken of it."""
        self._features = features

    def samples(
        self,
        features: Features,
        student: Tensor | nn.Module,
        verdict: Selection | None = None,
        *,
        pixels: Tensor | None = None,
        images: Tensor | None = None,
        columns: Mapping[str, Tensor] | None = None,
    ) -> None:
        """A batch to be looked at: (B, C, H, W) ``pixels`` in [0, 1], or normalised ``images``; what the teacher sees
        in them, and the student's logits (or the student, to be asked if they are due)."""
        if not self._sampled:
            return

        def sheet() -> Samples:
            method, count = self._method, self._method.recording.samples
            shown = self._first(count, pixels, images)
            assert shown is not None, "samples need pixels or images"
            if isinstance(student, nn.Module):
                student.eval()
                logits = student(method.image.normalise(shown))
            else:
                logits = student[:count]
            seen = Features(features.logits[:count], features.pooled[:count], {})
            more = {name: column[:count] for name, column in {**(columns or {}), **self._columns}.items()}
            kept = method.recording.features
            return describe(self.step, shown, seen, logits, verdict, features=kept, more=more)

        self._samples = sheet

    def columns(self, **columns: Tensor) -> None:
        """More about each sample, (B, …)."""
        self._columns |= columns

    def sheet(self, images: Callable[[], Tensor], always: bool = False, **columns: np.ndarray) -> None:
        """Normalised images that no classifier judges, with their ``columns``."""
        if self._sampled or always:
            image = self._method.image
            self._samples = lambda: Samples(self.step, to_bytes(image.to_pixels(images())).cpu().numpy(), columns)

    def class_shares(self, always: bool = False, **shares: Tensor) -> None:
        """Of the classes, each (K,) by a name."""
        if self._sampled or always:
            self._shares |= {name: of.tolist() for name, of in shares.items()}

    def phase(
        self,
        name: str,
        *,
        pixels: Tensor | None = None,
        images: Tensor | None = None,
        of: str = "",
        network: nn.Module | None = None,
        teacher: Tensor | None = None,
        student: Tensor | None = None,
        verdict: Selection | None = None,
        arrays: Mapping[str, Tensor | np.ndarray] | None = None,
        values: Mapping[str, Number] | None = None,
    ) -> None:
        """What a phase of the step made, for slow motion: a batch of which the first few are shown, ``teacher`` and
        ``student`` logits (B, K) on it, small ``arrays`` and ``values``; ``of`` adds the terms of whoever learned
        in it, ``network`` the norm of its gradient."""
        if not self.watched:
            return

        def shown() -> Phase:
            strip = self._first(SHOWN, pixels, images)
            found = {key: _plain(array) for key, array in (arrays or {}).items()}
            numbers = {key: _number(value) for key, value in (values or {}).items()} | self._learned(of, network)
            for who, logits in (("teacher", teacher), ("student", student)):
                found |= answers(who, logits) if logits is not None else {}
            if verdict is not None:
                more, fitted = _fit(verdict)
                numbers, found = numbers | more, found | fitted
            return Phase(name, numbers, None if strip is None else thumbnails(strip), found)

        self._phases[name] = shown

    def phase_latents(self, latents: Tensor, pixels: Tensor | None = None) -> None:
        """The phase ``latents`` of (B, z), and ``generate`` where their ``pixels`` are at hand."""
        if not self.watched:
            return
        shown = latents.detach()[:SHOWN].clone()  # they may learn after this
        self.phase("latents", arrays={"latents": shown}, values={"length": latents.shape[1]})
        if pixels is not None:
            self.phase("generate", pixels=pixels)

    def phase_student(self, network: nn.Module, images: Tensor, teacher: Tensor, student: Tensor, updates: int) -> None:
        """The phase ``student``: ``network`` learned from ``teacher`` logits on normalised ``images``."""
        student, steps = student.detach(), {"student_steps": float(updates)}
        self.phase(
            "student", images=images, of="student", network=network, teacher=teacher, student=student, values=steps
        )

    def film(self, film: Film, always: bool = False) -> None:
        """How images came about."""
        if self.watched or always:
            self._phases["synthesis"] = lambda: self._filmed(film)

    # --- what is due ---

    def events(self) -> Iterator[Event]:
        """The events that close the step, ``Step`` last."""
        method = self._method
        values = self._values()  # first, since it stops the run at a NaN
        with torch.no_grad():
            found: list[Event] = [self._samples()] if self._samples is not None else []
            if self._shares:
                found.append(ClassShares(self.step, self._shares))
            if self._phases:
                order = [name for name in method.phases if name in self._phases]
                found.append(Phases(self.step, tuple(self._phases[name]() for name in order)))
        epoch = method.config.epoch_at(self.step)
        if epoch is not None and self._rate is not None:
            found.append(Epoch(self.step, epoch, self._rate))
        yield from found
        yield Step(self.step, values)

    @torch.no_grad()
    def _values(self) -> dict[str, float]:
        """Floats where they are due. On a CPU reading them is free, so every step is checked for NaN there."""
        method = self._method
        if not self._due and method.device.type != "cpu":
            return {}
        read = {**self._loss, **{name: term for terms in self._terms.values() for name, term in terms.items()}}
        values = method.guard.read(self.step, read) if read else {}
        if not self._due:
            return {}
        for of, terms in self._terms.items():
            if of in SUMS:
                values[SUMS[of]] = sum((values[name] for name in terms), 0.0)
        values |= {name: _number(number) for name, number in self.numbers.items()}
        if self._features is not None:
            values["coverage"] = coverage(self._features.logits)
            values["diversity"] = float(diversity(self._features.pooled))
        if method.queries:
            values["queries"] = float(method.queries)
        if self._rate is not None:
            values["learning_rate"] = self._rate
        for norms in self._norms.values() if self.healthy else ():
            values |= shares(norms)
        return values

    def _tell(self, of: str, terms: dict[str, Tensor]) -> None:
        if (listens := watcher.get()) is not None:
            listens.weighed(of, terms)

    def _first(self, count: int, pixels: Tensor | None, images: Tensor | None) -> Tensor | None:
        """The first few of ``pixels``, or of normalised ``images``, as pixels."""
        if images is not None:
            return self._method.image.to_pixels(images[:count])
        return None if pixels is None else pixels[:count]

    def _learned(self, of: str, network: nn.Module | None) -> dict[str, float]:
        """Terms and gradients of whoever learned in a phase."""
        terms = self._loss if of == "student" else self._terms.get(of, {})
        values = {name: term.item() for name, term in terms.items()}
        values |= {f"gradient/{name}": norm for name, norm in self._norms.get(of, {}).items()}
        if network is not None:
            values["gradient"] = gradient_norm(network)
        if of == "student" and self._rate is not None:
            values["learning_rate"] = self._rate
        return values

    def _filmed(self, film: Film) -> Phase:
        steps, shown = film.frames.shape[:2]
        frames = to_bytes(self._method.image.to_pixels(film.frames.flatten(0, 1))).cpu().numpy()
        arrays = {
            "loss": film.loss.cpu().numpy(),
            "timestep": film.timesteps.cpu().numpy(),
            "shown": np.array([steps, shown]),
        }
        values = {name: term.item() for name, term in self._terms.get("images", {}).items()}
        values |= {"guidance": film.loss[-1].item(), "guidance_first": film.loss[0].item()}
        return Phase("synthesis", values, frames, arrays)


def _plain(array: Tensor | np.ndarray) -> np.ndarray:
    if isinstance(array, np.ndarray):
        return array
    return (array.float() if array.is_floating_point() else array).cpu().numpy()


def _number(number: Number) -> float:
    return float(number if isinstance(number, Tensor | float | int) else number())


def _fit(verdict: Selection) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """The mixture of a verdict, as numbers and small arrays."""
    fit, clean = verdict.summary(), verdict.clean.cpu().numpy()
    values = {"kept": float(clean.mean()), "batch": float(len(clean))}
    values |= {name: float(fit[name]) for name in ("low", "high", "threshold")}
    fitted = {name: np.array(fit[name]) for name in ("weights", "means", "deviations", "region") if fit["usable"]}
    return values, {"clean": clean, **fitted}
