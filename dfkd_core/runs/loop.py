"""``run`` executes one specification into one folder. It owns evaluation, timing, stopping, checkpointing and writing.

The order at a step's end is fixed: rows of the step, evaluation if due, one write of the batch, checkpoint if due,
then the commands that came in. Before each step the global generators are seeded from (seed, step): evaluation and
recording can draw what they like without changing the training, and a resumed run needs no generator state.
"""

from __future__ import annotations

import math
import os
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import torch
from safetensors.torch import save

from dfkd_core import methods
from dfkd_core.data.catalogue import data_in, find_benchmark
from dfkd_core.data.sources import source_facts
from dfkd_core.errors import (
    NO_ROOM,
    DamagedError,
    NonFiniteError,
    RequestError,
    StoreError,
    SupersededError,
    capitalised,
    in_words,
)
from dfkd_core.events import Applied, Event, StageEntered, Status, Step
from dfkd_core.kit.config import MethodConfig
from dfkd_core.kit.contract import GenerativeProblem, facts_of
from dfkd_core.networks.execution import executing
from dfkd_core.provenance import environment
from dfkd_core.runs.assemble import assemble, evaluator, execution_of, seed_step
from dfkd_core.runs.holding import (
    ACCEPTED,
    DEPENDS_ON,
    Change,
    check_held,
    depends_on,
    held_extractor,
    live_changes,
    note,
    read_held_spec,
)
from dfkd_core.runs.memory import check_memory
from dfkd_core.runs.signals import TOLD_TO_END, left_by, terminated_softly
from dfkd_core.runs.spec import RunSpec, read_spec
from dfkd_core.runs.survey import keep_survey, survey
from dfkd_core.selection.collected import Predictor
from dfkd_core.store import REAL, Command, EventWriter, Lease, RunFolder, RunStatus, read_facts, store_samples
from dfkd_core.store.checkpoints import load_checkpoint, save_checkpoint
from dfkd_core.store.listing import CACHE

Progress = Callable[[Event], None]
NO_ROOM_TO_STOP = "Stopped while the disk was full. Make room, then Resume goes on from the last checkpoint."
POLL_SECONDS = 0.05
WORKER_LOG = "worker.log"  # what an attempt printed, tracebacks for one


def run(folder: RunFolder, lease: Lease, progress: Progress | None = None, insist: bool = False) -> RunStatus:
    """Train the run of ``folder`` from its newest checkpoint, or from the start, and return how it ended. ``insist``:
    even where what it depends on has changed (see ``holding``).

    ``lease`` is held until then. Whatever goes wrong inside the training ends in a ``failed`` status with one sentence,
    not in an exception; a run that a later attempt has taken over ends ``interrupted``, and nothing is written. One
    that hears SIGTERM ends so, too, and then the process as it would have without a run.
    """
    with lease, terminated_softly() as heard:
        status = _carried_out(folder, lease, progress, heard, insist)
    if signal.SIGTERM in heard and status.state != "queued":
        signal.raise_signal(signal.SIGTERM)
    return status


def _carried_out(
    folder: RunFolder, lease: Lease, progress: Progress | None, heard: list[int], insist: bool
) -> RunStatus:
    spec = read_spec(folder)
    try:
        lease.check()
        before = folder.status()
        folder.set_status(replace(before, state="running", message="", attempt=lease.number))
        spec = read_held_spec(folder, insist)
        with borrowed(spec):
            return _Running(spec, folder, lease, progress, heard, insist).to_the_end()
    except SupersededError as error:
        return RunStatus("interrupted", capitalised(str(error)), attempt=lease.number)
    except _NoRoomToStop:
        return _ended(folder, lease.number, left_by(heard), NO_ROOM_TO_STOP)
    except Exception as error:
        return _failed(folder, lease.number, _sentence(error, spec, folder))


def _failed(folder: RunFolder, attempt: int, message: str) -> RunStatus:
    """Write down that the exception at hand ended the run."""
    with suppress(OSError, StoreError), folder.files.append(folder.attempt_file(attempt, WORKER_LOG)) as log:
        log.write(traceback.format_exc().encode())
    return _ended(folder, attempt, "failed", message)


def _ended(folder: RunFolder, attempt: int, state: str, message: str) -> RunStatus:
    status = replace(folder.status(), state=state, message=message, attempt=attempt, owner=None)
    with suppress(OSError):  # on a full disk it stays active without a live owner: interrupted
        folder.set_status(status)
    return status


@contextmanager
def borrowed(spec: RunSpec) -> Iterator[None]:
    """torch's thread count, generators and precision are the caller's, too, when a run is not alone in its process; so
    is the data folder. Where the run's own is not on this machine, the usual one serves: the images are compared."""
    threads, device = torch.get_num_threads(), torch.device(spec.device)
    on_gpu = device.type == "cuda"
    if spec.deterministic and on_gpu:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS is first used
    execution = execution_of(spec)
    torch.set_num_threads(spec.threads)
    try:
        with (
            data_in(spec.data if os.path.isdir(spec.data) else ""),
            torch.random.fork_rng(devices=[device] if on_gpu else []),
            executing(execution, spec.deterministic),
        ):
            yield
    finally:
        torch.set_num_threads(threads)


def _sentence(error: Exception, spec: RunSpec, folder: RunFolder) -> str:
    text = str(error)
    memory = isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in text
    if memory:
        config: type[MethodConfig] = methods.find(spec.method).Config
        knobs = ", ".join(f"{name} ({spec.config[name]})" for name in config.memory_knobs())
        step = folder.status().step
        return f"Out of memory on {spec.device} after step {step}: lower {knobs}, or take a smaller student."
    if isinstance(error, RequestError | NonFiniteError | StoreError):
        return capitalised(text)
    return f"{type(error).__name__}: {text or 'no message'} (the traceback is in worker.log)"


class _NoRoomToStop(Exception):
    """It was told to stop, and there is no room for a checkpoint."""


class _Running:
    """One attempt at one run, from set-up to its last row."""

    def __init__(
        self,
        spec: RunSpec,
        folder: RunFolder,
        lease: Lease,
        progress: Progress | None,
        heard: list[int],
        insist: bool = False,
    ) -> None:
        self.spec, self.folder, self.lease = spec, folder, lease
        self.progress, self.heard = progress or (lambda event: None), heard
        self.device = torch.device(spec.device)
        self.on_gpu = self.device.type == "cuda"
        self.foretold_peak = check_memory(spec) if self.on_gpu else None
        self.card, self.problem, self.method = assemble(spec)
        self.student, cache = self.method.student, folder.path.parent / CACHE
        self.evaluation = evaluator(spec, self.card, self.problem, self.student, cache, held_extractor(folder))
        self.held = depends_on(spec, self.card, self.problem, self.evaluation)
        self.accepted = check_held(folder, self.held, insist)
        self.evaluated: list[float] = []
        self.elapsed = 0.0
        self.changed: list[Change] = []  # so far
        self.changes: list[Change] = []  # to be made again
        damaged = self._restore()
        self.changes, lines = live_changes(folder, self.changes)
        self.note = note(self.accepted, [*damaged, *lines], self.method.step)
        self._repeat_changes()
        self.writer = EventWriter(folder, lease.number)
        self.commands, self.unheard = folder.commands(lease.number), list[Command]()
        self.status = RunStatus("running", "", self.method.step, self.method.total_steps, lease.number)
        self.stopping = False
        self.allowed: int | None = None  # steps until the next pause: 0 while paused, None while running freely

    def _restore(self) -> list[str]:
        """Bring the method to the newest checkpoint that is whole; returns what is damaged of later ones."""
        try:
            found = load_checkpoint(self.folder)
        except DamagedError as error:
            return [str(error).removeprefix(f"{self.folder.files.title}: ")]
        if found is None:
            return []
        state = found.state
        self.method.load_state_dict(state["method"])
        self.elapsed, self.changes = state["elapsed"], list(state["changed"])
        self.evaluated = [math.nan if score is None else score for score in state["evaluated"]]
        return found.damaged

    def _repeat_changes(self) -> None:
        """What was changed live in earlier attempts takes effect after the same steps again."""
        while self.changes and self.changes[0][0] <= self.method.step:
            self.changed.append(self.changes.pop(0))
            self.method.reconfigure(self.method.config.change(self.changed[-1][1]))

    # --- the loop ---

    def to_the_end(self) -> RunStatus:
        """Run until done, stopped or failed."""
        if self.accepted:
            self._add(Applied(self.method.step, "insist", "; ".join(self.accepted)), self.elapsed)
        self._enter("running", self.note)
        self._write_environment()
        self._keep_real()
        self._keep_collected()
        if not self.evaluated:
            self._evaluate()
            self._probe()
        self.saved_at = time.monotonic()
        events = self.method.train()
        started = time.perf_counter()
        while True:
            seed_step(self.spec.seed, self.method.step + 1)
            self.method.slow = self.allowed is not None  # single steps are taken to be looked at
            self._enter_stage(self.method.step + 1)
            step = self._one_step(events, started)
            self.lease.check()
            if step is None:
                return self._end("done")
            if self._evaluation_due():
                self._evaluate(time.perf_counter() - started)
            if self.spec.probes_every and self.method.step % self.spec.probes_every == 0:
                self._probe(time.perf_counter() - started)
            self._write(self.writer.flush)
            self.elapsed += time.perf_counter() - started
            if time.monotonic() - self.saved_at >= self.spec.checkpoint_seconds:
                self._checkpoint()
            state = self._obey()
            self.stopping = state != "running"
            if self.stopping:
                return self._end(state, TOLD_TO_END if state == "interrupted" else "")
            started = time.perf_counter()

    def _enter_stage(self, step: int) -> None:
        """Say that a stage begins with ``step``, where a run has several."""
        stages, first = self.spec.stages, 1
        for stage in stages if len(stages) > 1 else ():
            if step == first:
                self._add(StageEntered(step, stage.name, stage.title), self.elapsed)
            first += stage.steps

    def _one_step(self, events: Iterator[Event], started: float) -> Step | None:
        """Queue the events of one step; None at the end of the training."""
        for event in events:
            if self.on_gpu and isinstance(event, Step) and event.values:
                peak = torch.cuda.max_memory_allocated(self.device) / 2**30
                event = replace(event, values={**event.values, "peak_memory": peak})
            self._add(event, self.elapsed + time.perf_counter() - started)
            if isinstance(event, Step):
                return event
        return None

    def _add(self, event: Event, elapsed: float) -> None:
        if self._write(lambda: self.writer.add(event, elapsed)):
            self.progress(event)

    def _evaluation_due(self) -> bool:
        step, every = self.method.step, self.spec.evaluate_every
        return self.method.student_learns and (step % every == 0 or step == self.method.total_steps)

    def _evaluate(self, since: float = 0.0) -> None:
        result = self.evaluation.measure(self.method, self.spec.seed)
        self.evaluated.append(self.evaluation.score_of(result))
        self._add(result, self.elapsed + since)

    def _probe(self, since: float = 0.0) -> None:
        if self.spec.probes_every:
            self._add(self.evaluation.probe(self.method, self.spec.probes, self.spec.features), self.elapsed + since)

    def _keep_real(self) -> None:
        """Real images to compare with, once per run: what a watcher sees of the data, no method ever does."""
        if not self.spec.features or self.folder.files.exists(f"{REAL}.npz"):
            return
        kept = self.evaluation.real(self.spec.real)
        if kept is not None:
            self._write(lambda: store_samples(self.folder, REAL, *kept))

    def _keep_collected(self) -> None:
        """The collected images as the teacher sees them, once per run, and again where others were insisted on."""
        problem, spec = self.problem, self.spec
        if isinstance(problem, GenerativeProblem) or problem.collected is None:
            return
        kept = read_facts(self.folder)
        if kept is not None and kept["sha256"] == self.held["collected"]:
            return
        benchmark = find_benchmark(spec.benchmark, problem.image)
        source = source_facts(spec.collected, benchmark, spec.ratio, spec.collecting)
        teacher = Predictor(problem.teacher, problem.image, self.device)
        found = survey(problem.collected, problem.unseen, teacher, spec.features)
        self._write(lambda: keep_survey(self.folder, source, found))

    # --- commands ---

    def _obey(self) -> str:
        """Carry out what came in since the last step; waits while paused. Returns the state to end in, or running."""
        self._repeat_changes()
        if self.allowed == 1:
            self._allow(0, "pause")
        elif self.allowed:
            self.allowed -= 1
        while True:
            heard, self.unheard = [*self.unheard, *next(self.commands)], []
            for given in heard:
                command = given.name
                if command == "set":
                    self._change(given.knobs)
                elif command == "stop":
                    self._add(Applied(self.method.step, "stop"), self.elapsed)
                    return "stopped"
                elif command == "pause" or (command == "step" and self.allowed is None):
                    self._allow(0, "pause")
                elif command == "step":
                    self._allow((self.allowed or 0) + 1, command)
                elif command == "resume":
                    self._allow(None, command)
            if self.heard:  # no end where somebody sees to it that it goes on elsewhere
                return "queued" if self.folder.leases.keeper(self.lease.number) else left_by(self.heard)
            if self.allowed != 0:
                return "running"
            self._wait()

    def _change(self, knobs: dict[str, Any]) -> None:
        """Other values of live knobs, from the next step on; written down, so that a resumed run changes them too."""
        step, before = self.method.step, self.method.config
        try:
            self.method.reconfigure(before.change(knobs))
        except RequestError as error:
            self._add(Applied(step, "refused", str(error)), self.elapsed)
        else:
            detail = ", ".join(f"{name} {getattr(before, name)} → {value}" for name, value in knobs.items())
            self._add(Applied(step, "set", detail, knobs), self.elapsed)
            self.changed.append((step, knobs))
        self._checkpoint()  # keeps it as well, should its row be damaged

    def _allow(self, steps: int | None, command: str) -> None:
        """Run freely (None), or for so many steps until the next pause. ``command`` is recorded if it is news."""
        before, self.allowed = self.allowed, steps
        if steps != before:
            self._add(Applied(self.method.step, command), self.elapsed)
        if before != 0 and steps == 0:
            self._enter("paused")
            self._checkpoint()
        elif before is not None and steps is None:
            self._enter("running")
        elif before == 0 and steps != 0:  # for whoever watches it stays paused: its buttons must not flicker
            self._enter("paused", "Taking one step")

    # --- writing ---

    def _write(self, action: Callable[[], Any]) -> Any:
        """Carry out a write; when the disk is full the run waits, paused, until it is told to resume or stop."""
        while True:
            try:
                return action()
            except OSError as error:
                if error.errno not in NO_ROOM:
                    raise
                message = in_words(error)
            self._wait_for_space(message)

    def _wait_for_space(self, problem: str) -> None:
        message = f"{problem}. Nothing written so far is lost; press Resume then."
        self._add(Status(self.method.step, "paused", message), self.elapsed)  # waits with the other rows
        with suppress(OSError):  # not even the status may fit
            self.folder.set_status(replace(self.status, state="paused", message=message))
        while True:
            self.unheard += next(self.commands)  # what else there is waits for the step's end
            commands = [command.name for command in self.unheard]
            if self.stopping or "stop" in commands or self.heard:
                raise _NoRoomToStop
            if "resume" in commands:
                self.unheard = [command for command in self.unheard if command.name != "resume"]
                self._add(Applied(self.method.step, "resume"), self.elapsed)
                self._add(Status(self.method.step, self.status.state), self.elapsed)
                return self._write(lambda: self.folder.set_status(self.status))
            self._wait()

    def _wait(self) -> None:
        """For a command, while the run is still ours."""
        self.lease.check()
        time.sleep(POLL_SECONDS)

    def _enter(self, state: str, message: str = "", **changes: Any) -> None:
        self.status = replace(self.status, state=state, message=message, step=self.method.step, **changes)
        self._add(Status(self.method.step, state, message), self.elapsed)
        self._write(self.writer.flush)
        if state == "done":
            self._write(self.folder.write_manifest)  # before the status: nobody resumes a run that is done
        self._write(lambda: self.folder.set_status(self.status))

    def _checkpoint(self) -> None:
        state = {
            "method": self.method.state_dict(),
            "elapsed": self.elapsed,
            "changed": self.changed,
            "evaluated": [score if math.isfinite(score) else None for score in self.evaluated],
        }
        self._write(lambda: self.writer.flush(durable=True))
        self._write(lambda: save_checkpoint(self.folder, self.method.step, state))
        self._write(lambda: self.folder.set_status(replace(self.status, step=self.method.step)))
        self.saved_at = time.monotonic()

    def _end(self, state: str, message: str = "") -> RunStatus:
        self._checkpoint()
        if state == "done":
            weights = {name: tensor.contiguous() for name, tensor in self.student.state_dict().items()}
            self._write(lambda: self.folder.files.write("student.safetensors", save(weights)))
        result = {**self.evaluation.result(self.evaluated), "seconds": round(self.elapsed, 2)}
        self._enter(state, message, result=result)
        self.writer.close()
        return self.status

    def _write_environment(self) -> None:
        image = self.card.image.model_dump(mode="json")
        facts = {**environment(self.device), "classes": image["classes"], "image": image}
        if self.foretold_peak is not None:
            facts["foretold_peak"] = self.foretold_peak
        facts |= {"phases": list(self.method.phases), "terms": facts_of(self.method.declared_terms)}
        facts |= {DEPENDS_ON: self.held, ACCEPTED: self.accepted}
        data = self.held["data"] + self.held["collected"]
        if self.problem.source is not None:
            data += self.spec.diffusion
        facts["fingerprint"] = self.spec.fingerprint(self.card.identity, data, facts["code"])
        self._write(lambda: self.folder.write_environment(self.lease.number, facts))
