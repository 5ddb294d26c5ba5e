"""CPU time of a step of each generation-based method in the engine against a bare loop of the same operations.

The bare loop is the method's own algorithm with a ``Seen`` that records nothing: no metrics, shares of gradients,
samples or slow motion, no events, store or evaluation. How the two are compared: benchmarks/overhead.py. Digits, preset
``demo`` with few steps; evaluation is asked for by the user and no part of a step.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import torch
from cyclopts import Parameter
from torch import Tensor

from benchmarks.command import Quick, Rounds, command
from benchmarks.overhead import OFF, TARGET, BareLoop, Overhead
from benchmarks.report import Report, Row, at_most
from benchmarks.timing import ratios
from dfkd_core import methods
from dfkd_core.kit.method import Method
from dfkd_core.kit.recorder import Seen
from dfkd_core.kit.schedules import set_rate

RIVALS = ("dafl", "dfad", "pre-dfkd", "ddad", "dfq", "zskt", "cmi", "deepinversion", "fast", "spaceshipnet", "nayer")
HELD = "engine, no evaluation"


class Unseen:
    """The ``Seen`` of a step that nobody looks at."""

    healthy = watched = measuring = False

    def __init__(self, method: Method[Any, Any], seen: Seen) -> None:
        self._method, self.step, self.stage, self.done, self.progress = (
            method, seen.step, seen.stage, seen.done, seen.progress,
        )  # fmt: skip

    def repeat(self, times: int) -> Iterator[int]:
        yield from range(times)

    def anneal(self, optimizer: torch.optim.Optimizer, done: int | None = None) -> None:
        set_rate(optimizer, self._method.config.student_rate(self.done if done is None else done))

    def weigh(self, moved: Any, **terms: Tensor) -> Tensor:
        return torch.stack([term for name, term in terms.items() if self._method.is_on(name)]).sum()

    def events(self) -> Iterator[None]:
        yield None

    def __getattr__(self, name: str) -> Any:
        return lambda *given, **named: None


class BareMethod(BareLoop):
    """A method's own steps."""

    def __init__(self, spec: Any) -> None:
        super().__init__(spec)
        method, steps = self.method, self.method.steps
        method.steps = lambda: (Unseen(method, seen) for seen in steps())
        method.show = lambda *given: None  # what methods with a pool ask the teacher for the sake of the recorder
        self.stage = getattr(method, "stage", None)
        self.left = method.train()

    def step(self, number: int) -> None:
        next(self.left)


class BareGenerator(BareMethod):
    trained = "student"


class BarePool(BareMethod):
    trained = "stage"


def overhead(name: str, steps: int) -> Overhead:
    """Of the method ``name``, over ``steps`` steps in which its student learns."""
    known = methods.find(name).Config.model_fields
    if "synthesis_steps" in known:
        return Overhead(BarePool, {"distill_steps": steps, "warm_steps": 0}, {"method": name}, steps, 1)
    warm = {"warm_up": 1} if "warm_up" in known else {}
    changes = {"epochs": 1, "iterations": 5 * steps, **warm}
    return Overhead(BareGenerator, changes, {"method": name}, 5 * steps + len(warm), 5)


def measure(
    *,
    rounds: Rounds = 3,
    steps: Annotated[int, Parameter(help="Of a method with a pool; five times as many of one without.")] = 4,
    only: Annotated[str, Parameter(help="Methods, with commas between them.")] = ",".join(RIVALS),
    quick: Quick = False,
) -> Iterator[Report]:
    rounds, steps = (1, 2) if quick else (rounds, steps)
    rows, details = list[Row](), dict[str, Any]()
    for name in only.split(","):
        loop = overhead(name, steps)
        measured = loop.measure({HELD: OFF["evaluation"]}, rounds)
        ratio = ratios(measured[HELD], measured["bare loop"])
        rows.append(
            at_most(TARGET, f"{name}: engine against the bare loop, CPU time of a step", str(ratio), ratio.median)
        )
        details[name] = measured
    yield Report(rows, details)


if __name__ == "__main__":
    command(measure)
