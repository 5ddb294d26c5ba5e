"""CPU time of a step in the engine, events and store included, against a bare loop of the same operations.

A bare loop has no events, metrics, checks, store, health or evaluation; that it does the same training is not asserted
but tested: its weights must end bit-identical to the engine's. Only the steps are timed, not the set-up: in the engine
from the end of step ``warm_up`` to the end of the last, so everything that happens in between counts.

Arms alternate: the bare loop, the engine, and the engine with one thing after another switched off, which says where
the overhead goes. A checkpoint every 20 seconds is measured by itself and its share added.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from benchmarks.report import Row, at_most
from benchmarks.timing import Times, bootstrap, interleave, ratios, repeated
from benchmarks.training import carried_out, folder_of_runs
from dfkd_core.events import Event, Step
from dfkd_core.runs.assemble import assemble, assemble_classifier, seed_step
from dfkd_core.runs.request import make_spec
from dfkd_core.runs.spec import RunSpec
from dfkd_core.store import RunFolder
from dfkd_core.store.checkpoints import load_checkpoint, save_checkpoint

TARGET, NEVER = 1.05, 100_000
RECORDED = ("samples_every", "probes_every", "phases_every")
SILENT = dict.fromkeys(RECORDED, 0)
Fields = dict[str, Any]  # of a run
OFF: dict[str, Fields] = {  # a run without the thing, in the order in which they are switched off
    "evaluation": {"evaluate_every": NEVER},
    "term health": {"health_every": 0},
    "recording": SILENT,
    "metrics": {"log_every": NEVER},
}
BARE, ENGINE = "bare loop", "engine"


def without(things: Iterable[str]) -> dict[str, Fields]:
    """Arms of the engine, each without one more of ``things`` than the one before."""
    arms, fields = {ENGINE: Fields()}, Fields()
    for index, name in enumerate(things):
        fields |= OFF[name]
        arms[f"… {'nor' if index else 'no'} {name}"] = dict(fields)
    return arms


class BareLoop(ABC):
    """The training of a specification, and nothing else. ``trained`` is what it and the method call the network that
    must come out the same."""

    trained: ClassVar[str]

    def __init__(self, spec: RunSpec) -> None:
        self.c, (_, self.problem, method) = spec.config, assemble_classifier(spec)
        self.image, self.teacher, self.student = self.problem.image, self.problem.teacher, self.problem.student
        self.method: Any = method

    @abstractmethod
    def step(self, number: int) -> None: ...


def descend(loss: Tensor, optimizer: torch.optim.Optimizer, only: Iterable[Tensor] | None = None) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.backward(inputs=None if only is None else list(only))
    optimizer.step()


def tensors(state: Any, name: str = "") -> dict[str, Tensor]:
    """All tensors of a state, whatever it nests them in."""
    if isinstance(state, Tensor):
        return {name: state}
    parts = state.items() if isinstance(state, dict) else enumerate(state) if isinstance(state, list | tuple) else ()
    return {key: one for part, value in parts for key, one in tensors(value, f"{name}.{part}").items()}


@dataclass(frozen=True)
class Overhead:
    """``loop`` against the engine, over ``steps`` steps of a run with the knobs ``changes`` and ``fields``."""

    loop: type[BareLoop]
    changes: dict[str, Any]
    fields: Fields
    steps: int
    warm_up: int

    def spec(self, **fields: Any) -> RunSpec:
        return make_spec(self.changes, **self.fields, **fields)

    def measure(self, arms: dict[str, Fields], rounds: int) -> Times:
        """CPU seconds of a step in the bare loop, and in the engine for each of ``arms``.

        Exits if the two do not train bit-identically: then they are no comparison.
        """
        bare, engine = self.bare(0)[1], self.engine(0)[1]
        different = [name for name, tensor in bare.items() if not torch.equal(tensor, engine[name])]
        if different:
            raise SystemExit(f"the bare loop trains otherwise than the engine: {', '.join(different[:3])} differ")

        def timed(loop: Callable[..., tuple[float, Any]], **fields: Any) -> Callable[[int], float]:
            return lambda seed: loop(seed, **fields)[0]

        engines = {name: timed(self.engine, **fields) for name, fields in arms.items()}
        return interleave({BARE: timed(self.bare), **engines}, rounds)

    def bare(self, seed: int) -> tuple[float, dict[str, Tensor]]:
        """CPU seconds of a step of the bare loop, and the weights that it came to."""
        spec = self.spec(seed=seed)
        loop, times = self.loop(spec), dict[int, float]()
        for step in range(1, self.steps + 1):
            seed_step(spec.seed, step)
            loop.step(step)
            times[step] = time.process_time()
        return self.of_a_step(times), tensors(getattr(loop, self.loop.trained).state_dict())

    def engine(self, seed: int, **fields: Any) -> tuple[float, dict[str, Tensor]]:
        """The same in ``run``, into a temporary folder."""
        times = dict[int, float]()

        def progress(event: Event) -> None:
            if isinstance(event, Step):
                times[event.step] = time.process_time()

        with folder_of_runs() as runs:
            kept = load_checkpoint(carried_out(runs, self.spec(seed=seed, **fields), progress))
        assert kept is not None
        return self.of_a_step(times), tensors(kept.state["method"][self.loop.trained])

    def of_a_step(self, times: dict[int, float]) -> float:
        return (times[self.steps] - times[self.warm_up]) / (self.steps - self.warm_up)

    def checkpoint_seconds(self) -> float:
        """CPU seconds of one checkpoint, median of nine."""
        spec = self.spec()
        method = assemble(spec)[2]
        next(iter(method.train()))
        with folder_of_runs() as runs:
            folder, steps = RunFolder.create(runs, spec.model_dump()), iter(range(9))
            state = {"method": method.state_dict()}
            watches = repeated(lambda: save_checkpoint(folder, next(steps), state), 9)
        return bootstrap([watch.cpu for watch in watches]).median

    def report(self, what: str, held: str, measured: Times, arms: Iterable[str]) -> tuple[list[Row], dict[str, Any]]:
        """The ratio of the arm ``held`` against the target, checkpoints at their default pace added, and of all
        ``arms``; the raw values."""
        checkpoint, bare = self.checkpoint_seconds(), measured[BARE]
        saving = checkpoint / self.spec().checkpoint_seconds
        ratio = ratios([value * (1 + saving) for value in measured[held]], bare)
        rows = [
            at_most(TARGET, what, f"{ratio} × {bootstrap(bare).median * 1000:.1f} ms", ratio.median),
            Row("of it checkpoints, one every 20 s", f"{saving:.3%}", value=saving),
            *(ratios(measured[name], bare).row(f"{name}, against the bare loop") for name in arms),
        ]
        return rows, {"cpu_seconds_per_step": measured, "checkpoint_seconds": checkpoint}
