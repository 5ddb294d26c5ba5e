"""A method's knobs. Form, command-line flags, permalink and JSON on disk all come from these models. Without torch."""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field

from dfkd_core.errors import RequestError, validated
from dfkd_core.images import ImageSpec

BOUNDS = ("ge", "gt", "le", "lt")


def knob(
    default: Any,
    help: str,
    *,
    group: str,
    symbol: str = "",
    unit: str = "",
    memory: bool = False,
    live: bool = False,
    first: bool = False,
    **bounds: Any,
) -> Any:
    """A field of a method's ``Config``.

    ``symbol`` is the paper's letter, ``group`` the heading it appears under, and ``memory`` marks the knobs
    to lower when memory runs out, ``live`` those that may change while a run goes on, ``first`` those that decide what
    kind of run it is. ``bounds`` are pydantic's ``ge``, ``gt``, ``le``, ``lt``.
    """
    extra: dict[str, Any] = {"group": group, "symbol": symbol, "unit": unit}
    extra |= {"memory": memory, "live": live, "first": first}
    return Field(default, description=help, json_schema_extra=extra, **bounds)


def other_default(base: type[BaseModel], name: str, default: Any) -> Any:
    """The field ``name`` of ``base`` with another default, for a ``Config`` that inherits it."""
    field = base.model_fields[name]
    bounds = {kind: getattr(bound, kind) for bound in field.metadata for kind in BOUNDS if hasattr(bound, kind)}
    return Field(default, description=field.description, json_schema_extra=field.json_schema_extra, **bounds)


def exactly(count: int) -> tuple[int, int]:
    """What ``MethodConfig.queries`` says where nothing is left to chance."""
    return count, count


class Stage(NamedTuple):
    """A part of a run: its name, its title in words, how many steps it takes, and how many images the student learns
    from in each."""

    name: str
    title: str
    steps: Annotated[int, Field(ge=0, lt=2**53)]
    learned: Annotated[int, Field(ge=0, lt=2**53)] = 0


class MethodConfig(BaseModel):
    """Base of every method's ``Config``; ``presets`` maps a name to the knobs that it changes.

    What depends on the knobs alone stands here too: the ``stages`` of a run, the ``source_kind`` of its images, how
    large what it records is.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    presets: ClassVar[dict[str, dict[str, Any]]] = {}

    # --- a run of these knobs ---

    def stages(self) -> tuple[Stage, ...]:
        """The stages of a run, in order."""
        raise NotImplementedError

    def stages_with(self, collected: int) -> tuple[Stage, ...]:
        """The same of a run for which that many images were collected, where lengths are counted in epochs of them."""
        return self.stages()

    @property
    def total_steps(self) -> int:
        """Steps of a run."""
        return sum(stage.steps for stage in self.stages())

    @property
    def images_of_a_run(self) -> int:
        """How many images the student learns from in all, where it takes every image of its batches."""
        return sum(stage.steps * stage.learned for stage in self.stages())

    def student_rate(self, done: int) -> float:
        """The student's learning rate after ``done`` steps of the stage in which it learns: a function of the step
        alone, so that a resumed run needs no scheduler."""
        raise NotImplementedError

    def epoch_at(self, step: int) -> int | None:
        """The epoch that ends with ``step``, from 1; None where none does."""
        return None

    @property
    def source_kind(self) -> str:
        """Which model of images the method needs as it is configured: ``diffusion``, ``stable-diffusion`` or none."""
        return ""

    @property
    def shown(self) -> int:
        """Images of a batch: no more can be recorded of it."""
        return 1 << 20

    @property
    def latent_length(self) -> int:
        """Numbers of a latent that slow motion records."""
        return 0

    def queries(self, stage: str) -> tuple[int, int] | None:
        """The fewest and the most images that the teacher judges in one step of ``stage``; None where nobody counts."""
        return None

    def kept_bytes(self, image: ImageSpec, width: int) -> int:
        """About how many bytes a checkpoint holds of what was made for the student; ``width`` is that of the teacher's
        pooled features."""
        return 0

    @property
    def films(self) -> int:
        """How often the making of images is filmed."""
        return 0

    def remarks(self) -> list[str]:
        """What is to be said of these knobs before a run starts."""
        return []

    # --- the knobs themselves ---

    @classmethod
    def build(cls, preset: str = "", changes: dict[str, Any] | None = None) -> Self:
        """The configuration of ``preset`` (empty: the defaults) with ``changes`` on top.

        Raises ``RequestError`` for an unknown preset, an unknown knob or a value out of bounds.
        """
        if preset and preset not in cls.presets:
            known = f"one of {', '.join(cls.presets)}" if cls.presets else "left out: the method has none"
            raise RequestError("preset", preset, f"should be {known}.")
        return validated(cls, {**cls.presets.get(preset, {}), **(changes or {})})

    def change(self, changes: dict[str, Any]) -> Self:
        """The configuration with other values of ``live`` knobs. Raises ``RequestError`` for anything else."""
        for name, value in changes.items():
            if name not in type(self).live_knobs():
                able = ", ".join(type(self).live_knobs())
                raise RequestError(name, value, f"cannot change while a run goes on; these can: {able}.")
        return validated(type(self), {**self.model_dump(), **changes})

    @classmethod
    def knobs(cls) -> list[str]:
        """The names of all knobs; those that the method has of its own come before those that it shares."""
        own = [name for name in cls.model_fields if name in cls.__annotations__]
        return [*own, *(name for name in cls.model_fields if name not in own)]

    @classmethod
    def live_knobs(cls) -> list[str]:
        """The knobs that may change while a run goes on."""
        return [name for name in cls.knobs() if cls.about(name)["live"]]

    @classmethod
    def memory_knobs(cls) -> list[str]:
        """The knobs to lower when memory runs out."""
        return [name for name in cls.knobs() if cls.about(name)["memory"]]

    @classmethod
    def groups(cls) -> dict[str, list[str]]:
        """The knobs by the heading they appear under."""
        grouped: dict[str, list[str]] = {}
        for name in cls.knobs():
            grouped.setdefault(cls.about(name)["group"], []).append(name)
        return grouped

    @classmethod
    def about(cls, name: str) -> dict[str, Any]:
        """``group``, ``symbol``, ``unit``, ``memory``, ``live`` and ``first`` of the knob ``name``."""
        extra = cls.model_fields[name].json_schema_extra
        assert isinstance(extra, dict)
        return dict(extra)


class EpochConfig(MethodConfig):
    """Every step is alike, and epochs of them set the learning rate; defaults are TA-DFKD's for CIFAR-10."""

    epochs: int = knob(200, "Length of the run.", group="Schedule", unit="epochs", ge=1, le=100_000)
    iterations: int = knob(36, "Steps in an epoch.", group="Schedule", unit="steps", ge=1, le=100_000)
    batch_size: int = knob(
        1024, "Images per batch.", group="Schedule", symbol="B", unit="images", memory=True, ge=4, le=16384
    )
    student_lr: float = knob(
        0.01, "Learning rate of the student (SGD, cosine).", group="Optimisation", live=True, symbol="η_S", gt=0, le=10
    )
    momentum: float = knob(0.9, "Momentum of the student's SGD.", group="Optimisation", ge=0, lt=1)
    weight_decay: float = knob(5e-4, "Weight decay of the student's SGD.", group="Optimisation", ge=0, le=1)

    def stages(self) -> tuple[Stage, ...]:
        return (Stage("student", "The student learns", self.epochs * self.iterations, self.learned),)

    @property
    def learned(self) -> int:
        """Images that the student learns from in a step."""
        return self.batch_size

    def student_rate(self, done: int) -> float:
        """Cosine, the same within an epoch."""  # π·e/E, which rounds otherwise than ``schedules.cosine``, π·(e/E)
        return self.student_lr * 0.5 * (1 + math.cos(math.pi * (done // self.iterations) / self.epochs))

    def divided(self, done: int, milestones: tuple[float, ...]) -> float:
        """The student's rate, divided by 10 after each of these shares of the epochs."""
        epoch = done // self.iterations
        return self.student_lr * 0.1 ** sum(epoch >= milestone * self.epochs for milestone in milestones)

    def epoch_at(self, step: int) -> int | None:
        return step // self.iterations if step % self.iterations == 0 else None

    @property
    def shown(self) -> int:
        return self.batch_size


class UpdatesConfig(EpochConfig):
    """The student takes several updates in each step."""

    student_steps: int = knob(
        10, "Student updates in one step.", group="Schedule", symbol="k", unit="updates", ge=1, le=1000
    )

    @property
    def learned(self) -> int:
        return self.student_steps * self.batch_size
